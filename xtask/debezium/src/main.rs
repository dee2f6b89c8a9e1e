//! Records what Debezium makes of rows of outbox tables: `./x record-debezium`.
//!
//! Each scenario is a database, a connector and its options. All connectors run in one Kafka Connect in standalone mode, with
//! PostgreSQL and Kafka from the testkit's fixtures. What arrives in Kafka is written beside what went in, one file for each
//! scenario, which the tests of `onewrite-sources` replay.

mod connect;
mod records;
mod row;
mod scenarios;

use std::path::Path;

use jiff::Timestamp;
use onewrite_testkit::servers::{Database, Kafka, Postgres};
use onewrite_testkit::wait;
use serde_json::{Value, json};
use tokio_postgres::Client;

use connect::Connect;
use records::{Records, bytes_to_json};
use scenarios::{Scenario, Step};

/// A scenario under way.
struct Run {
    scenario: &'static Scenario,
    connector: String,
    database: Database,
    client: Client,
    columns: Vec<Value>,
    rows: Vec<Value>,
    ids: Vec<String>,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [libraries, output] = &arguments[..] else {
        panic!("usage: onewrite-debezium LIBRARIES OUTPUT: where Debezium's jars are, and where the recordings go");
    };
    let postgres = Postgres::start(17, &[("max_replication_slots", "100"), ("max_wal_senders", "100")]).await;
    let kafka = Kafka::start(&[]).await;
    let started = Timestamp::now();
    let mut runs = Vec::new();
    for (number, scenario) in scenarios::all().enumerate() {
        runs.push(Run::prepare(scenario, number, postgres.database().await).await);
    }
    let configurations = runs.iter().map(|run| run.configuration(postgres.port()));
    let connect = Connect::start(Path::new(libraries), &kafka, configurations.collect()).await;
    for run in &mut runs {
        println!("{}", run.scenario.name);
        run.write().await;
    }
    let mut records = Records::new(&kafka);
    for run in &mut runs {
        run.save(&connect, &mut records, started, Path::new(output)).await;
    }
    records.check_all_taken();
}

impl Run {
    async fn prepare(scenario: &'static Scenario, number: usize, database: Database) -> Self {
        let client = database.connect().await;
        for sql in [
            "CREATE TYPE mood AS ENUM ('good', 'very bad')",
            "CREATE DOMAIN cents AS numeric(12,2)",
            scenario.table,
            "CREATE PUBLICATION outbox FOR TABLE outbox",
        ] {
            client
                .batch_execute(sql)
                .await
                .unwrap_or_else(|error| panic!("{}: {sql}: {error:?}", scenario.name));
        }
        let mut run = Self {
            scenario,
            connector: format!("shop{number}"),
            columns: row::columns(&client).await,
            database,
            client,
            rows: Vec::new(),
            ids: Vec::new(),
        };
        if scenario.snapshot {
            run.steps().await;
        }
        run
    }

    fn configuration(&self, port: u16) -> Vec<(String, String)> {
        let transforms = if self.scenario.decode.is_some() {
            "decode,outbox"
        } else {
            "outbox"
        };
        let snapshot = if self.scenario.snapshot { "initial" } else { "no_data" };
        let fixed = [
            ("name", self.connector.as_str()),
            ("connector.class", "io.debezium.connector.postgresql.PostgresConnector"),
            ("database.hostname", "127.0.0.1"),
            ("database.port", &port.to_string()),
            ("database.user", "postgres"),
            ("database.password", ""),
            ("database.dbname", &self.database.name),
            ("topic.prefix", &self.connector),
            ("plugin.name", "pgoutput"),
            ("slot.name", &self.connector),
            ("publication.name", "outbox"),
            ("publication.autocreate.mode", "disabled"),
            ("table.include.list", "public.outbox"),
            ("snapshot.mode", snapshot),
            ("errors.max.retries", "0"),
            ("tombstones.on.delete", "false"),
            ("topic.creation.default.replication.factor", "1"),
            ("topic.creation.default.partitions", "4"),
            ("transforms", transforms),
            ("transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter"),
            (
                "transforms.decode.type",
                "io.debezium.connector.postgresql.transforms.DecodeLogicalDecodingMessageContent",
            ),
        ];
        let own = |prefix: &str, options: &[(&str, &str)]| -> Vec<(String, String)> {
            let options = options
                .iter()
                .map(|(name, text)| (format!("{prefix}{name}"), (*text).to_owned()));
            options.collect()
        };
        let mut configuration = own("", &fixed);
        configuration.retain(|(name, _)| self.scenario.decode.is_some() || !name.starts_with("transforms.decode."));
        configuration.extend(own("transforms.outbox.", self.scenario.router));
        configuration.extend(own("transforms.decode.", self.scenario.decode.unwrap_or_default()));
        configuration.extend(own("", self.scenario.converters));
        configuration
    }

