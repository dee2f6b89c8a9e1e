//! How the database is reached.

use super::{Topic, Verdict, lacking, not_needed, secret, translated};

pub(super) const TOPIC: Topic = Topic {
    heading: "The connection to the database",
    verdicts: VERDICTS,
};

const VERDICTS: &[Verdict] = &[
    translated("database.hostname", "`url` in `[source]`"),
    translated("database.port", "`url` in `[source]`"),
    translated("database.user", "`url` in `[source]`"),
    translated("database.dbname", "`url` in `[source]`"),
    secret("database.password", "`password` in `[source]`, from the environment"),
    translated(
        "database.sslmode",
        "`sslmode` in the `url`; where TLS is used, the certificate is always checked, and nothing falls back to plain text",
    ),
    translated("database.sslrootcert", "`ca_file` in `[source]`"),
    lacking(
        "database.sslcert",
        &[""],
        "the database is not logged in to by certificate; give the user a password",
    ),
    lacking(
        "database.sslkey",
        &[""],
        "the database is not logged in to by certificate; give the user a password",
    ),
    lacking(
        "database.sslpassword",
        &[""],
        "the database is not logged in to by certificate; give the user a password",
    ),
    lacking(
        "database.sslfactory",
        &[""],
        "certificates are always checked; a `ca_file` in `[source]` says whom to trust",
    ),
    lacking(
        "database.initial.statements",
        &[""],
        "sessions begin without statements of your own; `ALTER ROLE … SET …` does the same",
    ),
    not_needed("database.tcpKeepAlive", "idle connections are always probed"),
    not_needed(
        "database.query.timeout.ms",
        "no statement of Onewrite's reads more than a batch",
    ),
    not_needed(
        "connection.validation.timeout.ms",
        "`connect_timeout` in `[source]` has a default",
    ),
    not_needed("connection.timeout.ms", "`connect_timeout` in `[source]` has a default"),
    lacking("connection.factory.class", &[""], "the driver is not Java's"),
    lacking(
        "driver.*",
        &[],
        "a property of Java's driver; some of them can be said in the `url`",
    ),
    lacking(
        "read.only",
        &["false"],
        "Onewrite writes its progress into the database, so it connects to the primary",
    ),
];
