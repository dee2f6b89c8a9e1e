//! `onewrite import-debezium`: realistic files, and word for word what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use onewrite_cli::configuration::{Environment, load};
use onewrite_cli::wiring;
use onewrite_core::options::Field;
use onewrite_sources::foreign::debezium::{FIELDS, Router, Texts};
use onewrite_sources::registry::source_type;
use serde_json::{Value, json};

use crate::program::{Program, Said};

/// The files, and how the program ends with each.
const FILES: &[(&str, i32)] = &[
    ("connect.json", 0),
    ("flat.json", 3),
    ("standalone.properties", 3),
    ("server.properties", 3),
    ("http.properties", 3),
    ("nats.properties", 3),
];

/// Set to rewrite what is expected instead of comparing it.
const UPDATE: &str = "ONEWRITE_UPDATE_DOCS";

/// What stands in the files where nobody may see it.
const SECRET: &str = "hunter2";

#[test]
fn files_become_what_was_reviewed() {
    let update = std::env::var_os(UPDATE).is_some();
    for (name, code) in FILES {
        let said = imported(name, &[]);
        assert_eq!(said.code, *code, "{name}: {}", said.err);
        for (ending, found) in [("toml", &said.out), ("txt", &said.err)] {
            let path = folder().join(name).with_extension(ending);
            if update {
                std::fs::write(&path, found).expect("the file can be written");
            }
            let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(&reviewed, found, "{}; {UPDATE}=1 writes it anew", path.display());
            assert!(!found.contains(SECRET), "{name} shows a secret");
        }
        let long = said
            .out
            .lines()
            .find(|line| line.starts_with('#') && line.chars().count() > 120);
        assert_eq!(long, None, "{name}");
    }
}

/// A sink that has to be filled in is refused; everything else is taken, be it marked or not.
#[test]
fn what_is_written_is_what_the_program_reads() {
    for (name, _) in FILES {
        let report = report(&imported(name, &["--json"]));
        let variables = report["variables"].as_array().unwrap().iter();
        let variables = variables.map(|name| (name.as_str().unwrap().to_owned(), "x".to_owned()));
        // Files that are not here.
        let written = imported(name, &[]).out.replace("file:/run/secrets/db/password", "x");
        let written = written.replace("ca_file = \"/etc/ssl/orders-ca.pem\"\n", "");
        let program = Program::with(&without_what_is_to_come(&written));
        let settings = load(
            Some(&program.path("onewrite.toml")),
            &variables.collect::<Environment>(),
        );
        if *name == "nats.properties" {
            let error = settings.unwrap_err().to_string();
            assert!(
                error.contains("has 1 problem\n") && error.contains("sinks.events.urls"),
                "{error}"
            );
            continue;
        }
        let settings = settings.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(settings.warnings, [], "{name}");
        for refused in [
            wiring::connectors(&settings, "onewrite.toml").err(),
            wiring::open(&settings, "onewrite.toml")
                .err()
                .filter(|_| *name != "flat.json"),
        ] {
            assert!(refused.is_none(), "{name}: {}", refused.unwrap().text());
        }
    }
}

/// Router and converters are taken by the contract itself, unless they were told not to be built in.
#[test]
fn router_and_converters_are_those_of_the_contract() {
    for (name, _) in FILES {
        let refused = match *name {
            "flat.json" => "AvroConverter",
            "nats.properties" => "cloudevents",
            _ => "",
        };
        let file: toml_edit::DocumentMut = imported(name, &[]).out.parse().expect("TOML");
        let texts = |key: &str| -> Texts {
            let table = file["source"].get(key).and_then(|item| item.as_table());
            let entries = table.into_iter().flat_map(|table| table.iter());
            let text = |item: &toml_edit::Item| Environment::default().fill_in(item.as_str().expect("a text"));
            entries
                .map(|(key, item)| (key.to_owned(), text(item).expect("no variables")))
                .collect()
        };
        match Router::new(&texts("router"), &texts("converters")) {
            Ok(_) => assert_eq!(refused, "", "{name}"),
            Err(error) => assert!(!refused.is_empty() && error.contains(refused), "{name}: {error}"),
        }
    }
}

#[test]
fn every_option_of_the_contract_is_translated_and_its_default_left_out() {
    let with = |value: &dyn Fn(&Field) -> Option<String>| {
        let mut config: serde_json::Map<String, Value> = serde_json::from_str(LEAST).expect("JSON");
        let options = FIELDS
            .iter()
            .filter_map(|field| Some((format!("transforms.outbox.{}", field.name), json!(value(field)?))));
        config.extend(options);
        let program = Program::new();
        program.write("outbox.json", &Value::Object(config).to_string());
        program
            .run(&["import-debezium", "outbox.json", "--brokers", "kafka"])
            .out
    };
    let all = with(&|field| Some(format!("other {}", field.name)));
    for field in FIELDS {
        assert!(
            all.contains(&format!("\"{0}\" = \"other {0}\"", field.name)),
            "{}: {all}",
            field.name
        );
    }
    let defaults = with(&|field| field.default.map(str::to_owned));
    assert!(!defaults.contains("[source.router]"), "{defaults}");
}

