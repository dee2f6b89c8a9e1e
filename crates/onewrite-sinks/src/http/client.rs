//! The HTTP client.

use onewrite_core::error::SinkError;
use reqwest::Client;

use super::settings::Settings;
use crate::web;

/// A client of this route: names are looked up by its rule.
pub(super) async fn client(settings: &Settings, with_certificates: bool) -> Result<Client, SinkError> {
    let client = web::client(settings.tls.client_aside().await?, settings.timeout)
        .tls_info(with_certificates)
        .dns_resolver(settings.egress.clone());
    web::built(client)
}
