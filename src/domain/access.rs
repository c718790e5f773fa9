//! What a caller may do: scopes, and the grant that a token or a session stands for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::TokenId;

/// What a token allows. `admin` includes all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Announce deploys: start, finish, cancel.
    Deploy,
    /// Ask the gate.
    Gate,
    /// Look at everything.
    Read,
    /// Acknowledge incidents.
    Ack,
    /// Everything, secrets and overrides included.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::Deploy, Self::Gate, Self::Read, Self::Ack, Self::Admin];

    pub fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Gate => "gate",
            Self::Read => "read",
            Self::Ack => "ack",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scope; the scopes are deploy, gate, read, ack and admin")]
pub struct UnknownScope(pub String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|s| s.word() == word).ok_or_else(|| UnknownScope(word.to_owned()))
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

/// Space-separated, the form in which the store keeps them.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|s| s.word()).collect();
        f.write_str(&words.join(" "))
    }
}

/// Separated by spaces or commas.
impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        text.split([' ', ',']).filter(|word| !word.is_empty()).map(str::parse).collect()
    }
}

/// What a presented token turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub token: TokenId,
    /// The name that its owner gave the token, for the audit log.
    pub name: String,
    pub scopes: Scopes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_allows_everything_and_others_only_themselves() {
        let admin: Scopes = "admin".parse().unwrap();
        let some: Scopes = "gate, deploy".parse().unwrap();
        assert!(Scope::ALL.into_iter().all(|scope| admin.allow(scope)));
        let allowed: Vec<Scope> = Scope::ALL.into_iter().filter(|s| some.allow(*s)).collect();
        assert_eq!(allowed, [Scope::Deploy, Scope::Gate]);
        assert_eq!(some.to_string(), "deploy gate");
        assert_eq!("raed".parse::<Scopes>(), Err(UnknownScope("raed".into())));
    }
}
