//! `onewrite status`: relays, routes and the outbox at a glance.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use onewrite_core::limits::UNSETTLED_COUNT_MAX;
use onewrite_core::store::{RouteStatus, SlotStatus, Status};

use super::Context;
use crate::configuration::Settings;
use crate::failure::Failure;
use crate::output;
use crate::output::human::{bytes, count, plural, printable, seconds, shortened};
use crate::output::table::{Side, Table};

/// Shows what the relay is doing, how far behind each route is, and what is stuck
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onewrite status
  onewrite status --watch        again every 2 seconds
  onewrite status --json | jq '.routes[] | select(.lag_seconds > 60)'")]
pub struct Arguments {
    /// Show it again every so many seconds [default: 2]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    /// Answer in JSON, one line each time
    #[arg(long)]
    json: bool,
}

/// Longest error in the table, in characters; `--json` has it whole.
const ERROR_CHARACTERS: usize = 100;

/// Moves the cursor home and clears what is below, so that a watched status does not scroll away.
const CLEAR: &str = "\x1b[H\x1b[J";

pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (settings, opened) = context.open()?;
    let clear = arguments.watch.is_some() && !arguments.json && std::io::stdout().is_terminal();
    loop {
        let status = opened.operations.status().await?;
        if arguments.json {
            output::json(&status)?;
        } else {
            let text = text(&status, &settings, &opened.place);
            output::text(&if clear { format!("{CLEAR}{text}") } else { text })?;
        }
        let Some(pause) = arguments.watch else { return Ok(()) };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(pause)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// The status for people.
fn text(status: &Status, settings: &Settings, place: &str) -> String {
    let size: i64 = status.segments.iter().map(|segment| segment.bytes).sum();
    let mut text = alarms(status);
    let _ = writeln!(
        text,
        "outbox {place}: {}, schema version {}{}",
        bytes(size),
        status.schema_version,
        status
            .retained
            .since
            .map_or(String::new(), |since| format!(", replays reach back to {since}"))
    );
    let mut relays: Vec<&str> = status.routes.iter().map(|route| route.relay.as_str()).collect();
    relays.extend(status.relays.iter().map(|relay| relay.name.as_str()));
    relays.push(&settings.name);
    relays.sort_unstable();
    relays.dedup();
    for relay in relays {
        let _ = writeln!(text, "\nrelay {}: {}", printable(relay), holder(status, relay));
        text.push_str(&feed(status, relay));
        text.push_str(&groups(status, relay));
        let routes: Vec<&RouteStatus> = status.routes.iter().filter(|route| route.relay == relay).collect();
        if !routes.is_empty() {
            let _ = write!(text, "{}", table(&routes, is_run(status, relay)));
        }
        text.push_str(&replays(status, relay));
        text.push_str(&hints(&routes));
    }
    text
}

/// The alarms, before everything else.
fn alarms(status: &Status) -> String {
    let mut text = String::new();
    for alarm in &status.alarms {
        let (kind, subject) = (alarm.kind.as_str(), printable(&alarm.subject));
        let _ = writeln!(text, "! {kind}: {subject}: {}\n", printable(&alarm.message));
    }
    text
}

/// How a relay finds new events, and its place in the log.
fn feed(status: &Status, relay: &str) -> String {
    let mut text = String::new();
    let Some(relay) = status.relays.iter().find(|known| known.name == relay) else {
        return text;
    };
    if let Some(feed) = &relay.feed {
        let reason = relay
            .feed_reason
            .as_ref()
            .map_or(String::new(), |reason| format!(": {}", printable(reason)));
        let _ = writeln!(text, "feed {}{reason}", printable(feed));
    }
    if let Some(known) = &relay.slot {
        let _ = writeln!(text, "{}", slot(known));
    }
    text
}

fn slot(slot: &SlotStatus) -> String {
    let reader = match slot.active_pid {
        Some(pid) => format!("read by pid {pid}"),
        None => "read by nobody".to_owned(),
    };
    let kept = slot.retained_bytes.map_or("nothing".to_owned(), bytes);
    let reason = slot
        .invalidation_reason
        .as_ref()
        .map_or(String::new(), |reason| format!(" ({})", printable(reason)));
    let (name, wal_status) = (printable(&slot.name), printable(&slot.wal_status));
    format!("slot {name}: {wal_status}{reason}, {reader}, keeps {kept} of the log")
}

/// Who leads each group of lanes, and how far it is.
fn groups(status: &Status, relay: &str) -> String {
    let relay = status.relays.iter().find(|known| known.name == relay);
    let Some(relay) = relay.filter(|relay| !relay.groups.is_empty()) else {
        return String::new();
    };
    let mut table = Table::new(&[
        ("GROUP", Side::Right),
        ("RUN BY", Side::Left),
        ("LEASE", Side::Right),
        ("FEED", Side::Left),
        ("UNSETTLED", Side::Right),
        ("LAG", Side::Right),
        ("SLOT", Side::Left),
    ]);
    for group in &relay.groups {
        table.row([
            group.index.to_string(),
            group.holder.as_deref().map_or("nobody".to_owned(), printable),
            group.lease_seconds.map_or("–".to_owned(), seconds),
            group.feed.clone().unwrap_or_default(),
            group.unsettled.map_or("–".to_owned(), unsettled),
            group.lag_seconds.map_or("–".to_owned(), seconds),
            group.slot.as_ref().map_or(String::new(), slot),
        ]);
    }
    format!("{table}\n")
}

/// How far replays are.
fn replays(status: &Status, relay: &str) -> String {
    let mut text = String::new();
    for replay in status.replays.iter().filter(|replay| replay.relay == relay) {
        let (id, route) = (replay.id, printable(&replay.route));
        let of = replay
            .events
            .map_or(String::new(), |events| format!(" of {}", count(events)));
        let state = match (replay.finished_at, replay.left) {
            (Some(at), _) => format!("through since {at:.0}"),
            (None, Some(left)) => format!("{}{of} events to go", count(left)),
            (None, None) => "under way".to_owned(),
        };
        let _ = writeln!(
            text,
            "replay {id} of {route}, asked for at {:.0}: {state}",
            replay.requested_at
        );
    }
    text
}

fn holder(status: &Status, relay: &str) -> String {
    let known = status.relays.iter().find(|known| known.name == relay);
    match known.map(|known| (&known.holder, known.renewed_seconds_ago)) {
        None => "has never run here; start it with `onewrite run`".to_owned(),
        Some((None, _)) => "nobody runs it; start it with `onewrite run`".to_owned(),
        Some((Some(holder), renewed)) => {
            let renewed = renewed.map_or(String::new(), |ago| format!(", seen {} ago", seconds(ago)));
            format!("run by {}{renewed}", printable(holder))
        }
    }
}

fn is_run(status: &Status, relay: &str) -> bool {
    status
        .relays
        .iter()
        .any(|known| known.name == relay && known.holder.is_some())
}

fn table(routes: &[&RouteStatus], is_run: bool) -> Table {
    let mut table = Table::new(&[
        ("ROUTE", Side::Left),
        ("STATE", Side::Left),
        ("UNSETTLED", Side::Right),
        ("LAG", Side::Right),
        ("DELIVERED", Side::Right),
        ("FAILED", Side::Right),
        ("PARKED", Side::Right),
        ("HELD", Side::Right),
        ("LAST ERROR", Side::Left),
    ]);
    for route in routes {
        table.row([
            route.route.clone(),
            match route.state.as_str() {
                // What a relay reported last says nothing once nobody runs it.
                "running" | "retrying" if !is_run => "stopped".to_owned(),
                state => state.to_owned(),
            },
            route.unsettled.map_or("–".to_owned(), unsettled),
            route.lag_seconds.map_or("–".to_owned(), seconds),
            count(route.delivered),
            count(route.failed),
            count(route.parked),
            count(route.held),
            route
                .last_error
                .as_deref()
                .map_or(String::new(), |error| shortened(error, ERROR_CHARACTERS)),
        ]);
    }
    table
}

fn unsettled(events: i64) -> String {
    let more = if events >= UNSETTLED_COUNT_MAX { "+" } else { "" };
    count(events) + more
}

/// What a person can do now.
fn hints(routes: &[&RouteStatus]) -> String {
    let mut hints = String::new();
    for route in routes {
        let name = printable(&route.route);
        if let Some(reason) = &route.halted {
            let _ = writeln!(
                hints,
                "! {name} halted: {}; mend the cause, then `onewrite resume {name}`",
                printable(reason)
            );
        } else if route.state == "paused" {
            let _ = writeln!(hints, "! {name} is paused; `onewrite resume {name}` lets it go on");
        }
        if route.parked > 0 {
            let parked = plural(route.parked.unsigned_abs(), "event");
            let _ = writeln!(
                hints,
                "! {name} parked {parked}; `onewrite parked list --route {name}` shows why"
            );
        }
    }
    hints
}

#[cfg(test)]
mod tests {
    use onewrite_core::alarm::{Alarm, AlarmKind};
    use onewrite_core::store::{GroupStatus, RelayStatus, ReplayStatus, Retained};

    use super::*;

    fn status() -> Status {
        let slot = SlotStatus {
            name: "onewrite_shop".to_owned(),
            wal_status: "reserved".to_owned(),
            active_pid: Some(4711),
            retained_bytes: Some(1_200_000),
            unseen_bytes: Some(0),
            safe_bytes: None,
            invalidation_reason: None,
        };
        let replay = ReplayStatus {
            id: 3,
            relay: "shop".to_owned(),
            route: "orders".to_owned(),
            events: Some(5_000),
            left: Some(1_200),
            requested_at: "2026-11-24T08:00:00.123Z".parse().expect("a time"),
            finished_at: None,
        };
        Status {
            alarms: vec![Alarm {
                kind: AlarmKind::FloorHeld,
                subject: "transaction of pid 9".to_owned(),
                message: "open for 5 min: \u{1b}[2J".to_owned(),
                figure: Some(300.0),
            }],
            schema_version: 3,
            relays: vec![RelayStatus {
                name: "shop".to_owned(),
                holder: Some("host:1".to_owned()),
                epoch: 1,
                renewed_seconds_ago: Some(0.4),
                feed: Some("wal".to_owned()),
                feed_reason: Some("the server allows it".to_owned()),
                slot: Some(slot),
                groups: Vec::new(),
            }],
            routes: Vec::new(),
            segments: Vec::new(),
            retained: Retained::default(),
            replays: vec![replay],
        }
    }

    #[test]
    fn alarms_come_first_and_cannot_command_the_terminal() {
        assert_eq!(
            alarms(&status()),
            "! floor_held: transaction of pid 9: open for 5 min: \\u{1b}[2J\n\n"
        );
    }

    #[test]
    fn a_relay_is_shown_with_its_feed_its_slot_and_its_replays() {
        let mut status = status();
        assert_eq!(
            feed(&status, "shop"),
            "feed wal: the server allows it\n\
             slot onewrite_shop: reserved, read by pid 4711, keeps 1.2 MB of the log\n"
        );
        assert_eq!(
            replays(&status, "shop"),
            "replay 3 of orders, asked for at 2026-11-24T08:00:00Z: 1,200 of 5,000 events to go\n"
        );
        status.replays[0].finished_at = Some(status.replays[0].requested_at);
        assert!(replays(&status, "shop").ends_with(": through since 2026-11-24T08:00:00Z\n"));
        assert_eq!(
            (feed(&status, "other"), replays(&status, "other")),
            (String::new(), String::new())
        );
    }

    #[test]
    fn the_groups_of_a_relay_are_shown_with_who_leads_them() {
        let mut status = status();
        assert_eq!(groups(&status, "shop"), "");
        let group = |index, holder: Option<&str>| GroupStatus {
            index,
            holder: holder.map(str::to_owned),
            epoch: 3,
            renewed_seconds_ago: Some(0.2),
            lease_seconds: holder.map(|_| 9.0),
            feed: Some("wal".to_owned()),
            feed_reason: None,
            slot: None,
            unsettled: Some(1_200),
            lag_seconds: None,
        };
        let parts = vec![group(0, Some("a:1")), group(1, None)];
        status.relays = vec![RelayStatus::of_groups("shop".to_owned(), parts)];
        assert_eq!(status.relays[0].holder.as_deref(), Some("a:1"));
        let text = groups(&status, "shop");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..2], ["0", "a:1"]);
        assert_eq!(lines[2][..4], ["1", "nobody", "–", "wal"]);
    }
}
