//! The sink: Kafka for every connector of Kafka Connect, and whatever the server's `debezium.sink.type` says.

use onewrite_core::options::{Kind, Value};
use onewrite_sinks::registry::{sink_type, sink_types};

use super::{Translator, http, kafka};
use crate::commands::import_debezium::file::Section;
use crate::commands::import_debezium::given::{self, Setting};
use crate::commands::import_debezium::report::Group;

/// The sinks of Debezium Server that this version does not deliver to, by the beginning of their names.
const OTHERS: &[(&str, &str)] = &[
    ("kinesis", "Amazon Kinesis"),
    ("pubsublite", "Google Pub/Sub Lite"),
    ("pubsub", "Google Pub/Sub"),
    ("pulsar", "Apache Pulsar"),
    ("eventhubs", "Azure Event Hubs"),
    ("pravega", "Pravega"),
    ("infinispan", "Infinispan"),
    ("rabbitmqstream", "RabbitMQ Streams"),
    ("rocketmq", "Apache RocketMQ"),
    ("milvus", "Milvus"),
    ("qdrant", "Qdrant"),
    ("instructlab", "InstructLab"),
    ("databricks", "Databricks"),
    ("fluss", "Apache Fluss"),
    ("ydb", "YDB"),
];

/// The sinks of Debezium Server that Onewrite has a sink for whose options are its own, by the beginning of their names.
const OWN: &[(&str, &str)] = &[
    ("redis", "redis"),
    ("nats-jetstream", "nats"),
    ("nats", "nats"),
    ("rabbitmq", "rabbitmq"),
    ("sqs", "sqs"),
    ("sns", "sns"),
];

/// The sink's sections, and its name for the route.
pub(super) struct Sink {
    pub name: String,
    pub sections: Vec<Section>,
}

pub(super) fn section(translator: &mut Translator, brokers: &[String]) -> Sink {
    let given = translator.given;
    let named = |name: &str, sections| Sink {
        name: name.to_owned(),
        sections,
    };
    if given.kind == given::Kind::Connect {
        return named("kafka", kafka::sections(translator, brokers));
    }
    let chosen = given.literal("sink.type");
    for (rest, setting) in given.below("sink.") {
        let of = rest.split('.').next();
        if rest != "type" && of != chosen {
            translator.tell(
                setting,
                Group::NotNeeded,
                "an option of another sink than the chosen one",
            );
        }
    }
    match chosen {
        Some("kafka") => named("kafka", kafka::sections(translator, brokers)),
        Some("http") => named("http", vec![http::section(translator)]),
        other => named("events", vec![unavailable(translator, other.unwrap_or("SINK"))]),
    }
}

/// Puts a value that the sink's own description of the key allows, and tells of any other.
pub(super) fn put_checked(
    translator: &mut Translator,
    section: &mut Section,
    setting: &Setting,
    sink: &str,
    key: &str,
) {
    let value = translator.text(setting);
    let fields = sink_type(sink).map_or(&[][..], |sink| sink.fields);
    let kind = fields
        .iter()
        .find(|field| field.name == key)
        .map_or(Kind::Text, |field| field.kind);
    match (kind.parse(&value), kind) {
        (Ok(Value::Integer(number)), _) => section.put(key, number),
        (Err(_), Kind::Choice(_)) if setting.value.literal().is_none() => section.put(key, value),
        (Ok(_), _) => section.put(key, value),
        (Err(expected), _) => {
            translator.tell(
                setting,
                Group::NoCounterpart,
                format!("`{key}` in `[sinks.{sink}]` takes {expected}"),
            );
        }
    }
}

/// The section of a sink whose options cannot be translated. It does not load before somebody has filled it in.
fn unavailable(translator: &mut Translator, kind: &str) -> Section {
    let given = translator.given;
    let begins = |(begin, _): &&(&str, &str)| kind.starts_with(begin);
    let other = OTHERS.iter().find(begins);
    let own = OWN.iter().find(begins).filter(|_| other.is_none());
    let words = match (other, own) {
        (Some((_, name)), _) => format!("this version does not deliver to {name}; it delivers to {}", all()),
        (None, Some((_, own))) => {
            format!("the sink `{own}` of Onewrite takes its place; its options have other names: docs/sinks/{own}.md")
        }
        (None, None) => format!("choose one of {}", all()),
    };
    match given.get("sink.type") {
        Some(setting) => translator.tell(setting, Group::NoCounterpart, words.clone()),
        None => translator.missing("[sinks.events] type", words.clone()),
    }
    for (_, setting) in given.below(&format!("sink.{kind}.")) {
        translator.tell(setting, Group::NoCounterpart, format!("an option of the sink `{kind}`"));
    }
    let mut section = Section::new("[sinks.events]", "Where they go.");
    section.put_with("type", own.map_or(kind, |(_, own)| own), format!("FILL IN: {words}."));
    section
}

/// The types of sinks there are, for people.
fn all() -> String {
    let names: Vec<&str> = sink_types().iter().map(|sink| sink.name).collect();
    match names.split_last() {
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
