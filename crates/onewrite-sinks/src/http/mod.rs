//! The sink `http`: POST to one URL, an event at a time or in batches.
//!
//! # One event a request (`mode = "event"`)
//! The body is the payload, untouched. Headers:
//!
//! | header | holds |
//! | --- | --- |
//! | `content-type` | the event's content type |
//! | `idempotency-key` | the event's id: the same on every delivery, so a receiver can drop what it has seen |
//! | `onewrite-id`, `onewrite-topic`, `onewrite-type`, `onewrite-occurred-at` | as on every wire |
//! | `onewrite-key` | the event's key; left out where it has none |
//! | the event's own | under their own names |
//!
//! A header can carry less than an event can. In the headers that begin with `onewrite-`, every byte that is not visible
//! ASCII, and `%` itself, is percent-encoded: decoding always gives the text back. Other values travel as they are where
//! they are visible ASCII with blanks and tabs inside; else they are encoded in the same way. An event cannot say how the
//! message is framed nor who is asking: its headers of the names in [`NEVER_FROM_EVENTS`](request::NEVER_FROM_EVENTS) are
//! left out, and the route's own `headers` win over an event's.
//!
//! # Many events a request (`mode = "batch"`)
//! The body is a JSON array of [envelopes](onewrite_core::envelope), `idempotency-key` a hash of their ids. With the format
//! `cloudevents` in structured mode it is an array of CloudEvents instead, of the type `application/cloudevents-batch+json`. Bodies
//! of other formats have no place in an array, and a route that asks for one is refused when the relay starts. A request never
//! holds two events of one key, so a receiver need not keep order inside it. Any 2xx settles all of them, unless the answer is a
//! JSON object with failures; an event that is named there is tried again (`retry` true or left out) or parked:
//!
//! ```json
//! {"failed": [{"id": "0191e5a0-…", "retry": false, "error": "no such customer"}]}
//! ```
//!
//! An answer that a single event may have caused (a 4xx that would park it, or 500) is followed by halves of the request,
//! until the events that are refused by themselves stand alone; only these are parked, or tried again.
//!
//! # Signature
//! With `hmac_secret`, each request carries `onewrite-signature: t=<seconds since 1970>,v1=<hex>`, where the hex digits are
//! HMAC-SHA256, under the secret, of `<t>.<body>`. To verify: take `t` and `v1` from the header, compute the same over `t`, a
//! full stop, and the body's bytes as received, compare in constant time, and refuse a `t` older than five minutes. The
//! signature covers the body, not the headers; with `mode = "batch"` everything is in the body.
//!
//! # Answers
//!
//! | answer | what becomes of the event |
//! | --- | --- |
//! | 2xx | delivered |
//! | 408, 425, 5xx | tried again; `Retry-After` is honoured, up to an hour |
//! | 429, or any of these with `Retry-After` | the same, and the rest of the delivery waits too |
//! | 302, 303, 307, 401, 403, 404, 405, 407, 421 | tried again, with the rest of the delivery: they speak of the address or the credentials, which all events share and which somebody will put right. Parking a day's events because a token expired would help nobody |
//! | 301, 308, 410, other 3xx | the route halts: the server says that this address is wrong for good. Redirects are never followed, since they would carry the events and the credentials elsewhere |
//! | other 4xx | parked, with the status and the first 1,000 characters of the answer |
//! | none within `timeout`, or the connection broke | unknown, so tried again under the same `idempotency-key` |
//! | no connection, no such name, bad certificate | tried again, after connecting anew |
//!
//! # Order
//! Events of one key go strictly one after another, the next only after a 2xx to the one before; different keys go at the
//! same time, up to `concurrency` requests. A failure ends its key for this delivery. What no sender can rule out: a receiver
//! that is still at work on a request when `timeout` gives it up may finish it after the events that follow. The repetition
//! carries the same `idempotency-key`, so a receiver that drops what it has seen applies each event once and in order; choose
//! a `timeout` that the receiver's own work stays below.
//!
//! # Where requests may go
//! Names are looked up by the sink itself, and each address is checked before it is connected to, so a name that changes
//! its address between check and use gains nothing. Link-local addresses and the metadata services of the clouds are refused
//! unless `allow_hosts` names the address. Proxy settings of the environment are not used, since a proxy would look up names
//! by its own rules.

