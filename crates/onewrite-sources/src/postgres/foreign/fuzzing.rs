//! What `./x fuzz` tries of this module.

use super::name::{self, TableName};
use super::template::{Part, Template};

/// Any text names a table, and that name written again the same table; or it is told what is wrong.
pub(crate) fn name(text: &str) {
    if let Ok(name) = TableName::parse(text) {
        assert_eq!(TableName::parse(&name.to_string()), Ok(name.clone()), "{name}");
        assert_eq!(TableName::parse(&name.quoted()), Ok(name), "{text}");
    }
    // A literal ends at a quote that neither a quote nor a backslash stands before, and then it must be at its end.
    let literal = name::literal(text);
    let inside = literal
        .strip_prefix("E'")
        .and_then(|rest| rest.strip_suffix('\''))
        .expect("it is quoted");
    assert_eq!(
        inside.replace("''", "").replace("\\\\", "").find(['\'', '\\']),
        None,
        "{literal}"
    );
}

/// Any text is a template of named columns and texts, none of them empty; or it is told what is wrong.
pub(crate) fn template(text: &str) {
    let Ok(template) = Template::parse(text) else { return };
    assert!(!template.parts().is_empty());
    for Part::Text(part) | Part::Column(part) in template.parts() {
        assert!(!part.is_empty(), "{text}");
    }
}
