//! What the systems that release our users' product tell us: verified bytes in, one wish out.

pub mod generic;
pub mod github;
pub mod signed;
pub mod vercel;

use serde::{Deserialize, Serialize};

use super::deploy::DeployKind;

/// Whose webhook it is, which decides the signature and the shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    Github,
    Vercel,
    Generic,
}

impl Provider {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "github" => Some(Self::Github),
            "vercel" => Some(Self::Vercel),
            "generic" => Some(Self::Generic),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Vercel => "vercel",
            Self::Generic => "generic",
        }
    }
}

/// What a request that was verified turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Wish(Box<Wish>),
    /// Nothing of ours; the sentence is the answer that the provider shows beside its delivery.
    Ignored(String),
}

impl Heard {
    fn ignored(why: impl Into<String>) -> Self {
        Self::Ignored(why.into())
    }
}

/// What somebody wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// As the provider calls it: `deployment_status success`.
    pub event: String,
    /// The provider's own names for the environment, any of which the settings may list.
    pub places: Vec<String>,
    pub repository: Option<String>,
    pub action: Action,
    /// Where the verdict is answered to, beside what the settings say.
    pub answers: Vec<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Action {
    Start(Release),
    Finish(Release),
    Cancel {
        release: Release,
        reason: String,
    },
    /// May the next release go? Answered to the address of the wish.
    Permit {
        kind: DeployKind,
    },
}

impl Action {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Finish(_) => "finish",
            Self::Cancel { .. } => "cancel",
            Self::Permit { .. } => "permit",
        }
    }

    pub fn release(&self) -> Option<&Release> {
        match self {
            Self::Start(release) | Self::Finish(release) | Self::Cancel { release, .. } => Some(release),
            Self::Permit { .. } => None,
        }
    }
}

/// A release as a provider describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub version: String,
    pub commit: Option<String>,
    pub kind: DeployKind,
    pub actor: Option<String>,
    pub link: Option<String>,
}

/// Where an answer goes. Nothing in it is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "to")]
pub enum Address {
    /// A check run of a commit, or a commit status where there is no App to make one.
    GithubCommit {
        repository: String,
        sha: String,
        installation: Option<u64>,
    },
    /// The deployment itself, in the end.
    GithubDeployment {
        repository: String,
        deployment: u64,
        installation: Option<u64>,
    },
    /// The callback of a custom deployment protection rule.
    GithubRule {
        callback: String,
        environment: String,
        repository: String,
        installation: Option<u64>,
    },
    VercelCheck {
        deployment: String,
        project: String,
        team: Option<String>,
    },
}

impl Address {
    pub fn channel(&self) -> &'static str {
        match self {
            Self::GithubCommit { .. } => "github_commit",
            Self::GithubDeployment { .. } => "github_deployment",
            Self::GithubRule { .. } => "github_rule",
            Self::VercelCheck { .. } => "vercel_check",
        }
    }

    /// The same text is the same place, whatever else is known about it.
    pub fn place(&self) -> String {
        match self {
            Self::GithubCommit { repository, sha, .. } => format!("{repository}@{sha}"),
            Self::GithubDeployment { repository, deployment, .. } => format!("{repository}#{deployment}"),
            Self::GithubRule { callback, environment, .. } => format!("{callback} {environment}"),
            Self::VercelCheck { deployment, .. } => deployment.clone(),
        }
    }
}

/// A verified body that is not what its provider says it sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the body is not a {event} event as its provider describes it: {because}")]
pub struct Malformed {
    pub event: String,
    pub because: String,
}

fn parse<'a, T: Deserialize<'a>>(event: &str, body: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body)
        .map_err(|error| Malformed { event: event.to_owned(), because: error.to_string() })
}

/// What people and commands call a commit: its first twelve digits, as `deploywatch deploy` does.
pub fn version_of_commit(sha: &str) -> String {
    sha.chars().take(12).collect()
}

/// Whether a text is a whole commit id, and so one that an API takes.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
