//! The validated configuration, from which the wiring builds.

use std::time::Duration;

use onewrite_core::options::{Field, nearest};
use onewrite_sinks::registry::{SinkType, sink_type, sink_types};
use onewrite_sources::registry::{SourceType, source_type, source_types};

use super::environment::Environment;
use super::fields::{LEASE, LOG, TOP};
use super::formats::{self, FormatSettings};
use super::problem::{Place, Problem};
use super::route::{self, Defined, RouteSettings, wrong_name};
use super::section::{Reader, Section, quoted};
use super::tree::Table;

/// A configuration without contradiction. Nothing has been connected to.
#[derive(Debug)]
pub struct Settings {
    /// The relay's name.
    pub name: String,
    /// The database.
    pub source: SourceSettings,
    /// The sinks in the order of the file.
    pub sinks: Vec<SinkSettings>,
    /// The formats in the order of the file, without those that need no section.
    pub formats: Vec<FormatSettings>,
    /// The routes in the order of the file.
    pub routes: Vec<RouteSettings>,
    /// How to log.
    pub log: LogSettings,
    /// How long a lease lasts.
    pub lease_ttl: Duration,
    /// Into how many groups of lanes the key space is cut.
    pub groups: u32,
    /// What is odd but can be lived with.
    pub warnings: Vec<Problem>,
}

/// The source as configured.
#[derive(Debug)]
pub struct SourceSettings {
    /// Its type.
    pub source_type: &'static SourceType,
    /// Its values.
    pub section: Section,
}

/// A sink as configured.
#[derive(Debug)]
pub struct SinkSettings {
    /// Its name, as routes know it.
    pub name: String,
    /// Its type.
    pub sink_type: &'static SinkType,
    /// Its values.
    pub section: Section,
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `auto`, `human` or `json`.
    pub format: String,
    /// The least grave level that is logged.
    pub level: String,
}

impl Settings {
    /// Checks a tree.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(mut tree: Table, environment: &Environment) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        environment.overlay(&mut tree, &mut problems);
        let mut reader = Reader::new(environment, problems);
        let top = reader.section("", &tree, TOP, SECTIONS);
        let source = read_source(&mut reader, &tree);
        let (defined, sinks) = read_sinks(&mut reader, &tree);
        let (defined_formats, formats) = formats::read(&mut reader, &tree);
        let defined = Defined {
            sinks: &defined,
            formats: &defined_formats,
        };
        let routes = route::read(&mut reader, &tree, defined);
        let log = optional(&mut reader, &tree, "log", LOG);
        let lease = optional(&mut reader, &tree, "lease", LEASE);
        let groups = read_groups(&mut reader, top.as_ref(), source.as_ref());
        let name = top.map(|top| top.options.text("name").unwrap_or_default().to_owned());
        if let Some(message) = name.as_deref().and_then(wrong_name) {
            reader.problem(
                &tree.get("name").map_or(Place::File, |entry| entry.place.clone()),
                "name",
                message,
            );
        }
        let lease_ttl = read_lease_ttl(&mut reader, lease.as_ref());
        let (Some(name), Some(source), Some(log), Some(lease_ttl), true) =
            (name, source, log, lease_ttl, reader.problems.is_empty())
        else {
            // The wiring, which finds these, is not reached; whoever corrects the file should know of them now.
            let unusable_sinks = sinks.iter().filter_map(|sink| {
                Some(
                    sink.section
                        .unusable(sink.sink_type.build(&sink.section.options).err()?),
                )
            });
            let unusable_formats = formats.iter().filter_map(|format| {
                let error = format.format_type.build(&format.section.options).err()?;
                Some(format.section.unusable(error))
            });
            reader.problems.extend(unusable_sinks.chain(unusable_formats));
            return Err(reader.problems);
        };
        let text = |key| log.options.text(key).unwrap_or_default().to_owned();
        let log = LogSettings {
            format: text("format"),
            level: text("level"),
        };
        let warnings = warnings(&sinks, &formats, &routes);
        Ok(Self {
            name,
            source,
            sinks,
            formats,
            routes,
            log,
            lease_ttl,
            groups,
            warnings,
        })
    }

    /// The sink of this name.
    pub fn sink(&self, name: &str) -> Option<&SinkSettings> {
        self.sinks.iter().find(|sink| sink.name == name)
    }

    /// The topics at the sink that some routes name literally: those that can be looked for beforehand.
    pub fn literal_topics(&self, wanted: impl Fn(&RouteSettings) -> bool) -> Vec<String> {
        let topics = |route: &RouteSettings| {
            let matched = route.wanted.topic.as_ref().and_then(|topic| topic.literal());
            let matched: Vec<String> = matched.map(str::to_owned).into_iter().collect();
            match &route.topic {
                Some(template) => template.for_topics(&matched),
                None => matched,
            }
        };
        let mut topics: Vec<String> = self
            .routes
            .iter()
            .filter(|route| wanted(route))
            .flat_map(topics)
            .collect();
        topics.sort();
        topics.dedup();
        topics
    }
}

/// What stands at the top of the file beside [`TOP`].
const SECTIONS: &[&str] = &["source", "sinks", "formats", "routes", "log", "lease"];

/// Shortest lease: it is renewed four times in its life, and a database may take half a second for that.
const LEASE_TTL_MIN: Duration = Duration::from_secs(2);
/// Longest lease: nobody should wait longer for a standby.
const LEASE_TTL_MAX: Duration = Duration::from_secs(600);

