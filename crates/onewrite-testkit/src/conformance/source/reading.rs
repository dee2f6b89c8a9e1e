//! Cases of reading.

use std::pin::pin;
use std::time::Duration;

use onewrite::Event;
use onewrite_core::BatchLimit;
use onewrite_core::limits::HEADERS_MAX;
use serde_json::json;
use tokio::time::timeout;

use super::session::{DEADLINE, Session, event, events, exactly};
use super::{PlainRow, SourceHarness};
use crate::conformance::Wrong;

pub(super) async fn where_nothing_is_nothing_comes_and_waiting_ends(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let mut feed = session.feed().await?;
    exactly(&[], &feed.rest().await?)?;
    let written = [event("shop.orders", None)];
    {
        let mut waiting = pin!(feed.source.wait());
        // Begins to wait before there is anything.
        let _ = futures::poll!(waiting.as_mut());
        session.commit(&written).await?;
        if timeout(DEADLINE, waiting).await.is_err() {
            return Err(Wrong::new(
                "waiting ends once there is something",
                format!("not within {DEADLINE:?}"),
            ));
        }
    }
    exactly(&written, &feed.until(1).await?)
}

pub(super) async fn everything_committed_comes_once_in_order(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let (before, during, after) = (events(300, 7), events(40, 7), events(1, 1));
    for some in before.chunks(90) {
        session.commit(some).await?;
    }
    let mut feed = session.feed().await?;
    let mut handed_out = feed
        .read(BatchLimit {
            events: 100,
            bytes: 1 << 20,
        })
        .await?;
    session.commit(&during).await?;
    handed_out.extend(feed.rest().await?);
    session.commit(&after).await?;
    let written = [before, during, after].concat();
    handed_out.extend(feed.until(written.len() - handed_out.len()).await?);
    handed_out.extend(feed.rest().await?);
    exactly(&written, &handed_out)
}

pub(super) async fn events_come_as_they_were_written(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let headers = (0..HEADERS_MAX).fold(event("shop.orders", Some("headers")), |event, at| {
        event.header(format!("header-{at}"), format!("Grüße {at} \"quoted\" \\ 🦀"))
    });
    let mut written = vec![
        Event::new("shop.orders", Vec::new()).key("empty"),
        Event::new("Thema.äöü 你", (0..=255_u8).collect::<Vec<u8>>())
            .key("Schlüssel 🔑\n\t'\"\\")
            .event_type("Ü''\\x"),
        Event::new("shop.orders", b"\0\xff".to_vec()).content_type("text/plain; charset=\"utf-8\""),
        Event::new("shop.orders", vec![7; 3 << 20]).key("large"),
        event("shop.orders", Some("")),
        headers,
    ];
    session.commit(&written).await?;
    let handed_out = session.feed().await?.rest().await?;
    exactly(&written, &handed_out)?;
    for event in &mut written {
        let Some(found) = handed_out.iter().find(|sourced| sourced.event.id == event.id) else {
            continue;
        };
        if let Some(defect) = &found.defect {
            return Err(Wrong::new(
                "a valid event has no defect",
                format!("{:?}: {defect}", event.key),
            ));
        }
        let found = &found.event;
        let mut found_headers: Vec<(String, String)> = found
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        found_headers.sort();
        event.headers.sort();
        let same = *found.topic == event.topic
            && found.event_type.as_deref() == event.event_type.as_deref()
            && found.payload == event.payload
            && *found.content_type == event.content_type
            && found_headers == event.headers;
        if !same {
            let seen = format!("{event:?} came as {found:?}")
                .chars()
                .take(2_000)
                .collect::<String>();
            return Err(Wrong::new("events come as they were written", seen));
        }
    }
    Ok(())
}

pub(super) async fn what_is_rolled_back_never_comes(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let overlap = harness.writers_overlap();
    let session = Session::new(harness).await?;
    let mut feed = session.feed().await?;
    let mut handed_out = Vec::new();
    let mut committed = Vec::new();
    for at in 0..6 {
        let some = events(5, 3);
        let mut transaction = session.begin().await?;
        transaction.append(&some).await?;
        if overlap {
            handed_out.extend(feed.rest().await?);
        }
        match at % 3 {
            0 => transaction.rollback().await?,
            1 => drop(transaction),
            _ => {
                transaction.commit().await?;
                committed.extend(some);
            }
        }
        handed_out.extend(feed.rest().await?);
    }
    handed_out.extend(feed.until(committed.len().saturating_sub(handed_out.len())).await?);
    exactly(&committed, &handed_out)
}

