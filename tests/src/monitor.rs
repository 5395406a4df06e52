//! `netagent monitor`: its output for real frames, its refusals, its end, and its traces in the
//! node.

mod lab;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::fd::AsRawFd as _,
};

use serde_json::{Value, json};

use self::lab::{CONFIG, Lab};
use crate::{
    frame::{C, Frame},
    lab::{seen, sh, wait_for, wait_until, wait_until_eq},
    needs_program, once,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Frames from a VM with the tag in the bytes and in the metadata, from the wire (where XDP drops
/// them), and to a VM, where the tag is in the metadata.
#[test]
fn every_kind_of_drop_is_shown() {
    let lab = Lab::applied();
    let monitor = lab.monitor("-j");
    let mut slow = Frame::numbered(2, &[]);
    slow.destination = [0x01, 0x80, 0xc2, 0, 0, 2];
    let mut long = Frame::numbered(4, &[(C, 4095)]);
    long.payload.resize(1400, 0xab);
    let sent = [
        (&lab.a100, Frame::numbered(1, &[(C, 0xa12c)])),
        (&lab.a100, slow),
        (&lab.wire, Frame::numbered(3, &[(C, 400)])),
        (&lab.wire, long),
        // A frame of VLAN 200, flooded to all ports of a VLAN-unaware bridge.
        (&lab.a200, Frame::numbered(5, &[])),
    ];
    for (wire, frame) in &sent {
        wire.send(frame);
    }
    let kinds = [
        ("a100", "receive", "300", "vlan-not-allowed"),
        ("a100", "receive", "none", "link-local"),
        ("eth2", "receive", "400", "vlan-not-allowed"),
        ("eth2", "receive", "4095", "reserved-vid"),
        ("a100", "transmit", "200", "egress-filtered"),
    ];
    for (device, _, _, reason) in kinds {
        wait_for("the drop is counted", || seen(lab.node.drops(), lab.dropped(device, reason) > 0));
    }
    let (mut events, last) = monitor.terminate();
    // Samples from XDP and from the softirqs of several CPUs are in no defined order.
    let number = |event: &Value| event["source"].as_str().unwrap()[15..].to_owned();
    events.sort_by_key(number);
    assert_eq!(events.len(), sent.len(), "{events:?} {last}");
    for (mut event, ((device, direction, vlan, reason), (_, frame))) in
        events.into_iter().zip(kinds.into_iter().zip(sent))
    {
        let tags = if direction == "transmit" { vec![(C, 200)] } else { frame.tags.clone() };
        let bytes = frame.with_tags(&tags).to_bytes();
        // The first 128 bytes, plus a tag that was in the metadata.
        let captured = event["frame"].as_str().unwrap().len() / 2;
        assert!((bytes.len().min(128)..=bytes.len().min(132)).contains(&captured), "{event}");
        let time = event.as_object_mut().unwrap().remove("time").unwrap();
        assert!(time.as_str().unwrap().ends_with('Z') && time.as_str().unwrap() > "2026", "{time}");
        let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
        let expected = json!({
            "device": device, "direction": direction, "vlan": vlan, "reason": reason,
            "source": mac(frame.source), "destination": mac(frame.destination),
            "ethertype": "0x88b5", "length": bytes.len(), "frame": hex(&bytes[..captured]),
        });
        assert_eq!(event, expected);
    }
    assert!(last.starts_with("drops shown: ") && last.ends_with("not shown: none\n"), "{last}");
}

#[test]
fn filters_select_and_excluded_drops_are_counted() {
    once();
    let lab = Lab::new();
    let daemon = lab.node.run();
    for (arguments, number) in [
        ("--port a200", 1),
        ("--vlan 301", 2),
        ("--reason reserved-vid", 3),
        ("--port a100 --vlan 300 --reason vlan-not-allowed", 4),
    ] {
        let monitor = lab.monitor(&format!("-j {arguments}"));
        let before = lab.dropped("a100", "vlan-not-allowed");
        lab.a200.send(&Frame::numbered(1, &[(C, 300)]));
        lab.a100.send(&Frame::numbered(2, &[(C, 301)]));
        lab.a100.send(&Frame::numbered(3, &[(C, 4095)]));
        lab.a100.send(&Frame::numbered(4, &[(C, 300)]));
        let all = before + 2;
        wait_until_eq("both are dropped", &all, || lab.dropped("a100", "vlan-not-allowed"));
        let (events, last) = monitor.terminate();
        let source = format!("02:74:00:00:00:{number:02x}");
        assert_eq!(events.len(), 1, "{arguments}: {events:?}");
        assert_eq!(events[0]["source"], source, "{arguments}");
        let others = last.trim_end().strip_prefix("drops shown: 1; not shown: ").unwrap();
        let others =
            others.strip_suffix(" excluded by the filter").unwrap().parse::<u32>().unwrap();
        assert!(others >= 3, "{last}");
    }
    drop(daemon);
}

#[test]
fn impossible_requests_are_refused_in_one_line() {
    once();
    let lab = Lab::new();
    let complaint = lab.node.refused("monitor");
    assert!(complaint.contains("nothing is attached: run `netagent apply` or"), "{complaint}");
    lab.node.apply(CONFIG);
    for (arguments, part) in [
        ("--port tap9", "tap9 is not a port with a policy: `netagent show ports` lists the ports"),
        ("--port 'a b'", "interface name \"a b\" has a character"),
        ("--reason nonsense", "use one of untagged, vlan-not-allowed"),
        ("--vlan 4096", "VLAN \"4096\" is not in 1 to 4095"),
    ] {
        let complaint = lab.node.refused(&format!("monitor {arguments}"));
        assert!(complaint.contains(part), "{complaint}");
    }
    let file = lab.file();
    fs::write(&file, "precious").unwrap();
    let complaint = lab.node.refused(&format!("monitor --write {}", file.display()));
    assert!(complaint.contains("already exists"), "{complaint}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let monitor = lab.monitor("");
    let complaint = lab.node.refused("monitor");
    assert!(complaint.contains("another netagent monitor is running"), "{complaint}");
    monitor.signal("INT");
    let (_, last) = monitor.end();
    assert!(last.starts_with("drops shown: "), "{last}");
    // The lock of the ended monitor is free.
    let mut monitor = lab.monitor("");
    lab.node.ok("detach");
    let mut last = String::new();
    monitor.errors.read_to_string(&mut last).unwrap();
    assert!(last.contains("the pins were taken away (netagent detach)"), "{last}");
    assert_eq!(monitor.child.wait().unwrap().code(), Some(1));
}

#[test]
fn monitor_ends_after_a_count_and_when_its_pipe_is_closed() {
    once();
    let lab = Lab::applied();
    let monitor = lab.monitor("--count 3 --reason vlan-not-allowed");
    lab.flood(5);
    let (text, last) = monitor.end();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.lines().all(|line| line.contains(" a100 receive vlan 100")), "{text}");
    assert!(last.contains("drops shown: 3"), "{last}");

    // No drop follows that would show the closed pipe by a failed write.
    let mut monitor = lab.monitor("");
    drop(monitor.child.stdout.take());
    wait_until("the monitor ends", || monitor.child.try_wait().unwrap().is_some());

    // A reader that keeps the pipe open and does not read.
    let mut monitor = lab.monitor("-j --reason vlan-not-allowed");
    let pipe = monitor.child.stdout.take().unwrap();
    wait_until("the pipe is full", || {
        lab.flood(200);
        let end = format!("/proc/self/fd/{}", pipe.as_raw_fd());
        let end = fs::OpenOptions::new().write(true).open(end).unwrap();
        let mut poll = libc::pollfd { fd: end.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one element, which outlives the call.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 0 }
    });
    monitor.signal("TERM");
    wait_until("the monitor ends", || monitor.child.try_wait().unwrap().is_some());
}

#[test]
fn killed_monitor_leaves_nothing_switched_on() {
    let lab = Lab::applied();
    // Excluded frames are counted as long as the programs assume that the monitor reads.
    let mut monitor = lab.monitor("--vlan 4000");
    lab.flood(1);
    assert!(lab.missed("filtered") > 0);
    monitor.child.kill().unwrap();
    monitor.child.wait().unwrap();
    wait_for("the programs forget the monitor", || {
        let before = lab.missed("filtered");
        lab.flood(1);
        let after = lab.missed("filtered");
        seen((before, after), after == before)
    });
    let before = lab.missed("filtered") + lab.missed("limited") + lab.missed("lost");
    lab.flood(300);
    let after = lab.missed("filtered") + lab.missed("limited") + lab.missed("lost");
    assert_eq!(before, after);
    let pin = lab.node.pin("maps/MONITOR");
    let watch = lab.node.netns.json(&format!("bpftool -j map dump pinned {pin}"));
    assert_eq!(watch[0]["formatted"]["value"]["until"], 0, "the next drop does not read the clock");
    let (events, last) = lab.monitor("-j --reason vlan-not-allowed").terminate();
    assert!(events.is_empty() && last.starts_with("drops shown: 0"), "{events:?} {last}");
}

#[test]
fn flood_is_limited_and_every_drop_is_counted() {
    const FRAMES: u32 = 20_000;
    let lab = Lab::applied();
    let began = std::time::Instant::now();
    let mut monitor = lab.monitor("-j --port a100 --reason vlan-not-allowed");
    let stdout = monitor.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || BufReader::new(stdout).lines().count());
    lab.flood(100);
    let before = monitor.resident_kib();
    lab.flood(FRAMES - 100);
    let after = monitor.resident_kib();
    assert!(after < before + 1024, "{before} KiB grew to {after} KiB");
    let windows = began.elapsed().as_secs() + 2;
    monitor.signal("TERM");
    let shown = u64::try_from(reader.join().unwrap()).unwrap();
    let mut last = String::new();
    monitor.errors.read_to_string(&mut last).unwrap();
    assert!((100..=100 * windows).contains(&shown), "{shown} in {windows} s");
    let rest = last.strip_prefix(&format!("drops shown: {shown}; not shown: ")).unwrap();
    // The filter excludes frames of other kinds (the bridge's IGMP).
    let limited = rest.split(", ").find_map(|part| part.split_once(" over the limit of 100 "));
    assert_eq!(shown + limited.unwrap().0.parse::<u64>().unwrap(), u64::from(FRAMES), "{last}");
    assert_eq!(lab.dropped("a100", "vlan-not-allowed"), u64::from(FRAMES));
    // Each port has one window, whatever the port sends.
    let windows = lab
        .node
        .netns
        .json(&format!("bpftool -j map show pinned {}", lab.node.pin("maps/MONITOR_RATE")));
    assert_eq!(windows["max_entries"], 1025);
}

/// Each port has a limit of its own: a VM that floods hides no drops of others.
#[test]
fn drops_of_a_port_are_shown_beside_a_flood_from_another() {
    const ROUNDS: usize = 5;
    let lab = Lab::applied();
    let mut monitor = lab.monitor("-j");
    let stdout = monitor.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map(Result::unwrap);
        lines.filter(|line| line.contains("\"eth2\"")).count()
    });
    // A limit for all would be used up in each second of these.
    for round in (1u32..).take(ROUNDS) {
        lab.flood(300);
        lab.wire.send(&Frame::numbered(round, &[(C, 4095)]));
    }
    let all = u64::try_from(ROUNDS).unwrap();
    wait_until_eq("the drops are counted", &all, || lab.dropped("eth2", "reserved-vid"));
    monitor.signal("TERM");
    assert_eq!(reader.join().unwrap(), ROUNDS);
}

