//! Memory of a process, as the kernel tells of it.

use std::fs;

use crate::end_to_end::world::Relay;

/// Bytes that are resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    pub now: u64,
    /// The most that ever were.
    pub peak: u64,
}

/// Of a relay that runs.
pub fn resident(relay: &Relay) -> Resident {
    let path = format!("/proc/{}/status", relay.process());
    let status = fs::read_to_string(&path).expect("the relay runs");
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024
    };
    Resident {
        now: bytes("VmRSS:"),
        peak: bytes("VmHWM:"),
    }
}
