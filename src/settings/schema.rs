//! The list of settings, read off the structs themselves: path, kind of value, whether it is a secret.
//!
//! schemars describes the structs; this file flattens that description. Nothing has to be listed twice.

use std::borrow::Cow;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::Settings;

/// Stands in for `SecretString` in the description.
pub struct SecretText;

impl JsonSchema for SecretText {
    fn schema_name() -> Cow<'static, str> {
        "SecretText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// `["environments", "*", "database_url"]`; `*` stands for a name that the user chooses.
    pub path: Vec<String>,
    pub kind: Kind,
    pub secret: bool,
    /// The doc comment of the field.
    pub about: String,
}

impl Field {
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }

    /// Whether a concrete path is this field.
    pub fn is_at(&self, path: &[String]) -> bool {
        self.path.len() == path.len() && self.path.iter().zip(path).all(|(a, b)| a == "*" || a == b)
    }
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Text,
    Url,
    Address,
    Ip,
    /// Inclusive bounds.
    Integer(i64, i64),
    Number,
    Bool,
    Choice(Vec<String>),
    List(Box<Kind>),
}

/// Every setting, in the order of the structs.
pub static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let schema = settings.into_generator().into_root_schema_for::<Settings>();
    let mut fields = Vec::new();
    collect(schema.as_value(), &mut Vec::new(), &mut fields);
    fields
});

fn collect(schema: &Value, path: &mut Vec<String>, fields: &mut Vec<Field>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, child) in properties {
            path.push(name.clone());
            collect(child, path, fields);
            path.pop();
        }
    } else if let Some(child) = schema.get("additionalProperties").filter(|child| child.is_object()) {
        path.push("*".into());
        collect(child, path, fields);
        path.pop();
    } else {
        fields.push(Field {
            path: path.clone(),
            kind: kind(schema),
            secret: schema.get("writeOnly").is_some()
                || variants(schema).iter().any(|v| v.get("writeOnly").is_some()),
            about: schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " "),
        });
    }
}

fn variants(schema: &Value) -> Vec<&Value> {
    ["anyOf", "oneOf"]
        .iter()
        .filter_map(|word| schema.get(word).and_then(Value::as_array))
        .flatten()
        .filter(|v| v.get("type").and_then(Value::as_str) != Some("null"))
        .collect()
}

fn kind(schema: &Value) -> Kind {
    let words = |schema: &Value| -> Vec<String> {
        let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        listed.chain(schema.get("const")).filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let inner = variants(schema);
    let choices: Vec<String> = words(schema).into_iter().chain(inner.iter().flat_map(|v| words(v))).collect();
    if !choices.is_empty() {
        return Kind::Choice(choices);
    }
    if let [only] = inner[..] {
        return kind(only);
    }
    let name = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).find(|n| *n != "null"),
        Some(Value::String(name)) => Some(name.as_str()),
        _ => None,
    };
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    match (name, format) {
        (Some("string"), "uri") => Kind::Url,
        (Some("string"), "socket-address") => Kind::Address,
        (Some("string"), "ip") => Kind::Ip,
        (Some("integer"), "uint16") => Kind::Integer(0, u16::MAX.into()),
        (Some("integer"), "uint32") => Kind::Integer(0, u32::MAX.into()),
        (Some("integer"), _) => Kind::Integer(0, i64::MAX),
        (Some("number"), _) => Kind::Number,
        (Some("boolean"), _) => Kind::Bool,
        (Some("array"), _) => Kind::List(Box::new(schema.get("items").map_or(Kind::Text, kind))),
        _ => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(dotted: &str) -> Field {
        FIELDS.iter().find(|f| f.dotted() == dotted).unwrap_or_else(|| panic!("{dotted} is listed")).clone()
    }

    #[test]
    fn the_structs_describe_every_kind_of_value() {
        for (path, kind, secret) in [
            ("http.listen", Kind::Address, false),
            ("http.public_url", Kind::Url, false),
            ("http.trusted_proxies", Kind::List(Box::new(Kind::Ip)), false),
            ("store.url", Kind::Text, true),
            ("secrets.overdue", Kind::Choice(vec!["accept".into(), "reject".into()]), false),
            ("scan.max_cost", Kind::Number, false),
            ("email.smtp.port", Kind::Integer(0, 65_535), false),
            ("email.smtp.password", Kind::Text, true),
            ("email.smtp.allow_insecure", Kind::Bool, false),
            (
                "email.smtp.tls",
                Kind::Choice(vec!["implicit".into(), "starttls".into(), "none".into()]),
                false,
            ),
            ("alerts.reminder_seconds", Kind::List(Box::new(Kind::Integer(0, u32::MAX.into()))), false),
            ("environments.*.database_url", Kind::Text, true),
            ("environments.*.suites", Kind::List(Box::new(Kind::Text)), false),
            ("webhooks.sources.*.secret", Kind::Text, true),
        ] {
            let found = field(path);
            assert_eq!((found.kind, found.secret), (kind, secret), "{path}");
            assert!(!found.about.is_empty(), "{path} explains itself");
        }
    }
}
