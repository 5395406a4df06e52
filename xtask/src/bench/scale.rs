//! Whether a frame costs more where there are many ports and VLANs: known unicast from the wire to
//! a VM or a trunk that chance picks, in one of its VLANs, so that what one frame has brought into
//! a cache is seldom what the next one needs. Nor is it the kernel's, which has so many devices
//! then: its bridge, by which nobody is kept apart, is measured beside.

use std::fmt::Write as _;
use std::mem;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::call::{self, Program};
use super::figure::{Figure, Ratio, median};
use super::host::ROUNDS;
use super::lab::Lab;

/// VMs with one VLAN each, besides two trunks and an uplink with all VLANs: as many as there are
/// counters for.
const MANY: Size = Size { vms: 1000, vids: 4094 };
/// The trunks have the VLAN of the first VM.
const FEW: Size = Size { vms: 2, vids: 1 };
/// In one measurement.
const FRAMES: u32 = 100_000;

#[derive(Clone, Copy)]
struct Size {
    vms: u16,
    vids: u16,
}

/// A switch whose links' other ends are in its namespace, and take what arrives no further.
struct Switch {
    lab: Lab,
    size: Size,
    /// The device that frames are sent to: the uplink's other end.
    wire: u32,
    /// Where they come out.
    ports: usize,
    agent: Option<Child>,
}

/// Measures.
pub fn measure(netagent: &Path) -> Result<Vec<Figure>> {
    let none = Switch::new(netagent, FEW)?;
    none.lab.load("wire")?;
    none.lab.sh("bpftool net attach xdpdrv name wire_end dev uplink")?;
    let switches = [
        none,
        Switch::agent(netagent, MANY)?,
        Switch::agent(netagent, FEW)?,
        Switch::bridge(netagent, MANY)?,
        Switch::bridge(netagent, FEW)?,
    ];
    let program = Program::open(&switches[0].lab.pinned("wire/wire_spread")?)?;
    let mut costs = [const { Vec::new() }; 5];
    for round in 0..ROUNDS {
        println!("bench: scale round {} of {ROUNDS}", round + 1);
        for (number, (switch, costs)) in switches.iter().zip(&mut costs).enumerate() {
            costs.push(switch.nanoseconds(&program, number > 0)?);
        }
    }
    let [wire, many, few, bridge_many, bridge_few] = costs.map(|costs| median(&costs));
    let net = Figure {
        name: "scale".to_owned(),
        place: "host",
        netagent: many - wire,
        baseline: few - wire,
        baseline_name: "netagent, few ports and VLANs",
        unit: "ns per frame, without the generator's",
        ratio: Ratio::OfRates,
        goal: Some(0.95),
    };
    let gross = Figure {
        name: "scale_gross".to_owned(),
        netagent: many,
        baseline: few,
        unit: "ns per frame, with the generator's",
        goal: None,
        ..net
    };
    let of_bridge = Figure {
        name: "scale_of_bridge".to_owned(),
        netagent: bridge_many - wire,
        baseline: bridge_few - wire,
        baseline_name: "bridge without VLANs, few ports",
        goal: None,
        ..net
    };
    Ok(vec![net, gross, of_bridge])
}

impl Size {
    fn devices(self) -> impl Iterator<Item = String> {
        let others = ["uplink", "trunk1", "trunk2"].map(str::to_owned);
        others.into_iter().chain((1..=self.vms).map(|vm| format!("vm{vm}")))
    }

    /// The stations that frames come from and go to, as arguments of `bridge fdb add`.
    fn stations(self) -> String {
        let mut lines = "fdb add 02:02:00:00:00:01 dev uplink master static\n".to_owned();
        let vms = (1..=self.vms).map(|vm| ("vm", 3, vm));
        for (name, kind, number) in vms.chain([("trunk", 4, 1), ("trunk", 4, 2)]) {
            let [high, low] = number.to_be_bytes();
            let address = format!("02:{kind:02x}:00:00:{high:02x}:{low:02x}");
            writeln!(lines, "fdb add {address} dev {name}{number} master static")
                .unwrap_or_default();
        }
        lines
    }

    fn config(self) -> String {
        let Self { vms, vids } = self;
        let mut networks =
            format!("  all: {{ clusterNetwork: oob, trunk: '1-{vids}', native: none }}\n");
        let mut ports = String::new();
        for trunk in ["trunk1", "trunk2"] {
            writeln!(ports, "  - {{ device: {trunk}, network: all }}").unwrap_or_default();
        }
        for vid in 1..=vms {
            writeln!(networks, "  n{vid}: {{ clusterNetwork: oob, vlan: {vid} }}")
                .unwrap_or_default();
            writeln!(ports, "  - {{ device: vm{vid}, network: n{vid} }}").unwrap_or_default();
        }
        format!(
            "clusterNetworks:\n  oob: {{ vlanFiltering: off, uplink: {{ nics: [uplink], bond: {{ mode: none }}, xdp: off, \
             native: none }} }}\nnetworks:\n{networks}ports:\n{ports}metrics: {{ listen: none }}\n"
        )
    }
}

