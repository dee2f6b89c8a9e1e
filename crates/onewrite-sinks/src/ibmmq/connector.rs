//! Connecting, and the findings of `onewrite check`.

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::{SinkError, chain};
use onewrite_core::sink::Finding;
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};
use reqwest::{Client, StatusCode};

use super::answer;
use super::request::{browse_path, credentials, login_path};
use super::settings::{Destination, Settings, Version};
use super::sink::MqSink;
use crate::limits::{IBMMQ_IDLE_TIMEOUT, RESPONSE_BYTES_MAX};
use crate::rotation::Rotation;
use crate::web::{self, Body, shown};

pub(super) struct MqConnector {
    settings: Arc<Settings>,
    /// Moved on by a sink whose server has failed.
    rotation: Arc<Rotation>,
}

impl MqConnector {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            rotation: Arc::default(),
        }
    }

    async fn client(&self) -> Result<Client, SinkError> {
        let client = web::client(self.settings.tls.client_aside().await?, self.settings.timeout);
        web::built(client.pool_idle_timeout(IBMMQ_IDLE_TIMEOUT))
    }

    /// Asks a server who we are: it answers, and knows us.
    async fn login(&self, client: &Client, server: &str) -> Result<StatusCode, SinkError> {
        let (status, body) = self.get(client, server, &login_path(&self.settings)).await?;
        let said = answer::words(&self.settings, &body);
        match status.as_u16() {
            401 => Err(SinkError::halt(format!(
                "{server} refuses the credentials; check user, password and the client certificate, then resume the route; {said}"
            ))),
            500..=599 => Err(SinkError::reconnect(format!(
                "{server} answered {}; {said}",
                shown(status)
            ))),
            _ => Ok(status),
        }
    }

    async fn get(&self, client: &Client, server: &str, path: &str) -> Result<(StatusCode, Body), SinkError> {
        let request = client
            .get(format!("{server}{path}"))
            .headers(credentials(&self.settings));
        let mut response = request
            .send()
            .await
            .map_err(|error| SinkError::reconnect(format!("cannot reach {server}")).because(error.without_url()))?;
        // The status says enough; a body that breaks off takes nothing back.
        let body = Body::read(&mut response, RESPONSE_BYTES_MAX).await.unwrap_or_default();
        Ok((response.status(), body))
    }

    async fn look_at_queue(&self, client: &Client, server: &str, queue: &str) -> Finding {
        let manager = &self.settings.queue_manager;
        let subject = format!("queue {queue} of {manager}");
        let Some(path) = browse_path(&self.settings, queue) else {
            return Finding::broken(
                subject,
                "cannot be the name of a queue; use 1 to 48 of the characters A-Z a-z 0-9 . / _ %, or change the template",
            );
        };
        let (status, body) = match self.get(client, server, &path).await {
            Ok(answered) => answered,
            Err(error) => return Finding::broken(subject, chain(&error)),
        };
        let said = answer::words(&self.settings, &body);
        match status.as_u16() {
            200..=299 => Finding::works(subject, "is there; whether it may be put to only a message can show"),
            404 => Finding::broken(
                subject,
                format!("is not there; define it, or check queue_manager and api_version; {said}"),
            ),
            403 => Finding::warning(
                subject,
                "may not be browsed, so whether it is there only a message can show",
            ),
            401 => Finding::broken(subject, format!("the credentials are refused; {said}")),
            500..=599 => Finding::broken(subject, format!("the server answered {}; {said}", shown(status))),
            _ => Finding::warning(
                subject,
                format!("cannot be looked at: the server answered {}; {said}", shown(status)),
            ),
        }
    }

    /// What the options alone tell.
    fn settings_findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for server in self.settings.unencrypted() {
            findings.push(Finding::warning(
                format!("url {server}"),
                "is not encrypted: whoever carries the traffic can read the events and the credentials; use https://",
            ));
        }
        if self.settings.authorization.is_none() && !self.settings.tls.has_client_certificate() {
            findings.push(Finding::warning(
                "credentials",
                "are not set, neither user and password nor certificate_file; that is enough only where mqweb asks for none",
            ));
        }
        if !self.settings.persistent {
            findings.push(Finding::warning(
                "persistent",
                "is off: a restart of the queue manager loses what was delivered; set it to true",
            ));
        }
        if matches!(self.settings.destination, Destination::Topic(_)) {
            findings.push(Finding::warning(
                "destination",
                "is a topic, which keeps nothing for those without a subscription; make durable subscriptions before events flow",
            ));
        }
        findings
    }
}

#[async_trait]
impl SinkConnector for MqConnector {
    fn kind(&self) -> &'static str {
        "ibmmq"
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        for server in self.settings.unencrypted() {
            tracing::warn!(server, "the connection to IBM MQ is not encrypted");
        }
        let client = self.client().await?;
        let servers = &self.settings.servers;
        let login = |server: usize| self.login(&client, &servers[server]);
        let (server, _) = self.rotation.connect(servers.len(), login).await?;
        let rotation = Arc::clone(&self.rotation);
        Ok(Box::new(MqSink::new(
            Arc::clone(&self.settings),
            client,
            server,
            rotation,
        )))
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Err(super::NOT_READ_BACK)
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        let mut findings = self.settings_findings();
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) => {
                findings.push(Finding::broken("TLS", chain(&error)));
                return findings;
            }
        };
        let mut answering = None;
        for server in &self.settings.servers {
            let subject = format!("server {server}");
            match self.login(&client, server).await {
                Ok(StatusCode::OK) => {
                    answering = answering.or(Some(server));
                    findings.push(Finding::works(subject, "answers and knows the user"));
                }
                Ok(status) => {
                    answering = answering.or(Some(server));
                    let words = format!(
                        "answers, but tells nothing about the user ({}); check api_version and the roles of the user",
                        shown(status)
                    );
                    findings.push(Finding::warning(subject, words));
                }
                Err(error) => findings.push(Finding::broken(subject, chain(&error))),
            }
        }
        // The first version of the API can look at nothing.
        if let (Some(server), Destination::Queue(queue)) = (answering, &self.settings.destination)
            && self.settings.version > Version::V1
        {
            for queue in queue.for_topics(topics) {
                findings.push(self.look_at_queue(&client, server, &queue).await);
            }
        }
        findings
    }
}
