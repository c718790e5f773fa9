//! `rls`: row-level security is on, the policies that must exist do, none is always true or always false.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::domain::measure::PolicyExpectation;
use crate::domain::measurement::Measured;
use crate::domain::problem::{Object, ObjectKind, Problem, place};

use super::policy_truth::constant;
use super::{Ask, ObjectError, policy_terms};
use crate::target::plan::sql::ident;

#[derive(Deserialize)]
struct Table {
    name: String,
    enabled: bool,
    /// The clients' roles to whom it belongs, so that its policies do not hold for them.
    owners: Vec<String>,
    /// The clients' roles that no policy holds for.
    bypassing: Vec<String>,
    not_null: Vec<String>,
    policies: Vec<Policy>,
}

#[derive(Deserialize)]
pub struct Policy {
    pub name: String,
    pub permissive: bool,
    /// r, a, w, d or * as in `pg_policy.polcmd`.
    pub command: String,
    pub roles: Vec<String>,
    pub using: Option<String>,
    pub check: Option<String>,
    /// Every role it is for sees all rows anyway, or is our own.
    harmless: bool,
}

/// `anon` and `authenticated` are the roles that PostgREST gives to clients.
const TABLES: &str = "
SELECT json_build_object('name', c.relname, 'enabled', c.relrowsecurity,
  'owners', coalesce((SELECT json_agg(o.rolname ORDER BY o.rolname) FROM pg_roles o
      WHERE o.rolname IN ('anon', 'authenticated') AND NOT (o.rolbypassrls OR o.rolsuper)
        AND NOT c.relforcerowsecurity AND pg_has_role(o.oid, c.relowner, 'USAGE')), '[]'),
  'bypassing', coalesce((SELECT json_agg(o.rolname ORDER BY o.rolname) FROM pg_roles o
      WHERE o.rolname IN ('anon', 'authenticated') AND (o.rolbypassrls OR o.rolsuper)), '[]'),
  'not_null', coalesce((SELECT json_agg(a.attname) FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnotnull AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'policies', coalesce((SELECT json_agg(json_build_object('name', p.polname, 'permissive', p.polpermissive,
      'command', p.polcmd,
      'roles', (SELECT json_agg(coalesce(o.rolname, 'public') ORDER BY o.rolname)
          FROM unnest(p.polroles) AS r LEFT JOIN pg_roles o ON o.oid = r),
      'using', pg_get_expr(p.polqual, p.polrelid),
      'check', pg_get_expr(p.polwithcheck, p.polrelid),
      'harmless', NOT EXISTS (SELECT FROM unnest(p.polroles) AS r LEFT JOIN pg_roles o ON o.oid = r
          WHERE r = 0 OR NOT (o.rolbypassrls OR o.rolsuper OR o.rolname = session_user))) ORDER BY p.polname)
    FROM pg_policy p WHERE p.polrelid = c.oid), '[]'))::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
ORDER BY c.relname";

/// What a schema's row-level security must be.
pub struct Wanted<'a> {
    /// Only these tables; all of them where empty.
    pub tables: &'a [String],
    /// Tables that may be open and policies that may be constant.
    pub allow: &'a [String],
    pub require: &'a [(String, Vec<String>)],
    pub policies: &'a [(String, Vec<(String, PolicyExpectation)>)],
    /// There must be no other policies than those that are named.
    pub only: bool,
}

impl Wanted<'_> {
    fn names(&self, table: &str, policy: &str) -> bool {
        let required = self.require.iter().filter(|(of, _)| of == table).flat_map(|(_, names)| names);
        let described = self.policies.iter().filter(|(of, _)| of == table).flat_map(|(_, policies)| policies);
        required.chain(described.map(|(name, _)| name)).any(|name| name == policy)
    }
}

