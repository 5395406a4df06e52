//! A policy and some frames. Prints itself as Rust source.

use std::fmt;

use super::{
    policy::Policy,
    sent::{C, Q, S, Sent},
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub policy: Policy,
    pub frames: &'static [Sent],
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Policy { xdp, native, vms } = &self.policy;
        writeln!(f, "Case {{\n    policy: Policy {{")?;
        writeln!(f, "        xdp: {xdp},\n        native: Native::{native:?},\n        vms: &[")?;
        for vm in *vms {
            let text = format!("{vm:?}");
            // Derived Debug omits type names and references.
            let text = text
                .replace("native: ", "native: Native::")
                .replace("admit: ", "admit: Admit::")
                .replace("vids: ", "vids: &");
            writeln!(f, "            Vm::{text},")?;
        }
        writeln!(f, "        ],\n    }},\n    frames: &[")?;
        for Sent { from, hidden, destination, source, tags, content } in self.frames {
            writeln!(
                f,
                "        Sent {{\n            from: {from},\n            hidden: {hidden},"
            )?;
            writeln!(f, "            destination: {destination:?},")?;
            writeln!(f, "            source: {source:?},")?;
            write!(f, "            tags: &[")?;
            for (number, (tpid, tci)) in tags.iter().enumerate() {
                let comma = if number > 0 { ", " } else { "" };
                let tpid = match *tpid {
                    C => "C".to_owned(),
                    S => "S".to_owned(),
                    Q => "Q".to_owned(),
                    other => format!("{other:#06x}"),
                };
                // The VID in decimal, as in the policy.
                match (tci & 0xf000, tci & 0xfff) {
                    (0, vid) => write!(f, "{comma}({tpid}, {vid})")?,
                    (priority, 0) => write!(f, "{comma}({tpid}, {priority:#06x})")?,
                    (priority, vid) => write!(f, "{comma}({tpid}, {priority:#06x} | {vid})")?,
                }
            }
            writeln!(f, "],\n            content: Content::{content:?},\n        }},")?;
        }
        writeln!(f, "    ],\n}},")
    }
}
