//! Waiting for facts, which is the only waiting that tests do.

use std::time::Duration;

/// How long a fact may take: generous, because a machine that runs tests is busy, and a server that was killed recovers
/// first.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long a server may take to start: a virtual machine of its own on a machine that is busy with many others takes minutes.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(300);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks again and again until there is an answer. Under a paused clock the pauses cost nothing.
///
/// # Panics
/// When there is none within [`PATIENCE`]; `what` tells what was waited for.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what}: not within {PATIENCE:?}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same outside a runtime.
///
/// # Panics
/// When there is no answer within [`PATIENCE`]; `what` tells what was waited for.
pub fn until_blocking<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let mut answer = None;
    let found = || {
        answer = ask();
        answer.is_some()
    };
    assert!(holds(found), "{what}: not within {PATIENCE:?}");
    answer.expect("it was found")
}

/// Whether the fact comes to hold in time, for those who have more to tell when it does not.
pub(crate) fn holds(fact: impl FnMut() -> bool) -> bool {
    holds_within(PATIENCE, fact)
}

/// The same with another patience.
pub(crate) fn holds_within(patience: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let deadline = std::time::Instant::now() + patience;
    while !fact() {
        if std::time::Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}
