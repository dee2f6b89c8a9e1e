//! Figures as people read them in findings and alarms.

/// A time such as `40 s`, `5 min`, `2 h 5 min` or `3 d 4 h`.
pub(crate) fn age(seconds: f64) -> String {
    let minutes = (seconds / 60.0) as u64;
    let hours = minutes / 60;
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match hours {
        0 if minutes == 0 => format!("{:.0} s", seconds.max(0.0)),
        0 => format!("{minutes} min"),
        1..48 => two(hours, "h", minutes % 60, "min"),
        _ => two(hours / 24, "d", hours % 24, "h"),
    }
}

/// An amount of bytes in the units that memory and disks are counted in: `17 B`, `1.5 KiB`, `12.3 GiB`.
pub(crate) fn bytes(bytes: i64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount.abs() < 1023.95 {
            let digits = usize::from(unit != "B");
            return format!("{amount:.digits$} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

/// The first few of what could be many, and how many more there are.
pub(crate) fn first_few(words: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text = words[..words.len().min(SHOWN)].join("; ");
    if words.len() > SHOWN {
        text += &format!("; and {} more", words.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let told = [12.4, 300.0, 7_500.0, 86_400.0, 273_600.0].map(age);
        assert_eq!(told, ["12 s", "5 min", "2 h 5 min", "24 h", "3 d 4 h"]);
        let told = [17, 1_536, 64 << 20, (1 << 40) + 1].map(bytes);
        assert_eq!(told, ["17 B", "1.5 KiB", "64.0 MiB", "1.0 TiB"]);
        let words = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(first_few(&words[..3]), "a; b; c");
        assert_eq!(first_few(&words), "a; b; c; and 2 more");
    }
}
