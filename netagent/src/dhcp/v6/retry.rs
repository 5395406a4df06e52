//! When a message is sent again (RFC 8415 section 15).

use std::time::Duration;

use crate::dhcp::random::Random;

/// The times of an exchange of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The first wait for an answer (IRT).
    pub first: Duration,
    /// The longest wait (MRT), or none.
    pub most: Option<Duration>,
    /// How often the message is sent (MRC), or without end.
    pub count: Option<u32>,
    /// Whether the first wait is no shorter than said, so that all servers can answer.
    pub for_all: bool,
}

const fn times(first: u64, most: Option<u64>, count: Option<u32>) -> Times {
    let most = match most {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => None,
    };
    Times { first: Duration::from_secs(first), most, count, for_all: false }
}

// Section 7.6.
pub const SOLICIT: Times = Times { for_all: true, ..times(1, Some(3600), None) };
pub const REQUEST: Times = times(1, Some(30), Some(10));
pub const CONFIRM: Times = times(1, Some(4), None);
pub const RENEW: Times = times(10, Some(600), None);
pub const REBIND: Times = times(10, Some(600), None);
pub const RELEASE: Times = times(1, None, Some(4));
pub const DECLINE: Times = times(1, None, Some(5));

/// An exchange of messages.
#[derive(Clone, Debug)]
pub struct Exchange {
    times: Times,
    /// How often the message has been sent.
    sent: u32,
    /// The last wait.
    wait: Duration,
}

impl Exchange {
    pub const fn new(times: Times) -> Self {
        Self { times, sent: 0, wait: Duration::ZERO }
    }

    /// How often the message has been sent.
    pub const fn sent(&self) -> u32 {
        self.sent
    }

    /// Whether the message is not sent again.
    pub fn is_over(&self) -> bool {
        self.times.count.is_some_and(|count| self.sent >= count)
    }

    /// Notes that the message is sent, and returns how long an answer is awaited.
    pub fn send(&mut self, random: &mut Random) -> Duration {
        let base = if self.sent == 0 { self.times.first } else { self.wait * 2 };
        // RAND is between -0.1 and 0.1, times the last wait or the first time.
        let unit = if self.sent == 0 { self.times.first } else { self.wait };
        let tenth = unit / 10;
        let mut wait = if self.times.for_all && self.sent == 0 {
            base + Duration::from_millis(1) + random.up_to(tenth)
        } else {
            base.saturating_sub(tenth) + random.up_to(tenth * 2)
        };
        if let Some(most) = self.times.most.filter(|most| wait > *most) {
            let tenth = most / 10;
            wait = most.saturating_sub(tenth) + random.up_to(tenth * 2);
        }
        self.sent = self.sent.saturating_add(1);
        self.wait = wait;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(times: Times, seed: u64) -> Vec<Duration> {
        let (mut exchange, mut random) = (Exchange::new(times), Random::seeded(seed));
        (0..20).map(|_| exchange.send(&mut random)).collect()
    }

    #[test]
    fn waits_double_up_to_a_limit_give_or_take_a_tenth() {
        for seed in 1..200 {
            let waits = waits(REQUEST, seed);
            let [first, second] = [waits[0], waits[1]];
            assert!((900..=1100).contains(&first.as_millis()), "{first:?}");
            assert!(second >= first * 19 / 10 && second <= first * 21 / 10, "{second:?}");
            assert!(waits[6..].iter().all(|wait| (27..=33).contains(&wait.as_secs())), "{waits:?}");
            let solicit = self::waits(SOLICIT, seed)[0];
            assert!((1001..=1101).contains(&solicit.as_millis()), "{solicit:?}");
        }
        let different: std::collections::BTreeSet<_> =
            (1..200).map(|seed| waits(REQUEST, seed)[0]).collect();
        assert!(different.len() > 50, "{different:?}");
    }

    #[test]
    fn some_messages_are_sent_a_number_of_times_only() {
        let (mut exchange, mut random) = (Exchange::new(RELEASE), Random::seeded(1));
        for _ in 0..4 {
            assert!(!exchange.is_over());
            exchange.send(&mut random);
        }
        assert!(exchange.is_over());
    }
}
