//! The first words of a connection: who both sides are, what they agree on, and the virtual host.

use std::time::Duration;

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldTable, LongString, ShortString};
use onewrite_core::options::Secret;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::super::address::Address;
use super::failure::{Close, Failure};
use super::frames::{Frames, put_method};
use crate::limits::{AMQP_CHANNELS, AMQP_FRAME_BYTES_DEFAULT, AMQP_FRAME_BYTES_MAX};

/// How the client says who it is.
#[derive(Clone, Debug)]
pub enum Login {
    /// User and password.
    Plain {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// By the client certificate.
    External,
}

/// What the broker says it is.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// Such as `RabbitMQ`.
    pub product: String,
    /// Such as `3.10.8`.
    pub version: String,
}

/// What both sides agreed on.
pub struct Agreed {
    pub server: Server,
    /// Most bytes of a frame, its overhead included.
    pub frame_max: usize,
    /// At least one frame from each side in this time.
    pub heartbeat: Duration,
}

/// Says who the client is and opens the virtual host.
pub async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    frames: &mut Frames,
    address: &Address,
    login: &Login,
    name: &str,
    heartbeat: Duration,
) -> Result<Agreed, Failure> {
    let mut talk = Talk {
        stream,
        frames,
        address,
    };
    talk.write(b"AMQP\0\0\x09\x01").await?;
    let start = match talk.hear().await? {
        connection::AMQPMethod::Start(start) => start,
        other => return Err(unexpected(&other)),
    };
    talk.say(connection::AMQPMethod::StartOk(start_ok(&start, login, name)?))
        .await?;
    let tune = match talk.hear().await? {
        connection::AMQPMethod::Tune(tune) => tune,
        other => return Err(unexpected(&other)),
    };
    let (answer, frame_max) = tune_ok(&tune, heartbeat);
    let heartbeat = answer.heartbeat;
    talk.say(connection::AMQPMethod::TuneOk(answer)).await?;
    talk.frames.set_frame_max(frame_max);
    let open = connection::Open {
        virtual_host: address.virtual_host.as_str().into(),
    };
    talk.say(connection::AMQPMethod::Open(open)).await?;
    match talk.hear().await? {
        connection::AMQPMethod::OpenOk(_) => Ok(Agreed {
            server: server(&start.server_properties),
            frame_max,
            heartbeat: Duration::from_secs(heartbeat.into()),
        }),
        other => Err(unexpected(&other)),
    }
}

struct Talk<'a, S> {
    stream: &'a mut S,
    frames: &'a mut Frames,
    address: &'a Address,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn say(&mut self, method: connection::AMQPMethod) -> Result<(), Failure> {
        let mut out = Vec::new();
        put_method(&mut out, 0, AMQPClass::Connection(method));
        self.write(&out).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.stream.write_all(bytes).await;
        let broke = |error| Failure::broken(format!("the connection to {} broke", self.address.shown), error);
        written.map_err(broke)?;
        self.stream.flush().await.map_err(broke)
    }

    async fn hear(&mut self) -> Result<connection::AMQPMethod, Failure> {
        let shown = &self.address.shown;
        loop {
            let read = self.frames.next(self.stream).await;
            let frame = read.map_err(|error| Failure::broken(format!("the greeting of {shown} broke off"), error))?;
            match frame {
                Some(AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::Close(close)))) => {
                    return Err(Failure::Connection(Close {
                        code: close.reply_code,
                        words: close.reply_text.to_string(),
                    }));
                }
                Some(AMQPFrame::Method(0, AMQPClass::Connection(method))) => return Ok(method),
                Some(AMQPFrame::Heartbeat) => {}
                Some(other) => {
                    return Err(Failure::ended(format!(
                        "{shown} greets with {other}, which makes no sense"
                    )));
                }
                None => return Err(Failure::ended(format!("{shown} closed the connection without a word"))),
            }
        }
    }
}

fn unexpected(method: &connection::AMQPMethod) -> Failure {
    Failure::ended(format!("the broker greets with {method:?}, which makes no sense"))
}

fn start_ok(start: &connection::Start, login: &Login, name: &str) -> Result<connection::StartOk, Failure> {
    let (mechanism, response) = match login {
        Login::Plain { user, password } => ("PLAIN", format!("\0{user}\0{}", password.expose())),
        Login::External => ("EXTERNAL", String::new()),
    };
    let offered = start.mechanisms.to_string();
    if !offered.split(' ').any(|known| known == mechanism) {
        return Err(Failure::Mechanism {
            wanted: mechanism,
            offered,
        });
    }
    Ok(connection::StartOk {
        client_properties: client_properties(name),
        mechanism: mechanism.into(),
        response: response.into(),
        locale: "en_US".into(),
    })
}

fn client_properties(name: &str) -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(LongString::from(text));
    // Without the last, a broker that refuses a login says nothing and closes the connection seconds later.
    let able = [
        "publisher_confirms",
        "basic.nack",
        "connection.blocked",
        "authentication_failure_close",
    ];
    let mut capabilities = FieldTable::default();
    for capability in able {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties
        .insert("product".into(), text("Onewrite"))
        .insert("version".into(), text(env!("CARGO_PKG_VERSION")))
        .insert("platform".into(), text("Rust"))
        .insert("connection_name".into(), text(name))
        .insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

/// What the client agrees to. Each side proposes, 0 stands for no limit, and the lower holds.
fn tune_ok(tune: &connection::Tune, heartbeat: Duration) -> (connection::TuneOk, usize) {
    let lower = |theirs: u32, ours: u32| if theirs == 0 { ours } else { theirs.min(ours) };
    let heartbeat = u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX);
    let frame_max = match tune.frame_max {
        0 => AMQP_FRAME_BYTES_DEFAULT,
        theirs => theirs.min(AMQP_FRAME_BYTES_MAX),
    };
    let answer = connection::TuneOk {
        // Both fit into the 16 bits from which they come.
        channel_max: lower(tune.channel_max.into(), AMQP_CHANNELS.into()) as u16,
        frame_max,
        heartbeat: lower(tune.heartbeat.into(), heartbeat.into()) as u16,
    };
    (answer, frame_max as usize)
}

fn server(properties: &FieldTable) -> Server {
    let text = |name: &str| match properties.inner().get(&ShortString::from(name)) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        _ => "unknown".to_owned(),
    };
    Server {
        product: text("product"),
        version: text("version"),
    }
}
