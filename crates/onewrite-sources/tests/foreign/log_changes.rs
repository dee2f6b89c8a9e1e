//! Tables and publications that change while the log is read.

use super::fixture::{COLUMNS, Foreign, LIMIT, everything, payloads, refusal, routes, told};

#[tokio::test]
async fn a_table_may_get_and_lose_columns() {
    let foreign = Foreign::plain(&[]).await;
    let mut feed = foreign.feed().await;
    foreign.insert("t", Some("k"), &["1"]).await;
    foreign
        .sql("ALTER TABLE outbox ADD COLUMN more text DEFAULT 'x'; ALTER TABLE outbox DROP COLUMN seq")
        .await;
    foreign.insert("t", Some("k"), &["2"]).await;
    foreign
        .sql("ALTER TABLE outbox ALTER COLUMN body TYPE bytea USING body::bytea")
        .await;
    foreign
        .sql("INSERT INTO outbox (topic, body) VALUES ('t', '\\x33')")
        .await;
    let events = feed.wait_for(3).await;
    assert_eq!(payloads(&events), ["1", "2", "3"]);
    drop(feed);
    foreign.end().await;
}

#[tokio::test]
async fn rows_from_before_a_column_was_there_are_not_guessed() {
    let foreign = Foreign::plain(&[]).await;
    foreign.begin(&everything()).await;
    foreign.insert("t", Some("k"), &["1"]).await;
    foreign
        .sql("ALTER TABLE outbox DROP COLUMN key; ALTER TABLE outbox ADD COLUMN key text")
        .await;
    let lease = foreign.begin(&everything()).await;
    // Of the same name, which is all that there is to go by.
    let mut feed = foreign.fixture.feed_of(&lease, &everything()[0]).await;
    let events = feed.batch().await;
    assert_eq!(
        (payloads(&events), events[0].event.key.as_deref()),
        (vec!["1".to_owned()], Some("k"))
    );
    drop(feed);
    foreign
        .sql("ALTER TABLE outbox RENAME COLUMN topic TO subject; ALTER TABLE outbox ADD COLUMN topic2 text")
        .await;
    let opened = foreign.fixture.outbox.feed(&lease, &everything()[0]).await;
    let words = told(opened);
    assert!(
        words.starts_with(
            "source.columns.topic: the table public.outbox has no column \"topic\"; did you mean \"topic2\"?"
        ),
        "{words}"
    );
    foreign.end().await;
}

#[tokio::test]
async fn a_partitioned_table_comes_under_its_own_name() {
    let create = "CREATE TABLE outbox (id uuid DEFAULT gen_random_uuid(), topic text, key text, body text) PARTITION BY LIST (topic); \
                  CREATE TABLE outbox_a PARTITION OF outbox FOR VALUES IN ('a'); \
                  CREATE TABLE outbox_rest PARTITION OF outbox DEFAULT";
    let foreign = Foreign::new(create, &[("contract", "columns"), ("table", "outbox")], &[COLUMNS]).await;
    let mut feed = foreign.feed().await;
    foreign.insert("a", Some("k"), &["1"]).await;
    foreign.insert("b", Some("k"), &["2"]).await;
    foreign
        .sql("CREATE TABLE outbox_c PARTITION OF outbox FOR VALUES IN ('c')")
        .await;
    foreign.insert("c", Some("k"), &["3"]).await;
    assert_eq!(payloads(&feed.wait_for(3).await), ["1", "2", "3"]);
    drop(feed);
    foreign.end().await;
}

#[tokio::test]
async fn a_publication_that_does_not_fit_is_told_with_what_to_run() {
    let texts = [("contract", "columns"), ("table", "outbox"), ("publication", "Theirs")];
    let create = format!(
        "{}; CREATE TABLE other (id int); CREATE PUBLICATION \"Theirs\" FOR TABLE other",
        super::fixture::TABLE
    );
    let foreign = Foreign::new(&create, &texts, &[COLUMNS]).await;
    assert_eq!(
        refusal(&foreign).await,
        "the publication \"Theirs\" does not publish the table public.outbox; as its owner run \
         ALTER PUBLICATION \"Theirs\" ADD TABLE \"public\".\"outbox\";"
    );
    foreign
        .sql("ALTER PUBLICATION \"Theirs\" ADD TABLE \"public\".\"outbox\"; ALTER PUBLICATION \"Theirs\" SET (publish = 'update')")
        .await;
    foreign.sql("UPDATE onewrite.relay SET expires_at = now()").await;
    assert_eq!(
        refusal(&foreign).await,
        "the publication \"Theirs\" does not publish inserts; as its owner run ALTER PUBLICATION \"Theirs\" SET (publish = 'insert');"
    );
    foreign
        .sql("ALTER PUBLICATION \"Theirs\" SET (publish = 'insert, update, delete')")
        .await;
    let mut feed = foreign.feed().await;
    foreign.sql("INSERT INTO other VALUES (1)").await;
    foreign.insert("t", Some("k"), &["1"]).await;
    foreign
        .sql("UPDATE outbox SET body = 'changed'; DELETE FROM outbox")
        .await;
    foreign.insert("t", Some("k"), &["2"]).await;
    let events = feed.wait_for(2).await;
    assert_eq!(payloads(&events), ["1", "2"]);
    drop(feed);
    foreign.end().await;
}

#[tokio::test]
async fn a_relay_may_go_from_one_outbox_to_another_and_back() {
    let foreign = Foreign::plain(&[]).await;
    let native =
        crate::postgres::fixture::open(&[("url", &foreign.fixture.database.url), ("feed", "wal")]).expect("an outbox");
    let lease = foreign.begin(&everything()).await;
    native.adopt(&lease, &everything()).await.expect("adopted routes");
    crate::postgres::fixture::append(&foreign.fixture.application, "t", None, "native").await;
    let mut feed = crate::reader::Reader::new(native.feed(&lease, &everything()[0]).await.expect("a feed"));
    let events = feed.wait_for(1).await;
    feed.settle(&events).await;
    drop(feed);

    let mut feed = foreign.feed().await;
    foreign.insert("t", Some("k"), &["foreign"]).await;
    let events = feed.wait_for(1).await;
    assert_eq!(payloads(&events), ["foreign"]);
    feed.settle(&events).await;
    drop(feed);

    // What was recorded over the other table says nothing here: some events may come twice, none is missed.
    let lease = foreign.begin(&routes(&[("a", "*")])[..1]).await;
    native.adopt(&lease, &everything()).await.expect("adopted routes");
    crate::postgres::fixture::append(&foreign.fixture.application, "t", None, "native again").await;
    let mut feed = crate::reader::Reader::new(native.feed(&lease, &everything()[0]).await.expect("a feed"));
    let events = feed.wait_for(2).await;
    assert_eq!(payloads(&events), ["native", "native again"]);
    assert!(feed.next(LIMIT).await.expect("a batch").is_empty());
    drop((feed, native));
    foreign.end().await;
}