impl Switch {
    fn new(netagent: &Path, size: Size) -> Result<Self> {
        let devices: Vec<_> = size.devices().collect();
        let names: Vec<_> = devices.iter().map(String::as_str).collect();
        let lab = Lab::with(netagent, &names)?;
        let up: Vec<_> = devices
            .iter()
            .map(|name| format!("link set {name} up\nlink set {name}-peer up\n"))
            .collect();
        lab.batch("ip", &up.concat())?;
        // A veth takes frames from XDP where it has a queue, which this gives it.
        lab.sh("ethtool -K uplink gro on")?;
        Ok(Self { wire: lab.index("uplink-peer")?, lab, size, ports: names.len() - 1, agent: None })
    }

    /// With `netagent run`.
    fn agent(netagent: &Path, size: Size) -> Result<Self> {
        let mut switch = Self::new(netagent, size)?;
        let lab = &switch.lab;
        lab.configure(&size.config())?;
        let config = lab.config();
        lab.sh(&format!("{} apply -c {}", lab.agent(), config.display()))?;
        let run = format!("exec {} run -c {} 2>&-", lab.agent(), config.display());
        let agent = lab.command(&run).spawn().context("start netagent run")?;
        lab.batch("bridge", &size.stations())?;
        switch.agent = Some(agent);
        let known = format!("{} show fdb | grep -c known || :", switch.lab.agent());
        switch.until("the agent has copied the bridge's stations", || {
            Ok(switch.lab.sh(&known)?.trim().parse::<usize>()? > switch.ports)
        })?;
        Ok(switch)
    }

    /// With the kernel's bridge alone.
    fn bridge(netagent: &Path, size: Size) -> Result<Self> {
        let switch = Self::new(netagent, size)?;
        let lab = &switch.lab;
        let ports: Vec<_> =
            size.devices().map(|name| format!("link set {name} master br0\n")).collect();
        lab.batch("ip", &format!("link add br0 type bridge\nlink set br0 up\n{}", ports.concat()))?;
        lab.batch("bridge", &size.stations())?;
        Ok(switch)
    }

    /// Waits for what does not take long.
    fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds()? {
            ensure!(Instant::now() < end, "{}: still not: {what}", self.lab.netns().display());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Of a frame that comes out again, where they are `expected` to.
    fn nanoseconds(&self, program: &Program, expected: bool) -> Result<f64> {
        let mut frame = [0; 64];
        let plan = [self.wire, u32::from(self.size.vms), u32::from(self.size.vids)];
        frame[32..44].copy_from_slice(&plan.map(u32::to_ne_bytes).concat());
        let before = self.received()?;
        // A frame is sent to a device of the namespace of who sends it.
        let took = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                call::enter(&self.lab.netns())?;
                call::give_way()?;
                let started = Instant::now();
                program.send(&frame, FRAMES)?;
                anyhow::Ok(started.elapsed())
            });
            sender.join().unwrap_or_else(|_| bail!("the sending thread panicked"))
        })?;
        if !expected {
            return Ok(took.as_secs_f64() * 1e9 / f64::from(FRAMES));
        }
        let mut arrived = 0;
        // The last are on their way still when all are sent.
        self.until("no more frames arrive", || {
            let known = mem::replace(&mut arrived, self.received()? - before);
            Ok(arrived == known)
        })?;
        // The wire holds 256 frames: a poll's worth is lost where they come faster than its other
        // end has the processor.
        ensure!(arrived >= FRAMES - FRAMES / 100, "{arrived} of {FRAMES} frames have arrived");
        Ok(took.as_secs_f64() * 1e9 / f64::from(arrived))
    }

    /// Frames that the ports' other ends have received.
    fn received(&self) -> Result<u32> {
        let devices = self.lab.sh("cat /proc/net/dev")?;
        let of_ports = devices.lines().filter_map(|line| line.trim().split_once("-peer:"));
        let packets = of_ports
            .filter(|(name, _)| *name != "uplink")
            .map(|(_, counters)| counters.split_whitespace().nth(1)?.parse::<u32>().ok());
        packets.sum::<Option<u32>>().context("read the devices' counters")
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _gone = agent.kill();
            let _gone = agent.wait();
        }
    }
}
