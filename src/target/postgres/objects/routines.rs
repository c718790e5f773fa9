//! `functions` and `triggers`: the code that lives in the database is there, the right one, and switched on.

use serde::Deserialize;

use crate::domain::measurement::Measured;
use crate::domain::problem::{Object, ObjectKind, Problem, place};

use super::{Ask, ObjectError};

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
    /// None for a procedure.
    returns: Option<String>,
    definer: bool,
    /// It sets its own search path, so that nobody slips in a table of theirs.
    #[serde(default)]
    search_path: bool,
}

const FUNCTIONS: &str = "
SELECT json_build_object('name', p.proname, 'arguments', oidvectortypes(p.proargtypes),
  'returns', pg_get_function_result(p.oid), 'definer', p.prosecdef,
  'search_path', EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c LIKE 'search_path=%'))::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1 ORDER BY 1";

/// What a suite says of one function: `name`, `name(types)`,
/// `name(types) -> type security definer set search_path`.
struct WantedFunction<'a> {
    name: &'a str,
    /// The name with the types, where they are given.
    signature: Option<&'a str>,
    returns: Option<&'a str>,
    definer: Option<bool>,
    search_path: bool,
}

impl<'a> WantedFunction<'a> {
    fn parse(text: &'a str) -> Self {
        let mut definer = None;
        let ends = |text: &'a str, words: &str| {
            let (before, end) = text.split_at_checked(text.len().saturating_sub(words.len()))?;
            end.eq_ignore_ascii_case(words).then(|| before.trim_end())
        };
        let mut rest = text.trim();
        let path = ends(rest, "set search_path");
        rest = path.unwrap_or(rest);
        for (words, is) in [("security definer", true), ("security invoker", false)] {
            if let Some(before) = ends(rest, words) {
                (rest, definer) = (before, Some(is));
            }
        }
        let (signature, returns) = match rest.split_once("->") {
            Some((signature, returns)) => (signature.trim(), Some(returns.trim())),
            None => (rest, None),
        };
        Self {
            name: signature.split('(').next().unwrap_or(signature).trim(),
            signature: signature.contains('(').then_some(signature),
            returns: returns.filter(|text| !text.is_empty()),
            definer,
            search_path: path.is_some(),
        }
    }

    /// What is wrong, if anything.
    fn problem(&self, found: &[Function]) -> Option<String> {
        let compact = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
        let signature = |f: &Function| format!("{}({})", f.name, f.arguments);
        let same: Vec<&Function> = found.iter().filter(|f| f.name == self.name).collect();
        let fits =
            |f: &&&Function| self.signature.is_none_or(|wanted| compact(&signature(f)) == compact(wanted));
        let called = self.signature.unwrap_or(self.name);
        let candidates: Vec<&&Function> = same.iter().filter(fits).collect();
        if candidates.is_empty() {
            let others: Vec<String> = same.iter().map(|f| signature(f)).collect();
            return Some(match others.is_empty() {
                true => format!("function {called} does not exist"),
                false => format!("function {called} does not exist, but {} does", others.join(", ")),
            });
        }
        let differs = |f: &Function| {
            let returns = f.returns.as_deref().unwrap_or("nothing");
            if let Some(wanted) = self.returns
                && compact(wanted) != compact(returns)
            {
                return Some(format!("function {called} returns {returns}, not {wanted}"));
            }
            let security = |definer| if definer { "SECURITY DEFINER" } else { "SECURITY INVOKER" };
            if let Some(wanted) = self.definer.filter(|wanted| *wanted != f.definer) {
                return Some(format!(
                    "function {called} is {}, not {}",
                    security(f.definer),
                    security(wanted)
                ));
            }
            (self.search_path && !f.search_path).then(|| {
                format!(
                    "function {called} no longer sets its search_path: ALTER FUNCTION it SET search_path = ''"
                )
            })
        };
        let differences: Vec<Option<String>> = candidates.iter().map(|f| differs(f)).collect();
        if differences.iter().any(Option::is_none) { None } else { differences.into_iter().flatten().next() }
    }
}

