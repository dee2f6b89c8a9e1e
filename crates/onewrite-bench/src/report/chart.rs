//! A chart of a scenario's figures: horizontal bars of the medians, with the least and the greatest run and the goal.
//!
//! It is an SVG of its own, which takes the reader's light or dark colours where it is shown.

use std::fmt::Write as _;

use crate::figures::{Figure, Figures, Unit};

/// Pixels: the whole, where bars begin, how long the longest is, a row, and a bar in it.
const WIDTH: usize = 960;
const LEFT: f64 = 400.0;
const LONGEST: f64 = 340.0;
const ROW: f64 = 22.0;
const BAR: f64 = 12.0;

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2328 }\n\
.title { font-size: 15px; font-weight: 600 }\n\
.unit { font-weight: 600; fill: #59636e }\n\
.bar { fill: #4d8fd6 }\n\
.missed { fill: #d0704a }\n\
.range { stroke: #1f2328; stroke-width: 1.5 }\n\
.goal { stroke: #1a7f37; stroke-width: 2; stroke-dasharray: 3 2 }\n\
@media (prefers-color-scheme: dark) {\n\
text { fill: #e6edf3 }\n\
.unit { fill: #9198a1 }\n\
.bar { fill: #3f7cc0 }\n\
.missed { fill: #c5623c }\n\
.range { stroke: #e6edf3 }\n\
.goal { stroke: #3fb950 }\n\
}\n";

/// The chart, under a title. Figures of one unit stand together and have one scale.
pub fn svg(title: &str, figures: &Figures) -> String {
    let mut units: Vec<Unit> = Vec::new();
    for figure in figures.iter() {
        if !units.contains(&figure.unit) {
            units.push(figure.unit);
        }
    }
    let mut body = String::new();
    let mut top = 32.0;
    for unit in units {
        let group: Vec<&Figure> = figures.iter().filter(|figure| figure.unit == unit).collect();
        let scale = LONGEST / greatest(&group);
        let _ = writeln!(
            body,
            "<text class=\"unit\" x=\"16\" y=\"{}\">{}</text>",
            top + 15.0,
            unit.heading()
        );
        top += ROW;
        for figure in group {
            row(&mut body, figure, top, scale);
            top += ROW;
        }
        top += ROW / 3.0;
    }
    let height = top + 8.0;
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n<text class=\"title\" x=\"16\" y=\"22\">{title}</text>\n{body}</svg>\n"
    )
}

/// The greatest value that has to be shown; not nought, where all are.
fn greatest(group: &[&Figure]) -> f64 {
    let values = group
        .iter()
        .flat_map(|figure| [figure.spread().max, figure.goal.map_or(0.0, |goal| goal.value())]);
    values.fold(f64::EPSILON, f64::max)
}

fn row(body: &mut String, figure: &Figure, top: f64, scale: f64) {
    let spread = figure.spread();
    let at = |value: f64| LEFT + value.max(0.0) * scale;
    let (middle, text) = (top + ROW / 2.0, top + ROW / 2.0 + 4.0);
    let _ = writeln!(
        body,
        "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>",
        LEFT - 8.0,
        escaped(&figure.name)
    );
    let class = if figure.reached() == Some(false) {
        "bar missed"
    } else {
        "bar"
    };
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>",
        middle - BAR / 2.0,
        at(spread.median) - LEFT
    );
    if spread.min < spread.max {
        let _ = writeln!(
            body,
            "<path class=\"range\" d=\"M{:.1} {middle}H{:.1}\"/>",
            at(spread.min),
            at(spread.max)
        );
    }
    let mut told = figure.unit.show(spread.median);
    if let (Some(goal), Some(wanted), Some(reached)) = (figure.goal, figure.wanted(), figure.reached()) {
        let _ = writeln!(
            body,
            "<path class=\"goal\" d=\"M{:.1} {}v{}\"/>",
            at(goal.value()),
            top + 2.0,
            ROW - 4.0
        );
        let _ = write!(told, " ({wanted}: {})", if reached { "yes" } else { "no" });
    }
    let end = spread.max.max(figure.goal.map_or(0.0, |goal| goal.value()));
    let _ = writeln!(
        body,
        "<text x=\"{:.1}\" y=\"{text}\">{}</text>",
        at(end) + 8.0,
        escaped(&told)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Goal;

    #[test]
    fn bars_are_as_long_as_the_medians_and_tell_the_goal() {
        let mut figures = Figures::default();
        for rate in [100.0, 200.0, 150.0] {
            figures.note("relay <wal>", Unit::PerSecond, rate);
        }
        figures.note("p99", Unit::Milliseconds, 20.0);
        figures.expect("p99", Goal::below(10.0));
        let chart = svg("drain & more", &figures);
        for part in [
            "<title>drain &amp; more</title>",
            ">relay &lt;wal&gt;</text>",
            // 150 of 200, with a line from 100 to 200.
            "width=\"255.0\"",
            "M570.0 65H740.0",
            ">150/s</text>",
            "class=\"bar missed\"",
            ">20.00 ms (&lt; 10 ms: no)</text>",
            "prefers-color-scheme: dark",
        ] {
            assert!(chart.contains(part), "{part}\n{chart}");
        }
    }

    #[test]
    fn nothing_but_noughts_is_no_bar() {
        let mut figures = Figures::default();
        figures.note("delivered twice", Unit::Count, 0.0);
        let chart = svg("away", &figures);
        assert!(chart.contains("width=\"0.0\"") && !chart.contains("NaN"), "{chart}");
    }
}
