//! The commands for operators, against an SQLite outbox.

use onewrite_core::routing::{Group, Match, Share};
use onewrite_testkit::wait::until_blocking;
use serde_json::{Value, json};

use crate::program::Program;
use crate::shop::Shop;

#[test]
fn migrate_creates_once_and_check_finds_all_well() {
    let shop = Shop::new();
    assert_eq!(
        shop.program.json(&["migrate", "--json"]),
        json!({"version": 3, "applied": [], "granted": [], "notes": []})
    );
    assert_eq!(
        shop.program.run(&["migrate"]).out,
        "the schema is at version 3 already\n"
    );
    let answer = shop.program.json(&["check", "--json"]);
    assert_eq!(answer["ok"], true, "{answer}");
    let parts: Vec<_> = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| &finding["part"])
        .collect();
    assert!(
        parts.contains(&&json!("source")) && parts.contains(&&json!("sinks.events")),
        "{answer}"
    );
    let text = shop.program.run(&["check"]);
    assert_eq!(text.code, 0);
    assert!(text.out.starts_with("   PART"), "{}", text.out);
}

#[test]
fn migrate_prints_what_it_would_do_and_refuses_what_there_is_not() {
    let shop = Shop::new();
    let printed = shop.program.run(&["migrate", "--print"]);
    assert_eq!(printed.code, 0);
    assert!(printed.out.contains("CREATE TABLE onewrite_outbox"), "{}", printed.out);
    let said = shop.program.run(&["migrate", "--print", "--grant-relay", "onewrite"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            2,
            "error: SQLite has no roles; give the relay's user the right to read and write the file and its folder\n"
        )
    );
}

