//! Events without a table.

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_sources::foreign::debezium::{Messages, Problem, Routed, Router};

use super::rows::{PLAIN, line, texts};

fn route(decoding: &[(&str, &str)], options: &[(&str, &str)], content: &'static str) -> Result<Routed, Problem> {
    let router = Router::new(&texts(options), &texts(&PLAIN)).unwrap();
    let messages = Messages::new(&texts(decoding)).unwrap();
    messages.route(&router, &Bytes::from_static(content.as_bytes()), Timestamp::UNIX_EPOCH)
}

#[test]
fn the_content_of_a_message_is_routed_like_a_row() {
    let nested =
        r#"{"id":"7","aggregateid":10,"aggregatetype":"User","type":"Made","payload":{"a":1,"b":null},"x":null}"#;
    for (decoding, options, content, expected) in [
        (&[][..], &[][..], nested, "outbox.event.User 10 id=7 {\"a\":1}"),
        (
            &[("fields.null.include", "true")],
            &[],
            nested,
            "outbox.event.User 10 id=7 {\"a\":1,\"b\":null}",
        ),
        (
            &[],
            &[("table.fields.additional.placement", "type:envelope,type:header:t")],
            r#"{"id":1,"aggregateid":"k","aggregatetype":"User","type":"Made","payload":"text"}"#,
            "outbox.event.User k id=1 t=Made {\"payload\":\"text\",\"type\":\"Made\"}",
        ),
        (
            &[],
            &[
                ("table.fields.additional.placement", "x:header"),
                ("table.field.additional.missing", "ignore"),
            ],
            nested,
            "outbox.event.User 10 id=7 {\"a\":1}",
        ),
        (
            &[],
            &[("table.expand.json.payload", "true")],
            r#"{"id":"7","aggregateid":"k","aggregatetype":"User","payload":"{\"a\": 1}"}"#,
            "outbox.event.User k id=7 {\"a\":1}",
        ),
    ] {
        assert_eq!(line(&route(decoding, options, content).unwrap()), expected);
    }
    assert_eq!(route(&[], &[], nested).unwrap().event_type.as_deref(), Some("Made"));
}

#[test]
fn what_is_no_event_says_why() {
    for (content, words) in [
        (
            "plain",
            "the message that begins with \"plain\" is no event: it begins with \"p\"",
        ),
        ("[1]", "only an object becomes a struct"),
        (r#"{"id":1"#, "is no event: EOF"),
        (
            r#"{"aggregateid":"k","aggregatetype":"U","payload":"p"}"#,
            "the message has no member id",
        ),
        // A member that is null is no member.
        (
            r#"{"id":1,"aggregateid":"k","aggregatetype":"U","payload":null}"#,
            "the message has no member payload",
        ),
        (
            r#"{"id":1,"aggregateid":"k","aggregatetype":5,"payload":"p"}"#,
            "route.by.field names, is a int32",
        ),
    ] {
        match route(&[], &[], content) {
            Err(Problem::Failed(found)) => assert!(found.contains(words), "{found}"),
            other => panic!("{other:?}"),
        }
    }
}
