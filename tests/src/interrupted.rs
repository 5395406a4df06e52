//! Nothing ends half way: output that cannot be written, a terminal that hangs up, signals. And
//! what cannot work is refused before the first change.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::fd::AsRawFd as _,
    process::{Child, Output, Stdio},
};

use crate::{
    Feature,
    lab::{Netns, seen, sh, succeeded, wait_for},
    needs, needs_program,
    node::Node,
    once,
};

/// A node with a segment that has an uplink and an address of the node, and with ports.
struct Lab {
    node: Node,
    others: Netns,
    ports: usize,
}

impl Lab {
    fn new(ports: usize) -> Self {
        let lab = Self { node: Node::new(), others: Netns::new("others"), ports };
        lab.node.netns.veth("eth2", &lab.others, "eth2");
        lab.plug();
        let mut file = "
clusterNetworks:
  oob: { uplink: { nics: [eth2], bond: { mode: none } }, host: { address: 10.9.0.1/24 } }
networks: { v100: { clusterNetwork: oob, vlan: 100 } }
ports:
"
        .to_owned();
        for port in 0..ports {
            writeln!(file, "  - {{ device: p{port:03}, network: v100 }}").unwrap();
        }
        lab.node.configure(&file);
        lab
    }

    fn plug(&self) {
        for port in 0..self.ports {
            self.node.netns.veth(&format!("p{port:03}"), &self.others, &format!("p{port:03}"));
        }
        self.node.netns.wait_for_carriers();
    }

    fn apply(&self) -> String {
        format!("apply -c {}", self.node.config())
    }

    /// Removes everything that an apply has made.
    fn reset(&self) {
        self.node.ok("detach");
        self.node.netns.sh("ip link del oob-br 2>/dev/null || true");
    }

