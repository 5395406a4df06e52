//! The programs alone, by BPF_PROG_TEST_RUN: frames that no wire delivers (the kernel drops a frame that is cut off
//! inside its tag before TC sees it), and random bytes of every length.

use std::{fs, path::PathBuf};

use crate::{frame::Frame, lab::Netns, node::Node};

/// `TC_ACT_UNSPEC`
const PASS: u32 = u32::MAX;
/// `TC_ACT_SHOT`
const DROP: u32 = 2;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

const CONFIG: &str = "
clusterNetworks:
  oob: { vlanFiltering: off, uplink: { nics: [eth2], bond: { mode: none }, native: none } }
networks:
  v100:  { clusterNetwork: oob, vlan: 100 }
  trunk: { clusterNetwork: oob, trunk: '300-302' }
ports:
  - { device: a100, network: v100 }
  - { device: trunk, network: trunk }
";

struct Programs {
    node: Node,
    _others: Netns,
    directory: PathBuf,
}

impl Programs {
    fn new() -> Self {
        let (node, others) = (Node::new(), Netns::new("others"));
        for name in ["eth2", "a100", "trunk"] {
            node.netns.veth(name, &others, name);
        }
        node.apply(CONFIG);
        let directory = std::env::temp_dir().join(format!("{}-run", node.netns.name));
        fs::create_dir_all(&directory).unwrap();
        Self { node, _others: others, directory }
    }

    /// Runs a program as if this had come to a device, and returns its verdict.
    fn verdict(&self, program: &str, device: &str, bytes: &[u8]) -> u32 {
        let file = |name: &str| self.directory.join(name).display().to_string();
        fs::write(file("in"), bytes).unwrap();
        // Not from /sys, which belongs to the namespace that mounted it.
        let link = self.node.netns.json(&format!("ip -j link show {device}"));
        let index = u32::try_from(link[0]["ifindex"].as_u64().unwrap()).unwrap();
        let context = if program == "uplink_xdp" {
            // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
            let length = u32::try_from(bytes.len()).unwrap();
            [0, length, 0, index, 0, 0].map(u32::to_ne_bytes).concat()
        } else {
            // struct __sk_buff up to ifindex, its eleventh word
            let mut context = vec![0; 192];
            context[40..44].copy_from_slice(&index.to_ne_bytes());
            context
        };
        fs::write(file("context"), context).unwrap();
        let programs = self.node.pin("programs");
        let run = self.node.netns.json(&format!(
            "bpftool -j prog run pinned {programs}/*/{program} data_in {} ctx_in {} repeat 1",
            file("in"),
            file("context")
        ));
        u32::try_from(run["retval"].as_u64().unwrap()).unwrap()
    }

    fn drops(&self) -> String {
        self.node.ok("show drops -j")
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn verdicts_by_program_port_and_tags() {
    let programs = Programs::new();
    let frame = |tags: &[(u16, u16)]| Frame::numbered(1, tags).to_bytes();
    let c = 0x8100;
    for (program, device, tags, expected) in [
        ("port_in", "a100", vec![], PASS),
        ("port_in", "a100", vec![(c, 100)], DROP),
        ("port_in", "trunk", vec![], DROP),
        ("port_in", "trunk", vec![(c, 300)], PASS),
        ("port_in", "trunk", vec![(c, 303)], DROP),
        ("port_in", "trunk", vec![(c, 4095)], DROP),
        ("uplink_in", "eth2", vec![], DROP),
        ("uplink_in", "eth2", vec![(c, 100)], PASS),
        ("uplink_in", "eth2", vec![(c, 101)], DROP),
        // No tag in the metadata: this VLAN is nobody's.
        ("port_out", "a100", vec![], DROP),
        ("uplink_xdp", "eth2", vec![], XDP_PASS),
        ("uplink_xdp", "eth2", vec![(c, 0)], XDP_PASS),
        ("uplink_xdp", "eth2", vec![(c, 100)], XDP_PASS),
        ("uplink_xdp", "eth2", vec![(c, 101)], XDP_DROP),
        ("uplink_xdp", "eth2", vec![(c, 4095)], XDP_DROP),
        ("uplink_xdp", "eth2", vec![(0x88a8, 101)], XDP_PASS),
    ] {
        assert_eq!(
            programs.verdict(program, device, &frame(&tags)),
            expected,
            "{program} {tags:?}"
        );
    }
    let drops = programs.drops();
    for reason in
        ["untagged", "vlan-not-allowed", "tagged-on-access", "reserved-vid", "egress-filtered"]
    {
        assert!(drops.contains(reason), "{reason}: {drops}");
    }
}

#[test]
fn a_device_without_a_policy_passes_nothing() {
    let programs = Programs::new();
    let bytes = Frame::numbered(1, &[]).to_bytes();
    // `lo` has index 1, for which the kernel takes the context's word as well.
    assert_eq!(programs.verdict("port_in", "lo", &bytes), DROP);
    assert!(programs.drops().contains("no-policy"), "{}", programs.drops());
}

#[test]
fn link_local_groups_pass_at_the_uplink_and_nowhere_else() {
    let programs = Programs::new();
    for last in [0x00, 0x02, 0x0e] {
        let mut frame = Frame::numbered(1, &[]);
        frame.destination = [0x01, 0x80, 0xc2, 0, 0, last];
        let bytes = frame.to_bytes();
        assert_eq!(programs.verdict("uplink_in", "eth2", &bytes), PASS);
        assert_eq!(programs.verdict("uplink_out", "eth2", &bytes), PASS);
        assert_eq!(programs.verdict("uplink_xdp", "eth2", &bytes), XDP_PASS);
        assert_eq!(programs.verdict("port_in", "a100", &bytes), DROP);
        assert_eq!(programs.verdict("port_out", "a100", &bytes), DROP);
    }
}

#[test]
fn a_frame_cut_off_inside_its_tag_is_dropped() {
    let programs = Programs::new();
    let whole = Frame::numbered(1, &[(0x8100, 100)]).to_bytes();
    for length in 14..18 {
        assert_eq!(programs.verdict("uplink_in", "eth2", &whole[..length]), DROP, "{length}");
        // XDP leaves it to TC, and the kernel drops it before.
        assert_eq!(programs.verdict("uplink_xdp", "eth2", &whole[..length]), XDP_PASS, "{length}");
    }
    assert_eq!(programs.verdict("uplink_in", "eth2", &whole[..18]), PASS);
    assert!(programs.drops().contains("malformed"), "{}", programs.drops());
}
