use super::*;

const INTERFACE: u32 = 0x0102_0304;
const CLIENT: &str = "00:04:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:07";
const SERVER: &str = "00:03:00:01:02:00:00:00:00:01";

fn duid(text: &str) -> Duid {
    text.parse().unwrap()
}

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    option::push(&mut bytes, code, data);
    bytes
}

/// An address with its preferred and valid lifetimes, and options.
fn granted(text: &str, preferred: u32, valid: u32, options: &[u8]) -> Vec<u8> {
    let times = [preferred, valid].map(u32::to_be_bytes).concat();
    option(option::ADDRESS, &[&address(text).octets()[..], &times, options].concat())
}

/// The addresses of an interface with T1 and T2.
fn association(interface: u32, t1: u32, t2: u32, options: &[u8]) -> Vec<u8> {
    let numbers = [interface, t1, t2].map(u32::to_be_bytes).concat();
    option(option::ASSOCIATION, &[&numbers[..], options].concat())
}

/// A message of the server to the client, with more options.
fn message(kind: u8, options: &[u8]) -> Vec<u8> {
    let header = [kind, 0, 0, 9];
    let [client, server] = [CLIENT, SERVER].map(duid);
    let client = option(option::CLIENT, client.bytes());
    let server = option(option::SERVER, server.bytes());
    [&header[..], &client, &server, options].concat()
}

fn read(bytes: &[u8]) -> Option<Reply> {
    Reply::read(bytes, INTERFACE)
}

/// The lease of the first address of a Reply with this association.
fn lease(association: &[u8]) -> Option<Lease> {
    let reply = read(&message(7, association))?;
    let association = reply.granted()?;
    association.lease(*association.addresses.first()?, &reply.server, 1000)
}

#[test]
fn a_question_has_what_a_server_needs() {
    let question = |kind, server: Option<&str>| Question {
        kind,
        xid: 0x0a_0b0c,
        elapsed: Duration::from_millis(1230),
        server: server.map(duid),
        address: Some(address("fd00::5")),
    };
    let bytes = question(Ask::Renew, Some(SERVER)).bytes(&duid(CLIENT), INTERFACE);
    assert_eq!(bytes[..4], [5, 0x0a, 0x0b, 0x0c]);
    let options = Options::read(&bytes[4..]).unwrap();
    let one = |code| options.one(code).ok().flatten();
    assert_eq!(one(option::CLIENT), Some(duid(CLIENT).bytes()));
    assert_eq!(one(option::SERVER), Some(duid(SERVER).bytes()));
    assert_eq!(one(option::ELAPSED), Some(&[0, 123][..]));
    assert_eq!(one(option::REQUESTED), Some(&[0, 82][..]));
    let expected = association(INTERFACE, 0, 0, &granted("fd00::5", 0, 0, &[]));
    assert_eq!(one(option::ASSOCIATION), Some(&expected[4..]));
    // Nothing says that Reconfigure is accepted.
    assert!(one(20).is_none());
    for (kind, number) in
        [(Ask::Solicit, 1), (Ask::Request, 3), (Ask::Confirm, 4), (Ask::Rebind, 6)]
    {
        let bytes = question(kind, None).bytes(&duid(CLIENT), INTERFACE);
        assert_eq!(bytes[0], number);
        let options = Options::read(&bytes[4..]).unwrap();
        assert!(options.one(option::SERVER).ok().flatten().is_none());
    }
    let late = Question { elapsed: Duration::from_secs(9999), ..question(Ask::Release, None) };
    let bytes = late.bytes(&duid(CLIENT), INTERFACE);
    let options = Options::read(&bytes[4..]).unwrap();
    assert_eq!(options.one(option::ELAPSED).ok().flatten(), Some(&[255, 255][..]));
}

#[test]
fn an_answer_becomes_a_lease() {
    let options = [
        association(INTERFACE + 1, 1, 2, &granted("fd00::9", 10, 20, &[])),
        association(INTERFACE, 300, 480, &granted("fd00::5", 600, 800, &[])),
        option(option::PREFERENCE, &[7]),
        option(option::SOLICIT_MAX, &[0, 0, 0, 120]),
        // DNS servers, which the client does not read.
        option(23, &[1, 2, 3]),
    ];
    let reply = read(&message(2, &options.concat())).unwrap();
    let numbers = (reply.kind, reply.xid, reply.preference, reply.solicit_max);
    assert_eq!(numbers, (Answer::Advertise, 9, 7, Some(Duration::from_secs(120))));
    let expected = Lease {
        address: address("fd00::5"),
        server: duid(SERVER),
        renew: 1300,
        rebind: 1480,
        preferred: 1600,
        until: 1800,
    };
    assert_eq!(lease(&options.concat()), Some(expected));
    let ignored = option(option::SOLICIT_MAX, &[0, 0, 0, 59]);
    assert_eq!(read(&message(2, &ignored)).unwrap().solicit_max, None);
}

