use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section, public};
use crate::domain::drift::OBJECTS;
use crate::domain::measure::{Catalog, What};
use crate::domain::measurement::Unit;
use crate::domain::threshold::{Bound, Threshold};
use crate::domain::wording::Wording;
use crate::suite::read::{At, unknown};

/// What changed in a schema since the baseline, and was not expected to
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// The schema that is looked at
    #[serde(default = "public")]
    schema: String,
    /// Changes that are fine, as `add_`, `drop_` or `change_` and an object: `add_table`, `add_column`
    #[serde(default)]
    allow: Vec<At<String>>,
}

const VERBS: [&str; 3] = ["add", "drop", "change"];

impl Kind for Drift {
    const NAME: &'static str = "drift";
    const SECTION: Section = Section::Schema;
    const UNIT: Unit = Unit::Violations;

    fn natural() -> Natural {
        let fail = Threshold { new_above: Some(Bound::Number(0.0)), ..Threshold::default() };
        Natural { warn: None, fail: Some(fail), fail_after: 1 }
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let words: Vec<String> = VERBS
            .iter()
            .flat_map(|verb| OBJECTS.iter().map(move |object| format!("{verb}_{object}")))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for word in &self.allow {
            if !words.contains(&word.value.as_str()) {
                scope.problems.report(word.at, unknown("change", &word.value, &words));
            }
        }
        let said = format!("in {} since the baseline", self.schema);
        vec![Draft {
            suffix: String::new(),
            subject: self.schema.clone(),
            wording: Wording::counted("change", "changes", &said, &said),
            what: What::Catalog(Catalog::Drift {
                schema: self.schema,
                allow: self.allow.into_iter().map(|word| word.value).collect(),
            }),
        }]
    }
}
