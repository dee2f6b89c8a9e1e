//! One connection to one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use onewrite_core::error::{Action, SinkError};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, Value, cmd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::answer::{Refusal, judge, refused};
use super::settings::{Settings, Wait};
use crate::endpoint::{Endpoint, Stream};
use crate::limits::REDIS_BULK_BYTES_ALWAYS;

/// A connection on which deliveries take turns. It ends with its last handle, and what has not been written by then never is.
pub(super) struct Connection {
    endpoint: Endpoint,
    settings: Arc<Settings>,
    multiplexed: MultiplexedConnection,
    /// The longest argument that the server is known to take, in bytes.
    bulk_bytes: AtomicUsize,
    /// What writes and reads. By itself it would go on for as long as the server lets it.
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// Connects, says who it is, chooses the database and makes sure that the server serves. How long it may take is the caller's matter.
    pub(super) async fn open(settings: &Arc<Settings>, endpoint: &Endpoint) -> Result<Self, SinkError> {
        let stream = stream(settings, endpoint).await?;
        // It sends nothing by itself: what the server says to each command of the beginning is judged here.
        let quiet = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (multiplexed, driver) = MultiplexedConnection::new_with_config(&quiet, stream, config)
            .await
            .map_err(|error| SinkError::reconnect(format!("no connection to {endpoint}")).because(error))?;
        let connection = Self {
            _driver: AbortOnDropHandle::new(tokio::spawn(driver)),
            endpoint: endpoint.clone(),
            settings: Arc::clone(settings),
            multiplexed,
            bulk_bytes: AtomicUsize::new(REDIS_BULK_BYTES_ALWAYS),
        };
        for (what, command) in beginning(settings) {
            let value = connection.ask(&command).await?;
            if let Some(error) = refused(&value) {
                return Err(unusable(judge(&format!("{what} at {endpoint}"), error)));
            }
        }
        Ok(connection)
    }

