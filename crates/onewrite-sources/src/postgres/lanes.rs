//! Groups of lanes in PostgreSQL: which publication holds one, and the same decision for rows that come over the log unfiltered.

use onewrite::schema::postgres::groups::{condition, create_publication, hash, publication};
use onewrite_core::routing::Group;
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::error::failed;

/// Adds the condition that a row is in the group to one on the columns of a share; `id` names the column of the event's id.
pub(super) fn and_in(group: Group, id: &str, sql: &mut String) {
    if !group.is_all() {
        sql.push_str(" AND ");
        sql.push_str(&condition(group.index, group.count, id));
    }
}

/// What a reader of the log follows, and whether it has to look at keys itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    /// The publication.
    pub publication: String,
    /// The group whose rows the reader picks out; [`Group::ALL`] where everything that comes is wanted.
    pub picks: Group,
}

impl Published {
    /// The best publication for a group: its own, where there is one that leaves out nothing of it and the server can filter; else
    /// `whole`, which publishes everything.
    ///
    /// # Errors
    /// `Refused` where there is no publication of the group, and the server's hashes cannot be had here.
    pub async fn of(client: &Client, group: Group, whole: &str) -> Result<Self, StoreError> {
        if group.is_all() {
            return Ok(Self {
                publication: whole.to_owned(),
                picks: group,
            });
        }
        let agrees = hashes_agree(client).await?;
        let own = is_published(client, group).await?;
        if !own && !agrees {
            let words = format!(
                "the keys are hashed otherwise than here, since the database's encoding is not UTF-8 or the server's machine is of \
                 another kind; as the owner of onewrite.outbox run, in PostgreSQL 15 or later: {}",
                create_publication(group.index, group.count)
            );
            return Err(StoreError::new(StoreFailure::Refused, words));
        }
        Ok(Self {
            publication: if own {
                publication(group.index, group.count)
            } else {
                whole.to_owned()
            },
            // Also of what the server has filtered: it costs nothing, and nobody need trust a publication.
            picks: if agrees { group } else { Group::ALL },
        })
    }
}

/// Whether there is a publication of exactly this group.
///
/// # Errors
/// When the server could not be asked.
pub(super) async fn is_published(client: &Client, group: Group) -> Result<bool, StoreError> {
    // Row filters and lists of columns are there from version 15 on.
    const PUBLISHED: &str = "\
        SELECT to_jsonb(t) ->> 'rowfilter' FROM pg_publication p JOIN pg_publication_tables t ON t.pubname = p.pubname \
        WHERE p.pubname = $1 AND p.pubinsert AND p.pubviaroot AND t.schemaname = 'onewrite' AND t.tablename = 'outbox' \
        AND jsonb_array_length(to_jsonb(t) -> 'attnames') = (SELECT count(*) FROM pg_attribute \
            WHERE attrelid = 'onewrite.outbox'::regclass AND attnum > 0 AND NOT attisdropped)";
    let name = publication(group.index, group.count);
    let row = client.query_typed_opt(PUBLISHED, &[(&name, Type::TEXT)]).await;
    let row = row.map_err(|error| failed("looking for the publication of a group of lanes", error))?;
    let filter: Option<String> = row.and_then(|row| row.get(0));
    Ok(filter.is_some_and(|filter| bare(&filter) == bare(&condition(group.index, group.count, "id"))))
}

/// What a server makes of a condition depends on its version; spaces, parentheses and casts of its own say nothing.
fn bare(sql: &str) -> String {
    let without_casts = sql.replace("'", "").replace("::bigint", "").replace("::text", "");
    let kept = without_casts
        .chars()
        .filter(|character| !matches!(character, ' ' | '(' | ')'));
    kept.collect::<String>().to_lowercase()
}

/// Keys by which it is seen that the server hashes as we do: every length of a last block, and characters beyond ASCII.
const SAMPLES: [&str; 5] = [
    "",
    "key-1",
    "größe",
    "鍵鍵鍵鍵",
    "a key of more than one block, to be sure",
];

async fn hashes_agree(client: &Client) -> Result<bool, StoreError> {
    let hashes = format!(
        "SELECT {} FROM unnest($1::text[]) WITH ORDINALITY AS s (key, place) ORDER BY place",
        hash("key", "NULL")
    );
    let samples: &[&str] = &SAMPLES;
    let rows = match client.query_typed(&hashes, &[(&samples, Type::TEXT_ARRAY)]).await {
        Ok(rows) => rows,
        // A character that the database's encoding has not.
        Err(error) if error.as_db_error().is_some() => return Ok(false),
        Err(error) => return Err(failed("comparing hashes of keys", error)),
    };
    let theirs = rows.iter().map(|row| row.get::<_, i64>(0).cast_unsigned());
    Ok(theirs.eq(SAMPLES.iter().map(|key| of_bytes(key.as_bytes()))))
}

/// The hash by which an event's group is decided: of its key's bytes, or of its id's.
pub(super) fn of_event(key: Option<&[u8]>, id: Uuid) -> u64 {
    of_bytes(key.unwrap_or(id.as_bytes()))
}

