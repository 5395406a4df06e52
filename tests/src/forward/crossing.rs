//! A node with any ports, and frames that cross it from one port to a station behind another.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{Address, Path, entry, forwarded, station};
use crate::{
    fence::Fence,
    frame::{BROADCAST, Frame},
    lab::{Netns, seen, stay_on_one_processor, wait_for},
    node::{Daemon, Node},
    wire::Wire,
};

/// Tags from the outer to the inner, as (TPID, TCI).
pub type Tags<'a> = &'a [(u16, u16)];
/// A port, and the tags of a frame that enters or leaves there.
pub type At<'a> = (&'a str, Tags<'a>);
/// The tags of each copy of a frame, by the port that it has left.
type Copies = BTreeMap<&'static str, Vec<Vec<(u16, u16)>>>;

/// How long to wait for a frame that must come.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Crossing {
    pub node: Node,
    pub others: Netns,
    wires: Vec<(&'static str, Wire)>,
    fence: Fence,
    path: Cell<Path>,
    sent: Cell<u32>,
    /// Sources whose frames have bypassed the bridge: port, address and VID.
    settled: RefCell<BTreeSet<(String, Address, u16)>>,
}

impl Crossing {
    /// A node with these devices, of which those that are named `eth…` are NICs.
    pub fn new(path: Path, devices: &[&'static str], yaml: &str) -> Self {
        stay_on_one_processor();
        let (node, others) = (Node::new(), Netns::new("others"));
        devices.iter().for_each(|device| node.netns.veth(device, &others, device));
        let vms = devices.iter().copied().filter(|device| !device.starts_with("eth"));
        path.prepare(&node.netns, &others, &vms.collect::<Vec<_>>());
        let wires = devices.iter().map(|device| (*device, Wire::open(&others, device))).collect();
        node.configure(&path.fill_in(yaml));
        let fence = Fence::new(&others);
        let (path, sent) = (Cell::new(path), Cell::new(0));
        let settled = RefCell::default();
        Self { node, others, wires, fence, path, sent, settled }
    }

    /// The station behind a port.
    pub fn station(&self, port: &str) -> Address {
        let place = self.wires.iter().position(|(name, _)| *name == port).unwrap();
        station(u8::try_from(place).unwrap() + 1)
    }

    fn wire(&self, port: &str) -> &Wire {
        &self.wires.iter().find(|(name, _)| *name == port).unwrap().1
    }

    /// Whether frames bypass the bridge, if an agent lives.
    pub fn is_fast(&self) -> bool {
        self.path.get() != Path::Bridge
    }

    /// Ends the agent. From now on all frames take the bridge.
    pub fn lose_agent(&self, daemon: Daemon<'_>) {
        daemon.kill();
        entry::wait_until_out_of_date(&self.node);
        self.path.set(Path::Bridge);
    }

    /// A frame with a number of its own, from the station behind a port.
    pub fn frame(&self, from: &str, tags: Tags<'_>, destination: Address) -> Frame {
        let number = self.sent.replace(self.sent.get() + 1);
        Frame { destination, source: self.station(from), ..Frame::numbered(number, tags) }
    }

    /// Shows the bridge the station behind a port.
    pub fn introduce(&self, (from, tags): At<'_>) {
        self.introduce_as(from, tags, self.station(from));
    }

    /// Shows the bridge a station.
    pub fn introduce_as(&self, from: &str, tags: Tags<'_>, source: Address) {
        self.wire(from).send(&Frame { source, ..self.frame(from, tags, BROADCAST) });
    }

    /// How many frames from a port have bypassed the bridge.
    pub fn bypassed(&self, from: &str) -> u64 {
        ["tc", "xdp"].map(|path| forwarded(&self.node, from, path)).iter().sum()
    }

    /// Sends a frame and returns the ports that it leaves, with its tags there. Waits for it at the
    /// port where it must come.
    pub fn send(&self, from: &str, frame: &Frame, must: Option<&str>) -> Copies {
        self.wire(from).send(frame);
        let bare = frame.with_tags(&[]);
        let mut copies = Copies::new();
        let mut take = |port: &'static str, bytes: &[u8]| {
            let Some(copy) = Frame::from_bytes(bytes) else { return false };
            let is_it = copy.with_tags(&[]) == bare;
            if is_it {
                copies.entry(port).or_default().push(copy.tags);
            }
            is_it
        };
        if let Some(port) = must {
            let (port, wire) = self.wires.iter().find(|(name, _)| *name == port).unwrap();
            let end = Instant::now() + PATIENCE;
            let next = || wire.receive(end.saturating_duration_since(Instant::now()));
            while let Some(bytes) = next() {
                if take(port, &bytes) {
                    break;
                }
            }
        }
        self.fence.pass();
        for (port, wire) in &self.wires {
            while let Some(bytes) = wire.receive(Duration::ZERO) {
                take(port, &bytes);
            }
        }
        copies
    }

    /// Asserts that a frame leaves this port only, once, with the tags. `next` makes the next such
    /// frame, for a source of which no frame has bypassed the bridge before.
    pub fn leaves(&self, from: &str, (to, tags): At<'_>, next: impl Fn() -> Frame) {
        wait_for("frames of the source bypass the bridge", || {
            let frame = next();
            let vid = frame.tags.first().map_or(0, |(_, tci)| tci & 0xfff);
            let source = (from.to_owned(), frame.source, vid);
            let proven = self.path.get() == Path::Bridge || self.settled.borrow().contains(&source);
            let before = if proven { 0 } else { self.bypassed(from) };
            let copies = self.send(from, &frame, Some(to));
            let copies: Vec<_> = copies.iter().map(|(port, copies)| (*port, &**copies)).collect();
            let path = self.path.get();
            assert_eq!(copies, [(to, &[tags.to_vec()][..])], "{frame:x?} from {from} by {path:?}");
            // The bridge receives one frame of each source in 17 seconds, and all frames while the
            // agent has no processor.
            let bypassed = proven || self.bypassed(from) > before;
            if bypassed {
                self.settled.borrow_mut().insert(source);
            }
            seen("the frame took the bridge", bypassed)
        });
    }

    /// [`leaves`](Self::leaves) for a frame to the station behind the port.
    pub fn crosses(&self, (from, tags): At<'_>, to: At<'_>) {
        self.leaves(from, to, || self.frame(from, tags, self.station(to.0)));
    }

    /// Asserts that frames to the station behind a port do not arrive there.
    pub fn are_stopped(&self, cases: &[(At<'_>, &str)]) {
        // Flooded frames must fit in the queues.
        for some in cases.chunks(16) {
            let send_one = |((from, tags), to): &(At<'_>, &str)| {
                let frame = self.frame(from, tags, self.station(to));
                self.wire(from).send(&frame);
                frame.with_tags(&[])
            };
            let frames: Vec<_> = some.iter().map(send_one).collect();
            self.fence.pass();
            for (port, wire) in &self.wires {
                while let Some(bytes) = wire.receive(Duration::ZERO) {
                    let Some(copy) = Frame::from_bytes(&bytes) else { continue };
                    let bare = copy.with_tags(&[]);
                    let case = some.iter().zip(&frames).find(|(_, frame)| **frame == bare);
                    let arrived = case.filter(|((_, to), _)| to == port);
                    assert!(arrived.is_none(), "{arrived:x?} by {:?}", self.path.get());
                }
            }
        }
    }
}
