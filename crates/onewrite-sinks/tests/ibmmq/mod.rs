//! The sink `ibmmq` against a stand-in for mqweb that allows what IBM's reference allows. Nothing here has seen a real IBM MQ.

mod answers;
mod conformance;
mod connecting;
mod options;
mod reference;
mod requests;
mod stub;

use std::sync::Arc;

use onewrite_core::options::Options;
use onewrite_core::{Sink, SinkConnector};
use onewrite_sinks::ibmmq::{FIELDS, build};

use self::stub::{PASSWORD, Stub, USER};

/// The queue of the events of [`crate::support`].
const QUEUE: &str = "shop.orders";

fn options(urls: &str, texts: &[(&str, &str)]) -> Result<Options, String> {
    let mut all = vec![("urls", urls)];
    let defaults = [
        ("queue_manager", "QM.1"),
        ("user", USER),
        ("password", PASSWORD),
        ("timeout", "5s"),
    ];
    all.extend(
        defaults
            .iter()
            .filter(|(name, _)| texts.iter().all(|(given, _)| given != name)),
    );
    all.extend(texts);
    Options::from_texts("sinks.events", FIELDS, &all)
}

fn connector(urls: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    build(&options(urls, texts).unwrap()).unwrap()
}

async fn sink(stub: &Stub, texts: &[(&str, &str)]) -> Box<dyn Sink> {
    connector(&stub.url(), texts).connect().await.unwrap()
}
