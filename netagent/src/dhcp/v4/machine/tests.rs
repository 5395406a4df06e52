use super::*;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 8]);

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A lease of 10.0.0.5 for 800 s that began at this second.
fn lease(begin: u64) -> Lease {
    Lease {
        address: "10.0.0.5/24".parse().unwrap(),
        server: ip("10.0.0.2"),
        renew: begin + 400,
        rebind: begin + 700,
        until: begin + 800,
        routes: vec![],
        mtu: None,
        ntp: vec![],
        replaces: None,
    }
}

/// A machine, and its clock.
struct Client {
    machine: Machine,
    now: Duration,
}

impl Client {
    fn new(start: Start, now: u64) -> (Self, Vec<Action>) {
        let (machine, actions) = Machine::new(MAC, start, Random::seeded(42), seconds(now));
        (Self { machine, now: seconds(now) }, actions)
    }

    /// Waits for the deadline.
    fn wait(&mut self) -> Vec<Action> {
        self.now = self.now.max(self.machine.deadline());
        self.machine.expire(self.now)
    }

    /// An answer with the address 10.0.0.5 and the times of [`lease`].
    fn hear(&mut self, kind: Answer) -> Vec<Action> {
        self.hear_of(kind, "10.0.0.5")
    }

    fn hear_of(&mut self, kind: Answer, yours: &str) -> Vec<Action> {
        let reply = Reply::for_tests(kind, self.machine.xid, MAC, ip(yours), ip("10.0.0.2"));
        self.machine.answer(self.now, &reply)
    }

    /// A client with a lease since second 100.
    fn bound() -> Self {
        let (mut client, _) = Self::new(Start::Nothing, 100);
        client.wait();
        client.hear(Answer::Offer);
        client.hear(Answer::Ack);
        while client.machine.listens() {
            client.wait();
        }
        client
    }
}