/// The file without those keys of `[source]` that a PostgreSQL source is not built with yet.
fn without_what_is_to_come(text: &str) -> String {
    let fields = source_type("postgres").expect("it is built in").fields;
    let mut file: toml_edit::DocumentMut = text.parse().expect("TOML");
    let source = file["source"].as_table_mut().expect("a section");
    source.retain(|key, _| key == "type" || fields.iter().any(|field| field.name == key));
    let contracts = fields
        .iter()
        .find(|field| field.name == "contract")
        .map(|field| field.kind);
    if contracts.is_some_and(|kind| kind.parse("debezium").is_err()) {
        source.remove("contract");
    }
    file.to_string()
}

#[test]
fn every_key_of_a_file_is_told_once() {
    for (name, code) in FILES {
        let report = report(&imported(name, &["--json"]));
        assert_eq!(report["complete"], json!(*code == 0), "{name}");
        let mut told = BTreeMap::<String, usize>::new();
        for group in ["translated", "no_counterpart", "not_needed", "fill_in"] {
            for finding in report[group].as_array().expect("a list") {
                *told.entry(finding["key"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        let text = std::fs::read_to_string(folder().join(name)).unwrap();
        let given: BTreeSet<String> = match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(mut file)) => {
                let config = file.remove("config").unwrap_or(Value::Object(file));
                config.as_object().unwrap().keys().cloned().collect()
            }
            _ => text
                .lines()
                .filter(|line| !line.starts_with([' ', '#']) && !line.is_empty())
                .map(|line| line.split([' ', '=', ':']).next().unwrap().to_owned())
                .collect(),
        };
        assert!(told.values().all(|count| *count == 1), "{name}: {told:?}");
        let missing: Vec<&String> = given.iter().filter(|key| !told.contains_key(*key)).collect();
        assert_eq!(missing, Vec::<&String>::new(), "{name}");
    }
}

/// A connector's settings beside [`LEAST`], and what must stand in the configuration or in the report.
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);

const CASES: &[Case] = &[
    (
        &[
            ("producer.override.security.protocol", "sasl_ssl"),
            (
                "producer.override.sasl.jaas.config",
                "x.Krb5LoginModule required keyTab=/etc/k.keytab principal=\"shop@X\";",
            ),
            ("producer.override.sasl.kerberos.service.name", "kafka"),
        ],
        &[
            "tls = true\nsasl_mechanism = \"GSSAPI\"\n",
            "\"sasl.kerberos.keytab\" = \"/etc/k.keytab\"\n\"sasl.kerberos.principal\" = \"shop@X\"\n\"sasl.kerberos.service.name\" = \"kafka\"",
        ],
    ),
    (
        &[
            ("producer.override.security.protocol", "SASL_PLAINTEXT"),
            ("producer.override.sasl.mechanism", "OAUTHBEARER"),
            ("producer.override.ssl.truststore.location", "/unused"),
        ],
        &[
            "token_file = \"FILE\"",
            "the connection is not encrypted, so the producer",
        ],
    ),
    (
        &[
            ("producer.override.security.protocol", "SASL_SSL"),
            ("producer.override.sasl.mechanism", "AWS_MSK_IAM"),
        ],
        &["`sasl_mechanism` in `[sinks.kafka]` takes one of \"PLAIN\""],
    ),
    (
        &[
            ("producer.override.security.protocol", "SASL_SSL"),
            ("producer.override.sasl.mechanism", "PLAIN"),
            ("producer.override.sasl.jaas.config", "${file:/s:jaas}"),
        ],
        &["username = \"USER\"\npassword = \"${ONEWRITE_KAFKA_PASSWORD}\""],
    ),
    (
        &[
            ("producer.override.security.protocol", "SSL"),
            ("producer.override.ssl.keystore.type", "PEM"),
            ("producer.override.ssl.keystore.location", "/etc/shop.pem"),
        ],
        &["certificate_file = \"/etc/shop.pem\"\nkey_file = \"/etc/shop.pem\""],
    ),
    (
        &[("producer.override.security.protocol", "${env:P}")],
        &["its value is not known here; `tls`"],
    ),
    (
        &[("producer.override.compression.type", "brotli")],
        &["`compression` in `[sinks.kafka]` takes one of"],
    ),
    (
        &[("producer.override.max.request.size", "1")],
        &["`max_message_bytes` in `[sinks.kafka]` goes from 1000 to"],
    ),
    (
        &[("database.sslmode", "prefer")],
        &["url = \"postgres://shop@db:5432/shop\"\n"],
    ),
    (&[("database.sslmode", "${env:MODE}")], &["/shop?sslmode=${MODE}\""]),
    (
        &[("database.sslmode", "sometimes")],
        &["there is no such mode", "# FILL IN sslmode"],
    ),
    (
        &[("database.hostname", "")],
        &[
            "url = \"postgres://shop@HOST:5432/shop\"\n",
            "not in the file: database.hostname",
        ],
    ),
    (
        &[("table.include.list", "public\\.(outbox|events)")],
        &["table = \"SCHEMA.TABLE\"", "no plain list of schema.table"],
    ),
    (&[("table.include.list", "outbox")], &["table = \"SCHEMA.TABLE\""]),
    (&[("table.include.list", "${env:TABLE}")], &["table = \"${TABLE}\""]),
    (
        &[("header.converter", "org.apache.kafka.connect.json.JsonConverter")],
        &["\"header.converter.schemas.enable\" = \"true\""],
    ),
    (&[("name", "")], &["name = \"shop.prefix\""]),
    (
        &[
            ("transforms.outbox.predicate", "p"),
            ("predicates", "p"),
            ("predicates.p.type", "x.HasHeaderKey"),
        ],
        &["transforms.outbox.predicate  it is neither about topics nor about tombstones"],
    ),
    (
        &[
            ("transforms", "d,outbox"),
            ("transforms.d.type", "x.DecodeLogicalDecodingMessageContent"),
        ],
        &["messages = [\"PREFIX\"]", "the outbox is in messages, and rows"],
    ),
];

#[test]
fn each_setting_has_its_place() {
    for (settings, expected) in CASES {
        let mut config: serde_json::Map<String, Value> = serde_json::from_str(LEAST).expect("JSON");
        config.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        let program = Program::new();
        program.write("outbox.json", &Value::Object(config).to_string());
        let said = program.run(&["import-debezium", "outbox.json", "--brokers", "kafka"]);
        let all = said.out + &said.err;
        for expected in *expected {
            assert!(all.contains(expected), "{settings:?}: {expected}\n{all}");
        }
    }
}

/// The least that is whole.
const LEAST: &str = r#"{
    "name": "outbox", "topic.prefix": "shop.prefix", "connector.class": "PostgresConnector",
    "database.hostname": "db", "database.user": "shop", "database.dbname": "shop", "table.include.list": "public.outbox",
    "database.password": "${env:DB_PASSWORD}",
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.storage.StringConverter",
    "transforms": "outbox", "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter"
}"#;

