//! The gate: what CI is told about a deploy, at once or as soon as there is an answer.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::deploy::DeployKind;
use crate::domain::gate::{GateAnswer, GateDecision, GatePolicy, decide, decide_previous, unconditional};
use crate::domain::ids::DeployId;
use crate::domain::verdict::Reason;
use crate::services::Context;
use crate::store::StoreError;
use crate::store::deploys::{self, DeployRow};

/// Which deploy is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The newest of an environment.
    Newest {
        environment: String,
    },
    Version {
        environment: String,
        version: String,
    },
    Deploy(DeployId),
    /// Asked by the next release: the newest whose window was opened. What kind the next one is decides too.
    Previous {
        environment: String,
        next: DeployKind,
    },
}

/// A decision with the deploy it speaks of; none where nothing was announced.
#[derive(Debug, Clone)]
pub struct Answered {
    pub decision: GateDecision,
    pub row: Option<DeployRow>,
    pub at: Timestamp,
}

/// How often a waiting question looks again. Real seconds: the answer comes from another task or process.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The longest that one question is held open; a client that wants to wait longer asks again.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The answer as it is now.
pub async fn ask(ctx: &Context, question: &Question, policy: GatePolicy) -> Result<Answered, StoreError> {
    let mut c = ctx.db.reader().await?;
    let row = match question {
        Question::Newest { environment } => deploys::get_newest(&mut c, environment).await?,
        Question::Version { environment, version } => {
            deploys::get_version(&mut c, environment, version).await?
        }
        Question::Deploy(id) => deploys::get_deploy(&mut c, id).await?,
        Question::Previous { environment, .. } => deploys::get_last_finished(&mut c, environment).await?,
    };
    let at = ctx.now();
    let decision = match (question, &row) {
        (Question::Previous { next: DeployKind::Rollback, .. }, _) => {
            unconditional("rollback", "a rollback always goes, whatever the last release came to")
        }
        (Question::Previous { .. }, Some(row)) => {
            decide_previous(&row.verdict, row.decided.as_ref(), policy, at)
        }
        (Question::Previous { .. }, None) => {
            unconditional("first_deploy", "nothing was released before, so nothing stands in the way")
        }
        (_, Some(row)) => decide(&row.verdict, row.decided.as_ref(), policy, at),
        (_, None) => unknown(question),
    };
    Ok(Answered { decision, row, at })
}

/// The answer as soon as it is not `wait`, or what it is when the time is up.
pub async fn ask_waiting(
    ctx: &Context,
    question: &Question,
    policy: GatePolicy,
    wait: Duration,
) -> Result<Answered, StoreError> {
    let deadline = tokio::time::Instant::now() + wait.min(LONGEST_WAIT);
    loop {
        let answered = ask(ctx, question, policy).await?;
        if answered.decision.answer != GateAnswer::Wait || tokio::time::Instant::now() >= deadline {
            return Ok(answered);
        }
        tokio::time::sleep_until(deadline.min(tokio::time::Instant::now() + LOOK_EVERY)).await;
    }
}

fn unknown(question: &Question) -> GateDecision {
    let message = match question {
        Question::Newest { environment } | Question::Previous { environment, .. } => {
            format!("no deploy was announced in {environment} yet")
        }
        Question::Version { environment, version } => {
            format!("no deploy of version {version} was announced in {environment}")
        }
        Question::Deploy(id) => format!("there is no deploy {id}"),
    };
    GateDecision {
        answer: GateAnswer::Unknown,
        effective: None,
        reasons: vec![Reason { code: "unknown_deploy".into(), check: None, message }],
    }
}
