//! A broker that answers what it likes.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onewrite_core::Action;
use onewrite_core::error::chain;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{connected, connector, event_for, refused, settle_anew};
use crate::support::{deliver, events, settle, words};

/// A packet of the sink: its first byte, and what follows the length.
struct Packet {
    first: u8,
    body: Vec<u8>,
}

impl Packet {
    /// The identifier of a message, which stands behind its topic, or of a release.
    fn id(&self) -> [u8; 2] {
        let at = match self.first >> 4 {
            PUBLISH => 2 + usize::from(u16::from_be_bytes([self.body[0], self.body[1]])),
            _ => 0,
        };
        [self.body[at], self.body[at + 1]]
    }
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const RELEASE: u8 = 6;
const SUBSCRIBE: u8 = 8;
const PING: u8 = 12;

const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];

/// What it answers, as bytes.
type Script = dyn Fn(&Packet) -> Vec<u8> + Send + Sync;

async fn broker(script: impl Fn(&Packet) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let script: Arc<Script> = Arc::new(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = Arc::clone(&script);
            // A connection that breaks is what some tests want.
            tokio::spawn(async move { serve(stream, &*script).await.ok() });
        }
    });
    url
}

async fn serve(mut stream: TcpStream, script: &Script) -> std::io::Result<()> {
    loop {
        let first = stream.read_u8().await?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let answer = script(&Packet { first, body });
        stream.write_all(&answer).await?;
        if answer.first() == Some(&0xe0) {
            return Ok(());
        }
    }
}

/// An acknowledgement of this kind, with a reason.
fn acknowledge(kind: u8, id: [u8; 2], reason: u8) -> Vec<u8> {
    vec![kind, 3, id[0], id[1], reason]
}

/// A broker that takes everybody, and answers a message of QoS 1 with this reason.
fn reason(reason: u8) -> impl Fn(&Packet) -> Vec<u8> + Send + Sync + 'static {
    move |packet| match packet.first >> 4 {
        CONNECT => CONNACK.to_vec(),
        PUBLISH => acknowledge(0x40, packet.id(), reason),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn every_reason_is_told_from_the_others() {
    for (code, outcome) in [
        (0x00, "delivered"),
        (0x10, "retry"),
        (0x80, "retry"),
        (0x83, "retry"),
        (0x87, "park"),
        (0x90, "park"),
        (0x91, "retry"),
        (0x95, "park"),
        (0x97, "retry"),
        (0x99, "park"),
        (0xff, "retry"),
    ] {
        let sink = connected(&broker(reason(code)).await, &[]).await;
        let (result, outcomes) = deliver(&*sink, &events(1, &["a"])).await;
        result.unwrap();
        assert_eq!(words(&outcomes), [outcome], "{code:#x}");
    }
}

#[tokio::test]
async fn the_brokers_own_words_are_kept() {
    let script = |packet: &Packet| match packet.first >> 4 {
        CONNECT => CONNACK.to_vec(),
        PUBLISH => [&[0x40, 14][..], &packet.id(), &[0x97, 10, 31, 0, 7], b"no room"].concat(),
        _ => Vec::new(),
    };
    let sink = connected(&broker(script).await, &[]).await;
    let (_, outcomes) = deliver(&*sink, &events(1, &["a"])).await;
    let onewrite_core::Outcome::Failed(error) = &outcomes[0] else {
        panic!("it failed")
    };
    assert!(error.to_string().contains("quota exceeded (0x97): no room"), "{error}");
}

#[tokio::test]
async fn qos_2_is_delivered_when_it_is_completed_and_not_before() {
    // The receipt, the completion, and what becomes of the event.
    for (received, completed, outcome) in [
        (0x00, Some(0x00), "delivered"),
        (0x10, Some(0x00), "retry"),
        (0x97, None, "retry"),
        (0x87, None, "park"),
    ] {
        let released = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&released);
        let script = move |packet: &Packet| match packet.first >> 4 {
            CONNECT => CONNACK.to_vec(),
            PUBLISH => acknowledge(0x50, packet.id(), received),
            RELEASE => {
                *seen.lock().unwrap() += 1;
                acknowledge(0x70, packet.id(), completed.unwrap_or_default())
            }
            _ => Vec::new(),
        };
        let sink = connected(&broker(script).await, &[("qos", "2")]).await;
        let (result, outcomes) = deliver(&*sink, &events(1, &["a"])).await;
        result.unwrap();
        assert_eq!(words(&outcomes), [outcome], "{received:#x} {completed:?}");
        assert_eq!(
            *released.lock().unwrap(),
            i32::from(completed.is_some()),
            "{received:#x}"
        );
    }
    // A receipt alone.
    let script = |packet: &Packet| match packet.first >> 4 {
        CONNECT => CONNACK.to_vec(),
        PUBLISH => acknowledge(0x50, packet.id(), 0),
        _ => Vec::new(),
    };
    let sink = connected(&broker(script).await, &[("qos", "2"), ("timeout", "100ms")]).await;
    let (result, outcomes) = deliver(&*sink, &events(1, &["a"])).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(words(&outcomes), ["unknown"]);
}

