//! The page of the documentation about coming from Debezium: the guide, and the table of verdicts.

use std::fmt::Write as _;

use super::verdicts::{Becomes, TOPICS, Verdict};

/// The page, in Markdown.
pub(crate) fn page() -> String {
    let mut page = include_str!("guide.md").to_owned();
    for topic in TOPICS {
        let _ = write!(
            page,
            "\n### {}\n\n| option | verdict | |\n| --- | --- | --- |\n",
            topic.heading
        );
        for verdict in topic.verdicts {
            let _ = writeln!(page, "| `{}` | {} | {} |", verdict.name, becomes(verdict), verdict.text);
        }
    }
    page
}

fn becomes(verdict: &Verdict) -> String {
    match verdict.becomes {
        Becomes::Translated => "translated".to_owned(),
        Becomes::Secret => "to be set".to_owned(),
        Becomes::NotNeeded => "not needed".to_owned(),
        Becomes::NoCounterpart(harmless) => {
            let values: Vec<String> = harmless
                .iter()
                .filter(|value| !value.is_empty())
                .map(|value| format!("`{value}`"))
                .collect();
            match values.as_slice() {
                [] => "no counterpart".to_owned(),
                _ => format!("no counterpart, unless {}", values.join(" or ")),
            }
        }
    }
}
