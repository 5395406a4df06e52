//! When a trial ends by itself. Pure.

use std::{collections::BTreeMap, time::Duration};

use super::{Header, Target};

/// How long something that answered before may be silent: longer than a switch needs to forward
/// again (IEEE 802.1D-2004 table 17-1: twice 15 s of forward delay).
pub const SILENCE: Duration = Duration::from_secs(40);

/// Why a trial must be undone at this uptime; `None`: it goes on. `silent` has what does not
/// answer, and since when, as uptime.
pub fn verdict(
    header: &Header,
    deadline: Duration,
    silent: &BTreeMap<Target, Duration>,
    now: Duration,
) -> Option<String> {
    let silent = || silent.iter().filter(|(target, _)| header.answered.contains(target));
    let for_too_long = silent().find(|(_, since)| now.saturating_sub(**since) >= SILENCE);
    if let Some((target, _)) = for_too_long {
        return Some(format!("{target} has not answered for {} s", SILENCE.as_secs()));
    }
    if now < deadline {
        return None;
    }
    let names: Vec<_> = silent().map(|(target, _)| target.to_string()).collect();
    let silence = if names.is_empty() {
        String::new()
    } else {
        format!("; {} did not answer", names.join(" and "))
    };
    Some(format!("nobody confirmed it within {} s{silence}", header.time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_ends_at_its_deadline_or_when_something_is_silent_for_long() {
        let header = Header {
            boot: String::new(),
            time: Duration::from_secs(120),
            links: [].into(),
            answered: [Target::Gateway4].into(),
            text: String::new(),
        };
        let at = Duration::from_secs;
        let verdict = |silent: &[(Target, u64)], now| {
            let silent = silent.iter().map(|(target, since)| (*target, at(*since))).collect();
            verdict(&header, at(1000), &silent, at(now))
        };
        assert_eq!(verdict(&[], 999), None);
        assert_eq!(verdict(&[], 1000).unwrap(), "nobody confirmed it within 120 s");
        assert_eq!(verdict(&[(Target::Gateway4, 900)], 939), None);
        let text = verdict(&[(Target::Gateway4, 900)], 940).unwrap();
        assert_eq!(text, "the IPv4 default gateway has not answered for 40 s");
        let text = verdict(&[(Target::Gateway4, 970)], 1000).unwrap();
        assert!(text.ends_with("120 s; the IPv4 default gateway did not answer"), "{text}");
        assert_eq!(verdict(&[(Target::Gateway6, 0)], 999), None, "it did not answer before either");
    }
}
