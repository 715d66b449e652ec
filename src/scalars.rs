//! How a configuration writes sizes, periods, addresses and settings.
//!
//! Each is a type that is parsed from text and written back in the same form, so that the schema
//! shows defaults as a person would write them. The options of a room have plain numbers and durations, and
//! say with `#[serde(with = "Size")]` how these are written. A [`Reference`] says where a value is kept and
//! never contains the value itself.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};
use serde_json::Value as Json;

use crate::aws::arn::TopicArn;
use crate::reference::{Reference, is_reference};

/// A number of bytes: `20 GiB`, `512 KiB`, `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A period of time: `24h`, `30s`, `500ms`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// An IP address and port to listen on: `127.0.0.1:8080`, `[::]:8080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

/// A value that is not a secret, written out or as a [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The value itself.
    Text(String),
    /// A reference to the value.
    Kept(Reference),
}

const SIZE_UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

const PERIOD_UNITS_MS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Size {
    /// Writes a number of bytes, for `#[serde(with = "Size")]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Copy + Into<Self>, S: Serializer>(
        bytes: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&(*bytes).into())
    }

    /// Reads a number of bytes, for `#[serde(with = "Size")]`.
    ///
    /// # Errors
    /// When it is no size, or larger than any memory or disk of this machine can be.
    pub fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let size = <Self as Deserialize>::deserialize(deserializer)?;
        T::try_from(size.0).map_err(|_| D::Error::custom(format!("{size} is too large for this machine")))
    }
}

impl From<u64> for Size {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl From<usize> for Size {
    fn from(bytes: usize) -> Self {
        Self(bytes as u64)
    }
}

impl Period {
    /// Writes a duration, for `#[serde(with = "Period")]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Self(*duration))
    }

    /// Reads a duration, for `#[serde(with = "Period")]`.
    ///
    /// # Errors
    /// When it is no period.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        <Self as Deserialize>::deserialize(deserializer).map(|period| period.0)
    }
}

impl Address {
    /// Writes an address, for `#[serde(with = "Address")]`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(address)
    }

    /// Reads an address, for `#[serde(with = "Address")]`.
    ///
    /// # Errors
    /// When it is no IP address with a port.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
        <Self as Deserialize>::deserialize(deserializer).map(|address| address.0)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_number(text.trim());
        let count: u64 = number.parse().map_err(|_| expected::<Self>(text))?;
        let factor = match unit.trim() {
            "" => 1,
            unit => {
                SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| expected::<Self>(text))?.1
            }
        };
        count.checked_mul(factor).map(Self).ok_or_else(|| format!("`{text}` does not fit into 64 bits"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary =
            SIZE_UNITS[..4].iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match binary {
            Some((unit, factor)) => write!(f, "{} {unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || expected::<Self>(text);
        let mut rest = text.trim();
        let mut total_ms = 0_u64;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let (number, tail) = split_number(rest);
            let tail = tail.trim_start();
            let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, after) = tail.split_at(unit_end);
            let factor = PERIOD_UNITS_MS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
            let count: u64 = number.parse().map_err(|_| wrong())?;
            total_ms = count
                .checked_mul(factor)
                .and_then(|part| total_ms.checked_add(part))
                .ok_or_else(|| format!("`{text}` is too long"))?;
            rest = after.trim_start();
        }
        Ok(Self(Duration::from_millis(total_ms)))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total_ms = self.0.as_millis();
        // Days are not used in output: retentions are usually written as `24h`.
        let unit = PERIOD_UNITS_MS[1..]
            .iter()
            .find(|(_, ms)| total_ms > 0 && total_ms.is_multiple_of(u128::from(*ms)));
        match unit {
            Some((unit, ms)) => write!(f, "{}{unit}", total_ms / u128::from(*ms)),
            None => write!(f, "0s"),
        }
    }
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| expected::<Self>(text))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("the value is empty".into()),
            kept if is_reference(kept) => kept.parse().map(Self::Kept),
            text => Ok(Self::Text(text.into())),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Kept(reference) => reference.fmt(f),
        }
    }
}

/// A scalar form with its description for messages.
trait Form {
    const EXPECTED: &'static str;
}

