//! The registry's API, as Confluent's reference has it (`/subjects`, `/schemas`, `/compatibility`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use onewrite_core::error::{Action, SinkError, chain};
use onewrite_tls::TlsFiles;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::Mutex;

use super::settings::{Credentials, Reference, Settings};
use crate::limits::{REGISTRY_ANSWER_BYTES_MAX, REGISTRY_CONNECT_TIMEOUT};

/// The registry's own media type.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Asks a registry.
pub(super) struct Registry {
    urls: Vec<Url>,
    /// The place in `urls` of the address that answered last.
    answering: AtomicUsize,
    credentials: Credentials,
    tls: TlsFiles,
    /// How long one request may take.
    timeout: Duration,
    /// Made when it is first needed, and anew after no address answered: certificates may have been renewed.
    client: Mutex<Option<Client>>,
}

/// Why the registry gave no answer that could be used.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It did not answer, or answered that it cannot now; or another answered in its place.
    #[error("{words}")]
    Away {
        /// Its words, or what became of the request.
        words: String,
        /// When it is worthwhile to try again, where that is known.
        after: Option<Duration>,
    },
    /// It refused this subject, and will refuse the same again.
    #[error("{0}")]
    Refused(String),
    /// It refuses everything until a person changes something.
    #[error("{0}")]
    Denied(String),
}

impl From<Failure> for SinkError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Away { words, after } => Self::new(Action::Retry { after }, words),
            Failure::Refused(words) => Self::park(words),
            Failure::Denied(words) => Self::halt(words),
        }
    }
}

impl Failure {
    pub fn away(words: impl Into<String>) -> Self {
        Self::Away {
            words: words.into(),
            after: None,
        }
    }
}

/// A schema as the registry holds it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Registered {
    /// Its number, by which readers find it; answers about a schema by its number leave it out.
    #[serde(default)]
    pub id: u32,
    /// Its text.
    pub schema: String,
    /// `AVRO`, `JSON` or `PROTOBUF`; left out or null for Avro.
    #[serde(default = "avro", rename = "schemaType", deserialize_with = "avro_where_null")]
    pub schema_type: String,
    /// What it refers to; left out or null where that is nothing.
    #[serde(default, deserialize_with = "none_where_null")]
    pub references: Vec<Reference>,
    /// Which of the subject's versions it is.
    #[serde(default)]
    pub version: u32,
}

fn avro() -> String {
    "AVRO".to_owned()
}

fn avro_where_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(avro))
}

fn none_where_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Reference>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A schema as it is handed to the registry.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Proposed<'a> {
    pub schema: &'a str,
    #[serde(rename = "schemaType")]
    pub schema_type: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub references: &'a [Reference],
}

#[derive(Deserialize)]
struct Number {
    id: u32,
}

#[derive(Deserialize)]
struct Compatibility {
    is_compatible: bool,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: i64,
    message: String,
}

impl Registry {
    pub fn new(settings: &Settings) -> Self {
        Self {
            urls: settings.urls.clone(),
            answering: AtomicUsize::new(0),
            credentials: settings.credentials.clone(),
            tls: settings.tls.clone(),
            // The addresses share the time, and leave a tenth of it for what is done besides.
            timeout: settings.timeout.mul_f64(0.9) / u32::try_from(settings.urls.len()).unwrap_or(u32::MAX),
            client: Mutex::new(None),
        }
    }

