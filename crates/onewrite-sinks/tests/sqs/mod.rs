//! The sink `sqs` against ElasticMQ, and against a server that says what a test tells it to.

mod answers;
mod conformance;
mod options;
mod queues;
mod signature;

use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::Options;
use onewrite_sinks::sqs::{FIELDS, build};

use crate::aws::{ACCESS_KEY_ID, SECRET};

fn options(queue_url: &str, texts: &[(&str, &str)]) -> Options {
    let mut all = vec![("queue_url", queue_url)];
    let defaults = [
        ("region", "us-east-1"),
        ("access_key_id", ACCESS_KEY_ID),
        ("secret_access_key", SECRET),
        ("timeout", "5s"),
    ];
    all.extend(
        defaults
            .iter()
            .filter(|(name, _)| texts.iter().all(|(given, _)| given != name)),
    );
    all.extend(texts);
    Options::from_texts("sinks.events", FIELDS, &all).unwrap()
}

/// A connector to `address`, whatever the URL of the queue says.
fn connector(address: &str, queue_url: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    let endpoint = format!("http://{address}");
    let mut all = vec![("endpoint_url", endpoint.as_str())];
    all.extend(texts);
    build(&options(queue_url, &all)).unwrap()
}
