//! `name`, and `[source]` but for the router and the converters.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::chain::Chain;
use super::{Translator, Untranslatable};
use crate::commands::import_debezium::file::Section;
use crate::commands::import_debezium::given::Given;
use crate::commands::import_debezium::report::Group;

/// Connectors by the last part of their classes' names, and what they capture.
const OTHERS: &[(&str, &str)] = &[
    ("mysql", "MySQL"),
    ("mariadb", "MariaDB"),
    ("mongodb", "MongoDB"),
    ("oracle", "Oracle"),
    ("sqlserver", "SQL Server"),
    ("db2", "Db2"),
    ("informix", "Informix"),
    ("vitess", "Vitess"),
    ("spanner", "Spanner"),
    ("cassandra", "Cassandra"),
    ("cockroachdb", "CockroachDB"),
    ("yugabytedb", "YugabyteDB"),
];

/// Whether the connector captures PostgreSQL.
pub(super) fn check_class(given: &Given) -> Result<(), Untranslatable> {
    let untranslatable = |words: String| Untranslatable {
        words,
        help: "this version relays outbox tables of PostgreSQL",
    };
    let Some(class) = given.literal("connector.class") else {
        return Err(untranslatable(
            "there is no connector.class in it, or it is a reference".to_owned(),
        ));
    };
    let short = class.rsplit('.').next().unwrap_or_default();
    if short == "PostgresConnector" || short == "Postgres" {
        return Ok(());
    }
    let plain = class.to_ascii_lowercase();
    let other = OTHERS.iter().find(|(part, _)| plain.contains(part));
    Err(untranslatable(match other {
        Some((_, database)) => format!("its connector captures {database} ({class})"),
        None => format!("its connector.class is {class}, which is not Debezium's connector for PostgreSQL"),
    }))
}

/// The top of the file.
pub(super) fn top(translator: &mut Translator) -> Section {
    let mut section = Section::new(
        "",
        "The relay's name. Two processes of one name are an active and a standby; progress is recorded under it.",
    );
    let given = translator.given;
    let names = ["name", "topic.prefix", "database.server.name"];
    let mut named = names.into_iter().filter_map(|name| given.filled(name));
    let chosen = named.next();
    for other in named {
        translator.tell(other, Group::NotNeeded, "the router names the topics");
    }
    let name = chosen.map_or("outbox".to_owned(), |setting| {
        let name = translator.changed(setting, sanitised);
        if setting.value.literal().is_some_and(|literal| literal != name) {
            translator.tell(
                setting,
                Group::Translated,
                format!("`name`, as {name:?}: letters, digits, `-`, `_` and `.`"),
            );
        }
        name
    });
    section.put("name", name);
    section
}

/// `[source]`.
pub(super) fn section(translator: &mut Translator, chain: &Chain) -> Section {
    let given = translator.given;
    let mut section = Section::new(
        "[source]",
        "Where events come from: the outbox as it is, read from the write-ahead log by the rules of Debezium's router.",
    );
    section.put("type", "postgres");
    let (url, comment) = url(translator);
    section.put_with("url", url, comment);
    if let Some(password) = given.filled("database.password") {
        let password = translator.secret(password, "ONEWRITE_DB_PASSWORD");
        section.put("password", password);
    }
    if let Some(authority) = given.filled("database.sslrootcert") {
        let authority = translator.text(authority);
        section.put("ca_file", authority);
    }
    section.put("feed", "wal");
    section.put("contract", "debezium");
    if chain.decoded.is_some() {
        messages(translator, &mut section);
    } else {
        table(translator, chain, &mut section);
    }
    if let Some(publication) = given.filled("publication.name") {
        let name = translator.text(publication);
        section.put_with(
            "publication",
            name,
            "Debezium's own: keep it when you drop Debezium's slot.",
        );
    }
    section
}

/// Characters that stand for themselves in the user and the database of a URL.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn url(translator: &mut Translator) -> (String, String) {
    let given = translator.given;
    let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let mut missing = Vec::new();
    let mut part = |name: &'static str, placeholder: &str, translator: &mut Translator| match given.filled(name) {
        Some(setting) if name == "database.hostname" => translator.changed(setting, bracketed),
        Some(setting) => translator.changed(setting, encoded),
        None => {
            missing.push(name);
            placeholder.to_owned()
        }
    };
    let host = part("database.hostname", "HOST", translator);
    let user = part("database.user", "USER", translator);
    let database = part("database.dbname", "DATABASE", translator);
    let port = given
        .filled("database.port")
        .map_or("5432".to_owned(), |port| translator.text(port));
    let (mode, mut comment) = ssl_mode(translator);
    if !missing.is_empty() {
        let words = format!("not in the file: {}", missing.join(", "));
        translator.missing("[source] url", words.clone());
        comment = format!("FILL IN what was {words}. {comment}");
    }
    (format!("postgres://{user}@{host}:{port}/{database}{mode}"), comment)
}

