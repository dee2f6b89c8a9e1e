//! How Java writes numbers and reads properties: the converters leave both to it.

use std::collections::HashMap;
use std::fmt::{self, LowerExp, Write};
use std::iter::Peekable;
use std::str::{Chars, FromStr};

use crate::foreign::value::Numeric;

/// A floating-point number as Java's `Double.toString` and `Float.toString` write it (since Java 19: the shortest digits).
pub(super) fn floating<F: Copy + PartialEq + LowerExp + FromStr + Into<f64>>(number: F) -> String {
    let wide: f64 = number.into();
    if wide.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if wide.is_sign_negative() { "-" } else { "" };
    if wide.is_infinite() {
        return format!("{sign}Infinity");
    }
    if wide == 0.0 {
        return format!("{sign}0.0");
    }
    let shortest = format!("{number:e}");
    // Java takes two digits where one would do and two come nearer; among the very small numbers they do.
    let two = format!("{number:.1e}");
    let same = two.parse::<F>().is_ok_and(|read| read == number);
    let (digits, exponent) = scientific(if same { &two } else { &shortest });
    match exponent {
        -3..=-1 => format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
        0..=6 => {
            let before = exponent.unsigned_abs() as usize + 1;
            let padded = format!("{digits:0<before$}");
            let (whole, fraction) = padded.split_at(before);
            format!("{sign}{whole}.{}", if fraction.is_empty() { "0" } else { fraction })
        }
        _ => {
            let (first, rest) = digits.split_at(1);
            format!("{sign}{first}.{}E{exponent}", if rest.is_empty() { "0" } else { rest })
        }
    }
}

/// The digits without the point, the sign and closing zeros; and the power of ten of the first.
fn scientific(text: &str) -> (String, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_end_matches('0');
    (significant.to_owned(), exponent.parse().unwrap_or_default())
}

/// A decimal number as Java's `BigDecimal.toString` writes it: with a power of ten where it is very small.
pub(super) fn decimal(number: &Numeric) -> String {
    let Numeric::Finite {
        negative,
        digits,
        scale,
    } = number
    else {
        return number.to_string();
    };
    let significant = significant(digits);
    let power = significant.len() as i64 - 1 - i64::from(*scale);
    if power >= -6 {
        return number.to_string();
    }
    let text = as_text(significant);
    let (first, rest) = text.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!(
        "{}{first}{point}{rest}E{power}",
        if *negative && !is_zero(digits) { "-" } else { "" }
    )
}

