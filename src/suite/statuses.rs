//! HTTP statuses as they are written in a suite: `200`, `2xx`, `200-299`, or a list of these.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// Ranges, both ends included, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(pub Vec<(u16, u16)>);

const ONE: &str = r"^([1-5]xx|[1-5]\d\d(\s*-\s*[1-5]\d\d)?)$";

fn parse(text: &str) -> Option<(u16, u16)> {
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..=599).contains(status));
    if let Some(class) = text.trim().to_ascii_lowercase().strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    match text.split_once('-') {
        Some((low, high)) => Some((status(low)?, status(high)?)).filter(|(low, high)| low <= high),
        None => status(text).map(|status| (status, status)),
    }
}

struct StatusesVisitor;

impl<'de> Visitor<'de> for StatusesVisitor {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status such as `200`, `2xx` or `200-204`, or a list of them")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Statuses, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Statuses, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Statuses, E> {
        let range = parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))?;
        Ok(Statuses(vec![range]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Statuses, A::Error> {
        let mut all = Vec::new();
        while let Some(Statuses(ranges)) = items.next_element()? {
            all.extend(ranges);
        }
        if all.is_empty() {
            return Err(de::Error::custom("expected at least one status, found an empty list"));
        }
        Ok(Statuses(all))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusesVisitor)
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = serde_json::json!([
            { "type": "integer", "minimum": 100, "maximum": 599 },
            { "type": "string", "pattern": ONE },
        ]);
        json_schema!({
            "description": "HTTP statuses: `200`, `2xx`, `200-204`, or a list of them",
            "anyOf": [one[0], one[1], { "type": "array", "minItems": 1, "items": { "anyOf": one } }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn statuses_are_numbers_classes_and_ranges() {
        for (text, expected) in [
            ("200", Some((200, 200))),
            ("2xx", Some((200, 299))),
            ("5XX", Some((500, 599))),
            ("200-204", Some((200, 204))),
            ("200 - 204", Some((200, 204))),
            ("204-200", None),
            ("600", None),
            ("6xx", None),
            ("ok", None),
            ("-", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
