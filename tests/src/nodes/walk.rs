//! What every kind of node goes through.

use std::{collections::BTreeSet, fmt::Write as _, fs, process::Child, time::Instant};

use super::{
    gaps::{Gap, PERIOD},
    kinds::Kind,
    lab::Lab,
    state,
};
use crate::{
    lab::{seen, sh, succeeded, wait_for},
    needs, needs_program, once, soak,
};

/// Answers by which netagent's gap may be longer: the machine may be busy for a moment.
const TOLERANCE: u32 = 5;
/// An agent that is killed may leave a NIC down until the next start of it: answers that a start
/// may cost.
const START: u32 = 40;

/// A row of the table.
struct Row {
    step: String,
    gap: Gap,
    by_hand: Gap,
    more: u32,
}

/// The gaps of a kind of node.
struct Walk<'a> {
    kind: &'a Kind,
    lab: Lab,
    found: BTreeSet<String>,
    rows: Vec<Row>,
    started: Instant,
}

/// How many calls of each kind an apply makes until it waits.
type Calls = [(&'static str, u32); 2];

/// The longest gaps of the operator's commands.
struct ByHand {
    apply: Gap,
    back: Gap,
    change: Gap,
    release: Gap,
}

/// Takes a node of this kind over, and gives it back.
pub fn walk(kind: &Kind) {
    once();
    if !needs(kind.needs) || !needs_program("strace") {
        return;
    }
    let started = Instant::now();
    let by_hand = by_hand(kind);
    let lab = Lab::new(kind);
    lab.assert_protected(kind);
    let found = state::of(lab.node());
    let mut walk = Walk { kind, lab, found, rows: vec![], started };
    walk.import();
    walk.try_and_roll_back(&by_hand);
    let calls = walk.calls();
    walk.kill_and_roll_back(calls, &by_hand);
    walk.kill_and_complete(calls, &by_hand);
    walk.change(&by_hand);
    let boot = walk.boot(&by_hand);
    walk.rows.push(boot);
    walk.release(&by_hand);
    walk.report();
}

/// The changes of the walk by the commands of an operator, on a node of this kind.
fn by_hand(kind: &Kind) -> ByHand {
    let lab = Lab::new(kind);
    let run = |lines: &str| lab.during(|| lab.node().netns.sh(&format!("set -e\n{lines}"))).1;
    let apply = run(kind.by_hand.apply);
    let back = run(kind.by_hand.back);
    run(kind.by_hand.apply);
    let change = run(kind.by_hand.change);
    ByHand { apply, back, change, release: run(kind.by_hand.release) }
}

impl Walk<'_> {
    /// The imported file changes no link.
    fn import(&mut self) {
        let node = self.lab.node();
        let ((), gap) = self.lab.during(|| {
            let imported = node.ok(&format!("import {}", self.kind.import));
            node.configure(&imported);
            let plan = node.netagent(&format!("plan -c {}", node.config()));
            let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
            let changes =
                plan.lines().filter(|line| line.starts_with("ip ") || line.starts_with("bridge "));
            let unexplained: Vec<_> =
                changes.filter(|change| !imported.contains(&format!("\n# - {change}: "))).collect();
            assert!(unexplained.is_empty(), "{unexplained:?}\n{imported}\n{plan}");
            if !self.kind.file.is_empty() {
                node.configure(self.kind.file);
            }
        });
        self.push("import", gap, Gap::default(), 0);
    }

    /// The change is carried out, and undone by the operator.
    fn try_and_roll_back(&mut self, by_hand: &ByHand) {
        let (mut apply, gap) = self.lab.during(|| self.try_for(""));
        self.push("apply", gap, by_hand.apply.clone(), 0);
        let node = self.lab.node();
        let (address, device) = self.kind.others;
        if !address.is_empty() {
            node.netns.sh(&format!("ip address add {address} dev {device}"));
        }
        let ((), gap) = self.lab.during(|| {
            node.ok("rollback");
            assert_eq!(apply.wait().unwrap().code(), Some(4));
        });
        if !address.is_empty() {
            let device = self.kind.others_back;
            let shown = node.netns.sh(&format!("ip -o address show dev {device}"));
            assert!(shown.contains(address), "what others have added is gone: {shown}");
            node.netns.sh(&format!("ip address del {address} dev {device}"));
        }
        self.lab.wait_for_state("roll back", &self.found);
        self.push("roll back", gap, by_hand.back.clone(), 0);
    }

    /// The change is killed at several calls; the next start brings back what was there.
    fn kill_and_roll_back(&mut self, calls: Calls, by_hand: &ByHand) {
        println!("{}: calls of an apply: {calls:?}", self.kind.name);
        let of_hand = by_hand.apply.clone().max(by_hand.back.clone());
        for (call, all) in calls {
            for number in points(all) {
                let node = self.lab.node();
                let ((), gap) = self.lab.during(|| {
                    self.kill(&format!("{} --try 600", self.apply()), call, number);
                    let output = node.netagent("rollback");
                    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                    let nothing = errors.contains("no change is on trial");
                    assert!(output.status.success() || nothing, "{errors}");
                });
                let step = format!("killed at {call} {number} of {all}, rolled back");
                self.lab.wait_for_state(&step, &self.found);
                self.push(&step, gap, of_hand.clone(), START);
            }
        }
    }

    /// The change is killed, and the next apply completes it.
    fn kill_and_complete(&mut self, calls: Calls, by_hand: &ByHand) {
        let node = self.lab.node();
        let (call, all) = calls[0];
        let number = all / 2;
        let apply = format!("{} --no-rollback", self.apply());
        let ((), gap) = self.lab.during(|| {
            self.kill(&apply, call, number);
            node.ok(&format!("{} --no-rollback", self.apply()));
        });
        node.assert_settled();
        let state = state::of(node);
        for line in self.kind.moved {
            assert!(state.contains(*line), "{line}: {state:#?}");
        }
        let step = format!("killed at {call} {number} of {all}, completed");
        self.push(&step, gap, by_hand.apply.clone(), START);
    }

    /// The operator changes the file.
    fn change(&mut self, by_hand: &ByHand) {
        let node = self.lab.node();
        let file = fs::read_to_string(node.config()).unwrap();
        let (from, to) = self.kind.change;
        assert!(file.contains(from), "{from}: {file}");
        node.configure(&file.replacen(from, to, 1));
        let apply = format!("{} --no-rollback", self.apply());
        let ((), gap) = self.lab.during(|| drop(node.ok(&apply)));
        node.assert_settled();
        self.push("change", gap, by_hand.change.clone(), 0);
    }

    /// The node boots: its manager has made the links again, and the agent finds its records.
    fn boot(&self, by_hand: &ByHand) -> Row {
        let lab = Lab::new(self.kind);
        let (from, node) = (self.lab.node(), lab.node());
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        sh(&format!(
            "cp -a {} {} && sed -i 's/{}/another/g' {}/*.json* && cp {} {}",
            from.state().display(),
            node.state().display(),
            boot.trim(),
            node.state().display(),
            from.config(),
            node.config()
        ));
        let (_daemon, gap) = lab.during(|| {
            let daemon = node.start();
            wait_for("the daemon runs", || succeeded(&node.netagent("port list")));
            node.wait_until_settled("the node is as before its boot");
            daemon
        });
        // The daemon knows the stations: known unicast may take the fast path.
        lab.assert_protected(self.kind);
        let wanted = state::of(from);
        wait_for("the booted node is as before", || {
            let difference = state::difference(&wanted, &state::of(node));
            seen(difference.clone(), difference.is_empty())
        });
        let by_hand = by_hand.apply.clone().max(by_hand.change.clone());
        Row { step: "boot".to_owned(), gap, by_hand, more: 0 }
    }

    /// Everything is given back.
    fn release(&mut self, by_hand: &ByHand) {
        let node = self.lab.node();
        let ((), gap) = self.lab.during(|| {
            for segment in self.kind.segments {
                node.ok(&format!("release {segment}"));
            }
            node.ok(&format!("{} --no-rollback", self.apply()));
        });
        node.assert_settled();
        self.lab.wait_for_state("release", &self.found);
        self.push("release", gap, by_hand.release.clone(), 0);
    }

    fn apply(&self) -> String {
        let node = self.lab.node();
        format!("apply -c {}{}", node.config(), node.confirm_all())
    }

    fn push(&mut self, step: &str, gap: Gap, by_hand: Gap, more: u32) {
        let elapsed = self.started.elapsed().as_secs_f32();
        println!("{}: {elapsed:.1} s: {step}: {gap:?}, by hand {by_hand:?}", self.kind.name);
        self.rows.push(Row { step: step.to_owned(), gap, by_hand, more });
    }

    /// Starts an apply that waits for its confirmation, by way of another program.
    fn try_for(&self, by: &str) -> Child {
        let node = self.lab.node();
        let log = format!("{}.try", node.config());
        let _former = fs::remove_file(&log);
        let line = node.line(&format!("{} --try 600", self.apply()));
        let mut command = node.netns.command(&format!("exec {by} {line} > {log} 2>&1"));
        let mut child = command.spawn().unwrap();
        wait_for("the change is on trial", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let ended = child.try_wait().unwrap();
            assert_eq!(ended, None, "{text}");
            let there = text.contains("# on trial");
            seen(text, there)
        });
        child
    }

    /// How many calls of each kind an apply makes until it waits.
    fn calls(&self) -> Calls {
        let node = self.lab.node();
        let log = format!("{}.strace", node.config());
        let mut apply = self.try_for(&format!("strace -q -o {log} -e trace=sendto,bpf"));
        let trace = fs::read_to_string(&log).unwrap();
        node.ok("rollback");
        apply.wait().unwrap();
        self.lab.wait_for_state("roll back", &self.found);
        ["sendto", "bpf"].map(|call| {
            let of_call = trace.lines().filter(|line| line.starts_with(&format!("{call}(")));
            (call, u32::try_from(of_call.count()).unwrap())
        })
    }

    /// Runs an apply that is killed at a call.
    fn kill(&self, apply: &str, call: &str, number: u32) {
        let node = self.lab.node();
        let log = format!("{}.strace", node.config());
        let by = format!(
            "strace -q -o {log} -e trace={call} -e inject={call}:signal=KILL:when={number}"
        );
        node.netns.output(&format!("{by} {}", node.line(apply)));
        let trace = fs::read_to_string(&log).unwrap();
        assert!(trace.contains("killed by SIGKILL"), "{call} {number}: {trace}");
    }

    /// Prints the gaps, and compares.
    fn report(&self) {
        let millis = |gap: &Gap| gap.missing * u32::try_from(PERIOD.as_millis()).unwrap();
        let mut table = String::new();
        for Row { step, gap, by_hand, .. } in &self.rows {
            writeln!(table, "  {step:42} {:>6} ms, by hand {:>4} ms", millis(gap), millis(by_hand))
                .unwrap();
        }
        println!("{}:\n{table}", self.kind.name);
        // A line of the table of all kinds: the longest gap of all kills is one column.
        let mut line = format!("nodes: {:35}", self.kind.name);
        for columns in self.rows.chunk_by(|one, next| one.is_kill() && next.is_kill()) {
            let longest = columns.iter().map(|row| millis(&row.gap)).max().unwrap_or_default();
            let by_hand = columns.iter().map(|row| millis(&row.by_hand)).max().unwrap_or_default();
            let name = if columns[0].is_kill() { "killed" } else { &columns[0].step };
            write!(line, " {name} {longest}/{by_hand}").unwrap();
        }
        println!("{line}  ms/by hand");
        let longer = |row: &&Row| row.gap.missing > row.by_hand.missing + row.more + TOLERANCE;
        let longer: Vec<_> =
            self.rows.iter().filter(longer).map(|row| (&row.step, &row.gap)).collect();
        assert!(longer.is_empty(), "longer than by hand: {longer:?}\n{table}");
    }
}

impl Row {
    fn is_kill(&self) -> bool {
        self.more > 0
    }
}

/// The calls at which an apply is killed: most changes are in its last third.
fn points(calls: u32) -> Vec<u32> {
    if soak() {
        return (1..=calls).step_by(3).collect();
    }
    vec![calls - calls / 4]
}
