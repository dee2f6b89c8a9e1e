//! What was measured: figures by name, each with the value of every run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::progress::{say, thousands};
use crate::spread::Spread;

/// What the name of a figure ends with that was measured a second time in the same run, under the same conditions: the difference
/// between the two is noise.
pub const AGAIN: &str = ", again";

/// The figures of one scenario, in the order in which they were first noted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(Vec<Figure>);

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Figure {
    /// What it tells, within its scenario.
    pub name: String,
    /// What its values are.
    pub unit: Unit,
    /// One value for each run.
    pub runs: Vec<f64>,
    /// What it should be.
    pub goal: Option<Goal>,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Events or transactions a second.
    PerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Seconds, of CPU or of a clock.
    Seconds,
    /// Megabytes: 1,000,000 bytes.
    Megabytes,
    /// Percent of one core.
    Percent,
    /// One value against another of its kind.
    Ratio,
    /// How many.
    Count,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    bound: Bound,
    value: f64,
    /// Whether every run must reach it; otherwise the median.
    every_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtLeast,
    AtMost,
    Below,
}

/// A figure and the same measured again.
pub struct Noise<'a> {
    /// The first.
    pub first: &'a Figure,
    /// The second.
    pub again: &'a Figure,
}

impl Figures {
    /// Adds the value of a run, and says it.
    pub fn note(&mut self, name: impl Into<String>, unit: Unit, value: f64) {
        let name = name.into();
        say(format!("  {name}: {}", unit.show(value)));
        match self.0.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.runs.push(value),
            None => self.0.push(Figure {
                name,
                unit,
                runs: vec![value],
                goal: None,
            }),
        }
    }

    /// Says what a figure that was noted should be.
    pub fn expect(&mut self, name: &str, goal: Goal) {
        let figure = self.0.iter_mut().find(|figure| figure.name == name);
        figure.unwrap_or_else(|| panic!("no figure {name:?}")).goal = Some(goal);
    }

    /// Notes for each value of a figure what it is against the median of another.
    pub fn compare(&mut self, name: &str, figure: &str, with: &str) {
        let median = self.median(with);
        for value in self.runs(figure).to_vec() {
            self.note(name, Unit::Ratio, value / median);
        }
    }

    /// Whether a figure was noted.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of a figure that was noted.
    pub fn runs(&self, name: &str) -> &[f64] {
        &self.find(name).unwrap_or_else(|| panic!("no figure {name:?}")).runs
    }

    /// Their median.
    pub fn median(&self, name: &str) -> f64 {
        Spread::of(self.runs(name).iter().copied()).median
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Figure> {
        self.0.iter()
    }

    /// Those that were measured twice.
    pub fn noise(&self) -> impl Iterator<Item = Noise<'_>> {
        self.0.iter().filter_map(|again| {
            let name = again.name.strip_suffix(AGAIN)?;
            let first = self.find(name)?;
            Some(Noise { first, again })
        })
    }

    fn find(&self, name: &str) -> Option<&Figure> {
        self.0.iter().find(|figure| figure.name == name)
    }
}

impl Figure {
    /// Least, median and greatest.
    pub fn spread(&self) -> Spread {
        Spread::of(self.runs.iter().copied())
    }

    /// Whether the goal is reached, where there is one.
    pub fn reached(&self) -> Option<bool> {
        let goal = self.goal?;
        Some(match goal.every_run {
            true => self.runs.iter().all(|value| goal.allows(*value)),
            false => goal.allows(self.spread().median),
        })
    }

    /// The goal in words.
    pub fn wanted(&self) -> Option<String> {
        let Goal { bound, value, .. } = self.goal?;
        Some(format!("{bound} {value}{}", self.unit.suffix()))
    }
}

impl Noise<'_> {
    /// The second against the first, run by run.
    pub fn ratio(&self) -> Spread {
        let pairs = self.first.runs.iter().zip(&self.again.runs);
        Spread::of(pairs.map(|(first, again)| again / first))
    }
}

impl Goal {
    /// So much or more.
    pub const fn at_least(value: f64) -> Self {
        Self::new(Bound::AtLeast, value)
    }

    /// So much or less.
    pub const fn at_most(value: f64) -> Self {
        Self::new(Bound::AtMost, value)
    }

    /// Less.
    pub const fn below(value: f64) -> Self {
        Self::new(Bound::Below, value)
    }

    /// In every run, not only in the middle one.
    pub const fn in_every_run(mut self) -> Self {
        self.every_run = true;
        self
    }

    const fn new(bound: Bound, value: f64) -> Self {
        Self {
            bound,
            value,
            every_run: false,
        }
    }

    /// The bound itself.
    pub fn value(&self) -> f64 {
        self.value
    }

    fn allows(&self, value: f64) -> bool {
        match self.bound {
            Bound::AtLeast => value >= self.value,
            Bound::AtMost => value <= self.value,
            Bound::Below => value < self.value,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AtLeast => "≥",
            Self::AtMost => "≤",
            Self::Below => "<",
        })
    }
}

