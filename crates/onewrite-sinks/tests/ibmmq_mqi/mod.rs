//! The transport `mqi` with a library that stands in for IBM's. Nothing here has seen IBM's library, or a queue manager.

mod conformance;
mod failing;
mod options;
mod putting;
mod stub;

use std::sync::Arc;

use onewrite_core::options::Options;
use onewrite_core::{Sink, SinkConnector};
use onewrite_sinks::BuildError;
use onewrite_sinks::ibmmq::FIELDS;
use onewrite_sinks::registry::sink_type;

use self::stub::Stub;

/// The queue of the events of [`crate::support`].
const QUEUE: &str = "shop.orders";

fn options(texts: &[(&str, &str)]) -> Result<Options, String> {
    let defaults = [
        ("transport", "mqi"),
        ("urls", "mq://mq.example.com:1415"),
        ("queue_manager", "QM.1"),
        ("channel", "DEV.APP.SVRCONN"),
        ("timeout", "5s"),
    ];
    let mut all = texts.to_vec();
    all.extend(
        defaults
            .iter()
            .filter(|(name, _)| texts.iter().all(|(given, _)| given != name)),
    );
    Options::from_texts("sinks.events", FIELDS, &all)
}

/// As the program does it.
fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    sink_type("ibmmq").unwrap().build(options)
}

fn connector(stub: &Stub, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    let mut all = vec![("library", stub.path())];
    all.extend(texts);
    build(&options(&all).unwrap()).unwrap()
}

async fn sink(stub: &Stub, texts: &[(&str, &str)]) -> Box<dyn Sink> {
    connector(stub, texts).connect().await.unwrap()
}
