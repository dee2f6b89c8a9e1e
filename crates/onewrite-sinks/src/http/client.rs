//! The HTTP client.

use std::sync::Arc;

use onewrite_core::error::SinkError;
use reqwest::Client;

use super::settings::Settings;
use crate::limits::HTTP_CONNECT_TIMEOUT;

/// A client of this route: no redirects, no proxy, no repetition of its own, and names looked up by the route's rule.
pub(super) async fn client(settings: Arc<Settings>, with_certificates: bool) -> Result<Client, SinkError> {
    let built = tokio::task::spawn_blocking(move || {
        Client::builder()
            .tls_backend_preconfigured(settings.tls.client()?)
            .tls_info(with_certificates)
            .dns_resolver(settings.egress.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("onewrite/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(HTTP_CONNECT_TIMEOUT.min(settings.timeout))
            .timeout(settings.timeout)
            .build()
            .map_err(|error| SinkError::reconnect("cannot make an HTTP client").because(error))
    });
    built
        .await
        .unwrap_or_else(|error| Err(SinkError::reconnect("making an HTTP client broke off").because(error)))
}