fn question(actions: &[Action]) -> (Question, Option<Ipv4Addr>) {
    match actions {
        [Action::Broadcast(question)] => (*question, None),
        [Action::Unicast(question, server, from)] => {
            assert_eq!(question.own, Some(*from));
            (*question, Some(*server))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_address_is_probed_before_it_is_used() {
    let (mut client, actions) = Client::new(Start::Nothing, 100);
    assert_eq!(actions, []);
    let (discover, _) = question(&client.wait());
    assert_eq!((discover.kind, discover.wanted, discover.server), (Ask::Discover, None, None));
    assert_eq!(client.hear(Answer::Ack), [], "nothing was requested");
    let (request, _) = question(&client.hear(Answer::Offer));
    let expected = (Ask::Request, Some(ip("10.0.0.5")), Some(ip("10.0.0.2")));
    assert_eq!((request.kind, request.wanted, request.server), expected);
    assert_eq!(request.xid, discover.xid);
    assert_eq!(client.hear(Answer::Ack), []);
    for _ in 0..PROBES {
        assert_eq!(client.wait(), [Action::Probe(ip("10.0.0.5"))]);
        assert!(client.machine.listens());
    }
    assert_eq!(client.wait(), [Action::Tell(Event::Bound(lease(100)))]);
    assert!(!client.machine.listens());
    assert_eq!(client.machine.deadline(), seconds(500));
}

#[test]
fn an_address_that_somebody_has_is_declined() {
    let (mut client, _) = Client::new(Start::Nothing, 100);
    client.wait();
    client.hear(Answer::Offer);
    client.hear(Answer::Ack);
    client.wait();
    let (now, address) = (client.now, ip("10.0.0.5"));
    // Its own probe comes back over a loop in the network.
    assert_eq!(client.machine.heard(now, MAC, address), []);
    assert_eq!(client.machine.heard(now, OTHER, ip("10.0.0.6")), []);
    let (decline, _) = question(&client.machine.heard(now, OTHER, address));
    let expected = (Ask::Decline, Some(address), Some(ip("10.0.0.2")));
    assert_eq!((decline.kind, decline.wanted, decline.server), expected);
    let (discover, _) = question(&client.wait());
    assert_eq!((discover.kind, discover.wanted), (Ask::Discover, None));
    assert_eq!(client.now, now + PAUSE);
}

#[test]
fn a_lease_is_extended_by_its_server_then_by_any_then_it_ends() {
    let mut client = Client::bound();
    // T1: to the server alone.
    let (request, server) = question(&client.wait());
    assert_eq!((client.now, server), (seconds(500), Some(ip("10.0.0.2"))));
    assert_eq!((request.kind, request.wanted, request.server), (Ask::Request, None, None));
    let mut renewals = 1;
    while client.machine.deadline() < seconds(800) {
        assert_eq!(question(&client.wait()).1, server);
        renewals += 1;
    }
    assert!(renewals > 2, "{renewals}");
    // T2: to everybody.
    let (request, server) = question(&client.wait());
    assert_eq!((client.now, server), (seconds(800), None));
    assert_eq!((request.own, request.server), (Some(ip("10.0.0.5")), None));
    while client.machine.deadline() < seconds(900) {
        assert_eq!(question(&client.wait()).1, None);
    }
    // The end.
    let actions = client.wait();
    assert_eq!(client.now, seconds(900));
    let [Action::Tell(Event::Ended(ended, reason)), Action::Broadcast(discover)] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((ended, discover.kind), (&lease(100), Ask::Discover));
    assert!(reason.contains("expired"), "{reason}");
    // The server may give the address again.
    assert_eq!(discover.wanted, Some(ip("10.0.0.5")));
}

#[test]
fn an_extended_lease_begins_with_the_request_and_is_not_probed() {
    for waits in [1, 20] {
        let mut client = Client::bound();
        for _ in 0..waits {
            if client.machine.deadline() < seconds(900) {
                client.wait();
            }
        }
        let asked = client.now;
        client.now += seconds(2);
        let extended = Action::Tell(Event::Bound(lease(asked.as_secs())));
        assert_eq!(client.hear(Answer::Ack), [extended]);
        assert_eq!(client.machine.deadline(), asked + seconds(400));
    }
}

#[test]
fn a_refused_lease_ends_at_once() {
    for waits in [1, 20] {
        let mut client = Client::bound();
        for _ in 0..waits {
            if client.machine.deadline() < seconds(900) {
                client.wait();
            }
        }
        let actions = client.hear(Answer::Nak);
        let [Action::Tell(Event::Ended(ended, reason)), Action::Broadcast(discover)] = &actions[..]
        else {
            panic!("{actions:?}")
        };
        assert_eq!((ended, discover.kind, discover.wanted), (&lease(100), Ask::Discover, None));
        assert!(reason.contains("refused"), "{reason}");
    }
}

#[test]
fn a_lease_that_is_given_up_is_released() {
    let mut client = Client::bound();
    let (release, server) = question(&client.machine.release(client.now));
    let expected = (Ask::Release, Some(ip("10.0.0.2")), None, Some(ip("10.0.0.5")));
    assert_eq!((release.kind, release.server, release.wanted, release.own), expected);
    assert_eq!(server, release.server);
    let (mut client, _) = Client::new(Start::Nothing, 100);
    assert_eq!(client.machine.release(seconds(100)), []);
}

#[test]
fn answers_of_others_and_to_others_are_ignored() {
    let mut client = Client::bound();
    client.wait();
    let now = client.now;
    let reply = |xid, mac| Reply::for_tests(Answer::Nak, xid, mac, ip("0.0.0.0"), ip("10.0.0.2"));
    let xid = client.machine.xid;
    assert_eq!(client.machine.answer(now, &reply(xid ^ 1, MAC)), []);
    assert_eq!(client.machine.answer(now, &reply(xid, OTHER)), []);
    assert_ne!(client.machine.answer(now, &reply(xid, MAC)), []);
    // While one server's offer is requested, another one does not count.
    client.hear(Answer::Offer);
    let other =
        Reply::for_tests(Answer::Nak, client.machine.xid, MAC, ip("0.0.0.0"), ip("10.0.0.3"));
    let before = client.machine.deadline();
    assert_eq!(client.machine.answer(now, &other), []);
    assert_eq!(client.machine.deadline(), before);
    assert_eq!(client.hear(Answer::Nak), []);
    assert_eq!(client.machine.deadline(), now + PAUSE);
}

#[test]
fn a_request_without_an_answer_ends_in_a_new_search() {
    let (mut client, _) = Client::new(Start::Nothing, 100);
    client.wait();
    client.hear(Answer::Offer);
    let mut kinds: Vec<Ask> = (0..TRIES).map(|_| question(&client.wait()).0.kind).collect();
    assert_eq!(kinds.pop(), Some(Ask::Discover));
    assert!(kinds.iter().all(|kind| *kind == Ask::Request), "{kinds:?}");
    // The search goes on, about once a minute.
    for _ in 0..10 {
        assert_eq!(question(&client.wait()).0.kind, Ask::Discover);
        assert!(client.machine.deadline() <= client.now + seconds(66));
    }
}

#[test]
fn a_lease_of_an_earlier_start_is_used_until_the_server_says_otherwise() {
    let start = |there| Start::Lease { lease: lease(100), there };
    let (_, actions) = Client::new(start(false), 200);
    assert_eq!(actions, [], "after a reboot");
    let (mut client, actions) = Client::new(start(true), 200);
    assert_eq!(actions, [Action::Tell(Event::Bound(lease(100)))]);
    // INIT-REBOOT: without a server, and without an address of its own.
    let (request, server) = question(&client.wait());
    assert_eq!((request.kind, request.wanted), (Ask::Request, Some(ip("10.0.0.5"))));
    assert_eq!((request.server, request.own, server), (None, None, None));
    assert_eq!(client.hear(Answer::Ack), [Action::Tell(Event::Bound(lease(200)))]);

    let (mut client, _) = Client::new(start(true), 200);
    client.wait();
    let refused = client.hear(Answer::Nak);
    assert!(matches!(refused[0], Action::Tell(Event::Ended(..))), "{refused:?}");
    assert_eq!(question(&refused[1..]).0.kind, Ask::Discover);

    // No server answers: it stays in force, and is extended when its time comes.
    for there in [false, true] {
        let (mut client, _) = Client::new(start(there), 200);
        while client.machine.listens() {
            assert!(client.now < seconds(220), "too long");
            client.wait();
        }
        assert_eq!(client.machine.deadline(), seconds(500));
        assert!(question(&client.wait()).1.is_some(), "a renewal");
    }
}

#[test]
fn an_address_of_another_client_is_asked_for_and_kept_until_there_is_another() {
    let former: Cidr = "10.0.0.5/24".parse().unwrap();
    let start = || Client::new(Start::Address(former), 100);
    let (mut client, actions) = start();
    assert_eq!(actions, []);
    assert_eq!(question(&client.wait()).0.wanted, Some(ip("10.0.0.5")));
    assert_eq!(client.hear(Answer::Ack), [Action::Tell(Event::Bound(lease(100)))]);

    let (mut client, _) = start();
    client.wait();
    // Nothing is told: the address stays.
    assert_eq!(question(&client.hear(Answer::Nak)).0.kind, Ask::Discover);
    client.hear_of(Answer::Offer, "10.0.0.9");
    client.hear_of(Answer::Ack, "10.0.0.9");
    let mut told = vec![];
    while client.machine.listens() {
        told = client.wait();
    }
    let [Action::Tell(Event::Bound(lease))] = &told[..] else { panic!("{told:?}") };
    assert_eq!((lease.ip(), lease.replaces), (ip("10.0.0.9"), Some(former)));
}
