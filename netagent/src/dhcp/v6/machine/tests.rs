use super::*;
use crate::dhcp::v6::message::Association;

fn duid(last: u8) -> Duid {
    Duid::read(&[0, 3, 0, 1, last]).unwrap()
}

fn server() -> Duid {
    duid(1)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ip(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)
}

/// A lease of fd00::5 for 800 s that began at this second.
fn lease(begin: u64) -> Lease {
    Lease {
        address: ip(5),
        server: server(),
        renew: begin + 400,
        rebind: begin + 600,
        preferred: begin + 800,
        until: begin + 800,
    }
}

/// A machine, and its clock.
struct Client {
    machine: Machine,
    now: Duration,
}

impl Client {
    fn new(start: Start, now: u64) -> (Self, Vec<Action>) {
        let random = Random::seeded(42);
        let (machine, actions) = Machine::new(duid(9), start, random, seconds(now));
        (Self { machine, now: seconds(now) }, actions)
    }

    /// Waits for the deadline.
    fn wait(&mut self) -> Vec<Action> {
        self.now = self.now.max(self.machine.deadline());
        self.machine.expire(self.now)
    }

    /// What a server says of these addresses, and for how many seconds.
    fn reply(&self, kind: Answer, server: u8, granted: &[(Ipv6Addr, u32)]) -> Reply {
        Reply::for_tests(kind, self.machine.xid, [&duid(9), &duid(server)], granted)
    }

    fn hear(&mut self, reply: &Reply) -> Vec<Action> {
        self.machine.answer(self.now, reply)
    }

    /// The server says that fd00::5 is leased for 800 s.
    fn grant(&mut self, kind: Answer) -> Vec<Action> {
        self.hear(&self.reply(kind, 1, &[(ip(5), 800)]))
    }

    /// A status of the message, and of the association.
    fn refuse(&mut self, of_message: Status, of_association: Status) -> Vec<Action> {
        let mut association = Association::default();
        association.status = of_association;
        let reply = self.reply(Answer::Reply, 1, &[]);
        self.hear(&Reply { status: of_message, association: Some(association), ..reply })
    }

    /// A client with a lease, and the second when it asked for it.
    fn bound() -> (Self, u64) {
        let (mut client, _) = Self::new(Start::Nothing, 100);
        client.wait();
        client.grant(Answer::Advertise);
        let asked = question(&client.wait());
        assert_eq!(asked.kind, Ask::Request);
        let begin = client.now.as_secs();
        assert_eq!(client.grant(Answer::Reply), [Action::Tell(Event::Bound(lease(begin)))]);
        (client, begin)
    }

    /// A client with a lease that asks to extend it: at T1, or after T2.
    fn extending(kind: Ask) -> Self {
        let (mut client, _) = Self::bound();
        while question(&client.wait()).kind != kind {}
        client
    }
}

fn question(actions: &[Action]) -> Question {
    let [Action::Send(question)] = actions else { panic!("{actions:?}") };
    question.clone()
}

fn ended(actions: &[Action]) -> (Lease, String) {
    let Some(Action::Tell(Event::Ended(lease, why))) = actions.first() else {
        panic!("{actions:?}")
    };
    (lease.clone(), why.clone())
}

#[test]
fn the_best_of_the_first_offers_is_requested() {
    let (mut client, actions) = Client::new(Start::Nothing, 100);
    assert_eq!(actions, []);
    assert_eq!(client.grant(Answer::Advertise), [], "nothing was asked");
    let solicit = question(&client.wait());
    assert!(client.now <= seconds(101), "{:?}", client.now);
    let expected = (Ask::Solicit, None, None, Duration::ZERO);
    assert_eq!((solicit.kind, solicit.server, solicit.address, solicit.elapsed), expected);
    assert_eq!(client.grant(Answer::Reply), [], "nothing was requested");
    for (server, preference) in [(1, 5), (2, 200), (3, 100)] {
        let offer = client.reply(Answer::Advertise, server, &[(ip(server.into()), 800)]);
        assert_eq!(client.hear(&Reply { preference, ..offer }), []);
    }
    let request = question(&client.wait());
    let expected = (Ask::Request, Some(duid(2)), Some(ip(2)));
    assert_eq!((request.kind, request.server, request.address), expected);
    assert_ne!(request.xid, solicit.xid);
    // Another server's answer does not count.
    let other = client.reply(Answer::Reply, 3, &[(ip(3), 800)]);
    assert_eq!(client.hear(&other), []);
    let own = client.reply(Answer::Reply, 2, &[(ip(2), 800)]);
    assert!(matches!(client.hear(&own)[..], [Action::Tell(Event::Bound(_))]));
    assert!(!client.machine.listens());
}

