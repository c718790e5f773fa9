//! Numbers, percentages and lengths of time as they are written in a suite.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::domain::threshold::Bound;

/// `0`, `0.1%` or `6h`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount(pub Bound);

/// `30s`, `5m`, `6h`, `1d`, `1h30m`: whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(pub u32);

/// `0.8` or `80%`: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

/// `2`, in a row; or `2 of 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Votes {
    pub fails: u32,
    /// The runs looked back over; 0 where the fails must be in a row.
    pub of: u32,
}

const LENGTH: &str = r"^(\d+(\.\d+)?\s*(s|m|h|d|w))+$";
/// Measured lengths may be shorter than a second.
const MEASURED: &str = r"^(\d+(\.\d+)?\s*(ms|s|m|h|d|w))+$";

impl Amount {
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(number) = text.strip_suffix('%') {
            return finite(number).map(|number| Self(Bound::Percent(number)));
        }
        finite(text)
            .map(|number| Self(Bound::Number(number)))
            .or_else(|| seconds(text).map(|length| Self(Bound::Seconds(length))))
    }
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// The sum of `number unit` parts; every number needs its unit.
fn seconds(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number = finite(&rest[..digits])?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        total += number
            * match &rest[..letters] {
                "ms" => 0.001,
                "s" | "sec" | "second" | "seconds" => 1.0,
                "m" | "min" | "minute" | "minutes" => 60.0,
                "h" | "hour" | "hours" => 3_600.0,
                "d" | "day" | "days" => 86_400.0,
                "w" | "week" | "weeks" => 604_800.0,
                _ => return None,
            };
        rest = rest[letters..].trim_start();
    }
    (!text.trim().is_empty()).then_some(total)
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a percentage such as `0.1%` or a length of time such as `6h`")
    }

    #[expect(clippy::cast_precision_loss, reason = "a threshold beyond 2^52 means nothing")]
    fn visit_u64<E>(self, value: u64) -> Result<Amount, E> {
        Ok(Amount(Bound::Number(value as f64)))
    }

    #[expect(clippy::cast_precision_loss, reason = "a threshold beyond 2^52 means nothing")]
    fn visit_i64<E>(self, value: i64) -> Result<Amount, E> {
        Ok(Amount(Bound::Number(value as f64)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Amount, E> {
        if value.is_finite() {
            return Ok(Amount(Bound::Number(value)));
        }
        Err(E::invalid_value(de::Unexpected::Float(value), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
        Amount::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

struct LengthVisitor;

impl Visitor<'_> for LengthVisitor {
    type Value = Length;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time with its unit, such as `30s`, `5m`, `6h` or `1d`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Length, E> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
        seconds(text)
            .filter(|length| *length <= f64::from(u32::MAX) && (*length >= 1.0 || *length == 0.0))
            .map(|length| Length(length.round() as u32))
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LengthVisitor)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = match Amount::deserialize(deserializer)?.0 {
            Bound::Number(share) => share,
            Bound::Percent(percent) => percent / 100.0,
            Bound::Seconds(_) => f64::NAN,
        };
        if (0.0..=1.0).contains(&share) {
            return Ok(Self(share));
        }
        Err(de::Error::custom("expected a share between 0 and 1, or a percentage such as `80%`"))
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, a percentage (`0.1%`) or a length of time (`6h`)",
            "anyOf": [
                { "type": "number" },
                { "type": "string", "pattern": r"^\s*-?\d+(\.\d+)?\s*%?\s*$" },
                { "type": "string", "pattern": MEASURED },
            ]
        })
    }
}

struct VotesVisitor;

impl Visitor<'_> for VotesVisitor {
    type Value = Votes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of fails in a row such as `2`, or of runs such as `2 of 3`")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Votes, E> {
        let fails =
            u32::try_from(value).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))?;
        Ok(Votes { fails, of: 0 })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Votes, E> {
        let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
        let (fails, of) = text.split_once(" of ").ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse().map_err(|_| wrong());
        Ok(Votes { fails: number(fails)?, of: number(of)? })
    }
}

impl<'de> Deserialize<'de> for Votes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VotesVisitor)
    }
}

impl JsonSchema for Votes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Votes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Fails in a row, `2`, or of the last runs, `2 of 3`",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": r"^\s*\d+ of \d+\s*$" },
            ]
        })
    }
}

impl JsonSchema for Length {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Length".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time with its unit: `30s`, `5m`, `6h`, `1d`",
            "type": "string",
            "pattern": LENGTH,
        })
    }
}

impl JsonSchema for Share {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share between 0 and 1, or a percentage: `80%`",
            "anyOf": [
                { "type": "number", "minimum": 0, "maximum": 1 },
                { "type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$" },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, expected) in [
            ("0", Some(Bound::Number(0.0))),
            ("-1.5", Some(Bound::Number(-1.5))),
            ("0.1%", Some(Bound::Percent(0.1))),
            ("70 %", Some(Bound::Percent(70.0))),
            ("90s", Some(Bound::Seconds(90.0))),
            ("1h30m", Some(Bound::Seconds(5_400.0))),
            ("2 days", Some(Bound::Seconds(172_800.0))),
            ("5x", None),
            ("h", None),
            ("", None),
            ("5 5", None),
            ("inf", None),
            ("1.2.3s", None),
        ] {
            assert_eq!(Amount::parse(text).map(|amount| amount.0), expected, "{text}");
        }
    }
}
