//! The topic from the routing column: Java's regular expressions and replacements, on the crate `regex`.

use std::borrow::Cow;

use regex::Regex;

/// `route.topic.regex` with `route.topic.replacement`.
#[derive(Clone, Debug)]
pub(super) struct TopicPattern {
    /// For the whole text.
    whole: Regex,
    /// For the first place in the text: it is that which is replaced.
    place: Regex,
    replacement: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Group(usize),
}

impl TopicPattern {
    /// Reads both.
    ///
    /// # Errors
    /// Names the option, and what in it cannot be read.
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, String> {
        let wrong = |error: regex::Error| {
            format!(
                "route.topic.regex is {pattern:?}; expected a regular expression, without look-around, back references and \
                 possessive quantifiers: {error}"
            )
        };
        let translated = translate(pattern);
        let place = Regex::new(&translated).map_err(wrong)?;
        Ok(Self {
            whole: Regex::new(&format!(r"\A(?:{translated})\z")).map_err(wrong)?,
            replacement: pieces(replacement, &place)
                .map_err(|words| format!("route.topic.replacement is {replacement:?}; {words}"))?,
            place,
        })
    }

    /// The topic of a routing column's text: the text itself, where the whole of it does not match.
    pub fn topic<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let found = self.whole.is_match(text).then(|| self.place.captures(text)).flatten();
        let Some((found, place)) = found.and_then(|found| found.get(0).map(|place| (found, place))) else {
            return Cow::Borrowed(text);
        };
        let mut topic = text[..place.start()].to_owned();
        for piece in &self.replacement {
            topic.push_str(match piece {
                Piece::Literal(literal) => literal,
                Piece::Group(group) => found.get(*group).map_or("", |group| group.as_str()),
            });
        }
        topic.push_str(&text[place.end()..]);
        Cow::Owned(topic)
    }
}

/// Java's classes `\d`, `\w` and `\s` know ASCII alone, and its `\Q…\E` quotes; the rest is written alike.
fn translate(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('\\') {
        translated.push_str(before);
        let mut characters = after.chars();
        let class = match characters.next() {
            Some('d') => "[0-9]",
            Some('D') => "[^0-9]",
            Some('w') => "[a-zA-Z_0-9]",
            Some('W') => "[^a-zA-Z_0-9]",
            Some('s') => r"[ \t\n\x0B\f\r]",
            Some('S') => r"[^ \t\n\x0B\f\r]",
            Some('Q') => {
                let quoted = &after[1..];
                let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                translated.push_str(&regex::escape(literal));
                rest = after;
                continue;
            }
            Some(other) => {
                translated.extend(['\\', other]);
                ""
            }
            None => "\\",
        };
        translated.push_str(class);
        rest = characters.as_str();
    }
    translated + rest
}

/// Java's replacements: `$1` takes as many digits as name a group, `${name}` a named one, and a backslash quotes.
fn pieces(replacement: &str, pattern: &Regex) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = replacement;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '\\' => {
                let quoted = rest
                    .chars()
                    .next()
                    .ok_or("expected a character after its last backslash")?;
                literal.push(quoted);
                rest = &rest[quoted.len_utf8()..];
            }
            '$' => {
                let (group, after) = group(rest, pattern)?;
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                pieces.push(Piece::Group(group));
                rest = after;
            }
            other => literal.push(other),
        }
    }
    pieces.push(Piece::Literal(literal));
    pieces.retain(|piece| *piece != Piece::Literal(String::new()));
    Ok(pieces)
}

fn group<'a>(text: &'a str, pattern: &Regex) -> Result<(usize, &'a str), String> {
    let groups = pattern.captures_len();
    if let Some(named) = text.strip_prefix('{') {
        let (name, after) = named.split_once('}').ok_or("expected } after ${")?;
        let mut names = pattern.capture_names();
        let group = names.position(|known| known == Some(name));
        return group.map(|group| (group, after)).ok_or_else(|| {
            let known: Vec<&str> = pattern.capture_names().flatten().collect();
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            };
            format!("expected a group of route.topic.regex in ${{{name}}}; it names {known}")
        });
    }
    let digit = |text: &str| {
        text.chars()
            .next()
            .and_then(|next| next.to_digit(10))
            .map(|digit| digit as usize)
    };
    let mut group = digit(text).ok_or("expected a group's number or {name} after $; a literal $ is written \\$")?;
    if group >= groups {
        return Err(format!(
            "expected a group of route.topic.regex in ${group}; it has {}",
            groups - 1
        ));
    }
    let mut rest = &text[1..];
    while let Some(longer) = digit(rest)
        .map(|digit| group * 10 + digit)
        .filter(|longer| *longer < groups)
    {
        group = longer;
        rest = &rest[1..];
    }
    Ok((group, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_made_as_java_makes_them() {
        for (pattern, replacement, text, topic) in [
            (
                "(?<routedByValue>.*)",
                "outbox.event.${routedByValue}",
                "Order",
                "outbox.event.Order",
            ),
            (
                "(?<routedByValue>.*)",
                "outbox.event.${routedByValue}",
                "",
                "outbox.event.",
            ),
            ("(.*)\\.(.*)", "$2-$1", "a.b.c", "c-a.b"),
            ("(.*)", "$10", "x", "x0"),
            ("order", "orders", "Order", "Order"),
            ("(?i)order", "orders", "Order", "orders"),
            // The whole must match, but the first place is replaced.
            ("a|ab", "x", "ab", "xb"),
            ("(a)?b", "<$1>", "b", "<>"),
            ("(\\w+)-\\d+", "$1", "größe-1", "größe-1"),
            ("([\\w.]+)-\\d+", "\\$$1\\\\", "a.b-12", "$a.b\\"),
            ("\\Qa.b\\E(.*)", "$1", "a.bc", "c"),
            ("\\Qa.b\\E(.*)", "$1", "axbc", "axbc"),
        ] {
            let made = TopicPattern::new(pattern, replacement).unwrap();
            assert_eq!(made.topic(text), topic, "{pattern} {replacement}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (pattern, replacement, words) in [
            (
                "(?=a)b",
                "x",
                "route.topic.regex is \"(?=a)b\"; expected a regular expression",
            ),
            (".*", "$1", "expected a group of route.topic.regex in $1; it has 0"),
            ("(?<a>.*)", "${b}", "in ${b}; it names a"),
            (".*", "${b}", "it names none"),
            (".*", "${b", "expected } after ${"),
            (".*", "a$", "a literal $ is written \\$"),
            (".*", "a\\", "after its last backslash"),
        ] {
            let error = TopicPattern::new(pattern, replacement).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