macro_rules! forms {
    ($($form:ident $format:literal $types:tt $expected:literal)+) => {$(
        impl Form for $form {
            const EXPECTED: &'static str = $expected;
        }

        impl serde::Serialize for $form {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $form {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $form {
            fn schema_name() -> Cow<'static, str> {
                stringify!($form).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": $types, "format": $format })
            }
        }
    )+

    /// What is wrong with a text in this format; `None` if it is fine, or the schema's format is not
    /// one of the forms above.
    pub fn form_problem(format: &str, text: &str) -> Option<String> {
        match format {
            $($format => text.parse::<$form>().err(),)+
            _ => None,
        }
    }

    /// The description of a form for messages.
    pub fn form_expected(format: &str) -> Option<&'static str> {
        match format {
            $($format => Some($expected),)+
            _ => None,
        }
    }};
}

forms! {
    Size "size" ["string", "integer"] "a size such as `20 GiB`"
    Period "period" "string" "a time such as `24h` or `500ms`"
    Address "address" "string" "an IP address and port such as `127.0.0.1:8080`"
    Reference "reference" "string" "a secret as `env:NAME`, `file:PATH`, `aws-sm:NAME` or `aws-ssm:NAME`"
    Setting "setting" ["string", "number", "boolean"]
        "text, `env:NAME`, `file:PATH`, `aws-sm:NAME` or `aws-ssm:NAME`"
    TopicArn "topic-arn" "string" "the ARN of an SNS topic"
}

/// What is wrong with a size or period outside the bounds of its schema: a title, and what was expected.
/// A schema bounds a size by `minimum` and `maximum` in bytes, a period by `formatMinimum` and
/// `formatMaximum` in its own form.
pub fn bounds_problem(format: &str, text: &str, schema: &Json, key: &str) -> Option<(&'static str, String)> {
    let bytes = |bound: &str| schema.get(bound)?.as_u64().map(Size);
    let period = |bound: &str| schema.get(bound)?.as_str()?.parse::<Period>().ok();
    match format {
        "size" => out_of_bounds(text.parse().ok()?, bytes("minimum"), bytes("maximum"), SIZE_TITLES, key),
        "period" => {
            let titles = ["time too short", "time too long"];
            out_of_bounds(text.parse().ok()?, period("formatMinimum"), period("formatMaximum"), titles, key)
        }
        _ => None,
    }
}

/// The titles of a size below and above its bounds.
pub const SIZE_TITLES: [&str; 2] = ["size too small", "size too large"];

/// What is wrong with a value outside its bounds: the title of its side, and what was expected.
pub fn out_of_bounds<T: PartialOrd + fmt::Display>(
    value: T,
    least: Option<T>,
    most: Option<T>,
    [small, large]: [&'static str; 2],
    key: &str,
) -> Option<(&'static str, String)> {
    match (least.filter(|least| value < *least), most.filter(|most| value > *most)) {
        (Some(least), _) => Some((small, format!("expected at least {least} for `{key}`, found {value}"))),
        (None, Some(most)) => Some((large, format!("expected at most {most} for `{key}`, found {value}"))),
        (None, None) => None,
    }
}

fn expected<F: Form>(text: &str) -> String {
    format!("expected {}, found `{}`", F::EXPECTED, text.escape_debug())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_and_periods_read_as_people_write_them() {
        for (text, bytes) in [("20 GiB", 20 << 30), ("512KiB", 512 << 10), ("7", 7), ("3 MB", 3_000_000)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for (text, ms) in
            [("24h", 86_400_000), ("500ms", 500), ("1h 30m", 5_400_000), ("2d", 172_800_000), ("0s", 0)]
        {
            assert_eq!(text.parse(), Ok(Period(Duration::from_millis(ms))), "{text}");
        }
    }

    #[test]
    fn what_a_person_would_stumble_over_is_refused() {
        for text in ["", "GiB", "-1", "1.5 GiB", "20 gib", "20 GiB GiB", "99999999999 TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text:?}");
        }
        for text in ["", "24", "h", "24 hours", "-1s", "1s2", "99999999999999999999d", "999999999999999d"] {
            assert!(text.parse::<Period>().is_err(), "{text:?}");
        }
        for text in ["localhost:80", "127.0.0.1", ":8080", "0.0.0.0:99999"] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_back_reads_the_same() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, 20 << 30, 1 << 40, 1_000_000, u64::MAX] {
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
        for ms in [0, 1, 999, 1000, 60_000, 90_000, 86_400_000] {
            let period = Period(Duration::from_millis(ms));
            assert_eq!(period.to_string().parse(), Ok(period));
        }
        assert_eq!(Period(Duration::from_secs(86_400)).to_string(), "24h");
    }
}
