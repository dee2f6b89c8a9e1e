//! Order through everything at once, by seed.

use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control};

use super::driver::{Driver, check};
use super::{connector, fake, log};
use crate::support::events;

/// What befalls a request; `refuse` also brings failures that end a producer.
fn misfortune(random: &mut fastrand::Rng, refuse: bool) -> Control {
    match random.u8(..40) {
        0 => Control::Error(ErrorCode::NotEnoughReplicas),
        1 => Control::Error(ErrorCode::NotLeaderForPartition),
        2 => Control::ApplyThen(Box::new(Control::Disconnect)),
        3 => Control::Disconnect,
        4 => Control::ApplyThen(Box::new(Control::Error(ErrorCode::RequestTimedOut))),
        5 => Control::Delay(Duration::from_millis(30)),
        6 if refuse => Control::Error(ErrorCode::UnknownServerError),
        7 if refuse => Control::Error(ErrorCode::InvalidRecord),
        8 if refuse => Control::ApplyThen(Box::new(Control::Error(ErrorCode::UnknownServerError))),
        _ => Control::Pass,
    }
}

/// The seeds to try: the test's own, or those of `ONEWRITE_SEEDS`, such as `100..200`, for a longer search.
fn seeds(own: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("ONEWRITE_SEEDS") else {
        return own;
    };
    let (from, to) = text.split_once("..").expect("ONEWRITE_SEEDS is FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

async fn order_holds(seed: u64, refuse: bool, give_up_every: u32) {
    let broker = fake("shop.orders", 3).await;
    let random = Mutex::new(fastrand::Rng::with_seed(seed));
    broker.on(ApiKey::Produce, move |_| {
        misfortune(&mut random.lock().unwrap(), refuse)
    });
    let keys: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let batch = events(3_000, &keys);
    let mut driver = Driver::new(connector(&broker.bootstrap_servers(), &[]), &batch, seed);
    driver.give_up_every = give_up_every;
    driver.run().await;
    let repeated = check(&batch, &log(&broker, "shop.orders"), &driver.parked);
    // What a seed did is told where a test fails.
    println!(
        "seed {seed}: {} sinks, {repeated} repeated, {} parked",
        driver.connected,
        driver.parked.len()
    );
    assert!(driver.parked.len() < batch.len() / 10, "{:?}", driver.parked);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_through_errors_that_pass() {
    order_holds(1, false, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_through_refusals_that_end_producers() {
    for seed in seeds(2..5) {
        order_holds(seed, true, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_through_deliveries_given_up() {
    for seed in seeds(5..8) {
        order_holds(seed, true, 6).await;
    }
}