    /// Where it is, for people.
    pub fn addresses(&self) -> String {
        self.urls.iter().map(Url::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The schema of a subject: its latest version, or this one.
    pub async fn of_subject(&self, subject: &str, version: Option<u32>) -> Result<Registered, Failure> {
        let version = version.map_or_else(|| "latest".to_owned(), |number| number.to_string());
        self.ask(Method::GET, &["subjects", subject, "versions", &version], None)
            .await
    }

    /// The schema of a number.
    pub async fn of_id(&self, id: u32) -> Result<Registered, Failure> {
        let found: Registered = self
            .ask(Method::GET, &["schemas", "ids", &id.to_string()], None)
            .await?;
        Ok(Registered { id, ..found })
    }

    /// The number of a schema that a subject has.
    pub async fn find(&self, subject: &str, proposed: &Proposed<'_>) -> Result<u32, Failure> {
        let found: Number = self.ask(Method::POST, &["subjects", subject], Some(proposed)).await?;
        Ok(found.id)
    }

    /// Registers a schema under a subject, and tells its number; one that is there already is not registered again.
    pub async fn register(&self, subject: &str, proposed: &Proposed<'_>) -> Result<u32, Failure> {
        let path = ["subjects", subject, "versions"];
        let registered: Number = self.ask(Method::POST, &path, Some(proposed)).await?;
        Ok(registered.id)
    }

    /// Whether a schema could be registered as the next version of a subject.
    pub async fn is_compatible(&self, subject: &str, proposed: &Proposed<'_>) -> Result<bool, Failure> {
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        let answer: Compatibility = self.ask(Method::POST, &path, Some(proposed)).await?;
        Ok(answer.is_compatible)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Proposed<'_>>,
    ) -> Result<T, Failure> {
        let client = self.client().await?;
        let first = self.answering.load(Ordering::Relaxed);
        let mut away = None;
        for step in 0..self.urls.len() {
            let place = (first + step) % self.urls.len();
            // Whoever gives up in the middle begins with the next.
            self.answering.store((place + 1) % self.urls.len(), Ordering::Relaxed);
            match self.ask_one(&client, &self.urls[place], &method, path, body).await {
                Err(failure @ Failure::Away { .. }) => away = Some(failure),
                answered => {
                    self.answering.store(place, Ordering::Relaxed);
                    return answered;
                }
            }
        }
        *self.client.lock().await = None;
        Err(away.expect("there is at least one address"))
    }

    async fn ask_one<T: DeserializeOwned>(
        &self,
        client: &Client,
        base: &Url,
        method: &Method,
        path: &[&str],
        body: Option<&Proposed<'_>>,
    ) -> Result<T, Failure> {
        let mut url = base.clone();
        url.path_segments_mut()
            .expect("an http URL has a path")
            .pop_if_empty()
            .extend(path);
        let mut request = client.request(method.clone(), url).header(ACCEPT, MEDIA_TYPE);
        request = match &self.credentials {
            Credentials::Nobody => request,
            Credentials::User(user, password) => request.basic_auth(user, Some(password.expose())),
            Credentials::Token(token) => request.bearer_auth(token.expose()),
        };
        if let Some(body) = body {
            let json = serde_json::to_vec(body).expect("texts and numbers make JSON");
            request = request.header(CONTENT_TYPE, MEDIA_TYPE).body(json);
        }
        let away = |error: reqwest::Error| {
            let words = chain(&error.without_url());
            Failure::away(format!("the schema registry {base} does not answer: {words}"))
        };
        let mut response = request.send().await.map_err(away)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            answer.extend_from_slice(&chunk);
            if answer.len() > REGISTRY_ANSWER_BYTES_MAX {
                let words = format!("answered more than {REGISTRY_ANSWER_BYTES_MAX} bytes, which no schema has");
                return Err(Failure::Refused(format!("the schema registry {base} {words}")));
            }
        }
        if !status.is_success() {
            return Err(refusal(base, status, path, &answer));
        }
        serde_json::from_slice(&answer).map_err(|error| {
            let words = "answered what a schema registry does not; check the path of its address";
            Failure::away(format!("{base} {words}: {error}"))
        })
    }

    async fn client(&self) -> Result<Client, Failure> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let away = |words: String| Failure::away(format!("no request to the schema registry can be made: {words}"));
        let tls = self.tls.client_aside().await.map_err(|error| away(chain(&error)))?;
        let made = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("onewrite/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(REGISTRY_CONNECT_TIMEOUT.min(self.timeout))
            .timeout(self.timeout)
            .build()
            .map_err(|error| away(chain(&error)))?;
        Ok(client.insert(made).clone())
    }
}

/// What an answer that is no success means. The registry's own words stay in it.
fn refusal(base: &Url, status: StatusCode, path: &[&str], answer: &[u8]) -> Failure {
    let asked = path.join("/");
    let refusal: Option<Refusal> = serde_json::from_slice(answer).ok();
    let words = match &refusal {
        Some(Refusal { error_code, message }) => format!("error {error_code}: {message}"),
        None => {
            let text = String::from_utf8_lossy(answer);
            text.trim().chars().take(300).collect()
        }
    };
    let told = format!("the schema registry {base} answered {status} to {asked}: {words}");
    // The registry's own codes have five digits.
    let is_registrys = refusal.is_some_and(|refusal| refusal.error_code >= 10_000);
    match status.as_u16() {
        401 | 407 => Failure::Denied(format!("{told}; check user and password, or bearer_token")),
        // Who we are is known, but this is not ours to read or to register: other subjects may be. A code of three digits is that
        // of the server before any subject was looked at.
        403 if is_registrys => Failure::Refused(format!("{told}; let the user do this with the subject")),
        403 => Failure::Denied(format!("{told}; let the user, or the bearer_token, use the registry")),
        408 | 425 | 429 | 500.. => Failure::away(told),
        // What is not the registry's own answer is that of another path, or of some server before it while the registry is away.
        300..=399 => Failure::away(format!("{told}; redirects are not followed, so check its address")),
        404 | 405 if !is_registrys => Failure::away(format!("{told}; check the path of its address")),
        _ => Failure::Refused(told),
    }
}

/// Any answer is a schema or a refusal, with the registry's words as far as they are short enough to be shown.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    let _schema: Result<Registered, _> = serde_json::from_slice(bytes);
    let base = Url::parse("http://localhost:8081").expect("it is one");
    for status in [
        StatusCode::NOT_FOUND,
        StatusCode::FORBIDDEN,
        StatusCode::UNPROCESSABLE_ENTITY,
    ] {
        let words = refusal(&base, status, &["subjects"], bytes).to_string();
        assert!(words.contains("http://localhost:8081/ answered"), "{words}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_may_leave_out_what_goes_without_saying() {
        for json in [
            r#"{"schema":"x"}"#,
            r#"{"schema":"x","schemaType":null,"references":null,"subject":"s","metadata":{}}"#,
            r#"{"id":7,"version":1,"schema":"x","schemaType":"AVRO","references":[]}"#,
        ] {
            let read: Registered = serde_json::from_str(json).unwrap();
            assert_eq!((&*read.schema_type, read.references.len()), ("AVRO", 0), "{json}");
        }
    }
}
