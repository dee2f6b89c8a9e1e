//! Who the relay is, to a NATS server.

use std::path::{Path, PathBuf};

use async_nats::{Auth, AuthError};
use nkeys::{KeyPair, KeyPairType};
use onewrite_core::options::{Options, Secret};

use crate::registry::BuildError;

/// How the relay logs in.
#[derive(Clone, Debug)]
pub(super) enum Login {
    /// Not at all, or by a client certificate.
    None,
    Password {
        user: String,
        password: Secret,
    },
    Token(Secret),
    /// A file with a JWT and the seed that belongs to it; read for each connection, so that a renewed one counts.
    Credentials(PathBuf),
    /// The seed of a user's key.
    Nkey(Secret),
}

/// The options that name a login, each without the others.
const WAYS: [&str; 4] = ["user", "token", "credentials_file", "nkey_seed"];

impl Login {
    /// Reads the options; a file is read to tell a wrong path before the relay starts.
    pub(super) fn read(options: &Options) -> Result<Self, BuildError> {
        let is_set = |name: &str| options.text(name).is_some() || options.secret(name).is_some();
        let mut set = WAYS.into_iter().filter(|name| is_set(name));
        let (first, second) = (set.next(), set.next());
        if let (Some(first), Some(second)) = (first, second) {
            let words = format!("is set, and so is {first}; keep one of them");
            return Err(BuildError::new(options, second, words));
        }
        if first != Some("user") && is_set("password") {
            return Err(BuildError::new(options, "password", "needs user, whose password it is"));
        }
        let secret = |name: &'static str| match options.secret(name) {
            Some(secret) if secret.expose().is_empty() => {
                let words = "is empty; leave it out, or set the variable that it comes from";
                Err(BuildError::new(options, name, words))
            }
            Some(secret) => Ok(secret.clone()),
            None => Err(BuildError::new(options, "user", format!("needs {name}"))),
        };
        Ok(match first {
            Some("user") => Self::Password {
                user: options.text("user").unwrap_or_default().to_owned(),
                password: secret("password")?,
            },
            Some("token") => Self::Token(secret("token")?),
            Some("credentials_file") => {
                let path = PathBuf::from(options.text("credentials_file").unwrap_or_default());
                credentials(&path).map_err(|words| BuildError::new(options, "credentials_file", words))?;
                Self::Credentials(path)
            }
            Some(_) => {
                let seed = secret("nkey_seed")?;
                user_key(seed.expose()).map_err(|words| BuildError::new(options, "nkey_seed", words))?;
                Self::Nkey(seed)
            }
            None => Self::None,
        })
    }

    /// The options to look at when the server refuses it, for people.
    pub(super) fn advice(&self, has_certificate: bool) -> &'static str {
        match self {
            Self::None if has_certificate => {
                "the server does not take certificate_file for a login: check that it maps certificates to users"
            }
            Self::None => {
                "the server wants a login: set user and password, token, credentials_file or nkey_seed, or a client certificate"
            }
            Self::Password { .. } => "check user and password",
            Self::Token(_) => "check token",
            Self::Credentials(_) => "check credentials_file: whether its user was revoked or has expired",
            Self::Nkey(_) => "check nkey_seed, and that the server knows its public key",
        }
    }

    /// What to say to a server that sent this nonce. Reads a file: not for a thread of the runtime.
    pub(super) fn answer(&self, nonce: &[u8]) -> Result<Auth, AuthError> {
        let mut auth = Auth::new();
        let sign = |seed: &str| {
            let key = user_key(seed).map_err(AuthError::new)?;
            let signature = key.sign(nonce).map_err(AuthError::new)?;
            Ok((key.public_key(), signature))
        };
        match self {
            Self::None => {}
            Self::Password { user, password } => {
                auth.username = Some(user.clone());
                auth.password = Some(password.expose().to_owned());
            }
            Self::Token(token) => auth.token = Some(token.expose().to_owned()),
            Self::Credentials(path) => {
                let (jwt, seed) = credentials(path).map_err(AuthError::new)?;
                auth.signature = Some(sign(seed.expose())?.1);
                auth.jwt = Some(jwt);
            }
            Self::Nkey(seed) => {
                let (public, signature) = sign(seed.expose())?;
                auth.nkey = Some(public);
                auth.signature = Some(signature);
            }
        }
        Ok(auth)
    }
}

fn user_key(seed: &str) -> Result<KeyPair, &'static str> {
    let key = KeyPair::from_seed(seed.trim()).ok();
    key.filter(|key| key.key_pair_type() == KeyPairType::User)
        .ok_or("is no seed of a user; expected a text that begins with \"SU\"")
}

/// The JWT and the seed of a credentials file, as the tools of NATS write it: each in a block of its own.
fn credentials(path: &Path) -> Result<(String, Secret), String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let block = |name: &str| {
        let mut lines = text
            .lines()
            .map(str::trim)
            .skip_while(|line| !is_edge(line, "BEGIN", name))
            .skip(1);
        lines
            .by_ref()
            .take_while(|line| !is_edge(line, "END", name))
            .find(|line| !line.is_empty())
            .ok_or_else(|| format!("{shown} holds no block \"{name}\"; expected a .creds file"))
    };
    let seed = Secret::new(block("USER NKEY SEED")?);
    user_key(seed.expose())
        .map_err(|_| format!("{shown} holds a block \"USER NKEY SEED\" that is no seed of a user"))?;
    Ok((block("NATS USER JWT")?.to_owned(), seed))
}

/// Whether the line is an edge of a block, such as `-----BEGIN USER NKEY SEED-----`; the number of dashes varies.
fn is_edge(line: &str, side: &str, name: &str) -> bool {
    line.starts_with("---") && line.trim_matches('-') == format!("{side} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_is_read_by_its_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("relay.creds");
        let seed = KeyPair::new_user().seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\nheader.claims.signature\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&path, &text).unwrap();
        let (jwt, found) = credentials(&path).unwrap();
        assert_eq!(
            (jwt.as_str(), found.expose()),
            ("header.claims.signature", seed.as_str())
        );

        std::fs::write(&path, text.replace(&seed, "hunter2")).unwrap();
        let told = credentials(&path).unwrap_err();
        assert!(
            told.contains("no seed of a user") && !told.contains("hunter2"),
            "{told}"
        );
        std::fs::write(&path, "hunter2").unwrap();
        let told = credentials(&path).unwrap_err();
        assert!(
            told.contains("holds no block \"USER NKEY SEED\"") && !told.contains("hunter2"),
            "{told}"
        );
    }

    #[test]
    fn each_login_says_what_the_protocol_wants() {
        let key = KeyPair::new_user();
        let auth = Login::Nkey(Secret::new(key.seed().unwrap())).answer(b"nonce").unwrap();
        assert_eq!(auth.nkey, Some(key.public_key()));
        key.verify(b"nonce", &auth.signature.unwrap()).unwrap();
        let auth = Login::Token(Secret::new("t")).answer(b"nonce").unwrap();
        assert_eq!((auth.token.as_deref(), auth.username), (Some("t"), None));
    }
}