pub async fn rls(ask: &mut Ask<'_>, schema: &str, wanted: Wanted<'_>) -> Result<Measured, ObjectError> {
    let Wanted { tables: only, allow, require, policies, .. } = wanted;
    ask.need_schema(schema).await?;
    let tables: Vec<Table> = ask.rows(TABLES, &[schema]).await?;
    let mut problems: Vec<Problem> = Vec::new();
    let known = |name: &str| tables.iter().find(|t| t.name == name);
    let table_is =
        |name: &str, text: String| Problem::about(text, Object::new(ObjectKind::Table, &place(schema, name)));
    let policy_is = |table: &str, name: &str, text: String| {
        Problem::about(text, Object::new(ObjectKind::Policy, name).of(place(schema, table)))
    };
    let no_table = |name: &str| {
        let about = Object::new(ObjectKind::Table, &place(schema, name)).gone();
        Problem::about(format!("table {name} does not exist"), about)
    };
    problems.extend(only.iter().filter(|name| known(name).is_none()).map(|name| no_table(name)));
    for role in tables.iter().flat_map(|table| &table.bypassing).collect::<BTreeSet<_>>() {
        let text = format!("no policy holds for {role}: ALTER ROLE {} NOBYPASSRLS NOSUPERUSER", ident(role));
        problems.push(text.into());
    }
    let (mut closed, mut constant) = (Vec::new(), Vec::new());
    for table in tables.iter().filter(|t| only.is_empty() || only.contains(&t.name)) {
        if !table.enabled && !allow.contains(&table.name) {
            let text = format!("row-level security is off on {}", table.name);
            problems.push(table_is(&table.name, text));
        }
        if table.enabled && table.policies.is_empty() {
            closed.push(table.name.as_str());
        }
        for owner in &table.owners {
            let text = format!("{} belongs to {owner}, for whom its policies do not hold", table.name);
            problems.push(table_is(&table.name, text));
        }
        if table.enabled && !table.policies.is_empty() && table.policies.iter().all(|p| !p.permissive) {
            let text = format!("every policy on {} is restrictive, so that nobody sees a row", table.name);
            problems.push(table_is(&table.name, text));
        }
        for policy in &table.policies {
            let named = format!("{}.{}", table.name, policy.name);
            if policy.harmless || allow.contains(&policy.name) || allow.contains(&named) {
                continue;
            }
            if let Some(problem) = verdicts(ask, schema, table, policy).await? {
                constant.push((table.name.as_str(), policy.name.as_str()));
                problems.push(policy_is(&table.name, &policy.name, problem));
            } else if wanted.only && !wanted.names(&table.name, &policy.name) {
                let (name, of, what) = (&policy.name, &table.name, policy_terms::summary(policy));
                let text = format!("policy \"{name}\" on {of} is none of those that the suite names: {what}");
                problems.push(policy_is(of, name, text));
            }
        }
    }
    for (name, policies) in require {
        let Some(table) = known(name) else {
            problems.push(no_table(name));
            continue;
        };
        for policy in policies.iter().filter(|p| !table.policies.iter().any(|known| known.name == **p)) {
            let text = format!("policy \"{policy}\" on {name} does not exist");
            problems.push(policy_is(name, policy, text));
        }
    }
    for (name, expected) in policies {
        let Some(table) = known(name) else {
            problems.push(no_table(name));
            continue;
        };
        for (policy, expectation) in expected {
            let title = format!("policy \"{policy}\" on {name}");
            match table.policies.iter().find(|known| known.name == *policy) {
                None => problems.push(policy_is(name, policy, format!("{title} does not exist"))),
                // What is wrong with it has been said.
                Some(_) if constant.contains(&(name.as_str(), policy.as_str())) => {}
                Some(found) => problems.extend(
                    policy_terms::differences(found, expectation)
                        .into_iter()
                        .map(|d| policy_is(name, policy, format!("{title} {d}"))),
                ),
            }
        }
    }
    let mut measured = Measured::of_problems(problems);
    if measured.problems.is_empty() && !closed.is_empty() {
        measured.detail =
            Some(format!("without any policy, closed to all but bypassing roles: {}", closed.join(", ")));
    }
    Ok(measured)
}

/// What is wrong with one policy.
async fn verdicts(
    ask: &mut Ask<'_>,
    schema: &str,
    table: &Table,
    policy: &Policy,
) -> Result<Option<String>, ObjectError> {
    let mut conditions = Vec::new();
    if policy.command != "a" {
        conditions.push(("USING", policy.using.as_deref()));
    }
    if matches!(policy.command.as_str(), "a" | "w" | "*") && policy.check.is_some() {
        conditions.push(("WITH CHECK", policy.check.as_deref()));
    }
    for (clause, expression) in conditions {
        // Without an expression a policy allows everything.
        let expression = expression.unwrap_or("true");
        let constant = match constant(expression, &table.not_null) {
            None if may_fold(expression) => folded(ask, schema, &table.name, expression).await?,
            known => known,
        };
        let (name, of) = (&policy.name, &table.name);
        match constant {
            Some(true) if policy.permissive => {
                return Ok(Some(format!(
                    "policy \"{name}\" on {of} lets every row through: {clause} ({expression})"
                )));
            }
            Some(false) => {
                return Ok(Some(format!(
                    "policy \"{name}\" on {of} lets no row through: {clause} ({expression})"
                )));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Only an expression with a constant in it can fold to one.
fn may_fold(expression: &str) -> bool {
    let lower = expression.to_lowercase();
    ["true", "false", "null", " or "].iter().any(|word| lower.contains(word))
        || !lower.contains(|c: char| c.is_alphabetic())
}

/// What the planner folds the expression to. Planning reads nothing.
async fn folded(
    ask: &mut Ask<'_>,
    schema: &str,
    table: &str,
    expression: &str,
) -> Result<Option<bool>, ObjectError> {
    let sql = format!(
        "EXPLAIN (FORMAT JSON, COSTS OFF) SELECT 1 FROM {}.{} WHERE (\n{expression}\n)",
        ident(schema),
        ident(table)
    );
    let Ok(plans) = ask.rows_json(&sql).await else { return Ok(None) };
    let plan = &plans[0]["Plan"];
    Ok(if plan["One-Time Filter"] == "false" {
        Some(false)
    } else if plan["Node Type"] == "Seq Scan" && plan.get("Filter").is_none() {
        Some(true)
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_constant_is_asked_of_the_planner() {
        assert!(
            may_fold("(1 = 1)") && may_fold("((id = auth.uid()) OR true)") && !may_fold("(id = auth.uid())")
        );
    }
}