pub(super) async fn limits_hold_but_one_event_always_comes(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let written = events(60, 4);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let mut handed_out = Vec::new();
    // Of 100 bytes each: the third crosses 250 bytes and still comes.
    for (events, bytes, most) in [
        (7, 1 << 20, 7),
        (1_000, 250, 3),
        (1, 1 << 20, 1),
        (1_000, 1, 1),
        (5, 250, 3),
    ] {
        let some = feed.read(BatchLimit { events, bytes }).await?;
        if some.is_empty() || some.len() > most {
            let seen = format!("{} events for a limit of {events} events and {bytes} bytes", some.len());
            return Err(Wrong::new(format!("1 to {most} events of 100 bytes"), seen));
        }
        handed_out.extend(some);
    }
    loop {
        let some = feed
            .read(BatchLimit {
                events: 3,
                bytes: 1 << 20,
            })
            .await?;
        if some.is_empty() {
            return exactly(&written, &handed_out);
        }
        handed_out.extend(some);
    }
}

pub(super) async fn a_dropped_read_loses_nothing(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let mut random = fastrand::Rng::with_seed(3);
    let written = events(200, 5);
    for some in written.chunks(20) {
        session.commit(some).await?;
    }
    let limit = BatchLimit {
        events: 9,
        bytes: 1 << 20,
    };
    let mut feed = session.feed().await?;
    // A part is pending from before, so that those are read by dropped reads as well.
    let first = feed
        .read(BatchLimit {
            events: 30,
            bytes: 1 << 20,
        })
        .await?;
    let pending: Vec<_> = first.iter().map(|sourced| sourced.position).collect();
    feed.settle(&pending).await?;
    let mut feed = session.feed().await?;
    let mut handed_out = Vec::new();
    loop {
        let dropped = {
            let mut reading = pin!(feed.source.next_batch(limit));
            let polls = random.u32(0..4);
            let time = Duration::from_micros(random.u64(0..1_500));
            let mut polled = None;
            for _ in 0..polls {
                polled = match futures::poll!(reading.as_mut()) {
                    std::task::Poll::Ready(read) => Some(read),
                    std::task::Poll::Pending => timeout(time, reading.as_mut()).await.ok(),
                };
                if polled.is_some() {
                    break;
                }
            }
            polled
        };
        if let Some(read) = dropped {
            let read = read.map_err(|error| super::session::works("reading", &error))?;
            feed.look(&read)?;
            handed_out.extend(read);
        } else if random.bool() {
            let read = feed.read(limit).await?;
            if read.is_empty() {
                return exactly(&written, &handed_out);
            }
            handed_out.extend(read);
        }
    }
}

pub(super) async fn a_row_that_is_no_event_comes_with_its_defect(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let good = event("shop.orders", Some("good"));
    let mut odd = Vec::new();
    for headers in [
        json!({"nested": {"a": 1}}),
        json!({"list": [1, 2]}),
        json!({"onewrite-id": "forged"}),
        json!({"a": "b\r\nc: d"}),
    ] {
        odd.push(PlainRow {
            headers,
            ..PlainRow::from(&event("shop.orders", Some("odd")))
        });
    }
    let fine = PlainRow {
        headers: json!({"number": 7, "flag": true, "nothing": null}),
        ..PlainRow::from(&event("shop.orders", Some("fine")))
    };
    // A database may refuse such rows itself; those that it takes must come.
    let mut taken = Vec::new();
    for row in odd {
        let mut transaction = session.begin().await?;
        if transaction.insert(row.clone()).await.is_ok() && transaction.commit().await.is_ok() {
            taken.push(row);
        }
    }
    let mut transaction = session.begin().await?;
    transaction.insert(fine.clone()).await?;
    transaction.append(std::slice::from_ref(&good)).await?;
    transaction.commit().await?;
    let handed_out = session.feed().await?.rest().await?;
    if handed_out.len() != taken.len() + 2 {
        let seen = format!("{} of {} rows came", handed_out.len(), taken.len() + 2);
        return Err(Wrong::new(
            "a row that is no event hides no other and is not passed over",
            seen,
        ));
    }
    for sourced in &handed_out {
        let is_odd = taken.iter().any(|row| row.id == sourced.event.id);
        if is_odd != sourced.defect.is_some() {
            let seen = format!("key {:?}: defect {:?}", sourced.event.key, sourced.defect);
            return Err(Wrong::new("exactly the rows that are no event have a defect", seen));
        }
        if sourced.event.id == fine.id && sourced.event.headers.len() != 2 {
            let seen = format!("{:?}", sourced.event.headers);
            return Err(Wrong::new(
                "numbers and booleans in headers are texts, and null is left out",
                seen,
            ));
        }
    }
    Ok(())
}
