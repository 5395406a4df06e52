//! A sample node for the tests of everything that renders a snapshot.

use std::time::{Duration, UNIX_EPOCH};

use netagent_common::{
    counters::{Direction, Reason},
    policy::{ADMIT_TAGGED, ADMIT_UNTAGGED, LINK_LOCAL_BYPASS, TAGS_IN_BYTES, TRUNK, UPLINK},
    vlan::Vid,
};

use crate::{
    bond::{BondOption, Mode},
    health::{Health, PortHealth, SegmentHealth},
    names::{IfName, Mac},
    snapshot::{Activity, Reload, Repairs, Snapshot},
    state::{
        BondState, Code, Count, DropKind, Finding, Forwarded, Hook, Kind, Link, Member,
        ObservedPort, PodInterface, PortCounters, PortPolicy, State, Subject, Traffic,
    },
};

pub fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

pub fn link(kind: Kind, controller: Option<&str>) -> Link {
    Link {
        index: 1,
        up: true,
        carrier: true,
        mtu: 1500,
        txqlen: 1000,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        controller: controller.map(name),
        alias: None,
        kind,
        lower: None,
        accept_ra: None,
        addresses: <_>::default(),
        vlans: [].into(),
        member: None,
        rules: <_>::default(),
        takes_xdp_frames: false,
        xdp: None,
        promiscuous: false,
        port_flags: <_>::default(),
        group_fwd_mask: 0,
        leads_elsewhere: false,
        altnames: <_>::default(),
    }
}

pub fn member(bond: &str, up: bool, failures: u32) -> Link {
    let member = Member { mii_up: up, active: up, failures, aggregator: None };
    Link { carrier: up, member: Some(member), ..link(Kind::Other(String::new()), Some(bond)) }
}

pub fn bond(mode: Mode, partner: Option<Mac>) -> Kind {
    let options = vec![BondOption::Miimon(100), BondOption::Mode(mode)];
    Kind::Bond(BondState { options, partner, ..BondState::default() })
}

pub fn port(network: &str, flags: u32, pvid: u16, vids: &str, attached: &[Hook]) -> ObservedPort {
    ObservedPort {
        policy: PortPolicy {
            network: network.to_owned(),
            flags,
            pvid: Vid::new(pvid),
            allowed: vids.parse().unwrap(),
            ..PortPolicy::default()
        },
        attached: attached.iter().copied().collect(),
        ..ObservedPort::default()
    }
}

pub fn traffic(rx: u64, tx: u64) -> Traffic {
    let count = |packets| Count { packets, bytes: packets * 100 };
    Traffic { receive: count(rx), transmit: count(tx) }
}

pub fn drops(
    direction: Direction,
    reason: Reason,
    vid: Option<u16>,
    packets: u64,
) -> (DropKind, Count) {
    (DropKind { direction, reason, vid }, Count { packets, bytes: packets * 64 })
}

/// A bond as uplink with one member down, an access port, and a trunk port without device.
pub fn node() -> Snapshot {
    use Direction::{Receive, Transmit};
    let mut node = Snapshot::default();
    let partner = Mac([0, 0x1b, 0x21, 0, 0, 1]);
    node.links.links = [
        (name("oob-bo"), link(bond(Mode::Lacp, Some(partner)), Some("oob-br"))),
        (name("eth2"), member("oob-bo", true, 0)),
        (name("eth3"), member("oob-bo", false, 3)),
        (name("tap7"), link(Kind::Other("tun".to_owned()), Some("oob-br"))),
    ]
    .into();
    let uplink = UPLINK | ADMIT_UNTAGGED | ADMIT_TAGGED | LINK_LOCAL_BYPASS | TAGS_IN_BYTES;
    let hooks = [Hook::UplinkXdp, Hook::UplinkIn, Hook::UplinkOut];
    node.datapath.ports = [
        (name("oob-bo"), port("oob", uplink, 1, "1,100,200-299,500", &hooks)),
        (
            name("tap7"),
            port("corp-net", ADMIT_UNTAGGED, 100, "100", &[Hook::PortIn, Hook::PortOut]),
        ),
        (name("tap8"), port("lab", TRUNK | ADMIT_TAGGED, 0, "200-299,500", &[Hook::PortIn])),
    ]
    .into();
    let uplink = PortCounters {
        vlans: [(0, traffic(30, 31)), (1, traffic(0, 0)), (100, traffic(5000, 4000))]
            .into_iter()
            .chain([(250, traffic(7, 0))])
            .collect(),
        drops: [drops(Receive, Reason::VlanNotAllowed, Some(300), 12)].into(),
        forwarded: Forwarded { tc: 3000, xdp: 2000 },
        mac_moves: 4,
    };
    let access = PortCounters {
        vlans: [(100, traffic(4000, 5000))].into(),
        drops: [
            drops(Receive, Reason::TaggedOnAccess, Some(100), 3),
            drops(Receive, Reason::VlanNotAllowed, Some(200), 12),
            drops(Receive, Reason::VlanNotAllowed, Some(300), 40),
            drops(Transmit, Reason::LinkLocal, Some(0), 1),
        ]
        .into(),
        forwarded: Forwarded::default(),
        mac_moves: 1,
    };
    node.counters.ports =
        [(name("oob-bo"), uplink), (name("tap7"), access), (name("tap8"), PortCounters::default())]
            .into();
    node.counters.elsewhere =
        [drops(Receive, Reason::NoPolicy, None, 2), drops(Transmit, Reason::Untagged, None, 0)]
            .into();
    node.usage = vec![("POLICY", 3, 1024), ("MORE_DROPS", 25, 15_360)];
    let missing = Finding::new(
        Subject::Port(name("tap8")),
        Code::ProgramMissing,
        "tap8: port_out is not attached",
        "",
    );
    node.health = Health {
        findings: vec![missing],
        segments: vec![SegmentHealth {
            name: "oob".to_owned(),
            state: State::Ready,
            bridge: "oob-br".to_owned(),
            uplink: Some("oob-bo".to_owned()),
            nics: ["eth2".to_owned(), "eth3".to_owned()].into(),
            nics_missing: [].into(),
            nics_present: ["eth2".to_owned(), "eth3".to_owned()].into(),
            nics_up: ["eth2".to_owned()].into(),
        }],
        ports: [("tap7", State::Ready), ("tap8", State::Degraded)]
            .map(|(device, state)| PortHealth {
                device: device.to_owned(),
                network: "corp-net".to_owned(),
                origin: "node.yaml:9:5".to_owned(),
                pod: (device == "tap8").then(|| PodInterface {
                    namespace: "default".to_owned(),
                    pod: "vm8".to_owned(),
                    interface: "net1".to_owned(),
                }),
                state,
                rejected: None,
            })
            .to_vec(),
    };
    let repaired = Repairs { attempts: 3, successes: 2, failures: 1 };
    node.activity = Some(Activity {
        successes: 4,
        failures: 1,
        last_success: Some(UNIX_EPOCH + Duration::from_millis(1_790_000_000_250)),
        last_duration: Duration::from_millis(12),
        repairs: [("vlan", repaired)].into(),
        reload: Reload { error: None, last_success: Some(UNIX_EPOCH + Duration::from_secs(5)) },
    });
    node
}
