//! After a time without us: what is said of it.

use super::check::Severity;
use super::clock::{Timestamp, humane};
use super::incident::{Facts, Signal};

/// What was watched while nobody did.
pub struct Unwatched<'a> {
    pub environment: &'a str,
    /// The deploy's id and its name for people; absent where only webhooks were not taken.
    pub deploy: Option<(&'a str, String)>,
    /// Runs that did not happen.
    pub missed: usize,
}

/// The news of an absence, once for what was watched.
pub fn signal(what: &Unwatched<'_>, from: Timestamp, to: Timestamp) -> Signal {
    let length = humane(to.duration_since(from));
    let hours = |at: Timestamp| at.strftime("%H:%M").to_string();
    let exact = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let environment = what.environment;
    let lost = match (&what.deploy, what.missed) {
        (None, _) => {
            "webhooks were not taken meanwhile; the provider tries again for a few minutes".to_owned()
        }
        (Some((_, deploy)), 1) => format!("1 run of deploy {deploy} in {environment} was missed"),
        (Some((_, deploy)), n) => format!("{n} runs of deploy {deploy} in {environment} were missed"),
    };
    let mut context = vec![("Away from".to_owned(), exact(from)), ("Back at".to_owned(), exact(to))];
    if let Some((_, deploy)) = &what.deploy {
        context.push(("Version".to_owned(), deploy.clone()));
        context.push(("Runs missed".to_owned(), what.missed.to_string()));
    }
    Signal::Report {
        environment: environment.to_owned(),
        scope: match &what.deploy {
            Some((id, _)) => format!("gap/{}/{id}", from.as_microsecond()),
            None => format!("gap/{}", from.as_microsecond()),
        },
        at: to,
        facts: Facts {
            severity: Severity::Warning,
            label: "CHECKER DOWN".to_owned(),
            subject: if environment.is_empty() {
                "deploywatch itself".to_owned()
            } else {
                format!("deploywatch for {environment}")
            },
            headline: format!("deploywatch was down {} to {} UTC ({length}): {lost}", hours(from), hours(to)),
            since: from,
            next_steps: vec![
                "See why it was down: the log of the service manager, the host, an upgrade".to_owned(),
                "Nothing is known of that time: it counts as missed, neither good nor bad".to_owned(),
                "To hear of it while it lasts, set heartbeat.url to a watcher elsewhere".to_owned(),
            ],
            context,
            members: Vec::new(),
        },
    }
}
