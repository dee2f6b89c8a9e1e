//! SASL: looks at what the broker offers before the client does, chooses, and does itself what the client cannot (EXTERNAL on a
//! stream that is ours).

use std::io;

use bytes::Bytes;
use fe2o3_amqp::sasl_profile::{SaslProfile, SaslScramSha1, SaslScramSha256, SaslScramSha512};
use fe2o3_amqp::types::primitives::{Binary, Symbol};
use fe2o3_amqp::types::sasl::{SaslCode, SaslInit, SaslMechanisms, SaslOutcome};
use onewrite_core::error::SinkError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::settings::{Login, Sasl, Settings};
use super::stream::Stream;
use crate::endpoint::{self, Endpoint};

const HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

/// A list of mechanisms is a few hundred bytes.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// A stream on which the client goes on, and what it proves its identity with, where that is left to do.
pub(super) async fn negotiate(
    settings: &Settings,
    place: &Endpoint,
    mut stream: Box<dyn endpoint::Stream>,
) -> Result<(Stream, Option<SaslProfile>), SinkError> {
    let broke = |error: io::Error| {
        SinkError::reconnect(format!("{place} broke the connection off before it said how to log in")).because(error)
    };
    stream.write_all(&HEADER).await.map_err(broke)?;
    stream.flush().await.map_err(broke)?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await.map_err(broke)?;
    if answer != HEADER {
        return Err(another_protocol(place, answer));
    }
    let frame = frame(&mut stream).await.map_err(broke)?;
    let offered = offered(&frame);
    let choice = choose(settings, settings.encrypted, &offered)
        .map_err(|words| SinkError::halt(format!("{place} offers to log in by {}; {words}", offered.join(", "))))?;
    if let Choice::External = choice {
        external(place, &mut stream).await?;
        return Ok((Stream::new(stream, Bytes::new(), 0), None));
    }
    let before = [&HEADER[..], &frame].concat();
    let stream = Stream::new(stream, before.into(), HEADER.len());
    Ok((stream, choice.profile()))
}

/// What a login was refused with, for people.
pub(super) fn refused(place: &Endpoint, code: &SaslCode) -> SinkError {
    match code {
        SaslCode::SysTemp => {
            SinkError::reconnect(format!("{place} cannot check the login at present (SASL: sys-temp)"))
        }
        SaslCode::Sys => SinkError::reconnect(format!("{place} failed to check the login (SASL: sys)")),
        _ => SinkError::halt(format!(
            "{place} refuses the login (SASL: {}); check user and password, or the client certificate, and the option sasl",
            if *code == SaslCode::SysPerm { "sys-perm" } else { "auth" }
        )),
    }
}

enum Choice {
    Anonymous,
    External,
    Plain(Login),
    Scram(Hash, Login),
}

#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

const SCRAM: [(&str, Hash); 3] = [
    ("SCRAM-SHA-512", Hash::Sha512),
    ("SCRAM-SHA-256", Hash::Sha256),
    ("SCRAM-SHA-1", Hash::Sha1),
];

impl Choice {
    fn profile(self) -> Option<SaslProfile> {
        Some(match self {
            Self::External => return None,
            Self::Anonymous => SaslProfile::Anonymous,
            Self::Plain(login) => SaslProfile::Plain {
                username: login.user,
                password: login.password.expose().to_owned(),
            },
            Self::Scram(hash, login) => {
                let (user, password) = (login.user, login.password.expose());
                match hash {
                    Hash::Sha1 => SaslProfile::ScramSha1(SaslScramSha1::new(user, password)),
                    Hash::Sha256 => SaslProfile::ScramSha256(SaslScramSha256::new(user, password)),
                    Hash::Sha512 => SaslProfile::ScramSha512(SaslScramSha512::new(user, password)),
                }
            }
        })
    }
}