mod answer;
mod client;
mod egress;
mod probe;
pub mod request;
mod settings;
mod sink;

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::options::{Field, Kind, Options, field};
use onewrite_core::sink::{CloudEventsBinding, Finding};
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};

#[cfg(any(test, fuzzing))]
pub(crate) use self::answer::fuzz;
pub use self::egress::{Lookup, SystemLookup};
use self::settings::Settings;
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

/// What can be configured of the sink `http`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "url",
            Kind::Text,
            "Where to POST to: http:// or https://, without user and password.",
        )
    },
    Field {
        default: Some("event"),
        ..field(
            "mode",
            Kind::Choice(&["event", "batch"]),
            "One event a request, with the payload as the body; or a JSON array of events a request.",
        )
    },
    Field {
        default: Some("100"),
        ..field(
            "max_batch_events",
            Kind::Integer { min: 1, max: 1_000 },
            "Most events of one request in mode \"batch\". A request never holds two events of one key.",
        )
    },
    field(
        "headers",
        Kind::Map,
        "Headers of every request, such as an API key. They win over an event's own headers of the same names.",
    ),
    field("bearer_token", Kind::Secret, "Sent as \"authorization: Bearer …\"."),
    field(
        "hmac_secret",
        Kind::Secret,
        "Signs each request: \"onewrite-signature: t=<seconds>,v1=<hex of HMAC-SHA256 of t.body>\".",
    ),
    Field {
        default: Some("15s"),
        ..field(
            "timeout",
            Kind::Duration,
            "How long a request may take, from connecting to the end of the answer; from 50ms to 30s. What was not answered by then is unknown and is sent again.",
        )
    },
    Field {
        default: Some("64"),
        ..field(
            "concurrency",
            Kind::Integer { min: 1, max: 1_024 },
            "Requests under way at once. Events of one key never overlap, whatever it is.",
        )
    },
    field(
        "allow_hosts",
        Kind::List,
        "When set, requests go only to these host names or IP addresses. Link-local addresses and the clouds' metadata services are refused unless their address stands here.",
    ),
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
];

/// Makes a connector to the endpoint that the options name. It connects to nothing yet.
///
/// # Errors
/// The first option that does not hold together with the others, such as a URL with a password or a key file that cannot be read.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    build_with(options, Arc::new(SystemLookup))
}

/// The same, with names looked up in another way than the system's.
///
/// # Errors
/// As for [`build`].
pub fn build_with(options: &Options, lookup: Arc<dyn Lookup>) -> Result<Arc<dyn SinkConnector>, BuildError> {
    Ok(Arc::new(HttpConnector(Arc::new(Settings::read(options, lookup)?))))
}

struct HttpConnector(Arc<Settings>);

#[async_trait]
impl SinkConnector for HttpConnector {
    fn kind(&self) -> &'static str {
        "http"
    }

    /// As the binding for HTTP has it (CloudEvents, HTTP protocol binding 1.0.2, section 3.1.3).
    fn cloudevents(&self) -> CloudEventsBinding {
        CloudEventsBinding {
            percent_encoded: true,
            ..CloudEventsBinding::prefixed("ce-")
        }
    }

    fn writes_documents(&self) -> bool {
        self.0.mode != settings::Mode::Event
    }

    /// Looks the name up, checks that the addresses may be connected to, and that one of them takes a connection.
    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let client = client::client(&self.0, false).await?;
        egress::reach(&self.0).await?;
        Ok(Box::new(sink::HttpSink::new(Arc::clone(&self.0), client)))
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Err("an endpoint takes events, and HTTP has no word for asking it what it took")
    }

    async fn probe(&self, _topics: &[String]) -> Vec<Finding> {
        probe::probe(&self.0).await
    }
}
