//! A route's share as an SQL condition, so that what other routes take does not travel.

use std::fmt::Write as _;

use onewrite_core::routing::{Match, Pattern, Share};
use tokio_postgres::types::{ToSql, Type};

use super::lanes::and_in;

/// A condition on the columns `topic` and `type`, and the texts of its parameters.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// The condition; its first parameter has the number it was made with.
    pub sql: String,
    texts: Vec<String>,
}

impl Filter {
    /// The condition for what `share` takes of the outbox, with parameters from `$first` on.
    pub fn new(share: &Share, first: usize) -> Self {
        let mut filter = Self::of_any_group(share, first);
        and_in(share.group, "id", &mut filter.sql);
        filter
    }

    /// The same in whatever group an event is.
    pub fn of_any_group(share: &Share, first: usize) -> Self {
        let mut filter = Self {
            sql: String::new(),
            texts: Vec::new(),
        };
        filter.matching(&share.wanted, first);
        for taken in &share.taken {
            filter.sql.push_str(" AND NOT ");
            filter.matching(taken, first);
        }
        filter
    }

    /// Appends the parameters to those of a statement.
    pub fn bind<'a>(&'a self, parameters: &mut Vec<(&'a (dyn ToSql + Sync), Type)>) {
        parameters.extend(self.texts.iter().map(|text| (text as _, Type::TEXT)));
    }

    fn matching(&mut self, wanted: &Match, first: usize) {
        self.sql.push_str("(true");
        if let Some(pattern) = &wanted.topic {
            self.like("topic", pattern, first);
        }
        if let Some(pattern) = &wanted.event_type {
            // Without this a NULL would make the whole condition NULL, also under a NOT.
            self.sql.push_str(" AND type IS NOT NULL");
            self.like("type", pattern, first);
        }
        self.sql.push(')');
    }

    fn like(&mut self, column: &str, pattern: &Pattern, first: usize) {
        if pattern.matches_all() {
            return;
        }
        if pattern.as_str().contains('\0') {
            // No text of PostgreSQL holds a NUL, and none may be sent.
            self.sql.push_str(" AND false");
            return;
        }
        let number = first + self.texts.len();
        let operator = if pattern.literal().is_some() { "=" } else { "LIKE" };
        let _ = write!(self.sql, " AND {column} COLLATE \"C\" {operator} ${number}");
        self.texts
            .push(pattern.literal().map_or_else(|| like_text(pattern), str::to_owned));
    }
}

fn like_text(pattern: &Pattern) -> String {
    let mut text = String::with_capacity(pattern.as_str().len() + 8);
    for character in pattern.as_str().chars() {
        match character {
            '*' => text.push('%'),
            '%' | '_' | '\\' => text.extend(['\\', character]),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use onewrite_core::routing::Group;

    use super::*;

    #[test]
    fn a_share_becomes_a_condition() {
        let topic = |text: &str| Match {
            topic: Some(Pattern::new(text)),
            event_type: None,
        };
        let share = Share {
            relay: "r".into(),
            route: "a".into(),
            group: Group::ALL,
            wanted: Match {
                topic: Some(Pattern::new("50%_\\*")),
                event_type: Some(Pattern::new("*")),
            },
            taken: vec![topic("x'y"), topic("z\0")],
        };
        let filter = Filter::new(&share, 4);
        assert_eq!(
            filter.sql,
            "(true AND topic COLLATE \"C\" LIKE $4 AND type IS NOT NULL) AND NOT (true AND topic COLLATE \"C\" = $5) \
             AND NOT (true AND false)"
        );
        assert_eq!(filter.texts, ["50\\%\\_\\\\%", "x'y"]);
        let of_group = Filter::new(&share.in_group(Group { index: 1, count: 3 }), 4);
        assert_eq!(
            of_group.sql.strip_prefix(&filter.sql),
            Some(
                " AND (coalesce(hashtextextended(key COLLATE \"C\", 0), uuid_hash_extended(id, 0)) & 9223372036854775807) % 3 = 1"
            )
        );
    }
}
