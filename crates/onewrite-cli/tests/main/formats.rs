//! Formats and topics of routes, as people configure them.

use serde_json::{Value, json};

use crate::program::Program;
use crate::shop::Shop;

/// A configuration with these sections beside a route with these keys.
fn configuration(sink: &str, route: &str, sections: &str) -> String {
    format!(
        "name = \"shop\"\n[source]\ntype = \"sqlite\"\nurl = \"shop.db\"\n[sinks.events]\n{sink}\n\
         [[routes]]\nname = \"orders\"\nmatch = {{ topic = \"shop.orders\" }}\nsink = \"events\"\n{route}\n{sections}\n"
    )
}

const FILE: &str = "type = \"file\"\npath = \"events.jsonl\"";
const KAFKA: &str = "type = \"kafka\"\nbrokers = [\"127.0.0.1:1\"]";

/// The one problem of a configuration.
fn problem(command: &str, sink: &str, route: &str, sections: &str) -> String {
    let said = Program::with(&configuration(sink, route, sections)).run(&[command]);
    assert_eq!(said.code, 2, "{}", said.err);
    said.err.lines().nth(1).unwrap_or_default().trim().to_owned()
}

#[test]
fn a_format_that_is_none_is_told() {
    for (route, sections, words) in [
        (
            "format = \"cloudevent\"",
            "",
            "onewrite.toml:12: routes.0.format: there is no format \"cloudevent\"; did you mean \"cloudevents\"?",
        ),
        (
            "format = \"wires\"",
            "[formats.wire]\ntype = \"json\"",
            "onewrite.toml:12: routes.0.format: there is no format \"wires\"; did you mean \"wire\"?",
        ),
        (
            "format = \"avro\"",
            "",
            "onewrite.toml:12: routes.0.format: the format \"avro\" needs a section [formats.avro] with type = \"avro\", since it has \
             keys that must be given",
        ),
        (
            "format = \"json\"",
            "[formats.json]\ntype = \"cloudevents\"",
            "onewrite.toml:14: formats.json.type: is \"cloudevents\", but \"json\" is the name of another type; choose another name",
        ),
        (
            "",
            "[formats.wire]\ntype = \"avrò\"",
            "onewrite.toml:14: formats.wire.type: there is no format of type \"avrò\"; did you mean \"avro\"? the types are \
             \"native\", \"json\", \"cloudevents\", \"debezium\", \"avro\", \"json-schema\", \"protobuf\"",
        ),
        (
            "",
            "[formats.wire]\ntype = \"cloudevents\"\nsorce = \"x\"",
            "onewrite.toml:15: formats.wire.sorce: unknown key; did you mean \"source\"?",
        ),
        (
            "topic = \"\"",
            "",
            "onewrite.toml:12: routes.0.topic: is empty; leave it out for the event's own topic",
        ),
        (
            "topic = \"{topik}\"",
            "",
            "onewrite.toml:12: routes.0.topic: found \"{topik}\"; expected a text that may hold {topic}, {key}, {type}, {id} or \
             {header.NAME}; this one has the unknown field {topik}; did you mean {topic}?",
        ),
    ] {
        assert_eq!(problem("status", KAFKA, route, sections), words);
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let route = "topic = \"{topik}\"\nformat = \"cloudevent\"\nbatch_bytes = 0";
    let sections = "[formats.wire]\ntype = \"avro\"\nregistry = [\"localhost:8081\"]\n\
                    [[routes]]\nname = \"orders\"\nsink = \"event\"\nmatch = 1\non_poison = \"drop\"";
    let sink = "type = \"http\"\nurl = \"ftp://127.0.0.1/\"";
    let said = Program::with(&configuration(sink, route, sections)).run(&["status"]);
    let told: Vec<_> = said
        .err
        .lines()
        .map(|line| line.trim().split(": ").take(2).collect::<Vec<_>>())
        .collect();
    let expected = [
        "onewrite.toml:7: sinks.events.url",
        "onewrite.toml:12: routes.0.topic",
        "onewrite.toml:13: routes.0.format",
        "onewrite.toml:14: routes.0.batch_bytes",
        "onewrite.toml:17: formats.wire.registry",
        "onewrite.toml:19: routes.1.name",
        "onewrite.toml:20: routes.1.sink",
        "onewrite.toml:21: routes.1.match",
        "onewrite.toml:22: routes.1.on_poison",
    ];
    let told: Vec<_> = told
        .iter()
        .map(|parts| parts.join(": "))
        .filter(|line| line.starts_with("onewrite.toml"))
        .collect();
    assert_eq!(told, expected, "{}", said.err);
}

#[test]
fn what_no_format_can_be_made_of_is_told_with_its_line() {
    let sections = "[formats.wire]\ntype = \"avro\"\nregistry = [\"localhost:8081\"]";
    assert_eq!(
        problem("check", KAFKA, "format = \"wire\"", sections),
        "onewrite.toml:15: formats.wire.registry: has the scheme \"localhost\"; expected http or https"
    );
    let words = problem("check", FILE, "format = \"debezium\"", "");
    assert!(
        words.starts_with("onewrite.toml:12: routes.0.format: the sink writes each event as a JSON document"),
        "{words}"
    );
}

#[test]
fn a_format_without_a_route_is_warned_of_and_a_registry_is_looked_at() {
    let sections =
        "[formats.wire]\ntype = \"avro\"\nregistry = [\"http://127.0.0.1:1\"]\n[formats.spare]\ntype = \"json\"";
    let route = "format = \"wire\"\ntopic = \"prefix.{topic}\"";
    let said = Program::with(&configuration(KAFKA, route, sections)).run(&["check", "--json"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let answer: Value = serde_json::from_str(&said.out).expect("JSON");
    let findings = answer["findings"].as_array().expect("findings");
    let of = |part: &str, level: &str| {
        let mut found = findings
            .iter()
            .filter(|found| found["part"] == part && found["level"] == level);
        found
            .next()
            .and_then(|found| found["message"].as_str())
            .unwrap_or_default()
    };
    assert!(
        of("configuration", "warning").ends_with("no route uses this format"),
        "{answer}"
    );
    assert!(of("formats.wire", "broken").contains("does not answer"), "{answer}");
}

#[test]
fn a_route_delivers_in_its_format_under_its_topic() {
    let shop = Shop::new();
    let sections =
        "[formats.wire]\ntype = \"cloudevents\"\nmode = \"structured\"\nextensions = { tenant = \"tenant\" }";
    let route = "format = \"wire\"";
    shop.program
        .write("onewrite.toml", &configuration(FILE, route, sections));
    shop.append("shop.orders", &["{\"n\":1}"]);
    let running = shop.program.start();
    let lines = |count: usize| -> Vec<Value> {
        onewrite_testkit::wait::until_blocking("delivered lines", || {
            let text = std::fs::read_to_string(shop.program.path("events.jsonl")).unwrap_or_default();
            let lines: Vec<Value> = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            (lines.len() >= count).then_some(lines)
        })
    };
    let event = &lines(1)[0];
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(
        (&event["source"], &event["tenant"]),
        (&json!("/onewrite/shop.orders"), &json!("eu"))
    );
    assert_eq!(event["data"], json!({"n": 1}));
    let said = running.stop();
    assert!(
        said.err.contains("orders (shop.orders) → events (file, wire)"),
        "{}",
        said.err
    );

    let renamed = configuration(FILE, "topic = \"renamed.{key}\"", "");
    shop.program.write("onewrite.toml", &renamed);
    shop.append("shop.orders", &["2"]);
    let running = shop.program.start();
    assert_eq!(lines(2)[1]["topic"], "renamed.k");
    running.stop();
}
