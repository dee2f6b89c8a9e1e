//! Binary mode: the attributes are headers, the body is the payload.

use std::borrow::Cow;
use std::sync::Arc;

use onewrite_core::Event;
use onewrite_core::event::Headers;

use super::attributes::{Attributes, percent_encoded};
use super::{Outgoing, other_headers};

pub(super) fn write(outgoing: &Outgoing<'_>, attributes: Attributes<'_>) -> Event {
    let event = outgoing.event;
    let mut headers = Vec::with_capacity(attributes.0.len() + 1 + event.headers.len());
    for (name, value) in attributes.0 {
        put(outgoing, &mut headers, name, value);
    }
    if outgoing.cloudevents.data_content_type && !event.content_type.is_empty() {
        put(outgoing, &mut headers, "datacontenttype", (&*event.content_type).into());
    }
    headers.extend(other_headers(outgoing).cloned());
    outgoing.laid_down(headers, event.payload.clone(), Arc::clone(&event.content_type))
}

/// Adds an attribute as a header.
pub(super) fn put(outgoing: &Outgoing<'_>, headers: &mut Headers, attribute: &str, value: Cow<'_, str>) {
    let binding = outgoing.cloudevents;
    let name = format!("{}{attribute}", binding.prefix);
    let value = if binding.percent_encoded {
        // As the HTTP binding 1.0.2 (3.1.3.2) has it: blanks, `"`, `%`, and all that is not visible ASCII.
        percent_encoded(value, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%'))
    } else {
        value
    };
    headers.push((name.into(), value.into()));
}
