//! Bodies by a real schema registry.

use onewrite_core::sink::FindingLevel;
use onewrite_testkit::memory::MemoryBroker;
use onewrite_testkit::servers::SchemaRegistry;

use crate::support::{deliver, event, format, sink};

/// The body that a format makes, without the mark, and the schema's number; or the words.
async fn body(kind: &str, options: &[(&str, &str)], topic: &str, payload: &str) -> Result<(u32, Vec<u8>), String> {
    let broker = MemoryBroker::new();
    let sink = sink(broker.connector(), Some(format(kind, options)), Some(topic)).await;
    let (result, words) = deliver(&*sink, &[event(1, Some("a"), payload)]).await;
    result.map_err(|error| format!("{:?}: {error}", error.action))?;
    let log = broker.log();
    let Some(event) = log.first() else {
        return Err(words[0].clone());
    };
    let (mark, rest) = event.payload.split_at(5);
    assert_eq!(mark[0], 0);
    Ok((u32::from_be_bytes(mark[1..].try_into().unwrap()), rest.to_vec()))
}

fn record(name: &str, field: &str, kind: &str) -> String {
    format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"{field}","type":{kind}}}]}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_schema_of_the_topic_is_used_or_a_fixed_version() {
    let registry = SchemaRegistry::shared().await;
    let url = registry.url();
    let first = registry
        .register("latest-value", "AVRO", &record("A", "n", "\"int\""), &[])
        .await;
    let second = registry
        .register("latest-value", "AVRO", &record("A", "n", "\"double\""), &[])
        .await;
    let made = body("avro", &[("registry", &url)], "latest", "{\"n\":1}")
        .await
        .unwrap();
    assert_eq!(made, (second, 1.0_f64.to_le_bytes().to_vec()));
    let fixed = [("registry", &*url), ("version", "1")];
    assert_eq!(
        body("avro", &fixed, "latest", "{\"n\":1}").await.unwrap(),
        (first, vec![2])
    );
    let missing = [("registry", &*url), ("version", "9")];
    let words = body("avro", &missing, "latest", "{\"n\":1}").await.unwrap_err();
    assert!(words.starts_with("Park: ") && words.contains("error 404"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_parked_with_the_place() {
    let registry = SchemaRegistry::shared().await;
    registry
        .register("fit-value", "AVRO", &record("Fit", "n", "\"int\""), &[])
        .await;
    let words = body("avro", &[("registry", &registry.url())], "fit", "{\"n\":\"x\"}")
        .await
        .unwrap_err();
    assert!(
        words.starts_with("Park: the payload does not fit the schema "),
        "{words}"
    );
    assert!(words.ends_with(": n: found the text \"x\"; expected int"), "{words}");
    let words = body("avro", &[("registry", &registry.url())], "nobody-knows", "{}")
        .await
        .unwrap_err();
    assert!(words.starts_with("Park: ") && words.contains("error 40401"), "{words}");
    registry
        .register("other-value", "JSON", "{\"type\":\"object\",\"properties\":{}}", &[])
        .await;
    let words = body("avro", &[("registry", &registry.url())], "other", "{}")
        .await
        .unwrap_err();
    assert!(words.contains("is of the type JSON; the format needs AVRO"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_schema_and_protobuf_follow_references() {
    let registry = SchemaRegistry::shared().await;
    let url = registry.url();
    let address = r#"{"type":"object","properties":{"city":{"type":"string"}}}"#;
    registry.register("address-json", "JSON", address, &[]).await;
    let order = r#"{"type":"object","properties":{"to":{"$ref":"address.json"}}}"#;
    let id = registry
        .register("json-value", "JSON", order, &[("address.json", "address-json", 1)])
        .await;
    let payload = r#"{"to":{"city":"Bern"}}"#;
    let options = [("registry", &*url)];
    assert_eq!(
        body("json-schema", &options, "json", payload).await.unwrap(),
        (id, payload.into())
    );
    let words = body("json-schema", &options, "json", r#"{"to":{"city":1}}"#)
        .await
        .unwrap_err();
    assert!(words.contains("/to/city: "), "{words}");

    let base = "syntax = \"proto3\"; package base; message Place { string city = 1; }";
    registry.register("base-proto", "PROTOBUF", base, &[]).await;
    let shop = "syntax = \"proto3\"; package shop; import \"base.proto\"; message Other { int32 n = 1; } \
                message Order { base.Place to = 1; }";
    let id = registry
        .register("proto-value", "PROTOBUF", shop, &[("base.proto", "base-proto", 1)])
        .await;
    let options = [("registry", &*url), ("message", "shop.Order")];
    let made = body("protobuf", &options, "proto", payload).await.unwrap();
    assert_eq!(made, (id, b"\x02\x02\x0a\x06\x0a\x04Bern".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_found_or_registered_and_refused_where_it_is_not_compatible() {
    let registry = SchemaRegistry::shared().await;
    let url = registry.url();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("order.avsc");
    std::fs::write(&path, record("FromFile", "n", "\"long\"")).unwrap();
    let file = ("schema_file", path.to_str().unwrap());
    let words = body("avro", &[("registry", &url), file], "file", "{\"n\":1}")
        .await
        .unwrap_err();
    assert!(words.starts_with("Park: ") && words.contains("40401"), "{words}");
    let registering = [("registry", &*url), file, ("register", "true")];
    let (id, _) = body("avro", &registering, "file", "{\"n\":1}").await.unwrap();
    let (found, _) = body("avro", &[("registry", &url), file], "file", "{\"n\":1}")
        .await
        .unwrap();
    assert_eq!(found, id);
    registry
        .register("clash-value", "AVRO", &record("FromFile", "n", "\"string\""), &[])
        .await;
    let words = body("avro", &registering, "clash", "{\"n\":1}").await.unwrap_err();
    assert!(
        words.starts_with("Park: ") && words.contains("409") && words.contains("ncompatible"),
        "{words}"
    );
    // A name strategy that needs the record's name has it from the file.
    let strategy = [
        ("registry", &*url),
        file,
        ("register", "true"),
        ("subject_strategy", "topic_record"),
    ];
    body("avro", &strategy, "file", "{\"n\":1}").await.unwrap();
    let latest = registry
        .ask("GET", "/subjects/file-FromFile/versions/latest", None)
        .await;
    assert_eq!(latest["version"], 1, "{latest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_are_named_by_the_strategy() {
    let registry = SchemaRegistry::shared().await;
    let url = registry.url();
    for (subject, option) in [
        ("OrderPlaced", ("subject_strategy", "record")),
        ("strategies-OrderPlaced", ("subject_strategy", "topic_record")),
        ("own.strategies.a", ("subject", "own.{topic}.{key}")),
    ] {
        let id = registry
            .register(subject, "AVRO", &record("Named", "n", "\"int\""), &[])
            .await;
        let options = [("registry", &*url), option];
        assert_eq!(
            body("avro", &options, "strategies", "{\"n\":1}").await.unwrap(),
            (id, vec![2])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_parks_nothing_and_known_schemas_go_on() {
    let registry = SchemaRegistry::start().await;
    registry
        .register("known-value", "AVRO", &record("K", "n", "\"int\""), &[])
        .await;
    registry
        .register("unknown-value", "AVRO", &record("K", "n", "\"int\""), &[])
        .await;
    let url = registry.url();
    let options = [("registry", &*url), ("cache_ttl", "1ms"), ("timeout", "2s")];
    let broker = MemoryBroker::new();
    let sink = sink(broker.connector(), Some(format("avro", &options)), Some("{header.to}")).await;
    let to = |number, key, topic: &str| {
        let mut event = event(number, Some(key), "{\"n\":1}");
        event.headers.push(("to".into(), topic.into()));
        event
    };
    assert_eq!(deliver(&*sink, &[to(1, "a", "known")]).await.1, ["delivered"]);
    registry.kill9().await;
    let batch = [
        to(2, "a", "known"),
        to(3, "b", "unknown"),
        to(4, "b", "known"),
        to(5, "a", "known"),
    ];
    let (result, words) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert!(
        words[1].starts_with("Retry") && words[1].contains("does not answer"),
        "{words:?}"
    );
    assert_eq!(
        [&*words[0], &*words[2], &*words[3]],
        ["delivered", "unknown", "delivered"]
    );
    registry.restart().await;
    let again = onewrite_testkit::wait::until("the events are delivered", async || {
        let (_, words) = deliver(&*sink, &batch[1..3]).await;
        (words == ["delivered"; 2]).then_some(words)
    });
    again.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_with_a_known_schema_waits_for_a_registry_that_hangs() {
    let registry = SchemaRegistry::start().await;
    registry
        .register("warm", "AVRO", &record("W", "n", "\"int\""), &[])
        .await;
    let url = registry.url();
    let options = [("registry", &*url), ("timeout", "3s"), ("subject", "{key}")];
    let broker = MemoryBroker::new();
    let sink = sink(broker.connector(), Some(format("avro", &options)), None).await;
    let warm = [event(1, Some("warm"), "{\"n\":1}")];
    assert_eq!(deliver(&*sink, &warm).await.1, ["delivered"]);
    registry.stop();
    let cold = [event(2, Some("cold"), "{\"n\":1}")];
    let mut waiting = std::pin::pin!(deliver(&*sink, &cold));
    let words = tokio::select! {
        biased;
        (_, words) = &mut waiting => panic!("{words:?}"),
        (_, words) = deliver(&*sink, &warm) => words,
    };
    assert_eq!(words, ["delivered"]);
    let (_, words) = waiting.await;
    assert!(words[0].starts_with("Retry"), "{words:?}");
    registry.continue_();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_found_after_a_while() {
    let registry = SchemaRegistry::shared().await;
    let url = registry.url();
    let first = registry
        .register("newer-value", "AVRO", &record("N", "n", "\"int\""), &[])
        .await;
    let broker = MemoryBroker::new();
    let options = [("registry", &*url), ("cache_ttl", "50ms")];
    let sink = sink(broker.connector(), Some(format("avro", &options)), Some("newer")).await;
    let mut number = 0;
    let mut latest = async || {
        number += 1;
        deliver(&*sink, &[event(number, None, "{\"n\":1}")]).await.0.unwrap();
        u32::from_be_bytes(broker.log().last().unwrap().payload[1..5].try_into().unwrap())
    };
    assert_eq!(latest().await, first);
    let second = registry
        .register("newer-value", "AVRO", &record("N", "n", "\"long\""), &[])
        .await;
    onewrite_testkit::wait::until("the newer version is used", async || {
        (latest().await == second).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_a_delivery_would_find_and_changes_nothing() {
    let registry = SchemaRegistry::shared().await;
    let url = registry.url();
    registry
        .register("probed-value", "AVRO", &record("P", "n", "\"int\""), &[])
        .await;
    let latest = format("avro", &[("registry", &url)]);
    let findings = latest.probe(&["probed".to_owned(), "missing".to_owned()]).await;
    let levels: Vec<_> = findings.iter().map(|finding| finding.level).collect();
    assert_eq!(
        levels,
        [FindingLevel::Works, FindingLevel::Broken, FindingLevel::Works],
        "{findings:?}"
    );
    assert!(
        findings[2].message.starts_with("has version 1, which is the schema "),
        "{findings:?}"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.avsc");
    std::fs::write(&path, record("P", "n", "\"string\"")).unwrap();
    let file = ("schema_file", path.to_str().unwrap());
    let registering = format("avro", &[("registry", &url), file, ("register", "true")]);
    let findings = registering.probe(&["probed".to_owned(), "fresh".to_owned()]).await;
    assert!(
        findings[1]
            .message
            .starts_with("does not exist; the first event registers"),
        "{findings:?}"
    );
    assert_eq!(findings[2].level, FindingLevel::Broken, "{findings:?}");
    let fresh = registry.ask("GET", "/subjects/fresh-value/versions/latest", None).await;
    assert_eq!(fresh["error_code"], 40401);
    let nobody = format("avro", &[("registry", "http://127.0.0.1:1")]);
    let findings = nobody.probe(&[]).await;
    assert!(findings[0].message.contains("does not answer"), "{findings:?}");
}
