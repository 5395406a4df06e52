//! How many faults were noticed, part by part.

use std::collections::BTreeMap;
use std::fmt;

/// What became of a fault.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// By this test.
    Noticed(String),
    Unnoticed,
    /// Nobody can notice it.
    Equivalent,
    /// It does not compile, and was made by a program.
    Unviable,
    /// There was no time left.
    NotTried,
    /// The patch has to be fixed.
    Broken(String),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noticed(test) => write!(f, "noticed by {test}"),
            Self::Unnoticed => f.write_str("NOT NOTICED"),
            Self::Equivalent => f.write_str("equivalent"),
            Self::Unviable => f.write_str("does not compile"),
            Self::NotTried => f.write_str("not tried"),
            Self::Broken(why) => write!(f, "BROKEN: {why}"),
        }
    }
}

#[derive(Default)]
struct Row {
    noticed: usize,
    equivalent: usize,
    not_tried: usize,
    unnoticed: Vec<String>,
    broken: Vec<String>,
}

impl Row {
    /// The share of the faults that were noticed, in percent, rounded down.
    fn share(&self) -> usize {
        let tried = self.noticed + self.unnoticed.len();
        (self.noticed * 100).checked_div(tried).unwrap_or(100)
    }
}

/// The figures by part.
#[derive(Default)]
pub struct Table(BTreeMap<String, Row>);

impl Table {
    pub fn add(&mut self, part: &str, name: &str, fate: Fate) {
        let row = self.0.entry(part.to_owned()).or_default();
        match fate {
            Fate::Noticed(_) => row.noticed += 1,
            Fate::Equivalent => row.equivalent += 1,
            Fate::NotTried => row.not_tried += 1,
            Fate::Unviable => {}
            Fate::Unnoticed => row.unnoticed.push(name.to_owned()),
            Fate::Broken(why) => row.broken.push(format!("{name}: {why}")),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What has to be fixed: patches that no test notices or that do not apply, and parts of the
    /// code below their goal.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (part, row) in &self.0 {
            faults.extend(row.broken.iter().map(|why| format!("mutation {why}")));
            let (share, goal) = (row.share(), goal(part));
            if share >= goal {
                continue;
            }
            if is_unit(part) {
                faults.push(format!("mutations of {part}: {share} % noticed, of {goal} %"));
            } else {
                faults.extend(
                    row.unnoticed.iter().map(|name| format!("mutation {name}: not noticed")),
                );
            }
        }
        faults
    }
}

/// Whether a part is tried by unit tests.
fn is_unit(part: &str) -> bool {
    part.starts_with("unit/")
}

/// The least share of a part, in percent.
fn goal(part: &str) -> usize {
    match part.strip_prefix("unit/") {
        Some("common") => 95,
        Some(_) => 90,
        None => 100,
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (part, row) in &self.0 {
            row.unnoticed.iter().try_for_each(|name| writeln!(f, "not noticed: {part}: {name}"))?;
            row.broken.iter().try_for_each(|why| writeln!(f, "broken: {why}"))?;
        }
        write!(f, "{:14} {:>8} {:>7} {:>6} {:>6}", "part", "noticed", "of", "share", "goal")?;
        for (part, row) in &self.0 {
            let (tried, share, goal) = (row.noticed + row.unnoticed.len(), row.share(), goal(part));
            write!(f, "\n{part:14} {:>8} {tried:>7} {share:>5}% {goal:>5}%", row.noticed)?;
            for (count, what) in [(row.equivalent, "equivalent"), (row.not_tried, "not tried")] {
                if count > 0 {
                    write!(f, "  {count} {what}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_below_its_goal_is_a_fault() {
        let mut table = Table::default();
        let noticed = || Fate::Noticed("a".to_owned());
        table.add("programs", "x", noticed());
        table.add("programs", "y", Fate::Equivalent);
        (0..19).for_each(|_| table.add("unit/common", "x", noticed()));
        table.add("unit/common", "y", Fate::Unnoticed);
        table.add("unit/plan", "not", Fate::NotTried);
        assert_eq!(table.faults(), [""; 0]);
        assert_eq!(
            table.to_string(),
            "not noticed: unit/common: y\n\
             part            noticed      of  share   goal\n\
             programs              1       1   100%   100%  1 equivalent\n\
             unit/common          19      20    95%    95%\n\
             unit/plan             0       0   100%    90%  1 not tried"
        );
        table.add("programs", "z", Fate::Unnoticed);
        table.add("unit/common", "z", Fate::Unnoticed);
        assert_eq!(
            table.faults(),
            ["mutation z: not noticed", "mutations of unit/common: 90 % noticed, of 95 %"]
        );
    }

    #[test]
    fn a_broken_patch_is_a_fault() {
        let mut table = Table::default();
        table.add("agent", "x", Fate::Broken("why".to_owned()));
        assert_eq!(table.faults(), ["mutation x: why"]);
    }
}
