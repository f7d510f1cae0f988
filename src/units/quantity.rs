//! The common behaviour of quantities: checked construction, parsing, printing, reading by serde.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};

use super::format::significant;

/// A physical quantity: a finite, non-negative number in a base unit.
pub trait Quantity: Copy + Sized {
    /// What it is, as a reader calls it: "power".
    const NAME: &'static str;
    /// The unit of [`Quantity::value`].
    const BASE_UNIT: &'static str;
    /// Every unit that is read, with its size in base units.
    const UNITS: &'static [(&'static str, f64)];
    /// The units that are printed, from small to large.
    const DISPLAY: &'static [&'static str];

    /// The quantity of `value` base units. For results of arithmetic; input goes through [`Quantity::check`].
    fn new(value: f64) -> Self;
    /// The number of base units.
    fn value(self) -> f64;

    /// The quantity of `value` base units, if that is finite and not negative.
    fn check(value: f64) -> Result<Self, QuantityError> {
        if value.is_finite() && value >= 0.0 { Ok(Self::new(value)) } else { Err(QuantityError::range::<Self>(value.to_string())) }
    }

    /// Reads a number with its unit, such as `"3.35 TB/s"`.
    fn parse(text: &str) -> Result<Self, QuantityError> {
        let trimmed = text.trim();
        let end = number_length(trimmed);
        let (number, unit) = (&trimmed[..end], trimmed[end..].trim());
        let quoted = || format!("\"{text}\"");
        let number: f64 = number.replace('_', "").parse().map_err(|_| QuantityError::unit::<Self>(quoted()))?;
        let scale = Self::UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, scale)| *scale)
            .ok_or_else(|| QuantityError::unit::<Self>(quoted()))?;
        Self::check(number * scale).map_err(|_| QuantityError::range::<Self>(quoted()))
    }

    /// The size of a unit in base units, if it is one of this quantity's.
    fn unit(name: &str) -> Option<f64> {
        Self::UNITS.iter().find(|(unit, _)| *unit == name).map(|(_, scale)| *scale)
    }
}

/// The length in bytes of the number that `text` begins with, `nan` and `inf` included.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    for word in ["nan", "inf"] {
        if text.len() >= sign + 3 && text.is_char_boundary(sign + 3) && text[sign..sign + 3].eq_ignore_ascii_case(word) {
            return sign + 3;
        }
    }
    let mut end = sign;
    while end < bytes.len() {
        let exponent = matches!(bytes[end], b'e' | b'E')
            && end > sign
            && match bytes.get(end + 1) {
                Some(b'+' | b'-') => bytes.get(end + 2).is_some_and(u8::is_ascii_digit),
                next => next.is_some_and(u8::is_ascii_digit),
            };
        if exponent {
            end += if bytes[end + 1].is_ascii_digit() { 1 } else { 2 };
        } else if bytes[end].is_ascii_digit() || matches!(bytes[end], b'.' | b'_') {
            end += 1;
        } else {
            break;
        }
    }
    end
}

/// Why a text is not a quantity: what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found}, allowed: {allowed}")]
pub struct QuantityError {
    found: String,
    allowed: String,
}

impl QuantityError {
    fn unit<Q: Quantity>(found: String) -> Self {
        let units: Vec<&str> = Q::UNITS.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        let example = if Q::BASE_UNIT.is_empty() { "1".to_string() } else { format!("1 {}", Q::BASE_UNIT) };
        Self { found, allowed: format!("a {} in {}, such as \"{example}\"", Q::NAME, units.join(", ")) }
    }

    fn range<Q: Quantity>(found: String) -> Self {
        Self { found, allowed: format!("a finite {} of zero or more", Q::NAME) }
    }
}

/// Prints `value` base units of `Q` in the largest display unit that leaves at least 1.
pub(super) fn write<Q: Quantity>(value: f64, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let scale = |unit: &str| Q::unit(unit).unwrap_or(1.0);
    let unit = Q::DISPLAY
        .iter()
        .rev()
        .find(|unit| value.abs() >= scale(unit) * 0.999_95)
        .or_else(|| Q::DISPLAY.iter().find(|unit| value == 0.0 && **unit == Q::BASE_UNIT))
        .or(Q::DISPLAY.first())
        .copied()
        .unwrap_or(Q::BASE_UNIT);
    let text = significant(value / scale(unit));
    out.pad(&if unit.is_empty() { text } else { format!("{text} {unit}") })
}

/// Reads a quantity from a number of base units or from text with a unit.
pub(super) fn deserialize<'de, Q: Quantity, D: Deserializer<'de>>(deserializer: D) -> Result<Q, D::Error> {
    struct Reader<Q>(std::marker::PhantomData<Q>);

    impl<Q: Quantity> Visitor<'_> for Reader<Q> {
        type Value = Q;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(out, "a {}", Q::NAME)?;
            if Q::BASE_UNIT.is_empty() { Ok(()) } else { write!(out, " such as \"1 {}\"", Q::BASE_UNIT) }
        }
        fn visit_f64<E: de::Error>(self, value: f64) -> Result<Q, E> {
            Q::check(value).map_err(E::custom)
        }
        fn visit_i64<E: de::Error>(self, value: i64) -> Result<Q, E> {
            Q::check(value as f64).map_err(E::custom)
        }
        fn visit_u64<E: de::Error>(self, value: u64) -> Result<Q, E> {
            Q::check(value as f64).map_err(E::custom)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Q, E> {
            Q::parse(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_any(Reader(std::marker::PhantomData))
}

/// Defines a quantity: its type, its name, its units.
macro_rules! quantity {
    ($(#[$doc:meta])* $type:ident, $name:literal, $base:literal,
     units: [$($unit:literal => $scale:expr),* $(,)?], display: [$($display:literal),*]) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
        pub struct $type(f64);

        impl Quantity for $type {
            const NAME: &'static str = $name;
            const BASE_UNIT: &'static str = $base;
            const UNITS: &'static [(&'static str, f64)] = &[$(($unit, $scale)),*];
            const DISPLAY: &'static [&'static str] = &[$($display),*];

            fn new(value: f64) -> Self { Self(value) }
            fn value(self) -> f64 { self.0 }
        }

        impl $type {
            /// The quantity of `value` base units.
            #[must_use]
            pub const fn new(value: f64) -> Self { Self(value) }
            /// The number of base units.
            #[must_use]
            pub const fn value(self) -> f64 { self.0 }
            /// Reads a number with its unit.
            ///
            /// # Errors
            /// The text is not a number with one of this quantity's units, or not finite, or negative.
            pub fn parse(text: &str) -> Result<Self, QuantityError> { <Self as Quantity>::parse(text) }
        }

        impl std::ops::Add for $type {
            type Output = Self;
            fn add(self, other: Self) -> Self { Self(self.0 + other.0) }
        }
        impl std::ops::Mul<f64> for $type {
            type Output = Self;
            fn mul(self, factor: f64) -> Self { Self(self.0 * factor) }
        }
        impl std::ops::Div<f64> for $type {
            type Output = Self;
            fn div(self, factor: f64) -> Self { Self(self.0 / factor) }
        }
        impl std::ops::Div for $type {
            type Output = f64;
            fn div(self, other: Self) -> f64 { self.0 / other.0 }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::units::quantity::write::<Self>(self.0, out)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::units::quantity::deserialize(deserializer)
            }
        }
    };
}
pub(crate) use quantity;
