//! Signed requests.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use onewrite_core::error::SinkError;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, FileRead, HttpSend, OsEnv, Signer};
use reqwest::{Client, StatusCode};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use super::settings::{Credentials, Settings};
use crate::hex::hex;
use crate::limits::BATCH_RESPONSE_BYTES_MAX;
use crate::web::{self, Body, NoAnswer};

/// A request, still to be signed.
pub(crate) struct Request {
    pub content_type: &'static str,
    /// The header `x-amz-target`, for a protocol that has the action there.
    pub target: Option<&'static str>,
    pub body: Vec<u8>,
}

/// What signs and sends.
pub(crate) struct AwsClient {
    settings: Arc<Settings>,
    client: Client,
    signer: Signer<Credential>,
}

impl AwsClient {
    /// A client of the service that goes by this name in signatures.
    pub(crate) async fn new(service: &'static str, settings: Arc<Settings>) -> Result<Self, SinkError> {
        let client = web::built(web::client(settings.tls.client_aside().await?, settings.timeout))?;
        let signer = signer(service, &settings, client.clone());
        Ok(Self {
            settings,
            client,
            signer,
        })
    }

    /// Signs a request and sends it. All of it has the time of one request: fetching credentials can take several of their own.
    ///
    /// # Errors
    /// To connect anew, with what happened, and whether the events may have arrived.
    pub(super) async fn call(&self, request: Request) -> Result<(StatusCode, Body), SinkError> {
        self.call_for(request, BATCH_RESPONSE_BYTES_MAX).await
    }

    /// The same where the answer may have more bytes than one to a batch: `most`.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub(crate) async fn call_for(&self, request: Request, most: usize) -> Result<(StatusCode, Body), SinkError> {
        let patience = self.settings.timeout;
        let begun = Instant::now();
        let signed = timeout(patience, self.signed(request)).await;
        let mut request = signed.unwrap_or_else(|_| {
            Err(SinkError::reconnect(format!(
                "the AWS credentials could not be fetched within {patience:?}; nothing was sent"
            )))
        })?;
        *request.timeout_mut() = Some(patience.saturating_sub(begun.elapsed()));
        let no_answer = |error| NoAnswer::new(&self.settings.origin, patience, error).error;
        let mut response = self.client.execute(request).await.map_err(no_answer)?;
        let body = Body::read(&mut response, most).await;
        Ok((response.status(), body.map_err(no_answer)?))
    }

    async fn signed(&self, request: Request) -> Result<reqwest::Request, SinkError> {
        let unusable = "cannot make a request of the settings";
        let hash = hex(&Sha256::digest(&request.body));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use onewrite_core::error::Action;
    use onewrite_core::options::Options;
    use onewrite_core::template::Template;
    use reqsign_core::ProvideCredential;
    use reqwest::Url;

    use super::*;
    use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE, TlsFiles};

    /// Credentials that nobody hands out.
    #[derive(Debug)]
    struct Never;

    impl ProvideCredential for Never {
        type Credential = Credential;

        async fn provide_credential(&self, _: &Context) -> reqsign_core::Result<Option<Credential>> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn credentials_have_no_more_time_than_the_request_that_needs_them() {
        let options = Options::from_texts("sinks.x", &[CA_FILE, CERTIFICATE_FILE, KEY_FILE], &[]).unwrap();
        let settings = Settings {
            address: Template::parse("q").unwrap(),
            region: "eu-west-1".to_owned(),
            endpoint: Url::parse("http://127.0.0.1:1/").unwrap(),
            origin: "http://127.0.0.1:1".to_owned(),
            credentials: Credentials::Chain(None),
            message_bytes_max: 1,
            timeout: Duration::from_millis(50),
            concurrency: 1,
            tls: TlsFiles::read(&options, None).unwrap(),
        };
        let mut client = AwsClient::new("sqs", Arc::new(settings)).await.unwrap();
        client.signer = Signer::new(Context::new(), Never, RequestSigner::new("sqs", "eu-west-1"));
        let request = Request {
            content_type: "application/x-amz-json-1.0",
            target: None,
            body: Vec::new(),
        };
        let error = client.call(request).await.err().unwrap();
        assert_eq!(error.action, Action::Reconnect);
        assert!(
            error.to_string().contains("could not be fetched within 50ms"),
            "{error}"
        );
    }
}
