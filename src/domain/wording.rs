//! How a measured value is said: sentences with their numbers, and numbers as people write them.

use serde::{Deserialize, Serialize};

use super::clock::{SignedDuration, humane};
use super::measurement::Unit;

/// The sentence around the value of one check, given by its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wording {
    /// `1 of 1,000` + `rows of users` + `has no row in user_credits`.
    Counted { one: String, many: String, has: String, have: String },
    /// `users has` + `990` + `rows`.
    Valued { before: String, after: String },
}

impl Default for Wording {
    fn default() -> Self {
        Self::counted("row", "rows", "breaks the rule", "break the rule")
    }
}

impl Wording {
    pub fn counted(one: &str, many: &str, has: &str, have: &str) -> Self {
        Self::Counted { one: one.into(), many: many.into(), has: has.into(), have: have.into() }
    }

    pub fn valued(before: &str, after: &str) -> Self {
        Self::Valued { before: before.into(), after: after.into() }
    }

    /// The fact, without a full stop: `1 of 1,000 rows of users has no row in user_credits`.
    pub fn say(&self, value: f64, unit: Unit, tested: Option<f64>) -> String {
        let said = quantity(value, unit);
        match self {
            Self::Counted { one, many, has, have } => {
                let verb = if value == 1.0 { has } else { have };
                match tested {
                    Some(tested) if tested > value => format!("{said} of {} {many} {verb}", number(tested)),
                    Some(tested) if tested == value && value > 1.0 => format!("all {said} {many} {verb}"),
                    _ => format!("{said} {} {verb}", if value == 1.0 { one } else { many }),
                }
            }
            Self::Valued { before, after } if after == "old" && value < 0.0 => {
                let before = before.strip_suffix(" is").unwrap_or(before);
                format!("{before} lies {} in the future", seconds(-value))
            }
            Self::Valued { before, after } => {
                let after = match (value == 1.0, after.as_str()) {
                    (true, "rows") => "row",
                    (_, after) => after,
                };
                [before.as_str(), &said, after]
                    .iter()
                    .filter(|part| !part.is_empty())
                    .copied()
                    .collect::<Vec<_>>()
                    .join(" ")
            }
        }
    }
}

/// What a threshold allows, from what breaks it: `> 0` allows `at most 0`.
pub fn allowed(broken_by: &str) -> String {
    let one = |rule: &str| {
        let words = [
            ("> ", "at most "),
            ("< ", "at least "),
            ("outside ", ""),
            ("not ", ""),
            ("drop > ", "a drop of at most "),
            ("rise > ", "a rise of at most "),
            ("new > ", "new ones: at most "),
        ];
        let found = words
            .iter()
            .find_map(|(before, after)| rule.strip_prefix(before).map(|rest| format!("{after}{rest}")));
        found.unwrap_or_else(|| format!("not {rule}"))
    };
    broken_by.split(", ").map(one).collect::<Vec<_>>().join(" and ")
}

/// The text with a capital at its beginning: a name such as `the sender` may begin a sentence.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A value with its unit, as a person writes it: `1,000`, `99.2%`, `3 h 20 min`.
pub fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Violations | Unit::Rows | Unit::Number => number(value),
        Unit::Percent => percent(value),
        Unit::Seconds => seconds(value),
    }
}

/// Thousands are set apart, at most four decimals are kept: `1,234,567`, `0.0125`, `-3.5`.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let rounded = format!("{:.4}", value.abs());
    let (whole, decimals) = rounded.split_once('.').unwrap_or((&rounded, ""));
    let decimals = decimals.trim_end_matches('0');
    let mut text = String::with_capacity(whole.len() * 4 / 3 + decimals.len() + 2);
    if value < 0.0 && rounded.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        text.push('-');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if !decimals.is_empty() {
        text.push('.');
        text.push_str(decimals);
    }
    text
}

/// `0.1%`. Very small ones are not rounded to nothing: a lost row of a million is not 0%.
pub fn percent(value: f64) -> String {
    match value.abs() {
        small if small > 0.0 && small < 0.01 => "<0.01%".to_owned(),
        small if small < 10.0 => format!("{}%", number((value * 100.0).round() / 100.0)),
        _ => format!("{}%", number((value * 10.0).round() / 10.0)),
    }
}

/// Seconds as a length of time; below a minute with at most one decimal, below a second in milliseconds.
pub fn seconds(value: f64) -> String {
    if value < 0.0 {
        return format!("-{}", seconds(-value));
    }
    if value > 0.0 && value < 0.9995 {
        return format!("{} ms", number((value * 1000.0).round()));
    }
    if value < 60.0 {
        return format!("{} s", number((value * 10.0).round() / 10.0));
    }
    #[expect(clippy::cast_possible_truncation, reason = "a length of time in seconds; saturates")]
    humane(SignedDuration::from_secs(value as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-1500.25, "-1,500.25"),
            (0.012_5, "0.0125"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn what_is_allowed_is_said_and_not_its_opposite() {
        for (broken_by, said) in [
            ("> 0", "at most 0"),
            ("< 5", "at least 5"),
            ("> 0.1% (1)", "at most 0.1% (1)"),
            ("drop > 1% (990)", "a drop of at most 1% (990)"),
            ("outside 3 to 5", "3 to 5"),
            ("not 5", "5"),
            ("not -1", "-1"),
            ("new > 0 (12)", "new ones: at most 0 (12)"),
            ("< 10, drop > 1% (990)", "at least 10 and a drop of at most 1% (990)"),
            ("something else", "not something else"),
        ] {
            assert_eq!(allowed(broken_by), said);
        }
    }

    #[test]
    fn names_begin_sentences() {
        assert_eq!(sentence("the sender"), "The sender");
        assert_eq!((sentence("Paddle"), sentence("")), ("Paddle".into(), String::new()));
    }

    #[test]
    fn percentages_keep_what_is_small() {
        for (value, text) in
            [(0.0, "0%"), (0.0001, "<0.01%"), (0.1, "0.1%"), (2.345, "2.35%"), (71.28, "71.3%")]
        {
            assert_eq!(percent(value), text);
        }
    }

    #[test]
    fn sentences_agree_in_number() {
        let orphans = Wording::counted("row of users", "rows of users", "has no credits", "have no credits");
        for (value, tested, text) in [
            (1.0, None, "1 row of users has no credits"),
            (2.0, None, "2 rows of users have no credits"),
            (1.0, Some(1000.0), "1 of 1,000 rows of users has no credits"),
            (0.0, Some(1000.0), "0 of 1,000 rows of users have no credits"),
            (7.0, Some(7.0), "all 7 rows of users have no credits"),
        ] {
            assert_eq!(orphans.say(value, Unit::Violations, tested), text);
        }
        assert_eq!(Wording::valued("users has", "rows").say(1.0, Unit::Rows, None), "users has 1 row");
        let age = Wording::valued("the newest received_at of webhook_events is", "old");
        assert_eq!(
            age.say(12_000.0, Unit::Seconds, None),
            "the newest received_at of webhook_events is 3 h 20 min old"
        );
        assert_eq!(
            age.say(-7_200.0, Unit::Seconds, None),
            "the newest received_at of webhook_events lies 2 h in the future"
        );
    }
}
