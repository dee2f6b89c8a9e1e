//! Messages that the broker refuses by closing the channel: it names none, and others were on their way.

use onewrite_core::error::chain;
use onewrite_core::{Action, Event};
use onewrite_testkit::servers::RabbitMq;
use uuid::Uuid;

use super::{connector, ids, name, settle, to};
use crate::support::{deliver, word, words};

/// An event for the exchange that its header names.
fn through(exchange: &str, number: u128, key: &str) -> Event {
    let mut event = to("t", number, Some(key));
    event.headers = vec![("exchange".into(), exchange.into())];
    event
}

const BY_HEADER: (&str, &str) = ("exchange", "{header.exchange}");

async fn exchange_with_queue(rabbit: &RabbitMq, exchange: &str) {
    rabbit.create_exchange(exchange, "topic").await;
    rabbit.create_queue(exchange, "quorum").await;
    rabbit.bind(exchange, exchange, "#").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_exchange_of_an_events_own_parks_it_alone() {
    let rabbit = RabbitMq::shared().await;
    let (good, missing) = (name("good"), name("missing"));
    exchange_with_queue(&rabbit, &good).await;
    let connector = connector(&rabbit.url(), &[BY_HEADER]);
    let sink = connector.connect().await.unwrap();
    let batch: Vec<_> = (1..=60)
        .map(|number| {
            through(
                if number % 10 == 3 { &missing } else { &good },
                number,
                &format!("k{number}"),
            )
        })
        .collect();
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "the channel of the others is not touched: {result:?}");
    for (number, outcome) in (1..=60).zip(&outcomes) {
        assert_eq!(word(outcome), if number % 10 == 3 { "park" } else { "delivered" });
    }
    assert!(
        format!("{outcomes:?}").contains("NOT_FOUND - no exchange"),
        "{outcomes:?}"
    );
    assert_eq!(ids(&rabbit, &good).await.len(), 54);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_deleted_in_mid_run_parks_its_own_events_and_no_innocent() {
    let rabbit = RabbitMq::shared().await;
    let (good, doomed) = (name("good"), name("doomed"));
    exchange_with_queue(&rabbit, &good).await;
    exchange_with_queue(&rabbit, &doomed).await;
    let connector = connector(&rabbit.url(), &[BY_HEADER]);
    let sink = connector.connect().await.unwrap();
    let before = [through(&good, 1, "a"), through(&doomed, 2, "b")];
    assert_eq!(words(&deliver(&*sink, &before).await.1), ["delivered"; 2]);
    rabbit.delete_exchange(&doomed).await;

    let batch: Vec<_> = (10..310)
        .map(|number| {
            through(
                if number % 50 == 5 { &doomed } else { &good },
                number,
                &format!("k{}", number % 100),
            )
        })
        .collect();
    let (result, outcomes) = deliver(&*sink, &batch).await;
    let error = result.unwrap_err();
    assert_eq!(error.action, Action::Reconnect, "{}", chain(&error));
    assert!(
        outcomes.iter().all(|outcome| word(outcome) != "park"),
        "nobody is blamed yet"
    );
    let settled = settle(&*connector, &batch).await;
    let parked: Vec<u128> = settled.parked.iter().map(|(id, _)| id.as_u128()).collect();
    let mut sorted = parked.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [55, 105, 155, 205, 255, 305]);
    let there = ids(&rabbit, &good).await;
    for event in batch.iter().filter(|event| event.id.as_u128() % 50 != 5) {
        assert!(there.contains(&event.id), "{} is there", event.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_exchange_of_the_configuration_holds_everything_back_until_it_is_made() {
    let rabbit = RabbitMq::shared().await;
    let exchange = name("configured");
    let connector = connector(&rabbit.url(), &[("exchange", &exchange)]);
    let sink = connector.connect().await.unwrap();
    let batch = [to("t", 1, Some("a")), to("t", 2, Some("b"))];
    let (_, outcomes) = deliver(&*sink, &batch).await;
    assert_eq!(words(&outcomes), ["retry"; 2]);
    assert!(
        format!("{outcomes:?}").contains("create it, or set declare"),
        "{outcomes:?}"
    );
    exchange_with_queue(&rabbit, &exchange).await;
    let settled = settle(&*connector, &batch).await;
    assert!(settled.parked.is_empty(), "{settled:?}");
    assert_eq!(ids(&rabbit, &exchange).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_larger_than_the_broker_takes_are_parked_and_no_innocent_with_them() {
    let rabbit = RabbitMq::start(&[("max_message_size", "100000"), ("frame_max", "8192")]).await;
    rabbit.create_queue("q", "quorum").await;
    let connector = connector(&rabbit.url(), &[]);
    let sized = |number: u128, size: usize| Event {
        payload: vec![b'x'; size].into(),
        ..to("q", number, Some(&format!("k{}", number % 40)))
    };
    let mut batch: Vec<_> = (1..=200)
        .map(|number| sized(number, if number % 100 == 50 { 100_001 } else { 100 }))
        .collect();
    // As large as it may be, and in many frames.
    batch.push(sized(500, 100_000));
    // Headers cannot be split over frames.
    let mut wordy = sized(600, 1);
    wordy.headers = vec![("x".into(), "y".repeat(8_190).into())];
    batch.push(wordy);
    let settled = settle(&*connector, &batch).await;
    let mut parked: Vec<_> = settled.parked.iter().map(|(id, _)| id.as_u128()).collect();
    parked.sort_unstable();
    assert_eq!(parked, [50, 150, 600], "{:?}", settled.parked);
    let words: String = settled.parked.iter().map(|(_, words)| words.as_str()).collect();
    assert!(words.contains("100000") && words.contains("8192"), "{words}");
    let arrived = rabbit.read_all("q").await;
    let there: Vec<Uuid> = arrived.iter().map(|arrived| arrived.id).collect();
    assert!(settled.delivered.iter().all(|id| there.contains(id)));
    let whole = arrived.iter().find(|arrived| arrived.id.as_u128() == 500).unwrap();
    assert_eq!(whole.payload.len(), 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_the_broker_closes_while_nothing_is_on_it_is_no_events_fault() {
    let rabbit = RabbitMq::start(&[]).await;
    let queues = ["first", "second"];
    for queue in queues {
        rabbit.create_queue(queue, "classic").await;
    }
    let sink = connector(&rabbit.url(), &[]).connect().await.unwrap();
    assert_eq!(words(&deliver(&*sink, &[to("first", 1, None)]).await.1), ["delivered"]);
    // The second channel of the sink is the one for what goes alone.
    // It is made to look for a queue that is not there, as if it had been asked to, and closes.
    let ask = "[rabbit_channel:do(P, {'queue.declare', 0, <<\"nowhere\">>, true, false, false, false, false, []}) \
               || P <- rabbit_channel:list(), rabbit_channel:info(P, [number]) =:= [{number, 2}]].";
    let asked = rabbit.control(&["eval", ask]).await;
    assert!(asked.contains("[ok]"), "{asked}");
    let (result, outcomes) = deliver(&*sink, &[to("second", 2, None)]).await;
    assert!(result.is_ok(), "{result:?} {outcomes:?}");
    assert_eq!(words(&outcomes), ["delivered"]);
    for queue in queues {
        assert_eq!(ids(&rabbit, queue).await.len(), 1);
    }
}