    /// Sends one command. An error is about the connection; a refusal is a reply.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, SinkError> {
        let mut connection = self.multiplexed.clone();
        self.within(self.settings.timeout, connection.send_packed_command(command))
            .await
    }

    /// Sends commands with nothing between them, and returns a reply to each.
    pub(super) async fn all(&self, commands: &Pipeline, count: usize) -> Result<Vec<Value>, SinkError> {
        let mut connection = self.multiplexed.clone();
        // Another delivery's wait on this connection comes first.
        let waited = self.settings.wait.map_or(Duration::ZERO, |wait| wait.timeout);
        let replies = self
            .within(
                self.settings.timeout + waited,
                connection.send_packed_commands(commands, 0, count),
            )
            .await?;
        if replies.len() == count {
            return Ok(replies);
        }
        let words = format!("{} gave {} answers to {count} commands", self.endpoint, replies.len());
        Err(SinkError::reconnect(words))
    }

    /// Waits until what this connection has written is where the options want it.
    pub(super) async fn wait(&self, wait: Wait) -> Result<(), SinkError> {
        let mut command = Cmd::new();
        if wait.on_disk {
            command.arg("WAITAOF").arg(1);
        } else {
            command.arg("WAIT");
        }
        let milliseconds = i64::try_from(wait.timeout.as_millis()).unwrap_or(i64::MAX);
        command.arg(wait.replicas).arg(milliseconds);
        let mut connection = self.multiplexed.clone();
        let patience = wait.timeout + self.settings.timeout;
        let value = self.within(patience, connection.send_packed_command(&command)).await?;
        self.enough(wait, &value)
    }

    fn enough(&self, wait: Wait, value: &Value) -> Result<(), SinkError> {
        let Wait { replicas, timeout, .. } = wait;
        let server = &self.endpoint;
        let few = |what: String| {
            let words = format!("{server}: {what} within {timeout:?}; whether the events stay is unknown");
            Err(SinkError::reconnect(words))
        };
        match value {
            Value::Int(have) if !wait.on_disk && *have >= replicas => Ok(()),
            Value::Int(have) if !wait.on_disk => few(format!("{have} of {replicas} replicas answered")),
            Value::Array(both) if wait.on_disk => match &both[..] {
                [Value::Int(own), Value::Int(have)] if *own >= 1 && *have >= replicas => Ok(()),
                [Value::Int(own), Value::Int(have)] => few(format!(
                    "{own} of 1 disk and {have} of {replicas} replicas' disks answered"
                )),
                _ => few(format!("WAITAOF answered {value:?}")),
            },
            Value::ServerError(error) if wait.on_disk => {
                let refusal = judge(&format!("WAITAOF at {server}"), error);
                let advice = "; wait_for_disk needs Redis 7.2 or later, or Valkey, with \"appendonly yes\"";
                let action = match error.code() {
                    "ERR" => Action::Halt,
                    _ => refusal.action,
                };
                Err(unusable(Refusal::new(action, format!("{}{advice}", refusal.words))))
            }
            Value::ServerError(error) => Err(unusable(judge(&format!("WAIT at {server}"), error))),
            other => few(format!("the answer was {other:?}")),
        }
    }

    /// Whether the server takes an argument of so many bytes: `None` if it does, else its words.
    ///
    /// A server that is sent a longer one than `proto-max-bulk-len` closes the connection with everything under way on it, often
    /// before its words can be read. So it is asked on a connection of its own, with nothing but the length: it refuses at once,
    /// or waits for the rest and closes when it learns that none will come. It answers other commands first, so that an end of any
    /// other kind is known for what it is.
    pub(super) async fn refuses_length(&self, bytes: usize) -> Result<Option<String>, SinkError> {
        if bytes <= self.bulk_bytes.load(Ordering::Relaxed) {
            return Ok(None);
        }
        // Most servers take any event there can be, and are asked once.
        let any = onewrite_core::limits::PAYLOAD_BYTES_MAX.max(bytes);
        for length in [any, bytes] {
            let refused = self.ask_for_length(length).await?;
            if refused.is_none() {
                self.bulk_bytes.fetch_max(length, Ordering::Relaxed);
                return Ok(None);
            }
            if length == bytes {
                return Ok(refused);
            }
        }
        Ok(None)
    }

    async fn ask_for_length(&self, bytes: usize) -> Result<Option<String>, SinkError> {
        let asking = async {
            let mut stream = stream(&self.settings, &self.endpoint).await?;
            let broken =
                |error| SinkError::reconnect(format!("the connection to {} broke", self.endpoint)).because(error);
            let beginning = beginning(&self.settings);
            let mut request = Vec::new();
            for (_, command) in &beginning {
                request.extend(command.get_packed_command());
            }
            request.extend(format!("*2\r\n$4\r\nECHO\r\n${bytes}\r\n").into_bytes());
            stream.write_all(&request).await.map_err(broken)?;
            stream.shutdown().await.map_err(broken)?;
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer).await {
                // Not every server ends TLS with a word.
                Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(broken(error)),
                _ => {}
            }
            self.length_taken(&String::from_utf8_lossy(&answer), beginning.len())
        };
        let slow = |_| {
            Err(SinkError::reconnect(format!(
                "{} did not answer in time",
                self.endpoint
            )))
        };
        timeout(self.settings.timeout, asking).await.unwrap_or_else(slow)
    }

    /// What the server says of a length: it has answered the commands before it, and then refuses it, or nothing more.
    fn length_taken(&self, answer: &str, before: usize) -> Result<Option<String>, SinkError> {
        let mut lines = answer.lines();
        let served = lines.by_ref().take(before).filter(|line| line.starts_with('+')).count() == before;
        match lines.next() {
            None if served => Ok(None),
            Some(line) if served && line.contains("invalid bulk length") => {
                Ok(Some(line.trim_start_matches('-').to_owned()))
            }
            _ => {
                let words = format!(
                    "{} does not say whether it takes an argument of {} bytes or more; it said {answer:?}",
                    self.endpoint,
                    self.bulk_bytes.load(Ordering::Relaxed)
                );
                Err(SinkError::reconnect(words))
            }
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn within<T>(
        &self,
        patience: Duration,
        asked: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, SinkError> {
        let server = &self.endpoint;
        match timeout(patience, asked).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => {
                let words = format!("the connection to {server} broke; whether the events arrived is unknown");
                Err(SinkError::reconnect(words).because(error))
            }
            Err(_) => {
                let words =
                    format!("{server} did not answer within {patience:?}; whether the events arrived is unknown");
                Err(SinkError::reconnect(words))
            }
        }
    }
}

/// A refusal in the way of everything: what would park an event is then for a person, and what passes needs a new connection.
pub(super) fn unusable(refusal: Refusal) -> SinkError {
    let action = match refusal.action {
        Action::Halt | Action::Park => Action::Halt,
        Action::Retry { .. } | Action::Reconnect => Action::Reconnect,
    };
    SinkError::new(action, refusal.words)
}

/// What each connection begins with.
fn beginning(settings: &Settings) -> Vec<(&'static str, Cmd)> {
    let mut commands = Vec::new();
    if let Some(password) = &settings.password {
        let mut auth = cmd("AUTH");
        if let Some(user) = &settings.user {
            auth.arg(user);
        }
        auth.arg(password.expose());
        commands.push(("the user or the password", auth));
    }
    if settings.database != 0 {
        let mut select = cmd("SELECT");
        select.arg(settings.database);
        commands.push(("the database", select));
    }
    commands.push(("PING", cmd("PING")));
    commands
}

async fn stream(settings: &Settings, endpoint: &Endpoint) -> Result<Box<dyn Stream>, SinkError> {
    let tls = match settings.encrypted {
        true => Some(Arc::new(settings.tls.client_aside().await?)),
        false => None,
    };
    endpoint.open(tls).await
}
