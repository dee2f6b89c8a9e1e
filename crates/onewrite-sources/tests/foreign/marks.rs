//! Marking rows, whatever the column is.

use super::fixture::{COLUMNS, Foreign, payloads};

/// Makes a table whose rows are marked in the column `mark`, settles two of three rows, and tells what the column holds then. A row
/// that `before` writes is not to be delivered.
async fn marked(column: &str, values: &[(&str, &str)], before: Option<&str>) -> Vec<Option<String>> {
    let create = format!(
        "CREATE TYPE state AS ENUM ('new', 'sent', 'it''s \\'); CREATE DOMAIN flag AS smallint DEFAULT 0; \
         CREATE TABLE outbox (seq bigserial PRIMARY KEY, id uuid DEFAULT gen_random_uuid(), topic text, key text, body text, mark {column})"
    );
    let texts = [
        &[
            ("contract", "columns"),
            ("table", "outbox"),
            ("settle", "mark"),
            ("mark_column", "mark"),
        ],
        values,
    ]
    .concat();
    let foreign = Foreign::new(&create, &texts, &[COLUMNS]).await;
    if let Some(before) = before {
        foreign
            .sql(&format!(
                "INSERT INTO outbox (topic, body, mark) VALUES ('t', 'before', {before})"
            ))
            .await;
    }
    foreign.insert("t", Some("k"), &["1", "2", "3"]).await;
    let mut feed = foreign.feed().await;
    let events = feed.batch().await;
    assert_eq!(payloads(&events), ["1", "2", "3"], "mark {column}");
    feed.retry(&events[1..2]);
    feed.settle(&[events[0].clone(), events[2].clone()]).await;
    assert_eq!(payloads(&foreign.feed().await.batch().await), ["2"], "mark {column}");
    let rows = foreign
        .fixture
        .application
        .query("SELECT mark::text FROM outbox ORDER BY seq", &[])
        .await
        .expect("rows");
    rows.iter().map(|row| row.get(0)).collect()
}

fn texts(values: &[Option<&str>]) -> Vec<Option<String>> {
    values.iter().map(|value| value.map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_time_is_set() {
    for column in ["timestamptz", "timestamp(3)", "date"] {
        let after = marked(column, &[], Some("now()")).await;
        let is_set: Vec<bool> = after.iter().map(Option::is_some).collect();
        assert_eq!(is_set, [true, true, false, true], "{column}");
    }
}

#[tokio::test]
async fn a_boolean_becomes_true() {
    let nullable = marked("boolean", &[], Some("true")).await;
    assert_eq!(nullable, texts(&[Some("true"), Some("true"), None, Some("true")]));
    let strict = marked("boolean NOT NULL DEFAULT false", &[], Some("true")).await;
    assert_eq!(
        strict,
        texts(&[Some("true"), Some("true"), Some("false"), Some("true")])
    );
}

#[tokio::test]
async fn a_number_becomes_one_or_what_is_asked_for() {
    let usual = marked("smallint NOT NULL DEFAULT 0", &[], Some("7")).await;
    assert_eq!(usual, texts(&[Some("7"), Some("1"), Some("0"), Some("1")]));
    let domain = marked("flag", &[("mark_value", "2")], Some("1")).await;
    assert_eq!(domain, texts(&[Some("1"), Some("2"), Some("0"), Some("2")]));
    let nullable = marked("bigint", &[("unmarked_value", "-1"), ("mark_value", "4")], Some("0")).await;
    assert_eq!(nullable, texts(&[Some("0"), Some("4"), None, Some("4")]));
}

#[tokio::test]
async fn a_text_and_an_enum_become_what_is_asked_for() {
    let values = [
        ("unmarked_value", "NEW"),
        ("mark_value", "SENT'; DROP TABLE outbox; --"),
    ];
    let text = marked("text DEFAULT 'NEW'", &values, Some("'FAILED'")).await;
    let sent = Some("SENT'; DROP TABLE outbox; --");
    assert_eq!(text, texts(&[Some("FAILED"), sent, Some("NEW"), sent]));
    let values = [("unmarked_value", "new"), ("mark_value", "it's \\")];
    let state = marked("state NOT NULL DEFAULT 'new'", &values, Some("'sent'")).await;
    assert_eq!(
        state,
        texts(&[Some("sent"), Some("it's \\"), Some("new"), Some("it's \\")])
    );
}
