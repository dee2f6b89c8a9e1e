//! A connection in replication mode: the same address, password and TLS as the statements' connections. The driver that those
//! use cannot open one; its protocol library and its TLS can.

use std::io;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use fallible_iterator::FallibleIterator;
use onewrite_core::{StoreError, StoreFailure};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorFields, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::connection::Connector;

/// Anything that bytes go to and come from.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection that is logged in.
pub(super) struct Link {
    pub socket: Box<dyn Duplex>,
    /// What was read and not looked at yet.
    pub read: BytesMut,
    write: BytesMut,
}

impl Link {
    /// Connects in replication mode to the first of the configured hosts that lets us in.
    pub async fn open(connector: &Connector) -> Result<Self, StoreError> {
        let mut last = None;
        for at in 0..connector.config().get_hosts().len().max(1) {
            match tokio::time::timeout(connector.timeout(), Self::open_at(connector, at)).await {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(unavailable(timed_out(connector.timeout()))),
            }
        }
        Err(last.unwrap_or_else(|| unavailable(io::Error::other("no host is configured"))))
    }

    async fn open_at(connector: &Connector, at: usize) -> Result<Self, StoreError> {
        let config = connector.config();
        let (socket, host) = reach(config, at).await.map_err(unavailable)?;
        let socket = match connector.tls() {
            Some(tls) => secure(socket, tls, &host).await.map_err(unavailable)?,
            None => socket,
        };
        let mut link = Self {
            socket,
            read: BytesMut::new(),
            write: BytesMut::new(),
        };
        link.log_in(config).await?;
        Ok(link)
    }

    /// Sends a statement whose answer is a stream in both directions, and returns once the server agreed to it.
    pub async fn start(&mut self, statement: &str) -> Result<(), StoreError> {
        frontend::query(statement, &mut self.write).map_err(unavailable)?;
        self.flush().await.map_err(unavailable)?;
        loop {
            // The protocol library does not know this one answer.
            while self.read.is_empty() {
                self.fill().await.map_err(unavailable)?;
            }
            if self.read[0] == b'W' {
                return self.skip().await.map_err(unavailable);
            }
            match self.next().await? {
                Message::ErrorResponse(body) => return Err(refused(body.fields())),
                Message::ReadyForQuery(_) => return Err(unexpected("the end of the statement")),
                _ => {}
            }
        }
    }

    /// Runs a statement that answers with one value, and returns its text.
    pub async fn query(&mut self, statement: &str) -> Result<String, StoreError> {
        frontend::query(statement, &mut self.write).map_err(unavailable)?;
        self.flush().await.map_err(unavailable)?;
        let mut found = None;
        loop {
            match self.next().await? {
                Message::DataRow(row) => {
                    let range = row.ranges().next().map_err(unavailable)?.flatten();
                    let value = range.and_then(|range| row.buffer().get(range));
                    found = value.map(|value| String::from_utf8_lossy(value).into_owned());
                }
                Message::ReadyForQuery(_) => return found.ok_or_else(|| unexpected("a value")),
                Message::ErrorResponse(body) => return Err(refused(body.fields())),
                _ => {}
            }
        }
    }

    async fn log_in(&mut self, config: &Config) -> Result<(), StoreError> {
        let user = config.get_user().unwrap_or_default();
        let mut parameters = vec![
            ("user", user),
            ("database", config.get_dbname().unwrap_or(user)),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            // The forms of texts, whatever the defaults of database and role are.
            ("datestyle", "ISO"),
            ("timezone", "UTC"),
            ("intervalstyle", "postgres"),
            ("extra_float_digits", "1"),
            ("bytea_output", "hex"),
            ("application_name", config.get_application_name().unwrap_or_default()),
        ];
        parameters.extend(config.get_options().map(|options| ("options", options)));
        frontend::startup_message(parameters, &mut self.write).map_err(unavailable)?;
        self.flush().await.map_err(unavailable)?;
        let password = config.get_password();
        loop {
            match self.next().await? {
                Message::AuthenticationOk => {}
                Message::ReadyForQuery(_) => return Ok(()),
                Message::AuthenticationCleartextPassword => self.password(required(password)?).await?,
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user.as_bytes(), required(password)?, body.salt());
                    self.password(hash.as_bytes()).await?;
                }
                Message::AuthenticationSasl(body) => {
                    let mut mechanisms = body.mechanisms();
                    let known = mechanisms.any(|name| Ok(name == SCRAM_SHA_256)).map_err(unavailable)?;
                    if !known {
                        return Err(login(
                            "the server asks for a way to log in that this program does not know",
                        ));
                    }
                    self.scram(required(password)?).await?;
                }
                Message::ErrorResponse(body) => return Err(refused(body.fields())),
                Message::BackendKeyData(_) | Message::ParameterStatus(_) | Message::NoticeResponse(_) => {}
                _ => {
                    return Err(login(
                        "the server asks for a way to log in that this program does not know",
                    ));
                }
            }
        }
    }

    async fn password(&mut self, password: &[u8]) -> Result<(), StoreError> {
        frontend::password_message(password, &mut self.write).map_err(unavailable)?;
        self.flush().await.map_err(unavailable)
    }

    async fn scram(&mut self, password: &[u8]) -> Result<(), StoreError> {
        // The driver keeps what binds a login to its TLS session to itself; the certificate is checked all the same.
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut self.write).map_err(unavailable)?;
        self.flush().await.map_err(unavailable)?;
        match self.next().await? {
            Message::AuthenticationSaslContinue(body) => scram.update(body.data()).map_err(unavailable)?,
            Message::ErrorResponse(body) => return Err(refused(body.fields())),
            _ => return Err(unexpected("another step of the login")),
        }
        frontend::sasl_response(scram.message(), &mut self.write).map_err(unavailable)?;
        self.flush().await.map_err(unavailable)?;
        match self.next().await? {
            Message::AuthenticationSaslFinal(body) => scram.finish(body.data()).map_err(unavailable),
            Message::ErrorResponse(body) => Err(refused(body.fields())),
            _ => Err(unexpected("another step of the login")),
        }
    }

    async fn next(&mut self) -> Result<Message, StoreError> {
        loop {
            if let Some(message) = Message::parse(&mut self.read).map_err(unavailable)? {
                return Ok(message);
            }
            self.fill().await.map_err(unavailable)?;
        }
    }

    /// Throws the next message away.
    async fn skip(&mut self) -> io::Result<()> {
        while self.read.len() < 5 {
            self.fill().await?;
        }
        let length = u32::from_be_bytes([self.read[1], self.read[2], self.read[3], self.read[4]]) as usize + 1;
        while self.read.len() < length {
            self.fill().await?;
        }
        let _skipped = self.read.split_to(length);
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.socket.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.write).await?;
        self.write.clear();
        self.socket.flush().await
    }
}

