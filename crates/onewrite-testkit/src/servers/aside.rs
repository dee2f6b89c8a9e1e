//! Beside the runtime of a test.

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