#[test]
fn an_offer_is_requested_at_once_if_it_is_the_best_or_comes_late() {
    let (mut client, _) = Client::new(Start::Nothing, 100);
    client.wait();
    let offer = client.reply(Answer::Advertise, 1, &[(ip(5), 800)]);
    let best = Reply { preference: 255, ..offer.clone() };
    assert_eq!(question(&client.hear(&best)).kind, Ask::Request);

    let (mut client, _) = Client::new(Start::Nothing, 100);
    client.wait();
    assert_eq!(client.hear(&client.reply(Answer::Advertise, 1, &[])), [], "without an address");
    assert_eq!(question(&client.wait()).kind, Ask::Solicit);
    let offer = client.reply(Answer::Advertise, 1, &[(ip(5), 800)]);
    assert_eq!(question(&client.hear(&offer)).kind, Ask::Request);
}

#[test]
fn answers_of_other_transactions_and_to_others_are_ignored() {
    let mut client = Client::extending(Ask::Renew);
    let good = client.reply(Answer::Reply, 1, &[(ip(5), 800)]);
    let bad = [
        Reply { xid: good.xid ^ 1, ..good.clone() },
        Reply { client: duid(8), ..good.clone() },
        Reply { server: duid(2), ..good.clone() },
        Reply { kind: Answer::Advertise, ..good.clone() },
    ];
    let before = client.machine.deadline();
    for reply in bad {
        assert_eq!(client.hear(&reply), [], "{reply:?}");
    }
    assert_eq!(client.machine.deadline(), before);
    assert!(matches!(client.hear(&good)[..], [Action::Tell(Event::Bound(_))]));
    assert_eq!(client.hear(&good), [], "once more");
}

#[test]
fn a_lease_is_renewed_rebound_and_ends() {
    let (mut client, begin) = Client::bound();
    let renew = question(&client.wait());
    assert_eq!(client.now, seconds(begin + 400));
    let expected = (Ask::Renew, Some(server()), Some(ip(5)));
    assert_eq!((renew.kind, renew.server.clone(), renew.address), expected);
    let mut renewals = 1;
    while client.machine.deadline() < seconds(begin + 600) {
        let again = question(&client.wait());
        assert_eq!((again.kind, again.xid), (Ask::Renew, renew.xid));
        assert_eq!(again.elapsed, client.now.saturating_sub(seconds(begin + 400)));
        renewals += 1;
    }
    // 10 s, doubled: after 10, 30, 70, 150 s.
    assert_eq!(renewals, 5);
    let rebind = question(&client.wait());
    assert_eq!(client.now, seconds(begin + 600));
    assert_eq!((rebind.kind, rebind.server, rebind.address), (Ask::Rebind, None, Some(ip(5))));
    while client.machine.deadline() < seconds(begin + 800) {
        assert_eq!(question(&client.wait()).kind, Ask::Rebind);
    }
    let actions = client.wait();
    assert_eq!(client.now, seconds(begin + 800));
    let (of, why) = ended(&actions);
    assert!(of == lease(begin) && why.contains("expired"), "{why}");
    let solicit = question(&actions[1..]);
    // The server may give the address again.
    assert_eq!((solicit.kind, solicit.address), (Ask::Solicit, Some(ip(5))));
}

#[test]
fn an_extended_lease_begins_with_the_question() {
    for kind in [Ask::Renew, Ask::Rebind] {
        let mut client = Client::extending(kind);
        let asked = client.now;
        client.now += seconds(2);
        let extended = Action::Tell(Event::Bound(lease(asked.as_secs())));
        assert_eq!(client.grant(Answer::Reply), [extended]);
        assert_eq!(client.machine.deadline(), seconds(asked.as_secs() + 400));
    }
}

#[test]
fn any_server_extends_a_lease_after_t2() {
    let mut client = Client::extending(Ask::Rebind);
    let other = client.reply(Answer::Reply, 2, &[(ip(5), 800)]);
    let actions = client.hear(&other);
    let [Action::Tell(Event::Bound(lease))] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(lease.server, duid(2));
}