/// Opens a socket to one of the hosts, and tells the name that its certificate must bear.
async fn reach(config: &Config, at: usize) -> io::Result<(Box<dyn Duplex>, String)> {
    let ports = config.get_ports();
    let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    let address = config.get_hostaddrs().get(at).map(ToString::to_string);
    let host = match config.get_hosts().get(at) {
        Some(Host::Unix(directory)) => {
            let socket = UnixStream::connect(directory.join(format!(".s.PGSQL.{port}"))).await?;
            return Ok((Box::new(socket), String::new()));
        }
        Some(Host::Tcp(name)) => name.clone(),
        None => address.clone().unwrap_or_default(),
    };
    let socket = TcpStream::connect((address.as_deref().unwrap_or(&host), port)).await?;
    socket.set_nodelay(true)?;
    Ok((Box::new(socket), host))
}

async fn secure(mut socket: Box<dyn Duplex>, tls: &MakeRustlsConnect, host: &str) -> io::Result<Box<dyn Duplex>> {
    let mut request = BytesMut::with_capacity(8);
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await?;
    socket.flush().await?;
    let mut answer = [0];
    socket.read_exact(&mut answer).await?;
    if answer != *b"S" {
        return Err(io::Error::other(
            "the server offers no TLS; turn it on there, or allow plain text with sslmode=disable in the URL",
        ));
    }
    let mut tls = tls.clone();
    let connect = <MakeRustlsConnect as MakeTlsConnect<Box<dyn Duplex>>>::make_tls_connect(&mut tls, host);
    let Ok(connect) = connect;
    Ok(Box::new(connect.connect(socket).await?))
}

/// What the server is told of how far we are: everything below `seen` need not be sent again.
pub(super) fn status(seen: u64, now_micros: i64, reply: bool) -> BytesMut {
    let mut message = BytesMut::with_capacity(39);
    message.put_u8(b'd');
    message.put_i32(38);
    message.put_u8(b'r');
    for _written_flushed_applied in 0..3 {
        message.put_u64(seen);
    }
    message.put_i64(now_micros);
    message.put_u8(u8::from(reply));
    message
}

/// The words of a server's refusal, with its code.
pub(super) fn refused(mut fields: ErrorFields<'_>) -> StoreError {
    let (mut code, mut words, mut detail) = (String::new(), String::new(), String::new());
    while let Ok(Some(field)) = fields.next() {
        let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = text,
            b'M' => words = text,
            b'D' => detail = format!(" ({text})"),
            _ => {}
        }
    }
    let failure = match code.as_bytes() {
        // Privileges, logins, and what an older server does not know.
        [b'2', b'8', ..] | [b'4', b'2', ..] | [b'0', b'A', ..] => StoreFailure::Refused,
        _ => StoreFailure::Unavailable,
    };
    StoreError::new(failure, format!("the server said {words}{detail} (SQLSTATE {code})"))
}

fn required(password: Option<&[u8]>) -> Result<&[u8], StoreError> {
    password.ok_or_else(|| login("the server asks for a password, and none is configured"))
}

fn login(words: &'static str) -> StoreError {
    StoreError::new(StoreFailure::Refused, words)
}

fn unexpected(what: &str) -> StoreError {
    unavailable(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the server did not send {what}"),
    ))
}

fn timed_out(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))
}

pub(super) fn unavailable(error: io::Error) -> StoreError {
    StoreError::new(StoreFailure::Unavailable, "the replication connection failed").because(error)
}