pub async fn functions(ask: &mut Ask<'_>, schema: &str, require: &[String]) -> Result<Measured, ObjectError> {
    ask.need_schema(schema).await?;
    let found: Vec<Function> = ask.rows(FUNCTIONS, &[schema]).await?;
    let problem = |wanted: &String| {
        let wanted = WantedFunction::parse(wanted);
        let text = wanted.problem(&found)?;
        let about = Object::new(ObjectKind::Function, wanted.signature.unwrap_or(wanted.name));
        let about = if found.iter().any(|f| f.name == wanted.name) { about } else { about.gone() };
        Some(Problem::about(text, about))
    };
    Ok(Measured::of_problems(require.iter().filter_map(problem)))
}

#[derive(Deserialize)]
struct Trigger {
    name: String,
    table: String,
    /// O and A fire, R only in replication, D not at all.
    fires: String,
    function: String,
}

const TRIGGERS: &str = "
SELECT json_build_object('name', t.tgname, 'table', c.relname, 'fires', t.tgenabled, 'function', p.proname)::text
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid
WHERE n.nspname = $1 AND NOT t.tgisinternal ORDER BY 1";

/// A required trigger is a name, or `name -> function`.
pub async fn triggers(
    ask: &mut Ask<'_>,
    schema: &str,
    require: &[(String, Vec<String>)],
) -> Result<Measured, ObjectError> {
    ask.need_schema(schema).await?;
    let found: Vec<Trigger> = ask.rows(TRIGGERS, &[schema]).await?;
    let about = |table: &str, name: &str| Object::new(ObjectKind::Trigger, name).of(place(schema, table));
    let mut problems: Vec<Problem> = found
        .iter()
        .filter_map(|t| {
            let text = match t.fires.as_str() {
                "D" => format!("trigger {} on {} is disabled", t.name, t.table),
                "R" => format!("trigger {} on {} fires in replication only", t.name, t.table),
                _ => return None,
            };
            Some(Problem::about(text, about(&t.table, &t.name)))
        })
        .collect();
    for (table, wanted) in require {
        for wanted in wanted {
            let (name, function) = match wanted.split_once("->") {
                Some((name, function)) => (name.trim(), Some(function.trim().trim_end_matches("()"))),
                None => (wanted.as_str(), None),
            };
            match found.iter().find(|t| t.table == *table && t.name == name) {
                None => {
                    let calls = function.map(str::to_owned).into_iter().collect();
                    let text = format!("trigger {name} on {table} does not exist");
                    problems.push(Problem::about(text, about(table, name).over(calls).gone()));
                }
                Some(t) => {
                    if let Some(function) = function.filter(|function| *function != t.function) {
                        let text = format!("trigger {name} on {table} calls {}, not {function}", t.function);
                        problems.push(Problem::about(text, about(table, name)));
                    }
                }
            }
        }
    }
    Ok(Measured::of_problems(problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_held_against_all_that_is_said_of_it() {
        let found = [Function {
            name: "deduct".into(),
            arguments: "uuid, integer".into(),
            returns: Some("boolean".into()),
            definer: true,
            search_path: false,
        }];
        for (wanted, problem) in [
            ("deduct", None),
            ("deduct(uuid,integer)", None),
            ("deduct(uuid, integer) -> boolean SECURITY DEFINER", None),
            ("deduct security definer", None),
            ("refund", Some("function refund does not exist")),
            ("deduct(text)", Some("function deduct(text) does not exist, but deduct(uuid, integer) does")),
            ("deduct -> void", Some("function deduct returns boolean, not void")),
            ("deduct security invoker", Some("function deduct is SECURITY DEFINER, not SECURITY INVOKER")),
            (
                "deduct security definer set search_path",
                Some(
                    "function deduct no longer sets its search_path: ALTER FUNCTION it SET search_path = ''",
                ),
            ),
        ] {
            assert_eq!(WantedFunction::parse(wanted).problem(&found).as_deref(), problem, "{wanted}");
        }
    }
}
