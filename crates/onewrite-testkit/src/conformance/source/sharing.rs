//! Cases of several routes over one outbox.

use onewrite::Event;
use onewrite_core::routing::{Match, Pattern};

use super::SourceHarness;
use super::session::{Session, event, events, exactly, topic};
use crate::conformance::Wrong;

pub(super) async fn shares_are_disjoint_and_complete(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let typed = Match {
        topic: Some(Pattern::new("shop.*")),
        event_type: Some(Pattern::new("Order*")),
    };
    let routes = [
        ("typed", typed),
        ("shop", topic("shop.*")),
        ("odd", topic("50%_*\\")),
        ("literal", topic("Exact.Topic")),
    ];
    let session = Session::with_routes(harness, &routes).await?;
    let topics = [
        "shop.orders",
        "shop.",
        "shop",
        "Shop.orders",
        "50%_x\\",
        "50ax\\",
        "50%_x",
        "Exact.Topic",
        "exact.topic",
        "Exact.Topic.x",
    ];
    let types = [None, Some("OrderPlaced"), Some("order"), Some("Paid")];
    let mut written = Vec::new();
    for name in topics {
        for kind in types {
            let mut event = event(name, Some("key"));
            event.event_type = kind.map(str::to_owned);
            written.push(event);
        }
    }
    session.commit(&written).await?;
    for (at, share) in session.shares.iter().enumerate() {
        let takes = |event: &&Event| share.takes(&event.topic, event.event_type.as_deref());
        let due: Vec<Event> = written.iter().filter(takes).cloned().collect();
        let handed_out = session.feed_of(at).await?.rest().await?;
        exactly(&due, &handed_out).map_err(|wrong| wrong.when(&format!("on route {}", share.route)))?;
    }
    Ok(())
}

pub(super) async fn routes_settle_each_for_itself(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::with_routes(harness, &[("a", topic("a")), ("b", topic("b"))]).await?;
    let mut written = Vec::new();
    for mut event in events(40, 4) {
        event.topic = ["a", "b"][written.len() % 2].to_owned();
        written.push(event);
    }
    session.commit(&written).await?;
    let of = |topic: &str| {
        written
            .iter()
            .filter(|event| event.topic == topic)
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut a = session.feed_of(0).await?;
    exactly(&of("a"), &a.rest().await?)?;
    a.settle(&[]).await?;
    exactly(&[], &session.feed_of(0).await?.rest().await?)?;
    let mut b = session.feed_of(1).await?;
    exactly(&of("b"), &b.rest().await?)
        .map_err(|wrong| wrong.when("after another route settled everything of its own"))?;
    b.settle(&[]).await?;
    exactly(&[], &session.feed_of(1).await?.rest().await?)
}