/// The mechanism to use, or what is missing.
fn choose(settings: &Settings, encrypted: bool, offered: &[String]) -> Result<Choice, &'static str> {
    let has = |name: &str| offered.iter().any(|offer| offer == name);
    let plain = |login: &Login| has("PLAIN").then(|| Choice::Plain(login.clone()));
    let scram = |login: &Login| {
        let (_, hash) = SCRAM.into_iter().find(|(name, _)| has(name))?;
        Some(Choice::Scram(hash, login.clone()))
    };
    match (settings.sasl, &settings.login) {
        (Sasl::Plain, Some(login)) => plain(login).ok_or("PLAIN, which the option sasl asks for, is not among them"),
        (Sasl::Scram, Some(login)) => scram(login).ok_or("SCRAM, which the option sasl asks for, is not among them"),
        // Over TLS the password is safe, and PLAIN works with every kind of user database behind the broker.
        (_, Some(login)) if encrypted => plain(login)
            .or_else(|| scram(login))
            .ok_or("none of them takes user and password"),
        (_, Some(login)) => scram(login)
            .or_else(|| plain(login))
            .ok_or("none of them takes user and password"),
        (Sasl::External, None) if has("EXTERNAL") => Ok(Choice::External),
        (Sasl::External, None) => Err("EXTERNAL, which the option sasl asks for, is not among them"),
        (Sasl::Auto, None) if has("EXTERNAL") && encrypted && settings.tls.has_client_certificate() => {
            Ok(Choice::External)
        }
        (_, None) if has("ANONYMOUS") => Ok(Choice::Anonymous),
        (_, None) => Err("set user and password, or certificate_file and key_file"),
    }
}

async fn external(place: &Endpoint, stream: &mut Box<dyn endpoint::Stream>) -> Result<(), SinkError> {
    let broke = |error: io::Error| {
        SinkError::reconnect(format!(
            "{place} broke the connection off while it checked the client certificate"
        ))
        .because(error)
    };
    let init = SaslInit {
        mechanism: Symbol::from("EXTERNAL"),
        initial_response: Some(Binary::from(Vec::new())),
        hostname: Some(place.host.clone()),
    };
    let body = serde_amqp::to_vec(&init).map_err(|error| broke(io::Error::other(error)))?;
    let size = u32::try_from(body.len() + 8).unwrap_or(u32::MAX);
    let frame_bytes = [&size.to_be_bytes()[..], &[2, 1, 0, 0], &body].concat();
    stream.write_all(&frame_bytes).await.map_err(broke)?;
    stream.flush().await.map_err(broke)?;
    let answer = frame(stream).await.map_err(broke)?;
    let outcome: SaslOutcome =
        serde_amqp::from_slice(body_of(&answer)).map_err(|error| broke(io::Error::other(error)))?;
    match outcome.code {
        SaslCode::Ok => Ok(()),
        code => Err(refused(place, &code)),
    }
}

/// One frame with its size.
async fn frame(stream: &mut Box<dyn endpoint::Stream>) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).await?;
    let length = u32::from_be_bytes(size) as usize;
    if !(8..=FRAME_BYTES_MAX).contains(&length) {
        return Err(io::Error::other(format!("a frame of {length} bytes")));
    }
    let mut frame = size.to_vec();
    frame.resize(length, 0);
    stream.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

fn body_of(frame: &[u8]) -> &[u8] {
    let offset = usize::from(frame[4]) * 4;
    frame.get(offset..).unwrap_or_default()
}

fn offered(frame: &[u8]) -> Vec<String> {
    let mechanisms: Result<SaslMechanisms, _> = serde_amqp::from_slice(body_of(frame));
    let mechanisms = mechanisms.map_or_else(|_| Vec::new(), |list| list.sasl_server_mechanisms.0);
    mechanisms.into_iter().map(|name| name.0).collect()
}

