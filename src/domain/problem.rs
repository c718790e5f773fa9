//! One thing that a look at the catalog found wrong, and the object that it is about, so that what another check
//! says of the same object can be told from what is news.

use serde::{Deserialize, Serialize};

use super::measure::TableName;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub text: String,
    /// Unknown where the text comes from somebody's own query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Object>,
}

/// An object of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub kind: ObjectKind,
    /// As suites write it: with its schema where that is not `public`. Unknown where something is missed by its
    /// name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    pub name: String,
    /// The columns that it has to do with, as far as is known; of a condition all of its words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// It is not there at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Table,
    Column,
    Index,
    /// Foreign keys are constraints too.
    Constraint,
    Policy,
    /// Its `columns` are the functions that it calls.
    Trigger,
    Function,
}

impl ObjectKind {
    /// The word with which `drift` names it.
    fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Column => "column",
            Self::Index => "index",
            Self::Constraint => "constraint",
            Self::Policy => "policy",
            Self::Trigger => "trigger",
            Self::Function => "function",
        }
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self { text, about: None }
    }
}

impl Problem {
    pub fn about(text: String, object: Object) -> Self {
        Self { text, about: Some(object) }
    }

    /// Whether it says what a line of `drift` says: `object` is `column users.email`, `definition` what it was or is.
    pub fn tells(&self, object: &str, definition: &str) -> bool {
        let Some((kind, name)) = object.split_once(' ') else { return false };
        match &self.about {
            Some(about) if about.name.is_empty() => about.is_guard(kind, name, definition),
            Some(about) => {
                about.is_named(kind, name)
                    || about.is_described(kind, name, definition)
                    || about.takes_along(kind, name, definition)
                    // Who owns a table has every right to it.
                    || (kind == "grant" && self.text.contains(" belongs to ") && part_of(name, bare(&about.name)))
            }
            None => self.mentions(kind, name),
        }
    }

    /// Somebody's own words that are about a function.
    pub fn is_of_function(&self, signature: &str) -> bool {
        let close = |text: &str| text.replace(' ', "");
        close(&self.text).contains(&close(&format!("function {signature}")))
    }

    /// Somebody's own words that name the object.
    fn mentions(&self, kind: &str, name: &str) -> bool {
        let close = |text: &str| text.replace(' ', "");
        if matches!(kind, "grant" | "publication") {
            let said = words(&self.text);
            return words(name).iter().all(|word| said.contains(word));
        }
        close(&self.text).contains(&close(&format!("{kind} {name}")))
    }
}

impl Object {
    pub fn new(kind: ObjectKind, name: &str) -> Self {
        Self { kind, table: None, name: name.to_owned(), columns: Vec::new(), missing: false }
    }

    #[must_use]
    pub fn of(self, table: String) -> Self {
        Self { table: Some(table), ..self }
    }

    #[must_use]
    pub fn over(self, columns: Vec<String>) -> Self {
        Self { columns, ..self }
    }

    #[must_use]
    pub fn gone(self) -> Self {
        Self { missing: true, ..self }
    }

    /// The same object, whatever is said of it.
    pub fn is(&self, other: &Self) -> bool {
        let tables = self.table.as_ref().zip(other.table.as_ref()).is_none_or(|(a, b)| a == b);
        self.kind == other.kind && self.missing == other.missing && tables && self.name == other.name
    }

    /// It belongs to the table, going by what is known or by how PostgreSQL names things.
    pub fn belongs_to(&self, table: &str) -> bool {
        match &self.table {
            Some(own) => own == table,
            None => self.kind != ObjectKind::Function && self.name.starts_with(&format!("{}_", bare(table))),
        }
    }

    /// It has to do with a column of its table.
    pub fn has_to_do_with(&self, column: &str) -> bool {
        match self.columns.is_empty() {
            false => self.columns.iter().any(|own| own == column),
            true => format!("_{}_", self.name).contains(&format!("_{column}_")),
        }
    }

    fn is_named(&self, kind: &str, name: &str) -> bool {
        match self.kind {
            // A table's owner is told with it.
            ObjectKind::Table => matches!(kind, "table" | "owner") && name == bare(&self.name),
            // A key has an index of its name.
            ObjectKind::Constraint if kind == "index" => self.is_called(name),
            own if kind != own.word() => false,
            ObjectKind::Function => name.split('(').next() == self.name.split('(').next(),
            _ => self.is_called(name),
        }
    }

    /// `users.users_email_key`.
    fn is_called(&self, name: &str) -> bool {
        match self.table.as_deref().map(bare) {
            Some(table) => {
                name.strip_prefix(table).and_then(|rest| rest.strip_prefix('.')) == Some(&self.name)
            }
            None => name == self.name || name.ends_with(&format!(".{}", self.name)),
        }
    }

    /// An index that was asked for by what it does.
    fn is_described(&self, kind: &str, name: &str, definition: &str) -> bool {
        let columns = format!("({})", self.columns.join(", "));
        self.kind == ObjectKind::Index
            && matches!(kind, "index" | "constraint")
            && !self.columns.is_empty()
            && self.table.as_deref().is_some_and(|table| part_of(name, bare(table)))
            && definition.replace('"', "").contains(&columns)
    }

