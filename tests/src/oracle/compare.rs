//! Compares the outputs of netagent with those of the kernel's bridge, and applies the rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    bridges::BRIDGES,
    output::{Output, Outputs},
    policy::{Policy, Port},
    rule::{self, Around, Rule, Shared},
    sent::Sent,
};

/// Numbers of what was compared.
#[derive(Default)]
pub struct Figures {
    /// Frames that left netagent's ports and the kernel's alike.
    pub equal: u64,
    /// Frames that left the kernel's ports only, by the rule for that.
    pub differences: BTreeMap<Rule, u64>,
    /// How often a policy was repeated because the kernel had lost frames.
    pub repeats: u32,
}

impl Figures {
    pub fn add(&mut self, other: Self) {
        self.equal += other.equal;
        self.repeats += other.repeats;
        for (rule, count) in other.differences {
            *self.differences.entry(rule).or_default() += count;
        }
    }
}

/// A difference that no rule explains.
#[derive(Clone, Debug)]
pub struct Mismatch {
    pub bridge: usize,
    pub port: usize,
    /// The index of the frame in its case.
    pub frame: usize,
    pub expected: Option<Vec<u8>>,
    pub got: Option<Vec<u8>>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bridge, port, frame, .. } = self;
        let over = ["", "a VLAN-aware", "a VLAN-unaware"][*bridge];
        writeln!(f, "netagent over {over} bridge, port {port}, frame {frame}:")?;
        for (what, bytes) in [("expected", &self.expected), ("came out", &self.got)] {
            match bytes {
                None => writeln!(f, "  {what}: nothing")?,
                Some(bytes) => {
                    let head = &bytes[..bytes.len().min(40)];
                    writeln!(f, "  {what}: {} bytes: {head:02x?}", bytes.len())?;
                }
            }
        }
        Ok(())
    }
}

/// The rules for one frame: on entry, and by port on exit from an aware and from an unaware bridge.
struct Fate {
    on_entry: Option<Rule>,
    on_exit: Vec<[Option<Rule>; 2]>,
}

impl Fate {
    /// The rule that drops the frame.
    fn rule(&self, bridge: usize, port: usize) -> Option<Rule> {
        self.on_entry.or(self.on_exit[port][bridge - 1])
    }
}

/// The rules that drop each frame, given the frames before it.
fn fates(policy: &Policy, frames: &[Sent], around: Around) -> Vec<Fate> {
    let ports = policy.ports();
    let mut shared = Shared::default();
    let mut fate = |sent: &Sent| {
        let entry = &ports[sent.from];
        let on_entry = rule::on_entry(policy, entry, sent, around);
        let vid = rule::vlan(entry, sent);
        if on_entry.is_none() && vid.is_some() {
            shared.learn(sent);
        }
        let on_exit = |(number, port): (usize, &Port)| {
            let aware = vid.and_then(|vid| rule::on_exit(port, sent, vid));
            [aware, aware.or_else(|| shared.rule(sent, number))]
        };
        Fate { on_entry, on_exit: ports.iter().enumerate().map(on_exit).collect() }
    };
    frames.iter().map(&mut fate).collect()
}

/// Compares the outputs. `first` is the number of the first frame.
pub fn compare(
    policy: &Policy,
    frames: &[Sent],
    around: Around,
    outputs: &Outputs,
    first: u32,
) -> Result<Figures, Mismatch> {
    let fates = fates(policy, frames, around);
    let mut figures = Figures::default();
    for port in 0..policy.ports().len() {
        let kernels = in_flows(outputs.of(0, port), frames, first);
        for bridge in 1..BRIDGES.len() {
            let mut expected = Vec::new();
            for (frame, bytes) in &kernels {
                match fates[*frame].rule(bridge, port) {
                    Some(rule) => *figures.differences.entry(rule).or_default() += 1,
                    None => expected.push((*frame, *bytes)),
                }
            }
            let got = in_flows(outputs.of(bridge, port), frames, first);
            if let Some((frame, expected, got)) = first_difference(&expected, &got) {
                return Err(Mismatch { bridge, port, frame, expected, got });
            }
            figures.equal += got.len() as u64;
        }
    }
    Ok(figures)
}

type Flow<'a> = Vec<(usize, &'a [u8])>;

/// The outputs of a port, grouped by the port and the link that they came from. Frames of a group
/// stay in order.
fn in_flows<'a>(outputs: &'a [Output], frames: &[Sent], first: u32) -> Flow<'a> {
    let frame = |output: &'a Output| {
        let frame = usize::try_from(output.number.wrapping_sub(first)).unwrap();
        assert!(frame < frames.len(), "frame {} came late", output.number);
        (frame, output.bytes.as_slice())
    };
    let mut flow: Flow<'_> = outputs.iter().map(frame).collect();
    flow.sort_by_key(|(frame, _)| (frames[*frame].from, frames[*frame].hidden));
    flow
}

/// A frame, as expected and as received.
type Difference = (usize, Option<Vec<u8>>, Option<Vec<u8>>);

/// The first frame that differs.
fn first_difference(expected: &Flow<'_>, got: &Flow<'_>) -> Option<Difference> {
    if expected == got {
        return None;
    }
    let copies = |flow: &Flow<'_>, frame| {
        let of_frame = flow.iter().filter(|(other, _)| *other == frame);
        of_frame.map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>()
    };
    let frames: BTreeSet<_> = expected.iter().chain(got).map(|(frame, _)| *frame).collect();
    let differs = frames.into_iter().find(|frame| copies(expected, *frame) != copies(got, *frame));
    let disordered = || {
        let mut pairs = expected.iter().zip(got);
        pairs.find(|(one, other)| one.0 != other.0).map(|(one, _)| one.0)
    };
    let frame = differs.or_else(disordered)?;
    let (expected, got) = (copies(expected, frame), copies(got, frame));
    // If two copies came and one was expected, the second is the difference.
    let nth = expected.iter().zip(&got).take_while(|(one, other)| one == other).count();
    let nth = if differs.is_some() { nth } else { 0 };
    Some((frame, expected.get(nth).cloned(), got.get(nth).cloned()))
}
