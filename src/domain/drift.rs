//! What changed in a schema between two readings of its catalog.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// What can be added, dropped or changed: the first word of each fact.
pub const OBJECTS: [&str; 13] = [
    "table",
    "view",
    "column",
    "index",
    "constraint",
    "policy",
    "trigger",
    "function",
    "grant",
    "enum",
    "sequence",
    "owner",
    "publication",
];

/// A schema as flat facts, made by `target` and kept with the baseline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Changes that are expected: `add_table`, `add_column`, `drop_index`, `change_policy`, …
    #[serde(default)]
    pub allow: BTreeSet<String>,
    /// Object → definition. The object's first word is its kind: `table users`, `column users.email`,
    /// `index idx_agents_status`, `constraint users.users_pkey`, `policy agents.Users can read`,
    /// `trigger users.t`, `function deduct_credits(uuid, integer)`, `grant users authenticated`, `enum tier`,
    /// `owner users`, `sequence users_id_seq`, `publication supabase_realtime.users`.
    pub objects: BTreeMap<String, String>,
    /// What other checks of the same scan have found, so that it is not told twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Problem>,
}

impl Fingerprint {
    /// The changes since `before` that are not allowed, each one readable line.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = before.objects.keys().chain(self.objects.keys()).collect();
        names
            .into_iter()
            .filter_map(|name| {
                let (verb, line) = match (before.objects.get(name), self.objects.get(name)) {
                    (Some(was), None) => ("drop", format!("{name} is gone (was {was})")),
                    (None, Some(is)) => ("add", format!("{name} is new ({is})")),
                    (Some(was), Some(is)) if was != is => ("change", format!("{name}: {was} became {is}")),
                    _ => return None,
                };
                let kind = name.split(' ').next().unwrap_or_default();
                let allowed = |verb: &str, kind: &str| self.allow.contains(&format!("{verb}_{kind}"));
                // What is new or gone with its table or view is not told beside it.
                let with = match verb {
                    "add" => self.came_with(name, before),
                    "drop" => before.came_with(name, self),
                    _ => None,
                };
                let allowed =
                    allowed(verb, kind) || with.is_some_and(|with| verb == "drop" || allowed(verb, with));
                let (was, is) = (before.objects.get(name), self.objects.get(name));
                let told =
                    || was.into_iter().chain(is).any(|text| self.told.iter().any(|p| p.tells(name, text)));
                (!allowed && !told()).then_some(line)
            })
            .collect()
    }

    /// Columns, indexes and the like of a table or a view that is not there in `other` either: `table` or `view`.
    fn came_with(&self, name: &str, other: &Self) -> Option<&'static str> {
        let (_, of) = name.split_once(' ')?;
        ["table", "view"].into_iter().find(|kind| {
            let parents = self.objects.keys().filter(|key| *key != name && !other.objects.contains_key(*key));
            parents.filter_map(|key| key.strip_prefix(kind)?.strip_prefix(' ')).any(|parent| {
                of.strip_prefix(parent)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with(' '))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(allow: &[&str], objects: &[(&str, &str)]) -> Fingerprint {
        Fingerprint {
            allow: allow.iter().map(|&word| word.to_owned()).collect(),
            objects: objects.iter().map(|&(name, is)| (name.to_owned(), is.to_owned())).collect(),
            told: Vec::new(),
        }
    }

    #[test]
    fn a_diff_names_what_went_came_and_changed() {
        let before = fingerprint(
            &[],
            &[("table users", "row security"), ("column users.email", "text"), ("policy agents.p", "true")],
        );
        let after = fingerprint(
            &[],
            &[
                ("table users", "row security"),
                ("column users.email", "citext"),
                ("index i", "btree (email)"),
            ],
        );
        assert_eq!(
            after.since(&before),
            [
                "column users.email: text became citext",
                "index i is new (btree (email))",
                "policy agents.p is gone (was true)"
            ]
        );
        assert!(before.since(&before).is_empty());
    }

    #[test]
    fn allowed_changes_are_left_out_and_a_new_table_brings_its_columns() {
        let before = fingerprint(&[], &[("table users", "")]);
        let after = fingerprint(
            &["add_table"],
            &[
                ("table users", ""),
                ("table jobs", ""),
                ("column jobs.id", "bigint"),
                ("column users.x", "int"),
            ],
        );
        assert_eq!(after.since(&before), ["column users.x is new (int)"]);
    }

    #[test]
    fn what_is_gone_with_its_table_is_not_told_beside_it() {
        let objects = [
            ("view v", "definition 1"),
            ("column v.id", "bigint"),
            ("owner v", "me"),
            ("grant v anon", "SELECT"),
        ];
        let before = fingerprint(&[], &objects);
        assert_eq!(fingerprint(&[], &[]).since(&before), ["view v is gone (was definition 1)"]);
    }
}
