//! Pingers that run all the while, and the longest gaps between their answers.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    adopt::lab::{STATION, Vm, frames, tag},
    lab::{Netns, wait_for},
    wire::Wire,
};

/// The time between two requests.
pub const PERIOD: Duration = Duration::from_millis(20);
/// Answers after which a way is said to work.
const SOME: u32 = 3;

/// The longest gap of a step: answers that are missing in a row, and whose.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    pub missing: u32,
    pub of: String,
}

/// The numbers of the requests that were answered.
type Answered = Arc<Mutex<BTreeSet<u32>>>;

/// The pingers of a node and of its VMs.
pub struct Pingers {
    pings: Vec<(String, Answered, Child)>,
    vms: Option<Vms>,
}

/// VMs and the station on the wire, which send each other numbered frames.
struct Vms {
    wires: Arc<Vec<(Vm, Wire)>>,
    station: Arc<Wire>,
    sent: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
    /// By VM, of the station and of the VM.
    arrived: Mutex<Vec<[BTreeSet<u32>; 2]>>,
}

impl Pingers {
    /// Pings addresses from outside, from these source addresses, and starts the VMs.
    pub fn start(
        outside: &Netns,
        targets: &[(&str, &str)],
        vms: Vec<(Vm, Wire)>,
        station: Wire,
    ) -> Self {
        let pings =
            targets.iter().map(|(source, address)| ping(outside, source, address)).collect();
        let vms = (!vms.is_empty()).then(|| Vms::start(vms, station));
        Self { pings, vms }
    }

    /// The longest gap while something happens, up to the answers that come when it has happened.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> (T, Gap) {
        let begin = self.wait(&self.last());
        let result = work();
        let end = self.wait(&self.last());
        let ways = self.ways();
        let gaps = ways.into_iter().zip(begin.into_iter().zip(end));
        let gap = gaps.map(|((of, answered), (begin, end))| Gap {
            missing: longest(&answered, begin, end),
            of,
        });
        (result, gap.max().unwrap_or_default())
    }

    /// Waits until something answers again on each way.
    pub fn wait_until_answered(&self) {
        self.wait(&self.last());
    }

    /// The number of the last answer on each way.
    fn last(&self) -> Vec<u32> {
        let sent = self.vms.as_ref().map(|vms| vms.sent.load(Ordering::Relaxed));
        let ways = self.ways();
        let last = |answered: &BTreeSet<u32>| answered.last().copied().unwrap_or_default();
        let pings = self.pings.len();
        let number =
            |index, answered| if index < pings { last(answered) } else { sent.unwrap_or_default() };
        ways.iter().enumerate().map(|(index, (_, answered))| number(index, answered)).collect()
    }

    /// Waits until later requests than these are answered on each way. Returns their numbers.
    fn wait(&self, before: &[u32]) -> Vec<u32> {
        wait_for("answers", || {
            let ways = self.ways();
            let silent: Vec<_> = ways
                .iter()
                .zip(before)
                .filter(|((_, answered), before)| answered.range(*before + SOME..).next().is_none())
                .map(|((name, _), _)| name.clone())
                .collect();
            let last =
                ways.iter().map(|(_, answered)| answered.last().copied().unwrap_or_default());
            if silent.is_empty() {
                Ok(last.collect())
            } else {
                Err(format!("no answer: {silent:?}"))
            }
        })
    }

    /// The names of all ways, with the numbers of their answers.
    fn ways(&self) -> Vec<(String, BTreeSet<u32>)> {
        let pings = self
            .pings
            .iter()
            .map(|(name, answered, _)| (name.clone(), answered.lock().unwrap().clone()));
        let vms = self.vms.iter().flat_map(Vms::ways);
        pings.chain(vms).collect()
    }
}

impl Drop for Pingers {
    fn drop(&mut self) {
        for (.., ping) in &mut self.pings {
            let _gone = ping.kill();
            let _gone = ping.wait();
        }
    }
}

/// The largest number of answers that are missing in a row.
fn longest(answered: &BTreeSet<u32>, begin: u32, end: u32) -> u32 {
    let numbers: Vec<u32> = answered.range(begin..=end).copied().collect();
    numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).max().unwrap_or_default()
}

fn ping(outside: &Netns, source: &str, address: &str) -> (String, Answered, Child) {
    let period = PERIOD.as_secs_f32();
    let mut ping = outside.command(&format!("exec ping -n -i {period} -I {source} {address}"));
    let mut ping = ping.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(ping.stdout.take().unwrap()).lines();
    let answered = Answered::default();
    let numbers = Arc::clone(&answered);
    // It ends with the process.
    thread::spawn(move || {
        for line in lines.map_while(Result::ok).filter(|line| line.contains("bytes from")) {
            let number = line.split("icmp_seq=").nth(1).and_then(|rest| rest.split(' ').next());
            numbers.lock().unwrap().extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
    });
    (address.to_owned(), answered, ping)
}

impl Vms {
    fn start(wires: Vec<(Vm, Wire)>, station: Wire) -> Self {
        let arrived = Mutex::new(wires.iter().map(|_| Default::default()).collect());
        let (wires, station) = (Arc::new(wires), Arc::new(station));
        let (sent, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let sender = {
            let (wires, station) = (Arc::clone(&wires), Arc::clone(&station));
            let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
            thread::spawn(move || {
                for number in 0.. {
                    for (vm, wire) in wires.iter() {
                        let [up, down] = vm.frames(number);
                        wire.send(&up);
                        station.send(&down);
                    }
                    sent.store(number, Ordering::Relaxed);
                    // Limits the rate.
                    thread::sleep(PERIOD);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            })
        };
        Self { wires, station, sent, stop, sender: Some(sender), arrived }
    }

    fn ways(&self) -> Vec<(String, BTreeSet<u32>)> {
        let mut arrived = self.arrived.lock().unwrap();
        for frame in frames(&self.station) {
            let mut vms = self.wires.iter().zip(arrived.iter_mut());
            let of_vm = |vm: &Vm| vm.mac() == frame.source && vm.wire == tag(&frame);
            if let Some((_, [up, _])) = vms.find(|((vm, _), _)| of_vm(vm)) {
                up.insert(frame.number());
            }
        }
        for ((vm, wire), [_, down]) in self.wires.iter().zip(arrived.iter_mut()) {
            let own = |frame: &crate::frame::Frame| {
                frame.source == STATION && frame.destination == vm.mac() && tag(frame) == vm.inside
            };
            down.extend(
                frames(wire).iter().filter(|frame| own(frame)).map(crate::frame::Frame::number),
            );
        }
        let names = self.wires.iter().map(|(vm, _)| vm.device());
        let ways = names.zip(arrived.iter());
        ways.flat_map(|(name, [up, down])| {
            [(format!("from {name}"), up.clone()), (format!("to {name}"), down.clone())]
        })
        .collect()
    }
}

impl Drop for Vms {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ended = self.sender.take().map(JoinHandle::join);
    }
}
