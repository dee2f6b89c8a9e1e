//! `[sinks.http]` of the server's sink `http`.

use std::time::Duration;

use onewrite_sinks::limits::{HTTP_TIMEOUT_MAX, HTTP_TIMEOUT_MIN};

use super::Translator;
use super::sink::put_checked;
use crate::commands::import_debezium::file::Section;
use crate::commands::import_debezium::given::Setting;
use crate::commands::import_debezium::report::{Finding, Group};

pub(super) fn section(translator: &mut Translator) -> Section {
    let given = translator.given;
    let mut section = Section::new("[sinks.http]", "Where they go: POST to an endpoint.");
    section.put("type", "http");
    url(translator, &mut section);
    if given.get("sink.http.headers.prefix").is_none() {
        let words = "not in the file, so Debezium put X-DEBEZIUM- before the names of headers, and wrote them in Base64; here \
                     they have their own names and texts";
        let key = "debezium.sink.http.headers.prefix";
        translator.report.tell(Finding::new(key, Group::NoCounterpart, words));
    }
    if let Some(setting) = given.get("sink.http.timeout.ms") {
        timeout(translator, &mut section, setting);
    }
    let enabled = given.literal("sink.http.batch.enabled");
    if enabled.is_some_and(|enabled| enabled.eq_ignore_ascii_case("true")) {
        section.put("mode", "batch");
        if let Some(setting) = given.get("sink.http.batch.max-size") {
            put_checked(translator, &mut section, setting, "http", "max_batch_events");
        }
    }
    section
}

fn timeout(translator: &mut Translator, section: &mut Section, setting: &Setting) {
    let milliseconds = setting.value.literal().and_then(|text| text.trim().parse().ok());
    let Some(asked) = milliseconds.map(Duration::from_millis) else {
        let words = "it is no number; `timeout` in `[sinks.http]` has a default";
        return translator.tell(setting, Group::FillIn, words);
    };
    let taken = asked.clamp(HTTP_TIMEOUT_MIN, HTTP_TIMEOUT_MAX);
    if taken != asked {
        let words =
            format!("`timeout` in `[sinks.http]`, which goes from {HTTP_TIMEOUT_MIN:?} to {HTTP_TIMEOUT_MAX:?}");
        translator.tell(setting, Group::Translated, words);
    }
    section.put("timeout", format!("{}ms", taken.as_millis()));
}

fn url(translator: &mut Translator, section: &mut Section) {
    let Some(setting) = translator.given.get("sink.http.url") else {
        // Knative gives the address of a source's target so, and the server looks there first.
        let words = "the file has no url; the server takes Knative's K_SINK then";
        translator.missing("[sinks.http] url", words);
        let url = translator.variable("K_SINK");
        return section.put_with("url", url, format!("FILL IN: {words}."));
    };
    // What is called by a query may be called by a secret in it.
    if setting.value.literal().is_some_and(|url| url.contains('?')) {
        let url = translator.secret(setting, "ONEWRITE_HTTP_URL");
        return section.put("url", url);
    }
    let url = translator.text(setting);
    let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, host)) => {
            let words = "user and password do not stand in the url; put them into `headers` as \"authorization\"";
            translator.tell(setting, Group::FillIn, words);
            let url = format!("{scheme}://{host}{}", &rest[authority.len()..]);
            section.put_with("url", url, format!("FILL IN: {words}."));
        }
        None => section.put("url", url),
    }
}
