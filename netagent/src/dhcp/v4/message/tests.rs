use smoltcp::wire::DhcpOption;

use super::*;

const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 7]);

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Cidr {
    let (address, prefix) = text.split_once('/').unwrap();
    Cidr { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

/// A DHCPACK of 10.0.0.5/24 for an hour, with these options as well.
fn ack(options: &[(u8, &[u8])]) -> Vec<u8> {
    let options: Vec<_> =
        options.iter().map(|(kind, data)| DhcpOption { kind: *kind, data }).collect();
    let message = DhcpRepr {
        message_type: DhcpMessageType::Ack,
        transaction_id: 77,
        secs: 0,
        client_hardware_address: EthernetAddress(CLIENT.0),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: ip("10.0.0.5"),
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: Some(ip("255.255.255.0")),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(ip("10.0.0.2")),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: Some(3600),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &options,
    };
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).unwrap();
    bytes
}

fn lease(options: &[(u8, &[u8])]) -> Lease {
    Reply::read(&ack(options)).unwrap().lease(1000).unwrap()
}

fn routes(options: &[(u8, &[u8])]) -> Vec<String> {
    let text = |(to, via): (Cidr, Option<Ipv4Addr>)| {
        via.map_or_else(|| to.to_string(), |via| format!("{to} via {via}"))
    };
    lease(options).routes.into_iter().map(text).collect()
}

#[test]
fn an_answer_becomes_a_lease() {
    let ntp = [10, 0, 0, 3, 10, 0, 0, 4];
    let found = lease(&[(NTP, &ntp), (MTU, &[5, 120]), (ROUTER, &[10, 0, 0, 1])]);
    let expected = Lease {
        address: cidr("10.0.0.5/24"),
        server: ip("10.0.0.2"),
        renew: 1000 + 1800,
        rebind: 1000 + 3150,
        until: 1000 + 3600,
        routes: vec![(cidr("0.0.0.0/0"), Some(ip("10.0.0.1")))],
        mtu: Some(1400),
        ntp: vec![ip("10.0.0.3"), ip("10.0.0.4")],
        replaces: None,
    };
    assert_eq!(found, expected);
    let found = lease(&[(T1, &[0, 0, 0, 10]), (T2, &[0, 0, 0, 20])]);
    assert_eq!((found.renew, found.rebind, found.until), (1010, 1020, 4600));
    // T2 before T1, and both after the end, make no sense.
    let found = lease(&[(T1, &[0, 0, 99, 10]), (T2, &[0, 0, 0, 20])]);
    assert_eq!((found.renew, found.rebind, found.until), (2800, 4150, 4600));
}

#[test]
fn classless_routes_replace_the_router() {
    assert_eq!(routes(&[(ROUTER, &[10, 0, 0, 1, 10, 0, 0, 9])]), ["0.0.0.0/0 via 10.0.0.1"]);
    let classless =
        [24, 192, 168, 7, 10, 0, 0, 254, 0, 10, 0, 0, 253, 20, 172, 16, 255, 0, 0, 0, 0];
    let options: [(u8, &[u8]); 2] = [(ROUTER, &[10, 0, 0, 1]), (CLASSLESS, &classless)];
    // Bits behind the prefix length are no part of the destination.
    let expected = ["192.168.7.0/24 via 10.0.0.254", "0.0.0.0/0 via 10.0.0.253", "172.16.240.0/20"];
    assert_eq!(routes(&options), expected);
    // In two parts, the first of which ends within a route.
    let (one, two) = classless.split_at(3);
    assert_eq!(routes(&[(CLASSLESS, one), (ROUTER, &[10, 0, 0, 1]), (CLASSLESS, two)]), expected);
    // Malformed: as if it were not there.
    for bad in [&classless[..7], &[33, 1, 2, 3, 4, 5, 6, 7, 8]] {
        assert_eq!(
            routes(&[(ROUTER, &[10, 0, 0, 1]), (CLASSLESS, bad)]),
            ["0.0.0.0/0 via 10.0.0.1"]
        );
    }
}

#[test]
fn options_in_overloaded_fields_are_read_as_option_52_says() {
    let gateway: [(u8, &[u8]); 1] = [(ROUTER, &[10, 0, 0, 1])];
    let routes = |which: Option<u8>, file: &[u8], sname: &[u8]| {
        let which = which.map(|which| [which]);
        let mut options = gateway.to_vec();
        options.extend(which.iter().map(|which| (OVERLOAD, &which[..])));
        let mut bytes = ack(&options);
        bytes[FILE][..file.len()].copy_from_slice(file);
        bytes[SNAME][..sname.len()].copy_from_slice(sname);
        let lease = Reply::read(&bytes).unwrap().lease(1000).unwrap();
        lease.routes.iter().map(|(to, _)| to.to_string()).collect::<Vec<_>>()
    };
    let file = [0, 0, CLASSLESS, 7, 16, 10, 8, 10, 0, 0, 7, 255, CLASSLESS, 1];
    let sname = [CLASSLESS, 8, 24, 10, 9, 1, 10, 0, 0, 7, 255];
    assert_eq!(routes(None, &file, &sname), ["0.0.0.0/0"], "a name of a file");
    assert_eq!(routes(Some(1), &file, &sname), ["10.8.0.0/16"]);
    assert_eq!(routes(Some(2), &file, &sname), ["10.9.1.0/24"]);
    assert_eq!(routes(Some(3), &file, &sname), ["10.8.0.0/16", "10.9.1.0/24"]);
    // A length that says more than the field has.
    let mut lie = [CLASSLESS; 128];
    lie[1] = 200;
    assert_eq!(routes(Some(3), &lie, &[]), ["0.0.0.0/0"]);
}

#[test]
fn a_gateway_outside_of_the_subnet_is_on_the_link() {
    assert_eq!(routes(&[(ROUTER, &[10, 9, 9, 1])]), ["0.0.0.0/0 via 10.9.9.1", "10.9.9.1/32"]);
    let near = [16, 10, 9, 0, 0, 0, 0, 0, 10, 9, 9, 1];
    assert_eq!(routes(&[(CLASSLESS, &near)]), ["10.9.0.0/16", "0.0.0.0/0 via 10.9.9.1"]);
}

#[test]
fn an_answer_that_is_no_lease_is_refused() {
    let mut nobody = ack(&[]);
    nobody[16..20].fill(0);
    assert_eq!(Reply::read(&nobody).unwrap().lease(0), None);
    let without_time = ack(&[(LEASE_TIME, &[0, 0, 0, 0])]);
    let mut reply = Reply::read(&without_time).unwrap();
    reply.time = None;
    assert_eq!(reply.lease(0), None);
    let full = ack(&[(ROUTER, &[10, 0, 0, 1]), (CLASSLESS, &[24, 192, 168, 7, 10, 0, 0, 254])]);
    for length in 0..full.len() {
        // Must not panic.
        let _lease = Reply::read(&full[..length]).and_then(|reply| reply.lease(0));
    }
    assert_eq!(Reply::read(&question(Ask::Request).bytes(CLIENT)), None, "of a client");
}

fn question(kind: Ask) -> Question {
    let (wanted, server) = (Some(ip("10.0.0.5")), Some(ip("10.0.0.2")));
    Question { kind, xid: 9, seconds: 3, own: None, wanted, server }
}

#[test]
fn a_question_has_what_a_server_needs() {
    for (kind, number) in [(Ask::Discover, 1), (Ask::Request, 3), (Ask::Decline, 4)] {
        let bytes = question(kind).bytes(CLIENT);
        assert!(bytes.len() >= 300, "{}", bytes.len());
        let packet = DhcpPacket::new_checked(&bytes[..]).unwrap();
        assert_eq!((packet.transaction_id(), packet.secs()), (9, 3));
        assert_eq!(packet.client_hardware_address(), EthernetAddress(CLIENT.0));
        let option = |kind| packet.options().find(|it| it.kind == kind).map(|it| it.data.to_vec());
        assert_eq!(option(TYPE), Some(vec![number]));
        assert_eq!(option(50), Some(vec![10, 0, 0, 5]));
        assert_eq!(option(SERVER), Some(vec![10, 0, 0, 2]));
        let wanted = (kind != Ask::Decline).then(|| WANTED.to_vec());
        assert_eq!(option(55), wanted);
    }
}
