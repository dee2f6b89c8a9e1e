//! The trace context that a writer left in a column, as headers.
//!
//! Debezium does this where OpenTelemetry is set up: it reads the context (W3C, by default), reports two spans of its own, and
//! writes the headers of the first; baggage is lost on the way. Onewrite reports no spans, so the writer's own span stays the
//! parent: the headers are the same but for the id of the span.

use super::java;

/// The headers, in the order in which OpenTelemetry writes them; none without a valid `traceparent`.
pub(super) fn headers(context: &str) -> Vec<(&'static str, String)> {
    let mut properties = java::properties(context);
    let Some(parent) = properties.remove("traceparent").and_then(|parent| traceparent(&parent)) else {
        return Vec::new();
    };
    let state = properties.remove("tracestate").filter(|state| !state.is_empty());
    let state = state.map(|state| ("tracestate", state));
    [("traceparent", parent)].into_iter().chain(state).collect()
}

/// In version 00, where it is valid (W3C Trace Context, section 3.2): later versions may say more, which is left out.
fn traceparent(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags, rest @ ..] = &parts[..] else {
        return None;
    };
    let hexadecimal = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let set = |id: &str| id.bytes().any(|byte| byte != b'0');
    let valid = hexadecimal(version, 2)
        && *version != "ff"
        && (*version != "00" || rest.is_empty())
        && hexadecimal(trace, 32)
        && set(trace)
        && hexadecimal(span, 16)
        && set(span)
        && hexadecimal(flags, 2);
    valid.then(|| format!("00-{trace}-{span}-{flags}"))
}

#[cfg(test)]
mod tests {
    use super::headers;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_becomes_headers() {
        let context = format!("#Thu Nov 26\ntracestate=a\\=b\ntraceparent={PARENT}\nb3=0\nbaggage=k\\=v\n");
        let parent = ("traceparent", PARENT.to_owned());
        let state = ("tracestate", "a=b".to_owned());
        assert_eq!(headers(&context), [parent.clone(), state]);
        assert_eq!(headers(&format!("traceparent=01{}-more", &PARENT[2..])), [parent]);
    }

    #[test]
    fn what_is_no_context_is_left_out() {
        for context in [
            String::new(),
            format!("traceparent={PARENT}-more"),
            format!("traceparent={}", PARENT.to_uppercase()),
            format!("traceparent=ff{}", &PARENT[2..]),
            "traceparent=00-00000000000000000000000000000000-b7ad6b7169203331-01\ntracestate=a".to_owned(),
        ] {
            assert_eq!(headers(&context), [], "{context}");
        }
    }
}
