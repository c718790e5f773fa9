//! A YAML file as a tree that knows where each of its parts stands.
//!
//! Serde stops at its first error, and a person who fixes a file wants all of them; so the text becomes this
//! tree first, and `read` goes over it and collects.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::problems::Mark;

#[derive(Debug, Clone)]
pub struct Node {
    pub at: Mark,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Bool(bool),
    /// The number and the text that it was written as.
    Number(f64, String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub at: Mark,
    pub node: Node,
}

impl Node {
    /// The whole document, or the first error of its syntax with its place.
    pub fn parse(source: &str) -> Result<Self, (Mark, String)> {
        let mut options = serde_saphyr::Options::default();
        options.strict_booleans = true;
        options.with_snippet = false;
        // A check file is written by hand: whatever needs more than this is an attack or a mistake.
        if let Some(budget) = &mut options.budget {
            budget.max_nodes = 100_000;
            budget.max_aliases = 1_000;
        }
        match serde_saphyr::from_str_with_options::<Spanned<Raw>>(source, options) {
            Ok(raw) => Ok(raw.into_node(source)),
            Err(error) => {
                let at = error.location().map_or_else(Mark::default, |at| mark(&at, source));
                Err((at, syntax(&error)))
            }
        }
    }

    /// How the node is called in a message.
    pub fn noun(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(_, text) => format!("`{text}`"),
            Value::Text(text) => {
                let first = text.lines().next().unwrap_or_default();
                let short: String = first.chars().take(40).collect();
                format!("`{short}{}`", if short.len() < text.len() { "…" } else { "" })
            }
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

fn syntax(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("`{key}` is written twice in this mapping; keep one of them")
        }
        serde_saphyr::Error::MultipleDocuments { .. } => {
            "a check file holds one document; put the second one, after `---`, in a file of its own"
                .to_owned()
        }
        other => {
            let text = other.without_snippet().to_string();
            // The place is said by us, in the form that editors understand.
            let text =
                text.split(" at line ").next().unwrap_or(&text).trim().trim_end_matches('.').to_owned();
            format!("this is not valid YAML: {text}")
        }
    }
}

fn mark(at: &serde_saphyr::Location, source: &str) -> Mark {
    let to_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (line, column) = (to_usize(at.line()), to_usize(at.column()));
    let length = raw_text(at, source).map_or(1, |text| {
        let first = text.lines().next().unwrap_or_default().trim_end();
        first.chars().count().max(1)
    });
    Mark { line, column, length }
}

fn raw_text<'s>(at: &serde_saphyr::Location, source: &'s str) -> Option<&'s str> {
    let span = at.span();
    let (start, length) = (span.byte_offset()?, span.byte_len()?);
    let start = usize::try_from(start).ok()?;
    source.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// What the parser hands out, before the places are turned into ours.
enum Raw {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

trait IntoNode {
    fn into_node(self, source: &str) -> Node;
}

impl IntoNode for Spanned<Raw> {
    fn into_node(self, source: &str) -> Node {
        let at = mark(&self.referenced, source);
        let value = match self.value {
            Raw::Null => Value::Null,
            Raw::Bool(value) => Value::Bool(value),
            Raw::Number(value) => {
                let text = raw_text(&self.defined, source).map_or_else(|| value.to_string(), str::to_owned);
                Value::Number(value, text.trim().to_owned())
            }
            Raw::Text(text) => Value::Text(text),
            Raw::List(items) => Value::List(items.into_iter().map(|item| item.into_node(source)).collect()),
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| Entry {
                        at: Mark {
                            length: key.value.chars().count().max(1),
                            ..mark(&key.referenced, source)
                        },
                        key: key.value,
                        node: node.into_node(source),
                    })
                    .collect(),
            ),
        };
        Node { at, value }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "the text is kept beside it")]
    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "the text is kept beside it")]
    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_knows_its_place_and_its_text() {
        let source = "suite: a\ntables:\n  users:\n    - accepted_values: {column: tier, values: [yes, 1.50, true, ~]}\n";
        let node = Node::parse(source).unwrap();
        let Value::Map(top) = &node.value else { panic!("a mapping") };
        assert_eq!((top[1].key.as_str(), top[1].at.line, top[1].at.column), ("tables", 2, 1));
        let Value::Map(tables) = &top[1].node.value else { panic!("a mapping") };
        let Value::List(checks) = &tables[0].node.value else { panic!("a list") };
        let Value::Map(check) = &checks[0].value else { panic!("a mapping") };
        assert_eq!((check[0].at.line, check[0].at.column, check[0].at.length), (4, 7, 15));
        let Value::Map(body) = &check[0].node.value else { panic!("a mapping") };
        let Value::List(values) = &body[1].node.value else { panic!("a list") };
        assert_eq!(values[1].at.column, 53);
        let shown: Vec<String> = values.iter().map(Node::noun).collect();
        assert_eq!(shown, ["`yes`", "`1.50`", "`true`", "nothing"]);
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let (at, message) = Node::parse("suite: a\ntables: [\n").unwrap_err();
        assert!(at.line >= 2, "{at:?} {message}");
        let (at, message) = Node::parse("suite: a\nsuite: b\n").unwrap_err();
        assert_eq!(
            (at.line, message.as_str()),
            (2, "`suite` is written twice in this mapping; keep one of them")
        );
    }
}
