//! An advisory is ignored for a reason alone.

use toml_edit::DocumentMut;

use super::Finding;

/// Where advisories are ignored.
pub(super) const FILE: &str = "deny.toml";

/// Checks the text of [`FILE`].
pub(super) fn check(text: &str) -> Vec<Finding> {
    let finding = |message: String| Finding {
        path: FILE.to_owned(),
        line: 0,
        message,
    };
    let document: DocumentMut = match text.parse() {
        Ok(document) => document,
        Err(error) => return vec![finding(format!("it is not TOML: {error}"))],
    };
    let ignored = document
        .get("advisories")
        .and_then(|advisories| advisories.get("ignore"));
    let ignored = ignored.and_then(|ignored| ignored.as_array()).into_iter().flatten();
    ignored
        .filter(|entry| {
            let table = entry.as_inline_table();
            let reason = table.and_then(|table| table.get("reason")?.as_str());
            reason.is_none_or(|reason| reason.trim().is_empty())
        })
        .map(|entry| {
            let shown = entry.to_string();
            let advice = "is ignored without a reason; write { id = \"RUSTSEC-…\", reason = \"…\" }";
            finding(format!("{} {advice}", shown.trim()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_asked_for() {
        let told = |ignored: &str| check(&format!("[advisories]\nignore = [{ignored}]\n")).len();
        assert_eq!(told(""), 0);
        assert_eq!(told(r#"{ id = "RUSTSEC-2026-0001", reason = "it is not reached" }"#), 0);
        assert_eq!(told(r#""RUSTSEC-2026-0001", { id = "RUSTSEC-2026-0002" }"#), 2);
        assert_eq!(told(r#"{ id = "RUSTSEC-2026-0001", reason = " " }"#), 1);
        assert_eq!(check("").len(), 0);
    }
}