#[test]
fn wireshark_reads_the_file() {
    once();
    if !needs_program("tshark") {
        return;
    }
    let lab = Lab::applied();
    let file = lab.file();
    let monitor = lab.monitor(&format!("--write {} --port a100", file.display()));
    let frames = [Frame::numbered(1, &[(C, 300)]), Frame::numbered(2, &[(C, 300), (C, 100)])];
    frames.iter().for_each(|frame| lab.a100.send(frame));
    // The tag is in the metadata when the frame is dropped on its way to a100.
    lab.a200.send(&Frame::numbered(3, &[]));
    wait_for("all are dropped", || {
        let drops = ["vlan-not-allowed", "egress-filtered"].map(|why| lab.dropped("a100", why));
        seen(drops, drops[0] == 2 && drops[1] > 0)
    });
    monitor.signal("TERM");
    let (text, _) = monitor.end();
    assert!(text.lines().count() >= 3, "{text}");
    let fields = "-e frame.interface_name -e frame.comment -e frame.packet_flags -e frame.encap_type -e frame.len \
                  -e eth.src -e vlan.id";
    let read = sh(&format!(
        "tshark -r {} -Y 'eth.src[0:2] == 02:74' -T fields -E separator=';' {fields} 2>/dev/null",
        file.display()
    ));
    assert_eq!(
        read,
        "a100;dropped: vlan-not-allowed;0x00000001;1;64;02:74:00:00:00:01;300\n\
         a100;dropped: vlan-not-allowed;0x00000001;1;68;02:74:00:00:00:02;300,100\n\
         a100;dropped: egress-filtered;0x00000002;1;64;02:74:00:00:00:03;200\n"
    );
    // The bytes are complete, and the time is now.
    let read = sh(&format!(
        "tshark -r {} -Y 'eth.src == 02:74:00:00:00:02' -T json -x 2>/dev/null",
        file.display()
    ));
    let read: Value = serde_json::from_str(&read).unwrap();
    assert_eq!(read[0]["_source"]["layers"]["frame_raw"][0], hex(&frames[1].to_bytes()));
    let time = read[0]["_source"]["layers"]["frame"]["frame.time_epoch"].as_str().unwrap();
    let seconds: u64 = time.split('.').next().unwrap().parse().unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now - seconds < 60 && time.split('.').nth(1).unwrap().len() == 9, "{time}");
}
