//! The JSON Schema of a suite, made from the types that read it, for completion in editors.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::format::{Defaults, Head, Own};
use super::kinds::{KINDS, Section};

/// The content of `checks/schema.json`.
pub fn json_schema() -> String {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut options = properties::<Own>(&mut generator);
    options.extend(properties::<Defaults>(&mut generator));
    let mut items: Vec<(Section, Value)> = Vec::new();
    for section in Section::ALL {
        let kinds: Vec<_> = KINDS.iter().filter(|kind| kind.section == section).collect();
        let mut all = Map::new();
        for kind in &kinds {
            all.insert(kind.name.to_owned(), (kind.schema)(&mut generator).to_value());
        }
        all.extend(options.clone());
        let one_kind: Vec<Value> = kinds.iter().map(|kind| json!({ "required": [kind.name] })).collect();
        items.push((
            section,
            json!({ "type": "object", "properties": all, "additionalProperties": false, "oneOf": one_kind }),
        ));
    }
    let mut top = properties::<Head>(&mut generator);
    let mut definitions = Map::new();
    for (section, item) in items {
        let name = format!("{}_check", section.word());
        let list = json!({ "type": "array", "items": { "$ref": format!("#/$defs/{name}") } });
        let value = match section {
            Section::Tables => json!({
                "description": "Checks of tables, by `table` or `schema.table`",
                "type": "object",
                "additionalProperties": list,
            }),
            Section::Schema => described("What the catalog knows", list),
            Section::Server => described("What the server knows", list),
            Section::Queries => described("SQL of your own", list),
            Section::Signals => described("What no query on the watched database says", list),
        };
        top.insert(section.word().to_owned(), value);
        definitions.insert(name, item);
    }
    definitions.extend(generator.take_definitions(true));
    for inlined in ["Head", "Own"] {
        definitions.remove(inlined);
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A deploywatch check suite",
        "type": "object",
        "properties": top,
        "required": ["suite"],
        "additionalProperties": false,
        "$defs": definitions,
    });
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}

fn described(description: &str, mut schema: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".to_owned(), json!(description));
    }
    schema
}

fn properties<T: JsonSchema>(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let _ = generator.subschema_for::<T>();
    let definition = generator.definitions().get(T::schema_name().as_ref());
    definition.and_then(|schema| schema.get("properties")?.as_object().cloned()).unwrap_or_default()
}
