//! `[triggers.NAME]`: who tells us of releases by webhook, and how its provider is answered.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::super::schema::SecretText;
use super::Environment;
use crate::domain::trigger::Provider;

/// `[triggers.NAME]`; `github`, `vercel` and `generic` need not name their provider.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// github, vercel or generic; the trigger's own name where absent.
    pub provider: Option<Provider>,
    /// Signs what the provider sends.
    #[schemars(with = "Option<SecretText>")]
    pub secret: Option<SecretString>,
    /// The secret before, accepted beside it while it is being changed.
    #[schemars(with = "Option<SecretText>")]
    pub secret_previous: Option<SecretString>,
    /// What the provider calls our environments: `Production=acme-production`, for Vercel the project's name.
    #[serde(default)]
    pub environments: Vec<String>,
    /// Only these repositories (`acme/shop`) are listened to; all where empty.
    #[serde(default)]
    pub repositories: Vec<String>,
    /// The API that is answered, for GitHub Enterprise Server: `https://github.example.com/api/v3`.
    #[schemars(with = "Option<String>", extend("format" = "uri"))]
    pub api_url: Option<url::Url>,
    /// A token for the API: GitHub commit statuses, or Vercel check runs.
    #[schemars(with = "Option<SecretText>")]
    pub token: Option<SecretString>,
    /// A GitHub App's identifier; with its key it answers check runs and protection rules.
    pub app_id: Option<String>,
    /// The GitHub App's private key in PEM.
    #[schemars(with = "Option<SecretText>")]
    pub private_key: Option<SecretString>,
    /// The Vercel team that owns the project.
    pub team_id: Option<String>,
    /// Marks a GitHub deployment failed or successful in the end.
    #[serde(default)]
    pub deployment_status: bool,
    /// A protection rule lets the next release go while the last one is still watched, after its first minutes.
    #[serde(default = "yes")]
    pub allow_during_soak: bool,
}

fn yes() -> bool {
    true
}

impl Trigger {
    /// Whose webhooks these are.
    pub fn provider_of(&self, name: &str) -> Option<Provider> {
        self.provider.or_else(|| Provider::parse(name))
    }

    /// The pairs of `environments`; an entry without `=` is paired with nothing.
    pub fn names(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.environments.iter().map(|entry| match entry.rsplit_once('=') {
            Some((theirs, ours)) => (theirs.trim(), Some(ours.trim())),
            None => (entry.trim(), None),
        })
    }

    /// Which of our environments is meant by what the provider calls it. Without a list, `Production` (or for
    /// Vercel any project, for the generic trigger nothing or our own name) is the only one there is.
    pub fn environment_of(
        &self,
        provider: Provider,
        theirs: &[&str],
        known: &BTreeMap<String, Environment>,
    ) -> Option<String> {
        if !self.environments.is_empty() {
            // Our own JSON may leave it out where only one is meant.
            if let ([_], [""]) = (self.environments.as_slice(), theirs) {
                return self.names().find_map(|(_, ours)| ours.map(str::to_owned));
            }
            let same = |name: &str| theirs.iter().any(|theirs| theirs.eq_ignore_ascii_case(name));
            return self.names().find(|(name, _)| same(name)).and_then(|(_, ours)| ours.map(str::to_owned));
        }
        let mut names = known.keys();
        let only = match (names.next(), names.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        };
        match provider {
            Provider::Github => only.filter(|_| theirs.iter().any(|n| n.eq_ignore_ascii_case("production"))),
            Provider::Vercel => only,
            Provider::Generic => {
                let ours =
                    theirs.iter().find(|name| known.contains_key(**name)).map(|name| (*name).to_owned());
                if theirs.iter().all(|name| name.is_empty()) { only } else { ours }
            }
        }
    }

    /// The secrets that may have signed, the current one first.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.secret.iter().chain(&self.secret_previous)
    }

    /// Whether something can be said to the provider at all.
    pub fn can_answer(&self) -> bool {
        self.token.is_some() || (self.app_id.is_some() && self.private_key.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> BTreeMap<String, Environment> {
        let one = || {
            let fields = serde_json::json!({ "database_url": "postgres://db.invalid/x" });
            serde_json::from_value(fields).expect("an environment needs no more")
        };
        names.iter().map(|name| ((*name).to_owned(), one())).collect()
    }

    #[test]
    fn a_providers_name_means_at_most_one_environment() {
        let (one, two) = (known(&["acme"]), known(&["acme", "staging"]));
        let bare = Trigger::default();
        let listed = Trigger {
            environments: vec!["Production=acme".into(), "Preview – web=staging".into()],
            ..Trigger::default()
        };
        for (trigger, provider, theirs, known, expected) in [
            (&bare, Provider::Github, "Production", &one, Some("acme")),
            (&bare, Provider::Github, "production", &one, Some("acme")),
            (&bare, Provider::Github, "Preview", &one, None),
            (&bare, Provider::Github, "Production", &two, None),
            (&bare, Provider::Vercel, "shop", &one, Some("acme")),
            (&bare, Provider::Generic, "", &one, Some("acme")),
            (&bare, Provider::Generic, "staging", &two, Some("staging")),
            (&bare, Provider::Generic, "elsewhere", &one, None),
            (&listed, Provider::Github, "PRODUCTION", &two, Some("acme")),
            (&listed, Provider::Github, "Preview – web", &two, Some("staging")),
            (&listed, Provider::Github, "Preview", &two, None),
        ] {
            let found = trigger.environment_of(provider, &[theirs], known);
            assert_eq!(found.as_deref(), expected, "{provider:?} {theirs}");
        }
    }
}
