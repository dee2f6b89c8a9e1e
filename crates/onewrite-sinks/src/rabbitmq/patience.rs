//! How long a delivery waits for a broker that says nothing, or takes nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Why the broker blocks publishers, while it does.
pub(super) type Blocked = watch::Receiver<Option<String>>;

/// Waits until the broker has said nothing of any message for so long. While it blocks publishers it owes no word: the time begins
/// anew when it takes messages again.
pub(super) async fn silent(heard: &AtomicU64, mut blocked: Blocked, most: Duration) {
    loop {
        // A connection that has ended blocks nobody: the messages then learn what became of them.
        let _ = blocked.wait_for(Option::is_none).await;
        let before = heard.load(Ordering::Relaxed);
        tokio::select! {
            () = sleep(most) => {
                if heard.load(Ordering::Relaxed) == before {
                    return;
                }
            }
            Ok(_) = blocked.wait_for(Option::is_some) => {}
        }
    }
}

/// Waits until the broker has blocked publishers for so long, and returns its reason.
pub(super) async fn blocked(mut blocked: Blocked, most: Duration) -> String {
    loop {
        let reason = blocked.wait_for(Option::is_some).await;
        let reason = reason.ok().and_then(|reason| reason.clone());
        let Some(reason) = reason else {
            // There is no connection that could be blocked.
            return std::future::pending().await;
        };
        if timeout(most, blocked.wait_for(Option::is_none)).await.is_err() {
            return reason;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const MOST: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_broker_that_takes_messages_again_has_its_time_from_then_on() {
        let (block, receiver) = watch::channel(Some("memory".to_owned()));
        let heard = AtomicU64::new(0);
        let begun = Instant::now();
        let unblocking = async {
            sleep(MOST * 3 / 4).await; // slow on purpose
            block.send_replace(None);
        };
        tokio::join!(silent(&heard, receiver, MOST), unblocking);
        let taken = begun.elapsed();
        assert!(taken >= MOST * 7 / 4, "{taken:?}");
    }

    #[tokio::test]
    async fn a_word_on_any_message_begins_the_time_anew() {
        let (_block, receiver) = watch::channel(None);
        let heard = AtomicU64::new(0);
        let begun = Instant::now();
        let hearing = async {
            sleep(MOST / 2).await; // slow on purpose
            heard.fetch_add(1, Ordering::Relaxed);
        };
        tokio::join!(silent(&heard, receiver, MOST), hearing);
        assert!(begun.elapsed() >= MOST * 2);
    }

    #[tokio::test]
    async fn a_broker_that_blocks_for_too_long_says_why() {
        let (block, receiver) = watch::channel(Some("memory".to_owned()));
        let again = async {
            sleep(MOST / 2).await; // slow on purpose
            block.send_replace(None);
            sleep(MOST).await; // slow on purpose
            block.send_replace(Some("disk".to_owned()));
        };
        let (reason, ()) = tokio::join!(blocked(receiver, MOST), again);
        assert_eq!(reason, "disk");
    }
}
