//! Who is on call: rotations by the week in somebody's own time zone, people who stand in, quiet hours.
//!
//! A rotation is never empty and has no beginning before which nobody would be told: it reaches back as it
//! reaches forward. Handovers are at a time on the clock of the zone, whatever daylight saving does to it.

mod parse;

use std::collections::BTreeMap;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};

use super::check::Severity;
use super::clock::Timestamp;

pub use parse::{parse_handover, parse_moment, parse_quiet, parse_substitute};

/// Somebody who can be told.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// The name in the settings: `ada`.
    pub id: String,
    /// As people read it.
    pub name: String,
    /// A mail address.
    pub email: String,
}

/// Addresses stay out of logs.
impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("id", &self.id).finish_non_exhaustive()
    }
}

/// People who take turns, each for one or more weeks.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotation {
    /// In their order; at least one.
    people: Vec<String>,
    zone: TimeZone,
    /// The day of the first handover, to the first of the people.
    first: Date,
    at: Time,
    weeks: i32,
}

/// Somebody takes somebody's place for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substitute {
    pub rotation: String,
    pub person: String,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// From when to when somebody is on call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    pub from: Timestamp,
    pub until: Timestamp,
    pub person: String,
    /// Whose turn it would have been.
    pub instead_of: Option<String>,
}

impl Rotation {
    /// `None` without people. `starts` is the day from which the first one counts; the first handover is the
    /// first `weekday` not before it.
    pub fn new(
        people: Vec<String>,
        zone: TimeZone,
        starts: Date,
        (weekday, at): (Weekday, Time),
        weeks: u32,
    ) -> Option<Self> {
        let first = if starts.weekday() == weekday { starts } else { starts.nth_weekday(1, weekday).ok()? };
        let weeks = i32::try_from(weeks.clamp(1, 52)).unwrap_or(1);
        (!people.is_empty()).then_some(Self { people, zone, first, at, weeks })
    }

    pub fn people(&self) -> &[String] {
        &self.people
    }

    /// The start of the shift with this number; the first one is 0. On the day on which a clock skips the time
    /// of the handover it comes as much later, on the day that has it twice at the first of the two.
    fn start_of(&self, shift: i64) -> Timestamp {
        let days = shift.saturating_mul(i64::from(self.weeks) * 7).clamp(-3_000_000, 3_000_000);
        let day = self.first.saturating_add(Span::new().days(days));
        day.to_datetime(self.at).to_zoned(self.zone.clone()).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
    }

    fn number_at(&self, at: Timestamp) -> i64 {
        let day = at.to_zoned(self.zone.clone()).date();
        let days = i64::from((day - self.first).get_days());
        let mut number = days.div_euclid(i64::from(self.weeks) * 7);
        // The day of a handover belongs to two shifts.
        if at < self.start_of(number) {
            number -= 1;
        } else if at >= self.start_of(number + 1) {
            number += 1;
        }
        number
    }

    fn person_of(&self, shift: i64) -> &str {
        let count = i64::try_from(self.people.len()).unwrap_or(1);
        let index = usize::try_from(shift.rem_euclid(count)).unwrap_or(0);
        &self.people[index]
    }

    /// Whose turn it is, and who stands in. Of several that stand in at once the last named one does.
    fn turn<'a>(&'a self, substitutes: &'a [Substitute], at: Timestamp) -> (&'a str, Option<&'a str>) {
        let turn = self.person_of(self.number_at(at));
        let instead = substitutes.iter().rev().find(|sub| sub.from <= at && at < sub.until);
        match instead {
            Some(sub) if sub.person != turn => (&sub.person, Some(turn)),
            _ => (turn, None),
        }
    }

    /// Who is on call.
    pub fn on_call<'a>(&'a self, substitutes: &'a [Substitute], at: Timestamp) -> &'a str {
        self.turn(substitutes, at).0
    }

    /// Who is on call from `from` to `until`, without gaps and in order; the first shift may have begun before.
    pub fn schedule(&self, substitutes: &[Substitute], from: Timestamp, until: Timestamp) -> Vec<Shift> {
        let mut edges: Vec<Timestamp> = Vec::new();
        let mut number = self.number_at(from);
        while self.start_of(number) < until {
            edges.push(self.start_of(number));
            number += 1;
        }
        edges.push(self.start_of(number));
        edges.extend(substitutes.iter().flat_map(|sub| [sub.from, sub.until]));
        edges.sort();
        edges.dedup();
        let mut shifts: Vec<Shift> = Vec::new();
        for pair in edges.windows(2) {
            let (begin, end) = (pair[0], pair[1]);
            if end <= from || begin >= until {
                continue;
            }
            let (person, instead_of) = self.turn(substitutes, begin);
            let instead_of = instead_of.map(str::to_owned);
            match shifts.last_mut() {
                Some(last) if last.person == person && last.instead_of == instead_of => last.until = end,
                _ => shifts.push(Shift { from: begin, until: end, person: person.to_owned(), instead_of }),
            }
        }
        shifts
    }
}

