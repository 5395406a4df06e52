//! Bulk data on the fast path: TCP with segmentation offload, UDP in one send that is segmented
//! later, IPv4 and IPv6, jumbo frames. Every byte is compared.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
    time::Duration,
};

use super::{Lab, Path, forwarded, station};
use crate::{
    lab::{Netns, kernel_is_at_least, seen, sh, wait_for, wait_until_eq},
    soak,
};

const TCP_BYTES: usize = 2 << 20;
const SOAK_TCP_BYTES: usize = 64 << 20;
const UDP_BYTES: usize = 40_000;
const SEGMENT: u16 = 1200;
const PORT: u16 = 4242;

/// A pattern of bytes that differs from every shifted copy.
fn pattern(length: usize) -> Vec<u8> {
    let mut rng = crate::rng::Rng(4242);
    (0..length).map(|_| u8::try_from(rng.below(256)).unwrap()).collect()
}

/// VMs with a network stack each: the other end of each port is in a namespace of its own.
fn stacks(lab: &Lab, mtu: u32) -> Vec<(&'static str, Netns)> {
    ["vm-a", "vm-b"]
        .into_iter()
        .zip(1..)
        .map(|(port, number)| {
            let stack = Netns::new(port);
            sh(&format!("ip -n {} link set {port} netns {}", lab.others.name, stack.name));
            stack.sh(&format!(
                "sysctl -qw net.ipv6.conf.{port}.disable_ipv6=0
                 ip addr add 192.0.2.{number}/24 dev {port}
                 ip addr add 2001:db8::{number}/64 dev {port} nodad
                 ip link set {port} mtu {mtu} up"
            ));
            lab.node.netns.sh(&format!("ip link set {port} mtu {mtu}"));
            (port, stack)
        })
        .collect()
}

fn tcp(from: &Netns, to: &Netns, address: &str) {
    let address: SocketAddr = format!("{address}:{PORT}").parse().unwrap();
    let sent = pattern(if soak() { SOAK_TCP_BYTES } else { TCP_BYTES });
    let listener = to.inside(|| TcpListener::bind(address).unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            from.inside(|| {
                let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
                stream.write_all(&sent).unwrap();
            });
        });
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert!(
            got == sent,
            "TCP to {address}: {} of {} bytes, or different bytes",
            got.len(),
            sent.len()
        );
    });
}

const PATIENCE: Duration = Duration::from_secs(30);

fn udp(from: &Netns, to: &Netns, address: &str) {
    let address: SocketAddr = format!("{address}:{PORT}").parse().unwrap();
    let receiver = to.inside(|| UdpSocket::bind(address).unwrap());
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent = pattern(UDP_BYTES);
    from.inside(|| {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let sender = UdpSocket::bind(any).unwrap();
        let segment = i32::from(SEGMENT);
        let length = u32::try_from(size_of_val(&segment)).unwrap();
        // SAFETY: the value outlives the call.
        let result = unsafe {
            let (level, option) = (libc::SOL_UDP, libc::UDP_SEGMENT);
            libc::setsockopt(sender.as_raw_fd(), level, option, (&raw const segment).cast(), length)
        };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        assert_eq!(sender.send_to(&sent, address).unwrap(), UDP_BYTES);
    });
    let mut got: Vec<u8> = Vec::new();
    let mut datagram = vec![0; 65536];
    while got.len() < UDP_BYTES {
        let length = receiver.recv(&mut datagram).unwrap();
        assert!(length <= usize::from(SEGMENT));
        got.extend(&datagram[..length]);
    }
    assert!(got == sent, "UDP to {address}: different bytes");
}

fn bulk(mtu: u32, path: Path) {
    let lab = Lab::new("off", path);
    let stacks = stacks(&lab, mtu);
    let _daemon = lab.node.run();
    let [(a_port, a), (_, b)] = &stacks[..] else { unreachable!() };
    a.sh("ping -q -c 1 -W 10 192.0.2.2");
    for (port, stack) in &stacks {
        let mac = stack.link(port)["address"].as_str().unwrap().to_owned();
        wait_for("the address of the stack is known", || {
            let fdb = lab.node.ok("show fdb -j");
            let known = fdb.contains(&mac);
            seen(fdb, known)
        });
    }
    for (from, to, number) in [(a, b, 2), (b, a, 1)] {
        for address in [format!("192.0.2.{number}"), format!("[2001:db8::{number}]")] {
            tcp(from, to, &address);
            udp(from, to, &address);
        }
    }
    let (fast, slow) = (forwarded(&lab.node, a_port, "tc"), forwarded(&lab.node, a_port, "bridge"));
    println!("forward: MTU {mtu}: {fast} frames of {a_port} bypassed the bridge, {slow} did not");
    assert!(fast > 10 * slow, "{fast} frames bypassed the bridge, {slow} did not");
}

#[test]
fn bulk_data_arrives_unchanged() {
    bulk(1500, Path::Peer);
}

#[test]
fn bulk_data_arrives_unchanged_through_queues() {
    bulk(1500, Path::Tc);
}

/// XDP could lose a frame in several fragments, or a frame longer than the egress MTU: TC forwards
/// it.
#[test]
fn xdp_leaves_jumbo_frames_to_tc() {
    const LENGTH: usize = 8000;
    let lab = Lab::new("off", Path::Xdp);
    for port in ["eth2", "vm-a"] {
        for netns in [&lab.node.netns, &lab.others] {
            netns.sh(&format!("ip link set {port} mtu 9000"));
        }
    }
    let _daemon = lab.node.run();
    let [wire, vm] = [station(1), station(2)];
    lab.learn("eth2", 100, wire);
    lab.learn("vm-a", 100, vm);
    let by_xdp = || forwarded(&lab.node, "eth2", "xdp");
    let arrives = |length| {
        let frame = lab.send("eth2", 100, wire, vm);
        lab.until_now("vm-a", 100);
        let before = by_xdp();
        let bytes = pattern(length);
        lab.wire("eth2").send_bytes(&[frame.to_bytes(), bytes.clone()].concat());
        let got = lab.wire("vm-a").receive(PATIENCE);
        let expected = [frame.with_tags(&[]).to_bytes(), bytes].concat();
        assert!(got == Some(expected), "a frame with {length} additional bytes");
        by_xdp() - before
    };
    // A kernel before 6.3 does not report which devices support `XDP_REDIRECT`.
    if kernel_is_at_least(6, 3) {
        wait_until_eq("XDP forwards short frames", &1, || arrives(0));
    }
    assert_eq!([arrives(LENGTH), arrives(LENGTH)], [0, 0]);
}

#[test]
fn bulk_data_in_jumbo_frames_arrives_unchanged() {
    bulk(9000, Path::Peer);
}
