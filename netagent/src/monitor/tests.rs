use insta::assert_snapshot;
use netagent_common::{
    counters::{ANY_VID, Direction, Reason},
    sample::{CAPTURE, Sample},
};

use super::{options::vlan, *};

/// A broadcast frame of 60 bytes with an ARP Ethertype.
fn sample(captured: u32) -> Sample {
    let mut bytes = [0xee; CAPTURE];
    bytes[..14].copy_from_slice(&[255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 7, 8, 6]);
    Sample {
        time: 1_000_000_000,
        ifindex: 4,
        length: 60,
        captured,
        port: 3,
        vid: 200,
        direction: Direction::Receive as u16,
        reason: Reason::VlanNotAllowed as u16,
        tpid: 0x8100,
        tci: 200,
        bytes,
    }
}

const EPOCH: u64 = 1_790_000_000_123_456_789;

fn event(sample: &Sample) -> Event {
    Event::new(sample, EPOCH, "tap7".to_owned())
}

#[test]
fn line_has_the_names_of_show_drops() {
    let line = event(&sample(60)).line();
    assert_snapshot!(line, @"2026-09-21T14:13:21.123456Z tap7 receive vlan 200 vlan-not-allowed 02:00:00:00:00:07 > ff:ff:ff:ff:ff:ff ethertype 0x0806 length 64");
    let untagged = Sample { tpid: 0, tci: 0, vid: 0, direction: 1, reason: 999, ..sample(60) };
    assert_snapshot!(event(&untagged).line(), @"2026-09-21T14:13:21.123456Z tap7 transmit vlan none reason-999 02:00:00:00:00:07 > ff:ff:ff:ff:ff:ff ethertype 0x0806 length 60");
}

#[test]
fn truncated_frame_has_dashes_for_missing_fields() {
    let short = Sample { tpid: 0, vid: ANY_VID, length: 9, ..sample(9) };
    assert_snapshot!(event(&short).line(), @"2026-09-21T14:13:21.123456Z tap7 receive vlan other vlan-not-allowed - > ff:ff:ff:ff:ff:ff ethertype - length 9");
    // A program never writes more than fits; the length is still bounded.
    assert_eq!(event(&sample(u32::MAX)).bytes.len(), CAPTURE + 4);
}

#[test]
fn json_frame_has_its_tag_in_place() {
    let json: serde_json::Value = serde_json::from_str(&event(&sample(18)).json()).unwrap();
    assert_snapshot!(json, @r#"{"destination":"ff:ff:ff:ff:ff:ff","device":"tap7","direction":"receive","ethertype":"0x0806","frame":"ffffffffffff020000000007810000c80806eeeeeeee","length":64,"reason":"vlan-not-allowed","source":"02:00:00:00:00:07","time":"2026-09-21T14:13:21.123456Z","vlan":"200"}"#);
}

#[test]
fn vlan_option_accepts_printed_vlans() {
    assert_eq!(vlan("none").unwrap(), 0);
    assert_eq!(vlan("4095").unwrap(), 4095);
    for bad in ["0", "4096", "-1", "", "x", "other"] {
        assert!(vlan(bad).unwrap_err().to_string().contains("1 to 4095"), "{bad}");
    }
}

#[test]
fn summary_names_only_causes_that_occurred() {
    assert_eq!(summary(3, Unsampled::default(), 0), "drops shown: 3; not shown: none");
    let unsampled = Unsampled { filtered: 2, limited: 7, lost: 1 };
    assert_eq!(
        summary(100, unsampled, 4),
        "drops shown: 100; not shown: 7 over the limit of 100 per second and port, \
         2 excluded by the filter, 1 lost because the buffer was full, 4 unread at the end"
    );
}

/// Type and body of each block, after a check of both lengths.
fn blocks(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let word = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().unwrap());
    let mut blocks = Vec::new();
    while !bytes.is_empty() {
        let length = word(&bytes[4..]) as usize;
        assert_eq!(word(&bytes[length - 4..]) as usize, length);
        assert_eq!(length % 4, 0);
        blocks.push((word(bytes), &bytes[8..length - 4]));
        bytes = &bytes[length..];
    }
    blocks
}

#[test]
fn capture_has_a_header_and_each_device_before_its_first_frame() {
    let path = std::env::temp_dir().join(format!("netagent-{}.pcapng", std::process::id()));
    let _left_by_another = std::fs::remove_file(&path);
    let mut capture = Capture::create(&path).unwrap();
    let frame = event(&sample(61));
    let other = Event { device: "eth2".to_owned(), ..frame.clone() };
    for event in [&frame, &other, &frame] {
        capture.add(event).unwrap();
    }
    let complaint = Capture::create(&path).err().unwrap().to_string();
    assert!(complaint.ends_with("already exists: remove it, or choose another name"));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let blocks = blocks(&bytes);
    let kinds: Vec<_> = blocks.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 1, 6, 6]);
    let interfaces: Vec<_> =
        [2, 4, 5].into_iter().map(|number: usize| blocks[number].1[0]).collect();
    assert_eq!(interfaces, [0, 1, 0]);
    let packet = blocks[2].1;
    assert_eq!(&packet[12..20], [65, 0, 0, 0, 64, 0, 0, 0], "captured and length, with the tag");
    assert_eq!(&packet[20..85], frame.bytes);
}
