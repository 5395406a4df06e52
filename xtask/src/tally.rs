//! Adds up the results of the test executables, from the lines of libtest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Rows of the table of slow tests.
const SLOWEST: usize = 10;

/// Results of the tests on all kernels.
#[derive(Default)]
pub struct Tally {
    passed: usize,
    /// Test, place and reason.
    failures: Vec<String>,
    /// Place and reason, by test.
    skipped: BTreeMap<String, Vec<String>>,
    ran: BTreeSet<String>,
    /// Tests whose result does not depend on the kernel.
    once: BTreeSet<String>,
    times: Vec<Time>,
}

/// How long a test took.
struct Time {
    seconds: f64,
    test: String,
    place: String,
}

impl Tally {
    /// Adds the results of one place.
    pub fn count<'a>(
        &mut self,
        place: &str,
        succeeded: bool,
        lines: impl Iterator<Item = &'a str>,
    ) {
        let lines: Vec<_> = lines.collect();
        let mut passed = BTreeSet::new();
        let mut skipped = BTreeMap::new();
        let (mut total, mut failed) = (0, 0);
        for line in &lines {
            if let Some((test, why)) =
                line.strip_prefix("skipped: ").and_then(|rest| rest.split_once(": "))
            {
                skipped.insert(test.to_owned(), why.to_owned());
            } else if let Some(test) = line.strip_prefix("once: ") {
                self.once.insert(test.to_owned());
            } else if let Some(test) = line.strip_prefix("test ")
                && let Some((test, result)) = test.split_once(" ... ")
            {
                let (result, seconds) = time_of(result);
                self.times.extend(seconds.map(|seconds| {
                    let (test, place) = (test.to_owned(), place.to_owned());
                    Time { seconds, test, place }
                }));
                match result {
                    "ok" => drop(passed.insert(test.to_owned())),
                    result if result.starts_with("FAILED") => {
                        let why = panic_of(test, &lines);
                        self.failures.push(format!("{test} ({place}){why}"));
                        failed += 1;
                    }
                    result if result.starts_with("ignored") => {}
                    // Other output broke the line: the result is unknown.
                    _ => self.failures.push(format!("{test}: no result ({place})")),
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

    /// Whether no test has failed so far.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// Adds failures that are not tests.
    pub fn fail(&mut self, failures: Vec<String>) {
        self.failures.extend(failures);
    }

    /// Whether a test has run whose result does not depend on the kernel.
    pub fn is_done(&self, test: &str) -> bool {
        self.once.contains(test) && self.ran.contains(test)
    }

    /// Whether a kernel has run a test.
    pub fn has_run(&self, test: &str) -> bool {
        self.ran.contains(test)
    }

    /// Whether the result of a test does not depend on the kernel.
    pub fn is_once(&self, test: &str) -> bool {
        self.once.contains(test)
    }

    /// The report, whose last line is the sum, and whether the run succeeded: no test failed, and
    /// no test was skipped on all kernels (if `whole`: all kernels have run).
    pub fn report(mut self, whole: bool) -> (String, bool) {
        let mut lines = vec![self.slowest()];
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

    /// A table of the tests that took longest.
    fn slowest(&mut self) -> String {
        self.times.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        let mut table = "the slowest tests, in seconds:".to_owned();
        for Time { seconds, test, place } in self.times.iter().take(SLOWEST) {
            write!(table, "\n{seconds:8.1}  {test} ({place})").unwrap_or_default();
        }
        table
    }
}

/// A result and, behind it, how long the test took: `ok <1.234s>`.
fn time_of(result: &str) -> (&str, Option<f64>) {
    let parts = result.rsplit_once(" <");
    let time = |(result, time): (_, &str)| {
        Some((result, Some(time.strip_suffix("s>")?.parse::<f64>().ok()?)))
    };
    parts.and_then(time).unwrap_or((result, None))
}

/// Where a test panicked, and the beginning of what it said, for the end of a long output.
fn panic_of(test: &str, lines: &[&str]) -> String {
    const LINES: usize = 4;
    const ENOUGH: usize = 400;
    let thread = format!("thread '{test}'");
    let mut lines = lines.iter().skip_while(|line| !line.starts_with(&thread));
    let place = lines.next().and_then(|line| line.split_once(" panicked at "));
    let is_said = |line: &&&str| {
        !["note: ", "stack backtrace:", "----"].iter().any(|other| line.starts_with(other))
    };
    let said: Vec<_> = lines.take_while(is_said).take(LINES).map(|line| line.trim()).collect();
    let said: String = said.join(" ").chars().take(ENOUGH).collect();
    place.map_or(String::new(), |(_, place)| format!(": {place} {}", said.trim_end()))
}

/// Chooses the lines of a test executable's output that are shown at once: all but the output of
/// tests that pass. libtest prints that for the tally; only lines with skips, and with figures of
/// the oracle, of adopted nodes and of the bridge plugin, are shown of it.
#[derive(Default)]
pub struct Digest {
    of_successes: bool,
}

impl Digest {
    /// Whether to show the next line.
    pub fn shows(&mut self, line: &str) -> bool {
        match line {
            "successes:" => self.of_successes = true,
            _ if line.starts_with("failures:") || line.starts_with("test result: ") => {
                self.of_successes = false;
            }
            _ => {}
        }
        !self.of_successes && !line.is_empty()
            || line.starts_with("skipped: ")
            || line.starts_with("oracle: ")
            || line.starts_with("nodes: ")
            || line.starts_with("beside: ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_leaves_out_what_tests_print_that_do_well() {
        let text = "test a ... ok\n\nsuccesses:\n\n---- a stdout ----\noracle: 5 frames\nchatter\n\nsuccesses:\n    a\n\n\
                    failures:\n\n---- b stdout ----\nwhy\n\ntest result: FAILED. 1 passed; 1 failed";
        let mut digest = Digest::default();
        let shown: Vec<_> = text.lines().filter(|line| digest.shows(line)).collect();
        assert_eq!(
            shown,
            [
                "test a ... ok",
                "oracle: 5 frames",
                "failures:",
                "---- b stdout ----",
                "why",
                "test result: FAILED. 1 passed; 1 failed"
            ]
        );
    }

    #[test]
    fn a_result_that_cannot_be_read_is_a_failure() {
        let tally = tally(&["test a ... INFO chatter\nok\ntest result: ok. 1 passed; 0 failed"]);
        assert!(!tally.report(true).1);
    }

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
    fn the_slowest_tests_come_first_with_their_places() {
        let text = tally(&["test a ... ok <0.250s>\ntest b ... FAILED <12.345s>"]).report(true).0;
        let table = "the slowest tests, in seconds:\n    12.3  b (here)\n     0.2  a (here)\n";
        assert!(text.starts_with(table), "{text}");
        assert!(text.contains("failed: b (here)"), "{text}");
    }

    #[test]
    fn a_test_that_does_not_depend_on_the_kernel_is_done_once_it_ran() {
        let ran = "test a ... ok\nonce: a\ntest b ... ok\ntest c ... ok\n\
                   once: c\nskipped: c: kernel 1 lacks X";
        let tally = tally(&[ran]);
        assert!(tally.is_done("a") && !tally.is_done("b"));
        assert!(tally.is_once("c") && !tally.is_done("c"));
    }

    #[test]
    fn a_failure_is_reported_with_its_place_and_first_lines() {
        let tally = tally(&[
            "test a ... FAILED\n---- a stdout ----\nchatter\nthread 'a' (7) panicked at a.rs:1:2:\nwhy\n  left: 1\nnote: more\n\
             test result: FAILED. 0 passed; 1 failed",
        ]);
        let text = tally.report(true).0;
        assert!(text.contains("\nfailed: a (here): a.rs:1:2: why left: 1\n"), "{text}");
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
