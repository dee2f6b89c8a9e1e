//! The options that all three formats have, read and checked against each other.

use std::time::Duration;

use onewrite_core::Template;
use onewrite_core::options::{BuildError, Options, Secret};
use onewrite_tls::TlsFiles;
use reqwest::Url;

use crate::limits::{REGISTRY_TIMEOUT_MAX, REGISTRY_TIMEOUT_MIN};

/// Everything that the options say.
pub(super) struct Settings {
    pub section: String,
    pub urls: Vec<Url>,
    pub credentials: Credentials,
    pub tls: TlsFiles,
    pub timeout: Duration,
    pub naming: Naming,
    pub choice: Choice,
    pub cache_ttl: Duration,
    pub framed: Vec<String>,
    pub refuse_unknown: bool,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Credentials {
    Nobody,
    User(String, Secret),
    Token(Secret),
}

/// What a subject is named after.
#[derive(Clone, Debug)]
pub(super) enum Naming {
    Topic,
    Record,
    TopicRecord,
    Template(Template),
}

/// Which schema of a subject.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    Latest,
    Version(u32),
    /// The content of a file.
    File {
        path: String,
        text: String,
        register: bool,
        references: Vec<Reference>,
    },
}

/// A schema that another refers to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Reference {
    /// The name by which it is referred to.
    pub name: String,
    /// The subject that it is under.
    pub subject: String,
    /// Which of the subject's versions it is.
    pub version: u32,
}

impl Settings {
    pub fn read(options: &Options) -> Result<Self, BuildError> {
        let urls = urls(options)?;
        let plain = urls
            .iter()
            .all(|url| url.scheme() == "http")
            .then_some(("http", "https"));
        Ok(Self {
            section: options.section().to_owned(),
            credentials: credentials(options)?,
            tls: TlsFiles::read(options, plain)?,
            timeout: timeout(options)?,
            naming: naming(options),
            choice: choice(options)?,
            cache_ttl: options.duration("cache_ttl").unwrap_or(Duration::from_secs(300)),
            framed: options.list("framed_content_types").to_vec(),
            refuse_unknown: options.text("unknown_fields") != Some("ignore"),
            urls,
        })
    }
}