/// PostgreSQL's `hashtextextended(…, 0)` of a text of these bytes (and `uuid_hash_extended` of such an id), without its sign: Bob Jenkins' lookup3 as it is in
/// `src/common/hashfn.c`.
fn of_bytes(bytes: &[u8]) -> u64 {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let first = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
    let mut state = [first; 3];
    let blocks = bytes.chunks_exact(12);
    let mut last = [0; 12];
    last[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
    for block in blocks {
        add(&mut state, block);
        mix(&mut state);
    }
    // The lowest byte of the third word is not used in the last block.
    last.copy_within(8..11, 9);
    last[8] = 0;
    add(&mut state, &last);
    let [_, b, c] = finish(state);
    (u64::from(b) << 32 | u64::from(c)) & i64::MAX.cast_unsigned()
}

fn add(state: &mut [u32; 3], block: &[u8]) {
    for (word, bytes) in state.iter_mut().zip(block.chunks_exact(4)) {
        let bytes = bytes.try_into().expect("four bytes");
        *word = word.wrapping_add(u32::from_le_bytes(bytes));
    }
}

fn mix([a, b, c]: &mut [u32; 3]) {
    fn step(x: &mut u32, y: &mut u32, z: &mut u32, by: u32) {
        *x = x.wrapping_sub(*z) ^ z.rotate_left(by);
        *z = z.wrapping_add(*y);
    }
    step(a, b, c, 4);
    step(b, c, a, 6);
    step(c, a, b, 8);
    step(a, b, c, 16);
    step(b, c, a, 19);
    step(c, a, b, 4);
}

fn finish([mut a, mut b, mut c]: [u32; 3]) -> [u32; 3] {
    fn step(x: &mut u32, y: u32, by: u32) {
        *x = (*x ^ y).wrapping_sub(y.rotate_left(by));
    }
    step(&mut c, b, 14);
    step(&mut a, c, 11);
    step(&mut b, a, 25);
    step(&mut c, b, 16);
    step(&mut a, c, 4);
    step(&mut b, a, 14);
    step(&mut c, b, 24);
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use onewrite::postgres::{MigrateOptions, migrate};
    use onewrite_testkit::servers::Postgres;

    use super::*;

    #[tokio::test]
    async fn the_server_and_the_reader_of_the_log_hash_alike() {
        let mut keys: Vec<String> = (0..40).map(|length| "k".repeat(length)).collect();
        keys.extend((1..60).map(|length| "größe鍵\u{1f980}".chars().cycle().take(length).collect()));
        let ids: Vec<Uuid> = (0..20).map(|number| Uuid::from_u128(number << 101 | number)).collect();
        for version in [14, 15, 16, 17, 18] {
            let client = Postgres::shared(version).await.database().await.connect().await;
            assert!(hashes_agree(&client).await.expect("an answer"), "PostgreSQL {version}");
            let sql = format!(
                "SELECT {} FROM unnest($1::text[], $2::uuid[]) AS row (key, id)",
                hash("key", "id")
            );
            let texts: Vec<Option<&str>> = keys
                .iter()
                .map(|key| Some(&**key))
                .chain(ids.iter().map(|_| None))
                .collect();
            let own: Vec<Uuid> = keys.iter().map(|_| Uuid::nil()).chain(ids.iter().copied()).collect();
            let rows = client.query(&sql, &[&texts, &own]).await.expect("hashes");
            for ((row, key), id) in rows.iter().zip(&texts).zip(&own) {
                let ours = of_event(key.map(str::as_bytes), *id);
                assert_eq!(
                    row.get::<_, i64>(0).cast_unsigned(),
                    ours,
                    "PostgreSQL {version}: {key:?} {id}"
                );
            }
            assert_eq!(rows.len(), 119);
        }
    }

    #[tokio::test]
    async fn a_publication_counts_where_it_filters_exactly_the_group() {
        let group = Group { index: 1, count: 3 };
        for version in [14, 15, 16, 17, 18] {
            let mut client = Postgres::shared(version).await.database().await.connect().await;
            migrate(&mut client, &MigrateOptions::default().groups(3))
                .await
                .expect("the schema");
            assert_eq!(
                is_published(&client, group).await.expect("an answer"),
                version >= 15,
                "PostgreSQL {version}"
            );
            let published = Published::of(&client, group, "onewrite").await.expect("a publication");
            let expected = if version >= 15 { "onewrite_1_of_3" } else { "onewrite" };
            assert_eq!((&*published.publication, published.picks), (expected, group));
            if version < 15 {
                continue;
            }
            for other in [
                "key IS NOT NULL",
                &condition(2, 3, "id"),
                &condition(1, 4, "id"),
                &format!("NOT {}", condition(1, 3, "id")),
            ] {
                let change = format!("ALTER PUBLICATION onewrite_1_of_3 SET TABLE onewrite.outbox WHERE ({other})");
                client.batch_execute(&change).await.expect("another filter");
                assert!(
                    !is_published(&client, group).await.expect("an answer"),
                    "PostgreSQL {version}: {other}"
                );
            }
            let published = Published::of(&client, group, "onewrite").await.expect("a publication");
            assert_eq!((&*published.publication, published.picks), ("onewrite", group));
        }
    }
}
