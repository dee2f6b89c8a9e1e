//! A shop that writes an outbox of its own, a relay that is killed again and again, and the checker's word.

use std::collections::HashSet;
use std::process::{Child, Stdio};

use onewrite_core::promise::{Found, Ledger};
use onewrite_testkit::servers::{Database, Kafka, Postgres, Record};
use onewrite_testkit::wait::until;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::program::Program;

const WRITERS: u64 = 6;
const TRANSACTIONS: u64 = 150;
const KEYS: u64 = 10;
const KILLS: u64 = 4;

/// An outbox that is not Onewrite's own.
pub struct Outbox {
    pub topic: &'static str,
    /// The rest of `[source]`; `TOPIC` stands for the topic.
    pub source: String,
    /// Makes it.
    pub create: String,
    /// Writes one event: `ID`, `KEY` and `NUMBER` stand for what they say.
    pub write: Vec<String>,
}

pub struct Run {
    outbox: Outbox,
    server: Postgres,
    database: Database,
    kafka: Kafka,
    program: Program,
}

/// What arrives of an outbox.
pub async fn records_of(outbox: Outbox) -> Vec<Record> {
    let run = Run::new(outbox).await;
    let records = run.carry_through().await;
    run.end().await;
    records
}

impl Run {
    /// Makes the tables, the topic and the configuration.
    pub async fn new(outbox: Outbox) -> Self {
        let (server, kafka) = tokio::join!(Postgres::shared(16), Kafka::shared());
        kafka.create_topic(outbox.topic, 4, &[]).await;
        let database = server.database().await;
        let tables = format!(
            "{}; CREATE TABLE account (key text PRIMARY KEY, version bigint NOT NULL); \
             INSERT INTO account SELECT 'account-' || n, 0 FROM generate_series(0, {KEYS} - 1) AS n; \
             CREATE TABLE ledger (event_id uuid PRIMARY KEY, key text NOT NULL, number bigint NOT NULL);",
            outbox.create
        );
        database
            .connect()
            .await
            .batch_execute(&tables)
            .await
            .expect("the tables");
        let program = Program::with(&format!(
            "name = \"contracts\"\n[lease]\nttl = \"2s\"\n[sinks.events]\ntype = \"kafka\"\nbrokers = [\"{}\"]\n\
             [[routes]]\nname = \"all\"\nsink = \"events\"\nmax_in_flight_events = 200\n\
             [source]\ntype = \"postgres\"\nurl = \"{}\"\n{}",
            kafka.bootstrap(),
            database.url,
            outbox.source.replace("TOPIC", outbox.topic)
        ));
        for arguments in [["migrate"], ["check"]] {
            let said = program.run(&arguments);
            assert_eq!(said.code, 0, "onewrite {arguments:?}: {}{}", said.out, said.err);
        }
        Self {
            outbox,
            server,
            database,
            kafka,
            program,
        }
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Writes and relays until everything has arrived, and returns the topic.
    pub async fn carry_through(&self) -> Vec<Record> {
        let mut relay = self.start();
        // The slot is there before anything is written: what comes before the first start is not delivered.
        let client = self.database.connect().await;
        until("the relay leads", async || is_led(&client).await.then_some(())).await;
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            writers.spawn(write(self.database.clone(), self.outbox.write.clone(), number));
        }
        let mut rolled_back = Vec::new();
        for kill in 1..=KILLS {
            let due = WRITERS * TRANSACTIONS * kill / (KILLS + 1) / 2;
            let arrived = async || (self.kafka.count(self.outbox.topic).await >= due.cast_signed()).then_some(());
            until("some have arrived", arrived).await;
            end(relay);
            relay = self.start();
        }
        while let Some(ended) = writers.join_next().await {
            rolled_back.extend(
                ended
                    .expect("a writer does not panic")
                    .expect("a writer that is not refused"),
            );
        }
        let ledger = ledger(&client, &rolled_back).await;
        let records = until("everything has arrived", async || {
            let records = self.kafka.read_all(self.outbox.topic).await;
            let ids: HashSet<Uuid> = records.iter().map(id).collect();
            (ids.len() >= ledger.len() && self.is_settled(&client).await).then_some(records)
        })
        .await;
        end(relay);
        let verdict = ledger.judge(&Found {
            deliveries: records.iter().map(id).collect(),
            ..Found::default()
        });
        assert!(verdict.holds(), "{verdict}");
        records
    }

