//! Comparing a policy with what it must be: its command, its roles and its conditions.

use sqlparser::tokenizer::Token;

use crate::domain::measure::PolicyExpectation;
use crate::target::plan::sql::Dialect;
use crate::target::plan::text::tokens;

use super::policies::Policy;

/// One phrase for each difference, to follow the policy's name.
pub fn differences(found: &Policy, expected: &PolicyExpectation) -> Vec<String> {
    let mut differences = Vec::new();
    let command = command(found);
    let kind = |restrictive| if restrictive { "restrictive" } else { "permissive" };
    if found.permissive == expected.restrictive {
        differences.push(format!("is {}, not {}", kind(!found.permissive), kind(expected.restrictive)));
    }
    if let Some(wanted) = &expected.command
        && wanted != command
    {
        differences.push(format!("is for {command}, not {wanted}"));
    }
    if let Some(wanted) = &expected.roles {
        let sorted = |roles: &[String]| {
            let mut roles = roles.to_vec();
            roles.sort();
            roles.join(", ")
        };
        if sorted(wanted) != sorted(&found.roles) {
            differences.push(format!("is for the role {}, not {}", sorted(&found.roles), sorted(wanted)));
        }
    }
    for (clause, wanted, found) in
        [("USING", &expected.using, &found.using), ("WITH CHECK", &expected.with_check, &found.check)]
    {
        if let Some(wanted) = wanted {
            match found {
                Some(found) if terms(found) == terms(wanted) => {}
                Some(found) => differences.push(format!("has {clause} {}, not {wanted}", spaced(found))),
                None => differences.push(format!("has no {clause}")),
            }
        }
    }
    differences
}

/// `SELECT to anon USING (true)`.
pub fn summary(found: &Policy) -> String {
    let conditions = [("USING", &found.using), ("WITH CHECK", &found.check)];
    let said: Vec<String> = conditions
        .iter()
        .filter_map(|(clause, condition)| Some(format!(" {clause} {}", spaced(condition.as_deref()?))))
        .collect();
    format!("{} to {}{}", command(found), found.roles.join(", "), said.concat())
}

fn command(found: &Policy) -> &'static str {
    match found.command.as_str() {
        "r" => "SELECT",
        "a" => "INSERT",
        "w" => "UPDATE",
        "d" => "DELETE",
        _ => "ALL",
    }
}

fn spaced(expression: &str) -> String {
    expression.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of an expression without white space and without parentheses around all of it. Those inside
/// decide what is meant, so they count.
pub fn terms(expression: &str) -> Vec<String> {
    let mut terms: Vec<String> = tokens(expression, Dialect::Postgres)
        .into_iter()
        .filter_map(|token| match token {
            Token::Whitespace(_) => None,
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
            other => Some(other.to_string()),
        })
        .collect();
    while wrapped(&terms) {
        terms.remove(0);
        terms.pop();
    }
    terms
}

/// Whether the first parenthesis closes at the very end.
fn wrapped(terms: &[String]) -> bool {
    let mut depth = 0;
    for (index, term) in terms.iter().enumerate() {
        match term.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index > 0 && index + 1 == terms.len() && terms[0] == "(";
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_matter_and_grouping_does() {
        for (a, b, same) in [
            ("(id = auth.uid())", "id = AUTH.uid()", true),
            ("((a) )", "a", true),
            ("(a = 1) AND (b = 2)", "((a = 1) AND (b = 2))", true),
            ("(a OR b) AND c", "a OR (b AND c)", false),
            ("id = 'X'", "id = 'x'", false),
        ] {
            assert_eq!(terms(a) == terms(b), same, "{a} and {b}");
        }
    }
}
