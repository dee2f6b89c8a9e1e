//! What `./x fuzz` calls, and the tests with the seeds in `fuzz/corpus`: what people write.

use onewrite_core::Template;
use onewrite_core::options::{Kind, Value};

use crate::commands::import_debezium;
use crate::configuration::tree::Table;
use crate::configuration::{Environment, Settings};

/// A configuration, behind a "c"; a single value of it, behind the letter of its kind.
pub fn configuration(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    let kind = match what {
        b'c' => return file(&text),
        b't' => return template(&text),
        b'b' => Kind::Bytes,
        b'd' => Kind::Duration,
        b'f' => Kind::Flag,
        b'i' => Kind::Integer { min: -7, max: 7 },
        b'l' => Kind::List,
        _ => return,
    };
    match kind.parse(&text) {
        Ok(Value::Integer(number)) if what == &b'i' => assert!((-7..=7).contains(&number)),
        Ok(Value::Integer(number)) => assert!(number >= 0),
        Ok(Value::List(items)) => assert!(items.iter().all(|item| !item.is_empty() && item.trim() == item)),
        Ok(_) => {}
        Err(expected) => assert!(!expected.is_empty()),
    }
}

/// The configuration of a connector of Debezium becomes TOML without its secrets, or is refused in words.
pub fn import(data: &[u8]) {
    if let Some(text) = import_debezium::translated(data.to_vec()) {
        assert!(Table::parse(&text).is_ok(), "{text}");
    }
}

/// Any text is a configuration, or at least one thing is told that is wrong with it.
fn file(text: &str) {
    // Names of files would lead out of here.
    if text.contains("file") {
        return;
    }
    let Ok(tree) = Table::parse(text) else { return };
    let variables = [("TOKEN", "hunter2"), ("ONEWRITE__NAME", "shop")];
    let environment: Environment = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
    if let Err(problems) = Settings::read(tree, &environment) {
        assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.message.is_empty()));
    }
}

/// Any text is a template that is written as it was read, or is told what is wrong.
fn template(text: &str) {
    match Template::parse(text) {
        Ok(template) => assert_eq!(template.as_str(), text),
        Err(invalid) => assert!(!invalid.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use onewrite_testkit::seeds;

    #[test]
    fn the_corpora_are_understood_or_refused() {
        seeds::replay("configuration", super::configuration);
        seeds::replay("import", super::import);
    }
}
