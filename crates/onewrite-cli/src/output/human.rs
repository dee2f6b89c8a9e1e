//! Figures and texts as people read them.

use std::time::Duration;

/// A time span: `250ms`, `4.2s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..=59 => format!("{:.1}s", time.as_secs_f64()),
        60..=3_599 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..=86_399 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// The same of seconds that a database reported; a negative span is none.
pub fn seconds(seconds: f64) -> String {
    span(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// An amount of bytes: `17 B`, `1.5 kB`, `12.3 MB`.
pub fn bytes(bytes: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let mut amount = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if amount.abs() < 999.95 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{amount:.1} {unit}")
            };
        }
        amount /= 1_000.0;
    }
    format!("{amount:.1} TB")
}

/// A count with a comma after every three digits.
pub fn count(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let mut text = if count < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 event`, `2 events`.
pub fn plural(count: u64, noun: &str) -> String {
    let figure = self::count(i64::try_from(count).unwrap_or(i64::MAX));
    if count == 1 {
        format!("{figure} {noun}")
    } else {
        format!("{figure} {noun}s")
    }
}

/// A text without control characters, which a terminal would obey: they are written as escapes.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// A text cut to so many characters.
pub fn shortened(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        let spans = [0, 250, 4_200, 200_000, 7_500_000, 273_600_000]
            .map(Duration::from_millis)
            .map(span);
        assert_eq!(spans, ["0ms", "250ms", "4.2s", "3m 20s", "2h 5m", "3d 4h"]);
        assert_eq!(
            [17, 1_500, 999_999, 12_345_678].map(bytes),
            ["17 B", "1.5 kB", "1.0 MB", "12.3 MB"]
        );
        assert_eq!(
            [0, 999, 1_000, -1_234_567].map(count),
            ["0", "999", "1,000", "-1,234,567"]
        );
        assert_eq!([plural(1, "event"), plural(0, "event")], ["1 event", "0 events"]);
        assert_eq!(seconds(-1.0), "0ms");
        assert_eq!(
            (shortened("abcdef", 4), printable("a\nb")),
            ("abc…".to_owned(), "a\\nb".to_owned())
        );
    }
}
