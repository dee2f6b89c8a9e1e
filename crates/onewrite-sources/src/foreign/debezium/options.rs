//! The options of the outbox event router, by Debezium's own names.
//!
//! Source: Debezium 3.6 and 3.7, page "Outbox Event Router", and what the router does with them where the page is silent.

use std::sync::Arc;

use onewrite_core::options::{Field, Kind};

use super::expand::Inference;
use super::pattern::TopicPattern;
use super::texts::{Checked, Texts};

const fn field(name: &'static str, kind: Kind, default: Option<&'static str>, doc: &'static str) -> Field {
    Field {
        name,
        kind,
        default,
        required: false,
        doc,
    }
}

/// What can be configured of the router, without the prefix that a connector's file has before it.
pub const FIELDS: &[Field] = &[
    field(
        "table.field.event.id",
        Kind::Text,
        Some("id"),
        "The column of the event's id, which becomes the header `id`.",
    ),
    field(
        "table.field.event.key",
        Kind::Text,
        Some("aggregateid"),
        "The column that becomes the record's key.",
    ),
    field(
        "table.field.event.type",
        Kind::Text,
        Some("type"),
        "The column of the event's type. Debezium does not look at it; Onewrite takes the type of the event from it, which appears in no \
         record of Kafka.",
    ),
    field(
        "table.field.event.payload",
        Kind::Text,
        Some("payload"),
        "The column that becomes the record's value.",
    ),
    field(
        "table.field.event.timestamp",
        Kind::Text,
        None,
        "A timestamp column (without a time zone) for the record's time; without it, that is the time of the commit.",
    ),
    field(
        "table.field.event.schema.version",
        Kind::Text,
        None,
        "An integer column for the version of the value's schema. It counts only where a column is placed in the envelope.",
    ),
    field(
        "table.fields.additional.placement",
        Kind::Text,
        None,
        "Where further columns go: `column:header`, `column:envelope` or `column:partition`, each with `:alias` after it if it is to have \
         another name there; several are separated by commas.",
    ),
    field(
        "table.field.additional.missing",
        Kind::Choice(&["error", "ignore"]),
        Some("error"),
        "What happens where the table has no such further column.",
    ),
    field(
        "table.expand.json.payload",
        Kind::Flag,
        Some("false"),
        "Whether a payload that is the text of a JSON object becomes a structured value.",
    ),
    field(
        "table.json.payload.null.behavior",
        Kind::Choice(&["ignore", "optional_bytes"]),
        Some("ignore"),
        "Whether null members of an expanded payload are left out or kept.",
    ),
    field(
        "table.json.payload.empty.array.behavior",
        Kind::Choice(&["ignore", "optional_string"]),
        Some("ignore"),
        "Whether empty arrays of an expanded payload are left out or kept (Debezium 3.7).",
    ),
    field(
        "table.op.invalid.behavior",
        Kind::Choice(&["warn", "error", "fatal"]),
        Some("warn"),
        "What happens with an updated row: it is skipped with a warning or an error in the log, or it is parked, where Debezium would stop.",
    ),
    field(
        "route.by.field",
        Kind::Text,
        Some("aggregatetype"),
        "The column whose text the topic is made from.",
    ),
    field(
        "route.topic.regex",
        Kind::Text,
        Some("(?<routedByValue>.*)"),
        "The regular expression that the whole of that text must match for the replacement to be made.",
    ),
    field(
        "route.topic.replacement",
        Kind::Text,
        Some("outbox.event.${routedByValue}"),
        "The topic, with `${name}` and `$1` for the groups of the regular expression.",
    ),
    field(
        "route.tombstone.on.empty.payload",
        Kind::Flag,
        Some("false"),
        "Whether a payload that is null or blank becomes a record without a value.",
    ),
    field(
        "tracing.span.context.field",
        Kind::Text,
        Some("tracingspancontext"),
        "The column of the writer's trace context, in the text form of java.util.Properties. Its W3C members become headers.",
    ),
    field(
        "tracing.operation.name",
        Kind::Text,
        Some("debezium-read"),
        "The name of the span that Debezium reports. Onewrite reports none; the context passes through as it was written.",
    ),
    field(
        "tracing.with.context.field.only",
        Kind::Flag,
        Some("true"),
        "Whether only events with a context are traced. Debezium begins a trace for the others otherwise; Onewrite begins none.",
    ),
];