    /// Without a name it is whatever keeps these columns right.
    fn is_guard(&self, kind: &str, name: &str, definition: &str) -> bool {
        let own = self.table.as_deref().map(bare).and_then(|table| name.strip_prefix(table));
        let keeps = match self.kind {
            ObjectKind::Index => {
                matches!(kind, "index" | "constraint")
                    && ["UNIQUE", "PRIMARY KEY"].iter().any(|word| definition.contains(word))
            }
            // What somebody sees of a table hangs on these.
            ObjectKind::Policy => {
                return match kind {
                    "policy" => own.is_some_and(|rest| rest.starts_with('.')),
                    "table" => own == Some(""),
                    _ => false,
                };
            }
            _ => kind == "constraint",
        };
        let said = words(definition);
        keeps
            && own.is_some_and(|rest| rest.starts_with('.'))
            && self.columns.iter().all(|column| said.contains(&column.as_str()))
    }

    /// What goes with a table or a column that is gone.
    fn takes_along(&self, kind: &str, name: &str, definition: &str) -> bool {
        if !self.missing {
            return false;
        }
        match (self.kind, &self.table) {
            (ObjectKind::Table, _) => {
                let own = bare(&self.name);
                part_of(name, own)
                    || (kind == "publication" && name.ends_with(&format!(".{own}")))
                    || (kind == "sequence" && name.starts_with(&format!("{own}_")))
            }
            // A function that was dropped takes its triggers along; where the trigger tells it, it tells the function.
            (ObjectKind::Trigger, _) => self.columns.iter().any(|function| {
                matches!(kind, "function" | "grant") && name.starts_with(&format!("{function}("))
            }),
            (ObjectKind::Column, Some(table)) => {
                let dependent = matches!(kind, "index" | "constraint" | "policy" | "trigger" | "view");
                let own = part_of(name, bare(table))
                    || kind == "view"
                    || definition.contains(&format!("REFERENCES {table}"));
                (dependent && own && words(definition).contains(&self.name.as_str()))
                    || (kind == "grant" && name.starts_with(&format!("{}.{} ", bare(table), self.name)))
                    // The sequence behind it.
                    || (kind == "sequence" && name.starts_with(&format!("{}_{}", bare(table), self.name)))
            }
            (ObjectKind::Function, _) => {
                let own = self.name.split('(').next().unwrap_or(&self.name);
                (kind == "trigger" && words(definition).contains(&own))
                    || (kind == "grant" && name.starts_with(&format!("{own}(")))
            }
            _ => false,
        }
    }
}

/// A table as suites write it.
pub fn place(schema: &str, table: &str) -> String {
    match schema {
        "" | "public" | "main" => table.to_owned(),
        schema => format!("{schema}.{table}"),
    }
}

/// The same for a table that a suite names.
pub fn place_of(table: &TableName) -> String {
    place(table.schema.as_deref().unwrap_or_default(), &table.name)
}

/// `users.email` and `users anon` are parts of users.
fn part_of(name: &str, table: &str) -> bool {
    name.strip_prefix(table).is_some_and(|rest| rest.starts_with('.') || rest.starts_with(' '))
}

fn bare(table: &str) -> &str {
    table.rsplit('.').next().unwrap_or(table)
}

/// The words of an SQL text, with what is quoted as words too.
pub fn words(sql: &str) -> Vec<&str> {
    sql.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_is_gone_takes_its_index_along() {
        let gone = Object::new(ObjectKind::Column, "email").of("users".to_owned()).gone();
        let problem = Problem::about("users.email does not exist".to_owned(), gone);
        for (object, definition, told) in [
            ("column users.email", "text", true),
            ("column users.emails", "text", false),
            (
                "index users.users_email_key",
                "CREATE UNIQUE INDEX users_email_key ON users USING btree (email)",
                true,
            ),
            (
                "index users.users_name_key",
                "CREATE UNIQUE INDEX users_name_key ON users USING btree (name)",
                false,
            ),
            ("index staff.staff_email_key", "CREATE UNIQUE INDEX x ON staff USING btree (email)", false),
            ("grant users.email anon", "SELECT", true),
        ] {
            assert_eq!(problem.tells(object, definition), told, "{object}");
        }
    }

    #[test]
    fn own_words_name_what_they_are_about() {
        let said = |text: &str| Problem::from(text.to_owned());
        assert!(said("anon may SELECT user_credits").tells("grant user_credits anon", "SELECT"));
        assert!(!said("anon may SELECT user_credits").tells("grant users anon", "SELECT"));
        assert!(said("view totals shows anon all rows").tells("view totals", "definition 1"));
        assert!(said("function f(uuid,integer) is SECURITY DEFINER").tells("function f(uuid, integer)", ""));
    }

    #[test]
    fn names_say_what_is_not_known() {
        let index = Object::new(ObjectKind::Index, "users_email_key").gone();
        assert!(index.belongs_to("users") && index.has_to_do_with("email") && !index.has_to_do_with("mail"));
        assert!(!index.belongs_to("staff"));
    }
}
