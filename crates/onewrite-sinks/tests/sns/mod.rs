//! The sink `sns` against a stand-in for SNS that allows what Amazon's reference allows. Nothing here has seen the real one.

mod answers;
mod conformance;
mod options;
mod reference;
mod refusals;
mod stub;
mod topics;

use std::sync::Arc;

use onewrite_core::options::Options;
use onewrite_core::{Sink, SinkConnector};
use onewrite_sinks::sns::{FIELDS, build};

use self::stub::Stub;
use crate::aws::{ACCESS_KEY_ID, SECRET};

/// The ARN of a topic of this name, or template.
fn arn(name: &str) -> String {
    format!("arn:aws:sns:us-east-1:123456789012:{name}")
}

fn options(topic_arn: &str, texts: &[(&str, &str)]) -> Options {
    let mut all = vec![("topic_arn", topic_arn)];
    let defaults = [
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

/// A connector to `address`, for the topic of this name.
fn connector(address: &str, name: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    let endpoint = format!("http://{address}");
    let mut all = vec![("endpoint_url", endpoint.as_str())];
    all.extend(texts);
    build(&options(&arn(name), &all)).unwrap()
}

async fn sink(stub: &Stub, name: &str) -> Box<dyn Sink> {
    connector(&stub.address(), name, &[]).connect().await.unwrap()
}
