//! A plot of the ratios against their goals, as SVG text.

use std::fmt::Write as _;

use super::figure::{Figure, Ratio};

const WIDTH: f64 = 820.0;
const ROW: f64 = 30.0;
const TOP: f64 = 52.0;
/// The bars are between these.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 560.0;
/// The ends of the axis, as multiples of the goal.
const ENDS: (f64, f64) = (1.0 / 16.0, 4.0);
const TICKS: [(f64, &str); 7] = [
    (0.0625, "1/16"),
    (0.125, "1/8"),
    (0.25, "1/4"),
    (0.5, "1/2"),
    (1.0, "goal"),
    (2.0, "2x"),
    (4.0, "4x"),
];

/// One bar for each figure with a goal: how many times as good as its goal it is, on a logarithmic
/// axis. To the right is better.
pub fn svg(figures: &[Figure]) -> String {
    let bars: Vec<_> = figures.iter().filter_map(|figure| Some((figure, score(figure)?))).collect();
    let bottom = bars.iter().fold(TOP, |y, _| y + ROW);
    let height = bottom + 34.0;
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();
    line(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text x="12" y="24" font-size="16">Ratios against their goals</text>
<text x="240" y="24" fill="#555">to the right is better; green: goal met</text>"##
    ));
    for (value, label) in TICKS {
        let (x, colour) = (place(value), if label == "goal" { "#000" } else { "#ccc" });
        line(format!(
            r#"<line x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{bottom}" stroke="{colour}"/>
<text x="{x:.1}" y="{:.1}" text-anchor="middle" fill="{}">{label}</text>"#,
            TOP - 8.0,
            bottom + 18.0,
            "#555"
        ));
    }
    let mut y = TOP;
    for (figure, score) in bars {
        let (one, end) = (place(1.0), place(score));
        let colour = if figure.met() == Some(true) { "#3a8f4d" } else { "#c4552d" };
        line(format!(
            r##"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>
<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{colour}"/>
<text x="{:.1}" y="{:.1}" fill="#333">{:.2} (goal {})</text>"##,
            LEFT - 10.0,
            y + 17.0,
            escape(&figure.name),
            one.min(end),
            y + 5.0,
            (end - one).abs().max(1.0),
            ROW - 12.0,
            RIGHT + 14.0,
            y + 17.0,
            figure.ratio(),
            escape(&format!("{}, {}", figure.goal_text(), figure.place)),
        ));
        y += ROW;
    }
    line("</svg>".to_owned());
    out
}

/// How many times as good as its goal.
fn score(figure: &Figure) -> Option<f64> {
    let goal = figure.goal?;
    let score = match figure.ratio {
        Ratio::OfRates => figure.ratio() / goal,
        Ratio::OfCosts => goal / figure.ratio(),
    };
    score.is_finite().then_some(score)
}

/// Where a multiple of the goal is on the axis.
fn place(score: f64) -> f64 {
    let (low, high) = (ENDS.0.log2(), ENDS.1.log2());
    let share = (score.clamp(ENDS.0, ENDS.1).log2() - low) / (high - low);
    LEFT + share * (RIGHT - LEFT)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_meets_its_goal_ends_to_the_right_of_it() {
        assert!((place(ENDS.0) - LEFT).abs() < 1e-9);
        assert!((place(ENDS.1) - RIGHT).abs() < 1e-9);
        assert!(place(1.1) > place(1.0));
        assert!((place(1000.0) - RIGHT).abs() < 1e-9, "and within the plot");
    }

    #[test]
    fn text_of_a_figure_does_not_become_markup() {
        assert_eq!(escape("a < b & c"), "a &lt; b &amp; c");
    }
}
