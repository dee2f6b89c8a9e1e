//! Waiting for facts.

use std::time::{Duration, Instant};

/// How long a server may take to start or to stop: generous, because a machine that runs tests is busy, and a server
/// that was killed recovers first.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks for a fact until it is there, and says whether it was in time.
pub fn until(mut fact: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Runs blocking work beside the caller's runtime, so that a relay under test goes on while a server restarts.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("a server fixture was cut off: {error}"),
        },
    }
}
