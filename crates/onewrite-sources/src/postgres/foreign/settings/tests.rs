use std::collections::BTreeMap;

use onewrite_core::options::{Options, Value};

use super::*;
use crate::postgres::FIELDS;

type Texts<'a> = &'a [(&'a str, &'a str)];

fn read(texts: Texts<'_>, maps: &[(&str, Texts<'_>)], messages: &[&str]) -> Result<Option<Foreign>, String> {
    let texts = [&[("url", "postgres://u@localhost/shop")], texts].concat();
    let mut options = Options::from_texts("source", FIELDS, &texts).expect("texts that fit");
    let mut set = |name: &str, value: Value| {
        let field = FIELDS.iter().find(|field| field.name == name).expect("a field");
        options.set(field, value);
    };
    for (name, entries) in maps {
        let entries = entries
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        set(name, Value::Map(BTreeMap::from_iter(entries)));
    }
    if !messages.is_empty() {
        set(
            "messages",
            Value::List(messages.iter().map(|prefix| (*prefix).to_owned()).collect()),
        );
    }
    Foreign::from_options(&options).map_err(|error| error.to_string())
}

const COLUMNS: (&str, Texts<'_>) = ("columns", &[("id", "id"), ("payload", "body"), ("topic", "topic")]);
const TABLE: (&str, &str) = ("table", "outbox");

fn columns(texts: Texts<'_>) -> String {
    let texts = [&[("contract", "columns"), TABLE], texts].concat();
    read(&texts, &[COLUMNS], &[]).expect_err("an error")
}

#[test]
fn what_does_not_go_together_with_columns_is_told() {
    for (texts, told) in [
        (
            &[("topic", "a")] as Texts<'_>,
            "source.topic: columns.topic is set as well; keep one of the two",
        ),
        (
            &[("feed", "poll")],
            "source.feed: \"poll\" needs settle = \"delete\" or settle = \"mark\": without either, no row tells whether it is settled",
        ),
        (
            &[("feed", "wal"), ("settle", "delete")],
            "source.feed: \"wal\" goes with settle = \"nothing\"; with settle = \"delete\" the rows say what is settled, and they are polled",
        ),
        (
            &[("order_by", "seq")],
            "source.order_by: it is for settle = \"delete\" and settle = \"mark\", where rows are polled",
        ),
        (
            &[("settle", "delete"), ("mark_column", "sent")],
            "source.mark_column: it is for settle = \"mark\"",
        ),
        (
            &[("settle", "mark")],
            "source.mark_column: missing; settle = \"mark\" needs the column that is to hold the mark",
        ),
        (
            &[
                ("settle", "mark"),
                ("mark_column", "s"),
                ("mark_value", "X"),
                ("unmarked_value", "X"),
            ],
            "source.unmarked_value: it is the same as mark_value; a settled row must differ from the others",
        ),
        (
            &[("settle", "mark"), ("mark_column", "s"), ("mark_value", "X\0")],
            "source.mark_value: it holds a NUL, which no column can",
        ),
        (
            &[("settle", "delete"), ("publication", "p")],
            "source.publication: it is for settle = \"nothing\", where the log is read",
        ),
        (
            &[("settle", "delete"), ("order_by", "")],
            "source.order_by: a name is empty",
        ),
        (
            &[("retention", "1h")],
            "source.retention: it is for the contract \"native\"; how long rows of other tables are kept is up to whoever deletes them",
        ),
    ] {
        assert_eq!(columns(texts), told);
    }
}

#[test]
fn a_mapping_names_what_there_is() {
    let told = |texts: Texts<'_>, roles: Texts<'_>| {
        let texts = [&[("contract", "columns")], texts].concat();
        read(&texts, &[("columns", roles)], &[]).expect_err("an error")
    };
    assert_eq!(
        told(&[], &[("id", "id")]),
        "source.table: missing; the contract \"columns\" needs a table, such as \"public.outbox_messages\""
    );
    assert_eq!(
        told(&[TABLE], &[("payload", "body")]),
        "source.columns: id is missing; name the column that holds it, as id = \"…\""
    );
    assert_eq!(
        told(&[TABLE], &[("id", "id"), ("paylod", "body")]),
        "source.columns.paylod: an event has no \"paylod\"; did you mean \"payload\"?"
    );
    assert_eq!(told(&[TABLE], &[("id", "")]), "source.columns.id: a name is empty");
    assert_eq!(
        told(&[TABLE], &[("id", "id"), ("payload", "body")]),
        "source.topic: missing; give a topic such as \"shop.{aggregate_type}\", or name its column as columns.topic"
    );
    assert_eq!(
        told(&[TABLE, ("topic", "a{")], &[("id", "id"), ("payload", "body")]),
        "source.topic: a { is not followed by a column's name and a }; write {{ for the brace itself"
    );
    assert_eq!(
        told(&[("table", "a.b.c")], &[]),
        "source.table: \"a.b.c\" names no table: it has more than two parts; expected schema.table"
    );
    assert_eq!(
        told(&[("table", "onewrite.outbox")], &[]),
        "source.table: onewrite.outbox is Onewrite's own; use contract = \"native\" for its outbox"
    );
}

#[test]
fn what_belongs_to_another_contract_is_told() {
    let none: &[(&str, Texts<'_>)] = &[];
    let told = |texts: Texts<'_>, maps: &[(&str, Texts<'_>)], messages: &[&str]| {
        read(texts, maps, messages).expect_err("an error")
    };
    assert_eq!(
        told(&[TABLE], none, &[]),
        "source.table: it is for the contracts \"columns\" and \"debezium\""
    );
    assert_eq!(
        told(&[("contract", "native")], none, &["outbox"]),
        "source.messages: it is for the contracts \"columns\" and \"debezium\""
    );
    assert_eq!(
        told(&[("contract", "columns"), TABLE], &[COLUMNS], &["outbox"]),
        "source.messages: it is for the contract \"debezium\""
    );
    let debezium = ("contract", "debezium");
    assert_eq!(
        told(&[debezium], none, &[]),
        "source.table: missing; give the outbox table, such as \"public.outbox\", or the prefixes of logical messages as messages"
    );
    assert_eq!(
        told(&[debezium], none, &["outbox", "onewrite"]),
        "source.messages: \"onewrite\" is the prefix of Onewrite's own messages; give the events another"
    );
    assert_eq!(
        told(&[debezium, TABLE], none, &["outbox"]),
        "source.messages: table is set as well; keep one of the two"
    );
    assert_eq!(
        told(&[debezium, ("settle", "delete")], none, &["outbox"]),
        "source.settle: logical messages are in the log alone; leave settle and feed out"
    );
    assert_eq!(
        told(&[debezium, TABLE, ("topic", "x")], none, &[]),
        "source.topic: it is for the contract \"columns\"; the router has options of its own for it"
    );
    assert_eq!(
        told(&[debezium, TABLE], &[("router", &[("route.by.fild", "x")])], &[]),
        "source.router: route.by.fild is not an option here; did you mean route.by.field?"
    );
    let converters = told(
        &[debezium, TABLE],
        &[("converters", &[("value.converter", "org.x.Y")])],
        &[],
    );
    assert!(
        converters.starts_with("source.converters: value.converter"),
        "{converters}"
    );
}

#[test]
fn what_settles_follows_from_settle_and_feed() {
    let truth = |texts: Texts<'_>| {
        let texts = [&[("contract", "debezium"), TABLE], texts].concat();
        read(&texts, &[("router", &[("topic.prefix", "shop")])], &[]).map(|foreign| foreign.expect("a contract").truth)
    };
    assert_eq!(truth(&[]), Ok(Truth::Log));
    assert_eq!(truth(&[("settle", "nothing"), ("feed", "wal")]), Ok(Truth::Log));
    let rows = Truth::Rows {
        settling: Settling::Delete,
        order_by: Some("seq".to_owned()),
    };
    assert_eq!(
        truth(&[("settle", "delete"), ("feed", "poll"), ("order_by", "seq")]),
        Ok(rows)
    );
    assert!(read(&[], &[], &[]).expect("the native contract").is_none());
}