/// The number without its point, as Java's `BigInteger.toByteArray` writes it: two's complement, the fewest bytes.
pub(super) fn unscaled(number: &Numeric) -> Option<Vec<u8>> {
    let Numeric::Finite { negative, digits, .. } = number else {
        return None;
    };
    // The least byte first while it grows.
    let mut bytes = vec![0_u8];
    for digit in digits {
        let mut carry = u16::from(*digit);
        for byte in &mut bytes {
            let product = u16::from(*byte) * 10 + carry;
            *byte = (product & 0xff) as u8;
            carry = product >> 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.push(0);
    if *negative {
        let mut carry = true;
        for byte in &mut bytes {
            let (sum, over) = (!*byte).overflowing_add(u8::from(carry));
            *byte = sum;
            carry = over;
        }
    }
    // A first byte that only repeats the sign of the next says nothing.
    while let [.., next, first] = bytes[..]
        && ((first == 0 && next < 0x80) || (first == 0xff && next >= 0x80))
    {
        bytes.pop();
    }
    bytes.reverse();
    Some(bytes)
}

/// The number without closing zeros after its point.
pub(super) fn stripped(number: &Numeric) -> Numeric {
    let Numeric::Finite {
        negative,
        digits,
        scale,
    } = number
    else {
        return number.clone();
    };
    let zeros = digits
        .iter()
        .rev()
        .take(usize::from(*scale))
        .take_while(|digit| **digit == 0)
        .count();
    Numeric::Finite {
        negative: *negative,
        digits: digits[..digits.len() - zeros].to_vec(),
        scale: *scale - zeros as u16,
    }
}

/// The number with at least so many digits after its point.
pub(super) fn padded(number: Numeric, least: u16) -> Numeric {
    match number {
        Numeric::Finite {
            negative,
            mut digits,
            scale,
        } if scale < least => {
            digits.extend(std::iter::repeat_n(0, usize::from(least - scale)));
            Numeric::Finite {
                negative,
                digits,
                scale: least,
            }
        }
        other => other,
    }
}

fn significant(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    &digits[zeros.min(digits.len() - 1)..]
}

fn is_zero(digits: &[u8]) -> bool {
    digits.iter().all(|digit| *digit == 0)
}

fn as_text(digits: &[u8]) -> String {
    digits.iter().map(|digit| char::from(b'0' + digit)).collect()
}

/// Reads the text form of `java.util.Properties`, which Quarkus writes a span's context in. What cannot be read is left out.
pub(super) fn properties(text: &str) -> HashMap<String, String> {
    let mut characters = text.chars().peekable();
    let mut found = HashMap::new();
    while characters.peek().is_some() {
        skip(&mut characters, |next| next.is_ascii_whitespace() || next == '\x0c');
        if characters.next_if(|next| matches!(next, '#' | '!')).is_some() {
            skip(&mut characters, |next| !is_end(next));
            continue;
        }
        let name = part(&mut characters, |next| matches!(next, '=' | ':') || is_blank(next));
        skip(&mut characters, is_blank);
        if characters.next_if(|next| matches!(next, '=' | ':')).is_some() {
            skip(&mut characters, is_blank);
        }
        let value = part(&mut characters, |_| false);
        if !name.is_empty() {
            found.insert(name, value);
        }
    }
    found
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\x0c')
}

fn is_end(character: char) -> bool {
    matches!(character, '\n' | '\r')
}

fn skip(characters: &mut Peekable<Chars<'_>>, what: impl Fn(char) -> bool) {
    while characters.next_if(|next| what(*next)).is_some() {}
}

/// Up to the end of the line or what ends the part; a backslash joins lines and stands before what is meant literally.
fn part(characters: &mut Peekable<Chars<'_>>, ends: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    while let Some(next) = characters.next_if(|next| !is_end(*next) && !ends(*next)) {
        if next != '\\' {
            text.push(next);
            continue;
        }
        match characters.next() {
            Some('t') => text.push('\t'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('f') => text.push('\x0c'),
            Some('u') => {
                let code: String = characters.by_ref().take(4).collect();
                text.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
            }
            Some(end) if is_end(end) => {
                characters.next_if(|next| end == '\r' && *next == '\n');
                skip(characters, is_blank);
            }
            Some(other) => text.push(other),
            None => {}
        }
    }
    text
}

/// Writes a JSON string as Jackson does: beyond the Basic Multilingual Plane as two escapes.
pub(super) fn json_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend(b"\\\""),
            '\\' => out.extend(b"\\\\"),
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            '\x08' => out.extend(b"\\b"),
            '\x0c' => out.extend(b"\\f"),
            '\0'..='\x1f' | '\u{10000}'.. => {
                let mut escapes = String::new();
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write(&mut escapes, format_args!("\\u{unit:04X}"));
                }
                out.extend(escapes.as_bytes());
            }
            other => out.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

fn write(out: &mut String, what: fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    out.write_fmt(what).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::value::{Column, Raw, Value, oid};

    fn number(text: &str) -> Numeric {
        let column = Column {
            name: "n".into(),
            type_oid: oid::NUMERIC,
            type_modifier: -1,
        };
        match Value::read(&column, &Raw::Text(text.to_owned().into())) {
            Ok(Value::Numeric(number)) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn floating_point_numbers() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (0.001, "0.001"),
            (0.012_34, "0.01234"),
            (0.0001, "1.0E-4"),
            (123_456.789, "123456.789"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (1.234e21, "1.234E21"),
            (4.9e-324, "4.9E-324"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(floating(number), text);
        }
        assert_eq!(floating(0.1_f32), "0.1");
        assert_eq!(floating(1.4e-45_f32), "1.4E-45");
        assert_eq!(floating(16_777_216_f32), "1.6777216E7");
    }

    #[test]
    fn decimal_numbers() {
        for (text, shown, bytes) in [
            ("0", "0", vec![0]),
            ("0.00", "0.00", vec![0]),
            ("0.0000000", "0E-7", vec![0]),
            ("127", "127", vec![127]),
            ("1.28", "1.28", vec![0, 128]),
            ("-1.28", "-1.28", vec![0x80]),
            ("-12.9", "-12.9", vec![0xff, 0x7f]),
            ("-1", "-1", vec![0xff]),
            ("256", "256", vec![1, 0]),
            ("0.0000001230", "1.230E-7", vec![4, 0xce]),
            ("-0.0000005", "-5E-7", vec![0xfb]),
        ] {
            assert_eq!(decimal(&number(text)), shown);
            assert_eq!(unscaled(&number(text)), Some(bytes), "{text}");
        }
        assert_eq!(stripped(&number("10.500")), number("10.5"));
        assert_eq!(stripped(&number("100.0")), number("100"));
        assert_eq!(unscaled(&number("NaN")), None);
    }

    #[test]
    fn properties_in_all_their_forms() {
        let text =
            "#Thu Nov 26\n! also\n\n traceparent=00-a\\:b\nkey : a \\\n   long\\u0041 value\\n\r\nempty\nk\\=v=1";
        let found = properties(text);
        let expected = [
            ("traceparent", "00-a:b"),
            ("key", "a longA value\n"),
            ("empty", ""),
            ("k=v", "1"),
        ];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (name, value) in expected {
            assert_eq!(found[name], value);
        }
    }

    #[test]
    fn texts_in_json() {
        let mut out = Vec::new();
        json_text(&mut out, "a\"\\\n\u{1}\u{1f}/\u{7f}ü€\u{1f600}");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"a\\\"\\\\\\n\\u0001\\u001F/\u{7f}ü€\\uD83D\\uDE00\""
        );
    }
}
