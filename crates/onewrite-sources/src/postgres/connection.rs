//! From configuration to a connection: the URL, the password, TLS, time limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use onewrite_core::limits;
use onewrite_core::options::{Field, Kind, Options};
use onewrite_core::{StoreError, StoreFailure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::failed;

/// Where the database is.
pub(crate) const URL: Field = Field {
    name: "url",
    kind: Kind::Secret,
    default: None,
    required: true,
    doc: "The database, as `postgres://user@host:5432/database` or as libpq's `host=… dbname=…`. TLS with a checked certificate \
          is used for every host but loopback and Unix sockets; `sslmode=disable` allows plain text, `sslmode=require` (or \
          `verify-full`) asks for TLS also on loopback.",
};

/// The password apart from the URL.
pub(crate) const PASSWORD: Field = Field {
    name: "password",
    kind: Kind::Secret,
    default: None,
    required: false,
    doc: "The user's password, where the URL does not hold it.",
};

/// Whom to trust.
pub(crate) const CA_FILE: Field = Field {
    name: "ca_file",
    kind: Kind::Text,
    default: None,
    required: false,
    doc: "A PEM file with the certificates of the authorities to trust instead of the system's.",
};

/// How long connecting may take.
pub(crate) const CONNECT_TIMEOUT: Field = Field {
    name: "connect_timeout",
    kind: Kind::Duration,
    default: Some("10s"),
    required: false,
    doc: "How long connecting and logging in may take.",
};

/// Probing an idle connection that often tells a dead peer from a quiet one within half a minute.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 2;

/// Makes connections to one database.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    timeout: Duration,
    place: Arc<str>,
}

impl Connector {
    /// Reads [`URL`], [`PASSWORD`], [`CA_FILE`] and [`CONNECT_TIMEOUT`].
    ///
    /// # Errors
    /// `Refused`, naming the key and what is wrong with it, never its text.
    pub(crate) fn from_options(options: &Options) -> Result<Self, StoreError> {
        let section = options.section();
        let url = options.secret("url").map_or("", |secret| secret.expose());
        let (url, mode) = take_ssl_mode(url);
        // The parser's own error may quote a part of a mistyped URL, and with it a part of the password.
        let mut config: Config = url.parse().map_err(|_| {
            refused(format!(
                "{section}.url is not a PostgreSQL URL; expected something like postgres://user@host:5432/database, with \
                 special characters in user and password percent-encoded"
            ))
        })?;
        if let Some(password) = options.secret("password") {
            config.password(password.expose());
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(refused(format!(
                "{section}.url names no host; expected postgres://user@host:5432/database"
            )));
        }
        let wants_tls = wants_tls(mode.as_deref(), &config, section)?;
        config.ssl_mode(if wants_tls { SslMode::Require } else { SslMode::Disable });
        config
            .keepalives(true)
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE);
        config
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(KEEPALIVE * (KEEPALIVE_RETRIES + 1));
        if config.get_application_name().is_none() {
            config.application_name("onewrite");
        }
        let tls = wants_tls.then(|| tls(options.text("ca_file"), section)).transpose()?;
        let timeout = options.duration("connect_timeout").unwrap_or(limits::CONNECT_TIMEOUT);
        let place = place(&config).into();
        Ok(Self {
            config,
            tls,
            timeout,
            place,
        })
    }

    /// Which database this is, for people: `database at host:port as user`.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The driver's own settings.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// TLS as it is configured; `None` for plain text.
    pub(crate) fn tls(&self) -> Option<&MakeRustlsConnect> {
        self.tls.as_ref()
    }

    /// How long connecting and logging in may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Connects. The connection ends when the client is dropped.
    ///
    /// # Errors
    /// `Unavailable` when nobody answers, `Refused` when the server or its certificate is not as it should be.
    pub(crate) async fn connect(&self) -> Result<Client, StoreError> {
        let doing = format!("connecting to {}", self.place);
        let connecting = async {
            match &self.tls {
                Some(tls) => self.config.connect(tls.clone()).await.map(|(client, connection)| {
                    tokio::spawn(drive(connection));
                    client
                }),
                None => self.config.connect(NoTls).await.map(|(client, connection)| {
                    tokio::spawn(drive(connection));
                    client
                }),
            }
        };
        match tokio::time::timeout(self.timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| failed(&doing, error)),
            Err(_) => Err(StoreError::new(
                StoreFailure::Unavailable,
                format!("{doing}: no answer within {:?}", self.timeout),
            )),
        }
    }
}

/// Moves bytes until the client is dropped. What went wrong reaches the client's callers as well.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(
            error = onewrite_core::error::chain(&error),
            "a database connection ended"
        );
    }
}

fn refused(words: String) -> StoreError {
    StoreError::new(StoreFailure::Refused, words)
}