    /// Drops the database with its slot.
    pub async fn end(self) {
        self.server.drop_database(&self.database).await;
    }

    fn start(&self) -> Child {
        let mut command = self.program.command(&["run"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.expect("the program starts")
    }

    /// Whether nothing is left to settle, as far as that can be told.
    async fn is_settled(&self, client: &Client) -> bool {
        const DELIVERED: &str = "SELECT coalesce(sum(delivered), 0)::bigint FROM onewrite.route";
        let status = self.program.json(&["status", "--json"]);
        let unsettled = status["routes"][0]["unsettled"].as_i64();
        let delivered = client.query_one(DELIVERED, &[]).await.expect("the routes");
        unsettled.unwrap_or_default() == 0 && delivered.get::<_, i64>(0) > 0
    }
}

fn end(mut relay: Child) {
    relay.kill().expect("the relay can be killed");
    relay.wait().expect("the relay ends");
}

async fn is_led(client: &Client) -> bool {
    const LED: &str = "SELECT EXISTS (SELECT 1 FROM onewrite.route)";
    client.query_one(LED, &[]).await.expect("the relay").get(0)
}

/// An application: it takes its aggregate's row before it writes events of it, and sometimes thinks better of it.
async fn write(database: Database, statements: Vec<String>, writer: u64) -> Result<Vec<Uuid>, Error> {
    const TAKE: &str = "UPDATE account SET version = version + 1 WHERE key = $1 RETURNING version";
    const NOTE: &str = "INSERT INTO ledger (event_id, key, number) VALUES ($1::text::uuid, $2, $3)";
    let mut client = database.connect().await;
    let mut random = fastrand::Rng::with_seed(writer);
    let mut rolled_back = Vec::new();
    for _ in 0..TRANSACTIONS {
        let transaction = client.transaction().await?;
        let key = format!("account-{}", random.u64(0..KEYS));
        let mut ids = Vec::new();
        for _ in 0..random.usize(1..4) {
            let number: i64 = transaction.query_one(TAKE, &[&key]).await?.get(0);
            let id = Uuid::from_u128(random.u128(..));
            for statement in &statements {
                let statement = statement.replace("ID", &id.to_string());
                let statement = statement.replace("KEY", &key).replace("NUMBER", &number.to_string());
                transaction.batch_execute(&statement).await?;
            }
            transaction.execute(NOTE, &[&id.to_string(), &key, &number]).await?;
            ids.push(id);
        }
        if random.u8(0..10) == 0 {
            transaction.rollback().await?;
            rolled_back.extend(ids);
        } else {
            transaction.commit().await?;
        }
    }
    Ok(rolled_back)
}

async fn ledger(client: &Client, rolled_back: &[Uuid]) -> Ledger {
    let mut ledger = Ledger::default();
    let rows = client
        .query("SELECT event_id::text, key, number FROM ledger", &[])
        .await;
    for row in rows.expect("the ledger") {
        let number: i64 = row.get(2);
        ledger.committed(uuid(row.get(0)), Some((row.get(1), number.cast_unsigned())));
    }
    rolled_back.iter().for_each(|id| ledger.rolled_back(*id));
    ledger
}

fn id(record: &Record) -> Uuid {
    let id = record.header("id").or_else(|| record.header("onewrite-id"));
    uuid(id.expect("every record has its id"))
}

fn uuid(text: &str) -> Uuid {
    text.parse().expect("an id is a UUID")
}
