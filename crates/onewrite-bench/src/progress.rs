//! What a person sees while it runs.

use std::sync::LazyLock;
use std::time::Instant;

static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Says on standard error what goes on, and since when this program runs.
pub fn say(words: impl AsRef<str>) {
    let seconds = BEGINNING.elapsed().as_secs();
    eprintln!("[{}:{:02}] {}", seconds / 60, seconds % 60, words.as_ref());
}

/// So many seconds in words.
pub fn took(seconds: u32) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        _ => format!("{} min", seconds.div_ceil(60)),
    }
}

/// A number with commas between thousands.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", &*digits), |digits| ("-", digits));
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits"))
        .collect();
    format!("{sign}{}", groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0.0, "0"),
            (999.6, "1,000"),
            (123_456.0, "123,456"),
            (-1e6, "-1,000,000"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
