//! Routes: what each takes, where it goes, how it behaves.

use std::time::Duration;

use onewrite_core::Template;
use onewrite_core::backoff::Backoff;
use onewrite_core::limits::BACKOFF_FIRST;
use onewrite_core::machine::{OnPoison, RouteBehaviour};
use onewrite_core::options::Options;
use onewrite_core::routing::{Match, Pattern, UNROUTED};
use onewrite_core::source::BatchLimit;

use super::fields::{MATCH, ROUTE};
use super::formats;
use super::problem::{Place, Problem};
use super::section::{Reader, Section, unknown};
use super::tree::{Node, Table};

/// A route as configured.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// Its name.
    pub name: String,
    /// What it takes of what is left.
    pub wanted: Match,
    /// The name of its sink.
    pub sink: String,
    /// The topic at the sink; `None`: the event's own.
    pub topic: Option<Template>,
    /// The name of its format: of a section, or of a type that needs none.
    pub format: String,
    /// How it behaves.
    pub behaviour: RouteBehaviour,
    /// Where it was written.
    pub place: Place,
    /// Where its format was.
    pub format_place: Place,
}

/// The names that routes can refer to.
#[derive(Clone, Copy, Debug)]
pub struct Defined<'a> {
    /// Of sinks.
    pub sinks: &'a [&'a str],
    /// Of formats.
    pub formats: &'a [&'a str],
}

/// Reads `[[routes]]`.
pub fn read(reader: &mut Reader, tree: &Table, defined: Defined<'_>) -> Vec<RouteSettings> {
    let (place, items) = match tree.get("routes") {
        None => (&Place::File, &[][..]),
        Some(entry) => match &entry.node {
            Node::List(items) => (&entry.place, &items[..]),
            other => {
                let found = other.describe(false);
                reader.problem(
                    &entry.place,
                    "routes",
                    format!("found {found}; expected [[routes]], in double brackets"),
                );
                return Vec::new();
            }
        },
    };
    if items.is_empty() {
        let sink = defined.sinks.first().unwrap_or(&"events");
        let example = format!("[[routes]] with name = \"all\" and sink = \"{sink}\"");
        reader.missing(
            place,
            "routes".to_owned(),
            format!("there are none, so no event would be delivered; add {example}"),
        );
    }
    let (mut routes, mut names) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let Node::Table(table) = item else {
            reader.problem(
                place,
                format!("routes.{index}"),
                format!("found {}; expected a table", item.describe(false)),
            );
            continue;
        };
        if let Some(route) = read_one(reader, index, table, defined, &mut names) {
            routes.push(route);
        }
    }
    routes
}

/// What is odd about routes that are each right in themselves: those that can never get an event.
pub fn oddities(routes: &[RouteSettings]) -> Vec<Problem> {
    let mut odd = Vec::new();
    for (at, route) in routes.iter().enumerate() {
        if let Some(earlier) = routes[..at]
            .iter()
            .find(|earlier| covers(&earlier.wanted, &route.wanted))
        {
            odd.push(Problem::new(
                route.place.clone(),
                format!("routes.{at}"),
                format!(
                    "the route {:?} never gets an event, since {:?} before it takes all that it could take; put {:?} first",
                    route.name, earlier.name, route.name
                ),
            ));
        }
    }
    odd
}

/// The behaviour that a route's options describe.
pub fn behaviour(options: &Options) -> RouteBehaviour {
    let count = |name| {
        options
            .integer(name)
            .and_then(|number| usize::try_from(number).ok())
            .expect("the field has a default")
    };
    let time = |name| options.duration(name).expect("the field has a default");
    RouteBehaviour {
        on_poison: match options.text("on_poison") {
            Some("block_key") => OnPoison::BlockKey,
            Some("halt") => OnPoison::Halt,
            _ => OnPoison::Park,
        },
        in_flight: BatchLimit {
            events: count("max_in_flight_events"),
            bytes: count("max_in_flight_bytes"),
        },
        batch: BatchLimit {
            events: count("batch_events"),
            bytes: count("batch_bytes"),
        },
        concurrent_batches: count("concurrent_batches"),
        delivery_timeout: time("delivery_timeout"),
        backoff: Backoff {
            first: BACKOFF_FIRST,
            max: time("backoff_max"),
        },
        ..RouteBehaviour::default()
    }
}

/// Why a text cannot be the name of a relay, a route or a sink.
pub fn wrong_name(name: &str) -> Option<String> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let right = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(allowed);
    (!right).then(|| {
        let found: String = name.chars().take(NAME_BYTES_MAX + 1).collect();
        format!("found {found:?}; expected 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.'")
    })
}

/// Longest name of a relay, a route or a sink, in bytes: it stands in log lines, tables and metrics.
pub const NAME_BYTES_MAX: usize = 64;

/// Shortest time that a route may be told to wait.
const TIME_MIN: Duration = BACKOFF_FIRST;

