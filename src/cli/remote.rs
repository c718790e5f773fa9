//! What the commands that talk to a server share: its address, the token, and what CI tells about itself.

use std::collections::BTreeMap;

use clap::Args;
use secrecy::SecretString;

use super::Output;
use crate::client::{Client, ClientError};
use crate::system;

/// Which server, and as whom.
#[derive(Debug, Clone, Args)]
pub struct RemoteArgs {
    /// The server's address
    #[arg(long, global = true, env = "DEPLOYWATCH_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// A token of that server; not needed on loopback while it has none
    #[arg(long, global = true, env = "DEPLOYWATCH_TOKEN", hide_env_values = true, value_parser = secret)]
    pub token: Option<SecretString>,
}

fn secret(text: &str) -> Result<SecretString, String> {
    Ok(text.trim().to_owned().into())
}

impl RemoteArgs {
    pub fn client(&self) -> Result<Client, ClientError> {
        use secrecy::ExposeSecret;
        let token = self.token.clone().filter(|token| !token.expose_secret().is_empty());
        Client::new(&self.url, token)
    }
}

/// Says what went wrong and answers with its exit code.
pub fn failed(error: &ClientError, out: &mut Output) -> u8 {
    out.error(&error.to_string());
    error.exit_code()
}

/// What a CI system says about the run, so that it need not be typed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Run {
    pub version: Option<String>,
    pub commit: Option<String>,
    pub actor: Option<String>,
    pub link: Option<String>,
}

impl Run {
    pub fn here() -> Self {
        Self::of(&system::environment())
    }

    fn of(env: &BTreeMap<String, String>) -> Self {
        let get = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        let first = |names: &[&str]| names.iter().find_map(|name| get(name));
        let commit = first(&["GITHUB_SHA", "CI_COMMIT_SHA", "VERCEL_GIT_COMMIT_SHA", "BUILDKITE_COMMIT"]);
        let github = || {
            let (server, repository) = (get("GITHUB_SERVER_URL")?, get("GITHUB_REPOSITORY")?);
            Some(format!("{server}/{repository}/actions/runs/{}", get("GITHUB_RUN_ID")?))
        };
        Self {
            version: commit.as_ref().map(|sha| sha.chars().take(12).collect()),
            commit,
            actor: first(&["GITHUB_ACTOR", "GITLAB_USER_LOGIN", "VERCEL_GIT_COMMIT_AUTHOR_LOGIN"]),
            link: github().or_else(|| first(&["CI_JOB_URL", "BUILDKITE_BUILD_URL"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_on_github_is_recognised() {
        let env = [
            ("GITHUB_SHA", "7f3c2a1d9b8e4c6f7f3c2a1d9b8e4c6f7f3c2a1d"),
            ("GITHUB_ACTOR", "dana"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "acme/shop"),
            ("GITHUB_RUN_ID", "42"),
        ];
        let run = Run::of(&env.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(run.version.as_deref(), Some("7f3c2a1d9b8e"));
        assert_eq!(run.link.as_deref(), Some("https://github.com/acme/shop/actions/runs/42"));
        assert_eq!(Run::of(&BTreeMap::new()), Run::default());
    }
}