#[test]
fn times_that_make_no_sense_are_those_of_the_client_or_refused() {
    let times = |t1, t2, preferred, valid| {
        let lease =
            lease(&association(INTERFACE, t1, t2, &granted("fd00::5", preferred, valid, &[])))?;
        Some([lease.renew, lease.rebind, lease.preferred, lease.until].map(|time| time - 1000))
    };
    assert_eq!(times(0, 0, 100, 200), Some([50, 80, 100, 200]));
    assert_eq!(times(0, 0, 0, 200), Some([100, 160, 0, 200]), "not for new connections");
    assert_eq!(times(150, 0, 100, 200), Some([150, 150, 100, 200]));
    assert_eq!(times(500, 600, 100, 200), Some([200, 200, 100, 200]), "behind the end");
    assert_eq!(times(0, 0, 1, 1), Some([1, 1, 1, 1]));
    let longest = u64::from(LONGEST);
    let infinite = times(u32::MAX, u32::MAX, u32::MAX, u32::MAX);
    assert_eq!(infinite, Some([longest; 4]));
    for (t1, t2, preferred, valid) in [(60, 50, 100, 200), (0, 0, 300, 200), (0, 0, 0, 0)] {
        assert_eq!(times(t1, t2, preferred, valid), None);
    }
    for unusable in ["::", "::1", "ff02::1", "fe80::1"] {
        let association = association(INTERFACE, 0, 0, &granted(unusable, 100, 200, &[]));
        assert_eq!(lease(&association), None, "{unusable}");
    }
}

#[test]
fn a_status_refuses_the_part_that_it_is_in() {
    let address = granted("fd00::5", 100, 200, &[]);
    for (number, status) in [
        (0, Status::Success),
        (1, Status::Failed(1)),
        (2, Status::NoAddress),
        (3, Status::NoBinding),
        (4, Status::NotOnLink),
        (99, Status::Failed(99)),
    ] {
        let code = option(option::STATUS, &[&[0, number][..], b"text"].concat());
        let of_message = [&association(INTERFACE, 0, 0, &address)[..], &code].concat();
        assert_eq!(read(&message(7, &of_message)).unwrap().status, status);
        let inside = association(INTERFACE, 0, 0, &[&address[..], &code].concat());
        let reply = read(&message(7, &inside)).unwrap();
        assert_eq!(reply.association.unwrap().status, status);
        assert_eq!(lease(&of_message).is_some(), status == Status::Success);
        assert_eq!(lease(&inside).is_some(), status == Status::Success);
        let of_address = association(INTERFACE, 0, 0, &granted("fd00::5", 100, 200, &code));
        assert_eq!(lease(&of_address).is_some(), status == Status::Success);
    }
}

#[test]
fn a_malformed_message_is_no_answer_and_never_a_panic() {
    let status = option(option::STATUS, &[0, 0]);
    let options = [
        association(INTERFACE, 300, 480, &granted("fd00::5", 600, 800, &status)),
        option(option::PREFERENCE, &[7]),
        status.clone(),
    ];
    let whole = message(7, &options.concat());
    assert!(read(&whole).is_some());
    // Cut off: only between two options it is a message.
    let ends: Vec<usize> = (0..whole.len()).filter(|end| read(&whole[..*end]).is_some()).collect();
    let tail = status.len();
    assert!(ends.contains(&(whole.len() - tail)) && ends.len() <= 3, "{ends:?}");
    // Every octet, replaced: lengths that say more or less than there is.
    for place in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff, whole[place].wrapping_add(1)] {
            let mut bytes = whole.clone();
            bytes[place] = value;
            if let Some(reply) = read(&bytes)
                && let Some(association) = reply.granted()
            {
                for granted in &association.addresses {
                    let _lease = association.lease(*granted, &reply.server, u64::from(u32::MAX));
                }
            }
        }
    }
    for other in [0, 1, 3, 8, 10, 13, 255] {
        assert_eq!(read(&message(other, &options.concat())), None, "type {other}");
    }
}

#[test]
fn what_is_there_twice_is_not_read() {
    let address = association(INTERFACE, 0, 0, &granted("fd00::5", 100, 200, &[]));
    assert!(read(&message(7, &address)).is_some());
    let twice = [
        option(option::CLIENT, duid(CLIENT).bytes()),
        option(option::SERVER, duid(SERVER).bytes()),
        address.clone(),
        [option(option::STATUS, &[0, 0]), option(option::STATUS, &[0, 4])].concat(),
        [option(option::PREFERENCE, &[0]), option(option::PREFERENCE, &[255])].concat(),
    ];
    for more in twice {
        assert_eq!(read(&message(7, &[&address[..], &more].concat())), None, "{more:?}");
    }
    // As many addresses as fit into a datagram: all are read, and the client takes one.
    let many: Vec<u8> =
        (0..60).flat_map(|n| granted(&format!("fd00::{n:x}:1"), 100, 200, &[])).collect();
    let reply = read(&message(7, &association(INTERFACE, 0, 0, &many))).unwrap();
    assert_eq!(reply.granted().unwrap().addresses.len(), 60);
}

#[test]
fn a_message_without_identifiers_is_no_answer() {
    let client = option(option::CLIENT, duid(CLIENT).bytes());
    let server = option(option::SERVER, duid(SERVER).bytes());
    let with = |options: &[&[u8]]| read(&[&[7, 0, 0, 9][..], &options.concat()].concat());
    assert!(with(&[&client, &server]).is_some());
    assert_eq!(with(&[&client]), None);
    assert_eq!(with(&[&server]), None);
    assert_eq!(with(&[&client, &option(option::SERVER, &[])]), None);
    assert_eq!(with(&[&client, &option(option::SERVER, &[1; 131])]), None, "oversized");
}