/// A part of each day in which only critical matters are told.
#[derive(Debug, Clone, PartialEq)]
pub struct Quiet {
    pub from: Time,
    pub until: Time,
    pub zone: TimeZone,
}

impl Quiet {
    /// When the quiet hours end that `at` falls into; `None` outside of them.
    pub fn ends(&self, at: Timestamp) -> Option<Timestamp> {
        let local = at.to_zoned(self.zone.clone());
        let (day, time) = (local.date(), local.time());
        let over_midnight = self.from >= self.until;
        let day = if over_midnight {
            match time {
                t if t >= self.from => day.checked_add(1.day()).ok()?,
                t if t < self.until => day,
                _ => return None,
            }
        } else if self.from <= time && time < self.until {
            day
        } else {
            return None;
        };
        let end = day.to_datetime(self.until).to_zoned(self.zone.clone()).ok()?.timestamp();
        (end > at).then_some(end)
    }
}

/// Who is told of what: names of rotations, names of people, or mail addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duty {
    pub critical: Vec<String>,
    pub warning: Vec<String>,
    pub info: Vec<String>,
    pub second: Vec<String>,
}

impl Duty {
    /// Who is told of a severity. A milder one without names of its own goes to those of the next more severe.
    pub fn of(&self, severity: Severity) -> &[String] {
        let order: &[&Vec<String>] = match severity {
            Severity::Critical => &[&self.critical],
            Severity::Warning => &[&self.warning, &self.critical],
            Severity::Info => &[&self.info, &self.warning, &self.critical],
        };
        order.iter().find(|names| !names.is_empty()).map_or(&[], |names| names.as_slice())
    }
}

/// Everybody, and how they take turns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Roster {
    pub people: BTreeMap<String, Person>,
    pub rotations: BTreeMap<String, Rotation>,
}

/// Somebody who is told, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    pub person: Person,
    /// The rotation whose turn it is; `None` for people and addresses that were named.
    pub by: Option<String>,
}

impl Roster {
    /// The people behind `names` at an instant, each address once.
    pub fn called(&self, names: &[String], substitutes: &[Substitute], at: Timestamp) -> Vec<Called> {
        let mut called: Vec<Called> = Vec::new();
        for name in names {
            let one = match self.rotations.get(name) {
                Some(rotation) => {
                    let own: Vec<Substitute> =
                        substitutes.iter().filter(|sub| sub.rotation == *name).cloned().collect();
                    let person = self.people.get(rotation.on_call(&own, at));
                    person.map(|person| Called { person: person.clone(), by: Some(name.clone()) })
                }
                None => Some(Called { person: self.person(name), by: None }),
            };
            let known =
                |one: &Called| called.iter().any(|c| same_address(&c.person.email, &one.person.email));
            called.extend(one.filter(|one| !known(one)));
        }
        called
    }

    /// Somebody by name, or whoever has this address.
    fn person(&self, name: &str) -> Person {
        self.people.get(name).cloned().unwrap_or_else(|| Person {
            id: String::new(),
            name: String::new(),
            email: name.to_owned(),
        })
    }
}

/// `Ada <ada@example.com>` and `ada@example.com` are the same.
pub fn same_address(one: &str, other: &str) -> bool {
    bare(one).eq_ignore_ascii_case(bare(other))
}

fn bare(address: &str) -> &str {
    match address.rsplit_once('<') {
        Some((_, rest)) => rest.trim_end_matches('>').trim(),
        None => address.trim(),
    }
}

#[cfg(test)]
mod tests;
