//! Signed requests.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use onewrite_core::error::SinkError;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, FileRead, HttpSend, OsEnv, Signer};
use reqwest::{Client, StatusCode};
use sha2::{Digest, Sha256};

use super::settings::{Credentials, Settings};
use crate::limits::{BATCH_RESPONSE_BYTES_MAX, HTTP_CONNECT_TIMEOUT};
use crate::web::Body;

/// A request, still to be signed.
pub(crate) struct Request {
    pub content_type: &'static str,
    /// The header `x-amz-target`, for a protocol that has the action there.
    pub target: Option<&'static str>,
    pub body: Vec<u8>,
}

/// What signs and sends.
pub(super) struct AwsClient {
    settings: Arc<Settings>,
    client: Client,
    signer: Signer<Credential>,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// Nothing can have arrived.
    Unsent(SinkError),
    /// It may have arrived.
    Unknown(SinkError),
}

impl AwsClient {
    /// A client of the service that goes by this name in signatures.
    pub(super) async fn new(service: &'static str, settings: Arc<Settings>) -> Result<Self, SinkError> {
        let tls = settings.tls.client_aside().await?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("onewrite/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(HTTP_CONNECT_TIMEOUT.min(settings.timeout))
            .timeout(settings.timeout)
            .build()
            .map_err(|error| SinkError::reconnect("cannot make an HTTP client").because(error))?;
        let signer = signer(service, &settings, client.clone());
        Ok(Self {
            settings,
            client,
            signer,
        })
    }

    /// Signs a request and sends it.
    pub(super) async fn call(&self, request: Request) -> Result<(StatusCode, Body), NoAnswer> {
        let request = self.signed(request).await.map_err(NoAnswer::Unsent)?;
        let mut response = self
            .client
            .execute(request)
            .await
            .map_err(|error| self.no_answer(error))?;
        let body = Body::read(&mut response, BATCH_RESPONSE_BYTES_MAX).await;
        body.map(|body| (response.status(), body))
            .map_err(|error| self.no_answer(error))
    }

    async fn signed(&self, request: Request) -> Result<reqwest::Request, SinkError> {
        let unusable = "cannot make a request of the settings";
        let hash = Sha256::digest(&request.body);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut head = http::Request::post(self.settings.endpoint.as_str())
            .header("content-type", request.content_type)
            .header("x-amz-content-sha256", hash);
        if let Some(target) = request.target {
            head = head.header("x-amz-target", target);
        }
        let body = Bytes::from(request.body);
        let head = head
            .body(())
            .map_err(|error| SinkError::reconnect(unusable).because(error))?;
        let (mut parts, ()) = head.into_parts();
        self.signer.sign(&mut parts, None).await.map_err(|error| {
            SinkError::reconnect("there are no usable AWS credentials; set access_key_id, a profile, or a role")
                .because(error)
        })?;
        let request = http::Request::from_parts(parts, body);
        reqwest::Request::try_from(request).map_err(|error| SinkError::reconnect(unusable).because(error))
    }

    fn no_answer(&self, error: reqwest::Error) -> NoAnswer {
        let origin = &self.settings.origin;
        let error = error.without_url();
        if error.is_connect() {
            return NoAnswer::Unsent(SinkError::reconnect(format!("cannot connect to {origin}")).because(error));
        }
        let what = if error.is_timeout() {
            format!("{origin} did not answer within {:?}", self.settings.timeout)
        } else {
            format!("the connection to {origin} broke before the answer was complete")
        };
        let words = format!("{what}; whether the events arrived is unknown");
        NoAnswer::Unknown(SinkError::reconnect(words).because(error))
    }
}

fn signer(service: &str, settings: &Settings, client: Client) -> Signer<Credential> {
    let context = Context::new()
        .with_env(OsEnv)
        .with_file_read(Files)
        .with_http_send(Web(client));
    let request = RequestSigner::new(service, &settings.region);
    match &settings.credentials {
        Credentials::Given { id, secret, token } => {
            let mut given = StaticCredentialProvider::new(id, secret.expose());
            if let Some(token) = token {
                given = given.with_session_token(token.expose());
            }
            Signer::new(context, given, request)
        }
        Credentials::Chain(profile) => {
            let mut chain = DefaultCredentialProvider::builder().no_process();
            if let Some(profile) = profile {
                chain = chain.with_profile(profile);
            }
            Signer::new(context, chain.build(), request)
        }
    }
}

/// The shared configuration files.
#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        let read = read.map_err(|error| reqsign_core::Error::unexpected(error.to_string()))?;
        read.map_err(|error| reqsign_core::Error::unexpected("a credentials file cannot be read").with_source(error))
    }
}

/// What hands out the credentials of roles.
struct Web(Client);

impl fmt::Debug for Web {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Web")
    }
}

impl HttpSend for Web {
    async fn http_send(&self, request: http::Request<Bytes>) -> reqsign_core::Result<http::Response<Bytes>> {
        let failed = |error: reqwest::Error| {
            let words = "what hands out credentials did not answer";
            reqsign_core::Error::unexpected(words).with_source(error.without_url())
        };
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let response = self.0.execute(request).await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer = http::Response::new(response.bytes().await.map_err(failed)?);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}
