//! How long a registry is waited for, and what it means for others that one subject cannot be had.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use onewrite_core::{Event, Sink};
use onewrite_testkit::memory::MemoryBroker;
use onewrite_testkit::wait;

use crate::stub::{Answer, Request, Stub};
use crate::support::{deliver, event, format, sink};

const SCHEMA: &str = r#"{"id":7,"version":1,"schema":"{\"type\":\"map\",\"values\":\"int\"}"}"#;

/// An event of a topic, with a key of its own.
fn of(number: u128, topic: &str) -> Event {
    Event {
        topic: topic.into(),
        ..event(number, Some(&number.to_string()), "{\"n\":1}")
    }
}

/// Avro behind a broker in memory.
async fn avro(registry: &str, more: &[(&str, &str)]) -> Box<dyn Sink> {
    let mut options = vec![("registry", registry), ("subject", "{topic}")];
    options.extend(more);
    sink(MemoryBroker::new().connector(), Some(format("avro", &options)), None).await
}

fn asks_for(request: &Request, subject: &str) -> bool {
    request.line.contains(&format!("/subjects/{subject}/"))
}

/// Addresses that take connections and never say a word.
fn silent(count: usize) -> (Vec<TcpListener>, String) {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let urls: Vec<_> = listeners
        .iter()
        .map(|listener| format!("http://{}", listener.local_addr().unwrap()))
        .collect();
    (listeners, urls.join(","))
}

#[tokio::test]
async fn the_timeout_is_that_of_all_addresses_together() {
    let (_listeners, urls) = silent(6);
    let timeout = Duration::from_millis(600);
    let sink = avro(&urls, &[("timeout", "600ms")]).await;
    let begun = Instant::now();
    let (result, words) = deliver(&*sink, &[of(1, "a"), of(2, "b")]).await;
    assert!(result.is_ok());
    assert!(words.iter().all(|word| word.starts_with("Retry")), "{words:?}");
    assert!(begun.elapsed() < 3 * timeout, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn silent_addresses_do_not_keep_the_one_that_answers_from_being_asked() {
    let (_listeners, urls) = silent(2);
    let up = Stub::answering(|_| Answer::new(200, SCHEMA)).await;
    let sink = avro(&format!("{urls},{}", up.url()), &[("timeout", "900ms")]).await;
    assert_eq!(deliver(&*sink, &[of(1, "a")]).await.1, ["delivered"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_look_up_goes_on_when_its_delivery_is_given_up() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let (noted, held) = (Arc::clone(&asked), Mutex::new(held));
    let up = Stub::answering(move |_| {
        noted.fetch_add(1, Ordering::SeqCst);
        // Whatever waits behind this on the same thread goes on elsewhere.
        tokio::task::block_in_place(|| held.lock().unwrap().recv().unwrap());
        Answer::new(200, SCHEMA)
    });
    let sink = avro(&up.await.url(), &[]).await;
    let batch = [of(1, "a")];
    tokio::select! {
        _ = deliver(&*sink, &batch) => panic!("nothing was answered yet"),
        () = wait::until("a question", async || (asked.load(Ordering::SeqCst) == 1).then_some(())) => {}
    }
    // Once for each who asks.
    let_go.send(()).unwrap();
    let_go.send(()).unwrap();
    assert_eq!(deliver(&*sink, &batch).await.1, ["delivered"]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refresh_that_failed_says_nothing_of_a_new_subject() {
    let trouble = Arc::new(AtomicBool::new(false));
    let begun = Arc::clone(&trouble);
    let registry = Stub::answering(move |request| {
        if asks_for(request, "old") && begun.load(Ordering::SeqCst) {
            return Answer::new(503, "trouble");
        }
        Answer::new(200, SCHEMA)
    });
    let sink = avro(&registry.await.url(), &[("cache_ttl", "0s")]).await;
    assert_eq!(deliver(&*sink, &[of(1, "old")]).await.1, ["delivered"]);
    trouble.store(true, Ordering::SeqCst);
    let batch = [of(2, "old"), of(3, "new"), of(4, "old")];
    assert_eq!(deliver(&*sink, &batch).await.1, ["delivered"; 3]);
}

#[tokio::test]
async fn a_known_schema_is_used_whatever_is_answered_when_a_newer_one_is_looked_for() {
    for (status, body) in [
        (200, "<html>maintenance</html>"),
        (302, ""),
        (401, ""),
        (403, "<html>forbidden</html>"),
        (404, "<html>no such page</html>"),
        (404, r#"{"error_code":40401,"message":"Subject 'a' not found."}"#),
        (200, r#"{"id":8,"version":2,"schemaType":"JSON","schema":"{}"}"#),
    ] {
        let trouble = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&trouble);
        let registry = Stub::answering(move |_| match begun.load(Ordering::SeqCst) {
            true => Answer::new(status, body),
            false => Answer::new(200, SCHEMA),
        });
        let registry = registry.await;
        let sink = avro(&registry.url(), &[("cache_ttl", "0s")]).await;
        assert_eq!(deliver(&*sink, &[of(1, "a")]).await.1, ["delivered"]);
        trouble.store(true, Ordering::SeqCst);
        let (result, words) = deliver(&*sink, &[of(2, "a"), of(3, "a")]).await;
        assert!(result.is_ok(), "{status} {body}: {result:?}");
        assert_eq!(words, ["delivered"; 2], "{status} {body}");
        assert_eq!(registry.seen().len(), 2, "asked again, and then left in peace");
    }
}

#[tokio::test]
async fn a_subject_that_is_always_in_trouble_does_not_keep_others_from_being_asked_for() {
    let registry = Stub::answering(move |request| {
        if asks_for(request, "bad") {
            return Answer::new(500, "trouble");
        }
        Answer::new(200, SCHEMA)
    });
    let sink = avro(&registry.await.url(), &[]).await;
    let batch = [of(1, "bad"), of(2, "good")];
    // As core comes back to them: together, and the first in front.
    let words = wait::until("the second event", async || {
        let (_, words) = deliver(&*sink, &batch).await;
        (words[1] == "delivered").then_some(words)
    });
    assert!(words.await[0].starts_with("Retry"));
}

#[tokio::test]
async fn a_subject_that_is_forbidden_parks_its_own_events_alone() {
    let registry = Stub::answering(|request| {
        if asks_for(request, "secret") {
            let words = r#"{"error_code":40301,"message":"User is denied operation Read on Subject: secret"}"#;
            return Answer::new(403, words);
        }
        Answer::new(200, SCHEMA)
    });
    let sink = avro(&registry.await.url(), &[]).await;
    let (result, words) = deliver(&*sink, &[of(1, "secret"), of(2, "open")]).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(
        words[0].starts_with("Park: ") && words[0].contains("denied operation Read"),
        "{words:?}"
    );
    assert_eq!(words[1], "delivered");
}
