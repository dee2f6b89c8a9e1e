//! What does not fit the database is told before anything is read, word for word.

use onewrite_testkit::servers::Postgres;

use super::fixture::{Foreign, TABLE, refusal};
use crate::postgres::fixture::Fixture;

async fn refused(create: &str, texts: &[(&str, &str)], columns: &[(&str, &str)]) -> String {
    let texts = [&[("contract", "columns")], texts].concat();
    let foreign = Foreign::new(create, &texts, &[("columns", columns)]).await;
    refusal(&foreign).await
}

const COLUMNS: &[(&str, &str)] = &[("id", "id"), ("payload", "body"), ("topic", "topic")];
const OUTBOX: (&str, &str) = ("table", "outbox");

#[tokio::test]
async fn names_that_are_not_there_are_told_with_the_nearest() {
    assert_eq!(
        refused(TABLE, &[("table", "public.outbx")], COLUMNS).await,
        "source.table: there is no table public.outbx; did you mean \"public.outbox\"?"
    );
    assert_eq!(
        refused(TABLE, &[("table", "Outbox")], COLUMNS).await,
        "source.table: there is no table public.Outbox; did you mean \"public.outbox\"?"
    );
    assert_eq!(
        refused(
            TABLE,
            &[OUTBOX],
            &[("id", "id"), ("payload", "boddy"), ("topic", "topic")]
        )
        .await,
        "source.columns.payload: the table public.outbox has no column \"boddy\"; did you mean \"body\"?"
    );
    assert_eq!(
        refused(
            TABLE,
            &[OUTBOX],
            &[("id", "zzz"), ("payload", "body"), ("topic", "topic")]
        )
        .await,
        "source.columns.id: the table public.outbox has no column \"zzz\"; its columns are seq, id, topic, key, body"
    );
    assert_eq!(
        refused(TABLE, &[OUTBOX, ("topic", "a.{topc}")], &COLUMNS[..2]).await,
        "source.topic: the table public.outbox has no column \"topc\"; did you mean \"topic\"?"
    );
    assert_eq!(
        refused("CREATE VIEW outbox AS SELECT 1 AS id", &[OUTBOX], COLUMNS).await,
        "source.table: public.outbox is not a table; name the table that the rows are written to"
    );
    let debezium = [("contract", "debezium"), OUTBOX];
    let foreign = Foreign::new(TABLE, &debezium, &[("router", &[("route.by.field", "topc")])]).await;
    assert_eq!(
        refusal(&foreign).await,
        "source.router: table.field.event.key: the table public.outbox has no column \"aggregateid\"; its columns are seq, id, topic, key, body"
    );
}

#[tokio::test]
async fn what_rows_cannot_be_settled_by_is_told() {
    let delete = ("settle", "delete");
    assert_eq!(
        refused(
            "CREATE TABLE outbox (id uuid, topic text, body text)",
            &[OUTBOX, delete],
            COLUMNS
        )
        .await,
        "source.table: the table public.outbox has no primary key, by which settled rows are found again; add one"
    );
    let uuid =
        "CREATE TABLE outbox (id uuid PRIMARY KEY, topic text, body text, n int, sent text, at timestamptz NOT NULL)";
    assert_eq!(
        refused(uuid, &[OUTBOX, delete], COLUMNS).await,
        "source.order_by: missing; the table public.outbox has no number as its primary key, so name the column that ascends in the \
         order in which the rows of one key are written"
    );
    assert_eq!(
        refused(uuid, &[OUTBOX, delete, ("order_by", "m")], COLUMNS).await,
        "source.order_by: the table public.outbox has no column \"m\"; its columns are id, topic, body, n, sent, at"
    );
    let mark = |column| [OUTBOX, ("settle", "mark"), ("order_by", "n"), ("mark_column", column)];
    assert_eq!(
        refused(uuid, &mark("snt"), COLUMNS).await,
        "source.mark_column: the table public.outbox has no column \"snt\"; did you mean \"sent\"?"
    );
    assert_eq!(
        refused(uuid, &mark("sent"), COLUMNS).await,
        "source.unmarked_value: the column sent is of type text; say what it holds"
    );
    assert_eq!(
        refused(uuid, &mark("at"), COLUMNS).await,
        "source.mark_column: the column at is of type timestamp with time zone; it is NOT NULL, so that every row would count as settled"
    );
    let with_value = [mark("at").as_slice(), &[("mark_value", "x")]].concat();
    assert_eq!(
        refused(uuid, &with_value, COLUMNS).await,
        "source.mark_value: the column at is of type timestamp with time zone; what it holds goes without saying, so leave this out"
    );
}

