//! `onewrite verify`, on real databases and brokers.

mod cleaning;
mod ground;
mod proving;
mod refusing;

use onewrite_testkit::servers::{Database, Postgres};
use serde_json::Value;

use crate::program::Program;

/// A short load with one fault of each kind: by the number of events, so that a busy machine takes longer and does no less.
const SHORT: &[&str] = &["verify", "--events", "2000", "--rate", "400", "--keys", "20", "--json"];

/// The program over a migrated database of a shared server, and one sink.
async fn over_postgres(feed: &str, sink: &str) -> (Database, Program) {
    let database = Postgres::shared(17).await.database().await;
    let program = over(&database, feed, sink);
    (database, program)
}

/// The program over a database, which it migrates, and one sink.
fn over(database: &Database, feed: &str, sink: &str) -> Program {
    let program = Program::with(&format!(
        "name = \"shop\"\n[source]\ntype = \"postgres\"\nurl = \"{}\"\nfeed = \"{feed}\"\n[sinks.events]\n{sink}\n\
         [[routes]]\nname = \"all\"\nsink = \"events\"\n",
        database.url
    ));
    program.json(&["migrate", "--json"]);
    program
}

/// Runs verify, which must find that all holds, and returns its only run.
fn proves(program: &Program, arguments: &[&str]) -> Value {
    let said = program.run(arguments);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    let answer: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(
        (&answer["holds"], answer["runs"].as_array().map(Vec::len)),
        (&Value::from(true), Some(1))
    );
    let run = answer["runs"][0].clone();
    assert_eq!(run["promises"].as_array().map(Vec::len), Some(6), "{run}");
    assert!(run["verdict"]["committed"].as_u64().expect("a number") > 500, "{run}");
    run
}

/// How often each kind of fault happened, and how often connections were cut indeed.
fn faults(run: &Value) -> (usize, usize) {
    let faults = run["faults"].as_array().expect("faults");
    let count = |fits: &dyn Fn(&Value) -> bool| faults.iter().filter(|fault| fits(fault)).count();
    let words = |fault: &Value| fault["what"].as_str().unwrap_or_default().to_owned();
    (
        count(&|fault| fault["kind"] == "kill"),
        count(&|fault| fault["kind"] == "cut" && words(fault).contains("of the relay")),
    )
}
