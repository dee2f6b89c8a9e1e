//! Every wrong configuration tells its file, line and key, what was found and what is allowed.

use crate::program::Program;

/// The help behind every wrong configuration.
const HELP: &str =
    "help: every key is described in docs/configuration.md; `onewrite init` writes a commented example\n";

/// A configuration that is right.
const RIGHT: &str = r#"name = "shop"

[source]
type = "postgres"
url = "postgres://onewrite@127.0.0.1:1/shop"

[sinks.events]
type = "kafka"
brokers = ["127.0.0.1:1"]

[[routes]]
name = "orders"
match = { topic = "shop.*" }
sink = "events"
"#;

/// What is said about a configuration, without the help at the end.
fn told(program: &Program) -> String {
    let said = program.run(&["status"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{}", said.err);
    said.err.strip_suffix(HELP).unwrap_or(&said.err).to_owned()
}

/// The same of [`RIGHT`] with one text replaced.
fn told_of(right: &str, wrong: &str) -> String {
    assert!(RIGHT.contains(right), "{right}");
    told(&Program::with(&RIGHT.replacen(right, wrong, 1)))
}

/// That each replacement of one text in [`RIGHT`] by another is told in these words, in one line.
fn each_is_told(cases: &[(&str, &str, &str)]) {
    for (right, wrong, words) in cases {
        let expected = format!("error: the configuration has 1 problem\n  {words}\n");
        assert_eq!(told_of(right, wrong), expected);
    }
}

#[test]
fn groups_are_refused_where_the_source_cannot_be_spread() {
    let foreign =
        "name = \"shop\"\ngroups = 2\n[source]\ntype = \"postgres\"\ncontract = \"debezium\"\ntable = \"outbox\"";
    let file = "name = \"shop\"\ngroups = 2\n[source]\ntype = \"sqlite\"";
    for (text, word) in [(foreign, "contract"), (file, "SQLite")] {
        let text = format!(
            "{text}\nurl = \"x\"\n[sinks.events]\ntype = \"stdout\"\n[[routes]]\nname = \"a\"\nsink = \"events\"\n"
        );
        let said = Program::with(&text).run(&["check"]);
        assert_eq!(said.code, 2, "{}", said.err);
        let told = said.err.contains("onewrite.toml:2: groups: 2 is not possible here") && said.err.contains(word);
        assert!(told && said.err.contains("leave groups at 1"), "{}", said.err);
    }
}

#[test]
fn an_unknown_key_is_told_with_the_one_that_was_meant() {
    each_is_told(&[
        (
            "brokers =",
            "broker =",
            "onewrite.toml:9: sinks.events.broker: unknown key; did you mean \"brokers\"?",
        ),
        (
            "name = \"shop\"",
            "nam = \"shop\"",
            "onewrite.toml:1: nam: unknown key; did you mean \"name\"?",
        ),
        (
            "[source]",
            "[sorce]",
            "onewrite.toml:3: sorce: unknown key; did you mean \"source\"?",
        ),
        (
            "match = {",
            "matches = {",
            "onewrite.toml:13: routes.0.matches: unknown key; did you mean \"match\"?",
        ),
        (
            "{ topic =",
            "{ topics =",
            "onewrite.toml:13: routes.0.match.topics: unknown key; did you mean \"topic\"?",
        ),
    ]);
}

#[test]
fn a_value_of_another_kind_is_told_with_what_is_expected() {
    each_is_told(&[
        (
            "[\"127.0.0.1:1\"]",
            "\"127.0.0.1:1\"",
            "onewrite.toml:9: sinks.events.brokers: found \"127.0.0.1:1\"; expected a list of texts",
        ),
        (
            "[\"127.0.0.1:1\"]",
            "[1]",
            "onewrite.toml:9: sinks.events.brokers: found 1 in the list; expected texts only",
        ),
        ("\"shop\"\n", "7\n", "onewrite.toml:1: name: found 7; expected a text"),
        (
            "sink = \"events\"\n",
            "sink = \"events\"\ndelivery_timeout = 60\n",
            "onewrite.toml:15: routes.0.delivery_timeout: found 60; expected a time such as \"250ms\", \"30s\", \"5m\", \"2h\" or \"7d\"",
        ),
        (
            "[[routes]]",
            "[routes]",
            "onewrite.toml:11: routes: found a table; expected [[routes]], in double brackets",
        ),
        (
            "match = { topic = \"shop.*\" }",
            "match = \"shop.*\"",
            "onewrite.toml:13: routes.0.match: found \"shop.*\"; expected a table such as { topic = \"shop.*\" }",
        ),
    ]);
}

#[test]
fn a_value_that_is_not_allowed_is_told_with_what_is() {
    each_is_told(&[
        (
            "\"shop\"\n",
            "\"a shop\"\n",
            "onewrite.toml:1: name: found \"a shop\"; expected 1 to 64 letters, digits, '-', '_' and '.'",
        ),
        (
            "sink = \"events\"\n",
            "sink = \"events\"\non_poison = \"drop\"\n",
            "onewrite.toml:15: routes.0.on_poison: found \"drop\"; expected one of \"park\", \"block_key\", \"halt\"",
        ),
        (
            "sink = \"events\"\n",
            "sink = \"events\"\nbatch_events = 0\n",
            "onewrite.toml:15: routes.0.batch_events: found 0; expected a whole number from 1 to 100000",
        ),
        (
            "sink = \"events\"\n",
            "sink = \"events\"\ndelivery_timeout = \"0s\"\n",
            "onewrite.toml:15: routes.0.delivery_timeout: too short; expected at least 100ms",
        ),
        (
            "sink = \"events\"\n",
            "sink = \"events\"\n[lease]\nttl = \"1s\"\n",
            "onewrite.toml:16: lease.ttl: out of range; expected a time from \"2s\" to \"10m\"",
        ),
        (
            "\"shop.*\"",
            "\"\"",
            "onewrite.toml:13: routes.0.match.topic: an empty pattern takes no event; leave it out to take all",
        ),
    ]);
}

#[test]
fn a_name_that_stands_for_nothing_or_for_something_else_is_told() {
    each_is_told(&[
        (
            "sink = \"events\"\n",
            "sink = \"event\"\n",
            "onewrite.toml:14: routes.0.sink: there is no sink \"event\"; did you mean \"events\"?",
        ),
        (
            "name = \"orders\"",
            "name = \"unrouted\"",
            "onewrite.toml:12: routes.0.name: \"unrouted\" is taken: it stands for the events that no route takes; choose another name",
        ),
        (
            "\"kafka\"",
            "\"kafak\"",
            "onewrite.toml:8: sinks.events.type: there is no sink of type \"kafak\"; did you mean \"kafka\"? the types are \"kafka\", \"rabbitmq\", \"nats\", \"amqp1\", \"ibmmq\", \"redis\", \"mqtt\", \"sqs\", \"sns\", \"http\", \"file\", \"stdout\"",
        ),
        (
            "\"postgres\"",
            "\"postgresql\"",
            "onewrite.toml:4: source.type: there is no source of type \"postgresql\"; did you mean \"postgres\"? the types are \"postgres\", \"sqlite\"",
        ),
    ]);
}

#[test]
fn what_is_missing_is_told_with_its_place() {
    each_is_told(&[
        (
            "brokers = [\"127.0.0.1:1\"]",
            "",
            "onewrite.toml:7: sinks.events.brokers: missing; expected a list of texts",
        ),
        (
            "type = \"kafka\"\n",
            "",
            "onewrite.toml:7: sinks.events.type: missing; expected one of \"kafka\", \"rabbitmq\", \"nats\", \"amqp1\", \"ibmmq\", \"redis\", \"mqtt\", \"sqs\", \"sns\", \"http\", \"file\", \"stdout\"",
        ),
    ]);
}

#[test]
fn text_that_cannot_be_read_is_told_with_the_reason() {
    each_is_told(&[
        (
            "[source]",
            "[source",
            "onewrite.toml:3: not TOML: unclosed table, expected `]`",
        ),
        (
            "onewrite@127.0.0.1",
            "${DATABASE_USER}@127.0.0.1",
            "onewrite.toml:5: source.url: the environment variable DATABASE_USER is not set",
        ),
        (
            "onewrite@127.0.0.1",
            "${DATABASE@127.0.0.1",
            "onewrite.toml:5: source.url: \"${\" without a \"}\"; write \"$${\" where the text itself is meant",
        ),
        (
            "\"postgres://onewrite@127.0.0.1:1/shop\"",
            "\"file:/nowhere/url\"",
            "onewrite.toml:5: source.url: the secret's file /nowhere/url cannot be read: No such file or directory (os error 2)",
        ),
    ]);
}

#[test]
fn everything_is_told_at_once_and_in_the_order_of_the_lines() {
    let program = Program::with(
        r#"name = "shop"
colour = "red"

[source]
type = "postgres"
url = 5
feed = "fast"

[sinks.events]
type = "kafka"
broker = ["127.0.0.1:1"]

[[routes]]
name = "orders"
sink = "kafka"

[[routes]]
name = "orders"
sink = "events"
"#,
    )
    .variable("ONEWRITE__LOG__LEVEL", "loud")
    .variable("ONEWRITE__SORCE__URL", "x");
    assert_eq!(
        told(&program),
        "error: the configuration has 8 problems\n  \
         onewrite.toml:2: colour: unknown key; expected \"name\", \"groups\", \"source\", \"sinks\", \"formats\", \"routes\", \"log\", \"lease\"\n  \
         onewrite.toml:6: source.url: found a number; expected a text (kept secret)\n  \
         onewrite.toml:7: source.feed: found \"fast\"; expected one of \"auto\", \"wal\", \"poll\"\n  \
         onewrite.toml:11: sinks.events.broker: unknown key; did you mean \"brokers\"?\n  \
         onewrite.toml:15: routes.0.sink: there is no sink \"kafka\"; expected \"events\"\n  \
         onewrite.toml:18: routes.1.name: there is a route \"orders\" already; each needs a name of its own\n  \
         ONEWRITE__LOG__LEVEL: log.level: found \"loud\"; expected one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"\n  \
         ONEWRITE__SORCE__URL: sorce: unknown key; did you mean \"source\"?\n"
    );
}

#[test]
fn without_routes_the_error_says_how_to_write_one() {
    let program = Program::with(RIGHT.split("[[routes]]").next().expect("a beginning"));
    assert_eq!(
        told(&program),
        "error: the configuration has 1 problem\n  \
         onewrite.toml: routes: there are none, so no event would be delivered; add [[routes]] with name = \"all\" and sink = \"events\"\n"
    );
}

#[test]
fn an_empty_file_tells_what_it_needs() {
    assert_eq!(
        told(&Program::with("")),
        "error: the configuration has 3 problems\n  \
         onewrite.toml: name: missing; expected a text\n  \
         onewrite.toml: routes: there are none, so no event would be delivered; add [[routes]] with name = \"all\" and sink = \"events\"\n  \
         onewrite.toml: source: missing; add a section [source] with type = one of \"postgres\", \"sqlite\"\n"
    );
}

#[test]
fn without_a_file_the_way_to_one_is_told() {
    let said = Program::new().run(&["status"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            2,
            "error: there is no onewrite.toml in this directory, and no ONEWRITE__… variable in the environment\n\
             help: write one with `onewrite init`, or name one with `-c FILE`\n"
        )
    );
    let said = Program::new().run(&["status", "-c", "shop.toml"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            2,
            "error: the configuration shop.toml cannot be read\n  \
             because: No such file or directory (os error 2)\n\
             help: name another with `-c FILE`, or write one with `onewrite init`\n"
        )
    );
}

#[test]
fn the_environment_alone_can_be_the_configuration() {
    let program = Program::new()
        .variable("ONEWRITE__NAME", "shop")
        .variable("ONEWRITE__SOURCE__TYPE", "postgres")
        .variable("ONEWRITE__SOURCE__URL", "postgres://onewrite@127.0.0.1:1/shop")
        .variable("ONEWRITE__SINKS__EVENTS__TYPE", "kafka")
        .variable("ONEWRITE__SINKS__EVENTS__BROKERS", "a:9092, b:9092")
        .variable("ONEWRITE__ROUTES__0__NAME", "orders")
        .variable("ONEWRITE__ROUTES__0__SINK", "events")
        .variable("ONEWRITE__ROUTES__0__MATCH__TOPIC", "shop.*");
    let said = program.run(&["status"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("shop at 127.0.0.1:1"), "{}", said.err);
}

#[test]
fn a_secret_can_be_in_a_file_and_is_never_shown() {
    let program = Program::with(&RIGHT.replace("onewrite@127.0.0.1", "onewrite:hunter2@127.0.0.1:bad"));
    let said = program.run(&["status"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.err
            .starts_with("error: the source in onewrite.toml cannot be used\n  because: source.url is not"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("hunter2"), "{}", said.err);

    let program = Program::with("");
    program.write("url", "postgres://onewrite@127.0.0.1:1/from_a_file\n");
    let url = format!("file:{}", program.path("url").display());
    program.write(
        "onewrite.toml",
        &RIGHT.replace("postgres://onewrite@127.0.0.1:1/shop", &url),
    );
    let said = program.run(&["status"]);
    assert!(said.err.contains("from_a_file at 127.0.0.1:1"), "{}", said.err);
}

#[test]
fn a_database_that_cannot_be_reached_is_told_with_its_place() {
    let said = Program::with(RIGHT).run(&["status"]);
    assert_eq!(said.code, 1);
    assert_eq!(
        said.err,
        "error: connecting to shop at 127.0.0.1:1 as onewrite\n  \
         because: error connecting to server\n  \
         because: Connection refused (os error 111)\n\
         help: `onewrite check` tries everything that the configuration names\n"
    );
}

#[test]
fn what_is_odd_is_warned_of() {
    let odd = RIGHT.replace("match = { topic = \"shop.*\" }\n", "")
        + "\n[[routes]]\nname = \"late\"\nmatch = { topic = \"shop.orders\" }\nsink = \"events\"\n\n[sinks.unused]\ntype = \"stdout\"\n";
    let said = Program::with(&odd).run(&["check", "--json"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let answer: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let warnings: Vec<_> = answer["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|finding| finding["part"] == "configuration" && finding["level"] == "warning")
        .map(|finding| {
            format!(
                "{} {}",
                finding["subject"].as_str().unwrap(),
                finding["message"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        warnings,
        [
            "onewrite.toml:15 routes.1: the route \"late\" never gets an event, since \"orders\" before it takes all that it could take; put \"late\" first",
            "onewrite.toml:20 sinks.unused: no route uses this sink",
        ]
    );
    assert_eq!(answer["ok"], false);
}

#[test]
fn a_wrong_log_filter_is_told() {
    let said = Program::with(RIGHT).run(&["status", "--log", "=="]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.err
            .starts_with("error: --log holds \"==\", which is no filter\n  because: "),
        "{}",
        said.err
    );
}
