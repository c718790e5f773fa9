use schemars::JsonSchema;
use serde::Deserialize;

use super::{Draft, Kind, Natural, Scope, Section};
use crate::domain::clock::{SignedDuration, humane};
use crate::domain::logs::{LogFilter, LogLevel, Matcher};
use crate::domain::measure::What;
use crate::domain::measurement::Unit;
use crate::domain::signal::{LogCount as Count, Signal};
use crate::domain::wording::Wording;
use crate::suite::amount::Length;
use crate::suite::read::At;
use crate::suite::statuses::Statuses;

/// How many lines of a log drain match
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogCount {
    /// A regular expression that is found somewhere in the line's message; `(?i)` in front ignores case
    pattern: Option<At<String>>,
    /// Only lines of this level or a worse one
    level: Option<LogLevel>,
    /// Only lines of requests with these statuses: `500`, `5xx`, `[401, 403]`
    status: Option<Statuses>,
    /// The last lines that count, `10m` where nothing else is said; never those from before the deploy
    over: Option<At<Length>>,
    /// Counts lines a minute in place of lines
    #[serde(default)]
    per_minute: bool,
    /// Which drain of `signals.logs`; may be left out where there is one
    source: Option<String>,
}

/// The shortest and longest look back: buckets are 10 seconds long and kept for a day.
const OVER: std::ops::RangeInclusive<u32> = 60..=86_400;

impl Kind for LogCount {
    const NAME: &'static str = "log_count";
    const SECTION: Section = Section::Signals;
    const UNIT: Unit = Unit::Number;
    const SHORT: Option<&'static str> = Some("pattern");

    fn natural() -> Natural {
        Natural::to_be_stated(2)
    }

    fn drafts(self, scope: &Scope<'_>) -> Vec<Draft> {
        let over = self.over.as_ref().map_or(600, |over| over.value.0);
        if let Some(written) = self.over.as_ref().filter(|_| !OVER.contains(&over)) {
            scope.problems.report(written.at, "`over` is between 1m and 1d");
        }
        let filter = LogFilter {
            pattern: self.pattern.as_ref().map(|pattern| pattern.value.clone()),
            level: self.level,
            status: self.status.map(|status| status.0).unwrap_or_default(),
        };
        if filter.pattern.is_none() && filter.level.is_none() && filter.status.is_empty() {
            scope.problems.report(scope.at, "say which lines count: a `pattern`, a `level` or a `status`");
        }
        if let (Err(error), Some(pattern)) = (Matcher::new(&filter), &self.pattern) {
            // Only the last line says what is wrong; the others draw the place.
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            scope.problems.report(pattern.at, format!("this is no regular expression: {why}"));
        }
        let last = humane(SignedDuration::from_secs(over.into()));
        let which = which(&filter);
        let wording = if self.per_minute {
            Wording::valued("", &format!("lines a minute {which}in the last {last}"))
        } else {
            let said = format!("{which}in the last {last}");
            Wording::counted("log line", "log lines", &format!("was {said}"), &format!("were {said}"))
        };
        let count = Count { source: self.source, filter, over, per_minute: self.per_minute };
        let what = What::Signal(Signal::LogCount(count));
        vec![Draft { suffix: String::new(), subject: String::new(), what, wording }]
    }
}

/// `like "Unauthorised" at level error or worse `.
fn which(filter: &LogFilter) -> String {
    let mut text = String::new();
    if let Some(pattern) = &filter.pattern {
        text.push_str(&format!("like `{pattern}` "));
    }
    if let Some(level) = filter.level {
        text.push_str(&format!("at level {} or worse ", level.as_str()));
    }
    if !filter.status.is_empty() {
        let ranges: Vec<String> = filter
            .status
            .iter()
            .map(|(low, high)| if low == high { low.to_string() } else { format!("{low} to {high}") })
            .collect();
        text.push_str(&format!("with status {} ", ranges.join(", ")));
    }
    text
}
