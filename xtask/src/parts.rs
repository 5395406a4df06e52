//! Splits the tests of a kernel into parts, each for a guest: guests run side by side, and no
//! processor is idle while the last kernel is tested.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command::output;

/// Parts of all tests of a kernel. A guest boots in a few seconds: more parts would gain little.
const PARTS: usize = 4;
/// Fewer tests are not worth a guest.
const LEAST: usize = 8;

/// The names of an executable's tests that contain the filter. `options` are libtest's.
pub fn list(tests: &Path, filter: &str, options: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new(tests);
    let text = output(command.args(["--list", "--format", "terse", filter]).args(options))?;
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Splits tests into parts of similar length. Neighbours are similar, and go to different parts.
pub fn split(tests: &[String]) -> Vec<Vec<String>> {
    let parts = tests.len().div_ceil(LEAST).min(PARTS);
    let part = |first| tests.iter().skip(first).step_by(parts).cloned().collect();
    (0..parts).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_is_in_one_part() {
        let tests: Vec<_> = (0..99).map(|number| number.to_string()).collect();
        let parts = split(&tests);
        assert_eq!(parts.len(), PARTS);
        assert!(parts.iter().all(|part| part.len() >= 24), "{parts:?}");
        let mut all = parts.concat();
        all.sort_by_key(|name| name.parse::<u32>().ok());
        assert_eq!(all, tests);
    }

    #[test]
    fn few_tests_take_one_guest_and_none_take_none() {
        assert_eq!(split(&["a".to_owned(), "b".to_owned()]), [["a", "b"]]);
        assert!(split(&[]).is_empty());
    }
}
