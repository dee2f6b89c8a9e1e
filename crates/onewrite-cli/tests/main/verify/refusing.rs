//! What verify tells before it writes anything.

use onewrite_testkit::servers::Postgres;

use super::over_postgres;
use crate::program::Program;
use crate::shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn privileges_that_a_relay_does_not_need_are_asked_for_first() {
    let (database, program) = over_postgres("poll", "type = \"file\"\npath = \"events.jsonl\"").await;
    let role = format!("relay_{}", database.name);
    let owner = database.connect().await;
    owner
        .batch_execute(&format!("CREATE ROLE {role} LOGIN"))
        .await
        .expect("a role");
    program.json(&["migrate", "--grant-relay", &role, "--json"]);
    let as_relay = program
        .read("onewrite.toml")
        .replace(&database.url, &database.url_as(&role));
    program.write("onewrite.toml", &as_relay);
    let said = program.run(&["verify", "--duration", "2s", "--faults", "none"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let grants: Vec<&str> = said
        .err
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("GRANT "))
        .collect();
    assert!(
        grants.contains(&format!("GRANT DELETE ON onewrite.outbox TO {role};").as_str()) && grants.len() == 6,
        "{}",
        said.err
    );
    // They are all that is missing.
    owner.batch_execute(&grants.join("\n")).await.expect("the grants");
    let said = program.run(&["verify", "--duration", "2s", "--faults", "none"]);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
}

#[tokio::test]
async fn tables_of_others_are_refused() {
    let database = Postgres::shared(17).await.database().await;
    let program = Program::with(&format!(
        "name = \"shop\"\n[source]\ntype = \"postgres\"\nurl = \"{}\"\ncontract = \"debezium\"\ntable = \"outbox\"\n[sinks.events]\n\
         type = \"file\"\npath = \"e\"\n[[routes]]\nname = \"all\"\nsink = \"events\"\n",
        database.url
    ));
    let said = program.run(&["verify"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.err.contains("`onewrite verify` writes to the native outbox alone"),
        "{}",
        said.err
    );
}

#[test]
fn a_sink_that_cannot_be_read_back_is_told() {
    let shop = Shop::new();
    let both = shop
        .program
        .read("onewrite.toml")
        .replace("[sinks.events]", "[sinks.out]\ntype = \"stdout\"\n[sinks.events]");
    shop.program.write("onewrite.toml", &both);
    let said = shop.program.run(&["verify", "--sink", "out"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.err.starts_with(
            "error: what arrives at the sink \"out\" of type \"stdout\" cannot be read back, since what was written to a stream belongs \
             to whoever reads it\nhelp: verify needs"
        ),
        "{}",
        said.err
    );
    let said = shop.program.run(&["verify", "--sink", "event"]);
    assert!(
        said.code == 2 && said.err.contains("there is no sink \"event\""),
        "{}",
        said.err
    );
    let said = shop.program.run(&["verify", "--duration", "2s", "--faults", "none"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err
            .contains("not tried: the sink \"out\" of type \"stdout\", since"),
        "{}",
        said.err
    );
}

#[test]
fn each_type_that_cannot_be_read_back_says_why() {
    let sqs = "region = \"eu-west-1\"\naccess_key_id = \"A\"\nsecret_access_key = \"s\"\nqueue_url";
    let sinks = [
        ("http", "url = \"http://127.0.0.1:1/\"".to_owned(), "an endpoint takes events"),
        ("ibmmq", "urls = [\"http://127.0.0.1:1\"]\nqueue_manager = \"QM1\"\nqueue = \"Q\"".to_owned(), "a queue of its own is made by an administrator"),
        (
            "sns",
            "access_key_id = \"A\"\nsecret_access_key = \"s\"\ntopic_arn = \"arn:aws:sns:eu-west-1:123456789012:orders\"".to_owned(),
            "a topic keeps nothing",
        ),
        ("sqs", format!("{sqs} = \"http://127.0.0.1:1/{{type}}/orders\""), "its queue_url has a placeholder in front"),
        ("sqs", format!("timeout = \"1s\"\n{sqs} = \"http://127.0.0.1:1/1/orders\""), "its timeout is shorter"),
    ];
    for (kind, options, why) in sinks {
        let shop = Shop::new();
        let file = shop.program.read("onewrite.toml");
        let also = file.replace(
            "[sinks.events]",
            &format!("[sinks.out]\ntype = \"{kind}\"\n{options}\n[sinks.events]"),
        );
        shop.program.write("onewrite.toml", &also);
        let said = shop.program.run(&["verify", "--sink", "out"]);
        assert_eq!(said.code, 2, "{kind}: {}", said.err);
        assert!(
            said.err.contains(&format!("cannot be read back, since {why}")),
            "{kind}: {}",
            said.err
        );
    }
}
