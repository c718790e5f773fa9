//! GitHub: check runs, commit statuses, deployment statuses, and the callback of a protection rule.

use std::collections::HashMap;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::app_key::AppKey;
use super::{CallError, Json};
use crate::domain::answer::{Permission, Report};
use crate::domain::clock::{Timestamp, rfc3339};

pub const API: &str = "https://api.github.com";

/// The name under which people find the check, and choose it in a rule.
pub const CHECK: &str = "deploywatch";

/// How we prove who we are.
pub enum Credentials {
    /// An App can do everything.
    App(Box<AppKey>),
    /// A token of a person or a robot: statuses, but no check runs.
    Token(SecretString),
}

/// One place at GitHub that is told something.
pub struct Place<'a> {
    /// `acme/shop`.
    pub repository: &'a str,
    pub installation: Option<u64>,
}

pub struct Github {
    api: Json,
    credentials: Credentials,
    /// Installation tokens live for an hour; this value lives for one activation of a job.
    tokens: HashMap<String, SecretString>,
}

impl Github {
    pub fn new(base: &Url, credentials: Credentials) -> Result<Self, CallError> {
        Ok(Self { api: Json::new("GitHub", base)?, credentials, tokens: HashMap::new() })
    }

    pub fn has_app(&self) -> bool {
        matches!(self.credentials, Credentials::App(_))
    }

    /// Makes the check run of a commit, or changes the one that was made: `known`, or `maybe_made` where the
    /// answer to an earlier try was lost. Gives its id.
    pub async fn check_run(
        &mut self,
        place: &Place<'_>,
        sha: &str,
        about: &CheckRun<'_>,
        now: Timestamp,
    ) -> Result<String, CallError> {
        let token = self.token(place, now).await?;
        let (owner, name) = halves(place.repository)?;
        let known = match (about.known, about.maybe_made) {
            (Some(known), _) => Some(known.to_owned()),
            (None, true) => self.find(&token, place, sha, about.external_id).await?,
            (None, false) => None,
        };
        let mut body = about.body();
        if known.is_none() {
            body["head_sha"] = json!(sha);
        }
        let (method, url) = match &known {
            Some(id) => (Method::PATCH, self.api.url(&["repos", owner, name, "check-runs", id])),
            None => (Method::POST, self.api.url(&["repos", owner, name, "check-runs"])),
        };
        let made = self.call(method, url, &token, &body).await?;
        let id = made["id"].as_u64().map(|id| id.to_string());
        id.or(known).ok_or_else(|| CallError::before("GitHub's answer has no id of the check run"))
    }

    /// A check run of this commit that an earlier try made.
    async fn find(
        &self,
        token: &SecretString,
        place: &Place<'_>,
        sha: &str,
        external_id: &str,
    ) -> Result<Option<String>, CallError> {
        let (owner, name) = halves(place.repository)?;
        let mut url = self.api.url(&["repos", owner, name, "commits", sha, "check-runs"]);
        url.query_pairs_mut().append_pair("check_name", CHECK).append_pair("filter", "all");
        let found = self.api.send(self.api.request(Method::GET, url, token)).await?;
        let runs = found["check_runs"].as_array().cloned().unwrap_or_default();
        let ours = runs.iter().find(|run| run["external_id"] == external_id);
        Ok(ours.and_then(|run| run["id"].as_u64()).map(|id| id.to_string()))
    }

    /// A commit's status, for a token that cannot make check runs. Saying it again changes nothing.
    pub async fn commit_status(
        &mut self,
        place: &Place<'_>,
        sha: &str,
        environment: &str,
        report: &Report,
        link: Option<&str>,
        now: Timestamp,
    ) -> Result<(), CallError> {
        let token = self.token(place, now).await?;
        let (owner, name) = halves(place.repository)?;
        let url = self.api.url(&["repos", owner, name, "statuses", sha]);
        let body = json!({
            "state": report.conclusion.commit_status(),
            "description": report.line(),
            "target_url": link,
            "context": format!("{CHECK} ({environment})"),
        });
        self.call(Method::POST, url, &token, &body).await.map(drop)
    }

    /// A deployment's last status. `description` begins with what tells our statuses from others.
    pub async fn deployment_status(
        &mut self,
        place: &Place<'_>,
        deployment: u64,
        state: &str,
        description: &str,
        link: Option<&str>,
        now: Timestamp,
    ) -> Result<(), CallError> {
        let token = self.token(place, now).await?;
        let (owner, name) = halves(place.repository)?;
        let id = deployment.to_string();
        let url = self.api.url(&["repos", owner, name, "deployments", &id, "statuses"]);
        let body = json!({
            "state": state,
            "description": description,
            "log_url": link,
            // The release stays the active one whatever we say of it.
            "auto_inactive": false,
        });
        self.call(Method::POST, url, &token, &body).await.map(drop)
    }

