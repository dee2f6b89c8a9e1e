//! Which group of lanes an event is in, and the publications that hold one group each.

use super::PUBLICATION;

/// The condition that a row is in one group of so many. `id` names the column of the event's id; the key's is `key`. Everything
/// in it is built in and immutable, so that a publication can filter by it, and the collation of the column does not matter.
pub fn condition(index: u32, count: u32, id: &str) -> String {
    format!("({}) % {count} = {index}", hash("key", id))
}

/// The hash of an event's key, or of its id where it has none, as SQL: never negative. (A cast of the id to a text would be simpler,
/// but no publication can filter by it.)
pub fn hash(key: &str, id: &str) -> String {
    format!(
        "coalesce(hashtextextended({key} COLLATE \"C\", 0), uuid_hash_extended({id}, 0)) & {}",
        i64::MAX
    )
}

/// The name of the publication of one group of so many.
pub fn publication(index: u32, count: u32) -> String {
    format!("{PUBLICATION}_{index}_of_{count}")
}

/// The statement that creates it, in PostgreSQL 15 and later, by the owner of `onewrite.outbox`.
pub fn create_publication(index: u32, count: u32) -> String {
    format!(
        "CREATE PUBLICATION {} FOR TABLE onewrite.outbox WHERE ({}) WITH (publish = 'insert', publish_via_partition_root = true);",
        publication(index, count),
        condition(index, count, "id")
    )
}

/// Creates those publications of a layout that are not there, in PostgreSQL 15 and later, where the role may; does nothing
/// otherwise, since a relay does without them. One that is there is left as it is: the relay looks at what it filters, and uses it
/// only where that is right.
pub fn create_publications(count: u32) -> String {
    let each = (0..count).map(|index| {
        let (name, create) = (publication(index, count), create_publication(index, count));
        format!(
            "    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = '{name}') THEN\n        \
             EXECUTE $statement$ {create} $statement$;\n    END IF;\n"
        )
    });
    format!(
        "DO $$ BEGIN\nIF current_setting('server_version_num')::int >= 150000 AND has_database_privilege(current_database(), 'CREATE') THEN\n{}\
         END IF;\nEND $$;\n",
        each.collect::<String>()
    )
}
