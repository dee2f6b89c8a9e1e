//! The privileges that an application and a relay need in PostgreSQL, and no others.

use crate::limits::ROLE_BYTES_MAX;

/// Privileges for a role. The role must be there; nothing is ever taken away from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who gets them.
    pub role: Role,
    /// What it gets.
    pub privileges: Privileges,
}

/// What a role is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// An application that calls the functions (`append`, `append_all`, `lock_keys`, `receive`, `prune_inbox`) and touches no
    /// table: it can neither read nor change what is there.
    Append,
    /// The same, and plain `INSERT` into the outbox of the columns that are an event's own. The columns that order the events
    /// are left to their defaults, so that no application can upset another's order.
    AppendAndInsert,
    /// A relay, and the commands for operators: reads the outbox, empties segments, writes its own progress.
    Relay,
}

impl Grant {
    /// A grant of `privileges` to the role of this name.
    ///
    /// # Errors
    /// When the name cannot be a role's.
    pub fn new(role: &str, privileges: Privileges) -> Result<Self, InvalidRole> {
        let role = Role::new(role)?;
        Ok(Self { role, privileges })
    }

    /// The statements, to be run by the owner of the schema. Running them again is harmless. What a relay needs and only a
    /// superuser can give stands in comments.
    pub fn sql(&self) -> String {
        let mut privileges = vec!["USAGE ON SCHEMA onewrite".to_owned()];
        match self.privileges {
            Privileges::Append => privileges.extend(functions()),
            Privileges::AppendAndInsert => {
                privileges.extend(functions());
                privileges.push(format!("INSERT ({EVENT_COLUMNS}) ON onewrite.outbox"));
                privileges.push("USAGE ON SEQUENCE onewrite.outbox_sequence".to_owned());
            }
            Privileges::Relay => privileges.extend(relay()),
        }
        let role = self.role.quoted();
        let granted = privileges
            .iter()
            .map(|privilege| format!("GRANT {privilege} TO {role};\n"));
        let mut sql: String = granted.collect();
        if self.privileges == Privileges::Relay {
            sql += &beyond_the_owner(&role);
        }
        sql
    }
}

/// What a superuser runs for a relay's role.
fn beyond_the_owner(role: &str) -> String {
    format!(
        "-- Beyond what the owner of the schema can give; as a superuser, or whoever the provider lets:\n\
         -- so that the relay can follow the write-ahead log (source.feed = \"wal\", or \"auto\" where it may):\n\
         -- ALTER ROLE {role} REPLICATION;   on Amazon RDS and Aurora: GRANT rds_replication TO {role};\n\
         -- so that the server keeps little of its log for the relay however fast it is written (PostgreSQL 16 and later):\n\
         -- GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO {role};\n\
         -- so that its alarms name the transactions of other users, with their age and statement:\n\
         -- GRANT pg_read_all_stats TO {role};\n"
    )
}

/// The columns of the outbox that an application may name in a plain `INSERT`.
pub const EVENT_COLUMNS: &str = "id, topic, key, type, content_type, headers, payload, occurred_at";

/// The name of a role, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role(String);

impl Role {
    /// A role's name as it is, without quotes.
    ///
    /// # Errors
    /// When PostgreSQL would refuse the name, cut it short, or take it for everybody.
    pub fn new(name: &str) -> Result<Self, InvalidRole> {
        let invalid = |reason| InvalidRole {
            name: name.chars().take(ROLE_BYTES_MAX + 1).collect(),
            reason,
        };
        match name {
            "" => Err(invalid("it is empty")),
            _ if name.len() > ROLE_BYTES_MAX => Err(invalid("it is longer than 63 bytes")),
            _ if name.chars().any(char::is_control) => Err(invalid("it holds a control character")),
            // Even in quotes, these two words do not name a role.
            "public" | "none" => Err(invalid("it stands for no single role")),
            _ => Ok(Self(name.to_owned())),
        }
    }

