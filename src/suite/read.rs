//! Reads a typed value out of the tree and collects every problem on the way.
//!
//! Serde gives up at the first error. Here the part that it stumbled over is noted, taken out of sight, and the
//! rest is read again until nothing new comes up; so one pass over a file names everything that is wrong.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer, Visitor};

use super::problems::{Mark, Problems, did_you_mean};
use super::tree::{Entry, Node, Value};

/// A value with its place, for problems that are found later.
#[derive(Debug, Clone, PartialEq)]
pub struct At<T> {
    pub at: Mark,
    pub value: T,
}

/// Reads `node` as a `T`, or reports why not.
pub fn read<T: de::DeserializeOwned>(node: &Node, problems: &Problems<'_>) -> Option<T> {
    let session = Session { problems, pruned: RefCell::default() };
    loop {
        let before = session.pruned.borrow().len();
        match T::deserialize(Reader { node, session: &session }) {
            Ok(value) => return (before == 0).then_some(value),
            Err(stop) => {
                let pruned = session.pruned.borrow().len() > before;
                if !pruned {
                    // A missing field may be missing because it was wrong and taken out.
                    if !stop.reported && (before == 0 || !stop.missing) {
                        problems.report(stop.at.unwrap_or(node.at), stop.message);
                    }
                    return None;
                }
            }
        }
    }
}

struct Session<'a> {
    problems: &'a Problems<'a>,
    /// Places of the entries and items that were reported, and are passed over from then on.
    pruned: RefCell<Vec<Mark>>,
}

impl Session<'_> {
    fn is_pruned(&self, at: Mark) -> bool {
        self.pruned.borrow().contains(&at)
    }

    /// Reports what went wrong below, unless something deeper already did, and takes the part out.
    fn prune(&self, part: Mark, fallback: Mark, stop: Stop) -> Stop {
        if stop.reported {
            return stop;
        }
        if stop.missing && self.pruned.borrow().iter().any(|at| at.line >= fallback.line) {
            self.pruned.borrow_mut().push(part);
            return Stop { reported: true, ..stop };
        }
        self.problems.report(stop.at.unwrap_or(fallback), &stop.message);
        self.pruned.borrow_mut().push(part);
        Stop { reported: true, ..stop }
    }
}

/// Why reading stopped.
#[derive(Debug)]
struct Stop {
    message: String,
    at: Option<Mark>,
    reported: bool,
    missing: bool,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), at: None, reported: false, missing: false }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {expected}, found {}", found_as(found)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {expected}, found {}", found_as(found)))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {expected}, found {length} items"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown("key", field, expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(unknown("value", variant, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: true, ..Self::custom(format!("`{field}` is missing")) }
    }
}

