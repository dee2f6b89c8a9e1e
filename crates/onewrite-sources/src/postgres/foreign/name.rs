//! Names of tables and columns that people configure, on their way into SQL.

use std::fmt;

/// Longest name that PostgreSQL keeps, in bytes (`NAMEDATALEN` less one); it cuts longer ones silently.
const NAME_BYTES_MAX: usize = 63;

/// The schema of a table that is named without one.
const SCHEMA: &str = "public";

/// A table's name as the catalogue has it: capitals and all, without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableName {
    pub schema: String,
    pub table: String,
}

impl TableName {
    /// Reads `table`, `schema.table`, or either part in double quotes where it holds a dot or a quote itself. Nothing is folded to
    /// small letters.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let (part, after) = first_part(rest)?;
            check(&part)?;
            parts.push(part);
            match after.strip_prefix('.') {
                Some(after) => rest = after,
                None if after.is_empty() => break,
                None => return Err("a quoted part is followed by something other than a dot".to_owned()),
            }
        }
        match parts.as_slice() {
            [table] => Ok(Self {
                schema: SCHEMA.to_owned(),
                table: table.clone(),
            }),
            [schema, table] => Ok(Self {
                schema: schema.clone(),
                table: table.clone(),
            }),
            _ => Err("it has more than two parts; expected schema.table".to_owned()),
        }
    }

    /// The name for SQL.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |part: &str| {
            if part.contains(['.', '"']) {
                quoted(part)
            } else {
                part.to_owned()
            }
        };
        write!(out, "{}.{}", plain(&self.schema), plain(&self.table))
    }
}

/// A name in double quotes, safe in any statement.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as an SQL literal that means the same whatever the server's `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Checks that PostgreSQL can have something of this name.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(name: &str) -> Result<(), String> {
    match name {
        "" => Err("a name is empty".to_owned()),
        name if name.contains('\0') => Err("a name holds a NUL".to_owned()),
        name if name.len() > NAME_BYTES_MAX => Err(format!(
            "the name {name:?} has {} bytes, and names in PostgreSQL have {NAME_BYTES_MAX} at the most",
            name.len()
        )),
        _ => Ok(()),
    }
}

/// The first part of a dotted name, and what comes after it.
fn first_part(text: &str) -> Result<(String, &str), String> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (part, after) = text.split_at(end);
        return if part.contains('"') {
            Err("a quote stands inside a part; quote the whole part, and double quotes inside it".to_owned())
        } else {
            Ok((part.to_owned(), after))
        };
    };
    let mut part = String::new();
    loop {
        let end = rest.find('"').ok_or("a quote is not closed")?;
        part.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                part.push('"');
                rest = after;
            }
            None => return Ok((part, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_they_are() {
        for (text, sql) in [
            ("outbox", r#""public"."outbox""#),
            ("Sales.OutBox", r#""Sales"."OutBox""#),
            (r#""a.b"."c""d""#, r#""a.b"."c""d""#),
            ("x; DROP TABLE y", r#""public"."x; DROP TABLE y""#),
        ] {
            assert_eq!(TableName::parse(text).map(|name| name.quoted()).as_deref(), Ok(sql));
        }
        let shown = |text| TableName::parse(text).expect("a name").to_string();
        assert_eq!(
            (shown("outbox"), shown(r#""a.b".c"#)),
            ("public.outbox".to_owned(), r#""a.b".c"#.to_owned())
        );
    }

    #[test]
    fn what_is_no_name_is_told() {
        for (text, told) in [
            ("", "a name is empty"),
            ("a.", "a name is empty"),
            ("a.b.c", "it has more than two parts; expected schema.table"),
            ("\"a", "a quote is not closed"),
            ("\"a\"b", "a quoted part is followed by something other than a dot"),
            (
                "a\"b",
                "a quote stands inside a part; quote the whole part, and double quotes inside it",
            ),
            ("a\0", "a name holds a NUL"),
        ] {
            assert_eq!(TableName::parse(text).unwrap_err(), told, "{text:?}");
        }
        let long = "ü".repeat(32);
        assert!(
            TableName::parse(&long)
                .unwrap_err()
                .ends_with("has 64 bytes, and names in PostgreSQL have 63 at the most")
        );
    }

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(literal(r"it's \ 'x"), r"E'it''s \\ ''x'");
    }
}
