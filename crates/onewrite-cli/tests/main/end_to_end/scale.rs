//! How much of the loads that take long is done.

/// The usual load, unless the environment says `ONEWRITE_FULL=1`: then the load that is promised.
pub fn scaled(usual: u64, full: u64) -> u64 {
    match std::env::var_os("ONEWRITE_FULL") {
        Some(word) if word == "1" => full,
        _ => usual,
    }
}
