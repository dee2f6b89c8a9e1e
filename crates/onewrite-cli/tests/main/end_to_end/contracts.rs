//! Outboxes that are not Onewrite's own, the whole way to Kafka, with the relay killed at random moments.

use crate::end_to_end::foreign::{Outbox, Run, records_of};

const DEBEZIUM: &str = "contract = \"debezium\"\ntable = \"public.outbox\"\n\
    [source.router]\n\"table.fields.additional.placement\" = \"type:header:eventType\"\n\
    \"route.topic.replacement\" = \"TOPIC\"\n";

const CONVERTERS: &str = "[source.converters]\n\"key.converter\" = \"org.apache.kafka.connect.storage.StringConverter\"\n\
    \"value.converter\" = \"org.apache.kafka.connect.storage.StringConverter\"\n";

const TABLE: &str = "CREATE TABLE outbox (seq bigserial, id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text NOT NULL, \
    type text NOT NULL, payload jsonb); CREATE INDEX ON outbox (seq)";

const INSERT: &str = "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload) \
    VALUES ('ID', 'Order', 'KEY', 'Paid', '{\"number\": NUMBER}')";

#[tokio::test(flavor = "multi_thread")]
async fn debeziums_rows_that_stay_come_over_the_log() {
    let outbox = Outbox {
        topic: "contracts.kept",
        source: format!("{DEBEZIUM}{CONVERTERS}"),
        create: TABLE.to_owned(),
        write: vec![INSERT.to_owned()],
    };
    let records = records_of(outbox).await;
    check_debezium(&records);
}

#[tokio::test(flavor = "multi_thread")]
async fn debeziums_rows_that_vanish_in_their_transaction_come_over_the_log() {
    let outbox = Outbox {
        topic: "contracts.vanished",
        source: format!("{DEBEZIUM}{CONVERTERS}"),
        create: TABLE.to_owned(),
        write: vec![INSERT.to_owned(), "DELETE FROM outbox WHERE id = 'ID'".to_owned()],
    };
    let records = records_of(outbox).await;
    check_debezium(&records);
}

#[tokio::test(flavor = "multi_thread")]
async fn debeziums_rows_that_stay_can_be_polled_and_deleted() {
    let outbox = Outbox {
        topic: "contracts.polled",
        source: format!("settle = \"delete\"\nfeed = \"poll\"\norder_by = \"seq\"\n{DEBEZIUM}{CONVERTERS}"),
        create: TABLE.to_owned(),
        write: vec![INSERT.to_owned()],
    };
    let run = Run::new(outbox).await;
    let records = run.carry_through().await;
    check_debezium(&records);
    let client = run.database().connect().await;
    let left = client.query_one("SELECT count(*) FROM outbox", &[]).await;
    assert_eq!(left.expect("a count").get::<_, i64>(0), 0);
    run.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn debeziums_messages_come_without_any_table() {
    let content = "{\"id\": \"ID\", \"aggregatetype\": \"Order\", \"aggregateid\": \"KEY\", \"type\": \"Paid\", \"payload\": \"{\\\"number\\\": NUMBER}\"}";
    let outbox = Outbox {
        topic: "contracts.messages",
        source: format!(
            "{}{CONVERTERS}",
            DEBEZIUM.replace("table = \"public.outbox\"", "messages = [\"outbox\"]")
        ),
        create: "SELECT 1".to_owned(),
        write: vec![format!("SELECT pg_logical_emit_message(true, 'outbox', '{content}')")],
    };
    let records = records_of(outbox).await;
    check_debezium(&records);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_any_table_are_polled_and_marked() {
    let outbox = Outbox {
        topic: "contracts.marked",
        source: "contract = \"columns\"\ntable = \"Out.box\"\nsettle = \"mark\"\nmark_column = \"sent\"\ntopic = \"TOPIC\"\n\
                 columns = { id = \"id\", key = \"key\", payload = \"body\" }\n"
            .replace("Out.box", "\\\"Out.box\\\""),
        create: "CREATE TABLE \"Out.box\" (seq bigserial PRIMARY KEY, id uuid, key text, body text, sent boolean NOT NULL DEFAULT false); \
                 CREATE INDEX ON \"Out.box\" (seq) WHERE NOT sent"
            .to_owned(),
        write: vec!["INSERT INTO \"Out.box\" (id, key, body) VALUES ('ID', 'KEY', '{\"number\": NUMBER}')".to_owned()],
    };
    let records = records_of(outbox).await;
    let record = &records[0];
    assert_eq!(record.header("content-type"), Some("application/json"));
    assert_eq!(record.header("onewrite-topic"), Some("contracts.marked"));
}

/// What Debezium would have written, and nothing of Onewrite's.
fn check_debezium(records: &[onewrite_testkit::servers::Record]) {
    for record in records {
        let names: Vec<&str> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            (names.as_slice(), record.header("eventType")),
            (["id", "eventType"].as_slice(), Some("Paid"))
        );
        let (key, value) = (
            record.key.as_deref().expect("a key"),
            record.value.as_deref().expect("a value"),
        );
        assert!(key.starts_with(b"account-"), "{}", key.escape_ascii());
        assert!(value.starts_with(b"{\"number\": "), "{}", value.escape_ascii());
    }
}
