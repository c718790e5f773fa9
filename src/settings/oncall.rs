//! From what the settings say of on-call to the domain's roster; every mistake with the setting that it is in.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use lettre::message::Mailbox;

use super::{EnvironmentOnCall, OnCall, OnCallRotation, Settings};
use crate::domain::clock::SignedDuration;
use crate::domain::oncall::{
    Duty, Person, Quiet, Roster, Rotation, Substitute, parse_handover, parse_quiet, parse_substitute,
};

/// When turns change where a rotation does not say.
const HANDOVER: &str = "monday 09:00";

/// On-call as the settings have it.
#[derive(Debug, Clone)]
pub struct OnCallPlan {
    pub roster: Roster,
    pub substitutes: Vec<Substitute>,
    pub zone: TimeZone,
}

/// A setting and what is wrong with it.
pub type Problem = (String, String);

/// The roster, with the problems that it leaves out.
pub fn plan(oncall: &OnCall) -> (OnCallPlan, Vec<Problem>) {
    let mut problems = Vec::new();
    let zone = zone("oncall.time_zone", &oncall.time_zone, &mut problems);
    let mut plan = OnCallPlan { roster: Roster::default(), substitutes: Vec::new(), zone };
    for (id, person) in &oncall.people {
        let named = |field: &str| format!("oncall.people.{id}.{field}");
        if person.email.parse::<Mailbox>().is_err() {
            problems.push((named("email"), "must be a mail address, such as ada@example.com".into()));
        }
        let name = person.name.clone().unwrap_or_else(|| id.clone());
        let person = Person { id: id.clone(), name, email: person.email.clone() };
        plan.roster.people.insert(id.clone(), person);
    }
    for (name, settings) in &oncall.rotations {
        if oncall.people.contains_key(name) {
            let text = "has the name of a person, so nobody could tell which is meant".to_owned();
            problems.push((format!("oncall.rotations.{name}"), text));
        }
        rotation(name, settings, &mut plan, &mut problems);
    }
    (plan, problems)
}

fn rotation(name: &str, settings: &OnCallRotation, plan: &mut OnCallPlan, problems: &mut Vec<Problem>) {
    let named = |field: &str| format!("oncall.rotations.{name}.{field}");
    if settings.people.is_empty() {
        problems.push((named("people"), "is empty, so nobody would be on call".into()));
    }
    for person in &settings.people {
        if !plan.roster.people.contains_key(person) {
            problems.push((named("people"), unknown(person, plan.roster.people.keys())));
        }
    }
    let own = settings.time_zone.as_ref().map(|text| zone(&named("time_zone"), text, problems));
    let zone = own.unwrap_or_else(|| plan.zone.clone());
    let starts = settings.starts.parse::<Date>();
    if starts.is_err() {
        problems.push((named("starts"), "must be a day, such as 2026-01-05".into()));
    }
    let handover = parse_handover(settings.handover.as_deref().unwrap_or(HANDOVER));
    if let Err(problem) = &handover {
        problems.push((named("handover"), problem.clone()));
    }
    let weeks = settings.weeks.unwrap_or(1);
    if weeks == 0 || weeks > 52 {
        problems.push((named("weeks"), "must be from 1 to 52".into()));
    }
    for text in &settings.overrides {
        match parse_substitute(name, text, &zone) {
            Ok(sub) if !plan.roster.people.contains_key(&sub.person) => {
                problems.push((named("overrides"), unknown(&sub.person, plan.roster.people.keys())));
            }
            Ok(sub) => plan.substitutes.push(sub),
            Err(problem) => problems.push((named("overrides"), problem)),
        }
    }
    if let (Ok(starts), Ok(handover)) = (starts, handover)
        && let Some(rotation) = Rotation::new(settings.people.clone(), zone, starts, handover, weeks)
    {
        plan.roster.rotations.insert(name.to_owned(), rotation);
    }
}

/// What is wrong with who is told, and with quiet hours, of all and of each environment.
pub(super) fn problems(settings: &Settings) -> Vec<Problem> {
    let (plan, mut problems) = plan(&settings.oncall);
    let oncall = &settings.oncall;
    lists(&plan, "oncall", [&oncall.critical, &oncall.warning, &oncall.info, &oncall.second], &mut problems);
    quiet("oncall.quiet_hours", oncall.quiet_hours.as_deref(), &plan.zone, &mut problems);
    if oncall.escalate_after_seconds == 0 {
        problems.push(("oncall.escalate_after_seconds".into(), "must be more than 0".into()));
    }
    for (name, environment) in &settings.environments {
        let own = &environment.oncall;
        let path = format!("environments.{name}.oncall");
        lists(&plan, &path, [&own.critical, &own.warning, &own.info, &own.second], &mut problems);
        quiet(&format!("{path}.quiet_hours"), own.quiet_hours.as_deref(), &plan.zone, &mut problems);
        if own.escalate_after_seconds == Some(0) {
            problems.push((format!("{path}.escalate_after_seconds"), "must be more than 0".into()));
        }
    }
    problems
}

