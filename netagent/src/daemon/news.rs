//! What is logged of the findings: each when it is new, and when it is gone. One that comes and
//! goes with a device that does is logged so once, and again when it stays or stays away.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::state::Finding;

/// A finding that has not changed for this time stays, or stays away.
const QUIET: Duration = Duration::from_secs(60);
/// Going and coming again within that time is restless.
const RESTLESS: u32 = 2;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The finding is new.
    New(Finding),
    /// The finding comes and goes.
    Restless(Finding),
    /// The finding is gone.
    Gone(Finding),
}

/// The findings that were there in the last time.
#[derive(Default)]
pub struct News(BTreeMap<Finding, Note>);

struct Note {
    is_there: bool,
    /// When that changed last.
    since: Instant,
    /// How often it has changed without a time of quiet.
    changes: u32,
}

impl News {
    /// Takes the findings as they are now. Returns what to log.
    pub fn update(&mut self, findings: &BTreeSet<Finding>, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        for finding in findings {
            self.0.entry(finding.clone()).or_insert_with(|| {
                lines.push(Line::New(finding.clone()));
                Note { is_there: true, since: now, changes: 0 }
            });
        }
        for (finding, note) in &mut self.0 {
            lines.extend(note.update(finding, findings.contains(finding), now));
        }
        self.0.retain(|_, note| note.is_there || now < note.since + QUIET);
        lines
    }
}

impl Note {
    fn update(&mut self, finding: &Finding, is_there: bool, now: Instant) -> Option<Line> {
        let settled = now >= self.since + QUIET;
        let was_restless = self.changes >= RESTLESS;
        if settled {
            self.changes = 0;
        }
        let line = || {
            let finding = finding.clone();
            if is_there { Line::New(finding) } else { Line::Gone(finding) }
        };
        if self.is_there == is_there {
            // The last line of a restless one said neither.
            return (settled && was_restless).then(line);
        }
        (self.is_there, self.since) = (is_there, now);
        self.changes += 1;
        match self.changes {
            ..RESTLESS => Some(line()),
            RESTLESS => Some(Line::Restless(finding.clone())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Code, Subject};

    fn lines(news: &mut News, is_there: bool, now: Instant) -> Vec<&'static str> {
        let finding = Finding::new(Subject::Node, Code::UnmanagedPort, "text", "");
        let findings = is_there.then_some(finding).into_iter().collect();
        let name = |line: &Line| match line {
            Line::New(_) => "new",
            Line::Restless(_) => "restless",
            Line::Gone(_) => "gone",
        };
        news.update(&findings, now).iter().map(name).collect()
    }

    #[test]
    fn a_finding_is_logged_when_it_comes_and_when_it_goes() {
        let (mut news, start) = (News::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(lines(&mut news, true, at(0)), ["new"]);
        assert!(lines(&mut news, true, at(1)).is_empty());
        assert!(lines(&mut news, true, at(100)).is_empty());
        assert_eq!(lines(&mut news, false, at(200)), ["gone"]);
        assert!(lines(&mut news, false, at(300)).is_empty() && news.0.is_empty());
        assert_eq!(lines(&mut news, true, at(400)), ["new"]);
    }

    #[test]
    fn a_finding_that_comes_and_goes_is_logged_until_that_is_known() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (stays, last) in [(true, "new"), (false, "gone")] {
            let mut news = News::default();
            let flaps = (0..100).flat_map(|second| lines(&mut news, second % 2 == 0, at(second)));
            assert_eq!(flaps.collect::<Vec<_>>(), ["new", "gone", "restless"]);
            let later = (100..300).flat_map(|second| lines(&mut news, stays, at(second)));
            assert_eq!(later.collect::<Vec<_>>(), [last]);
            assert_eq!(news.0.is_empty(), !stays);
        }
    }
}
