//! Several servers of one kind: with which of them connecting begins, and how long each may take.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use onewrite_core::error::SinkError;
use tokio::time::{Instant, timeout};

use crate::rotation::worst_of;

/// Whose turn it is. A connector keeps it, so that each connection begins with another server than the last one: that one was left for
/// a reason, which may be one that connecting does not show.
#[derive(Debug, Default)]
pub struct Turns {
    next: AtomicUsize,
}

/// How long connecting may take.
#[derive(Clone, Copy, Debug)]
pub struct ConnectLimit {
    /// To all servers, one after another. Each has its share of what is left, so that one that falls silent leaves time for the others.
    pub whole: Duration,
    /// Most that one of them gets.
    pub each: Duration,
}

impl Turns {
    /// What `open` gives for the first of the servers that gives anything; each is tried once.
    ///
    /// # Errors
    /// As [`worst_of`] has it.
    pub async fn connect<'a, S, T, F>(
        &self,
        servers: &'a [S],
        limit: ConnectLimit,
        open: impl Fn(&'a S) -> F,
    ) -> Result<T, SinkError>
    where
        S: Display,
        F: Future<Output = Result<T, SinkError>>,
    {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let end = Instant::now() + limit.whole;
        let mut failures = Vec::new();
        for step in 0..servers.len() {
            let at = first.wrapping_add(step) % servers.len();
            let untried = u32::try_from(servers.len() - step).unwrap_or(u32::MAX);
            let time = limit.each.min(end.saturating_duration_since(Instant::now()) / untried);
            match timeout(time, open(&servers[at])).await {
                Ok(Ok(opened)) => {
                    self.next.store(at + 1, Ordering::Relaxed);
                    return Ok(opened);
                }
                Ok(Err(error)) => failures.push(error),
                Err(_) => failures.push(silent(&servers[at], time)),
            }
        }
        Err(worst_of(failures))
    }
}

/// The same for one server, whichever it is.
///
/// # Errors
/// Its own, or that it took too long.
pub async fn connect_to<S: Display, T>(
    server: &S,
    limit: ConnectLimit,
    opening: impl Future<Output = Result<T, SinkError>>,
) -> Result<T, SinkError> {
    let opened = timeout(limit.each, opening).await;
    opened.unwrap_or_else(|_| Err(silent(server, limit.each)))
}

fn silent(server: &impl Display, time: Duration) -> SinkError {
    SinkError::reconnect(format!("{server} did not answer within {time:.1?}"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use onewrite_core::error::Action;

    use super::*;

    const LIMIT: ConnectLimit = ConnectLimit {
        whole: Duration::from_millis(90),
        each: Duration::from_millis(50),
    };

    #[tokio::test]
    async fn each_connection_begins_with_the_server_after_the_last_one() {
        let turns = Turns::default();
        let servers = ["a", "b", "c"];
        let mut connected = Vec::new();
        for _ in 0..4 {
            let opened = turns.connect(&servers, LIMIT, |server| async move {
                match *server {
                    "b" => Err(SinkError::reconnect("it is down")),
                    up => Ok(up),
                }
            });
            connected.push(opened.await.unwrap());
        }
        assert_eq!(connected, ["a", "c", "a", "c"]);
    }

    #[tokio::test]
    async fn servers_that_fall_silent_leave_time_for_the_last() {
        let tried = RefCell::new(Vec::new());
        let turns = Turns::default();
        let servers = ["a", "b", "c", "d", "e", "f"];
        let opened = turns.connect(&servers, LIMIT, |server| {
            tried.borrow_mut().push(*server);
            async move {
                match *server {
                    "f" => Ok("f"),
                    _ => std::future::pending().await,
                }
            }
        });
        assert_eq!(opened.await.unwrap(), "f");
        assert_eq!(*tried.borrow(), servers);
    }

    #[tokio::test]
    async fn what_a_person_must_do_is_told_before_what_may_pass() {
        let open = |server: &'static &'static str| async move {
            match *server {
                "a" => Err::<(), _>(SinkError::halt("wrong password")),
                _ => std::future::pending().await,
            }
        };
        let error = Turns::default().connect(&["a", "b"], LIMIT, open).await.unwrap_err();
        assert_eq!(
            (error.action, error.to_string().as_str()),
            (Action::Halt, "wrong password")
        );
        let error = Turns::default().connect(&["b", "c"], LIMIT, open).await.unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("b did not answer within 45.0ms; and c did not answer"),
            "{words}"
        );
        assert_eq!(error.action, Action::Reconnect);
    }
}