#[test]
fn every_option_there_is_has_a_verdict() {
    let options = std::fs::read_to_string(folder().join("options.txt")).unwrap();
    let mut config: serde_json::Map<String, Value> = options
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|name| (name.to_owned(), json!(SECRET)))
        .collect();
    assert!(config.len() > 250, "{}", config.len());
    for (name, value) in [
        ("connector.class", "io.debezium.connector.postgresql.PostgresConnector"),
        ("transforms", "decode,outbox"),
        (
            "transforms.decode.type",
            "io.debezium.connector.postgresql.transforms.DecodeLogicalDecodingMessageContent",
        ),
        ("transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter"),
        ("predicates", ""),
        ("converters", ""),
        ("post.processors", ""),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
    ] {
        config.insert(name.to_owned(), json!(value));
    }
    let program = Program::new();
    program.write("all.json", &Value::Object(config).to_string());
    let said = program.run(&["import-debezium", "all.json"]);
    assert_eq!(said.code, 3, "{}", said.err);
    let unknown: Vec<&str> = said
        .err
        .lines()
        .filter(|line| line.contains("has an option of this name"))
        .collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

#[test]
fn brokers_of_the_command_line_make_a_connector_of_connect_whole() {
    let program = Program::new();
    let posted = format!(r#"{{"name": "outbox", "config": {LEAST}, "initial_state": "STOPPED"}}"#);
    program.write("outbox.json", &posted);
    let said = program.run(&["import-debezium", "outbox.json"]);
    assert_eq!(said.code, 3);
    assert!(said.out.contains("brokers = [\"HOST:9092\"]"), "{}", said.out);
    let said = program.run(&["import-debezium", "outbox.json", "--brokers", "a:9092,b:9092", "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("brokers = [\"a:9092\", \"b:9092\"]"), "{}", said.out);
    assert!(said.out.contains("password = \"${DB_PASSWORD}\""), "{}", said.out);
    let report = report(&said);
    assert_eq!(report["variables"], json!(["DB_PASSWORD"]));
    assert_eq!(
        (&report["fill_in"], &report["no_counterpart"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(report["not_needed"][1]["key"], "initial_state");
}

#[test]
fn what_is_secret_in_an_address_or_in_a_key_is_not_shown() {
    let program = Program::new();
    program.write(
        "application.properties",
        "debezium.sink.type=http\ndebezium.sink.http.url=https://events.internal/in?token=hunter2\n\
         debezium.source.connector.class=io.debezium.connector.postgresql.PostgresConnector\n\
         debezium.source.column.mask.hash.SHA-256.with.salt.hunter2=public.outbox.email\n\
         debezium.source.database.hostname=db\ndebezium.source.database.user=shop\ndebezium.source.database.dbname=shop\n\
         debezium.source.table.include.list=public.outbox\ndebezium.format.key=binary\n\
         debezium.format.key.delegate.converter.type=io.confluent.connect.avro.AvroConverter\n\
         debezium.format.key.delegate.converter.type.basic.auth.user.info=shop:hunter2\n\
         debezium.transforms=outbox\ndebezium.transforms.outbox.type=io.debezium.transforms.outbox.EventRouter\n",
    );
    let said = program.run(&["import-debezium", "application.properties"]);
    assert_eq!(said.code, 3);
    assert!(
        !said.out.contains(SECRET) && !said.err.contains(SECRET),
        "{}{}",
        said.out,
        said.err
    );
    for (expected, text) in [
        ("url = \"${ONEWRITE_HTTP_URL}\"", &said.out),
        ("column.mask.hash.SHA-256.with.salt.…", &said.err),
        ("AvroConverter is not built in", &said.err),
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn a_file_that_is_there_is_kept_unless_forced() {
    let program = Program::with("mine");
    let file = folder().join("connect.json").display().to_string();
    let arguments = ["import-debezium", &file, "--output", "onewrite.toml", "--force"];
    let said = program.run(&arguments[..4]);
    assert_eq!((said.code, program.read("onewrite.toml").as_str()), (2, "mine"));
    assert_eq!(
        said.err,
        "error: onewrite.toml is there already\nhelp: add --force to overwrite it, or name another with `--output FILE`\n"
    );
    let said = program.run(&arguments);
    assert_eq!((said.code, said.out.as_str()), (0, "wrote onewrite.toml\n"));
    assert!(program.read("onewrite.toml").contains("contract = \"debezium\""));
}

#[test]
fn what_cannot_be_translated_is_told_and_nothing_is_written() {
    let class = |class: &str| format!(r#"{{"connector.class": "{class}", "transforms": ""}}"#);
    for (text, expected) in [
        (
            class("io.debezium.connector.mysql.MySqlConnector"),
            "its connector captures MySQL (io.debezium",
        ),
        (
            class("io.debezium.connector.mongodb.MongoDbConnector"),
            "its connector captures MongoDB",
        ),
        (
            class("io.debezium.connector.oracle.OracleConnector"),
            "its connector captures Oracle",
        ),
        (
            class("io.debezium.connector.sqlserver.SqlServerConnector"),
            "its connector captures SQL Server",
        ),
        (
            class("org.example.Source"),
            "its connector.class is org.example.Source, which is not",
        ),
        (
            class("io.debezium.connector.postgresql.PostgresConnector"),
            "there is no outbox event router",
        ),
        ("{}".to_owned(), "there is no connector.class"),
        (format!("{{\"password\": \"{SECRET}\""), "line 1, column 22: not JSON"),
        (format!("{{\"config\": [\"{SECRET}\"]}}"), "\"config\" is no table"),
        (format!("{{\"a\": [\"{SECRET}\"]}}"), "\"a\" holds a list or a table"),
        (format!("password={SECRET}"), "there is neither a connector.class nor"),
        (
            format!("debezium.sink.type=kafka\na=\\u{SECRET}"),
            "line 2: \"\\u\" without",
        ),
    ] {
        let program = Program::new();
        program.write("given", &text);
        let said = program.run(&["import-debezium", "given", "--output", "onewrite.toml"]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{text}");
        assert!(
            said.err.starts_with(&format!("error: given: {expected}")),
            "{}",
            said.err
        );
        assert!(
            said.err.contains("\nhelp: ") && !said.err.contains(SECRET),
            "{}",
            said.err
        );
        assert!(!program.path("onewrite.toml").exists());
    }
    let said = Program::new().run(&["import-debezium", "nowhere"]);
    assert_eq!(said.code, 2);
    assert!(said.err.starts_with("error: nowhere cannot be read\n"), "{}", said.err);
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/main/import_debezium")
}

/// What the program says of one of the files, from a directory that holds it.
fn imported(name: &str, options: &[&str]) -> Said {
    let program = Program::new();
    std::fs::copy(folder().join(name), program.path(name)).expect("the file can be copied");
    program.run(&[&["import-debezium", name], options].concat())
}

fn report(said: &Said) -> Value {
    serde_json::from_str(&said.err).unwrap_or_else(|error| panic!("{error}: {}", said.err))
}
