//! The programs alone, run by BPF_PROG_TEST_RUN: frames that no wire delivers (the kernel drops a
//! frame that is truncated inside its tag before TC sees it), and random bytes of every length.

use netagent_common::{
    counters::Direction,
    decide::{Headers, Verdict, decide},
    guard::{self, Mac, Owner},
    policy::{self, Ip, Policy},
    vlan,
};

use crate::{
    frame::Frame, lab::Netns, node::Node, policy::change_flags, program::Program, rng::Rng,
};

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
}

impl Programs {
    fn new() -> Self {
        let (node, others) = (Node::new(), Netns::new("others"));
        for name in ["eth2", "a100", "trunk"] {
            node.netns.veth(name, &others, name);
        }
        node.apply(CONFIG);
        Self { node, _others: others }
    }

    /// Runs a program as for a frame at a device; returns the verdict.
    fn verdict(&self, program: &str, device: &str, bytes: &[u8]) -> u32 {
        let program = Program::open(&self.node.pin("programs"), program);
        let index = self.index(device);
        self.node.netns.inside(|| program.run(bytes, index)).unwrap()
    }

    fn index(&self, device: &str) -> u32 {
        self.node.netns.ifindex(device)
    }

    fn drops(&self) -> String {
        self.node.ok("show drops -j")
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
        // Without a tag in the metadata, the frame is in a VLAN that no port has.
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

/// Where a NIC may move the outer tag to the metadata, XDP reads the inner one: TC judges.
#[test]
fn xdp_judges_nothing_where_tags_may_be_hidden() {
    let programs = Programs::new();
    let inner = Frame::numbered(1, &[(0x8100, 101)]).to_bytes();
    assert_eq!(programs.verdict("uplink_xdp", "eth2", &inner), XDP_DROP);
    change_flags(&programs.node, "eth2", |flags| *flags &= !policy::TAGS_IN_BYTES);
    assert_eq!(programs.verdict("uplink_xdp", "eth2", &inner), XDP_PASS);
}

#[test]
fn device_without_a_policy_passes_nothing() {
    let programs = Programs::new();
    let bytes = Frame::numbered(1, &[]).to_bytes();
    // `lo` has index 1. The kernel also accepts index 1 from the context.
    assert_eq!(programs.verdict("port_in", "lo", &bytes), DROP);
    assert!(programs.drops().contains("no-policy"), "{}", programs.drops());
}

#[test]
fn link_local_groups_pass_only_at_the_uplink() {
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
fn frame_truncated_inside_its_tag_is_dropped() {
    let programs = Programs::new();
    let whole = Frame::numbered(1, &[(0x8100, 100)]).to_bytes();
    for length in 14..18 {
        assert_eq!(programs.verdict("uplink_in", "eth2", &whole[..length]), DROP, "{length}");
        // XDP passes the frame to TC, and the kernel drops it before TC.
        assert_eq!(programs.verdict("uplink_xdp", "eth2", &whole[..length]), XDP_PASS, "{length}");
    }
    assert_eq!(programs.verdict("uplink_in", "eth2", &whole[..18]), PASS);
    assert!(programs.drops().contains("malformed"), "{}", programs.drops());
}

/// Random frames of every length: each program returns the verdict of the decision as this test
/// computes it, and the kernel accepts every frame.
#[test]
fn random_bytes_of_every_length_get_the_verdict_of_the_decision() {
    let programs = Programs::new();
    programs.node.apply(&CONFIG.replace(
        "network: v100 }",
        "network: v100, security: { dhcpGuard: true, raGuard: true } }",
    ));
    let guards = policy::DHCP_GUARD | policy::RA_GUARD;
    let builds = programs.node.pin("programs");
    let of = |flags, pvid, vids: std::ops::Range<u16>| {
        let mut policy = Policy { flags, pvid, ..Policy::EMPTY };
        vids.for_each(|vid| policy.vids[usize::from(vid / 64)] |= 1 << (vid % 64));
        policy
    };
    let tagged = policy::ADMIT_TAGGED;
    let mut uplink = of(policy::ADMIT_UNTAGGED | tagged | policy::LINK_LOCAL_BYPASS, 0, 300..303);
    uplink.vids[1] |= 1 << (100 % 64);
    let cases = [
        ("uplink_in", "eth2", &uplink),
        ("port_in", "trunk", &of(policy::ADMIT_UNTAGGED | tagged, 0, 300..303)),
        ("port_in-6000", "a100", &of(policy::ADMIT_UNTAGGED | guards, 100, 100..101)),
    ];
    let mut rng = Rng(0x6e65_7461_6765_6e74);
    for (name, device, policy) in cases {
        let (program, index) = (Program::open(&builds, name), programs.index(device));
        let frames: Vec<_> = (14..1600).map(|length| frame(&mut rng, length)).collect();
        let run = || frames.iter().map(|bytes| program.run(bytes, index)).collect::<Vec<_>>();
        let mut passed = 0;
        for (bytes, verdict) in frames.iter().zip(programs.node.netns.inside(run)) {
            let wanted = if passes(policy, bytes) { PASS } else { DROP };
            passed += u32::from(wanted == PASS);
            match verdict {
                Ok(verdict) => assert_eq!(verdict, wanted, "{name} {bytes:02x?}"),
                // The kernel runs no program on an IP frame without an IP header.
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{bytes:02x?}"),
            }
        }
        assert!(passed > 100, "{name}: only {passed} frames pass, which proves little");
    }
}

/// Random bytes that often begin with a plausible header.
fn frame(rng: &mut Rng, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|_| rng.below(256).to_be_bytes()[1]).collect();
    let beginnings: [&[u8]; 9] = [
        &[],
        &[0x81, 0, 0x41, 0x2c],
        &[0x81, 0, 0, 100],
        &[0x81, 0, 0x0f, 0xff],
        &[0x81, 0, 0, 0],
        &[0x81, 0, 0x61, 0x2d, 0x81, 0, 0, 100],
        &[0x88, 0xa8, 0, 100],
        &[0, 80, 0xaa, 0xaa, 3, 0, 0, 0],
        &[8, 0],
    ];
    let payloads: [&[u8]; 7] = [
        &[],
        &[0x88, 0xb5],
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 58, 255],
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 58, 255],
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 0, 255],
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 44, 255],
        &[8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17],
    ];
    let head = [rng.pick(&beginnings), rng.pick(&payloads)].concat();
    // The first byte is even: not a group. The link-local groups have their own test.
    bytes[0] &= 0xfe;
    for (byte, value) in bytes[12..].iter_mut().zip(head) {
        *byte = value;
    }
    bytes
}

/// A VM that may use all addresses.
#[derive(Clone, Copy)]
struct Anybody;

impl Owner for Anybody {
    fn has_mac(self, _: Mac) -> bool {
        true
    }

    fn has_ip(self, _: Ip) -> bool {
        true
    }
}

/// The verdict of the decision for a frame whose outer tag is in the bytes.
fn passes(policy: &Policy, bytes: &[u8]) -> bool {
    let word = |at: usize| bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let Some(ethertype) = word(12) else { return false };
    let plain = Headers { tpid: 0, tci: 0, ethertype, inner_tci: 0, link_local: false };
    let headers = match (vlan::is_tpid(ethertype), word(14), word(16)) {
        (true, Some(tci), Some(ethertype)) => {
            Headers { tpid: plain.ethertype, tci, ethertype, ..plain }
        }
        (true, ..) => return false,
        (false, ..) => plain,
    };
    let verdict = decide(policy, policy.flags, headers, Direction::Receive);
    let refused =
        || policy.flags & guard::GUARDS != 0 && guard::check(policy.flags, bytes, Anybody).is_err();
    matches!(verdict, Verdict::Pass(..)) && !refused()
}
