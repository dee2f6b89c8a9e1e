//! The configuration of verify's own relay: the person's source and sink as they are, but for what keeps a run apart.

use std::time::Duration;

use onewrite_core::options::{Field, Options, Secret, Value};
use onewrite_core::verify::{ROUTE, Run};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, table};

use crate::configuration::Settings;
use crate::configuration::settings::SinkSettings;

/// The lease of verify's relay: the shortest that may be configured, since whoever is killed is waited for as long.
pub const LEASE_TTL: Duration = Duration::from_secs(2);

/// What a relay of a run is told.
pub struct Derived<'a> {
    /// What the person configured.
    pub settings: &'a Settings,
    /// The sink that is tried.
    pub sink: &'a SinkSettings,
    /// The run.
    pub run: &'a Run,
    /// The name of its relay.
    pub relay: &'a str,
    /// By which options the source differs.
    pub source_differs: Vec<(&'static str, Secret)>,
    /// By which options the sink differs.
    pub sink_differs: Vec<(&'static str, Option<String>)>,
}

impl Derived<'_> {
    /// The text of the configuration. It holds secrets.
    pub fn text(&self) -> String {
        let mut document = DocumentMut::new();
        document["name"] = text(self.relay);
        document["log"] = section(&[("level", text("warn")), ("format", text("json"))]);
        document["lease"] = section(&[("ttl", time(LEASE_TTL))]);
        let source = &self.settings.source;
        let mut options = written(
            source.source_type.name,
            source.source_type.fields,
            &source.section.options,
        );
        for (name, value) in &self.source_differs {
            options.insert(name, text(value.expose()));
        }
        document["source"] = Item::Table(options);
        let mut options = written(
            self.sink.sink_type.name,
            self.sink.sink_type.fields,
            &self.sink.section.options,
        );
        for (name, value) in &self.sink_differs {
            match value {
                Some(value) => options.insert(name, text(value)),
                None => options.remove(name),
            };
        }
        let mut sinks = Table::new();
        sinks.insert(&self.sink.name, Item::Table(options));
        document["sinks"] = Item::Table(sinks);
        let mut wanted = InlineTable::new();
        wanted.insert("topic", escaped(&self.run.topic()).into());
        let route = section(&[
            ("name", text(ROUTE)),
            ("sink", text(&self.sink.name)),
            ("match", Item::Value(wanted.into())),
        ]);
        let routes = document
            .entry("routes")
            .or_insert(Item::ArrayOfTables(Default::default()));
        if let (Some(routes), Ok(route)) = (routes.as_array_of_tables_mut(), route.into_table()) {
            routes.push(route);
        }
        document.to_string()
    }
}

/// A section with all that is set or has a default.
fn written(kind: &str, fields: &[Field], options: &Options) -> Table {
    let mut section = Table::new();
    section.insert("type", text(kind));
    for field in fields {
        if let Some(value) = options.value(field.name) {
            section.insert(field.name, item(value));
        }
    }
    section
}

fn item(value: &Value) -> Item {
    match value {
        Value::Text(value) => text(value),
        Value::Template(template) => text(template.as_str()),
        Value::Secret(secret) => text(secret.expose()),
        Value::Integer(number) => toml_edit::value(*number),
        Value::Flag(flag) => toml_edit::value(*flag),
        Value::Duration(duration) => time(*duration),
        Value::List(items) => toml_edit::value(items.iter().map(|item| escaped(item)).collect::<Array>()),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(name, value)| (name.as_str(), escaped(value)));
            toml_edit::value(entries.collect::<InlineTable>())
        }
    }
}

fn section(entries: &[(&str, Item)]) -> Item {
    let mut section = table();
    for (name, item) in entries {
        section[name] = item.clone();
    }
    section
}

fn text(text: &str) -> Item {
    toml_edit::value(escaped(text))
}

/// A text that was filled in already.
fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

fn time(time: Duration) -> Item {
    text(&format!("{}ms", time.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Environment;
    use crate::configuration::tree::Table as Tree;

    const FILE: &str = "\
        name = \"shop\"\n[source]\ntype = \"postgres\"\nurl = \"postgres://localhost/shop\"\npassword = \"a$${b\\\"c\"\n\
        [sinks.events]\ntype = \"redis\"\nurls = [\"redis://localhost\"]\nmax_age = \"2h\"\n[sinks.other]\ntype = \"stdout\"\n\
        [formats.wire]\ntype = \"json\"\n[[routes]]\nname = \"all\"\nsink = \"events\"\nformat = \"wire\"\n";

    fn read(text: &str) -> Settings {
        Settings::read(Tree::parse(text).unwrap(), &Environment::default()).unwrap()
    }

    #[test]
    fn it_is_the_persons_source_and_sink_and_one_route() {
        let settings = read(FILE);
        let run = Run::new("2026-11-26T05:58:33Z".parse().unwrap(), 1, 2);
        let derived = Derived {
            settings: &settings,
            sink: settings.sink("events").unwrap(),
            run: &run,
            relay: "shop-verify",
            source_differs: vec![("url", Secret::new("postgres://localhost/shop?application_name=x"))],
            sink_differs: vec![("stream", Some(run.topic())), ("max_age", None)],
        };
        let read = read(&derived.text());
        assert_eq!(
            (read.name.as_str(), read.lease_ttl, read.sinks.len()),
            ("shop-verify", LEASE_TTL, 1)
        );
        let source = &read.source.section.options;
        let secret = |name| source.secret(name).unwrap().expose().to_owned();
        assert_eq!(secret("password"), "a${b\"c");
        assert!(secret("url").ends_with("application_name=x"));
        let sink = &read.sinks[0].section.options;
        assert_eq!(sink.template("stream").unwrap().as_str(), run.topic());
        assert_eq!(
            (sink.list("urls"), sink.duration("max_age")),
            (&["redis://localhost".to_owned()][..], None)
        );
        let route = &read.routes[0];
        assert!(route.wanted.matches(&run.topic(), None) && !route.wanted.matches("shop.orders", None));
        assert_eq!((route.format.as_str(), read.formats.len()), ("native", 0));
    }
}
