//! Java's `.properties` files, as `java.util.Properties` reads them.
//!
//! The one crate for this drops a last line that ends with a backslash and takes any Unicode space for white space; a key must not
//! vanish here.

use super::given::Unreadable;

/// A key with its value, escapes resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key.
    pub key: String,
    /// The value; empty where the line holds a key alone.
    pub value: String,
    /// The line on which it begins, counted from 1.
    pub line: usize,
}

/// Reads a file's text. A key that is given twice comes twice; the later one counts.
///
/// # Errors
/// The line with an escape that is none. Its text is not repeated: it may hold a secret.
pub fn parse(text: &str) -> Result<Vec<Property>, Unreadable> {
    let mut properties = Vec::new();
    for (line, text) in logical_lines(text) {
        let (key, value) = split(&text);
        let unescaped = |part| unescape(part).map_err(|problem| Unreadable(format!("line {line}: {problem}")));
        properties.push(Property {
            key: unescaped(key)?,
            value: unescaped(value)?,
            line,
        });
    }
    Ok(properties)
}

/// What stands between words. Java knows no other white space here.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

/// Lines with their continuations joined, without comments and blank lines.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, natural) in natural_lines(text).enumerate() {
        let natural = natural.trim_start_matches(is_blank);
        let fresh = open.as_ref().is_none_or(|(_, begun)| begun.is_empty());
        if fresh && (natural.is_empty() || natural.starts_with(['#', '!'])) {
            continue;
        }
        let (line, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        let backslashes = natural.chars().rev().take_while(|character| *character == '\\').count();
        if backslashes % 2 == 1 {
            joined.push_str(&natural[..natural.len() - 1]);
            open = Some((line, joined));
        } else {
            joined.push_str(natural);
            lines.push((line, joined));
        }
    }
    // A last line that asks for a continuation which never comes is whole without it.
    lines.extend(open.filter(|(_, begun)| !begun.is_empty()));
    lines
}

/// Lines as they stand in the file: they end with a line feed, a carriage return, or both.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.split_inclusive(['\n', '\r']);
    // Of the pair, the carriage return ends the line and the line feed alone is left over, which is not a line.
    let mut after_return = false;
    lines.filter_map(move |line| {
        let rest_of_pair = after_return && line == "\n";
        after_return = line.ends_with('\r');
        (!rest_of_pair).then(|| line.trim_end_matches(['\n', '\r']))
    })
}

/// Key and value, escapes and all: the key ends at the first `=`, `:` or blank that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|character| {
        let ends = !escaped && (is_blank(character) || matches!(character, '=' | ':'));
        escaped = !escaped && character == '\\';
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Result<String, &'static str> {
    // Escapes are units of UTF-16: two of them can make one character.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    let mut buffer = [0; 2];
    while let Some(character) = characters.next() {
        let plain = match character {
            '\\' => match characters.next() {
                Some('u') => {
                    let digits = characters.as_str().get(..4).filter(|digits| is_hexadecimal(digits));
                    let digits = digits.ok_or("\"\\u\" without four hexadecimal digits")?;
                    units.push(u16::from_str_radix(digits, 16).expect("four digits fit"));
                    characters = characters.as_str()[4..].chars();
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => continue,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    String::from_utf16(&units).map_err(|_| "half of a character is written as \"\\u\", and the other half is missing")
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let properties = parse(text).unwrap();
        properties
            .into_iter()
            .map(|property| (property.key, property.value))
            .collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn separators_comments_and_continuations_are_those_of_java() {
        let text = "# one\n! two\n\n  a=1\nb : 2\nc 3\nd\t=\t4  \ne\n\\:f\\ g\\==h\nlong = x,\\\n    y,\\\r\n  # no comment\r\
                    last = z\\";
        assert_eq!(
            pairs(text),
            [
                pair("a", "1"),
                pair("b", "2"),
                pair("c", "3"),
                pair("d", "4  "),
                pair("e", ""),
                pair(":f g=", "h"),
                pair("long", "x,y,# no comment"),
                pair("last", "z"),
            ]
        );
        let lines: Vec<usize> = parse(text).unwrap().iter().map(|property| property.line).collect();
        assert_eq!(lines, [4, 5, 6, 7, 8, 9, 10, 13]);
    }

    #[test]
    fn escapes_are_those_of_java() {
        assert_eq!(
            pairs("a=\\u00e9\\uD83D\\uDE00\\t\\q\\\\ \nb=a\\\\\nc=1"),
            [pair("a", "é😀\tq\\ "), pair("b", "a\\"), pair("c", "1")]
        );
        // A continuation of nothing is a new line, on which a comment may stand.
        assert_eq!(pairs("\\\n# comment\n\\\na=1"), [pair("a", "1")]);
        for (text, expected) in [
            ("a=1\nb=\\u00g0", "line 2: \"\\u\" without"),
            ("a=\\ud83dx", "line 1: half"),
        ] {
            let problem = parse(text).unwrap_err().0;
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    /// One way among many to write a text so that it is read as it was.
    fn written(text: &str, is_key: bool, choices: &mut impl Iterator<Item = u8>) -> String {
        let mut out = String::new();
        for (at, character) in text.chars().enumerate() {
            let choice = choices.next().unwrap_or(0);
            let leading = at == 0 || is_key;
            match character {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' if choice.is_multiple_of(2) => out.push_str("\\t"),
                _ if choice == 7 => {
                    let mut buffer = [0; 2];
                    for unit in character.encode_utf16(&mut buffer) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                '\\' => out.push_str("\\\\"),
                ' ' | '\t' | '\u{c}' | '=' | ':' | '#' | '!' if leading => out.extend(['\\', character]),
                ' ' | '\t' | '\u{c}' if choice < 6 => out.extend(['\\', character]),
                _ => out.push(character),
            }
            // What follows would lose a blank at its beginning, unless that is escaped.
            let next = text.chars().nth(at + 1);
            if choice == 3 && next.is_some_and(|next| !is_blank(next)) {
                out.push_str("\\\n \t");
            }
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            pairs_given in proptest::collection::vec(("[ -~é😀\t\u{c}]{1,12}", "\\PC{0,16}|[\\\\ =:\t\r\n#!a]{0,12}"), 0..6),
            choices in proptest::collection::vec(0_u8..8, 0..400),
            separators in proptest::collection::vec(proptest::sample::select(vec!["=", ":", " = ", "\t:\x0c", " = "]), 6),
            ending in proptest::sample::select(vec!["\n", "\r", "\r\n", "\n\n  \n# a comment\\\n"]),
        ) {
            let mut choices = choices.into_iter();
            let mut text = String::new();
            for ((key, value), separator) in pairs_given.iter().zip(separators) {
                text.push_str(&written(key, true, &mut choices));
                text.push_str(separator);
                text.push_str(&written(value, false, &mut choices));
                text.push_str(ending);
            }
            prop_assert_eq!(pairs(&text), pairs_given);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "([a\\\\ =:#\t\r\nu0]|\\PC){0,60}") {
            if let Ok(properties) = parse(&text) {
                prop_assert!(properties.windows(2).all(|two| two[0].line < two[1].line));
            }
        }
    }
}