/// Splits `sslmode` off, since the driver does not know the modes that check certificates.
fn take_ssl_mode(url: &str) -> (String, Option<String>) {
    let (head, parameters, separator) = match (url.contains("://"), url.rsplit_once('?')) {
        (true, Some((head, parameters))) => (format!("{head}?"), parameters, "&"),
        (true, None) => return (url.to_owned(), None),
        (false, _) => (String::new(), url, " "),
    };
    let mode = |parameter: &&str| parameter.starts_with("sslmode=");
    let found = parameters
        .split(separator)
        .find(mode)
        .map(|parameter| parameter["sslmode=".len()..].to_owned());
    let others: Vec<&str> = parameters
        .split(separator)
        .filter(|parameter| !mode(parameter))
        .collect();
    ((head + &others.join(separator)).trim_end_matches('?').to_owned(), found)
}

fn wants_tls(mode: Option<&str>, config: &Config, section: &str) -> Result<bool, StoreError> {
    let near = config.get_hosts().iter().all(is_near) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    match mode {
        None => Ok(!near),
        Some("disable") => Ok(false),
        Some("allow" | "prefer") if near => Ok(false),
        Some(word @ ("allow" | "prefer")) => Err(refused(format!(
            "{section}.url: sslmode={word} would fall back to plain text unnoticed; use verify-full, or disable to allow plain text"
        ))),
        Some("require" | "verify-ca" | "verify-full") => Ok(true),
        Some(_) => Err(refused(format!(
            "{section}.url: unknown sslmode; expected disable, require or verify-full"
        ))),
    }
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn tls(ca_file: Option<&str>, section: &str) -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let unusable = |words: String| refused(format!("{section}.ca_file: {path}: {words}"));
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unusable(format!("expected a readable file of PEM certificates: {error}")))?;
            let (added, _) = roots.add_parsable_certificates(certificates);
            if added == 0 {
                return Err(unusable("holds no certificate".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(format!("{section}: TLS cannot be set up")).because(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn place(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config
            .get_hostaddrs()
            .first()
            .map(IpAddr::to_string)
            .unwrap_or_default(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().unwrap_or("the system's user");
    let database = config
        .get_dbname()
        .or(config.get_user())
        .unwrap_or("the default database");
    format!("{database} at {host}:{port} as {user}")
}

/// Any URL is taken apart; one that asks for a check of certificates is never one without TLS.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(url: &str) {
    let (plain, mode) = take_ssl_mode(url);
    let Ok(config) = plain.parse::<Config>() else { return };
    let wants = wants_tls(mode.as_deref(), &config, "source");
    assert!(matches!(wants, Ok(true)) || !matches!(mode.as_deref(), Some("require" | "verify-ca" | "verify-full")));
    place(&config);
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION_FIELDS: &[Field] = &[URL, PASSWORD, CA_FILE, CONNECT_TIMEOUT];

    fn connector(url: &str) -> Result<Connector, StoreError> {
        Connector::from_options(
            &Options::from_texts("source", CONNECTION_FIELDS, &[("url", url)]).expect("texts that fit"),
        )
    }

    #[test]
    fn plain_text_is_for_loopback_or_on_demand() {
        let tls = |url: &str| {
            connector(url)
                .map(|connector| connector.tls.is_some())
                .map_err(|error| error.to_string())
        };
        assert_eq!(tls("postgres://u@localhost/shop"), Ok(false));
        assert_eq!(tls("postgres://u@127.0.0.1:5499/shop?sslmode=prefer"), Ok(false));
        assert_eq!(
            tls("postgres://u@127.0.0.1/shop?sslmode=verify-full&application_name=x"),
            Ok(true)
        );
        assert_eq!(tls("postgres://u@db.example/shop"), Ok(true));
        assert_eq!(tls("host=db.example user=u sslmode=disable"), Ok(false));
        assert!(
            tls("postgres://u@db.example/shop?sslmode=prefer")
                .unwrap_err()
                .contains("unnoticed")
        );
        assert!(
            tls("postgres://u@db.example/shop?sslmode=maybe")
                .unwrap_err()
                .contains("unknown sslmode")
        );
    }

    #[test]
    fn an_error_never_shows_the_password() {
        for url in [
            "postgres://u:x@h/d?password=y&hunter2",
            "hunter2",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@/d",
        ] {
            let Err(error) = connector(url) else {
                panic!("{url} was taken")
            };
            let words = onewrite_core::error::chain(&error);
            assert!(words.starts_with("source.url"), "{words}");
            assert!(!words.contains("ter2"), "{words}");
        }
    }

    #[test]
    fn a_ca_file_that_is_none_is_told() {
        let texts = [("url", "postgres://u@db.example/shop"), ("ca_file", "/nowhere/ca.pem")];
        let options = Options::from_texts("source", CONNECTION_FIELDS, &texts).expect("texts that fit");
        let words = Connector::from_options(&options).err().expect("an error").to_string();
        assert!(
            words.starts_with("source.ca_file: /nowhere/ca.pem: expected"),
            "{words}"
        );
    }
}
