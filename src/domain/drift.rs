//! What changed in a schema between two readings of its catalog.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

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
                let parent_is_new = verb == "add" && self.is_part_of_a_new_table(name, before);
                let allowed = self.allow.contains(&format!("{verb}_{kind}"))
                    || (parent_is_new && self.allow.contains("add_table"));
                (!allowed).then_some(line)
            })
            .collect()
    }

    /// Columns, indexes and the like of a table that is itself new come with it.
    fn is_part_of_a_new_table(&self, name: &str, before: &Self) -> bool {
        let Some((_, of)) = name.split_once(' ') else { return false };
        self.objects.keys().filter(|key| !before.objects.contains_key(*key)).any(|key| {
            key.strip_prefix("table ").is_some_and(|table| {
                of.strip_prefix(table)
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
}
