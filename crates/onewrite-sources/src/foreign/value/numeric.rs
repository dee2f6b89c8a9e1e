//! PostgreSQL's `numeric`: any number of decimal digits.

use std::fmt;

/// A `numeric`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numeric {
    /// A number.
    Finite {
        /// Whether it is below zero.
        negative: bool,
        /// Its decimal digits, each 0 to 9, the most significant first, those after the point included; at least one before the
        /// point.
        digits: Vec<u8>,
        /// How many of the digits stand after the point.
        scale: u16,
    },
    /// Not a number.
    NaN,
    /// Beyond every number.
    Infinity,
    /// Below every number.
    NegativeInfinity,
}

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

impl Numeric {
    /// Reads the binary form: four 16-bit fields (groups of digits, the first group's power of 10,000, sign, digits after the
    /// point), and the groups of four digits.
    pub(super) fn from_binary(bytes: &[u8]) -> Option<Self> {
        let (fields, groups) = bytes.split_first_chunk::<8>()?;
        let [count, weight, sign, scale] = [0, 2, 4, 6].map(|at| u16::from_be_bytes([fields[at], fields[at + 1]]));
        let negative = match sign {
            POSITIVE => false,
            NEGATIVE => true,
            NAN => return Some(Self::NaN),
            INFINITY => return Some(Self::Infinity),
            NEGATIVE_INFINITY => return Some(Self::NegativeInfinity),
            _ => return None,
        };
        if groups.len() != 2 * usize::from(count) {
            return None;
        }
        let weight = i32::from(weight.cast_signed());
        let group = |power: i32| -> Option<u16> {
            let Ok(index) = usize::try_from(weight - power) else {
                return Some(0);
            };
            let Some(pair) = groups.get(2 * index..2 * index + 2) else {
                return Some(0);
            };
            Some(u16::from_be_bytes([pair[0], pair[1]])).filter(|group| *group < 10_000)
        };
        let last = -i32::from(scale.div_ceil(4));
        let mut digits = Vec::new();
        for power in (last..=weight.max(0)).rev() {
            let group = group(power)?;
            digits.extend([group / 1000, group / 100 % 10, group / 10 % 10, group % 10].map(|digit| digit as u8));
        }
        digits.truncate(digits.len() - usize::from((4 - scale % 4) % 4));
        Some(Self::finite(negative, digits, scale))
    }

    /// Reads the text form.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        match text {
            "NaN" => return Some(Self::NaN),
            "Infinity" => return Some(Self::Infinity),
            "-Infinity" => return Some(Self::NegativeInfinity),
            _ => {}
        }
        let (negative, number) = text.strip_prefix('-').map_or((false, text), |number| (true, number));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || (fraction.is_empty() && number.contains('.')) {
            return None;
        }
        let digits = whole.bytes().chain(fraction.bytes());
        let digits: Option<Vec<u8>> = digits
            .map(|digit| digit.is_ascii_digit().then(|| digit - b'0'))
            .collect();
        Some(Self::finite(negative, digits?, u16::try_from(fraction.len()).ok()?))
    }

    fn finite(negative: bool, mut digits: Vec<u8>, scale: u16) -> Self {
        let before = digits.len() - usize::from(scale);
        let zeros = digits
            .iter()
            .take(before.saturating_sub(1))
            .take_while(|digit| **digit == 0)
            .count();
        digits.drain(..zeros);
        Self::Finite {
            negative,
            digits,
            scale,
        }
    }
}

impl fmt::Display for Numeric {
    /// As PostgreSQL writes it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Finite {
            negative,
            digits,
            scale,
        } = self
        else {
            return out.write_str(match self {
                Self::NaN => "NaN",
                Self::Infinity => "Infinity",
                _ => "-Infinity",
            });
        };
        let point = digits.len() - usize::from(*scale);
        let mut text = String::with_capacity(digits.len() + 2);
        text.extend(negative.then_some('-'));
        for (at, digit) in digits.iter().enumerate() {
            text.extend((at == point).then_some('.'));
            text.push(char::from(b'0' + digit));
        }
        out.write_str(&text)
    }
}
