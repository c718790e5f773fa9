use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::measure::{Catalog, ColumnExpectation, TableName, What};
use crate::domain::measurement::Unit;
use crate::domain::wording::Wording;
use crate::suite::read::At;

/// Columns that are not as declared: missing, of another type, nullable, or still there
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Columns(BTreeMap<String, BTreeMap<String, At<ColumnSpec>>>);

/// `absent`, `present`, or what the column must be.
#[derive(Debug)]
struct ColumnSpec(ColumnExpectation);

/// What a column must be
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PresentColumn {
    /// As PostgreSQL's format_type says it: `text`, `timestamp with time zone`, `numeric(10,2)`
    #[serde(rename = "type")]
    data_type: Option<String>,
    /// Whether it may be NULL
    nullable: Option<bool>,
    /// Its default, as the catalog says it: `now()`
    default: Option<String>,
}

impl<'de> Deserialize<'de> for ColumnSpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Spec;

        impl<'de> serde::de::Visitor<'de> for Spec {
            type Value = ColumnSpec;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`present`, `absent` or `{type: …, nullable: …, default: …}`")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<ColumnSpec, E> {
                match word {
                    "absent" => Ok(ColumnSpec(ColumnExpectation::Absent)),
                    "present" => Ok(ColumnSpec(ColumnExpectation::Present {
                        data_type: None,
                        nullable: None,
                        default: None,
                    })),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<ColumnSpec, A::Error> {
                let PresentColumn { data_type, nullable, default } =
                    PresentColumn::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(ColumnSpec(ColumnExpectation::Present { data_type, nullable, default }))
            }
        }

        deserializer.deserialize_any(Spec)
    }
}

impl JsonSchema for ColumnSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let present = generator.subschema_for::<PresentColumn>();
        schemars::json_schema!({ "anyOf": [{ "enum": ["present", "absent"] }, present] })
    }
}

impl Kind for Columns {
    const NAME: &'static str = "columns";
    const SECTION: Section = Section::Schema;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        Natural::none_allowed(1)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        if self.0.values().all(BTreeMap::is_empty) {
            scope
                .problems
                .report(scope.at, "`columns` declares no column, such as `{users: {email: present}}`");
        }
        let mut expect = Vec::new();
        for (table, columns) in self.0 {
            let Some(name) = TableName::parse(&table) else {
                scope
                    .problems
                    .report(scope.at, format!("expected `table` or `schema.table`, found `{table}`"));
                continue;
            };
            expect.push((name, columns.into_iter().map(|(name, spec)| (name, spec.value.0)).collect()));
        }
        let subject = match expect.as_slice() {
            [(table, _)] => table.to_string(),
            _ => super::public(),
        };
        vec![Draft {
            suffix: String::new(),
            subject,
            what: What::Catalog(Catalog::Columns { expect }),
            wording: Wording::counted("column", "columns", "is not as declared", "are not as declared"),
        }]
    }
}