    /// Waits until the connector follows the log, and writes.
    async fn write(&mut self) {
        // A slot is active while it is being made, too.
        let following = format!(
            "SELECT 1 FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid \
             WHERE s.slot_name = '{}' AND r.state = 'streaming'",
            self.connector
        );
        wait::until(&format!("{} follows the log", self.scenario.name), async || {
            let rows = self.client.simple_query(&following).await.expect("the slots");
            (rows.len() > 2).then_some(())
        })
        .await;
        if !self.scenario.snapshot {
            self.steps().await;
        }
    }

    async fn steps(&mut self) {
        for step in self.scenario.steps {
            match step {
                Step::Insert(insert) => {
                    let (id, values) = row::insert(&self.client, insert).await;
                    self.ids.push(id);
                    self.rows.push(json!({"insert": insert, "values": values}));
                }
                Step::Message(id, content) => {
                    let emit = "SELECT pg_logical_emit_message(true, 'outbox', $1::text)";
                    self.client.execute(emit, &[content]).await.expect("a message");
                    self.ids.push((*id).to_owned());
                    self.rows.push(json!({"message": content}));
                }
                Step::Sql(sql) => {
                    self.client
                        .batch_execute(sql)
                        .await
                        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                }
            }
        }
    }

    async fn save(&mut self, connect: &Connect, records: &mut Records, started: Timestamp, output: &Path) {
        let name = self.scenario.name;
        let mut recorded = Vec::new();
        let mut failure = None;
        if self.scenario.fails {
            let what = format!("{name} fails");
            failure = Some(wait::until(&what, async || connect.failure(&self.connector).await).await);
        } else {
            for id in &self.ids {
                let meanwhile = async || {
                    let failure = connect.failure(&self.connector).await;
                    assert!(failure.is_none(), "{name} failed: {failure:?}");
                };
                let (topic, record) = records.wait_for(id, meanwhile).await;
                let headers = record
                    .headers
                    .iter()
                    .map(|(name, value)| json!([name, bytes_to_json(value.as_deref())]));
                let time = record.timestamp.filter(|time| *time < started.as_millisecond());
                recorded.push(json!({
                    "topic": topic,
                    "partition": record.partition,
                    "key": bytes_to_json(record.key.as_deref()),
                    "value": bytes_to_json(record.value.as_deref()),
                    "headers": headers.collect::<Vec<_>>(),
                    "timestamp": time,
                }));
            }
        }
        let map = |pairs: &[(&str, &str)]| -> Value {
            pairs
                .iter()
                .map(|(name, text)| ((*name).to_owned(), Value::from(*text)))
                .collect()
        };
        let recording = json!({
            "recorded": "Debezium 3.6.1.Final, Apache Kafka Connect 4.3.0, PostgreSQL 17",
            "topic_prefix": self.connector,
            "router": map(self.scenario.router),
            "converters": map(self.scenario.converters),
            "decode": self.scenario.decode.map(map),
            "columns": self.columns,
            "rows": self.rows,
            "records": recorded,
            "failure": failure,
        });
        let text = lines(&recording);
        let path = output.join(format!("{name}.json"));
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// A line for each column, row and record, so that a difference is easily seen.
fn lines(recording: &Value) -> String {
    let members = recording
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| match value {
            Value::Array(elements) if !elements.is_empty() => {
                let elements: Vec<String> = elements.iter().map(Value::to_string).collect();
                format!("\"{name}\": [\n  {}\n]", elements.join(",\n  "))
            }
            other => format!("\"{name}\": {other}"),
        });
    format!("{{\n{}\n}}\n", members.collect::<Vec<_>>().join(",\n"))
}
