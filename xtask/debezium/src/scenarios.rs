//! What is recorded: tables, options, rows.

mod converters;
mod expansion;
mod failures;
mod messages;
mod routing;
mod standard;
mod types;

/// One connector with its table.
pub struct Scenario {
    /// The recording's file.
    pub name: &'static str,
    /// The router's options.
    pub router: &'static [(&'static str, &'static str)],
    /// The converters' options.
    pub converters: &'static [(&'static str, &'static str)],
    /// Of the transform that decodes messages, where there are messages.
    pub decode: Option<&'static [(&'static str, &'static str)]>,
    /// Creates the table `outbox`, whose first column is the id.
    pub table: &'static str,
    /// What is written, in this order.
    pub steps: &'static [Step],
    /// Whether the rows are there before the connector, which then finds them by its snapshot.
    pub snapshot: bool,
    /// Whether the task fails.
    pub fails: bool,
}

/// One statement.
pub enum Step {
    /// What stands after `INSERT INTO outbox`; a record comes of it. Ids are unique among all scenarios.
    Insert(&'static str),
    /// A message with this id and content; a record comes of it.
    Message(&'static str, &'static str),
    /// No record comes of it.
    Sql(&'static str),
}

use Step::{Insert, Message, Sql};

type Options = &'static [(&'static str, &'static str)];

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";

const WITH_SCHEMAS: Options = &[("key.converter", JSON), ("value.converter", JSON)];
const PLAIN: Options = &[
    ("key.converter", JSON),
    ("key.converter.schemas.enable", "false"),
    ("value.converter", JSON),
    ("value.converter.schemas.enable", "false"),
];
const STRINGS: Options = &[
    ("key.converter", STRING),
    ("value.converter", STRING),
    ("header.converter", STRING),
];

/// As Debezium's documentation has it.
const STANDARD: &str = "CREATE TABLE outbox (id uuid NOT NULL PRIMARY KEY, aggregatetype varchar(255) NOT NULL, \
                        aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, payload jsonb)";

const LOOSE: &str = "CREATE TABLE outbox (id text PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload text, n int, \
                     p int, t timestamptz, ts timestamp, ts3 timestamp(3), z numeric, bytes bytea, tracingspancontext text)";

const fn scenario(
    name: &'static str,
    router: Options,
    converters: Options,
    table: &'static str,
    steps: &'static [Step],
) -> Scenario {
    Scenario {
        name,
        router,
        converters,
        decode: None,
        table,
        steps,
        snapshot: false,
        fails: false,
    }
}

const fn failing(name: &'static str, router: Options, converters: Options, steps: &'static [Step]) -> Scenario {
    Scenario {
        fails: true,
        ..scenario(name, router, converters, LOOSE, steps)
    }
}

const fn messages(
    name: &'static str,
    decode: Options,
    router: Options,
    converters: Options,
    steps: &'static [Step],
) -> Scenario {
    Scenario {
        decode: Some(decode),
        ..scenario(name, router, converters, LOOSE, steps)
    }
}

/// Everything that is recorded.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    let groups = [
        standard::SCENARIOS,
        types::SCENARIOS,
        converters::SCENARIOS,
        routing::SCENARIOS,
        expansion::SCENARIOS,
        messages::SCENARIOS,
        failures::SCENARIOS,
    ];
    groups.into_iter().flatten()
}
