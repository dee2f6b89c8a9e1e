//! What is told at the end: the scenarios with their figures, as Markdown, as JSON and as charts.

mod chart;
mod docs;
mod table;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figures::{Figure, Figures};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::scenario::{SCENARIOS, Scenario};
use table::Table;

/// Everything that was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    sections: Vec<Section>,
}

/// One scenario, with all that says under what conditions it was measured: those of a report may have been measured at different times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Section {
    scenario: String,
    about: String,
    machine: Machine,
    plan: Plan,
    figures: Figures,
}

impl Report {
    /// Adds what a scenario came to, in the place of what it came to before.
    pub fn add(&mut self, scenario: &Scenario, machine: &Machine, plan: &Plan, figures: Figures) {
        self.put(Section {
            scenario: scenario.name.to_owned(),
            about: scenario.about.to_owned(),
            machine: machine.clone(),
            plan: plan.clone(),
            figures,
        });
    }

    /// Adds another report's scenarios, in the place of the same ones.
    fn merge(&mut self, newer: Self) {
        newer.sections.into_iter().for_each(|section| self.put(section));
    }

    /// In the order of the table of scenarios; what is no longer there comes last.
    fn put(&mut self, section: Section) {
        let place = |name: &str| SCENARIOS.iter().position(|scenario| scenario.name == name);
        self.sections.retain(|known| known.scenario != section.scenario);
        self.sections.push(section);
        self.sections
            .sort_by_key(|section| place(&section.scenario).unwrap_or(usize::MAX));
    }

    /// Writes it as JSON.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))
    }

    /// Puts it into the documentation, in the place of the same scenarios there.
    pub fn write_docs(&self) -> Result<()> {
        docs::write(self)
    }

    /// As Markdown: on what it was measured, the goals, the noise, and each scenario; `charts`: with links to the charts beside the file.
    pub fn markdown(&self, charts: bool) -> String {
        let mut text = String::new();
        self.write_conditions(&mut text);
        self.write_goals(&mut text);
        self.write_noise(&mut text);
        for section in &self.sections {
            section.write(&mut text, charts);
        }
        text
    }

    /// A paragraph for each machine, program and command line.
    fn write_conditions(&self, text: &mut String) {
        let mut machines: Vec<&Machine> = Vec::new();
        for section in &self.sections {
            if !machines.contains(&&section.machine) {
                machines.push(&section.machine);
            }
        }
        for machine in machines {
            let _ = writeln!(text, "{machine}\n");
            if self.sections.iter().any(|section| section.machine != *machine) {
                let of_it = self.sections.iter().filter(|section| section.machine == *machine);
                let names: Vec<&str> = of_it.map(|section| &*section.scenario).collect();
                let _ = writeln!(text, "So were measured: {}.\n", names.join(", "));
            }
        }
    }

    fn write_goals(&self, text: &mut String) {
        let mut table = Table::new(&["figure", "measured", "goal", "reached"]);
        for (section, figure) in self.figures() {
            if let (Some(wanted), Some(reached)) = (figure.wanted(), figure.reached()) {
                let name = format!("{}: {}", section.scenario, figure.name);
                table.row([
                    name,
                    figure.unit.show(figure.spread().median),
                    wanted,
                    verdict(reached).to_owned(),
                ]);
            }
        }
        if !table.is_empty() {
            let _ = writeln!(text, "## Goals\n\n{table}");
        }
    }

    fn write_noise(&self, text: &mut String) {
        let mut table = Table::new(&["measured twice", "first", "again", "again / first", "least", "greatest"]);
        for section in &self.sections {
            for noise in section.figures.noise() {
                let ratio = noise.ratio();
                let show = |figure: &Figure| figure.unit.show(figure.spread().median);
                table.row([
                    format!("{}: {}", section.scenario, noise.first.name),
                    show(noise.first),
                    show(noise.again),
                    format!("{:.2}", ratio.median),
                    format!("{:.2}", ratio.min),
                    format!("{:.2}", ratio.max),
                ]);
            }
        }
        if !table.is_empty() {
            let _ = writeln!(
                text,
                "## Noise\n\nThe same, measured twice in each run: a difference between two figures that is no greater than these is none.\n\n{table}"
            );
        }
    }

    fn figures(&self) -> impl Iterator<Item = (&Section, &Figure)> {
        let of = |section| Section::figures(section).map(move |figure| (section, figure));
        self.sections.iter().flat_map(of)
    }
}