    /// Starts an apply whose stdout is a pipe.
    fn start(&self) -> Child {
        let mut command = self.node.command(&self.apply());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The segment works: uplink, and address of the node.
    fn assert_segment_is_complete(&self) {
        assert_eq!(self.node.netns.link("eth2")["master"], "oob-br");
        let addresses = self.node.netns.sh("ip -br address show oob-br");
        assert!(addresses.contains("10.9.0.1/24"), "{addresses}");
    }
}

impl Lab {
    /// Starts an apply, sends it a signal after its first step, and reads its output to the end.
    fn start_and_signal(&self, signal: &str) -> (Child, String) {
        let mut child = self.start();
        let (line, mut rest) = first_line(&mut child);
        assert!(line.starts_with("ip link add"), "{line}");
        sh(&format!("kill -{signal} {}", child.id()));
        let mut output = String::new();
        rest.read_to_string(&mut output).unwrap();
        (child, output)
    }
}

/// Reads the first line of a child's stdout: the first step has been taken.
fn first_line(child: &mut Child) -> (String, impl std::io::Read + use<>) {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    (line, reader)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn output_that_cannot_be_written_does_not_stop_an_apply() {
    once();
    let lab = Lab::new(3);
    let file = lab.node.config() + ".out";
    for (before, after, code) in [
        ("", "| head -1", 0),
        ("", "2>&1 | true", 0),
        ("", "> /dev/full", 0),
        ("", "> /dev/full 2>&1", 0),
        ("", ">&- 2>&-", 0),
        ("ulimit -f 0;", &*format!("> {file} 2>&1"), 0),
    ] {
        let line = lab.node.line(&format!("--log-level debug {}", lab.apply()));
        let output = lab.node.netns.output(&format!("{before} {line} {after}"));
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{after}: {said}");
        assert!(!said.contains("panicked"), "{after}: {said}");
        lab.assert_segment_is_complete();
        lab.node.assert_settled();
        lab.reset();
    }
    let output = lab.node.netns.output(&format!("{} > /dev/full", lab.node.line(&lab.apply())));
    assert!(text(&output).contains("stdout is not complete: No space left"), "{}", text(&output));
    lab.node.assert_settled();
}

#[test]
fn output_that_nobody_reads_does_not_delay_an_apply() {
    once();
    let lab = Lab::new(3);
    let apply = lab.node.line(&format!("--log-level debug {}", lab.apply()));
    let mut command = lab.node.netns.command(&format!("exec {apply} 2>&1"));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    // SAFETY: a descriptor that lives here.
    let size = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    assert_eq!(size, 4096);
    lab.node.wait_until_settled("the apply has ended");
    lab.assert_segment_is_complete();
    assert_eq!(child.try_wait().unwrap(), None, "the output did not fill the pipe");
    // Another can take charge meanwhile, and a signal ends the wait for a reader.
    wait_for("another can take charge", || succeeded(&lab.node.netagent(&lab.apply())));
    sh(&format!("kill -TERM {}", child.id()));
    assert!(child.wait().unwrap().success());
    let mut output = String::new();
    pipe.read_to_string(&mut output).unwrap();
    assert!(output.contains("ip link add"), "{output}");
}

#[test]
fn an_apply_outlives_its_terminal() {
    once();
    let lab = Lab::new(6);
    for signal in ["HUP", "TSTP", "QUIT", "XFSZ"] {
        let (child, output) = lab.start_and_signal(signal);
        assert!(output.ends_with("done, and verified\n"), "{signal}: {output}");
        assert!(child.wait_with_output().unwrap().status.success(), "{signal}");
        lab.node.assert_settled();
        lab.reset();
    }
}

#[test]
fn a_signal_stops_an_apply_when_the_segments_that_have_begun_are_complete() {
    once();
    let lab = Lab::new(40);
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let (child, output) = lab.start_and_signal(signal);
        assert!(output.ends_with("stopped before the end\n"), "{output}");
        let ended = child.wait_with_output().unwrap();
        let errors = text(&ended);
        assert_eq!(ended.status.code(), Some(code), "{errors}");
        assert!(errors.contains(&format!("SIG{signal}: stopped between units; not done: port p0")));
        assert_eq!(errors.lines().count(), 1, "{errors}");
        lab.assert_segment_is_complete();
        assert!(lab.node.netns.link("p039")["master"].is_null(), "nothing was left out");
        let again = lab.node.netagent(&lab.apply());
        assert_eq!(again.status.code(), Some(0), "{}", text(&again));
        lab.node.assert_settled();
        lab.reset();
    }
}

#[test]
fn a_signal_before_the_first_change_stops_an_apply_with_nothing_done() {
    once();
    let lab = Lab::new(1);
    let file = fs::read_to_string(lab.node.config()).unwrap();
    // The apply waits for its file.
    sh(&format!("rm {0} && mkfifo {0}", lab.node.config()));
    let before = lab.node.netns.json("ip -d -j link");
    for (signal, number) in [("TERM", 15), ("INT", 2)] {
        let child = lab.start();
        wait_for("the apply handles signals", || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap();
            let caught = u64::from_str_radix(caught, 16).unwrap();
            seen(status, caught & 1 << (number - 1) != 0)
        });
        sh(&format!("kill -{signal} {}", child.id()));
        fs::write(lab.node.config(), &file).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(128 + number), "{}", text(&ended));
        assert_eq!(text(&ended), format!("netagent: SIG{signal}: nothing was done\n"));
        assert_eq!(lab.node.netns.json("ip -d -j link"), before);
    }
}

#[test]
fn help_that_cannot_be_written_is_no_panic() {
    once();
    let node = Node::new();
    node.configure("{}");
    let check = format!("check -c {}", node.config());
    for arguments in ["--help", "--version", "apply --help", "--wrong", "schema", "explain", &check]
    {
        for redirection in ["> /dev/full 2>&1", ">&- 2>&-", "| true", "2>&1 | true"] {
            let file = node.config() + ".err";
            let line = format!("( {} ) {redirection}", node.line(arguments));
            // The status 101 is that of a panic.
            let output = node.netns.output(&format!("{{ {line}; }} 2> {file}; test $? -ne 101"));
            let said = fs::read_to_string(&file).unwrap_or_default();
            assert!(output.status.success() && !said.contains("panicked"), "{line}: {said}");
        }
    }
}

