//! How people write handovers, quiet hours, and who stands in when.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;

use super::super::clock::Timestamp;
use super::Substitute;

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

/// `monday 09:00`
pub fn parse_handover(text: &str) -> Result<(Weekday, Time), String> {
    let wrong = || "must be a weekday and a time, such as \"monday 09:00\"".to_owned();
    let (day, time) = text.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
    let day = day.to_ascii_lowercase();
    let weekday = WEEKDAYS.iter().find(|(name, _)| *name == day).ok_or_else(wrong)?.1;
    Ok((weekday, clock(time).ok_or_else(wrong)?))
}

/// `22:00-07:00`, over midnight where it ends earlier than it begins.
pub fn parse_quiet(text: &str) -> Result<(Time, Time), String> {
    let wrong = || "must be two different times, such as \"22:00-07:00\"".to_owned();
    let (from, until) = text.split_once('-').ok_or_else(wrong)?;
    let times = (clock(from).ok_or_else(wrong)?, clock(until).ok_or_else(wrong)?);
    if times.0 == times.1 { Err(wrong()) } else { Ok(times) }
}

/// `2026-12-24T09:00 to 2026-12-27T09:00: bob`, in the zone of the rotation unless it says otherwise.
pub fn parse_substitute(rotation: &str, text: &str, zone: &TimeZone) -> Result<Substitute, String> {
    let wrong =
        || "must be two times and a person, such as \"2026-12-24T09:00 to 2026-12-27T09:00: bob\"".to_owned();
    let (times, person) = text.rsplit_once(": ").ok_or_else(wrong)?;
    let (from, until) = times.split_once(" to ").ok_or_else(wrong)?;
    let moment = |text: &str| parse_moment(text, zone).map_err(|_| wrong());
    let (from, until) = (moment(from)?, moment(until)?);
    if from >= until {
        return Err("ends before it begins".into());
    }
    Ok(Substitute { rotation: rotation.into(), person: person.trim().into(), from, until })
}

/// An instant, or a date or time on the clock of `zone`.
pub fn parse_moment(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|day| day.at(0, 0, 0, 0)));
    let zoned = local.and_then(|local| local.to_zoned(zone.clone()));
    zoned.map(|zoned| zoned.timestamp()).map_err(|_| {
        format!("{text:?} is no time; write 2026-12-24T09:00 or an instant such as 2026-12-24T08:00:00Z")
    })
}

/// `9:00` or `09:00`; 24:00 is the next day's midnight and is written 00:00.
fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |text: &str| text.parse::<i8>().ok().filter(|_| text.len() <= 2);
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}
