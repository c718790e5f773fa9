//! Vercel's `deployment.*` webhooks, of production alone.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Action, Address, Heard, Malformed, Release, Wish, is_commit, parse, version_of_commit};
use crate::domain::deploy::DeployKind;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    payload: Payload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    deployment: Option<Deployment>,
    #[serde(default)]
    project: Option<Named>,
    #[serde(default)]
    team: Option<Named>,
    #[serde(default)]
    links: Option<Links>,
    /// Of `deployment.rollback`, which carries no deployment.
    #[serde(default)]
    to_deployment_id: Option<String>,
}

#[derive(Deserialize)]
struct Deployment {
    id: String,
    #[serde(default)]
    name: Option<String>,
    /// Free text by free text; only what looks like a commit is used.
    #[serde(default)]
    meta: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    id: Option<String>,
}

#[derive(Deserialize)]
struct Links {
    #[serde(default)]
    deployment: Option<String>,
}

/// The delivery's own id and the wish, from a verified body.
pub fn hear(body: &[u8]) -> Result<(Option<String>, Heard), Malformed> {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(default)]
        id: Option<String>,
        #[serde(rename = "type")]
        kind: String,
    }
    let envelope: Envelope = parse("webhook", body)?;
    let heard = match envelope.kind.as_str() {
        "deployment.created"
        | "deployment.succeeded"
        | "deployment.ready"
        | "deployment.promoted"
        | "deployment.error"
        | "deployment.canceled"
        | "deployment.rollback" => deployment(parse(&envelope.kind, body)?)?,
        other => Heard::ignored(format!("{other} events are of no use here; deployment.* are")),
    };
    Ok((envelope.id, heard))
}

fn deployment(event: Event) -> Result<Heard, Malformed> {
    let Event { kind, payload } = event;
    let project = payload.project.and_then(|project| project.id);
    let link = payload.links.and_then(|links| links.deployment);
    if kind == "deployment.rollback" {
        let Some(to) = payload.to_deployment_id else {
            return Ok(Heard::ignored("this rollback does not say which deployment it goes back to"));
        };
        let release = Release { version: to, commit: None, kind: DeployKind::Rollback, actor: None, link };
        return Ok(wish(kind, project.into_iter().collect(), Action::Finish(release), Vec::new()));
    }
    let Some(deployment) = payload.deployment else {
        return Err(Malformed { event: kind, because: "payload.deployment is missing".into() });
    };
    if payload.target.as_deref() != Some("production") {
        let target = payload.target.as_deref().unwrap_or("preview");
        return Ok(Heard::ignored(format!("a {target} deployment is not watched, only production is")));
    }
    let meta = |names: &[&str]| {
        let text = names.iter().find_map(|name| deployment.meta.get(*name)?.as_str());
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let commit = meta(&["githubCommitSha", "gitlabCommitSha", "bitbucketCommitSha", "gitCommitSha"]);
    let commit = commit.filter(|sha| is_commit(sha));
    let release = Release {
        version: commit.as_deref().map_or_else(|| deployment.id.clone(), version_of_commit),
        commit: commit.clone(),
        kind: DeployKind::Normal,
        actor: meta(&["githubCommitAuthorLogin", "gitlabCommitAuthorLogin", "gitCommitAuthorName"]),
        link,
    };
    let action = match kind.as_str() {
        "deployment.created" => Action::Start(release),
        "deployment.error" => Action::Cancel { release, reason: "Vercel says that the build failed".into() },
        "deployment.canceled" => {
            Action::Cancel { release, reason: "Vercel says that the build was cancelled".into() }
        }
        _ => Action::Finish(release),
    };
    let answers = match (&action, &project) {
        (Action::Start(_) | Action::Finish(_), Some(project)) => vec![Address::VercelCheck {
            deployment: deployment.id,
            project: project.clone(),
            team: payload.team.and_then(|team| team.id),
        }],
        _ => Vec::new(),
    };
    let places = deployment.name.into_iter().chain(project).collect();
    Ok(wish(kind, places, action, answers))
}

fn wish(event: String, places: Vec<String>, action: Action, answers: Vec<Address>) -> Heard {
    Heard::Wish(Box::new(Wish { event, places, repository: None, action, answers }))
}