    /// The name in double quotes, safe in any statement.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// A name that cannot be a role's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be the name of a role: {reason}")]
pub struct InvalidRole {
    /// The name, shortened.
    pub name: String,
    /// Why not.
    pub reason: &'static str,
}

fn functions() -> impl Iterator<Item = String> {
    [
        "append(text, text, bytea, text, jsonb, text, uuid)",
        "append(text, text, text, text, jsonb, text, uuid)",
        "append(text, text, jsonb, text, jsonb, text, uuid)",
        "append_all(uuid[], text[], text[], text[], text[], jsonb[], bytea[])",
        "lock_keys(text[])",
        "receive(text, uuid)",
        "prune_inbox(interval, bigint)",
    ]
    .into_iter()
    .map(|function| format!("EXECUTE ON FUNCTION onewrite.{function}"))
}

/// Rights of one kind on objects of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// What the objects are: `TABLE` (views are tables here) or `SEQUENCE`.
    pub kind: &'static str,
    /// The rights, such as `SELECT`.
    pub rights: &'static [&'static str],
    /// The objects, with their schema.
    pub objects: &'static [&'static str],
}

/// What a relay needs beside `USAGE` on the schema; what is granted, and what `onewrite check` looks for.
pub const RELAY_RIGHTS: &[Rights] = &[
    Rights {
        kind: "TABLE",
        rights: &["SELECT"],
        objects: &[
            "onewrite.outbox",
            "onewrite.migration",
            "onewrite.setting",
            "onewrite.parked",
            "onewrite.status",
        ],
    },
    Rights {
        kind: "TABLE",
        rights: &["SELECT", "TRUNCATE"],
        objects: &[
            "onewrite.outbox_0",
            "onewrite.outbox_1",
            "onewrite.outbox_2",
            "onewrite.outbox_3",
        ],
    },
    Rights {
        kind: "TABLE",
        rights: &["SELECT", "INSERT", "UPDATE", "DELETE"],
        objects: &[
            "onewrite.relay",
            "onewrite.route",
            "onewrite.member",
            "onewrite.parked_event",
            "onewrite.replay",
        ],
    },
    Rights {
        kind: "TABLE",
        rights: &["SELECT", "INSERT", "DELETE"],
        objects: &["onewrite.skipped_event"],
    },
    Rights {
        kind: "SEQUENCE",
        rights: &["SELECT"],
        objects: &["onewrite.outbox_sequence"],
    },
];

fn relay() -> impl Iterator<Item = String> {
    RELAY_RIGHTS.iter().map(|Rights { kind, rights, objects }| {
        let (rights, objects) = (rights.join(", "), objects.join(", "));
        format!("{rights} ON {kind} {objects}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_names_that_mean_something_else_are_refused() {
        let sql = Grant::new("a\"; DROP TABLE x; --", Privileges::Append).unwrap().sql();
        assert!(
            sql.contains("GRANT USAGE ON SCHEMA onewrite TO \"a\"\"; DROP TABLE x; --\";"),
            "{sql}"
        );
        let told = Role::new("public").unwrap_err().to_string();
        assert_eq!(
            told,
            "\"public\" cannot be the name of a role: it stands for no single role"
        );
        for name in ["", "none", "a\0b", "a\nb", &"r".repeat(64)] {
            assert!(Role::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_the_owner_cannot_give_stands_in_comments() {
        let sql = Grant::new("relay", Privileges::Relay).unwrap().sql();
        let comments: Vec<&str> = sql.lines().filter(|line| line.starts_with("--")).collect();
        assert!(
            comments
                .iter()
                .any(|line| line.contains("ALTER ROLE \"relay\" REPLICATION;"))
        );
        assert!(
            comments
                .iter()
                .any(|line| line.contains("GRANT pg_read_all_stats TO \"relay\";"))
        );
        assert!(
            !Grant::new("app", Privileges::AppendAndInsert)
                .unwrap()
                .sql()
                .contains("--")
        );
    }

    #[test]
    fn a_relay_may_empty_every_segment() {
        let sql = Grant::new("relay", Privileges::Relay).unwrap().sql();
        let emptied = sql.lines().find(|line| line.contains("TRUNCATE")).unwrap();
        assert!((0..crate::schema::postgres::SEGMENTS).all(|at| emptied.contains(&format!("onewrite.outbox_{at}"))));
    }
}