impl Unit {
    /// A value as people read it.
    pub fn show(self, value: f64) -> String {
        let suffix = self.suffix();
        match self {
            Self::PerSecond | Self::Count => format!("{}{suffix}", thousands(value)),
            Self::Milliseconds | Self::Seconds | Self::Percent | Self::Ratio => format!("{value:.2}{suffix}"),
            Self::Megabytes => format!("{value:.1}{suffix}"),
        }
    }

    /// What a chart writes over the figures of this unit.
    pub fn heading(self) -> &'static str {
        match self {
            Self::PerSecond => "a second",
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Megabytes => "megabytes",
            Self::Percent => "percent of a core",
            Self::Ratio => "ratio",
            Self::Count => "number",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Milliseconds => " ms",
            Self::Seconds => " s",
            Self::Megabytes => " MB",
            Self::Percent => " %",
            Self::Ratio | Self::Count => "",
        }
    }
}

/// A figure as it stands in the JSON file: what can be reckoned from the runs is told with them.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    unit: Unit,
    #[serde(default, skip_deserializing)]
    spread: Option<Spread>,
    goal: Option<Goal>,
    #[serde(default, skip_deserializing)]
    reached: Option<bool>,
    runs: Vec<f64>,
}

impl From<Figure> for Stored {
    fn from(figure: Figure) -> Self {
        Self {
            spread: Some(figure.spread()),
            reached: figure.reached(),
            name: figure.name,
            unit: figure.unit,
            goal: figure.goal,
            runs: figure.runs,
        }
    }
}

impl From<Stored> for Figure {
    fn from(stored: Stored) -> Self {
        Self {
            name: stored.name,
            unit: stored.unit,
            runs: stored.runs,
            goal: stored.goal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(unit: Unit, values: &[f64]) -> Figures {
        let mut figures = Figures::default();
        for value in values {
            figures.note("it", unit, *value);
        }
        figures
    }

    fn reached(unit: Unit, values: &[f64], goal: Goal) -> (Option<String>, Option<bool>) {
        let mut figures = noted(unit, values);
        figures.expect("it", goal);
        let figure = figures.iter().next().unwrap();
        (figure.wanted(), figure.reached())
    }

    #[test]
    fn a_goal_is_judged_by_the_median_or_by_every_run() {
        let wanted = |text: &str, is: bool| (Some(text.to_owned()), Some(is));
        let ratios = [0.6, 0.9, 0.8];
        assert_eq!(
            reached(Unit::Ratio, &ratios, Goal::at_least(0.8)),
            wanted("≥ 0.8", true)
        );
        assert_eq!(
            reached(Unit::Ratio, &ratios, Goal::at_least(0.8).in_every_run()),
            wanted("≥ 0.8", false)
        );
        assert_eq!(
            reached(Unit::Milliseconds, &[10.0], Goal::below(10.0)),
            wanted("< 10 ms", false)
        );
        assert_eq!(
            reached(Unit::Megabytes, &[50.0], Goal::at_most(50.0)),
            wanted("≤ 50 MB", true)
        );
        let figures = noted(Unit::Ratio, &ratios);
        assert_eq!(figures.iter().next().unwrap().reached(), None);
    }

    #[test]
    fn what_was_measured_twice_tells_the_noise() {
        let mut figures = noted(Unit::PerSecond, &[100.0, 200.0]);
        for value in [110.0, 180.0] {
            figures.note(format!("it{AGAIN}"), Unit::PerSecond, value);
        }
        let noise: Vec<Spread> = figures.noise().map(|noise| noise.ratio()).collect();
        let [ratio] = noise[..] else {
            panic!("{noise:?}");
        };
        assert!((ratio.median - 1.0).abs() < 1e-9, "{ratio:?}");
        assert!(
            (ratio.min - 0.9).abs() < 1e-9 && (ratio.max - 1.1).abs() < 1e-9,
            "{ratio:?}"
        );
    }

    #[test]
    fn a_figure_is_read_as_it_was_written() {
        let mut figures = noted(Unit::Megabytes, &[42.0, 40.0, 41.0]);
        figures.expect("it", Goal::below(41.0));
        let json = serde_json::to_value(&figures).unwrap();
        assert_eq!(json[0]["spread"]["median"], 41.0);
        assert_eq!(json[0]["reached"], false);
        assert_eq!(serde_json::from_value::<Figures>(json).unwrap(), figures);
    }

    #[test]
    fn every_value_is_compared_with_the_median() {
        let mut figures = noted(Unit::PerSecond, &[100.0, 300.0, 200.0]);
        figures.compare("it / it", "it", "it");
        assert_eq!(figures.runs("it / it"), [0.5, 1.5, 1.0]);
        assert_eq!(figures.median("it / it"), 1.0);
    }
}