#[test]
fn what_cannot_work_is_refused_before_the_first_change() {
    once();
    let lab = Lab::new(2);
    let (node, pins) = (&lab.node, &lab.node.pins);
    let links = || node.netns.json("ip -d -j link");
    let before = links();
    let refused = |prefix: &str, arguments: &str, complaint: &str| {
        let output = node.netns.output(&format!("{prefix} {}", node.line(arguments)));
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{prefix}: {said}");
        assert!(said.lines().count() == 1 && said.contains(complaint), "{prefix}: {said}");
        assert_eq!(links(), before, "{prefix}: {said}");
    };
    let read_only = |line: &str| {
        format!("unshare -m sh -c 'mount -o remount,bind,ro /sys/fs/bpf && \"$@\"' sh {line}")
    };
    let run = format!("run -c {}", node.config());
    for arguments in [&lab.apply(), &run] {
        for (dropped, complaint) in [
            ("-bpf,-sys_admin", "no CAP_BPF: run"),
            ("-net_admin", "no CAP_NET_ADMIN: run"),
            ("-all", "no CAP_NET_ADMIN and no CAP_BPF: run"),
        ] {
            let prefix = format!("setpriv --bounding-set={dropped}");
            refused(&prefix, arguments, complaint);
            assert!(!pins.exists(), "{dropped}: something is left behind");
        }
        refused(&read_only(""), arguments, "mounted read-only");
        assert!(!pins.exists());
        // The capabilities that are checked are there, and the programs are refused all the same:
        // a map cannot be made.
        let no_maps = "strace -f -o /dev/null -e trace=bpf -e inject=bpf:error=ENOMEM:when=1+";
        if needs_program("strace") {
            refused(no_maps, arguments, "create the BPF maps");
            assert!(!pins.exists(), "something is left behind");
        }
        sh(&format!("mkdir -m 700 {0} {0}/v0", pins.display()));
        refused("", arguments, "v0 belongs to another version of netagent");
        node.ok("detach");
        assert!(!pins.exists());
    }
    node.ok(&lab.apply());
    lab.assert_segment_is_complete();
    // Pins that are there do not need a writable file system, but other steps do.
    let output = node.netns.output(&read_only(&node.line(&lab.apply())));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let status = node.netns.output(&read_only(&node.line("status")));
    assert!(text(&status).contains("Ready"), "{}", text(&status));
}

#[test]
fn a_segment_or_port_whose_programs_the_kernel_refuses_is_not_begun() {
    once();
    if !needs(&[Feature::StackedTags]) {
        return;
    }
    let (node, others) = (Node::new(), Netns::new("others"));
    for link in ["eth2", "eth3", "eth4", "vm1", "vm2", "vm3"] {
        node.netns.veth(link, &others, link);
    }
    let file = |segments: &str, networks: &str, ports: &str| {
        format!(
            "
clusterNetworks:
  oob: {{ uplink: {{ nics: [eth2], bond: {{ mode: none }} }} }}
{segments}
networks:
  q10: {{ clusterNetwork: oob, qinq: 10 }}
  v100: {{ clusterNetwork: oob, vlan: 100 }}
{networks}
ports:
  - {{ device: vm1, network: v100, security: {{ dhcpGuard: true }} }}
{ports}
"
        )
    };
    node.apply(&file("", "", ""));
    // The programs with these options cannot be loaded any more: their pins are taken.
    let options =
        node.netns.sh(&format!("ls -d {0}/port_in-* {0}/uplink_in-*", node.pin("programs/*")));
    assert_eq!(options.lines().count(), 2, "{options}");
    for pin in options.lines() {
        fs::remove_file(pin).unwrap();
        std::os::unix::fs::symlink("nowhere", pin).unwrap();
    }
    node.configure(&file(
        "  lab: { uplink: { nics: [eth3], bond: { mode: none } } }
  edge: { uplink: { nics: [eth4], bond: { mode: none } } }",
        "  q20: { clusterNetwork: lab, qinq: 20 }",
        "  - { device: vm2, network: v100, security: { dhcpGuard: true } }
  - { device: vm3, network: v100 }",
    ));
    let output = node.netagent(&format!("apply -c {}", node.config()));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let errors = String::from_utf8_lossy(&output.stderr);
    for part in ["bridge lab-br: pin uplink_in", "port vm2: pin port_in"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    // Neither has begun.
    assert!(node.netns.link("lab-br").is_null());
    assert!(node.netns.link("eth3")["master"].is_null());
    assert!(node.netns.link("vm2")["master"].is_null());
    // Others are as desired, and what was there stays.
    assert_eq!(node.netns.link("eth4")["master"], "edge-br");
    for port in ["vm1", "vm3", "eth2"] {
        assert_eq!(node.netns.link(port)["master"], "oob-br");
    }
}