#[test]
fn an_address_that_the_server_withdraws_or_replaces_goes() {
    let mut client = Client::extending(Ask::Renew);
    let withdrawn = client.reply(Answer::Reply, 1, &[(ip(5), 0)]);
    let actions = client.hear(&withdrawn);
    assert!(ended(&actions).1.contains("withdrawn"));
    assert_eq!(question(&actions[1..]).kind, Ask::Solicit);

    let mut client = Client::extending(Ask::Renew);
    let replaced = client.reply(Answer::Reply, 1, &[(ip(5), 0), (ip(6), 800)]);
    let actions = client.hear(&replaced);
    let [Action::Tell(Event::Bound(lease))] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(lease.address, ip(6));

    // Of several addresses the client keeps its own.
    let mut client = Client::extending(Ask::Renew);
    let several = client.reply(Answer::Reply, 1, &[(ip(6), 800), (ip(5), 800)]);
    let actions = client.hear(&several);
    let [Action::Tell(Event::Bound(lease))] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(lease.address, ip(5));
}

#[test]
fn a_server_that_says_nothing_of_the_address_is_asked_again() {
    for status in [Status::Success, Status::Failed(1), Status::NoAddress] {
        let mut client = Client::extending(Ask::Renew);
        let before = client.machine.deadline();
        assert_eq!(client.refuse(Status::Success, status), []);
        assert_eq!(client.refuse(status, Status::Success), []);
        assert_eq!(client.machine.deadline(), before);
        assert_eq!(question(&client.wait()).kind, Ask::Renew);
    }
}

#[test]
fn a_lease_that_the_server_does_not_know_is_requested() {
    for kind in [Ask::Renew, Ask::Rebind] {
        let mut client = Client::extending(kind);
        let request = question(&client.refuse(Status::Success, Status::NoBinding));
        let expected = (Ask::Request, Some(server()), Some(ip(5)));
        assert_eq!((request.kind, request.server, request.address), expected);
        let begin = client.now.as_secs();
        assert_eq!(client.grant(Answer::Reply), [Action::Tell(Event::Bound(lease(begin)))]);
    }
    // It has given the address to somebody else.
    let mut client = Client::extending(Ask::Renew);
    client.refuse(Status::Success, Status::NoBinding);
    let actions = client.refuse(Status::Success, Status::NoAddress);
    assert!(ended(&actions).1.contains("no address"));
    assert_eq!(client.machine.deadline(), client.now + PAUSE);
    assert_eq!(question(&client.wait()).address, None);
    // It says nothing any more: the lease ends in its time.
    let (mut client, begin) = Client::bound();
    client.wait();
    client.refuse(Status::Success, Status::NoBinding);
    let mut actions = client.wait();
    while !matches!(actions[0], Action::Tell(_)) {
        actions = client.wait();
    }
    ended(&actions);
    assert_eq!(client.now, seconds(begin + 800));
}

#[test]
fn a_request_that_is_refused_or_not_answered_ends_in_a_new_search() {
    let requesting = || {
        let (mut client, _) = Client::new(Start::Nothing, 100);
        client.wait();
        client.grant(Answer::Advertise);
        client.wait();
        client
    };
    let mut client = requesting();
    let mut kinds: Vec<Ask> = (0..10).map(|_| question(&client.wait()).kind).collect();
    assert_eq!(kinds.pop(), Some(Ask::Solicit));
    assert!(kinds.iter().all(|kind| *kind == Ask::Request), "{kinds:?}");
    for (of_message, inside) in
        [(Status::NotOnLink, Status::Success), (Status::Success, Status::NoAddress)]
    {
        let mut client = requesting();
        assert_eq!(client.refuse(of_message, inside), []);
        assert_eq!(client.machine.deadline(), client.now + PAUSE, "not at once");
        assert_eq!(question(&client.wait()).kind, Ask::Solicit);
    }
    let mut client = requesting();
    assert_eq!(client.refuse(Status::Failed(1), Status::Success), []);
    let reply = client.reply(Answer::Reply, 1, &[]);
    assert_eq!(client.hear(&Reply { association: None, ..reply }), []);
    assert_eq!(question(&client.wait()).kind, Ask::Request, "once more");
}