#[tokio::test]
async fn a_table_that_is_not_in_the_log_cannot_be_read_from_it() {
    let unlogged = "CREATE UNLOGGED TABLE outbox (id uuid, topic text, body text)";
    let words = refused(unlogged, &[OUTBOX], COLUMNS).await;
    let told = "source.table: public.outbox is UNLOGGED, and nothing of it is in the log; make it a logged table, or settle its rows";
    assert_eq!(words, told);
}

#[tokio::test]
async fn a_topic_that_sql_writes_otherwise_is_for_one_route() {
    let create = "CREATE TABLE outbox (seq serial PRIMARY KEY, id uuid, kind timestamptz, body text)";
    let texts = [
        ("contract", "columns"),
        OUTBOX,
        ("settle", "delete"),
        ("topic", "t.{kind}"),
    ];
    let foreign = Foreign::new(create, &texts, &[("columns", &COLUMNS[..2])]).await;
    foreign.feed().await;
    foreign.sql("UPDATE onewrite.relay SET expires_at = now()").await;
    let lease = foreign
        .fixture
        .outbox
        .acquire("shop", "test", super::fixture::TTL)
        .await;
    let shares = super::fixture::routes(&[("a", "t.*")]);
    let adopted = foreign
        .fixture
        .outbox
        .adopt(&lease.expect("an answer").expect("the lease"), &shares)
        .await;
    assert_eq!(
        super::fixture::told(adopted),
        "source: topics and types are made of the column kind, whose type is timestamp with time zone; several routes can share polled \
         rows only where these are texts, numbers or UUIDs, so give one route everything"
    );
}

#[tokio::test]
async fn a_role_that_may_not_publish_is_told_what_to_run() {
    let server = Postgres::shared(17).await;
    let fixture = Fixture::of(server.database().await).await;
    let role = format!("relay_{}", fixture.database.name);
    fixture
        .sql(&format!("{TABLE}; CREATE ROLE {role} LOGIN REPLICATION; GRANT USAGE ON SCHEMA onewrite TO {role}; \
                       GRANT ALL ON ALL TABLES IN SCHEMA onewrite TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA onewrite TO {role}"))
        .await;
    let url = fixture.database.url_as(&role);
    let texts = [
        ("url", url.as_str()),
        ("contract", "columns"),
        OUTBOX,
        ("publication", "onewrite_shop"),
    ];
    let options = crate::tables::options(&texts, &[("columns", COLUMNS)]).expect("texts that fit");
    let source = onewrite_sources::registry::source_type("postgres").expect("it is built in");
    let opened = source.open(&options).expect("options that fit");
    let foreign = Foreign {
        fixture: Fixture {
            outbox: opened.outbox,
            ..fixture
        },
        operations: opened.operations,
        server,
    };
    let create = "CREATE PUBLICATION \"onewrite_shop\" FOR TABLE \"public\".\"outbox\" WITH (publish = 'insert', \
                  publish_via_partition_root = true);";
    let words = refusal(&foreign).await;
    let told = format!(
        "the publication \"onewrite_shop\" is missing, and this role may not create it; as a role with CREATE on the database that owns \
         the table run: {create}"
    );
    assert!(words.starts_with(&told), "{words}");
    let findings = foreign.operations.probe().await;
    let finding = findings
        .iter()
        .find(|finding| finding.subject == "publication onewrite_shop")
        .expect("a finding");
    assert!(finding.message.ends_with(create), "{}", finding.message);
    foreign.sql(create).await;
    let mut feed = foreign.feed().await;
    foreign.sql("INSERT INTO outbox (topic, body) VALUES ('t', '1')").await;
    assert_eq!(super::fixture::payloads(&feed.wait_for(1).await), ["1"]);
    drop(feed);
    foreign.end().await;
}