/// `sslmode` as part of the URL, and what holds of TLS.
fn ssl_mode(translator: &mut Translator) -> (String, String) {
    let checked = "TLS with a checked certificate, but on loopback; `?sslmode=disable` allows plain text.".to_owned();
    let Some(setting) = translator.given.get("database.sslmode") else {
        return (String::new(), checked);
    };
    let mode = translator.text(setting);
    match mode.to_ascii_lowercase().as_str() {
        "" | "allow" | "prefer" => (String::new(), checked),
        "disable" | "disabled" => (
            "?sslmode=disable".to_owned(),
            "Without TLS, as Debezium was told.".to_owned(),
        ),
        known @ ("require" | "required" | "verify-ca" | "verify-full") => {
            let mode = known.trim_end_matches('d');
            (
                format!("?sslmode={mode}"),
                "TLS; certificate and host name are checked in every mode.".to_owned(),
            )
        }
        _ if setting.value.literal().is_none() => (format!("?sslmode={mode}"), checked),
        _ => {
            let words = "there is no such mode; `url` in `[source]` takes disable, require and verify-full";
            translator.tell(setting, Group::FillIn, words);
            (String::new(), format!("FILL IN sslmode, if it is needed. {checked}"))
        }
    }
}

/// An IPv6 address stands in brackets.
fn bracketed(host: &str) -> String {
    if host.matches(':').count() > 1 && !host.starts_with('[') {
        return format!("[{host}]");
    }
    host.to_owned()
}

fn messages(translator: &mut Translator, section: &mut Section) {
    let given = translator.given;
    let tables = ["table.include.list", "table.whitelist"]
        .into_iter()
        .filter_map(|name| given.filled(name));
    for setting in tables {
        let words = "the outbox is in messages, and rows of tables are not delivered beside them";
        translator.tell(setting, Group::NoCounterpart, words);
    }
    let prefixes = given.get("message.prefix.include.list");
    let names: Option<Vec<String>> = given
        .list("message.prefix.include.list")
        .into_iter()
        .map(plain_name)
        .collect();
    match names.filter(|names| !names.is_empty()) {
        Some(names) => section.put("messages", toml_edit::Array::from_iter(names)),
        None => {
            let words = "name the prefixes that the applications give to `pg_logical_emit_message`, one by one";
            match prefixes {
                Some(setting) => translator.tell(setting, Group::FillIn, words),
                None => translator.missing("[source] messages", words),
            }
            let list = toml_edit::Array::from_iter(["PREFIX"]);
            section.put_with("messages", list, format!("FILL IN: {words}."));
        }
    }
}

fn table(translator: &mut Translator, chain: &Chain, section: &mut Section) {
    let given = translator.given;
    let messages = ["message.prefix.include.list", "message.prefix.exclude.list"];
    for setting in messages.into_iter().filter_map(|name| given.get(name)) {
        translator.tell(
            setting,
            Group::NotNeeded,
            "the outbox is a table, and no transform makes events of messages",
        );
    }
    let names = ["table.include.list", "table.whitelist"];
    let Some(setting) = names.into_iter().find_map(|name| given.filled(name)) else {
        let words = "the file names no table; it is the outbox with its schema, such as public.outbox";
        translator.missing("[source] table", words);
        return section.put_with("table", "SCHEMA.TABLE", format!("FILL IN: {words}."));
    };
    if setting.value.literal().is_none() {
        let name = translator.text(setting);
        return section.put("table", name);
    }
    let listed = given.list(&setting.name);
    let tables: Option<Vec<String>> = listed.iter().map(|pattern| plain_name(pattern)).collect();
    let tables = tables.filter(|tables| tables.iter().all(|table| table.contains('.')));
    let routed = tables.iter().flatten().filter(|table| is_routed(given, chain, table));
    match (tables.as_deref(), routed.collect::<Vec<_>>().as_slice()) {
        (Some([only]), _) => section.put("table", only),
        (Some(_), [only]) => {
            let words = format!(
                "`table` in `[source]` is {only}, the router's; change events of other tables are not delivered"
            );
            translator.tell(setting, Group::NoCounterpart, words);
            section.put("table", *only);
        }
        (Some([first, ..]), _) => {
            let words =
                "a file of Onewrite's reads one table; keep the outbox here, and write a file for each further one";
            translator.tell(setting, Group::FillIn, words);
            section.put_with(
                "table",
                first,
                format!("FILL IN: Debezium read {}; {words}.", listed.join(", ")),
            );
        }
        _ => {
            let words = "it is no plain list of schema.table; name the outbox";
            translator.tell(setting, Group::FillIn, words);
            section.put_with(
                "table",
                "SCHEMA.TABLE",
                format!("FILL IN: table.include.list was {words}."),
            );
        }
    }
}

/// Whether the router's predicate takes the topic that change events of this table would have had.
fn is_routed(given: &Given, chain: &Chain, table: &str) -> bool {
    let Some(pattern) = chain.topics else { return false };
    let prefix = given
        .literal("topic.prefix")
        .or_else(|| given.literal("database.server.name"));
    let topic = format!("{}.{table}", prefix.unwrap_or_default());
    match pattern.strip_prefix(".*") {
        Some(end) => plain_name(end).is_some_and(|end| topic.ends_with(&end)),
        None => plain_name(pattern).is_some_and(|whole| topic == whole),
    }
}

/// The name that a regular expression stands for, where it stands for one. A dot is taken for a dot, escaped or not.
fn plain_name(pattern: &str) -> Option<String> {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = pattern.strip_suffix('$').unwrap_or(pattern).replace("\\.", ".");
    let special = |character: char| "\\*+?[](){}|^$".contains(character);
    (!pattern.is_empty() && !pattern.contains(special)).then_some(pattern)
}

/// A name that a relay can have.
fn sanitised(name: &str) -> String {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let name = name
        .chars()
        .map(|character| if allowed(character) { character } else { '-' });
    name.take(crate::configuration::route::NAME_BYTES_MAX).collect()
}