#[tokio::test]
async fn a_message_that_the_broker_took_and_did_not_complete_is_unknown_whatever_it_says() {
    // What it answers to a release: it does not know it, or it leaves over something.
    for answer in [
        acknowledge(0x70, [0, 1], 0x92),
        vec![0xe0, 1, 0x95],
        vec![0xe0, 1, 0x81],
    ] {
        let told = answer.clone();
        let script = move |packet: &Packet| match packet.first >> 4 {
            CONNECT => CONNACK.to_vec(),
            PUBLISH => acknowledge(0x50, packet.id(), 0),
            RELEASE => told.clone(),
            _ => Vec::new(),
        };
        let sink = connected(&broker(script).await, &[("qos", "2")]).await;
        let (result, outcomes) = deliver(&*sink, &events(2, &["a"])).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect, "{answer:?}");
        assert_eq!(words(&outcomes), ["unknown"; 2], "{answer:?}");
    }
}

#[tokio::test]
async fn a_topic_of_every_event_that_may_not_be_written_to_halts_the_route() {
    for (texts, action) in [
        (&[("topic", "orders")][..], Some(Action::Halt)),
        (&[("topic", "orders/{key}")][..], None),
    ] {
        let published = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&published);
        let script = move |packet: &Packet| match packet.first >> 4 {
            CONNECT => CONNACK.to_vec(),
            PUBLISH => {
                *seen.lock().unwrap() += 1;
                acknowledge(0x40, packet.id(), 0x87)
            }
            _ => Vec::new(),
        };
        let texts = [&[("window", "1")], texts].concat();
        let sink = connected(&broker(script).await, &texts).await;
        let (result, outcomes) = deliver(&*sink, &events(3, &["a", "b", "c"])).await;
        assert_eq!(result.err().map(|error| error.action), action, "{texts:?}");
        let expected = if action.is_some() { "unknown" } else { "park" };
        assert_eq!(words(&outcomes), [expected; 3], "{texts:?}");
        assert_eq!(*published.lock().unwrap(), if action.is_some() { 1 } else { 3 });
    }
}

#[tokio::test]
async fn what_was_not_asked_for_ends_the_session_and_delivers_nothing() {
    let id = [0, 1];
    for (qos, answer) in [
        // Another message's acknowledgement, that of another quality, a completion without a receipt, a second beginning, garbage.
        ("1", acknowledge(0x40, [9, 9], 0)),
        ("1", acknowledge(0x50, id, 0)),
        ("1", acknowledge(0x70, id, 0)),
        ("2", acknowledge(0x40, id, 0)),
        ("2", acknowledge(0x70, id, 0)),
        ("1", CONNACK.to_vec()),
        ("1", vec![0x00, 0x00]),
        ("1", vec![0x40, 0xff, 0xff, 0xff, 0x7f]),
    ] {
        let told = answer.clone();
        let script = move |packet: &Packet| match packet.first >> 4 {
            CONNECT => CONNACK.to_vec(),
            PUBLISH => told.clone(),
            _ => Vec::new(),
        };
        let sink = connected(&broker(script).await, &[("qos", qos)]).await;
        let (result, outcomes) = deliver(&*sink, &events(1, &["a"])).await;
        assert_eq!(result.unwrap_err().action, Action::Reconnect, "{answer:?}");
        assert_eq!(words(&outcomes), ["unknown"], "{answer:?}");
    }
}

#[tokio::test]
async fn a_broker_that_leaves_because_of_one_event_has_that_one_parked_and_gets_the_rest() {
    let kept = Arc::new(Mutex::new(HashSet::new()));
    let keeping = Arc::clone(&kept);
    // It announces no limit, and has one.
    let script = move |packet: &Packet| match packet.first >> 4 {
        CONNECT => CONNACK.to_vec(),
        PUBLISH if packet.body.len() > 2_000 => vec![0xe0, 1, 0x95],
        PUBLISH => {
            keeping.lock().unwrap().insert(packet.body.clone());
            acknowledge(0x40, packet.id(), 0)
        }
        _ => Vec::new(),
    };
    let connector = connector(&broker(script).await, &[]);
    let mut left = events(30, &["a", "b", "c", "d"]);
    left[13].payload = vec![b'x'; 2_000].into();
    assert_eq!(settle_anew(&*connector, left).await, [14]);
    assert!(kept.lock().unwrap().len() >= 29);
}

