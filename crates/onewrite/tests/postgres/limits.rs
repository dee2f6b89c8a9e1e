//! The limits hold for a plain `INSERT` from any language as well.

use onewrite::limits::{
    CONSUMER_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, KEY_BYTES_MAX, PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX, TYPE_BYTES_MAX,
};

use super::database::{Database, count, refusal};

fn insert(columns: &str, values: &str) -> String {
    format!("INSERT INTO onewrite.outbox ({columns}) VALUES ({values})")
}

#[tokio::test]
async fn each_limit_is_a_constraint_that_names_it() {
    let client = Database::migrated().await.owner().await;
    let over = |column: &str, bytes: usize| {
        insert(
            &format!("{column}, payload, topic"),
            &format!("repeat('x', {}), '', 't'", bytes + 1),
        )
    };
    let topic = format!("repeat('x', {}), ''", TOPIC_BYTES_MAX + 1);
    let payload = format!("'t', convert_to(repeat('x', {}), 'UTF8')", PAYLOAD_BYTES_MAX + 1);
    let refused = [
        (insert("topic, payload", "'', ''"), "topic_has_1_to_249_bytes"),
        (insert("topic, payload", &topic), "topic_has_1_to_249_bytes"),
        (over("key", KEY_BYTES_MAX), "key_has_at_most_1024_bytes"),
        (over("key", 9_999), "key_has_at_most_1024_bytes"),
        (over("type", TYPE_BYTES_MAX), "type_has_at_most_255_bytes"),
        (
            over("content_type", CONTENT_TYPE_BYTES_MAX),
            "content_type_has_at_most_255_bytes",
        ),
        (insert("topic, payload", &payload), "payload_has_at_most_64_mib"),
        (
            insert("topic, payload, occurred_at", "'t', '', 'infinity'"),
            "occurred_at_is_from_1970_to_9998",
        ),
        (
            insert("topic, payload, occurred_at", "'t', '', '9999-01-01Z'"),
            "occurred_at_is_from_1970_to_9998",
        ),
        (
            insert("topic, payload, headers", "'t', '', '[]'"),
            "headers_are_a_json_object",
        ),
        (
            insert(
                "topic, payload, headers",
                "'t', '', jsonb_build_object('x', repeat('x', 40000))",
            ),
            "headers_have_at_most_32_kib",
        ),
    ];
    for (statement, constraint) in refused {
        let told = refusal(&client, &statement).await;
        assert!(
            told.starts_with("23514: ") && told.contains(constraint),
            "{statement}: {told}"
        );
    }
    for (statement, state) in [
        (insert("payload", "''"), "23502: "),
        (insert("topic", "'t'"), "23502: "),
        (insert("topic, payload", "E't\\x00', ''"), "22021: "),
        (
            insert("topic, payload, headers", r#"'t', '', '{"x": "\u0000"}'"#),
            "22P05: ",
        ),
        (insert("topic, payload, key", "'t', '', chr(0)"), "54000: "),
    ] {
        let told = refusal(&client, &statement).await;
        assert!(told.starts_with(state), "{statement}: {told}");
    }
    assert_eq!(count(&client).await, 0);
}

#[tokio::test]
async fn what_is_just_within_the_limits_passes() {
    let client = Database::migrated().await.owner().await;
    let text = |bytes: usize| format!("repeat('x', {bytes})");
    let values = [
        text(TOPIC_BYTES_MAX),
        text(KEY_BYTES_MAX),
        text(TYPE_BYTES_MAX),
        text(CONTENT_TYPE_BYTES_MAX),
        "''".to_owned(),
    ];
    let statement = insert("topic, key, type, content_type, payload", &values.join(", "));
    client.batch_execute(&statement).await.expect("insert");
    // The most that the crate lets pass: 64 headers of 8 KiB together, each byte of which JSON escapes.
    let headers = "(SELECT jsonb_object_agg('h' || 100 + n, repeat('\"', 124)) FROM generate_series(1, 64) AS n)";
    client
        .batch_execute(&insert("topic, payload, headers", &format!("'t', '', {headers}")))
        .await
        .expect("insert");
    assert_eq!(count(&client).await, 2);
}

#[tokio::test]
async fn a_consumer_has_a_name_of_bounded_length() {
    let client = Database::migrated().await.owner().await;
    for length in [0, CONSUMER_BYTES_MAX + 1] {
        let statement = format!("SELECT onewrite.receive(repeat('x', {length}), gen_random_uuid())");
        let told = refusal(&client, &statement).await;
        assert!(told.contains("consumer_has_1_to_255_bytes"), "{told}");
    }
}
