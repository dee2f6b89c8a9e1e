//! Verify leaves nothing behind, however it ends.

use std::process::{Child, Stdio};

use onewrite::Event;
use onewrite_testkit::wait::until_blocking;
use serde_json::json;

use super::SHORT;
use crate::shop::Shop;

/// The first lines of the command, once it writes.
fn started(shop: &Shop, arguments: &[&str]) -> Child {
    let mut verify = shop
        .program
        .command(&[&["verify", "--duration", "10m"], arguments].concat());
    let errors = std::fs::File::create(shop.program.path("verify.err")).expect("a file");
    let verify = verify
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .expect("the program starts");
    until_blocking("something is written", || (count(shop) > 20).then_some(()));
    verify
}

fn count(shop: &Shop) -> i64 {
    let connection = rusqlite::Connection::open(shop.program.path("shop.db")).expect("the outbox");
    let count = "SELECT count(*) FROM onewrite_outbox WHERE topic LIKE 'onewrite.verify.%'";
    connection.query_row(count, [], |row| row.get(0)).expect("a count")
}

fn files(shop: &Shop) -> usize {
    let files = std::fs::read_dir(shop.program.path(".")).expect("the folder");
    files
        .filter_map(Result::ok)
        .filter(|file| file.file_name().to_string_lossy().contains("onewrite.verify."))
        .count()
}

fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status();
    assert!(status.expect("kill is there").success(), "it is gone already");
}

#[test]
fn an_interrupted_run_removes_all_it_made() {
    let shop = Shop::new();
    let mut verify = started(&shop, &[]);
    signal(&verify, "INT");
    assert_eq!(verify.wait().expect("its end").code(), Some(1));
    let told = shop.program.read("verify.err");
    assert!(
        told.contains("error: interrupted\nhelp: there is no verdict; everything that verify made is removed"),
        "{told}"
    );
    assert_eq!((count(&shop), files(&shop)), (0, 0));
    assert_eq!(shop.program.json(&["status", "--json"])["relays"], json!([]));
}

#[test]
fn the_relay_of_a_run_that_was_killed_ends_by_itself() {
    let shop = Shop::new();
    let mut verify = started(&shop, &[]);
    verify.kill().expect("it can be killed");
    verify.wait().expect("its end");
    until_blocking("nobody runs the relay", || {
        let status = shop.program.json(&["status", "--json"]);
        status["relays"][0]["holder"].is_null().then_some(())
    });
}

#[test]
fn what_an_older_run_left_behind_is_removed_by_the_next() {
    let shop = Shop::new();
    let (topic, relay) = (
        "onewrite.verify.20260101000000-0abc-0",
        "shop-verify-20260101000000-0abc-0",
    );
    let connection = rusqlite::Connection::open(shop.program.path("shop.db")).expect("the outbox");
    onewrite::sqlite::append(&connection, &Event::new(topic, "{}")).expect("an event");
    connection
        .execute("INSERT INTO onewrite_relay (name) VALUES (?1)", [relay])
        .expect("a relay");
    shop.program.write(&format!("events.jsonl.{topic}"), "{}\n");
    shop.append("shop.orders", &["1"]);
    let said = shop.program.run(&[SHORT, &["--faults", "none"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err
            .contains("removed what the run 20260101000000-0abc-0 had left behind"),
        "{}",
        said.err
    );
    assert_eq!((count(&shop), files(&shop)), (0, 0));
    assert_eq!(shop.program.json(&["status", "--json"])["relays"], json!([]));
    let left: i64 = connection
        .query_row("SELECT count(*) FROM onewrite_outbox", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(left, 1, "what applications wrote is not touched");
}

#[test]
fn what_shall_be_kept_is_kept() {
    let shop = Shop::new();
    let said = shop.program.run(&[SHORT, &["--faults", "none", "--keep"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        count(&shop) > 500 && files(&shop) == 1 && said.err.contains("kept: the topic onewrite.verify."),
        "{}",
        said.err
    );
    let status = shop.program.json(&["status", "--json"]);
    assert_eq!(status["relays"].as_array().map(Vec::len), Some(1), "{status}");
}
