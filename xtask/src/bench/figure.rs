//! What a measurement comes to: two costs, their ratio, and whether that is what we want.

use serde_json::{Value, json};

/// A comparison of two costs, in the same unit.
pub struct Figure {
    pub name: String,
    /// Where it was measured: `host` or `vm`.
    pub place: &'static str,
    pub netagent: f64,
    pub baseline: f64,
    pub baseline_name: &'static str,
    pub unit: &'static str,
    pub ratio: Ratio,
    /// The ratio to be reached: a least one of rates, a largest one of costs.
    pub goal: Option<f64>,
}

/// Which way the quotient of the two costs goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ratio {
    /// netagent's frames per time over the baseline's: more is better.
    OfRates,
    /// netagent's cost over the baseline's: less is better.
    OfCosts,
}

impl Figure {
    pub fn ratio(&self) -> f64 {
        match self.ratio {
            Ratio::OfRates => self.baseline / self.netagent,
            Ratio::OfCosts => self.netagent / self.baseline,
        }
    }

    /// `None`: there is no goal.
    pub fn met(&self) -> Option<bool> {
        let goal = self.goal?;
        Some(match self.ratio {
            Ratio::OfRates => self.ratio() >= goal,
            Ratio::OfCosts => self.ratio() <= goal,
        })
    }

    /// The goal with its direction, for people.
    pub fn goal_text(&self) -> String {
        let sign = match self.ratio {
            Ratio::OfRates => ">=",
            Ratio::OfCosts => "<=",
        };
        self.goal.map_or_else(|| "-".to_owned(), |goal| format!("{sign} {goal:.2}"))
    }

    pub fn met_text(&self) -> &'static str {
        match self.met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "-",
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "name": self.name, "where": self.place, "netagent": self.netagent, "baseline": self.baseline,
            "baseline_name": self.baseline_name, "unit": self.unit, "ratio": self.ratio(),
            "better": match self.ratio { Ratio::OfRates => "higher", Ratio::OfCosts => "lower" },
            "goal": self.goal, "met": self.met(),
        })
    }
}

/// Prints them, those with a goal first.
pub fn print(figures: &[Figure]) {
    println!();
    println!(
        "{:<36} {:<5} {:>12} {:>12} {:>8} {:>8} {:<7} {:<32} unit",
        "figure", "where", "netagent", "baseline", "ratio", "goal", "met", "baseline is"
    );
    for wanted in [true, false] {
        for figure in figures.iter().filter(|figure| figure.goal.is_some() == wanted) {
            println!(
                "{:<36} {:<5} {:>12.1} {:>12.1} {:>8.2} {:>8} {:<7} {:<32} {}",
                figure.name,
                figure.place,
                figure.netagent,
                figure.baseline,
                figure.ratio(),
                figure.goal_text(),
                figure.met_text(),
                figure.baseline_name,
                figure.unit
            );
        }
    }
    println!("\nBoth values are costs. Goal >=: the ratio is that of rates; <=: of the costs.");
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The value below which this many of a hundred are.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() * percent / 100).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(ratio: Ratio, goal: Option<f64>) -> Figure {
        Figure {
            name: String::new(),
            place: "vm",
            netagent: 100.0,
            baseline: 150.0,
            baseline_name: "",
            unit: "",
            ratio,
            goal,
        }
    }

    #[test]
    fn a_ratio_of_rates_is_the_costs_turned_round() {
        assert!((figure(Ratio::OfRates, None).ratio() - 1.5).abs() < 1e-9);
        assert!((figure(Ratio::OfCosts, None).ratio() - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_goal_is_a_least_rate_or_a_largest_cost() {
        assert_eq!(figure(Ratio::OfRates, Some(1.5)).met(), Some(true));
        assert_eq!(figure(Ratio::OfRates, Some(1.6)).met(), Some(false));
        assert_eq!(figure(Ratio::OfCosts, Some(0.7)).met(), Some(true));
        assert_eq!(figure(Ratio::OfCosts, Some(0.6)).met(), Some(false));
        assert_eq!(figure(Ratio::OfCosts, None).met(), None);
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median(&[9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median(&[]).is_nan());
        let hundred: Vec<f64> = (0..100).rev().map(f64::from).collect();
        assert!((percentile(&hundred, 99) - 99.0).abs() < 1e-9);
    }
}