impl Section {
    fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.figures.iter()
    }

    fn write(&self, text: &mut String, charts: bool) {
        let Self { scenario, about, .. } = self;
        let _ = writeln!(text, "## {scenario}\n\n{}.\n", capitalized(about));
        if charts {
            let _ = writeln!(text, "![Chart of the figures below]({scenario}.svg)\n");
        }
        let headings = ["figure", "median", "least", "greatest", "goal", "reached", "each run"];
        let mut table = Table::new(&headings);
        for figure in self.figures() {
            let spread = figure.spread();
            let values = [spread.median, spread.min, spread.max].map(|value| figure.unit.show(value));
            let runs: Vec<String> = figure.runs.iter().map(|value| figure.unit.show(*value)).collect();
            let mut cells = vec![figure.name.clone()];
            cells.extend(values);
            cells.push(figure.wanted().unwrap_or_default());
            cells.push(figure.reached().map_or("", verdict).to_owned());
            cells.push(runs.join("; "));
            table.row(cells);
        }
        let _ = writeln!(text, "{table}");
    }
}

fn verdict(reached: bool) -> &'static str {
    if reached { "yes" } else { "**no**" }
}

fn capitalized(words: &str) -> String {
    let mut characters = words.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{AGAIN, Goal, Unit};
    use crate::plan::{Amounts, Feed};

    fn section(scenario: &str, date: &str, rates: &[f64]) -> Section {
        let mut figures = Figures::default();
        for rate in rates {
            figures.note("relay, wal", Unit::PerSecond, *rate);
            figures.note(format!("relay, wal{AGAIN}"), Unit::PerSecond, rate * 1.02);
            figures.note("relay / raw limit, wal", Unit::Ratio, rate / 200_000.0);
        }
        figures.expect("relay / raw limit, wal", Goal::at_least(0.7));
        Section {
            scenario: scenario.to_owned(),
            about: "a backlog".to_owned(),
            machine: Machine::example(date),
            plan: Plan::new(&Amounts {
                feeds: vec![Feed::Wal],
                quick: true,
                events: None,
                runs: None,
                held: None,
            }),
            figures,
        }
    }

    pub(super) fn report() -> Report {
        let mut report = Report::default();
        report.put(section("drain", "2026-11-26", &[130_000.0, 100_000.0, 150_000.0]));
        report.put(section("idle", "2026-11-26", &[160_000.0]));
        report
    }

    #[test]
    fn goals_noise_and_every_run_are_told() {
        let text = report().markdown(true);
        for line in [
            "Measured on 2026-11-26 by `./x bench`: onewrite 0.1.0, revision abcdef0, librdkafka 2.12.1. Seeds: payloads 1.",
            "| drain: relay / raw limit, wal | 0.65 | ≥ 0.7 | **no** |",
            "| idle: relay / raw limit, wal | 0.80 | ≥ 0.7 | yes |",
            "| drain: relay, wal | 130,000/s | 132,600/s | 1.02 | 1.02 | 1.02 |",
            "## drain\n\nA backlog.\n\n![Chart of the figures below](drain.svg)\n",
            "| relay, wal | 130,000/s | 100,000/s | 150,000/s |  |  | 130,000/s; 100,000/s; 150,000/s |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        // One machine is told once, and needs no list of what was measured on it.
        assert_eq!(text.matches("Measured on").count(), 1, "{text}");
        assert!(!text.contains("So were measured"), "{text}");
        assert!(!report().markdown(false).contains(".svg"));
    }

    #[test]
    fn a_newer_report_replaces_the_same_scenarios_alone() {
        let mut old = report();
        let mut new = Report::default();
        new.put(section("drain", "2026-12-01", &[180_000.0]));
        new.put(section("tax", "2026-12-01", &[1.0]));
        old.merge(new);
        let names: Vec<&str> = old.sections.iter().map(|section| &*section.scenario).collect();
        assert_eq!(names, ["idle", "tax", "drain"]);
        let text = old.markdown(true);
        assert!(
            text.contains("So were measured: idle.") && text.contains("So were measured: tax, drain."),
            "{text}"
        );
        assert!(text.contains("180,000/s") && !text.contains("130,000/s"), "{text}");
    }

    #[test]
    fn the_json_file_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("figures.json");
        report().write_json(&path).unwrap();
        let read: Report = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, report());
    }
}
