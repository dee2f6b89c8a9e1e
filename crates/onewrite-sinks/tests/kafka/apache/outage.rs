//! A broker that stands still, dies and comes back.

use onewrite_testkit::servers::Kafka;

use super::log;
use crate::kafka::connector;
use crate::kafka::driver::{Driver, check};
use crate::support::{deliver, events, word};

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_in_mid_batch_and_goes_on_loses_and_repeats_nothing() {
    let kafka = Kafka::start(&[]).await;
    kafka.create_topic("shop.orders", 3, &[]).await;
    let sink = connector(&kafka.bootstrap(), &[]).connect().await.unwrap();
    let batch = events(4_000, &["a", "b", "c", "d", "e", "f"]);
    assert!(deliver(&*sink, &batch[..100]).await.0.is_ok());
    kafka.stop();
    let mut delivery = std::pin::pin!(deliver(&*sink, &batch[100..]));
    let silence = tokio::time::timeout(std::time::Duration::from_secs(2), &mut delivery).await;
    assert!(silence.is_err(), "a stopped broker answered");
    kafka.continue_();
    let (result, outcomes) = delivery.await;
    assert!(result.is_ok(), "{result:?}");
    assert!(outcomes.iter().all(|outcome| word(outcome) == "delivered"));
    assert_eq!(check(&batch, &log(&kafka, "shop.orders").await, &[]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_again_and_again_loses_and_reorders_nothing() {
    let kafka = Kafka::start(&[]).await;
    kafka.create_topic("shop.orders", 3, &[]).await;
    let keys: Vec<String> = (0..60).map(|number| format!("key-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let batch = events(20_000, &keys);
    let mut driver = Driver::new(connector(&kafka.bootstrap(), &[]), &batch, 7);
    driver.give_up_every = 10;
    let mut delivered = driver.delivered.subscribe();
    let killing = async {
        for _ in 0..3 {
            let enough = *delivered.borrow() + 500;
            delivered.wait_for(|count| *count >= enough).await.unwrap();
            kafka.kill9().await;
            kafka.restart().await;
        }
        std::future::pending::<()>().await;
    };
    // The driver has its own deadline; it may come to its end before the last kill.
    tokio::select! {
        () = driver.run() => {}
        () = killing => {}
    }
    kafka.restart().await;
    check(&batch, &log(&kafka, "shop.orders").await, &driver.parked);
    assert!(driver.parked.is_empty(), "{:?}", driver.parked);
    assert!(driver.connected > 1);
}
