//! What `./x fuzz` tries of this module.

use super::snapshot::Snapshot;
use super::{connection, record, rows};

pub(crate) use super::foreign::fuzzing::{name, template};
pub(crate) use super::log::fuzzing::{frames, logged};

/// Any text is a snapshot as PostgreSQL writes one, or none. What it tells of a transaction holds together.
pub(crate) fn snapshot(text: &str) {
    let Ok(snapshot) = Snapshot::parse(text, 0) else { return };
    assert_eq!(snapshot.text(), text);
    for xid in snapshot.in_progress() {
        assert!(*xid < snapshot.xmax() && !snapshot.sees(*xid), "{text}: {xid}");
    }
    assert!(!snapshot.sees(snapshot.xmax()));
    assert_eq!(snapshot.ended_until(&snapshot).count(), 0, "{text}");
}

/// Any text is headers or a defect, and not both.
pub(crate) fn headers(text: &str) {
    let mut defect = None;
    let headers = rows::read_headers(text, &mut defect);
    assert!(defect.is_none() || headers.is_empty(), "{text}");
}

/// Any text is a record that is written and read back as the same, or an error.
pub(crate) fn record(text: &str) {
    if let Ok(verbatim) = record::from_json(text) {
        assert_eq!(record::from_json(&record::to_json(&verbatim)), Ok(verbatim));
    }
}

/// Any URL is that of a database, or is refused without the password that it may hold.
pub(crate) fn url(text: &str) {
    connection::fuzz(text);
}
