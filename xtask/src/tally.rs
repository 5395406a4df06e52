//! Adds up what the test executables report of themselves, by the lines of libtest.

use std::collections::{BTreeMap, BTreeSet};

/// What became of the tests, over all kernels.
#[derive(Default)]
pub struct Tally {
    passed: usize,
    /// Where, and what.
    failures: Vec<String>,
    /// Where and why, by test.
    skipped: BTreeMap<String, Vec<String>>,
    ran: BTreeSet<String>,
}

impl Tally {
    /// Adds the output of a place's tests.
    pub fn count<'a>(
        &mut self,
        place: &str,
        succeeded: bool,
        lines: impl Iterator<Item = &'a str>,
    ) {
        let mut passed = BTreeSet::new();
        let mut skipped = BTreeMap::new();
        let (mut total, mut failed) = (0, 0);
        for line in lines {
            if let Some((test, why)) =
                line.strip_prefix("skipped: ").and_then(|rest| rest.split_once(": "))
            {
                skipped.insert(test.to_owned(), why.to_owned());
            } else if let Some(test) = line.strip_prefix("test ")
                && let Some((test, result)) = test.split_once(" ... ")
            {
                match result {
                    "ok" => drop(passed.insert(test.to_owned())),
                    result if result.starts_with("FAILED") => {
                        self.failures.push(format!("{test} ({place})"));
                        failed += 1;
                    }
                    _ => {}
                }
            } else if let Some(result) = line.strip_prefix("test result: ") {
                // "ok. 5 passed; 0 failed; ..."
                let number = result.split_whitespace().nth(1);
                total += number.and_then(|number| number.parse().ok()).unwrap_or(0);
            }
        }
        if !succeeded && failed == 0 {
            self.failures.push(format!("the tests ended badly ({place})"));
        }
        self.passed += total - skipped.len().min(total);
        self.ran.extend(passed.into_iter().filter(|test| !skipped.contains_key(test)));
        for (test, why) in skipped {
            self.skipped.entry(test).or_default().push(why);
        }
    }

    /// The sum, at the end the one line that counts; and whether all is well: nothing failed, and (where `whole`, all
    /// kernels had their turn) nothing was skipped by every kernel.
    pub fn report(mut self, whole: bool) -> (String, bool) {
        let mut lines = Vec::new();
        let mut skips = 0;
        for (test, reasons) in &self.skipped {
            skips += reasons.len();
            if self.ran.contains(test) {
                continue;
            }
            lines.push(format!("no kernel ran {test}: {}", reasons.join("; ")));
            if whole {
                self.failures.push(format!("{test} (run by no kernel)"));
            }
        }
        lines.extend(self.failures.iter().map(|failure| format!("failed: {failure}")));
        let (passed, failed) = (self.passed, self.failures.len());
        lines.push(format!("{passed} passed, {failed} failed, {skips} skipped"));
        (lines.join("\n"), failed == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(places: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for place in places {
            tally.count("here", !place.contains("FAILED"), place.lines());
        }
        tally
    }

    #[test]
    fn a_test_that_ran_somewhere_may_be_skipped_elsewhere() {
        let skipped =
            "test a ... ok\nskipped: a: kernel 1 lacks X\ntest result: ok. 1 passed; 0 failed";
        let ran = "test a ... ok\ntest result: ok. 1 passed; 0 failed";
        let tally = tally(&[skipped, ran]);
        assert_eq!(tally.passed, 1);
        assert!(tally.report(true).1);
    }

    #[test]
    fn a_test_that_ran_nowhere_is_a_failure() {
        let skipped =
            "test a ... ok\nskipped: a: kernel 1 lacks X\ntest result: ok. 1 passed; 0 failed";
        assert!(tally(&[skipped, skipped]).report(false).1);
        assert!(!tally(&[skipped, skipped]).report(true).1);
    }

    #[test]
    fn a_failure_and_a_crash_are_failures() {
        assert!(
            !tally(&["test a ... FAILED\ntest result: FAILED. 0 passed; 1 failed"]).report(true).1
        );
        let mut crashed = Tally::default();
        crashed.count("here", false, "test a ... ok".lines());
        assert!(!crashed.report(true).1);
    }
}
