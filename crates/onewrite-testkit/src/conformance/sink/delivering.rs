//! Cases without a fault.

use std::time::Duration;

use onewrite_core::limits::{BATCH_EVENTS, KEY_BYTES_MAX};
use onewrite_core::sink::FindingLevel;
use onewrite_core::{Event, Outcome};

use super::drive::{Drive, deliver};
use super::events::Maker;
use super::{SinkHarness, expect};
use crate::conformance::Wrong;

pub(super) async fn a_batch_of_one_arrives(harness: &mut dyn SinkHarness) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let findings = destination
        .connector
        .probe(std::slice::from_ref(&destination.topic))
        .await;
    if let Some(broken) = findings.iter().find(|finding| finding.level == FindingLevel::Broken) {
        return Err(Wrong::new(
            "a probe finds nothing broken where nothing is",
            format!("{broken:?}"),
        ));
    }
    let mut drive = Drive::new(&destination, harness);
    let sent = [Maker::new(&destination.topic).event(Some("one"))];
    drive.all(&sent).await?;
    let arrived = harness.read_back().await?;
    expect::arrived_in_order(&sent, &drive.said, &arrived)?;
    if arrived.len() > 1 {
        let seen = format!("{} times, with no fault anywhere", arrived.len());
        return Err(Wrong::new("an event is delivered once where nothing fails", seen));
    }
    drive.close().await
}

pub(super) async fn a_batch_of_two_thousand_arrives_in_order(harness: &mut dyn SinkHarness) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let mut drive = Drive::new(&destination, harness);
    let mut maker = Maker::new(&destination.topic);
    let mut sent = maker.events(BATCH_EVENTS - 100, 37);
    sent.extend((0..100).map(|_| maker.event(None)));
    drive.all(&sent).await?;
    expect::arrived_in_order(&sent, &drive.said, &harness.read_back().await?)?;
    drive.close().await
}

pub(super) async fn many_batches_at_once_arrive_in_order(harness: &mut dyn SinkHarness) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let mut drive = Drive::new(&destination, harness);
    drive.concurrency(4);
    let sent = Maker::new(&destination.topic).events(4_000, 101);
    drive.all(&sent).await?;
    expect::arrived_in_order(&sent, &drive.said, &harness.read_back().await?)?;
    drive.close().await
}

pub(super) async fn events_arrive_untouched(harness: &mut dyn SinkHarness) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let mut drive = Drive::new(&destination, harness);
    let sent = odd_events(&mut Maker::new(&destination.topic));
    drive.all(&sent).await?;
    expect::parked_only(&drive.said, &[])?;
    expect::untouched(&sent, &harness.read_back().await?)?;
    drive.close().await
}

pub(super) async fn closing_twice_is_harmless(harness: &mut dyn SinkHarness) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let mut drive = Drive::new(&destination, harness);
    let mut maker = Maker::new(&destination.topic);
    let sent = maker.events(50, 5);
    drive.all(&sent).await?;
    let sink = drive.sink().await?;
    for time in ["first", "second"] {
        if let Err(error) = sink.close().await {
            return Err(Wrong::new(
                "closing twice is harmless",
                format!("the {time} time: {error}"),
            ));
        }
    }
    let late = maker.events(3, 3);
    let round = deliver(sink, &late, Duration::from_secs(30)).await;
    let arrived = harness.read_back().await?;
    for (event, outcome) in late.iter().zip(&round.outcomes) {
        if matches!(outcome, Outcome::Delivered) && !arrived.iter().any(|found| found.id == event.id) {
            let seen = format!("{} was reported delivered by a closed sink and is not there", event.id);
            return Err(Wrong::new("a closed sink delivers nothing and says so", seen));
        }
        if let Outcome::Failed(error) = outcome
            && error.action == onewrite_core::Action::Park
        {
            return Err(Wrong::new("a closed sink parks nothing", error.to_string()));
        }
    }
    drive.drop_sink();
    drive.all(&late).await?;
    let all = [sent, late].concat();
    expect::arrived_in_order(&all, &drive.said, &harness.read_back().await?)?;
    drive.close().await
}

/// Everything that an outbox may hold and that a careless sink would spoil.
fn odd_events(maker: &mut Maker) -> Vec<Event> {
    let mut events = Vec::new();
    let mut odd = |key: Option<&str>, change: &dyn Fn(&mut Event)| {
        let mut event = maker.event(key);
        change(&mut event);
        events.push(event);
    };
    odd(Some("empty payload"), &|event| event.payload = Default::default());
    odd(Some("every byte"), &|event| {
        event.payload = (0..=255_u8).cycle().take(1024).collect()
    });
    odd(Some("not UTF-8"), &|event| {
        event.payload = vec![0xff, 0xfe, 0x00, 0x0a].into()
    });
    odd(Some("no headers, no type"), &|event| {
        (event.headers, event.event_type) = (Vec::new(), None)
    });
    odd(Some("sixty headers"), &|event| {
        event.headers = (0..60)
            .map(|at| (format!("header-{at}").into(), format!("value {at}").into()))
            .collect();
    });
    odd(Some("a header's value in letters of all kinds"), &|event| {
        let text = "Grüße, 你好, 🦀; %41 \"quoted\" back\\slash";
        event.headers = vec![("x-text".into(), text.into()), ("x-empty".into(), "".into())];
    });
    odd(Some("a content-type header of its own"), &|event| {
        event.headers = vec![("Content-Type".into(), "text/forged".into())];
        event.content_type = "application/vnd.shop+json; charset=utf-8".into();
    });
    odd(None, &|_| {});
    odd(Some(""), &|_| {});
    for key in [
        "Schlüssel äöü",
        "鍵",
        "🔑",
        "a\nb\tc",
        "50 %41 +/?#&=",
        " spaces ",
        "\u{1}\u{7f}\u{85}",
    ] {
        odd(Some(key), &|_| {});
    }
    odd(Some(&"k".repeat(KEY_BYTES_MAX)), &|_| {});
    events
}
