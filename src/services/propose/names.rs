//! What names say: which table `agent_id` means, which columns a product hangs on, which tables belong to tools.

use crate::domain::inspection::{ColumnFacts, TableFacts};

/// Tables in which migration tools keep their own accounts.
const TOOLS: [&str; 12] = [
    "schema_migrations",
    "ar_internal_metadata",
    "_prisma_migrations",
    "_sqlx_migrations",
    "__drizzle_migrations",
    "alembic_version",
    "django_migrations",
    "flyway_schema_history",
    "databasechangelog",
    "databasechangeloglock",
    "knex_migrations",
    "knex_migrations_lock",
];

/// Tables whose rows come and go.
const PASSING: [&str; 10] =
    ["session", "job", "queue", "cache", "lock", "token", "outbox", "tmp", "temp", "presence"];

/// Who a person is called in a column, where the table is `users`.
const PEOPLE: [&str; 11] = [
    "user",
    "owner",
    "author",
    "creator",
    "assignee",
    "sender",
    "recipient",
    "reviewer",
    "inviter",
    "member",
    "customer",
];

/// Texts of which a product has one for each row.
const NATURAL: [&str; 9] =
    ["email", "username", "slug", "handle", "sku", "fingerprint", "checksum", "subdomain", "domain"];

/// What there is never less than none of.
const AMOUNTS: [&str; 11] =
    ["price", "quantity", "qty", "size", "bytes", "seats", "stock", "total", "tokens", "weight", "duration"];

/// When a row was made: what an append-only table is as fresh as.
const BEGINNINGS: [&str; 6] =
    ["received_at", "created_at", "inserted_at", "occurred_at", "createdAt", "recorded_at"];

pub fn is_of_a_tool(table: &str) -> bool {
    TOOLS.contains(&table.to_lowercase().as_str())
}

pub fn is_passing(table: &str) -> bool {
    let table = table.to_lowercase();
    table.split('_').any(|word| PASSING.contains(&word.trim_end_matches('s')))
}

/// `user_id` → `user`, `userId` → `user`.
pub fn stem(column: &str) -> Option<String> {
    let stem = column.strip_suffix("_id").or_else(|| column.strip_suffix("Id"))?;
    (!stem.is_empty()).then(|| stem.to_owned())
}

/// The table that a column means by its name: `agent_id` → agents, `reply_to_user_id` → users, `owner_id` → users,
/// `parent_id` → the table itself. Only where its primary key is one column that holds the same.
pub fn meant<'a>(
    tables: &'a [TableFacts],
    table: &'a TableFacts,
    column: &ColumnFacts,
) -> Option<&'a TableFacts> {
    let stem = stem(&column.name)?;
    let fits = |other: &&TableFacts| match other.primary_key.as_slice() {
        [key] => other.column(key).is_some_and(|key| same_family(&key.type_name, &column.type_name)),
        _ => false,
    };
    if stem == "parent" {
        return Some(table).filter(fits);
    }
    let words: Vec<&str> = stem.split('_').collect();
    let named = (0..words.len()).find_map(|from| {
        let singular = words[from..].join("_");
        tables
            .iter()
            .find(|other| plurals(&singular).iter().any(|name| other.name.eq_ignore_ascii_case(name)))
    });
    let person = || {
        let last = words.last().copied().unwrap_or_default();
        let is_person = PEOPLE.contains(&last);
        // On Supabase people are in auth.users, and what is known of them in a table beside it.
        ["users", "user", "profiles", "profile"]
            .iter()
            .filter(|_| is_person)
            .find_map(|name| tables.iter().find(|other| other.name == *name))
    };
    named.or_else(person).filter(fits)
}

/// The product is broken where these are empty: addresses, references, the time a row was made.
pub fn is_critical(column: &str) -> bool {
    let lower = column.to_lowercase();
    lower == "email" || stem(column).is_some() || BEGINNINGS.contains(&column) || lower == "tenant"
}

/// Empty until something happens, or always by nature.
pub fn is_optional(column: &str) -> bool {
    let lower = column.to_lowercase();
    let event = lower.ends_with("_at") || column.ends_with("At") || lower.ends_with("_on");
    let word = |word: &str| {
        [
            "error",
            "note",
            "notes",
            "description",
            "comment",
            "comments",
            "deleted",
            "cancelled",
            "bio",
            "avatar",
        ]
        .contains(&word)
    };
    (event && !BEGINNINGS.contains(&column)) || lower.split('_').any(word)
}

/// A name that a product gives to one row only. References of another system end in `_id` and are texts.
pub fn is_natural_key(column: &ColumnFacts) -> bool {
    let lower = column.name.to_lowercase();
    let last = lower.rsplit('_').next().unwrap_or_default();
    let is_digest = ["sha256", "sha1", "hash", "key", "token", "code", "uuid", "number"].contains(&last);
    let foreign = is_text(&column.type_name) && stem(&column.name).is_some();
    NATURAL.contains(&lower.as_str()) || NATURAL.contains(&last) || (is_digest && lower != "key") || foreign
}

/// A number that would be wrong below zero.
pub fn is_amount(column: &ColumnFacts) -> bool {
    let numeric = ["smallint", "integer", "bigint", "real", "double precision"]
        .contains(&column.type_name.as_str())
        || column.type_name.starts_with("numeric");
    numeric && column.name.to_lowercase().split('_').any(|word| AMOUNTS.contains(&word))
}

pub fn is_address(column: &ColumnFacts) -> bool {
    let lower = column.name.to_lowercase();
    (is_text(&column.type_name) || column.type_name == "citext")
        && (lower == "email" || lower.ends_with("_email"))
}

pub fn beginning(table: &TableFacts) -> Option<&ColumnFacts> {
    BEGINNINGS.iter().find_map(|name| table.column(name)).filter(|c| c.type_name.starts_with("timestamp"))
}

pub fn is_text(type_name: &str) -> bool {
    type_name == "text" || type_name.starts_with("character varying")
}

/// `user` → users, user; `company` → companies; `box` → boxes.
fn plurals(singular: &str) -> Vec<String> {
    let mut names = vec![format!("{singular}s"), singular.to_owned(), format!("{singular}es")];
    if let Some(stem) = singular.strip_suffix('y') {
        names.push(format!("{stem}ies"));
    }
    names
}

fn same_family(a: &str, b: &str) -> bool {
    let family = |name: &str| match name {
        "smallint" | "integer" | "bigint" => "integer".to_owned(),
        name if is_text(name) => "text".to_owned(),
        name => name.to_owned(),
    };
    family(a) == family(b)
}
