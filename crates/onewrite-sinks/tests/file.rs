//! The file sink on real files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use onewrite_core::error::chain;
use onewrite_core::options::Options;
use onewrite_core::sink::FindingLevel;
use onewrite_core::{Action, DeliveryReport, SinkConnector};
use onewrite_sinks::file::{FIELDS, build};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{deliver, event, events, settle, words};

fn connector(path: &Path) -> Arc<dyn SinkConnector> {
    build(&Options::from_texts("sinks.log", FIELDS, &[("path", path.to_str().unwrap())]).unwrap()).unwrap()
}

fn place() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    (directory, path)
}

/// The numbers of the events in a file; every line is whole JSON.
fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    let number = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["payload"]["number"]
            .as_u64()
            .unwrap()
    };
    text.lines().map(number).collect()
}

#[tokio::test]
async fn events_are_lines_and_a_new_connection_goes_on_after_them() {
    let (_directory, path) = place();
    let connector = connector(&path);
    for batch in events(6, &["a", "b"]).chunks(3) {
        let sink = connector.connect().await.unwrap();
        let (result, outcomes) = deliver(&*sink, batch).await;
        result.unwrap();
        assert_eq!(words(&outcomes), ["delivered"; 3]);
    }
    assert_eq!(numbers(&path), [1, 2, 3, 4, 5, 6]);
    let first: Value = serde_json::from_str(fs::read_to_string(&path).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!(first["id"], "00000000-0000-0000-0000-000000000001");
    assert_eq!(first["key"], "a");
}

#[tokio::test]
async fn a_line_that_a_crash_left_unfinished_is_mended() {
    let whole = "{\"id\":\"x\",\"payload\":{\"number\":7}}";
    for (left, expected) in [
        (format!("{whole}\n{}", &whole[..20]), vec![7, 1]),
        (format!("{whole}\n{{"), vec![7, 1]),
        (format!("{whole}\n{whole}"), vec![7, 7, 1]),
        (format!("{whole}\n{}", "\0".repeat(100)), vec![7, 1]),
        (whole[..20].to_owned(), vec![1]),
        // As the format cloudevents begins one.
        (format!("{whole}\n{{\"specversion\":\"1.0\",\"id\""), vec![7, 1]),
        (format!("{whole}\n{}{}", &whole[..8], "x".repeat(200_000)), vec![7, 1]),
    ] {
        let (_directory, path) = place();
        fs::write(&path, &left).unwrap();
        let connector = connector(&path);
        assert_eq!(connector.probe(&[]).await[0].level, FindingLevel::Warning);
        assert_eq!(fs::read_to_string(&path).unwrap(), left, "a check changes nothing");
        let sink = connector.connect().await.unwrap();
        deliver(&*sink, &events(1, &["a"])).await.0.unwrap();
        assert_eq!(numbers(&path), expected);
    }
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_left_alone() {
    let (directory, path) = place();
    fs::write(&path, "root:x:0:0:root").unwrap();
    let error = connector(&path).connect().await.err().unwrap();
    assert_eq!(error.action, Action::Halt);
    assert!(error.to_string().contains("not written by Onewrite"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "root:x:0:0:root");
    for path in [directory.path(), Path::new("/dev/null")] {
        let connector = connector(path);
        assert_eq!(connector.connect().await.err().unwrap().action, Action::Halt);
        assert_eq!(connector.probe(&[]).await[0].level, FindingLevel::Broken);
    }
}

#[tokio::test]
async fn a_file_that_was_moved_away_or_removed_is_opened_anew() {
    let (directory, path) = place();
    let moved = directory.path().join("events.jsonl.1");
    let sink = connector(&path).connect().await.unwrap();
    deliver(&*sink, &[event(1, None)]).await.0.unwrap();
    fs::rename(&path, &moved).unwrap();
    deliver(&*sink, &[event(2, None)]).await.0.unwrap();
    fs::remove_file(&path).unwrap();
    deliver(&*sink, &[event(3, None)]).await.0.unwrap();
    assert_eq!((numbers(&moved), numbers(&path)), (vec![1], vec![3]));
}

#[tokio::test]
async fn a_file_has_one_writer() {
    let (_directory, path) = place();
    let (first, second) = (connector(&path), connector(&path));
    let sink = first.connect().await.unwrap();
    let error = second.connect().await.err().unwrap();
    assert_eq!(error.action, Action::Retry { after: None });
    assert!(error.to_string().contains("another process or another sink"), "{error}");
    assert_eq!(second.probe(&[]).await[0].level, FindingLevel::Warning);
    sink.close().await.unwrap();
    second.connect().await.unwrap();
}

#[tokio::test]
async fn a_missing_directory_is_waited_for() {
    let (directory, _) = place();
    let path = directory.path().join("later/events.jsonl");
    let connector = connector(&path);
    let error = connector.connect().await.err().unwrap();
    assert_eq!(error.action, Action::Reconnect);
    assert!(chain(&error).contains("later/events.jsonl"), "{}", chain(&error));
    assert_eq!(connector.probe(&[]).await[0].level, FindingLevel::Broken);
    fs::create_dir(directory.path().join("later")).unwrap();
    assert_eq!(connector.probe(&[]).await[0].level, FindingLevel::Works);
    let sink = connector.connect().await.unwrap();
    deliver(&*sink, &[event(1, None)]).await.0.unwrap();
}

#[tokio::test]
async fn closing_may_be_repeated_and_ends_the_sink() {
    let (_directory, path) = place();
    let connector = connector(&path);
    let old = connector.connect().await.unwrap();
    old.close().await.unwrap();
    old.close().await.unwrap();
    let (result, outcomes) = deliver(&*old, &[event(1, None)]).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(words(&outcomes), ["unknown"]);
    // A new connection ends an old sink that was not closed, and closing the old one leaves the new one alone.
    let old = connector.connect().await.unwrap();
    let new = connector.connect().await.unwrap();
    assert_eq!(
        deliver(&*old, &[event(2, None)]).await.0.unwrap_err().action,
        Action::Reconnect
    );
    old.close().await.unwrap();
    deliver(&*new, &[event(3, None)]).await.0.unwrap();
    assert_eq!(numbers(&path), [3]);
}

#[tokio::test]
async fn a_cancelled_delivery_writes_nothing_after_the_next_one() {
    let (_directory, path) = place();
    let connector = connector(&path);
    let mut sink = connector.connect().await.unwrap();
    let batch = events(50, &["a"]);
    for round in 0..40 {
        let mut report = DeliveryReport::new(batch.len());
        // One poll is enough to hand the lines over; then the caller goes away, most often before they are written.
        let _ = sink.deliver(&batch, &mut report).now_or_never();
        if round % 4 == 0 {
            sink = connector.connect().await.unwrap();
        }
        settle(&*sink, &batch, 1).await;
        // Each repetition is whole and in order, so nothing of the cancelled one came after the next.
        for repetition in numbers(&path).chunks(50) {
            assert!(repetition.iter().copied().eq(1..=50), "{repetition:?}");
        }
    }
}

#[test]
fn a_dash_is_standard_output_and_an_empty_path_is_told() {
    assert_eq!(connector(Path::new("-")).kind(), "stdout");
    let options = Options::from_texts("sinks.log", FIELDS, &[("path", "")]).unwrap();
    let error = build(&options).err().unwrap().to_string();
    assert!(error.starts_with("sinks.log.path: is empty"), "{error}");
}
