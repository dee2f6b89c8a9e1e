//! Places at which a debug build can be made to end at once, so that tests see what a crash there leaves behind.
//!
//! A process reads the environment variable [`VARIABLE`] when it comes to the first such place: `NAME` ends it there by
//! [`std::process::abort`], `NAME:3` the third time. A release build has neither the variable nor the places.

/// The environment variable that names the place.
pub const VARIABLE: &str = "ONEWRITE_FAILPOINT";

/// Every place there is. A settlement, a parked event, a fence: before it is asked for, and after the answer came.
pub const ALL: &[&str] = &[
    "lease.after",
    "adopt.before",
    "adopt.after",
    "fence.before",
    "fence.after",
    "tick.before",
    "tick.after",
    "slot.before",
    "slot.after",
    "deliver.before",
    "deliver.after",
    "settle.before",
    "settle.after",
    "park.before",
    "park.after",
    "redelivery.settle.before",
    "redelivery.settle.after",
    "truncate.before",
    "truncate.after",
    "release.before",
    "release.after",
];

/// Notes that the process is at the place `name`, and may not return.
///
/// # Panics
/// In a debug build, when [`ALL`] lacks the name.
#[inline]
pub fn reach(name: &str) {
    #[cfg(debug_assertions)]
    armed::reach(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{ALL, VARIABLE};

    /// Where the process ends, and how often it may still pass there.
    struct End {
        name: String,
        left: AtomicU32,
    }

    static END: OnceLock<Option<End>> = OnceLock::new();

    pub fn reach(name: &str) {
        assert!(ALL.contains(&name), "the failpoint {name:?} is not in the list");
        let end = END.get_or_init(|| std::env::var(VARIABLE).ok().map(|text| read(&text)));
        if let Some(end) = end.as_ref().filter(|end| end.name == name)
            && end.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            tracing::error!(failpoint = name, "ending here, as {VARIABLE} asks for");
            std::process::abort();
        }
    }

    fn read(text: &str) -> End {
        let (name, times) = text.split_once(':').unwrap_or((text, "1"));
        assert!(
            ALL.contains(&name),
            "{VARIABLE} is {text:?}; there is no such place, the places are {ALL:?}"
        );
        let times = times.parse().expect("after the colon, how often it is reached");
        End {
            name: name.to_owned(),
            left: AtomicU32::new(times),
        }
    }
}
