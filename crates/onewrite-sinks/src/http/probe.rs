//! What `onewrite check` says about an HTTP endpoint. No event is sent.

use jiff::{Timestamp, Unit};
use onewrite_core::error::chain;
use onewrite_core::sink::Finding;
use reqwest::tls::TlsInfo;
use reqwest::{Method, Response, StatusCode};

use super::client::client;
use super::egress::reach;
use super::settings::Settings;
use crate::limits::CERTIFICATE_WARNING;
use crate::tls::valid_until;

/// Looks at everything that a delivery will need, up to the first thing that stands in the way of the rest.
pub(super) async fn probe(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let host = format!("host {}", settings.egress.host());
    match settings.egress.addresses().await {
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let rule = if settings.egress.has_list() {
                "allow_hosts allows it"
            } else {
                "allow_hosts is not set"
            };
            findings.push(Finding::works(host, format!("is at {}; {rule}", addresses.join(", "))));
        }
        Err(error) => {
            findings.push(Finding::broken(host, chain(&error)));
            return findings;
        }
    }
    let subject = format!("endpoint {}", settings.origin);
    if let Err(error) = reach(settings).await {
        findings.push(Finding::broken(subject, chain(&error)));
        return findings;
    }
    match ask(settings).await {
        Ok(response) => {
            findings.push(status(subject, response.status()));
            findings.extend(certificate(settings, &response));
        }
        Err(words) => findings.push(Finding::broken(subject, words)),
    }
    findings.extend(unencrypted(settings));
    findings
}

async fn ask(settings: &Settings) -> Result<Response, String> {
    let client = client(settings, true).await.map_err(|error| chain(&error))?;
    let request = client
        .request(Method::OPTIONS, settings.url.clone())
        .headers(settings.headers.clone());
    let answer = request.send().await;
    answer.map_err(|error| format!("takes connections, but OPTIONS failed: {}", chain(&error.without_url())))
}

fn status(subject: String, status: StatusCode) -> Finding {
    let answered = format!("answers OPTIONS with {status}");
    match status.as_u16() {
        401 | 403 | 407 => Finding::warning(
            subject,
            format!(
                "{answered}; if it answers POST in the same way, check bearer_token, headers and the client certificate"
            ),
        ),
        300..=399 => Finding::warning(
            subject,
            format!("{answered}; redirects are not followed, so check that the url is the final one"),
        ),
        500..=599 => Finding::warning(subject, format!("{answered}; the receiver may be in trouble")),
        _ => Finding::works(
            subject,
            format!("{answered}; whether it takes events only a POST can show"),
        ),
    }
}

fn certificate(settings: &Settings, response: &Response) -> Option<Finding> {
    let info = response.extensions().get::<TlsInfo>()?;
    let until = valid_until(info.peer_certificate()?)?;
    let subject = format!("certificate of {}", settings.egress.host());
    let left = until.duration_since(Timestamp::now());
    let until = until.round(Unit::Second).unwrap_or(until);
    let words = format!("is valid until {until}");
    let soon = left.as_secs() < CERTIFICATE_WARNING.as_secs().cast_signed();
    Some(if soon {
        Finding::warning(subject, format!("{words}; the receiver should renew it"))
    } else {
        Finding::works(subject, words)
    })
}

fn unencrypted(settings: &Settings) -> Option<Finding> {
    let host = settings.egress.host();
    let local = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    (settings.url.scheme() == "http" && !local).then(|| {
        Finding::warning(
            format!("url {}", settings.origin),
            "is not encrypted: whoever carries the traffic can read the events and the credentials; use https://",
        )
    })
}
