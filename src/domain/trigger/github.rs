//! GitHub's `deployment_status` and `deployment_protection_rule`.

use serde::Deserialize;

use super::{Action, Address, Heard, Malformed, Release, Wish, is_commit, parse, version_of_commit};
use crate::domain::deploy::DeployKind;

/// What our own statuses begin with; GitHub sends us an event for them too.
pub const OURS: &str = "deploywatch: ";

#[derive(Deserialize)]
struct StatusEvent {
    deployment_status: Status,
    deployment: Deployment,
    repository: Repository,
    installation: Option<Installation>,
}

#[derive(Deserialize)]
struct Status {
    state: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    environment: Option<String>,
    #[serde(default)]
    log_url: Option<String>,
    #[serde(default)]
    target_url: Option<String>,
    #[serde(default)]
    creator: Option<User>,
}

#[derive(Deserialize)]
struct Deployment {
    id: u64,
    sha: String,
    #[serde(default)]
    task: Option<String>,
    environment: String,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

#[derive(Deserialize)]
struct User {
    login: String,
}

#[derive(Deserialize)]
struct RuleEvent {
    action: String,
    environment: String,
    deployment_callback_url: String,
    #[serde(default)]
    deployment: Option<RuleDeployment>,
    repository: Repository,
    installation: Option<Installation>,
}

#[derive(Deserialize)]
struct RuleDeployment {
    #[serde(default)]
    task: Option<String>,
}

/// Reads a verified body by the event's name in `X-GitHub-Event`.
pub fn hear(event: &str, body: &[u8]) -> Result<Heard, Malformed> {
    match event {
        "deployment_status" => status(parse(event, body)?),
        "deployment_protection_rule" => Ok(rule(parse(event, body)?)),
        "ping" => Ok(Heard::ignored("pong")),
        _ => Ok(Heard::ignored(format!("{event} events are of no use here; deployment_status is"))),
    }
}

fn status(event: StatusEvent) -> Result<Heard, Malformed> {
    let (status, deployment) = (event.deployment_status, event.deployment);
    if status.description.as_deref().is_some_and(|text| text.starts_with(OURS)) {
        return Ok(Heard::ignored("this status is our own answer"));
    }
    if !is_commit(&deployment.sha) {
        let because = "deployment.sha is not a commit".to_owned();
        return Err(Malformed { event: "deployment_status".into(), because });
    }
    let release = Release {
        version: version_of_commit(&deployment.sha),
        commit: Some(deployment.sha.clone()),
        kind: kind(deployment.task.as_deref()),
        actor: status.creator.map(|user| user.login),
        link: status.log_url.or(status.target_url).filter(|link| !link.is_empty()),
    };
    let action = match status.state.as_str() {
        "in_progress" => Action::Start(release),
        "success" => Action::Finish(release),
        "failure" | "error" => {
            let why = status.description.filter(|text| !text.is_empty());
            let reason = match why {
                Some(why) => format!("GitHub says {}: {why}", status.state),
                None => format!("GitHub says {}", status.state),
            };
            Action::Cancel { release, reason }
        }
        other => return Ok(Heard::ignored(format!("a deployment that is {other} changes nothing here"))),
    };
    let installation = event.installation.map(|installation| installation.id);
    let repository = event.repository.full_name;
    let answers = match action {
        Action::Cancel { .. } => Vec::new(),
        _ => vec![
            Address::GithubCommit { repository: repository.clone(), sha: deployment.sha, installation },
            Address::GithubDeployment {
                repository: repository.clone(),
                deployment: deployment.id,
                installation,
            },
        ],
    };
    let mut places = vec![deployment.environment];
    places.extend(status.environment.filter(|name| *name != places[0]));
    Ok(Heard::Wish(Box::new(Wish {
        event: format!("deployment_status {}", status.state),
        places,
        repository: Some(repository),
        action,
        answers,
    })))
}

fn rule(event: RuleEvent) -> Heard {
    if event.action != "requested" {
        return Heard::ignored(format!("a protection rule that is {} changes nothing here", event.action));
    }
    let task = event.deployment.and_then(|deployment| deployment.task);
    Heard::Wish(Box::new(Wish {
        event: "deployment_protection_rule requested".into(),
        places: vec![event.environment.clone()],
        repository: Some(event.repository.full_name.clone()),
        action: Action::Permit { kind: kind(task.as_deref()) },
        answers: vec![Address::GithubRule {
            callback: event.deployment_callback_url,
            environment: event.environment,
            repository: event.repository.full_name,
            installation: event.installation.map(|installation| installation.id),
        }],
    }))
}

/// A deployment's task is free text, `deploy` by default.
fn kind(task: Option<&str>) -> DeployKind {
    match task {
        Some("rollback" | "deploy:rollback") => DeployKind::Rollback,
        _ => DeployKind::Normal,
    }
}