/// The router's options, checked.
#[derive(Clone, Debug)]
pub(super) struct RouterOptions {
    pub id: Arc<str>,
    pub key: Arc<str>,
    pub event_type: Arc<str>,
    pub payload: Arc<str>,
    pub timestamp: Option<Arc<str>>,
    pub schema_version: Option<Arc<str>>,
    pub placements: Vec<Placement>,
    pub ignore_missing: bool,
    pub expand: Option<Inference>,
    pub updates: Updates,
    pub route_by: Arc<str>,
    pub topic: TopicPattern,
    pub tombstones: bool,
    pub span_context: Arc<str>,
}

/// A further column, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub column: Arc<str>,
    pub place: Place,
    pub alias: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Header,
    Envelope,
    Partition,
}

/// What becomes of an updated row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Updates {
    Warn,
    Error,
    Fatal,
}

impl RouterOptions {
    /// Reads the options.
    ///
    /// # Errors
    /// Names the option, what was found, and what is expected.
    pub fn read(texts: &Texts) -> Result<Self, String> {
        let checked = Checked::new(texts, "", FIELDS)?;
        let name = |option: &str| checked.text(option).map(str::trim).filter(|name| !name.is_empty());
        let required = |option: &str| {
            let named = name(option).map(Arc::<str>::from);
            named.ok_or(format!("{option} is empty; expected the name of a column"))
        };
        let expand = checked.flag("table.expand.json.payload").then(|| Inference {
            nulls_as_bytes: checked.choice("table.json.payload.null.behavior") == "optional_bytes",
            empty_arrays_of_text: checked.choice("table.json.payload.empty.array.behavior") == "optional_string",
        });
        Ok(Self {
            id: required("table.field.event.id")?,
            key: required("table.field.event.key")?,
            event_type: required("table.field.event.type")?,
            payload: required("table.field.event.payload")?,
            timestamp: name("table.field.event.timestamp").map(Arc::from),
            schema_version: name("table.field.event.schema.version").map(Arc::from),
            placements: placements(checked.text(PLACEMENT))?,
            ignore_missing: checked.choice("table.field.additional.missing") == "ignore",
            expand,
            updates: match checked.choice("table.op.invalid.behavior").as_str() {
                "fatal" => Updates::Fatal,
                "error" => Updates::Error,
                _ => Updates::Warn,
            },
            route_by: required("route.by.field")?,
            topic: TopicPattern::new(
                checked.text("route.topic.regex").unwrap_or_default(),
                checked.text("route.topic.replacement").unwrap_or_default(),
            )?,
            tombstones: checked.flag("route.tombstone.on.empty.payload"),
            span_context: required("tracing.span.context.field")?,
        })
    }

    /// Whether the value is a struct of the payload and further columns, and not the payload alone.
    pub fn has_envelope(&self) -> bool {
        self.placements
            .iter()
            .any(|placement| placement.place == Place::Envelope)
    }
}

const PLACEMENT: &str = "table.fields.additional.placement";

fn placements(text: Option<&str>) -> Result<Vec<Placement>, String> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    let placements: Result<Vec<Placement>, String> = text.split(',').map(placement).collect();
    let placements = placements?;
    let mut names: Vec<&str> = vec!["payload"];
    for placement in placements.iter().filter(|placement| placement.place == Place::Envelope) {
        if names.contains(&&*placement.alias) {
            return Err(format!(
                "{PLACEMENT} places two columns in the envelope as {:?}; give one of them an alias, as in column:envelope:alias",
                placement.alias
            ));
        }
        names.push(&placement.alias);
    }
    Ok(placements)
}