    /// Answers a protection rule, or says how it stands while that is not decided.
    pub async fn rule(
        &mut self,
        place: &Place<'_>,
        callback: &str,
        environment: &str,
        permission: &Permission,
        now: Timestamp,
    ) -> Result<(), CallError> {
        let url = Url::parse(callback).ok().filter(|url| self.api.is_ours(url));
        let url = url.ok_or_else(|| {
            CallError::before("the rule's callback is not an address of the API in the settings; see api_url")
        })?;
        let token = self.token(place, now).await?;
        let mut body = json!({ "environment_name": environment, "comment": permission.comment });
        if let Some(approved) = permission.approved {
            body["state"] = json!(if approved { "approved" } else { "rejected" });
        }
        self.call(Method::POST, url, &token, &body).await.map(drop)
    }

    /// Who we are to GitHub; an error says why it does not know us.
    pub async fn who_am_i(&self, now: Timestamp) -> Result<String, CallError> {
        match &self.credentials {
            Credentials::App(key) => {
                let url = self.api.url(&["app"]);
                let app = self.api.send(self.api.request(Method::GET, url, &key.jwt(now))).await?;
                let name = app["slug"].as_str().unwrap_or("without a name").to_owned();
                Ok(format!("the App {name} makes check runs and answers rules"))
            }
            Credentials::Token(token) => {
                let url = self.api.url(&["rate_limit"]);
                self.api.send(self.api.request(Method::GET, url, token)).await?;
                Ok("the token is known; it makes commit statuses, not check runs".into())
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        url: Url,
        token: &SecretString,
        body: &Value,
    ) -> Result<Value, CallError> {
        let request = self.api.request(method, url, token);
        self.api.send(request.header("x-github-api-version", "2022-11-28").json(body)).await
    }

    /// The token for a repository: the one in the settings, or the App's for its installation there.
    async fn token(&mut self, place: &Place<'_>, now: Timestamp) -> Result<SecretString, CallError> {
        let key = match &self.credentials {
            Credentials::Token(token) => return Ok(token.clone()),
            Credentials::App(key) => key,
        };
        if let Some(token) = self.tokens.get(place.repository) {
            return Ok(token.clone());
        }
        let jwt = key.jwt(now);
        let (owner, name) = halves(place.repository)?;
        let installation = match place.installation {
            Some(id) => id,
            None => {
                let url = self.api.url(&["repos", owner, name, "installation"]);
                let found = self.api.send(self.api.request(Method::GET, url, &jwt)).await?;
                found["id"]
                    .as_u64()
                    .ok_or_else(|| CallError::before("GitHub names no installation of the App"))?
            }
        };
        let id = installation.to_string();
        let url = self.api.url(&["app", "installations", &id, "access_tokens"]);
        let made = self.call(Method::POST, url, &jwt, &json!({ "repositories": [name] })).await?;
        let token =
            made["token"].as_str().ok_or_else(|| CallError::before("GitHub gave the App no token"))?;
        let token = SecretString::from(token.to_owned());
        self.tokens.insert(place.repository.to_owned(), token.clone());
        Ok(token)
    }
}

/// What a check run says.
pub struct CheckRun<'a> {
    /// The id at GitHub, once it was made.
    pub known: Option<&'a str>,
    /// An earlier try may have made it without our hearing of it.
    pub maybe_made: bool,
    /// Ours, by which it is found again.
    pub external_id: &'a str,
    pub environment: &'a str,
    pub report: &'a Report,
    pub link: Option<&'a str>,
    pub started_at: Timestamp,
    pub now: Timestamp,
}

impl CheckRun<'_> {
    fn body(&self) -> Value {
        let report = self.report;
        let title = format!("{}: {}", self.environment, report.title);
        let mut body = json!({
            "name": CHECK,
            "external_id": self.external_id,
            "started_at": rfc3339(self.started_at),
            "output": { "title": title, "summary": report.summary },
        });
        if let Some(link) = self.link {
            body["details_url"] = json!(link);
        }
        match report.conclusion.check_run() {
            None => body["status"] = json!("in_progress"),
            Some(conclusion) => {
                body["status"] = json!("completed");
                body["conclusion"] = json!(conclusion);
                body["completed_at"] = json!(rfc3339(report.ended_at.unwrap_or(self.now)));
            }
        }
        body
    }
}

fn halves(repository: &str) -> Result<(&str, &str), CallError> {
    let halves = repository.split_once('/').filter(|(owner, name)| !owner.is_empty() && !name.is_empty());
    halves.ok_or_else(|| CallError::before(format!("{repository:?} is not a repository; it is OWNER/NAME")))
}
