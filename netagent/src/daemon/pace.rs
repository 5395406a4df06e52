//! How often a part of the node is looked at. A link that changes all the time (a bad cable, a
//! program that fights with the agent) must neither keep the agent busy nor delay the repair of
//! others.
//!
//! Each link has a budget of looks, which is refilled at a steady rate. Without budget, it is
//! looked at on the next tick of a common clock: all such links together.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::{names::IfName, netlink::Changes, state::Observed};

/// How long after a change the node is looked at: what comes in a burst is handled once.
const SETTLE: Duration = Duration::from_millis(10);
/// The looks that a link may have at once: more than the changes and repairs of a VM's start.
const BURST: u32 = 20;
/// One look comes back after this time, and it is the tick of the common clock.
const REFILL: Duration = Duration::from_millis(500);

/// What changes by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// A link. One that is deleted and created again has another index, and the same name.
    Link(IfName),
    /// The links whose names are not known: each may be another one.
    Nameless,
    Routes,
    /// Notifications were lost.
    Everything,
}

/// A part that has changed lately.
struct Account {
    /// When the whole budget is there again.
    full_at: Instant,
    /// What has changed since the last look, and when it is looked at.
    waits: Option<(Changes, Instant)>,
    /// The operator was told that the budget is used up.
    told: bool,
}

/// The changes that wait for a look.
pub struct Pace {
    accounts: BTreeMap<Part, Account>,
    /// The names of the links that have an account: not every notification has the name.
    names: BTreeMap<u32, IfName>,
    /// The beginning of the common clock.
    start: Instant,
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self { accounts: BTreeMap::new(), names: BTreeMap::new(), start: now }
    }

    /// Adds what has changed.
    pub fn add(&mut self, changes: &Changes, links: &Observed, now: Instant) {
        self.names.extend(changes.names.clone());
        for index in &changes.links {
            let known = || links.links.iter().find(|(_, link)| link.index == *index);
            let name = self.names.get(index).or_else(|| known().map(|(name, _)| name));
            let part = name.cloned().map_or(Part::Nameless, Part::Link);
            self.wait(&part, now).links.insert(*index);
        }
        if changes.routes {
            self.wait(&Part::Routes, now).routes = true;
        }
        if changes.everything {
            self.wait(&Part::Everything, now).everything = true;
        }
    }

    /// When the node is to be looked at next.
    pub fn due(&self) -> Option<Instant> {
        self.accounts.values().filter_map(|account| Some(account.waits.as_ref()?.1)).min()
    }

    /// Takes the changes that are to be looked at now. Each costs a look.
    pub fn take(&mut self, now: Instant) -> Changes {
        let mut taken = Changes::default();
        for account in self.accounts.values_mut() {
            if let Some((changes, _)) = account.waits.take_if(|(_, due)| *due <= now) {
                taken.merge(changes);
                account.full_at = account.full_at.max(now) + REFILL;
            }
        }
        self.accounts.retain(|part, account| {
            let changes = account.waits.is_some() || account.full_at > now;
            if !changes && account.told {
                info!("no longer: {part} changes all the time");
            }
            changes
        });
        self.names.retain(|_, name| self.accounts.contains_key(&Part::Link(name.clone())));
        taken
    }

    /// The whole node is looked at now.
    pub fn clear(&mut self) {
        self.accounts.values_mut().for_each(|account| account.waits = None);
    }

    fn wait(&mut self, part: &Part, now: Instant) -> &mut Changes {
        let start = self.start;
        let account = self.accounts.entry(part.clone()).or_insert(Account {
            full_at: now,
            waits: None,
            told: false,
        });
        let used = account.full_at.saturating_duration_since(now);
        let (changes, _) = account.waits.get_or_insert_with(|| {
            let due = if used < REFILL * BURST {
                now + SETTLE
            } else {
                if !std::mem::replace(&mut account.told, true) {
                    warn!("{part} changes all the time: it is looked at twice per second");
                }
                next_tick(start, now)
            };
            (Changes::default(), due)
        });
        changes
    }
}

/// The next tick of the common clock.
fn next_tick(start: Instant, now: Instant) -> Instant {
    let ticks = now.saturating_duration_since(start).as_millis() / REFILL.as_millis() + 1;
    start + REFILL * u32::try_from(ticks).unwrap_or(u32::MAX)
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link(name) => name.fmt(f),
            Self::Nameless => f.write_str("a link that is gone at once"),
            Self::Routes => f.write_str("the routing table"),
            Self::Everything => f.write_str("more than notifications tell"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(index: u32, name: Option<&str>) -> Changes {
        let names = name.map(|name| (index, name.parse().unwrap()));
        Changes { links: [index].into(), names: names.into_iter().collect(), ..Changes::default() }
    }

    /// How often each change of `changes`, one per millisecond, leads to a look within ten seconds.
    fn looks(changes: impl Fn(u32) -> Changes) -> usize {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |number| start + Duration::from_millis(u64::from(number));
        let taken = (0..10_000).filter(|number| {
            pace.add(&changes(*number), &Observed::default(), at(*number));
            pace.due().is_some_and(|due| due <= at(*number)) && !pace.take(at(*number)).is_empty()
        });
        taken.count()
    }

    #[test]
    fn a_link_that_flaps_has_a_budget_and_two_looks_per_second() {
        let bound = 40..=41;
        let flaps = looks(|_| change(7, Some("tap7")));
        assert!(bound.contains(&flaps), "{flaps}");
        // It is created again each time.
        let created = looks(|number| change(number, Some("tap7")));
        assert!(bound.contains(&created), "{created}");
        let nameless = looks(|number| change(number, None));
        assert!(bound.contains(&nameless), "{nameless}");
        // Not every notification has the name.
        let named_at_times =
            looks(|number| change(number / 2, (number % 2 == 0).then_some("tap7")));
        assert!(bound.contains(&named_at_times), "{named_at_times}");
        let lost = looks(|_| Changes { everything: true, ..Changes::default() });
        assert!(bound.contains(&lost), "{lost}");
    }

    #[test]
    fn other_links_are_looked_at_at_once() {
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::new(start), start);
        while now < start + Duration::from_secs(3) {
            pace.add(&change(7, Some("tap7")), &Observed::default(), now);
            now += Duration::from_millis(1);
            pace.take(now);
        }
        pace.add(&change(8, Some("tap8")), &Observed::default(), now);
        assert_eq!(pace.due(), Some(now + SETTLE));
        let taken = pace.take(now + SETTLE);
        assert!(taken.links.contains(&8), "{taken:?}");
        // Once it rests, it has its budget again, and nothing is kept of it.
        pace.take(now + REFILL);
        let later = now + REFILL * (2 * BURST);
        pace.take(later);
        assert!(pace.accounts.is_empty() && pace.names.is_empty());
        pace.add(&change(7, Some("tap7")), &Observed::default(), later);
        assert_eq!(pace.due(), Some(later + SETTLE));
    }
}