fn lists(plan: &OnCallPlan, path: &str, lists: [&Vec<String>; 4], problems: &mut Vec<Problem>) {
    for (field, names) in ["critical", "warning", "info", "second"].into_iter().zip(lists) {
        for name in names {
            let known = plan.roster.rotations.contains_key(name) || plan.roster.people.contains_key(name);
            if known || name.parse::<Mailbox>().is_ok() {
                continue;
            }
            let valid = plan.roster.rotations.keys().chain(plan.roster.people.keys());
            problems.push((format!("{path}.{field}"), unknown(name, valid)));
        }
    }
}

/// The name is a word of the settings, but it may be half an address: it is told only where it has no `@`.
fn unknown<'a>(name: &str, valid: impl Iterator<Item = &'a String>) -> String {
    if name.contains('@') {
        return "has an entry that is neither a name nor a mail address".into();
    }
    let valid: Vec<&str> = valid.map(String::as_str).collect();
    let near = valid.iter().map(|word| (strsim::jaro_winkler(name, word), word));
    let near = near.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > 0.8);
    match near {
        Some((_, word)) => format!("names {name:?}, which is nobody; did you mean {word}?"),
        None if valid.is_empty() => {
            format!("names {name:?}, which is nobody; add [oncall.people.{name}] with an email")
        }
        None => format!("names {name:?}, which is nobody; there are {}", valid.join(", ")),
    }
}

fn zone(path: &str, name: &str, problems: &mut Vec<Problem>) -> TimeZone {
    TimeZone::get(name).unwrap_or_else(|_| {
        let text = format!("{name:?} is no time zone; write its IANA name, such as Europe/Berlin");
        problems.push((path.to_owned(), text));
        TimeZone::UTC
    })
}

fn quiet(path: &str, text: Option<&str>, zone: &TimeZone, problems: &mut Vec<Problem>) -> Option<Quiet> {
    let text = text.filter(|text| *text != "none")?;
    match parse_quiet(text) {
        Ok((from, until)) => Some(Quiet { from, until, zone: zone.clone() }),
        Err(problem) => {
            problems.push((path.to_owned(), problem));
            None
        }
    }
}

impl Settings {
    /// Who is told of what in an environment. Its own lists come first, then its recipients, then the lists of
    /// `[oncall]`, then email.recipients: what is nearer is meant.
    pub fn duty(&self, environment: &str) -> Duty {
        let own = self.environments.get(environment);
        let none = EnvironmentOnCall::default();
        let named = own.map_or(&none, |own| &own.oncall);
        let recipients = own.map_or(&[] as &[String], |own| own.recipients.as_slice());
        let pick = |named: &[String], common: &[String]| -> Vec<String> {
            [named, common].into_iter().find(|names| !names.is_empty()).unwrap_or_default().to_vec()
        };
        let second = pick(&named.second, &self.oncall.second);
        let has_own = [&named.critical, &named.warning, &named.info].iter().any(|names| !names.is_empty());
        let common = &self.oncall;
        let has_common =
            [&common.critical, &common.warning, &common.info].iter().any(|names| !names.is_empty());
        let fallback: &[String] = if recipients.is_empty() { &self.email.recipients } else { recipients };
        let mut duty = if has_own {
            let (critical, warning, info) = (&named.critical, &named.warning, &named.info);
            Duty { critical: critical.clone(), warning: warning.clone(), info: info.clone(), second }
        } else if !recipients.is_empty() || !has_common {
            Duty { critical: fallback.to_vec(), second, ..Duty::default() }
        } else {
            let (critical, warning, info) = (&common.critical, &common.warning, &common.info);
            Duty { critical: critical.clone(), warning: warning.clone(), info: info.clone(), second }
        };
        // Whoever names people for warnings alone still wants to hear of what is critical.
        if duty.critical.is_empty() {
            duty.critical = pick(&common.critical, fallback);
        }
        if duty.critical.is_empty() {
            duty.critical = duty.of(crate::domain::check::Severity::Info).to_vec();
        }
        duty
    }

    /// The quiet hours of an environment.
    pub fn quiet(&self, environment: &str, zone: &TimeZone) -> Option<Quiet> {
        let own = self.environments.get(environment).and_then(|own| own.oncall.quiet_hours.as_deref());
        quiet("", own.or(self.oncall.quiet_hours.as_deref()), zone, &mut Vec::new())
    }