/// Into how many groups of lanes the key space is cut, where the source can be spread.
fn read_groups(reader: &mut Reader, top: Option<&Section>, source: Option<&SourceSettings>) -> u32 {
    let groups = top.and_then(|top| top.options.integer("groups"));
    let groups = groups.and_then(|groups| u32::try_from(groups).ok()).unwrap_or(1);
    if let (Some(top), Some(source), true) = (top, source, groups > 1)
        && let Err(why) = source.source_type.spreads(&source.section.options)
    {
        let message = format!("{groups} is not possible here: {why}");
        reader.problem(&top.place_of("groups"), "groups", message);
    }
    groups
}

fn read_lease_ttl(reader: &mut Reader, lease: Option<&Section>) -> Option<Duration> {
    let ttl = lease?.options.duration("ttl");
    if let (Some(lease), Some(ttl)) = (lease, ttl)
        && !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl)
    {
        reader.problem(
            &lease.place_of("ttl"),
            "lease.ttl",
            "out of range; expected a time from \"2s\" to \"10m\"",
        );
    }
    ttl
}

fn read_source(reader: &mut Reader, tree: &Table) -> Option<SourceSettings> {
    let Some(entry) = tree.get("source") else {
        let types = quoted(source_types().iter().map(|source_type| source_type.name));
        reader.missing(
            &Place::File,
            "source".to_owned(),
            format!("missing; add a section [source] with type = one of {types}"),
        );
        return None;
    };
    let table = reader.table(entry, "source")?;
    let types = source_types().iter().map(|source_type| source_type.name);
    let name = read_type(reader, "source", table, types)?;
    match source_type(&name.text) {
        Ok(source_type) => {
            let section = reader.section("source", table, source_type.fields, &["type"])?;
            Some(SourceSettings { source_type, section })
        }
        Err(error) => {
            reader.problem(&name.place, "source.type", error.to_string());
            None
        }
    }
}

/// The names of all sections, right or wrong, and those that are right.
fn read_sinks<'t>(reader: &mut Reader, tree: &'t Table) -> (Vec<&'t str>, Vec<SinkSettings>) {
    let Some(table) = tree.get("sinks").and_then(|entry| reader.table(entry, "sinks.NAME")) else {
        return (Vec::new(), Vec::new());
    };
    let (mut defined, mut sinks) = (Vec::new(), Vec::new());
    for entry in &table.entries {
        let key = format!("sinks.{}", entry.key);
        if let Some(message) = wrong_name(&entry.key) {
            reader.problem(&entry.place, &key, message);
        }
        defined.push(entry.key.as_str());
        if let Some(sink) = reader
            .table(entry, &key)
            .and_then(|table| read_sink(reader, &entry.key, &key, table))
        {
            sinks.push(sink);
        }
    }
    (defined, sinks)
}

fn read_sink(reader: &mut Reader, name: &str, key: &str, table: &Table) -> Option<SinkSettings> {
    let types = sink_types().iter().map(|sink_type| sink_type.name);
    let written = read_type(reader, key, table, types)?;
    match sink_type(&written.text) {
        Ok(sink_type) => {
            let section = reader.section(key, table, sink_type.fields, &["type"])?;
            Some(SinkSettings {
                name: name.to_owned(),
                sink_type,
                section,
            })
        }
        Err(error) => {
            reader.problem(&written.place, format!("{key}.type"), error.to_string());
            None
        }
    }
}

/// The type of a section, as it is written.
pub(super) struct WrittenType {
    pub text: String,
    pub place: Place,
}

/// Reads the key `type` of a section, which says what its other keys are.
pub(super) fn read_type(
    reader: &mut Reader,
    section: &str,
    table: &Table,
    types: impl Iterator<Item = &'static str>,
) -> Option<WrittenType> {
    let key = format!("{section}.type");
    let Some(entry) = table.get("type") else {
        let types = quoted(types);
        // A slip in the one key that says which keys there are is told as a slip, not as something missing.
        let slip = table
            .entries
            .iter()
            .find(|entry| nearest(&entry.key, ["type"].into_iter()).is_some());
        match slip {
            Some(entry) => {
                let key = format!("{section}.{}", entry.key);
                reader.problem(&entry.place, key, "unknown key; did you mean \"type\"?");
            }
            None => reader.problem(&table.place, key, format!("missing; expected one of {types}")),
        }
        return None;
    };
    match reader.text(&entry.node) {
        Ok(text) => Some(WrittenType {
            text,
            place: entry.place.clone(),
        }),
        Err(message) => {
            reader.problem(&entry.place, key, message);
            None
        }
    }
}

/// A section that may be left out.
fn optional(reader: &mut Reader, tree: &Table, name: &str, fields: &[Field]) -> Option<Section> {
    match tree.get(name) {
        Some(entry) => {
            let table = reader.table(entry, name)?;
            reader.section(name, table, fields, &[])
        }
        None => reader.section(name, &Table::empty(Place::File), fields, &[]),
    }
}

fn warnings(sinks: &[SinkSettings], formats: &[FormatSettings], routes: &[RouteSettings]) -> Vec<Problem> {
    let mut warnings = route::oddities(routes);
    for sink in sinks
        .iter()
        .filter(|sink| !routes.iter().any(|route| route.sink == sink.name))
    {
        let key = format!("sinks.{}", sink.name);
        warnings.push(Problem::new(sink.section.place.clone(), key, "no route uses this sink"));
    }
    for format in formats
        .iter()
        .filter(|format| !routes.iter().any(|route| route.format == format.name))
    {
        let key = format!("formats.{}", format.name);
        warnings.push(Problem::new(
            format.section.place.clone(),
            key,
            "no route uses this format",
        ));
    }
    warnings.sort();
    warnings
}
