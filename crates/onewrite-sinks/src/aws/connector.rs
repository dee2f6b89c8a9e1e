//! Connecting, and the findings of `onewrite check`.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::{SinkError, chain};
use onewrite_core::options::Options;
use onewrite_core::sink::Finding;
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};

use super::Service;
use super::answer::{is_denial, words};
use super::client::AwsClient;
use super::settings::Settings;
use super::sink::BatchSink;
use crate::registry::BuildError;
use crate::web::shown;

/// The connector to a service.
pub(crate) struct Connector<S> {
    settings: Arc<Settings>,
    service: PhantomData<S>,
}

impl<S: Service> Connector<S> {
    /// A connector of these options. It connects to nothing yet.
    ///
    /// # Errors
    /// The first option that does not hold together with the others.
    pub(crate) fn new(options: &Options) -> Result<Self, BuildError> {
        Ok(Self {
            settings: Arc::new(Settings::read::<S>(options)?),
            service: PhantomData,
        })
    }

    async fn look_at(&self, client: &AwsClient, address: &str) -> Finding {
        let subject = format!("{} {address}", S::PLACE);
        if let Err(problem) = S::place_name(address) {
            return Finding::broken(subject, problem);
        }
        let (status, body) = match client.call(S::question(address)).await {
            Ok(answered) => answered,
            Err(error) => return Finding::broken(subject, chain(&error)),
        };
        if status.is_success() {
            return S::finding(&self.settings, address, subject, &body.bytes);
        }
        let (code, message) = words::<S>(&body);
        let said = format!("{} {code}: {message}", shown(status));
        if is_denial(&code) {
            let words = "may not be looked at, so only an event can show whether it works";
            Finding::warning(subject, format!("{words} ({said})"))
        } else {
            Finding::broken(subject, format!("cannot be used: {said}"))
        }
    }
}

#[async_trait]
impl<S: Service> SinkConnector for Connector<S> {
    fn kind(&self) -> &'static str {
        S::KIND
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let client = AwsClient::new(S::KIND, Arc::clone(&self.settings)).await?;
        // Any answer will do, also that this may not be asked.
        match client.call(S::greeting()).await {
            Ok((status, body)) if status.is_server_error() => {
                let (code, message) = words::<S>(&body);
                let words = format!("{} answered {}; {code} {message}", self.settings.origin, shown(status));
                Err(SinkError::reconnect(words))
            }
            Ok(_) => Ok(Box::new(BatchSink::<S>::new(Arc::clone(&self.settings), client))),
            Err(error) => Err(error),
        }
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        S::read_back(&self.settings)
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        let client = match AwsClient::new(S::KIND, Arc::clone(&self.settings)).await {
            Ok(client) => client,
            Err(error) => return vec![Finding::broken("TLS", chain(&error))],
        };
        let mut findings = Vec::new();
        let subject = format!("endpoint {}", self.settings.origin);
        match client.call(S::greeting()).await {
            Ok((status, _)) => findings.push(Finding::works(subject, format!("answers ({})", shown(status)))),
            Err(error) => {
                findings.push(Finding::broken(subject, chain(&error)));
                return findings;
            }
        }
        for address in self.settings.address.for_topics(topics) {
            findings.push(self.look_at(&client, &address).await);
        }
        findings
    }
}
