//! Opening a connection and a session, and hearing of their end.

use std::sync::{Arc, OnceLock};

use fe2o3_amqp::connection::{ConnectionHandle, OpenError};
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::performatives::Open;
use fe2o3_amqp::types::primitives::{Symbol, Value};
use fe2o3_amqp::{Connection, Session};
use onewrite_core::error::{SinkError, chain};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::refusal::{unauthorized, words};
use super::sasl;
use super::settings::Settings;
use crate::endpoint::Endpoint;
use crate::limits::{AMQP1_CLOSE_TIMEOUT, SERVER_CONNECT_TIMEOUT, SERVERS_CONNECT_TIME};
use crate::turns::{ConnectLimit, Turns, connect_to};

/// A connection with a session.
pub(super) struct Opened {
    pub place: Endpoint,
    pub product: Product,
    pub session: SessionHandle<()>,
    pub life: Life,
}

/// What the broker says it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Product {
    pub name: Option<String>,
    pub version: Option<String>,
}

impl Product {
    pub(super) fn is_artemis(&self) -> bool {
        self.is("artemis")
    }

    /// Classic calls itself by the bare name.
    pub(super) fn is_classic(&self) -> bool {
        self.name.as_deref() == Some("ActiveMQ")
    }

    pub(super) fn is_qpid_j(&self) -> bool {
        self.is("qpid")
    }

    fn is(&self, word: &str) -> bool {
        let name = self.name.as_deref().unwrap_or_default();
        name.to_ascii_lowercase().contains(word)
    }

    fn read(open: &Open) -> Self {
        let text = |name: &str| match open.properties.as_ref()?.get(&Symbol::from(name))? {
            Value::String(text) => Some(text.clone()),
            Value::Symbol(symbol) => Some(symbol.0.clone()),
            _ => None,
        };
        Self {
            name: text("product"),
            version: text("version"),
        }
    }
}

/// The connection's task: it ends with this value, and in an orderly way when it is [closed](Life::close).
pub(super) struct Life {
    close: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    ended: Arc<OnceLock<String>>,
}

impl Life {
    fn watch(mut connection: ConnectionHandle<()>) -> Self {
        let (close, closed) = oneshot::channel();
        let ended = Arc::new(OnceLock::new());
        let why = Arc::clone(&ended);
        let task = tokio::spawn(async move {
            let asked = tokio::select! {
                result = connection.on_close() => {
                    // Set once, here or never.
                    let _ = why.set(match result {
                        Ok(()) => "the broker closed the connection".to_owned(),
                        Err(error) => chain(&error),
                    });
                    false
                }
                asked = closed => asked.is_ok(),
            };
            if asked {
                // What the broker says to a farewell changes nothing.
                let _ = tokio::time::timeout(AMQP1_CLOSE_TIMEOUT, connection.close()).await;
            }
        });
        Self {
            close: Some(close),
            task,
            ended,
        }
    }

    /// Why the connection ended, where it did.
    pub(super) fn ended(&self) -> Arc<OnceLock<String>> {
        Arc::clone(&self.ended)
    }

    /// Closes the connection and waits for it.
    pub(super) async fn close(mut self) {
        if let Some(close) = self.close.take() {
            // The task may have ended with the connection.
            let _ = close.send(());
        }
        let _ = (&mut self.task).await;
    }
}

/// How long opening may take.
const LIMIT: ConnectLimit = ConnectLimit {
    whole: SERVERS_CONNECT_TIME,
    each: SERVER_CONNECT_TIMEOUT,
};

/// Opens a connection to the broker whose turn it is, or to the first after it that lets it.
pub(super) async fn open(settings: &Settings, turns: &Turns) -> Result<Opened, SinkError> {
    let opening = turns.connect(&settings.brokers, LIMIT, |place| connect(settings, place));
    opening.await
}

/// Opens a connection to this broker.
pub(super) async fn open_at(settings: &Settings, place: &Endpoint) -> Result<Opened, SinkError> {
    connect_to(place, LIMIT, connect(settings, place)).await
}

async fn connect(settings: &Settings, place: &Endpoint) -> Result<Opened, SinkError> {
    let tls = match settings.encrypted {
        true => Some(Arc::new(settings.tls.client_aside().await?)),
        false => None,
    };
    let stream = place.open(tls).await?;
    let (stream, profile) = sasl::negotiate(settings, place, stream).await?;
    let greeting = stream.greeting();
    let idle = u32::try_from(settings.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let mut builder = Connection::builder()
        .container_id(format!("{}-{}", settings.container_id, Uuid::new_v4().simple()))
        .hostname(place.host.as_str())
        .sasl_hostname(place.host.as_str())
        .scheme("amqp")
        .idle_time_out(idle);
    builder.sasl_profile = profile;
    let mut connection = builder
        .open_with_stream(stream)
        .await
        .map_err(|error| refused(place, error))?;
    let session = Session::begin(&mut connection).await.map_err(|error| {
        SinkError::reconnect(format!("{place} let the connection in and began no session")).because(error)
    })?;
    Ok(Opened {
        place: place.clone(),
        product: greeting.open().map(|open| Product::read(&open)).unwrap_or_default(),
        session,
        life: Life::watch(connection),
    })
}

fn refused(place: &Endpoint, error: OpenError) -> SinkError {
    match error {
        OpenError::SaslError { code, .. } => sasl::refused(place, &code),
        OpenError::RemoteClosedWithError(error) if unauthorized(&error) => SinkError::halt(format!(
            "{place} refuses the login: {}; check user and password",
            words(&error)
        )),
        OpenError::RemoteClosedWithError(error) => {
            SinkError::reconnect(format!("{place} closed the connection: {}", words(&error)))
        }
        OpenError::ScramError(error) => {
            SinkError::halt(format!("{place} and the relay do not agree on the password (SCRAM)")).because(error)
        }
        error => SinkError::reconnect(format!("{place} let no connection be opened")).because(error),
    }
}
