//! The gate: what CI is told about a deploy, at once or as soon as there is an answer.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::gate::{GateAnswer, GateDecision, GatePolicy, decide};
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
    };
    let at = ctx.now();
    let decision = match &row {
        Some(row) => decide(&row.verdict, row.decided.as_ref(), policy, at),
        None => unknown(question),
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
        Question::Newest { environment } => format!("no deploy was announced in {environment} yet"),
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