fn another_protocol(place: &Endpoint, answer: [u8; 8]) -> SinkError {
    let words = match &answer {
        b"AMQP\x00\x00\x09\x01" | b"AMQP\x01\x01\x00\x09" | b"AMQP\x01\x01\x00\x0a" => {
            "speaks an older AMQP and not 1.0; for RabbitMQ before version 4 use a sink of the type \"rabbitmq\""
        }
        b"AMQP\x02\x01\x00\x00" => "asks for TLS first; use amqps://",
        b"AMQP\x00\x01\x00\x00" => "does not let anybody log in (it speaks AMQP 1.0 without SASL)",
        _ => "does not speak AMQP 1.0",
    };
    SinkError::reconnect(format!(
        "{place} {words}; it answered {:?}",
        answer.escape_ascii().to_string()
    ))
}

/// Any greeting of a broker leads to a login or to an error in words.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    use std::io::Cursor;
    use std::sync::LazyLock;

    use onewrite_core::options::Options;

    static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
        let texts = [("urls", "amqp://broker"), ("user", "relay"), ("password", "hunter2")];
        let options = Options::from_texts("sinks.x", super::FIELDS, &texts).expect("they are right");
        Settings::read(&options).expect("they are right")
    });
    // serde_amqp 0.18 adds to the count that a list gives for itself. In the released program that wraps, and the list is refused; here it
    // would be a panic.
    if bytes.windows(3).any(|window| window == [0xff; 3]) {
        return;
    }
    let place = Endpoint {
        host: "broker".to_owned(),
        port: 5672,
    };
    let stream = tokio::io::join(Cursor::new(bytes.to_vec()), tokio::io::sink());
    let negotiated = futures::executor::block_on(negotiate(&SETTINGS, &place, Box::new(stream)));
    if let Err(error) = negotiated {
        assert!(error.to_string().starts_with("broker:5672 "), "{error}");
    }
    if let Some(frame) = bytes.get(HEADER.len()..).filter(|frame| frame.len() >= 8) {
        let _outcome: Result<SaslOutcome, _> = serde_amqp::from_slice(body_of(frame));
    }
}

#[cfg(test)]
mod tests {
    use onewrite_core::options::Options;

    use super::super::FIELDS;
    use super::*;

    fn chosen(texts: &[(&str, &str)], encrypted: bool, offered: &[&str]) -> Result<&'static str, &'static str> {
        let texts = [&[("urls", "amqp://broker")], texts].concat();
        let settings = Settings::read(&Options::from_texts("sinks.x", FIELDS, &texts).unwrap()).unwrap();
        let offered: Vec<String> = offered.iter().map(|name| (*name).to_owned()).collect();
        choose(&settings, encrypted, &offered).map(|choice| match choice {
            Choice::Anonymous => "ANONYMOUS",
            Choice::External => "EXTERNAL",
            Choice::Plain(_) => "PLAIN",
            Choice::Scram(Hash::Sha1, _) => "SHA-1",
            Choice::Scram(Hash::Sha256, _) => "SHA-256",
            Choice::Scram(Hash::Sha512, _) => "SHA-512",
        })
    }

    #[test]
    fn the_mechanism_fits_what_is_offered_and_what_is_there() {
        let all = ["ANONYMOUS", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "EXTERNAL"];
        let login = [("user", "u"), ("password", "p")];
        assert_eq!(chosen(&login, false, &all), Ok("SHA-256"));
        assert_eq!(chosen(&login, true, &all), Ok("PLAIN"));
        assert_eq!(chosen(&login, true, &["SCRAM-SHA-512"]), Ok("SHA-512"));
        assert_eq!(chosen(&[], true, &all), Ok("ANONYMOUS"));
        assert!(
            chosen(&login, false, &["ANONYMOUS"])
                .unwrap_err()
                .contains("user and password")
        );
        assert!(
            chosen(&[], false, &["PLAIN"])
                .unwrap_err()
                .contains("set user and password")
        );
        let scram = [&login[..], &[("sasl", "scram")]].concat();
        assert!(chosen(&scram, false, &["PLAIN"]).unwrap_err().contains("SCRAM"));
    }
}
