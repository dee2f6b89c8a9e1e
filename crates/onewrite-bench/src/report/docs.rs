//! The figures in the documentation: a page, the JSON that it is made of, and a chart for each scenario.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Report, chart};

const BEGIN: &str = "<!-- figures: begin; `./x bench --write-docs` writes what follows -->";
const END: &str = "<!-- figures: end -->";

/// Puts a report into docs/benchmarks.
pub fn write(report: &Report) -> Result<()> {
    write_into(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks"),
        report,
    )
}

/// Scenarios that were not measured this time stay as they are.
fn write_into(directory: &Path, newer: &Report) -> Result<()> {
    let json = directory.join("figures.json");
    let mut report = Report::default();
    if json.exists() {
        let text = fs::read(&json).with_context(|| format!("reading {}", json.display()))?;
        report = serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is not what this program writes; delete it to begin anew",
                json.display()
            )
        })?;
    }
    report.merge(newer.clone());
    let page = directory.join("figures.md");
    let shown = page.display();
    let text = fs::read_to_string(&page).with_context(|| format!("reading {shown}"))?;
    let text =
        replaced(&text, &report.markdown(true)).with_context(|| format!("{shown} lacks {BEGIN:?} or {END:?}"))?;
    report.write_json(&json)?;
    fs::write(&page, text).with_context(|| format!("writing {shown}"))?;
    for section in &report.sections {
        let path = directory.join(format!("{}.svg", section.scenario));
        fs::write(&path, chart::svg(&section.scenario, &section.figures))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", figures.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("above\n{BEGIN}\nold\n{END}\nbelow\n");
        let new = format!("above\n{BEGIN}\n\nnew\n\n{END}\nbelow\n");
        assert_eq!(replaced(&text, "new\n"), Some(new));
        assert_eq!(replaced("no marks", "new"), None);
    }

    #[test]
    fn the_page_the_json_and_the_charts_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        fs::write(
            directory.path().join("figures.md"),
            format!("# Figures\n\n{BEGIN}\n{END}\n"),
        )
        .unwrap();
        let report = crate::report::tests::report();
        write_into(directory.path(), &report).unwrap();
        let page = read("figures.md");
        assert!(
            page.starts_with("# Figures\n") && page.contains("](drain.svg)"),
            "{page}"
        );
        assert!(read("drain.svg").starts_with("<svg ") && read("idle.svg").starts_with("<svg "));
        // A second time changes nothing, not even the order.
        write_into(directory.path(), &report).unwrap();
        assert_eq!(read("figures.md"), page);
    }

    #[test]
    fn the_repositorys_page_has_the_marks() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks/figures.md");
        let text = fs::read_to_string(page).unwrap();
        assert!(replaced(&text, "").is_some());
    }
}