#[test]
fn a_database_without_the_schema_is_told() {
    let shop = Shop::new();
    std::fs::remove_file(shop.program.path("shop.db")).unwrap();
    let said = shop.program.run(&["check", "--json"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "error: 1 thing is broken\n"),
        "{}",
        said.out
    );
    let said = shop.program.run(&["status"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("migrate"), "{}", said.err);
    assert!(!shop.program.path("shop.db").exists(), "asking creates nothing");
}

#[test]
fn the_schema_of_a_newer_program_is_left_alone() {
    let shop = Shop::new();
    let connection = rusqlite::Connection::open(shop.program.path("shop.db")).unwrap();
    connection
        .execute("INSERT INTO onewrite_migration (version) VALUES (99)", [])
        .unwrap();
    for command in [&["migrate"][..], &["check"], &["run"]] {
        let said = shop.program.run(command);
        assert_eq!(said.code, 1, "{command:?}: {}", said.err);
        let words = said.out + &said.err;
        assert!(
            words.contains("version 99") && words.contains("newer"),
            "{command:?}: {words}"
        );
    }
}

#[test]
fn parked_events_are_listed_shown_edited_retried_and_skipped() {
    let shop = Shop::new();
    shop.append("other.orders", &["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
    let running = shop.program.start();
    shop.until_route("unrouted", "parks", |route| route["parked"] == 3);
    let ids = three_are_listed(&shop);
    one_is_shown(&shop, &ids[0]);
    one_is_edited_and_retried(&shop, &ids[0]);
    the_others_are_skipped(&shop);
    assert_eq!(running.stop().code, 0);
}

/// Returns their numbers.
fn three_are_listed(shop: &Shop) -> Vec<String> {
    let listed = shop.program.json(&["parked", "list", "--json"]);
    let ids: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(listed[0]["route"], "unrouted");
    let text = shop.program.run(&["parked", "list", "--limit", "2"]).out;
    assert!(
        text.ends_with("there are more than 2; --limit shows more of them\n"),
        "{text}"
    );
    ids
}

fn one_is_shown(shop: &Shop, id: &str) {
    let shown = shop.program.json(&["parked", "show", id, "--json"]);
    assert_eq!(
        (&shown["payload_text"], &shown["headers"]),
        (&json!("{\"n\":1}"), &json!({"tenant": "eu"}))
    );
    let text = shop.program.run(&["parked", "show", id]).out;
    assert!(
        text.contains("header        tenant: eu") && text.ends_with("{\"n\":1}\n"),
        "{text}"
    );
}

fn one_is_edited_and_retried(shop: &Shop, id: &str) {
    shop.program.write("mended.json", "{\"n\":10}");
    let arguments = [
        "parked",
        "edit",
        id,
        "--topic",
        "shop.orders",
        "--payload-file",
        "mended.json",
        "--header",
        "a=b",
        "--json",
    ];
    shop.program.json(&arguments);
    let shown = shop.program.json(&["parked", "show", id, "--json"]);
    assert_eq!(
        (&shown["payload_text"], &shown["headers"]),
        (&json!("{\"n\":10}"), &json!({"tenant": "eu", "a": "b"}))
    );
    assert_eq!(
        shop.program.json(&["parked", "retry", id, "--json"]),
        json!({"retried": 1})
    );
    shop.until_delivered(1);
    assert_eq!(shop.delivered(), [("shop.orders".to_owned(), json!({"n": 10}))]);
}

fn the_others_are_skipped(shop: &Shop) {
    let skipped = shop.program.json(&[
        "parked",
        "skip",
        "--route",
        "unrouted",
        "--topic",
        "other.orders",
        "--yes",
        "--json",
    ]);
    let payloads: Vec<&Value> = skipped["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["payload_text"])
        .collect();
    assert_eq!(payloads, [&json!("{\"n\":2}"), &json!("{\"n\":3}")]);
    shop.until_route("unrouted", "has nothing parked", |route| route["parked"] == 0);
    assert_eq!(shop.program.run(&["parked", "list"]).out, "nothing is parked\n");
}

#[test]
fn many_events_are_not_touched_unless_that_is_meant() {
    let shop = Shop::new();
    shop.append("other.orders", &["1", "2"]);
    let running = shop.program.start();
    shop.until_route("unrouted", "parks", |route| route["parked"] == 2);
    assert_eq!(running.stop().code, 0);
    let told = |arguments: &[&str]| {
        let said = shop.program.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""));
        said.err
    };
    assert_eq!(
        told(&["parked", "skip"]),
        "error: which events to skip is missing\nhelp: give their numbers, or --route, --topic, --key or --limit, or --all\n"
    );
    assert_eq!(
        told(&["parked", "skip", "--route", "unrouted"]),
        "error: skip 2 events? Nobody can be asked here, so nothing was done\nhelp: add --yes to go ahead without being asked\n"
    );
    assert_eq!(
        told(&["parked", "retry", "--route", "order"]),
        "error: there is no route \"order\" in the configuration\nhelp: did you mean \"orders\"?\n"
    );
    assert_eq!(
        told(&["parked", "edit", "1"]),
        "error: what to change is missing, and without a terminal no editor can be opened\n\
         help: give --topic, --payload, --payload-file, --content-type, --header or --remove-header\n"
    );
    assert_eq!(
        told(&["parked", "edit", "1", "--topic", ""]),
        "error: the event cannot be changed so: topic is empty; it needs at least one character\nhelp: nothing was changed\n"
    );
    let said = shop.program.run(&["parked", "show", "999"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            1,
            "error: there is no parked event 999\nhelp: `onewrite parked list` shows those that there are; one that was delivered or skipped is gone\n"
        )
    );
    assert_eq!(
        shop.program.json(&["parked", "skip", "--all", "--json"])["skipped"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_paused_route_waits_until_it_is_resumed() {
    let shop = Shop::new();
    let said = shop.program.run(&["pause", "orders"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            1,
            "error: the route \"orders\" has never run on this database, so nothing was paused\nhelp: start `onewrite run` first\n"
        )
    );
    let running = shop.program.start();
    shop.until_route("orders", "runs", |route| route["state"] == "running");
    assert_eq!(running.stop().code, 0);
    assert_eq!(
        shop.program.json(&["pause", "orders", "--json"]),
        json!({"paused": true, "routes": 1})
    );
    shop.append("shop.orders", &["1"]);
    shop.append("other.orders", &["2"]);
    let running = shop.program.start();
    // That the route beside it has done its work shows that the relay is at work.
    shop.until_route("unrouted", "parks", |route| route["parked"] == 1);
    shop.until_route("orders", "is paused", |route| {
        route["state"] == "paused" && route["unsettled"] == 1
    });
    assert_eq!(shop.delivered(), []);
    let text = shop.program.run(&["status"]).out;
    assert!(
        text.contains("! orders is paused; `onewrite resume orders` lets it go on\n"),
        "{text}"
    );
    assert_eq!(
        shop.program.run(&["resume", "orders"]).out,
        "the route \"orders\" is resumed\n"
    );
    shop.until_delivered(1);
    assert_eq!(running.stop().code, 0);
}

#[test]
fn replayed_events_come_once_more() {
    let shop = Shop::new();
    shop.append("shop.orders", &["1", "2"]);
    let running = shop.program.start();
    shop.until_delivered(2);
    let answer = shop.program.json(&[
        "replay",
        "--route",
        "orders",
        "--since",
        "1h ago",
        "--topic",
        "shop.orders",
        "--json",
    ]);
    assert_eq!(
        (&answer["route"], &answer["replay"], &answer["events"]),
        (&json!("orders"), &json!(1), &json!(2))
    );
    shop.until_delivered(4);
    until_blocking("the replay is through", || {
        let status = shop.program.json(&["status", "--json"]);
        (status["replays"][0]["finished_at"].is_string() && status["replays"][0]["left"] == 0).then_some(())
    });
    let text = shop.program.run(&["status"]).out;
    assert!(text.contains("replay 1 of orders, asked for at "), "{text}");
    let text = shop
        .program
        .run(&["replay", "--route", "orders", "--from-sequence", "2"])
        .out;
    assert!(text.starts_with("replay 2, 1 event: the relay delivers them"), "{text}");
    shop.until_delivered(5);
    let payloads: Vec<_> = shop.delivered().into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(payloads, [json!(1), json!(2), json!(1), json!(2), json!(2)]);
    assert_eq!(running.stop().code, 0);
    let said = shop.program.run(&["replay", "--route", "orders"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            2,
            "error: which events are to be replayed is missing\nhelp: give at least one of --since, --until, --topic, --key, --id, and --from or --to with an id or a sequence\n"
        )
    );
    let said = shop.program.run(&[
        "replay",
        "--route",
        "orders",
        "--since",
        "2026-11-24",
        "--until",
        "2026-11-23",
    ]);
    assert_eq!(said.code, 2, "{}", said.err);
}

#[test]
fn a_replay_from_an_event_that_is_not_there_is_refused_with_its_id() {
    let shop = Shop::new();
    let id = "0c9fe1a4-6f1e-4b4e-9d8a-1f0c5d0e2a77";
    let said = shop.program.run(&["replay", "--route", "orders", "--from-id", id]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.err.starts_with(&format!("error: event {id} is not in the outbox")),
        "{}",
        said.err
    );
    let said = shop
        .program
        .run(&["replay", "--route", "orders", "--from-id", id, "--from-sequence", "1"]);
    assert_eq!(said.code, 2, "{}", said.err);
}

/// A shop with an event of three hours ago, and a relay of another name that once ran there and keeps it.
fn shop_with_an_old_relay() -> Shop {
    let shop = Shop::new();
    shop.append("shop.orders", &["1"]);
    let everything = Share {
        relay: "shop-old".to_owned(),
        route: "all".to_owned(),
        group: Group::ALL,
        wanted: Match::default(),
        taken: Vec::new(),
    };
    let connection = rusqlite::Connection::open(shop.program.path("shop.db")).unwrap();
    connection
        .execute_batch(&format!(
            "INSERT INTO onewrite_relay (name, epoch) VALUES ('shop-old', 1); \
             INSERT INTO onewrite_route (relay, name, definition, sequence) VALUES ('shop-old', 'all', '{}', 0); \
             UPDATE onewrite_outbox SET occurred_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-3 hours')",
            everything.definition()
        ))
        .unwrap();
    shop
}

/// It looks every half a minute, for the first time half a minute after it began to lead.
#[test]
fn a_running_relay_logs_an_alarm() {
    let shop = shop_with_an_old_relay();
    let running = shop.program.start();
    running.until_logged("segment_blocked");
    let said = running.stop();
    let logged = said
        .err
        .lines()
        .find(|line| line.contains("segment_blocked"))
        .expect("the alarm");
    assert!(
        logged.contains("WARN") && logged.contains("forget --relay shop-old"),
        "{logged}"
    );
}

#[test]
fn a_relay_that_nobody_runs_is_an_alarm_until_it_is_given_up() {
    let shop = shop_with_an_old_relay();
    let alarms = shop.program.json(&["status", "--json"])["alarms"].clone();
    assert_eq!(
        (&alarms[0]["kind"], &alarms[0]["subject"]),
        (&json!("segment_blocked"), &json!("onewrite_outbox"))
    );
    let text = shop.program.run(&["status"]).out;
    assert!(
        text.starts_with("! segment_blocked: onewrite_outbox: rows from sequence 1 on"),
        "{text}"
    );
    let said = shop.program.run(&["forget", "--relay", "shop-old"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            2,
            "error: give up the relay \"shop-old\", whose furthest route has 1 events before it, and 0 parked events with it? \
             Nobody can be asked here, so nothing was done\nhelp: add --yes to go ahead without being asked\n"
        )
    );
    assert_eq!(
        shop.program.json(&["forget", "--relay", "shop-old", "--yes", "--json"]),
        json!({"relay": "shop-old", "forgotten": {"routes": ["all"], "parked": 0, "slots": []}})
    );
    assert_eq!(shop.program.json(&["status", "--json"])["alarms"], json!([]));
    let said = shop.program.run(&["forget", "--relay", "shop-old", "--yes"]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "error: there is no relay \"shop-old\"; recorded are: none\n")
    );
}

#[test]
fn without_a_database_the_commands_say_so() {
    let program = Program::with(
        "name = \"shop\"\n[source]\ntype = \"sqlite\"\nurl = \"nowhere/shop.db\"\n[sinks.events]\ntype = \"stdout\"\n\
         [[routes]]\nname = \"all\"\nsink = \"events\"\n",
    );
    for command in [&["status"][..], &["parked", "list"], &["pause", "--all"], &["migrate"]] {
        let said = program.run(command);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{command:?}");
        assert!(said.err.contains("nowhere/shop.db"), "{command:?}: {}", said.err);
    }
}
