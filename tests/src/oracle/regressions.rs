//! Cases that the oracle has printed and shrunk: former faults of netagent, and the faults of
//! tests/mutations. Random frames may take long to find them again.

use super::{
    case::Case,
    policy::{Admit, Native, Policy, Vm},
    sent::{C, Content, Sent},
};

pub const REGRESSIONS: &[Case] = &[
    // allow-list-skipped-on-receive: over a VLAN-unaware bridge the frame reaches the uplink, which
    // has this VLAN for another VM.
    Case {
        policy: Policy {
            xdp: false,
            native: Native::None,
            vms: &[
                Vm::Trunk { vids: &[100], native: Native::None, admit: Admit::All },
                Vm::Trunk { vids: &[4094], native: Native::None, admit: Admit::All },
            ],
        },
        frames: &[Sent {
            from: 1,
            hidden: false,
            destination: [255, 255, 255, 255, 255, 255],
            source: [2, 16, 15, 254, 0, 0],
            tags: &[(C, 4094)],
            content: Content::Test(46),
        }],
    },
    // priority-lost: the PCP and DEI of a priority tag belong in the tag of the native VLAN.
    Case {
        policy: Policy {
            xdp: false,
            native: Native::None,
            vms: &[Vm::Trunk { vids: &[4093], native: Native::Tagged(4094), admit: Admit::All }],
        },
        frames: &[Sent {
            from: 1,
            hidden: false,
            destination: [255, 255, 255, 255, 255, 255],
            source: [2, 16, 15, 254, 0, 2],
            tags: &[(C, 0x9000)],
            content: Content::Test(46),
        }],
    },
    // stacked-tag-transmitted: the native VLAN leaves untagged, and the VM would see the inner tag.
    Case {
        policy: Policy {
            xdp: false,
            native: Native::None,
            vms: &[Vm::Trunk { vids: &[101], native: Native::Untagged(1), admit: Admit::All }],
        },
        frames: &[Sent {
            from: 0,
            hidden: false,
            destination: [255, 255, 255, 255, 255, 255],
            source: [2, 16, 0, 1, 0, 0],
            tags: &[(C, 1), (C, 101)],
            content: Content::Test(46),
        }],
    },
    // tags-admitted-anywhere: the tag has the VLAN of the port, but the port admits no tags.
    Case {
        policy: Policy {
            xdp: false,
            native: Native::None,
            vms: &[Vm::Trunk { vids: &[2], native: Native::Tagged(2), admit: Admit::Untagged }],
        },
        frames: &[Sent {
            from: 1,
            hidden: false,
            destination: [255, 255, 255, 255, 255, 255],
            source: [2, 238, 0, 0, 0, 1],
            tags: &[(C, 2)],
            content: Content::Test(46),
        }],
    },
    // untagged-though-not-the-pvid: the second port has another native VLAN, so the frame keeps its
    // tag there.
    Case {
        policy: Policy {
            xdp: false,
            native: Native::None,
            vms: &[
                Vm::Trunk { vids: &[2], native: Native::Tagged(2), admit: Admit::All },
                Vm::Trunk { vids: &[2], native: Native::Untagged(1), admit: Admit::All },
            ],
        },
        frames: &[Sent {
            from: 1,
            hidden: false,
            destination: [255, 255, 255, 255, 255, 255],
            source: [2, 16, 0, 2, 0, 1],
            tags: &[],
            content: Content::Test(46),
        }],
    },
];
