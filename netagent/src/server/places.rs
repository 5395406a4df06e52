//! Places of connections: no client keeps another one away, however many connections it opens.
//!
//! Each client may have a share of all places. A client that wants more gives up its oldest
//! connection that has asked nothing. Where all places are taken, the oldest connection that has
//! asked nothing is closed, then one of the client that has the most. What is left goes to a
//! reserve, in which only questions are answered that cost nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

/// The limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of connections, and so of concurrent requests: a connection has one request.
    pub places: usize,
    /// Maximum number of connections of one client.
    pub share: usize,
    /// Maximum number of connections beyond `places` and `share`.
    pub reserve: usize,
    /// Maximum time until the headers of the request have arrived.
    pub headers: Duration,
    /// Maximum time from the accept to the end of the answer.
    pub exchange: Duration,
}

/// The place of a connection.
pub struct Place {
    /// Whether the place is one of the reserve.
    pub is_reserve: bool,
    /// The connection has asked something.
    pub asked: Arc<AtomicBool>,
    /// Resolves when the connection must end.
    pub ended: oneshot::Receiver<()>,
}

struct Taken<C> {
    client: C,
    is_reserve: bool,
    asked: Arc<AtomicBool>,
    /// Dropping it ends the connection.
    end: oneshot::Sender<()>,
}

/// The places of a listener.
pub struct Places<C> {
    limits: Limits,
    /// The oldest first.
    taken: Vec<Taken<C>>,
}

impl<C: Clone + Ord> Places<C> {
    /// All places are free.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, taken: Vec::new() }
    }

    /// A place for a new connection of a client.
    pub fn take(&mut self, client: C) -> Place {
        self.taken.retain(|taken| !taken.end.is_closed());
        let ordinary = self.taken.iter().filter(|taken| !taken.is_reserve);
        let (all, own) =
            (ordinary.clone().count(), ordinary.filter(|taken| taken.client == client).count());
        let has_place = if own >= self.limits.share {
            self.close_idle(|taken| taken.client == client)
        } else {
            all < self.limits.places || self.close_idle(|_| true) || self.close_of_greedy(own)
        };
        if !has_place {
            let reserve = || self.taken.iter().enumerate().filter(|(_, taken)| taken.is_reserve);
            if let Some((oldest, _)) = reserve().next()
                && reserve().count() >= self.limits.reserve
            {
                self.taken.remove(oldest);
            }
        }
        let (end, ended) = oneshot::channel();
        let asked = Arc::new(AtomicBool::new(false));
        let is_reserve = !has_place;
        self.taken.push(Taken { client, is_reserve, asked: Arc::clone(&asked), end });
        Place { is_reserve, asked, ended }
    }

    /// Closes the oldest such connection that has asked nothing. Returns whether there is one.
    fn close_idle(&mut self, of: impl Fn(&Taken<C>) -> bool) -> bool {
        let is_idle = |taken: &Taken<C>| !taken.asked.load(Ordering::Relaxed);
        self.close(|taken| of(taken) && is_idle(taken))
    }

    /// Closes the oldest connection of the client that has the most, if they are more than those of
    /// the new connection's client would be.
    fn close_of_greedy(&mut self, own: usize) -> bool {
        let mut counts: BTreeMap<&C, usize> = BTreeMap::new();
        for taken in self.taken.iter().filter(|taken| !taken.is_reserve) {
            *counts.entry(&taken.client).or_default() += 1;
        }
        let greedy = counts.into_iter().max_by_key(|(_, count)| *count);
        let greedy = greedy.filter(|(_, count)| *count > own + 1).map(|(client, _)| client.clone());
        greedy.is_some_and(|greedy| self.close(|taken| taken.client == greedy))
    }

    fn close(&mut self, of: impl Fn(&Taken<C>) -> bool) -> bool {
        let position = self.taken.iter().position(|taken| !taken.is_reserve && of(taken));
        position.map(|position| self.taken.remove(position)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        places: 4,
        share: 3,
        reserve: 2,
        headers: Duration::ZERO,
        exchange: Duration::ZERO,
    };

    fn busy(places: &mut Places<u8>, client: u8) -> Place {
        let place = places.take(client);
        place.asked.store(true, Ordering::Relaxed);
        place
    }

    fn is_open(place: &mut Place) -> bool {
        place.ended.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }

    #[test]
    fn idle_connections_make_room_in_their_clients_share() {
        let mut places = Places::new(LIMITS);
        let mut other = places.take(2);
        let mut idle: Vec<Place> = (0..9).map(|_| places.take(1)).collect();
        assert!(idle.iter().all(|place| !place.is_reserve));
        let open: Vec<bool> = idle.iter_mut().map(is_open).collect();
        assert_eq!(open, [false, false, false, false, false, false, true, true, true]);
        assert!(is_open(&mut other));
        // All places are taken: the oldest connection that has asked nothing goes.
        let mut third = places.take(3);
        assert!(!third.is_reserve && is_open(&mut third) && !is_open(&mut other));
    }

    #[test]
    fn a_client_with_many_requests_gives_one_place_to_a_client_without() {
        let mut places = Places::new(LIMITS);
        let mut first: Vec<Place> = (0..3).map(|_| busy(&mut places, 1)).collect();
        assert!(busy(&mut places, 1).is_reserve);
        let _second = busy(&mut places, 2);
        let third = busy(&mut places, 3);
        assert!(!third.is_reserve && !is_open(&mut first[0]) && is_open(&mut first[1]));
        // One place each, and one of two: nobody has more than a new client would have, and one.
        let fourth = busy(&mut places, 4);
        assert!(!fourth.is_reserve && !is_open(&mut first[1]) && is_open(&mut first[2]));
        assert!(busy(&mut places, 5).is_reserve);
    }

    #[test]
    fn the_reserve_is_bounded_and_keeps_the_newest() {
        let mut places = Places::new(LIMITS);
        let _first: Vec<Place> = (0..3).map(|_| busy(&mut places, 1)).collect();
        let mut reserve: Vec<Place> = (0..4).map(|_| busy(&mut places, 1)).collect();
        assert!(reserve.iter().all(|place| place.is_reserve));
        assert_eq!(reserve.iter_mut().map(is_open).collect::<Vec<_>>(), [false, false, true, true]);
        // A connection that has ended has given its place back.
        drop(reserve);
        assert_eq!(places.taken.iter().filter(|taken| !taken.end.is_closed()).count(), 3);
    }
}
