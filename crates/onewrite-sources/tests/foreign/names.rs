//! Names that try to be SQL.

use super::fixture::{Foreign, payloads};

/// Whatever is in it, it is a name.
const EVIL: &str = "x\" OR 1=1; DROP TABLE victim; --'\\";

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn column(at: usize) -> String {
    format!("{at}{EVIL}")
}

/// A table all of whose names are evil; its columns are id, topic, key, type, payload, headers, time, content type, mark and order.
fn create() -> String {
    let name = |at: usize| quoted(&column(at));
    format!(
        "CREATE TABLE victim (id int); CREATE SCHEMA {schema}; CREATE TABLE {schema}.{table} ({} uuid PRIMARY KEY DEFAULT gen_random_uuid(), \
         {} text, {} text, {} text, {} text, {} jsonb, {} timestamptz DEFAULT now(), {} text DEFAULT 'text/plain', {} text DEFAULT 'new''\\', \
         {} bigserial)",
        name(0),
        name(1),
        name(2),
        name(3),
        name(4),
        name(5),
        name(6),
        name(7),
        name(8),
        name(9),
        schema = quoted(EVIL),
        table = quoted(EVIL),
    )
}

async fn with(texts: &[(&str, &str)]) -> Foreign {
    let table = format!("{0}.{0}", quoted(EVIL));
    let names: Vec<String> = (0..10).map(column).collect();
    let columns = [
        ("id", names[0].as_str()),
        ("key", &names[2]),
        ("type", &names[3]),
        ("payload", &names[4]),
        ("headers", &names[5]),
        ("time", &names[6]),
        ("content_type", &names[7]),
    ];
    let topic = format!("t.'\\.{{{}}}", names[1]);
    let texts = [&[("contract", "columns"), ("table", &table), ("topic", &topic)], texts].concat();
    Foreign::new(&create(), &texts, &[("columns", &columns)]).await
}

async fn insert(foreign: &Foreign, body: &str) {
    let table = format!("{0}.{0}", quoted(EVIL));
    let [topic, key, kind, payload] = [1, 2, 3, 4].map(|at| quoted(&column(at)));
    let insert = format!("INSERT INTO {table} ({topic}, {key}, {kind}, {payload}) VALUES ($1, $1, $1, $2)");
    let inserted = foreign.fixture.application.execute(&insert, &[&EVIL, &body]).await;
    inserted.expect("an inserted row");
}

async fn is_unharmed(foreign: &Foreign) {
    assert_eq!(
        foreign
            .number("SELECT count(*) FROM pg_class WHERE relname = 'victim'")
            .await,
        1
    );
}

#[tokio::test]
async fn rows_are_read_marked_and_deleted_by_names_that_are_names() {
    let mark = column(8);
    let order = column(9);
    let marking = [
        ("settle", "mark"),
        ("mark_column", mark.as_str()),
        ("mark_value", EVIL),
        ("unmarked_value", "new'\\"),
        ("order_by", &order),
    ];
    for texts in [marking.as_slice(), &[("settle", "delete"), ("order_by", &order)]] {
        let foreign = with(texts).await;
        insert(&foreign, "1").await;
        insert(&foreign, "2").await;
        let pattern = format!("t.'\\.{EVIL}");
        let shares = crate::reader::routes(&[("a", &pattern), ("rest", "*")]);
        let lease = foreign.begin(&shares).await;
        let mut feed = foreign.fixture.feed_of(&lease, &shares[0]).await;
        let events = feed.batch().await;
        assert_eq!(payloads(&events), ["1", "2"]);
        assert_eq!(events[0].defect, None);
        let event = &events[0].event;
        assert_eq!(
            (&*event.topic, event.key.as_deref(), event.event_type.as_deref()),
            (&*pattern, Some(EVIL), Some(EVIL))
        );
        feed.settle(&events).await;
        assert!(
            foreign
                .fixture
                .feed_of(&lease, &shares[0])
                .await
                .batch()
                .await
                .is_empty()
        );
        foreign.operations.status().await.expect("a status");
        assert!(
            foreign
                .operations
                .probe()
                .await
                .iter()
                .any(|finding| finding.subject == "order")
        );
        is_unharmed(&foreign).await;
    }
}

#[tokio::test]
async fn the_log_is_read_by_names_that_are_names() {
    let foreign = with(&[("publication", EVIL)]).await;
    let mut feed = foreign.feed().await;
    insert(&foreign, "1").await;
    let events = feed.wait_for(1).await;
    assert_eq!((payloads(&events), &events[0].defect), (vec!["1".to_owned()], &None));
    feed.settle(&events).await;
    is_unharmed(&foreign).await;
    drop(feed);
    foreign.end().await;
}