fn found_as(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Unit | de::Unexpected::Option => "nothing".to_owned(),
        de::Unexpected::Bool(value) => format!("`{value}`"),
        de::Unexpected::Unsigned(value) => format!("`{value}`"),
        de::Unexpected::Signed(value) => format!("`{value}`"),
        de::Unexpected::Float(value) => format!("`{value}`"),
        de::Unexpected::Str(text) => format!("`{text}`"),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// `unknown key `x`, did you mean `y`?`, or the whole list where nothing is near.
pub fn unknown(noun: &str, word: &str, valid: &[&str]) -> String {
    let near = did_you_mean(word, valid.iter().copied());
    if near.is_empty() {
        let list = valid.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        format!("unknown {noun} `{word}`; valid here: {list}")
    } else {
        format!("unknown {noun} `{word}`{near}")
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    session: &'a Session<'a>,
}

/// The name by which [`At`] asks for the place.
const AT: &str = "$At";

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(value, text) => match (text.parse::<u64>(), text.parse::<i64>()) {
                (Ok(whole), _) => visitor.visit_u64(whole),
                (_, Ok(whole)) => visitor.visit_i64(whole),
                _ => visitor.visit_f64(*value),
            },
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { rest: items.iter(), session: self.session }),
            Value::Map(entries) => {
                visitor.visit_map(Entries { rest: entries.iter(), current: None, session: self.session })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// Text is wanted, so a number is taken as it is written: a version `1.50` stays `1.50`.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match &self.node.value {
            Value::Number(_, text) => visitor.visit_str(text),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_string(visitor)
    }

    /// A struct whose fields may all be left out is written as nothing: `- row_count:`.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match self.node.value {
            Value::Null => {
                visitor.visit_map(Entries { rest: [].iter(), current: None, session: self.session })
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if name == AT {
            return visitor.visit_seq(Place { reader: self, field: 0 });
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match &self.node.value {
            Value::Text(text) => {
                let word: StrDeserializer<'_, Stop> = text.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            _ => Err(de::Error::custom(format!("expected a word, found {}", self.node.noun()))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    rest: std::slice::Iter<'a, Node>,
    session: &'a Session<'a>,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        let session = self.session;
        let Some(node) = self.rest.by_ref().find(|node| !session.is_pruned(node.at)) else { return Ok(None) };
        seed.deserialize(Reader { node, session })
            .map(Some)
            .map_err(|stop| session.prune(node.at, node.at, stop))
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, Entry>,
    current: Option<&'a Entry>,
    session: &'a Session<'a>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let session = self.session;
        let Some(entry) = self.rest.by_ref().find(|entry| !session.is_pruned(entry.at)) else {
            return Ok(None);
        };
        self.current = Some(entry);
        let key = Node { at: entry.at, value: Value::Text(entry.key.clone()) };
        seed.deserialize(Reader { node: &key, session })
            .map(Some)
            .map_err(|stop| session.prune(entry.at, entry.at, stop))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Stop> {
        let entry = self.current.expect("serde asks for a value after its key");
        let session = self.session;
        seed.deserialize(Reader { node: &entry.node, session }).map_err(|stop| {
            // An absent value has no place of its own, so its key is pointed at.
            let place = if matches!(entry.node.value, Value::Null) { entry.at } else { entry.node.at };
            session.prune(entry.at, place, stop)
        })
    }
}

/// Hands out line, column, length, and then the value itself.
struct Place<'a> {
    reader: Reader<'a>,
    field: u8,
}

impl<'de> de::SeqAccess<'de> for Place<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        let Mark { line, column, length } = self.reader.node.at;
        self.field += 1;
        let number = |value: usize| value.into_deserializer();
        match self.field {
            1 => seed.deserialize::<de::value::UsizeDeserializer<Stop>>(number(line)).map(Some),
            2 => seed.deserialize(number(column)).map(Some),
            3 => seed.deserialize(number(length)).map(Some),
            _ => seed.deserialize(self.reader).map(Some),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtVisitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
            type Value = At<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
                let mut number = || parts.next_element::<usize>().map(Option::unwrap_or_default);
                let at = Mark { line: number()?, column: number()?, length: number()? };
                match parts.next_element()? {
                    Some(value) => Ok(At { at, value }),
                    None => Err(de::Error::custom("only the reader of check files knows places")),
                }
            }
        }

        deserializer.deserialize_newtype_struct(AT, AtVisitor(std::marker::PhantomData))
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde alone")]
    struct Body {
        column: At<String>,
        every: Option<u32>,
        #[serde(default)]
        tags: Vec<String>,
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let source = "colum: a\nevery: [1]\ntags:\n  - x\n  - {a: b}\n";
        let node = Node::parse(source).unwrap();
        let problems = Problems::of("f.yaml", source);
        assert!(read::<Body>(&node, &problems).is_none());
        let first_lines: Vec<String> =
            problems.render().iter().map(|text| text.lines().next().unwrap().to_owned()).collect();
        assert_eq!(
            first_lines,
            [
                "f.yaml:1:1: unknown key `colum`, did you mean `column`?",
                "f.yaml:2:8: expected u32, found a list",
                "f.yaml:5:5: expected a string, found a mapping",
            ]
        );
    }

    #[test]
    fn values_know_their_place() {
        let source = "column: email\n";
        let node = Node::parse(source).unwrap();
        let body: Body = read(&node, &Problems::of("f.yaml", source)).unwrap();
        assert_eq!(body.column, At { at: Mark { line: 1, column: 9, length: 5 }, value: "email".to_owned() });
    }
}