fn urls(options: &Options) -> Result<Vec<Url>, BuildError> {
    let problem = |words: String| BuildError::new(options, "registry", words);
    let mut urls = Vec::new();
    for text in options.list("registry") {
        let mut url = Url::parse(text).map_err(|error| {
            problem("holds what is not a URL; expected something like \"http://localhost:8081\"".to_owned())
                .because(error)
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(problem(format!(
                "has the scheme {:?}; expected http or https",
                url.scheme()
            )));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(problem(
                "holds a user or a password, which would show up in logs; use user and password".to_owned(),
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(problem(
                "has a query or a fragment; expected an address and perhaps a path".to_owned(),
            ));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        urls.push(url);
    }
    if urls.is_empty() {
        return Err(problem("is empty; expected at least one address".to_owned()));
    }
    Ok(urls)
}

fn credentials(options: &Options) -> Result<Credentials, BuildError> {
    let problem = |key, words: &str| Err(BuildError::new(options, key, words));
    let (user, password, token) = (
        options.text("user"),
        options.secret("password"),
        options.secret("bearer_token"),
    );
    match (user, password, token) {
        (Some(_), _, Some(_)) => problem("bearer_token", "is set, and so is user; keep one of them"),
        (Some(_), None, None) => problem("user", "needs password"),
        (None, Some(_), _) => problem("password", "needs user, whose password it is"),
        (Some(user), Some(_), None) if user.contains(':') => problem("user", "holds a colon, which no user's name can"),
        (Some(user), Some(password), None) => Ok(Credentials::User(user.to_owned(), password.clone())),
        (None, None, Some(token)) if token.expose().is_empty() => problem(
            "bearer_token",
            "is empty; leave it out, or set the variable that it comes from",
        ),
        (None, None, Some(token)) if token.expose().bytes().any(|byte| !byte.is_ascii_graphic()) => problem(
            "bearer_token",
            "holds a line break or another character that no header can hold",
        ),
        (None, None, Some(token)) => Ok(Credentials::Token(token.clone())),
        (None, None, None) => Ok(Credentials::Nobody),
    }
}

fn timeout(options: &Options) -> Result<Duration, BuildError> {
    let timeout = options.duration("timeout").unwrap_or(Duration::from_secs(10));
    if (REGISTRY_TIMEOUT_MIN..=REGISTRY_TIMEOUT_MAX).contains(&timeout) {
        return Ok(timeout);
    }
    let words = format!("is {timeout:?}; expected {REGISTRY_TIMEOUT_MIN:?} to {REGISTRY_TIMEOUT_MAX:?}");
    Err(BuildError::new(options, "timeout", words))
}

fn naming(options: &Options) -> Naming {
    match (options.template("subject"), options.text("subject_strategy")) {
        (Some(template), _) => Naming::Template(template.clone()),
        (None, Some("record")) => Naming::Record,
        (None, Some("topic_record")) => Naming::TopicRecord,
        (None, _) => Naming::Topic,
    }
}

fn choice(options: &Options) -> Result<Choice, BuildError> {
    let version = options.text("version").unwrap_or("latest");
    let Some(path) = options.text("schema_file") else {
        if options.flag("register") {
            return Err(BuildError::new(
                options,
                "register",
                "needs schema_file, the schema to register",
            ));
        }
        if options.map("references").next().is_some() {
            let words = "needs schema_file: what a registered schema refers to, the registry knows";
            return Err(BuildError::new(options, "references", words));
        }
        return match version {
            "latest" => Ok(Choice::Latest),
            _ => version
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .map(Choice::Version)
                .ok_or_else(|| {
                    let words = format!("is {version:?}; expected \"latest\" or the number of a version");
                    BuildError::new(options, "version", words)
                }),
        };
    };
    if version != "latest" {
        let words = "is set, and so is schema_file, which says which schema to use; keep one of them";
        return Err(BuildError::new(options, "version", words));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| BuildError::new(options, "schema_file", format!("{path} cannot be read")).because(error))?;
    Ok(Choice::File {
        path: path.to_owned(),
        text,
        register: options.flag("register"),
        references: references(options)?,
    })
}

fn references(options: &Options) -> Result<Vec<Reference>, BuildError> {
    let reference = |(name, at): (&str, &str)| {
        let parts = at.rsplit_once(':').and_then(|(subject, version)| {
            let version = version.parse().ok().filter(|number| *number > 0)?;
            (!subject.is_empty()).then(|| (subject.to_owned(), version))
        });
        let (subject, version) = parts.ok_or_else(|| {
            let words = format!("{name:?} stands for {at:?}; expected SUBJECT:VERSION, such as \"address-value:1\"");
            BuildError::new(options, "references", words)
        })?;
        Ok(Reference {
            name: name.to_owned(),
            subject,
            version,
        })
    };
    options.map("references").map(reference).collect()
}

#[cfg(test)]
mod tests {
    use super::super::AVRO_FIELDS;
    use super::*;

    fn problem(texts: &[(&str, &str)]) -> String {
        let mut all = vec![("registry", "http://localhost:8081")];
        all.retain(|(name, _)| !texts.iter().any(|(given, _)| given == name));
        all.extend(texts);
        let options = Options::from_texts("formats.shop", AVRO_FIELDS, &all).unwrap();
        match Settings::read(&options) {
            Ok(_) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn settings_that_do_not_hold_together_are_told() {
        assert_eq!(problem(&[]), "nothing");
        let told: &[(&[(&str, &str)], &str)] = &[
            (&[("registry", "")], "formats.shop.registry: is empty"),
            (
                &[("registry", "localhost:8081")],
                "formats.shop.registry: has the scheme \"localhost\"",
            ),
            (
                &[("registry", "http://a:b@localhost")],
                "formats.shop.registry: holds a user or a password",
            ),
            (
                &[("registry", "http://localhost/?x=1")],
                "formats.shop.registry: has a query",
            ),
            (&[("user", "u")], "formats.shop.user: needs password"),
            (&[("password", "p")], "formats.shop.password: needs user"),
            (
                &[("user", "u"), ("password", "p"), ("bearer_token", "t")],
                "formats.shop.bearer_token: is set, and so is user",
            ),
            (&[("bearer_token", "")], "formats.shop.bearer_token: is empty"),
            (
                &[("timeout", "1ms")],
                "formats.shop.timeout: is 1ms; expected 50ms to 20s",
            ),
            (
                &[("version", "newest")],
                "formats.shop.version: is \"newest\"; expected \"latest\"",
            ),
            (&[("version", "0")], "formats.shop.version: is \"0\""),
            (&[("register", "true")], "formats.shop.register: needs schema_file"),
            (
                &[("schema_file", "/nowhere.avsc")],
                "formats.shop.schema_file: /nowhere.avsc cannot be read",
            ),
            (
                &[("ca_file", "/nowhere.pem")],
                "formats.shop.ca_file: is set, but the url is http://",
            ),
        ];
        for (texts, words) in told {
            let found = problem(texts);
            assert!(found.starts_with(words), "{found}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let credentials = Credentials::User("u".to_owned(), Secret::new("hunter2"));
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
