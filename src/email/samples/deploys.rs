//! Samples about deploys: an invented release, put into words by what writes the real mails.

use crate::domain::announce::{self, Announced, End};
use crate::domain::cadence::Plan;
use crate::domain::check::{CheckKey, Severity, Stage};
use crate::domain::check_state::TargetHealth;
use crate::domain::clock::{SignedDuration, Timestamp};
use crate::domain::deploy::{Deploy, DeployKind, DeployState};
use crate::domain::ids::{BaselineId, DeployId};
use crate::domain::incident::{Facts, Signal};
use crate::domain::measurement::Unit;
use crate::domain::observation::Outcome;
use crate::domain::verdict::{CheckStanding, Counts, Provisional, Reason, Verdict, VerdictState};

pub const ENVIRONMENT: &str = "acme-production";
pub const DEPLOY: &str = "dep_0192f0c1d2e37f00";

/// A release whose window opened this long ago.
pub fn deploy(now: Timestamp, ago: SignedDuration) -> Deploy {
    let opened = now - ago;
    Deploy {
        id: DeployId::from_text(DEPLOY),
        environment: ENVIRONMENT.into(),
        version: "7f3c2a1".into(),
        commit: Some("7f3c2a1e9d0b44c1".into()),
        kind: DeployKind::Normal,
        attempt: 1,
        actor: Some("ada (GitHub Actions)".into()),
        link: Some("https://ci.example.com/acme/runs/4711".into()),
        started_at: opened - SignedDuration::from_mins(4),
        baseline_id: Some(BaselineId::from_text("bas_0192f0c1d2e37f00")),
        baseline_at: Some(opened - SignedDuration::from_mins(4)),
        finished_at: Some(opened),
        released_at: None,
        reverifies: None,
        plan: Plan {
            opened_at: opened,
            smoke_seconds: 600,
            window_seconds: 86_400,
            smoke_every: 30,
            soak_every: 300,
            confirm_after: 30,
            jitter_ms: 0,
            extension: None,
        },
        state: DeployState::Verifying,
    }
}

/// Checks that fail, as many as asked for; the first of them are of different kinds.
fn failing(now: Timestamp, count: usize) -> Vec<CheckStanding> {
    let first = now - SignedDuration::from_mins(5);
    let standing = |key: &str, title: &str, severity, message: &str| CheckStanding {
        key: CheckKey(key.into()),
        title: title.into(),
        severity,
        enforced: true,
        last: Some(Outcome::Fail),
        breached: true,
        recovered: false,
        unobservable: false,
        planned: 14,
        conclusive: 14,
        fails: 10,
        runs: 14,
        value: Some(3.0),
        unit: Unit::Violations,
        baseline: Some(0.0),
        threshold: Some("> 0".into()),
        reason: "fail.threshold".into(),
        message: message.into(),
        first_failed_at: Some(first),
        muted_until: None,
        runbook: None,
        settle: 0,
        statement: None,
    };
    let rows = CheckStanding {
        value: Some(900.0),
        unit: Unit::Rows,
        baseline: Some(1000.0),
        threshold: Some("drop > 1% (990)".into()),
        runbook: Some("https://runbooks.example.com/user-credits".into()),
        ..standing(
            "user_credits.row_count",
            "user_credits keeps its rows",
            Severity::Critical,
            "user_credits has 900 rows",
        )
    };
    let orphans = "3 of 12,410 rows of agents have no row in organisations";
    let mut all = vec![rows, standing("agents.org.join", "agents.org.join", Severity::Warning, orphans)];
    for n in all.len()..count {
        let key = format!("table_{n}.not_null.name");
        all.push(standing(&key, &key, Severity::Critical, &format!("3 rows of table_{n} have no name")));
    }
    all.truncate(count);
    all
}

fn verdict(state: VerdictState, checks: Vec<CheckStanding>, reason: &str) -> Verdict {
    let fail = u32::try_from(checks.len()).expect("a handful of checks");
    Verdict {
        state,
        provisional: Some(Provisional::Clean),
        smoke: VerdictState::Passed,
        stage: Stage::Soak,
        clean: fail == 0,
        coverage: 1.0,
        counts: Counts { checks: 17 + fail, pass: 17, fail, ..Counts::default() },
        shadow: Counts::default(),
        reasons: vec![Reason { code: "sample".into(), check: None, message: reason.to_owned() }],
        checks,
    }
}

/// What a signal tells.
fn told(signals: Vec<Signal>) -> Facts {
    let facts = signals.into_iter().find_map(|signal| match signal {
        Signal::Firing { facts, .. } | Signal::Report { facts, .. } => Some(facts),
        _ => None,
    });
    facts.expect("each sample is about something that is told")
}

/// So many checks fail, seven minutes into the window.
pub fn checks_failed(now: Timestamp, count: usize) -> Facts {
    let deploy = deploy(now, SignedDuration::from_mins(7));
    let verdict = verdict(VerdictState::Verifying, failing(now, count), "2 checks fail");
    let (signals, _) =
        announce::signals(&deploy, &verdict, &TargetHealth::default(), &Announced::default(), now);
    told(signals)
}

pub fn cannot_check(now: Timestamp) -> Facts {
    let deploy = deploy(now, SignedDuration::from_mins(12));
    let target = TargetHealth {
        unmeasured: 3,
        since: Some(now - SignedDuration::from_mins(6)),
        until: Some(now),
        message: Some("the database refuses connections".into()),
    };
    let verdict = verdict(VerdictState::Verifying, Vec::new(), "the target cannot be measured");
    told(announce::signals(&deploy, &verdict, &target, &Announced::default(), now).0)
}

/// What a window came to.
pub fn report(now: Timestamp, state: VerdictState, checks: usize, reason: &str, end: &End) -> Facts {
    let ago = match end {
        End::SupersededBy(_) => SignedDuration::from_mins(200),
        _ => SignedDuration::from_hours(24),
    };
    let mut verdict = verdict(state, failing(now, checks), reason);
    let counts = &mut verdict.counts;
    match state {
        VerdictState::PassedWithWarnings => (counts.pass, counts.warn) = (counts.pass - 1, 1),
        VerdictState::Inconclusive => {
            (counts.pass, counts.error) = (counts.pass - 1, 1);
            verdict.coverage = 0.61;
        }
        _ => {}
    }
    told(announce::at_end(&deploy(now, ago), &verdict, &Announced::default(), end, now).0)
}

pub fn armed(now: Timestamp) -> Facts {
    told(vec![announce::armed(&deploy(now, SignedDuration::ZERO), 17, now)])
}
