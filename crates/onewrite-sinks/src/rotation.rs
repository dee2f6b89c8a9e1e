//! Several servers of which one is used.

use std::sync::atomic::{AtomicUsize, Ordering};

use onewrite_core::error::{Action, SinkError, chain};

/// Which of several servers is tried first: the one that was found last, until it is left.
#[derive(Debug, Default)]
pub struct Rotation(AtomicUsize);

impl Rotation {
    /// Tries `count` servers in turn with `open`, beginning with the first one of the rotation, and returns which it was.
    ///
    /// # Errors
    /// As [`first_of`].
    pub async fn connect<T, F>(&self, count: usize, mut open: impl FnMut(usize) -> F) -> Result<(usize, T), SinkError>
    where
        F: Future<Output = Result<T, SinkError>>,
    {
        let first = self.0.load(Ordering::Relaxed);
        let tries = (0..count).map(|step| {
            let server = (first + step) % count;
            let opening = open(server);
            async move { opening.await.map(|opened| (server, opened)) }
        });
        let (server, opened) = first_of(tries.collect()).await?;
        self.0.store(server, Ordering::Relaxed);
        Ok((server, opened))
    }

    /// Lets the one after this server be tried first, unless somebody has left it already.
    pub fn leave(&self, server: usize, count: usize) {
        let next = (server + 1) % count;
        // Of several that fail at once, one moves on.
        let _ = self
            .0
            .compare_exchange(server, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// What the first of several tries gives that gives anything; one is begun when the one before it has failed.
///
/// # Errors
/// As [`worst_of`] has it.
pub async fn first_of<T, F>(tries: Vec<F>) -> Result<T, SinkError>
where
    F: Future<Output = Result<T, SinkError>>,
{
    let mut failures = Vec::new();
    for one in tries {
        match one.await {
            Ok(opened) => return Ok(opened),
            Err(error) => failures.push(error),
        }
    }
    Err(worst_of(failures))
}

/// What several tries failed of: the error that a person must do something about, if there is one, since it will not pass by itself; else
/// all of them.
pub fn worst_of(mut failures: Vec<SinkError>) -> SinkError {
    let halts = |error: &SinkError| error.action == Action::Halt;
    if let Some(at) = failures.iter().position(halts) {
        return failures.swap_remove(at);
    }
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let all: Vec<_> = failures.iter().map(|error| chain(error)).collect();
    SinkError::reconnect(all.join("; and "))
}