#[test]
fn the_search_goes_on_at_the_pace_that_a_server_says() {
    let (mut client, _) = Client::new(Start::Nothing, 100);
    client.wait();
    let reply = client.reply(Answer::Advertise, 1, &[]);
    client.hear(&Reply { solicit_max: Some(seconds(60)), ..reply });
    let longest = |client: &mut Client| {
        let waits = (0..20).map(|_| {
            let before = client.now;
            assert_eq!(question(&client.wait()).kind, Ask::Solicit);
            client.now.saturating_sub(before)
        });
        waits.max().unwrap()
    };
    assert!(longest(&mut client) > seconds(3000), "the exchange has begun");
    client.grant(Answer::Advertise);
    for _ in 0..10 {
        client.wait();
    }
    assert!(longest(&mut client) <= seconds(66));
}

#[test]
fn an_address_that_another_station_has_is_declined() {
    let (mut client, begin) = Client::bound();
    let now = client.now;
    assert_eq!(client.machine.duplicate(now, ip(6)), []);
    let actions = client.machine.duplicate(now, ip(5));
    let (of, why) = ended(&actions);
    assert!(of == lease(begin) && why.contains("another station"), "{why}");
    let decline = question(&actions[1..]);
    let expected = (Ask::Decline, Some(server()), Some(ip(5)));
    assert_eq!((decline.kind, decline.server, decline.address), expected);
    let reply = client.reply(Answer::Reply, 1, &[]);
    assert_eq!(client.hear(&Reply { association: None, ..reply }), []);
    let solicit = question(&client.wait());
    assert_eq!((solicit.kind, solicit.address, client.now), (Ask::Solicit, None, now + PAUSE));

    // The server does not answer.
    let (mut client, _) = Client::bound();
    client.machine.duplicate(client.now, ip(5));
    for _ in 0..4 {
        assert_eq!(question(&client.wait()).kind, Ask::Decline);
    }
    assert_eq!(client.wait(), []);
    assert_eq!(question(&client.wait()).kind, Ask::Solicit);
}

#[test]
fn a_lease_that_is_given_up_is_released() {
    let (mut client, _) = Client::bound();
    let release = question(&client.machine.release(client.now));
    let expected = (Ask::Release, Some(server()), Some(ip(5)));
    assert_eq!((release.kind, release.server, release.address), expected);
    let reply = client.reply(Answer::Reply, 1, &[]);
    client.hear(&Reply { status: Status::NoBinding, ..reply });
    assert!(client.machine.is_done());

    let (mut client, _) = Client::bound();
    client.machine.release(client.now);
    for _ in 0..3 {
        assert_eq!(question(&client.wait()).kind, Ask::Release);
    }
    assert_eq!(client.wait(), []);
    assert!(client.machine.is_done());

    let (mut client, _) = Client::new(Start::Nothing, 100);
    assert_eq!(client.machine.release(seconds(100)), []);
    assert!(client.machine.is_done());
}

#[test]
fn a_lease_of_an_earlier_start_is_confirmed() {
    let start = |there| Start::Lease { lease: lease(100), there };
    let (_, actions) = Client::new(start(false), 200);
    assert_eq!(actions, [], "after a reboot");
    let (mut client, actions) = Client::new(start(true), 200);
    assert_eq!(actions, [Action::Tell(Event::Bound(lease(100)))]);
    let confirm = question(&client.wait());
    let expected = (Ask::Confirm, None, Some(ip(5)));
    assert_eq!((confirm.kind, confirm.server, confirm.address), expected);
    // A Reply to Confirm has no addresses, and the lease its old times.
    let reply = client.reply(Answer::Reply, 2, &[]);
    let reply = Reply { association: None, ..reply };
    assert_eq!(client.hear(&reply), [Action::Tell(Event::Bound(lease(100)))]);
    assert_eq!(client.machine.deadline(), seconds(500));
    assert_eq!(question(&client.wait()).server, Some(server()), "a renewal");

    let (mut client, _) = Client::new(start(true), 200);
    client.wait();
    let actions = client.hear(&Reply { status: Status::NotOnLink, ..reply });
    assert!(ended(&actions).1.contains("does not fit the link"));
    assert_eq!(question(&client.wait()).kind, Ask::Solicit);

    // No server answers: it stays in force, and is extended when its time comes.
    for there in [false, true] {
        let (mut client, _) = Client::new(start(there), 200);
        while client.machine.listens() {
            assert!(client.now <= seconds(212), "too long");
            client.wait();
        }
        assert!(client.now >= seconds(210));
        assert_eq!(client.machine.deadline(), seconds(500));
    }
}