fn placement(text: &str) -> Result<Placement, String> {
    let wrong = || {
        format!(
            "{PLACEMENT} has {text:?}; expected column:header, column:envelope or column:partition, with or without :alias"
        )
    };
    let parts: Vec<&str> = text.split(':').map(str::trim).collect();
    let (column, place, alias) = match parts[..] {
        [column, place] => (column, place, column),
        [column, place, alias] => (column, place, alias),
        _ => return Err(wrong()),
    };
    let place = match place.to_lowercase().as_str() {
        "header" => Place::Header,
        "envelope" => Place::Envelope,
        "partition" => Place::Partition,
        _ => return Err(wrong()),
    };
    if column.is_empty() || alias.is_empty() {
        return Err(wrong());
    }
    Ok(Placement {
        column: column.into(),
        place,
        alias: alias.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[(&str, &str)]) -> Result<RouterOptions, String> {
        let texts = texts
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        RouterOptions::read(&texts.collect())
    }

    #[test]
    fn defaults_are_debeziums() {
        let options = read(&[]).unwrap();
        assert_eq!(
            (&*options.id, &*options.key, &*options.payload),
            ("id", "aggregateid", "payload")
        );
        assert_eq!((&*options.route_by, &*options.event_type), ("aggregatetype", "type"));
        assert_eq!(options.topic.topic("Order"), "outbox.event.Order");
        assert_eq!(options.updates, Updates::Warn);
        assert!(options.placements.is_empty() && options.expand.is_none() && !options.tombstones);
        assert!(!options.ignore_missing && !options.has_envelope());
        assert_eq!((&options.timestamp, &options.schema_version), (&None, &None));
    }

    #[test]
    fn placements_in_all_their_forms() {
        let options = read(&[(PLACEMENT, "type:header:eventType, version : ENVELOPE ,p:partition")]).unwrap();
        let expected = [
            ("type", Place::Header, "eventType"),
            ("version", Place::Envelope, "version"),
            ("p", Place::Partition, "p"),
        ];
        let expected = expected.map(|(column, place, alias)| Placement {
            column: column.into(),
            place,
            alias: alias.into(),
        });
        assert_eq!(options.placements, expected);
        assert!(options.has_envelope());
    }

    #[test]
    fn flags_and_choices_in_letters_of_any_size() {
        let options = read(&[
            ("table.expand.json.payload", "TRUE"),
            ("table.op.invalid.behavior", " Fatal "),
        ])
        .unwrap();
        assert!(options.expand.is_some());
        assert_eq!(options.updates, Updates::Fatal);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_found_and_what_is_expected() {
        for (name, text, words) in [
            (
                "route.by.fild",
                "a",
                "route.by.fild is not an option here; did you mean route.by.field?",
            ),
            (
                "route.tombstone.on.empty.payload",
                "yes",
                "is \"yes\"; expected true or false",
            ),
            (
                "table.op.invalid.behavior",
                "invalidOption",
                "expected one of \"warn\", \"error\", \"fatal\"",
            ),
            (
                "table.field.event.id",
                " ",
                "table.field.event.id is empty; expected the name of a column",
            ),
            (PLACEMENT, "type", "has \"type\"; expected column:header"),
            (PLACEMENT, "", "has \"\"; expected column:header"),
            (PLACEMENT, "type:body", "has \"type:body\"; expected column:header"),
            (PLACEMENT, "type:header:a:b", "expected column:header"),
            (
                PLACEMENT,
                "a:envelope:x,b:envelope:x",
                "places two columns in the envelope as \"x\"",
            ),
            (
                PLACEMENT,
                "a:envelope:payload",
                "places two columns in the envelope as \"payload\"",
            ),
            ("route.topic.regex", " [[a-z]", "route.topic.regex"),
        ] {
            let error = read(&[(name, text)]).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
