//! Vercel: a check of the project, and a run of it on each deployment.

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use super::{CallError, Json};
use crate::domain::answer::{Conclusion, Report};
use crate::domain::clock::Timestamp;

pub const API: &str = "https://api.vercel.com";

const CHECK: &str = "deploywatch";

/// The longest text beside a conclusion that is worth showing.
const TEXT_CHARACTERS: usize = 500;

pub struct Vercel {
    api: Json,
    token: SecretString,
    team: Option<String>,
}

/// One run of the check.
pub struct Run<'a> {
    pub deployment: &'a str,
    pub project: &'a str,
    pub team: Option<&'a str>,
    /// The id at Vercel, once it was made.
    pub known: Option<&'a str>,
    pub external_id: &'a str,
    pub report: &'a Report,
    pub link: Option<&'a str>,
    pub now: Timestamp,
}

impl Vercel {
    /// `team` is the one in the settings; it wins over what a webhook said.
    pub fn new(base: &Url, token: SecretString, team: Option<String>) -> Result<Self, CallError> {
        Ok(Self { api: Json::new("Vercel", base)?, token, team })
    }

    /// Makes the run, or changes the one that was made. Gives its id.
    pub async fn check_run(&self, run: &Run<'_>) -> Result<String, CallError> {
        let id = match run.known {
            Some(id) => id.to_owned(),
            None => self.run_of(run).await?,
        };
        let report = run.report;
        let mut body = json!({ "externalId": run.external_id });
        if let Some(link) = run.link {
            body["externalUrl"] = json!(link);
        }
        match report.conclusion {
            Conclusion::InProgress => body["status"] = json!("running"),
            conclusion => {
                body["status"] = json!("completed");
                body["conclusion"] = json!(conclusion.vercel());
                body["conclusionText"] =
                    json!(report.title.chars().take(TEXT_CHARACTERS).collect::<String>());
                let ended = report.ended_at.unwrap_or(run.now);
                body["completedAt"] = json!(ended.as_millisecond());
            }
        }
        self.call(
            Method::PATCH,
            &["v2", "deployments", run.deployment, "check-runs", &id],
            run.team,
            Some(&body),
        )
        .await?;
        Ok(id)
    }

    /// Who we are to Vercel; an error says why it does not know us.
    pub async fn who_am_i(&self) -> Result<String, CallError> {
        let user = self.call(Method::GET, &["v2", "user"], None, None).await?;
        let name = user["user"]["username"].as_str().unwrap_or("somebody without a name");
        Ok(format!("the token is {name}'s"))
    }

    /// The run of our check on this deployment. Vercel makes one by itself for a check that the project had
    /// before; else, and after a try whose answer was lost, it is found here or made.
    async fn run_of(&self, run: &Run<'_>) -> Result<String, CallError> {
        let path = ["v2", "deployments", run.deployment, "check-runs"];
        let listed = self.call(Method::GET, &path, run.team, None).await?;
        let runs = listed["runs"].as_array().or_else(|| listed["checkRuns"].as_array());
        let ours = runs.into_iter().flatten().find(|found| found["name"] == CHECK);
        if let Some(id) = ours.and_then(|found| found["id"].as_str()) {
            return Ok(id.to_owned());
        }
        let check = self.check_of(run).await?;
        let made = self.call(Method::POST, &path, run.team, Some(&json!({ "checkId": check }))).await?;
        id_of(&made, "the check run")
    }

    /// The project's check, made where it is missing. It holds nothing up: the verdict takes a day.
    async fn check_of(&self, run: &Run<'_>) -> Result<String, CallError> {
        let path = ["v2", "projects", run.project, "checks"];
        let listed = self.call(Method::GET, &path, run.team, None).await?;
        let ours = listed["checks"].as_array().into_iter().flatten().find(|check| check["name"] == CHECK);
        if let Some(id) = ours.and_then(|check| check["id"].as_str()) {
            return Ok(id.to_owned());
        }
        let body = json!({
            "name": CHECK,
            "requires": "none",
            "blocks": "none",
            "targets": ["production"],
            "isRerequestable": false,
        });
        id_of(&self.call(Method::POST, &path, run.team, Some(&body)).await?, "the check")
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        team: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, CallError> {
        let mut url = self.api.url(path);
        if let Some(team) = self.team.as_deref().or(team) {
            url.query_pairs_mut().append_pair("teamId", team);
        }
        let request = self.api.request(method, url, &self.token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.api.send(request).await
    }
}

fn id_of(made: &Value, what: &str) -> Result<String, CallError> {
    let id = made["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| CallError::before(format!("Vercel's answer has no id of {what}")))
}
