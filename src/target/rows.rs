//! From a database's rows to numbers.

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use crate::domain::measurement::{MeasureError, MeasureErrorCode};

/// One row as `row_to_json` prints it: columns in order, also those that share a name.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonRow(pub Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for JsonRow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Columns;
        impl<'de> Visitor<'de> for Columns {
            type Value = JsonRow;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("one row as a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonRow, A::Error> {
                let mut columns = Vec::new();
                while let Some(column) = map.next_entry()? {
                    columns.push(column);
                }
                Ok(JsonRow(columns))
            }
        }
        deserializer.deserialize_map(Columns)
    }
}

impl JsonRow {
    pub fn parse(text: &str) -> Result<Self, MeasureError> {
        serde_json::from_str(text).map_err(|_| shape("the row is not understood"))
    }

    /// The values of some columns as one text, of all without any named.
    pub fn only(&self, columns: &[String]) -> String {
        let kept: Vec<String> = self
            .0
            .iter()
            .filter(|(name, _)| columns.is_empty() || columns.contains(name))
            .map(|(_, value)| value.to_string())
            .collect();
        kept.join("\u{1f}")
    }

    pub fn number(&self, column: usize) -> Result<Option<f64>, MeasureError> {
        self.0.get(column).map_or(Ok(None), |(_, value)| number(value))
    }
}

/// A number, or nothing for NULL.
pub fn number(value: &serde_json::Value) -> Result<Option<f64>, MeasureError> {
    match value {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::Number(n) => Ok(n.as_f64()),
        serde_json::Value::String(text) if matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") => {
            Err(shape(&format!("the statement gave {text}, which cannot be held against a threshold")))
        }
        serde_json::Value::Bool(_) => Err(shape("the statement gave a boolean where a number is needed")),
        serde_json::Value::String(_) => Err(shape("the statement gave a text where a number is needed")),
        _ => Err(shape("the statement gave a structure where a number is needed")),
    }
}

/// The answer to a `value` query: one row, one column, one number. No row at all is no value.
pub fn single_number(rows: &[String]) -> Result<Option<f64>, MeasureError> {
    match rows {
        [] => Ok(None),
        [row] => match JsonRow::parse(row)?.0.as_slice() {
            [(_, value)] => number(value),
            columns => Err(shape(&format!("the statement gave {} columns, not one", columns.len()))),
        },
        _ => Err(shape("the statement gave more than one row")),
    }
}

pub fn shape(message: &str) -> MeasureError {
    MeasureError {
        code: MeasureErrorCode::Shape,
        message: message.into(),
        hint: Some(
            "a `value` statement gives one row with one number; use count(*), extract(epoch FROM …) or \
             CASE WHEN … THEN 1 ELSE 0 END"
                .into(),
        ),
    }
}