fn read_one(
    reader: &mut Reader,
    index: usize,
    table: &Table,
    defined: Defined<'_>,
    names: &mut Vec<String>,
) -> Option<RouteSettings> {
    let before = reader.problems.len();
    let key = |name: &str| format!("routes.{index}.{name}");
    let wanted = read_match(reader, &key("match"), table);
    let section = reader.as_far_as_right(&format!("routes.{index}"), table, ROUTE, &["match"]);
    let options = &section.options;
    if let Some(message) = options.text("name").and_then(|name| wrong_route_name(name, names)) {
        reader.problem(&section.place_of("name"), key("name"), message);
    }
    names.extend(options.text("name").map(str::to_owned));
    check_destination(reader, &section, &key, defined);
    for name in ["delivery_timeout", "backoff_max"] {
        if options.duration(name).is_some_and(|time| time < TIME_MIN) {
            reader.problem(
                &section.place_of(name),
                key(name),
                format!("too short; expected at least {}ms", TIME_MIN.as_millis()),
            );
        }
    }
    for name in ["max_in_flight_bytes", "batch_bytes"] {
        if options.integer(name) == Some(0) {
            reader.problem(&section.place_of(name), key(name), "found 0; expected at least 1 byte");
        }
    }
    if reader.problems.len() > before {
        return None;
    }
    let text = |name| {
        let text = options.text(name).expect("the field is required or has a default");
        text.to_owned()
    };
    let topic = options.template("topic").filter(|topic| topic.as_str() != "{topic}");
    Some(RouteSettings {
        name: text("name"),
        wanted: wanted.unwrap_or_default(),
        sink: text("sink"),
        topic: topic.cloned(),
        format: text("format"),
        format_place: section.place_of("format"),
        behaviour: behaviour(options),
        place: section.place.clone(),
    })
}

/// Why a text cannot be the name of a route, beside these others.
fn wrong_route_name(name: &str, others: &[String]) -> Option<String> {
    if let Some(message) = wrong_name(name) {
        return Some(message);
    }
    if name == UNROUTED {
        return Some(format!(
            "{name:?} is taken: it stands for the events that no route takes; choose another name"
        ));
    }
    let is_taken = others.iter().any(|other| other == name);
    is_taken.then(|| format!("there is a route {name:?} already; each needs a name of its own"))
}

/// Whether sink, format and topic of a route are such as can be.
fn check_destination(reader: &mut Reader, section: &Section, key: &dyn Fn(&str) -> String, defined: Defined<'_>) {
    if let Some(sink) = section.options.text("sink")
        && !defined.sinks.contains(&sink)
    {
        let message = match defined.sinks {
            [] => format!("there is no sink {sink:?}; define it in a section [sinks.{sink}]"),
            sinks => unknown(&format!("there is no sink {sink:?}"), sink, sinks.iter().copied()),
        };
        reader.problem(&section.place_of("sink"), key("sink"), message);
    }
    let format = section.options.text("format");
    if let Some(message) = format.and_then(|format| formats::wrong(format, defined.formats)) {
        reader.problem(&section.place_of("format"), key("format"), message);
    }
    if section
        .options
        .template("topic")
        .is_some_and(|topic| topic.literal() == Some(""))
    {
        let message = "is empty; leave it out for the event's own topic";
        reader.problem(&section.place_of("topic"), key("topic"), message);
    }
}

fn read_match(reader: &mut Reader, key: &str, table: &Table) -> Option<Match> {
    let entry = table.get("match")?;
    let Node::Table(table) = &entry.node else {
        let found = entry.node.describe(false);
        reader.problem(
            &entry.place,
            key,
            format!("found {found}; expected a table such as {{ topic = \"shop.*\" }}"),
        );
        return None;
    };
    let section = reader.section(key, table, MATCH, &[])?;
    let mut pattern = |name: &str| {
        let text = section.options.text(name)?;
        if text.is_empty() {
            let place = section.place_of(name);
            reader.problem(
                &place,
                format!("{key}.{name}"),
                "an empty pattern takes no event; leave it out to take all",
            );
        }
        Some(Pattern::new(text))
    };
    Some(Match {
        topic: pattern("topic"),
        event_type: pattern("type"),
    })
}

/// Whether `earlier` certainly takes everything that `later` could take.
fn covers(earlier: &Match, later: &Match) -> bool {
    // A pattern that matches another one's text, stars and all, matches whatever that one matches: its own stars stand where
    // the other's do.
    let within = |outer: &Pattern, inner: &Pattern| outer.matches(inner.as_str());
    let topic = match (&earlier.topic, &later.topic) {
        (None, _) => true,
        (Some(outer), None) => outer.matches_all(),
        (Some(outer), Some(inner)) => within(outer, inner),
    };
    let event_type = match (&earlier.event_type, &later.event_type) {
        (None, _) => true,
        // A pattern takes no event without a type, even "*".
        (Some(_), None) => false,
        (Some(outer), Some(inner)) => within(outer, inner),
    };
    topic && event_type
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(topic: Option<&str>, event_type: Option<&str>) -> Match {
        Match {
            topic: topic.map(Pattern::new),
            event_type: event_type.map(Pattern::new),
        }
    }

    #[test]
    fn a_route_covers_what_its_pattern_covers() {
        assert!(covers(&wanted(None, None), &wanted(Some("a"), Some("b"))));
        assert!(covers(&wanted(Some("*"), None), &wanted(None, None)));
        assert!(covers(
            &wanted(Some("shop.*"), None),
            &wanted(Some("shop.*.eu"), Some("X"))
        ));
        assert!(!covers(
            &wanted(Some("shop.orders"), None),
            &wanted(Some("shop.*"), None)
        ));
        assert!(!covers(&wanted(None, Some("*")), &wanted(None, None)));
        assert!(covers(
            &wanted(None, Some("Order*")),
            &wanted(None, Some("OrderPlaced"))
        ));
    }
}
