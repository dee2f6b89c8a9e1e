//! Each consumer receives each event once.

use std::time::Duration;

use onewrite::postgres::{prune_inbox, receive};
use onewrite::{TransactionState, Uuid};

use super::database::Database;

#[tokio::test]
async fn once_true_then_false_and_true_again_after_a_rollback() {
    let mut client = Database::migrated().await.owner().await;
    let event = Uuid::new_v4();
    for (commit, expected) in [(false, true), (true, true), (true, false)] {
        let transaction = client.transaction().await.expect("begin");
        assert_eq!(
            receive(&transaction, "warehouse", event).await.expect("receive"),
            expected
        );
        assert!(!receive(&transaction, "warehouse", event).await.expect("receive again"));
        if commit {
            transaction.commit().await.expect("commit");
        } else {
            transaction.rollback().await.expect("roll back");
        }
    }
    let transaction = client.transaction().await.expect("begin");
    assert!(receive(&transaction, "billing", event).await.expect("another consumer"));
    assert!(
        receive(&transaction, "warehouse", Uuid::new_v4())
            .await
            .expect("another event")
    );
}

#[tokio::test]
async fn two_at_once_wait_for_one_another() {
    let database = Database::migrated().await;
    let (mut first, mut second) = (database.owner().await, database.owner().await);
    for rolled_back in [true, false] {
        let event = Uuid::new_v4();
        let earlier = first.transaction().await.expect("begin");
        assert!(receive(&earlier, "warehouse", event).await.expect("receive"));
        let later = second.transaction().await.expect("begin");
        let end = async {
            if rolled_back {
                earlier.rollback().await.expect("roll back");
            } else {
                earlier.commit().await.expect("commit");
            }
        };
        let (received, ()) = tokio::join!(receive(&later, "warehouse", event), end);
        assert_eq!(received.expect("receive"), rolled_back);
        later.commit().await.expect("commit");
    }
}

#[tokio::test]
async fn a_consumer_without_a_name_is_refused_before_the_database_is_asked() {
    let mut client = Database::migrated().await.owner().await;
    let transaction = client.transaction().await.expect("begin");
    let error = receive(&transaction, "", Uuid::new_v4()).await.expect_err("no name");
    assert_eq!(
        error.to_string(),
        "the consumer's name cannot be used: consumer is empty; it needs at least one character; the transaction is untouched"
    );
    assert_eq!(error.transaction(), TransactionState::Untouched);
    assert!(receive(&transaction, "c", Uuid::new_v4()).await.expect("receive"));
}

#[tokio::test]
async fn pruning_forgets_what_is_older_and_keeps_the_rest() {
    let client = Database::migrated().await.owner().await;
    let fill = "INSERT INTO onewrite.inbox SELECT 'c', gen_random_uuid(), now() - interval '31 days' FROM generate_series(1, 10003);
                INSERT INTO onewrite.inbox SELECT 'c', gen_random_uuid(), now() - interval '29 days' FROM generate_series(1, 5)";
    client.batch_execute(fill).await.expect("fill");
    let month = Duration::from_secs(30 * 24 * 3600);
    let mut pruned = Vec::new();
    while pruned.last() != Some(&0) {
        pruned.push(prune_inbox(&client, month).await.expect("prune"));
    }
    assert_eq!(pruned, [10_000, 3, 0]);
    let left = client
        .query_one("SELECT count(*) FROM onewrite.inbox", &[])
        .await
        .expect("count");
    assert_eq!(left.get::<_, i64>(0), 5);
}