#[tokio::test]
async fn no_more_is_under_way_than_the_broker_allows() {
    let waiting: Arc<Mutex<Vec<[u8; 2]>>> = Arc::default();
    let most = Arc::new(Mutex::new(0));
    let (held, highest) = (Arc::clone(&waiting), Arc::clone(&most));
    // It lets three wait before it acknowledges any, in the opposite order.
    let script = move |packet: &Packet| match packet.first >> 4 {
        CONNECT => vec![0x20, 6, 0, 0, 3, 33, 0, 3],
        PUBLISH => {
            let mut held = held.lock().unwrap();
            assert!(!held.contains(&packet.id()), "an identifier is used twice");
            held.push(packet.id());
            let mut highest = highest.lock().unwrap();
            *highest = (*highest).max(held.len());
            if held.len() < 3 {
                return Vec::new();
            }
            held.drain(..).rev().flat_map(|id| acknowledge(0x40, id, 0)).collect()
        }
        _ => Vec::new(),
    };
    let sink = connected(&broker(script).await, &[]).await;
    let batch: Vec<_> = (1..=30).map(|number| event_for("t", number, None)).collect();
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    assert_eq!(*most.lock().unwrap(), 3);
}

#[tokio::test]
async fn a_broker_that_gives_no_sign_of_life_is_left() {
    let script = |packet: &Packet| match packet.first >> 4 {
        CONNECT => CONNACK.to_vec(),
        _ => Vec::new(),
    };
    let sink = connected(&broker(script).await, &[("keep_alive", "2s"), ("timeout", "30s")]).await;
    let (result, outcomes) = deliver(&*sink, &events(1, &["a"])).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("no sign of life within 1s"), "{error}");
    assert_eq!((error.action, words(&outcomes)), (Action::Reconnect, vec!["unknown"]));
}

#[tokio::test]
async fn a_broker_that_acknowledges_is_alive_though_it_answers_no_question() {
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let script = move |packet: &Packet| match packet.first >> 4 {
        CONNECT => CONNACK.to_vec(),
        PUBLISH => acknowledge(0x40, packet.id(), 0),
        PING => {
            *counted.lock().unwrap() += 1;
            Vec::new()
        }
        _ => Vec::new(),
    };
    let sink = connected(&broker(script).await, &[("keep_alive", "2s")]).await;
    while *asked.lock().unwrap() < 3 {
        assert!(settle(&*sink, &events(1, &["a"]), 1).await.is_empty());
        tokio::time::sleep(Duration::from_millis(100)).await; // slow on purpose
    }
}

#[tokio::test]
async fn a_refused_connection_halts_only_where_a_person_must_act() {
    let refusal = |reason| vec![0x20, 3, 0, reason, 0];
    for (answer, action, part) in [
        (refusal(0x84), Action::Halt, "does not speak MQTT 5"),
        (refusal(0x85), Action::Halt, "client_id"),
        (refusal(0x86), Action::Halt, "check user, password"),
        (refusal(0x8a), Action::Halt, "banned"),
        (refusal(0x88), Action::Reconnect, "server unavailable"),
        (refusal(0x97), Action::Reconnect, "quota exceeded"),
        // Of MQTT 3.1.1, without properties.
        (vec![0x20, 2, 0, 1], Action::Halt, "does not speak MQTT 5"),
        (vec![0x20, 5, 0, 0, 2, 36, 0], Action::Halt, "QoS 0 at most"),
        (vec![0x20, 5, 0, 0, 2, 37, 0], Action::Halt, "retains no messages"),
        (vec![0xd0, 0], Action::Reconnect, "instead of CONNACK"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Action::Reconnect, ""),
    ] {
        let told = answer.clone();
        let url = broker(move |_: &Packet| told.clone()).await;
        let error = refused(&*connector(&url, &[("retain", "true")])).await;
        assert_eq!(error.action, action, "{answer:?}: {error}");
        assert!(chain(&error).contains(part), "{answer:?}: {}", chain(&error));
    }
}

/// Why nothing can be read back from a broker that begins a session and answers a subscription like this.
async fn not_read_back(connack: &'static [u8], suback: &'static [u8]) -> String {
    let url = broker(move |packet| match packet.first >> 4 {
        CONNECT => connack.to_vec(),
        SUBSCRIBE => suback.to_vec(),
        _ => Vec::new(),
    });
    let read_back = connector(&url.await, &[]).read_back().expect("it can be read back");
    let error = read_back
        .open("onewrite.verify.x")
        .await
        .err()
        .expect("no subscription");
    assert_eq!(error.action, Action::Halt, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_broker_that_keeps_nothing_for_verify_is_told_before_anything_is_written() {
    let denied = not_read_back(CONNACK, &[0x90, 4, 0, 1, 0, 0x87]).await;
    assert!(
        denied.contains("not authorized") && denied.contains("\"onewrite/verify/#\""),
        "{denied}"
    );
    let granted_less = not_read_back(CONNACK, &[0x90, 4, 0, 1, 0, 0]).await;
    assert!(granted_less.contains("no subscription with QoS 1"), "{granted_less}");
    let forgets = not_read_back(&[0x20, 8, 0, 0, 5, 17, 0, 0, 0, 0], &[0x90, 4, 0, 1, 0, 1]).await;
    assert!(forgets.contains("keeps no session beyond its connection"), "{forgets}");
}
