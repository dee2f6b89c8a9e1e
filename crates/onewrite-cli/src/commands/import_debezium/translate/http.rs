//! `[sinks.http]` of the server's sink `http`.

use super::Translator;
use crate::commands::import_debezium::file::Section;
use crate::commands::import_debezium::report::Group;

/// Longest time that a request may take in this program's sink, in milliseconds.
const TIMEOUT_MILLISECONDS_MAX: u64 = 30_000;
/// Most events of one request in this program's sink.
const BATCH_EVENTS_MAX: u64 = 1_000;

pub(super) fn section(translator: &mut Translator) -> Section {
    let given = translator.given;
    let mut section = Section::new(
        "[sinks.http]",
        "Where they go: POST to an endpoint. Debezium called headers X-DEBEZIUM-…; docs/sinks/http.md tells what they are here.",
    );
    section.put("type", "http");
    url(translator, &mut section);
    if let Some(setting) = given.get("sink.http.timeout.ms") {
        let milliseconds = setting.value.literal().and_then(|text| text.trim().parse::<u64>().ok());
        match milliseconds {
            Some(milliseconds) if milliseconds > TIMEOUT_MILLISECONDS_MAX => {
                translator.tell(
                    setting,
                    Group::Translated,
                    "`timeout` in `[sinks.http]`, which is 30s at most",
                );
                section.put("timeout", "30s");
            }
            Some(milliseconds) => section.put("timeout", format!("{milliseconds}ms")),
            None => translator.tell(
                setting,
                Group::FillIn,
                "it is no number; `timeout` in `[sinks.http]` has a default",
            ),
        }
    }
    if given
        .literal("sink.http.batch.enabled")
        .is_some_and(|enabled| enabled.eq_ignore_ascii_case("true"))
    {
        section.put("mode", "batch");
        let most = given
            .literal("sink.http.batch.max-size")
            .and_then(|text| text.trim().parse::<u64>().ok());
        if let Some(most) = most {
            let most = most.clamp(1, BATCH_EVENTS_MAX);
            section.put("max_batch_events", i64::try_from(most).unwrap_or(1));
        }
    }
    section
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
