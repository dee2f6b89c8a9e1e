//! The figures in the documentation.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const BEGIN: &str = "<!-- figures: begin; `./x bench --write-docs` writes what follows -->";
const END: &str = "<!-- figures: end -->";

/// Puts the figures between the marks in docs/benchmarks.md.
pub fn write(figures: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
    let text = fs::read_to_string(&path).context("reading docs/benchmarks.md")?;
    let text = replaced(&text, figures).with_context(|| format!("docs/benchmarks.md lacks {BEGIN:?} or {END:?}"))?;
    fs::write(&path, text).context("writing docs/benchmarks.md")
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
}
