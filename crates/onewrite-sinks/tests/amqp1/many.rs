//! Many messages.

use onewrite_testkit::servers::{ActiveMq, Artemis, ArtemisSettings, Qpid};

use super::{LOGIN, connector, event_for};
use crate::support::settle;

#[tokio::test(flavor = "multi_thread")]
async fn many_artemis() {
    let b = Artemis::start(&ArtemisSettings::default()).await;
    many(&b.url(), async || b.read_all("many").await.into_iter().map(|a| a.id.as_u128()).collect()).await;
}
#[tokio::test(flavor = "multi_thread")]
async fn many_classic() {
    let b = ActiveMq::start("").await;
    many(&b.url(), async || b.read_all("many").await.into_iter().map(|a| a.id.as_u128()).collect()).await;
}
#[tokio::test(flavor = "multi_thread")]
async fn many_qpid() {
    let b = Qpid::start().await;
    b.put("queue/many", "{}").await;
    many(&b.url(), async || b.read_all("many").await.into_iter().map(|a| a.id.as_u128()).collect()).await;
}
async fn many(url: &str, read: impl AsyncFn() -> Vec<u128>) {
    let total: u128 = std::env::var("MANY").map_or(3000, |v| v.parse().unwrap());
    let sink = connector(url, &LOGIN).connect().await.unwrap();
    let t = std::time::Instant::now();
    let mut n = 0;
    while n < total {
        let batch: Vec<_> = (0..1000).map(|k| event_for("many", n + k + 1, Some(&format!("k{k}")))).collect();
        n += 1000;
        settle(&*sink, &batch, 5).await;
    }
    println!("delivered {n} in {:?}", t.elapsed());
    for _ in 0..2 {
        let t = std::time::Instant::now();
        let ids = read().await;
        println!("read {} in {:?} sorted {}", ids.len(), t.elapsed(), ids.is_sorted());
    }
    sink.close().await.unwrap();
}
