//! The options of a Redis sink, read and checked against each other.

use std::ops::RangeInclusive;
use std::time::Duration;

use onewrite_core::options::{Options, Secret};
use onewrite_core::template::Template;

use crate::endpoint::{self, Endpoint, Scheme};
use crate::limits::{REDIS_TIMEOUT_MAX, REDIS_TIMEOUT_MIN, REDIS_WAIT_MAX};
use crate::registry::BuildError;
use crate::tls::TlsFiles;

/// Everything that the options say.
pub(super) struct Settings {
    pub urls: Vec<Endpoint>,
    pub encrypted: bool,
    pub tls: TlsFiles,
    pub mode: Mode,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub database: i64,
    pub stream: Template,
    pub trim: Option<Trim>,
    pub wait: Option<Wait>,
    pub timeout: Duration,
}

/// Whether there is one server or a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// What the server says.
    Auto,
    Single,
    Cluster,
}

/// What each `XADD` removes from the stream's other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trim {
    pub rest: Rest,
    /// Whether to the entry, or only whole nodes of the stream, which is much cheaper.
    pub exact: bool,
}

/// What of a stream stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// So many entries.
    Entries(i64),
    /// The entries of so long.
    Age(Duration),
}

/// Who else must have an entry before it counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub replicas: i64,
    /// Whether on disk, and on the server's own as well.
    pub on_disk: bool,
    pub timeout: Duration,
}

impl Settings {
    pub(super) fn read(options: &Options) -> Result<Self, BuildError> {
        let [plain, encrypted] = ["redis", "rediss"].map(|name| Scheme { name, port: 6379 });
        let (urls, is_encrypted) = endpoint::read(options, plain, encrypted)?;
        let (user, password) = credentials(options)?;
        let mode = match options.text("mode") {
            Some("single") => Mode::Single,
            Some("cluster") => Mode::Cluster,
            _ => Mode::Auto,
        };
        let database = options.integer("database").unwrap_or(0);
        if mode == Mode::Cluster && database != 0 {
            let words = "is set, but a cluster has only database 0; leave it out";
            return Err(BuildError::new(options, "database", words));
        }
        Ok(Self {
            tls: TlsFiles::read(options, (!is_encrypted).then_some(("redis", "rediss")))?,
            urls,
            encrypted: is_encrypted,
            mode,
            user,
            password,
            database,
            stream: stream(options)?,
            trim: trim(options)?,
            wait: wait(options)?,
            timeout: time(options, "timeout", REDIS_TIMEOUT_MIN..=REDIS_TIMEOUT_MAX)?,
        })
    }

    /// The servers for people.
    pub(super) fn shown_urls(&self) -> String {
        let urls: Vec<_> = self.urls.iter().map(ToString::to_string).collect();
        urls.join(", ")
    }
}

fn credentials(options: &Options) -> Result<(Option<String>, Option<Secret>), BuildError> {
    let (user, password) = (options.text("user"), options.secret("password"));
    if user.is_some() && password.is_none() {
        return Err(BuildError::new(options, "user", "needs password"));
    }
    if password.is_some_and(|password| password.expose().is_empty()) {
        let words = "is empty; leave it out, or set the variable that it comes from";
        return Err(BuildError::new(options, "password", words));
    }
    Ok((user.map(str::to_owned), password.cloned()))
}

fn stream(options: &Options) -> Result<Template, BuildError> {
    match options.template("stream") {
        Some(stream) if stream.literal() == Some("") => {
            Err(BuildError::new(options, "stream", "is empty; every stream has a name"))
        }
        Some(stream) => Ok(stream.clone()),
        None => Err(BuildError::new(options, "stream", "is missing")),
    }
}

fn trim(options: &Options) -> Result<Option<Trim>, BuildError> {
    let exact = options.text("trim") == Some("exact");
    let rest = match (options.integer("max_entries"), options.duration("max_age")) {
        (Some(_), Some(_)) => {
            let words = "is set, and so is max_entries; Redis trims a stream by one of them";
            return Err(BuildError::new(options, "max_age", words));
        }
        (Some(entries), None) => Rest::Entries(entries),
        (None, Some(Duration::ZERO)) => {
            let words = "is 0, which would remove every entry at once; leave it out, or set a longer time";
            return Err(BuildError::new(options, "max_age", words));
        }
        (None, Some(age)) => Rest::Age(age),
        (None, None) if exact => {
            let words = "is set, but nothing says how much stays; set max_entries or max_age";
            return Err(BuildError::new(options, "trim", words));
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(Trim { rest, exact }))
}

fn wait(options: &Options) -> Result<Option<Wait>, BuildError> {
    let timeout = time(options, "wait_timeout", Duration::from_millis(1)..=REDIS_WAIT_MAX)?;
    let (replicas, on_disk) = (
        options.integer("wait_replicas").unwrap_or(0),
        options.flag("wait_for_disk"),
    );
    Ok((replicas > 0 || on_disk).then_some(Wait {
        replicas,
        on_disk,
        timeout,
    }))
}

fn time(options: &Options, key: &'static str, range: RangeInclusive<Duration>) -> Result<Duration, BuildError> {
    let time = options.duration(key).unwrap_or(*range.start());
    if range.contains(&time) {
        return Ok(time);
    }
    let words = format!("is {time:?}; expected {:?} to {:?}", range.start(), range.end());
    Err(BuildError::new(options, key, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[(&str, &str)]) -> Result<Settings, String> {
        let all = [&[("urls", "redis://localhost")], texts].concat();
        let options = Options::from_texts("sinks.x", super::super::FIELDS, &all).unwrap();
        Settings::read(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_hold_together() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.mode, settings.database), (Mode::Auto, 0));
        assert_eq!((settings.trim, settings.wait), (None, None));
        let settings = read(&[("max_entries", "10"), ("wait_replicas", "2")]).unwrap();
        assert_eq!(settings.trim.unwrap().rest, Rest::Entries(10));
        assert_eq!(settings.wait.unwrap().replicas, 2);
    }

    #[test]
    fn what_does_not_hold_together_is_told() {
        for (texts, words) in [
            (&[("user", "u")][..], "sinks.x.user: needs password"),
            (&[("password", "")], "sinks.x.password: is empty"),
            (
                &[("mode", "cluster"), ("database", "2")],
                "sinks.x.database: is set, but a cluster",
            ),
            (&[("stream", "")], "sinks.x.stream: is empty"),
            (
                &[("max_entries", "1"), ("max_age", "1h")],
                "sinks.x.max_age: is set, and so is max_entries",
            ),
            (&[("max_age", "0s")], "sinks.x.max_age: is 0"),
            (&[("trim", "exact")], "sinks.x.trim: is set, but nothing says"),
            (&[("timeout", "1ms")], "sinks.x.timeout: is 1ms; expected 50ms to 30s"),
            (&[("wait_timeout", "1h")], "sinks.x.wait_timeout: is 3600s"),
            (
                &[("ca_file", "x.pem")],
                "sinks.x.ca_file: is set, but the url is redis://",
            ),
        ] {
            let error = read(texts).err().unwrap();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
