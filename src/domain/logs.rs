//! Lines of a log drain: what the providers send, and which lines a check counts. Lines are looked at once
//! and never kept.

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::{SignedDuration, Timestamp};

/// Who sends, and so where in an event the text, the level and the status stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Vercel,
    Supabase,
    /// One JSON object, or plain text, for each line.
    Ndjson,
}

/// How bad a line says that it is; a missing level is `Info`.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warning,
    Error,
    Fatal,
}

impl LogLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// The words of the providers, of PostgreSQL and of common loggers.
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "trace" | "debug" | "debug1" | "debug2" | "debug3" | "debug4" | "debug5" => Self::Debug,
            "info" | "log" | "notice" | "information" => Self::Info,
            "warn" | "warning" => Self::Warning,
            "error" | "err" => Self::Error,
            "fatal" | "panic" | "critical" | "emergency" => Self::Fatal,
            _ => return None,
        })
    }
}

/// What of a line matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    pub message: String,
    pub level: LogLevel,
    pub status: Option<u16>,
    /// When it was written, where it says so.
    pub at: Option<Timestamp>,
}

/// The lines of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    pub lines: Vec<Line>,
    /// Entries that are no JSON object.
    pub unreadable: usize,
}

/// Why a signed body holds no lines at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is neither a JSON array nor one JSON object for each line")]
pub struct NotLines;

/// Reads a JSON array, or one JSON object for each line; a broken entry does not lose the others.
pub fn parse(format: LogFormat, body: &[u8]) -> Result<Lines, NotLines> {
    let body = body.trim_ascii();
    let mut read = Lines::default();
    if body.first() == Some(&b'[') {
        let entries: Vec<Value> = serde_json::from_slice(body).map_err(|_| NotLines)?;
        for entry in &entries {
            read.take(format, entry);
        }
        return Ok(read);
    }
    let written = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|text| !text.is_empty());
    for text in written {
        match serde_json::from_slice::<Value>(text) {
            Ok(entry) => read.take(format, &entry),
            Err(_) if format == LogFormat::Ndjson && !text.starts_with(b"{") => {
                let message = String::from_utf8_lossy(text).into_owned();
                read.lines.push(Line { message, ..Line::default() });
            }
            Err(_) => read.unreadable += 1,
        }
    }
    if read.lines.is_empty() && read.unreadable > 0 { Err(NotLines) } else { Ok(read) }
}

impl Lines {
    fn take(&mut self, format: LogFormat, entry: &Value) {
        match entry {
            Value::Object(_) => self.lines.push(line(format, entry)),
            Value::String(text) if format == LogFormat::Ndjson => {
                self.lines.push(Line { message: text.clone(), ..Line::default() });
            }
            _ => self.unreadable += 1,
        }
    }
}

/// Where each format keeps text, level, status and time; the first that is there counts.
fn line(format: LogFormat, entry: &Value) -> Line {
    let (messages, levels, statuses, times): (&[&str], &[&str], &[&str], &[&str]) = match format {
        LogFormat::Vercel => {
            (&["/message"], &["/level"], &["/statusCode", "/proxy/statusCode"], &["/timestamp"])
        }
        LogFormat::Supabase => (
            &["/event_message"],
            &[
                "/metadata/parsed/error_severity",
                "/metadata/0/parsed/0/error_severity",
                "/metadata/level",
                "/metadata/0/level",
            ],
            &[
                "/metadata/response/status_code",
                "/metadata/0/response/0/status_code",
                "/metadata/status",
                "/metadata/0/status",
            ],
            &["/timestamp"],
        ),
        LogFormat::Ndjson => (
            &["/message", "/msg", "/event_message", "/log", "/body"],
            &["/level", "/severity", "/severity_text"],
            &["/status", "/statusCode", "/status_code"],
            &["/timestamp", "/time", "/ts"],
        ),
    };
    let first = |places: &[&str]| places.iter().find_map(|place| entry.pointer(place)).cloned();
    Line {
        message: first(messages).as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
        level: first(levels).and_then(|level| LogLevel::parse(level.as_str()?)).unwrap_or_default(),
        // Vercel writes -1 where nothing was answered.
        status: first(statuses).and_then(|status| match status {
            Value::String(text) => text.parse().ok(),
            status => u16::try_from(status.as_u64()?).ok(),
        }),
        at: first(times).and_then(|time| instant(&time)),
    }
}

/// RFC 3339, or seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by their size.
fn instant(time: &Value) -> Option<Timestamp> {
    if let Some(text) = time.as_str() {
        return text.parse().ok();
    }
    #[expect(clippy::cast_possible_truncation, reason = "instants with decimals are seconds, and saturate")]
    let number = time.as_i64().or_else(|| time.as_f64().map(|seconds| (seconds * 1e6) as i64))?;
    match number.unsigned_abs() {
        0..100_000_000_000 => Timestamp::from_second(number).ok(),
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(number).ok(),
        100_000_000_000_000..100_000_000_000_000_000 => Timestamp::from_microsecond(number).ok(),
        _ => Timestamp::from_nanosecond(number.into()).ok(),
    }
}

/// Which lines are counted; whatever is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogFilter {
    /// A regular expression that is found somewhere in the message.
    pub pattern: Option<String>,
    /// This level or a worse one.
    pub level: Option<LogLevel>,
    /// Ranges of HTTP statuses, both ends included.
    pub status: Vec<(u16, u16)>,
}

/// A pattern takes at most this much memory, so that a suite cannot fill ours.
const PATTERN_BYTES: usize = 1 << 20;

/// A filter ready to be held against lines, in time linear in their length.
#[derive(Debug, Clone)]
pub struct Matcher {
    regex: Option<Regex>,
    filter: LogFilter,
}

impl Matcher {
    pub fn new(filter: &LogFilter) -> Result<Self, regex::Error> {
        let compile = |pattern: &String| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
        Ok(Self { regex: filter.pattern.as_ref().map(compile).transpose()?, filter: filter.clone() })
    }

    pub fn counts(&self, line: &Line) -> bool {
        let ranges = &self.filter.status;
        let within = |status: u16| ranges.iter().any(|(low, high)| (*low..=*high).contains(&status));
        self.filter.level.is_none_or(|least| line.level >= least)
            && (ranges.is_empty() || line.status.is_some_and(within))
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(line.message.as_bytes()))
    }
}

/// Lines are counted in buckets of this many seconds.
pub const BUCKET: i64 = 10;
/// A line that says it is older, or this much in the future, is counted when it arrives.
const OLDEST: SignedDuration = SignedDuration::from_mins(60);
const NEWEST: SignedDuration = SignedDuration::from_mins(1);

/// The bucket that a line is counted in: that of its own instant where that can be right.
pub fn bucket(line: &Line, arrived: Timestamp) -> i64 {
    let believable = |at: &Timestamp| *at >= arrived - OLDEST && *at <= arrived + NEWEST;
    bucket_of(line.at.filter(believable).unwrap_or(arrived))
}

/// The seconds since the epoch at which the bucket of an instant begins.
pub fn bucket_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(BUCKET) * BUCKET
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
