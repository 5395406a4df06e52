//! Random calls, kills and restarts, against a model that knows which pods have an interface.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::lab::{Lab, Pod};
use crate::{
    frame::C,
    lab::{seen, wait_for},
    once,
    rng::Rng,
    soak,
};

/// The pods that there are at a time.
const PODS: usize = 5;
/// The VLANs of the pods; 0: with a gateway and masquerading on a bridge of their own.
const VLANS: [u16; 4] = [100, 200, 300, 0];
/// An IPAM plugin with one address for all.
const IPAM: &str = r#"case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.5/24","gateway":"10.9.0.1"}]}' ;;
esac"#;

fn conf(vlan: u16) -> String {
    let start = r#"{"cniVersion":"1.0.0","type":"bridge","name""#;
    if vlan == 0 {
        format!(
            r#"{start}:"masq","bridge":"cni9","isGateway":true,"ipMasq":true,"ipMasqBackend":"nftables","ipam":{{"type":"one"}}}}"#
        )
    } else {
        format!(r#"{start}:"v{vlan}","bridge":"mgmt-br","vlan":{vlan}}}"#)
    }
}

/// What should be there.
struct Model {
    lab: Lab,
    rng: Rng,
    runs: bool,
    pods: Vec<Pod>,
    /// The VLAN of each pod that has an interface.
    added: BTreeMap<usize, u16>,
}

impl Model {
    fn step(&mut self) {
        let number = usize::from(self.rng.below(u16::try_from(PODS).unwrap()));
        let (pod, added) = (&self.pods[number], self.added.get(&number).copied());
        match self.rng.below(12) {
            0..=3 => {
                let vlan = self.rng.pick(&VLANS);
                let result = pod.call("ADD", &conf(vlan));
                let expected = self.runs && added.is_none();
                assert_eq!(result.is_ok(), expected, "ADD {vlan} of {number}: {result:?}");
                if expected {
                    self.added.insert(number, vlan);
                }
            }
            4..=7 => self.delete(number),
            // A caller that is killed deletes what it may have made.
            8 => {
                let vlan = self.rng.pick(&VLANS);
                let patience = Duration::from_millis(self.rng.below(80).into());
                self.kill_in_add(number, vlan, patience);
                self.added.entry(number).or_insert(vlan);
                self.delete(number);
            }
            // The runtime removes the namespace before it calls DEL.
            9 => {
                let vlan = added.unwrap_or(100);
                let name = &pod.netns.name;
                crate::lab::sh(&format!("ip netns delete {name}"));
                let deleted = pod.call_in("DEL", &conf(vlan), "", "");
                assert_eq!(deleted, Ok(String::new()), "DEL of {number} without a namespace");
                crate::lab::sh(&format!("ip netns add {name}"));
                self.added.remove(&number);
            }
            10 => {
                self.lab.stop();
                self.runs = false;
            }
            _ if self.runs => {
                self.lab.stop();
                self.lab.start();
            }
            _ => self.lab.start(),
        }
        self.runs |= self.lab.runs();
    }

    fn delete(&mut self, number: usize) {
        let vlan = self.added.remove(&number).unwrap_or(100);
        self.pods[number].del(&conf(vlan));
    }

    fn kill_in_add(&self, number: usize, vlan: u16, patience: Duration) {
        let pod = &self.pods[number];
        let mut child = Command::new("nsenter")
            .args([&format!("--net=/run/netns/{}", self.lab.node.netns.name), "sh", "-c"])
            .arg(pod.command_line("ADD"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        drop(std::io::Write::write_all(child.stdin.as_mut().unwrap(), conf(vlan).as_bytes()));
        drop(child.stdin.take());
        let end = Instant::now() + patience;
        while Instant::now() < end && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ended = child.kill();
        child.wait().unwrap();
    }

    /// Compares the node with the model.
    fn check(&mut self) {
        if !self.runs {
            self.lab.start();
            self.runs = true;
        }
        let mut expected: Vec<&str> =
            self.added.keys().map(|number| self.pods[*number].id.as_str()).collect();
        expected.sort_unstable();
        wait_for("the agent knows these pods and no others", || {
            let mut attached = self.lab.attached();
            attached.sort_unstable();
            seen((attached.clone(), expected.clone()), attached == expected)
        });
        wait_for("each of them has a pair, and there is no other", || {
            let links = self.lab.node.netns.sh("ip -br link show type veth");
            let veths = links.lines().filter(|line| line.starts_with("veth")).count();
            seen(links.clone(), veths == expected.len())
        });
        for (number, vlan) in &self.added {
            if *vlan != 0 {
                self.lab.assert_reach(&self.pods[*number], "eth0", &[(C, *vlan)]);
            }
        }
    }
}

#[test]
fn random_calls_leave_what_the_model_has() {
    once();
    let lab = Lab::new();
    lab.plugin("one", IPAM);
    let pods = (0..PODS).map(|_| lab.pod()).collect();
    let seed = std::env::var("NETAGENT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| Rng::seed(&crate::test()));
    println!("seed {seed}");
    let mut model = Model { lab, rng: Rng(seed), runs: true, pods, added: BTreeMap::new() };
    let steps = if soak() { 10_000 } else { 150 };
    for step in 1..=steps {
        model.step();
        if step % 25 == 0 {
            model.check();
        }
    }
    for number in 0..PODS {
        model.delete(number);
    }
    model.check();
    model.lab.assert_nothing_is_left();
    let rules = model.lab.node.netns.sh("nft list ruleset 2> /dev/null || true");
    // As with the bridge plugin, the chains stay.
    assert!(!rules.contains("10.9.0.5") && !rules.contains("comment"), "{rules}");
}