    /// How long an environment's critical incidents wait for an acknowledgement; `None` without a second step.
    pub fn escalate_after(&self, environment: &str) -> Option<SignedDuration> {
        if self.duty(environment).second.is_empty() {
            return None;
        }
        let own = self.environments.get(environment).and_then(|own| own.oncall.escalate_after_seconds);
        Some(SignedDuration::from_secs(own.unwrap_or(self.oncall.escalate_after_seconds).into()))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::check::Severity;
    use crate::settings::{Inputs, Purpose, Settings, load};

    fn told(env: &[(&str, &str)]) -> Result<Settings, String> {
        let env = env.iter().map(|(name, value)| (format!("DEPLOYWATCH__{name}"), (*value).to_owned()));
        let inputs = Inputs { env: env.collect(), ..Inputs::default() };
        load(&inputs, Purpose::Command).map(|loaded| loaded.settings).map_err(|error| error.to_string())
    }

    const ROTATION: [(&str, &str); 5] = [
        ("ONCALL__PEOPLE__ADA__EMAIL", "ada@example.com"),
        ("ONCALL__PEOPLE__BOB__EMAIL", "bob@example.com"),
        ("ONCALL__ROTATIONS__PRIMARY__PEOPLE", "ada,bob"),
        ("ONCALL__ROTATIONS__PRIMARY__STARTS", "2026-01-05"),
        ("ENVIRONMENTS__ACME__DATABASE_URL", "postgres://nowhere.invalid/acme"),
    ];

    fn with(more: &[(&str, &str)]) -> Result<Settings, String> {
        told(&[&ROTATION, more].concat())
    }

    #[test]
    fn what_is_nearer_is_meant() {
        let critical =
            |more: &[(&str, &str)]| with(more).unwrap().duty("acme").of(Severity::Critical).to_vec();
        let all = ("EMAIL__RECIPIENTS", "all@example.com");
        let common = ("ONCALL__CRITICAL", "primary");
        let recipients = ("ENVIRONMENTS__ACME__RECIPIENTS", "acme@example.com");
        let own = ("ENVIRONMENTS__ACME__ONCALL__CRITICAL", "bob");
        assert_eq!(critical(&[all]), ["all@example.com"]);
        assert_eq!(critical(&[all, common]), ["primary"]);
        assert_eq!(critical(&[all, common, recipients]), ["acme@example.com"]);
        assert_eq!(critical(&[all, common, recipients, own]), ["bob"]);
        assert_eq!(critical(&[all, ("ENVIRONMENTS__ACME__ONCALL__WARNING", "bob")]), ["all@example.com"]);
        assert_eq!(critical(&[("ENVIRONMENTS__ACME__ONCALL__WARNING", "bob")]), ["bob"]);
    }

    #[test]
    fn the_second_step_needs_somebody_in_it() {
        assert_eq!(with(&[]).unwrap().escalate_after("acme"), None);
        let settings = with(&[("ONCALL__SECOND", "bob")]).unwrap();
        assert_eq!(settings.escalate_after("acme").map(|after| after.as_mins()), Some(15));
    }

    #[test]
    fn each_mistake_is_named_with_its_setting() {
        for (variable, value, sentence) in [
            ("ONCALL__TIME_ZONE", "Europe/Berlni", "is no time zone"),
            ("ONCALL__QUIET_HOURS", "night", "\"22:00-07:00\""),
            ("ONCALL__CRITICAL", "primry", "did you mean primary?"),
            ("ONCALL__SECOND", "half@", "neither a name nor a mail address"),
            ("ONCALL__ESCALATE_AFTER_SECONDS", "0", "more than 0"),
            ("ONCALL__ROTATIONS__PRIMARY__PEOPLE", "ada,eve", "\"eve\", which is nobody"),
            ("ONCALL__ROTATIONS__PRIMARY__STARTS", "soon", "must be a day"),
            ("ONCALL__ROTATIONS__PRIMARY__HANDOVER", "mon", "monday 09:00"),
            ("ONCALL__ROTATIONS__PRIMARY__WEEKS", "0", "from 1 to 52"),
            ("ONCALL__ROTATIONS__PRIMARY__OVERRIDES", "2026-12-24 bob", "two times and a person"),
            ("ONCALL__PEOPLE__ADA__EMAIL", "ada", "must be a mail address"),
        ] {
            let kept = ROTATION.iter().copied().filter(|(name, _)| *name != variable);
            let env: Vec<_> = kept.chain([(variable, value)]).collect();
            let error = told(&env).expect_err(variable);
            assert!(error.contains(sentence) && error.contains(variable), "{variable}: {error}");
        }
    }
}
