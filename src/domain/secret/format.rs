//! What is suspicious about a secret's text, found without showing it.

use serde::{Deserialize, Serialize};

/// Lemon Squeezy's own words: "between 6 and 40 characters". Nobody takes fewer; the most is the provider's.
pub const SHORTEST: usize = 6;
const SAFE_LENGTH: usize = 16;

/// A finding about a secret that is usable all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatWarning {
    EdgeWhitespace,
    Quoted,
    ControlCharacters,
    NotAscii,
    OverForty,
    UnderSixteen,
    ReusedInOtherSlot,
}

impl FormatWarning {
    /// One sentence that says what is odd and what it leads to.
    pub fn explain(self) -> &'static str {
        match self {
            Self::EdgeWhitespace => "it begins or ends with a blank or newline, which is part of the key",
            Self::Quoted => "it is wrapped in quotes, which are part of the key",
            Self::ControlCharacters => "it contains control characters",
            Self::NotAscii => "it contains characters beyond ASCII, which dashboards may change",
            Self::OverForty => "it is longer than the 40 characters that Lemon Squeezy allows",
            Self::UnderSixteen => "it is shorter than 16 characters and can be guessed",
            Self::ReusedInOtherSlot => {
                "another slot holds the same value, so test data can pass as live data"
            }
        }
    }
}

/// Why a text cannot be a signing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("the secret is empty, and an empty secret verifies what anybody sends")]
    Empty,
    #[error("the secret has fewer than 6 characters, which providers do not allow and anybody can guess")]
    TooShort,
    #[error("the secret is a placeholder from an example, not a secret")]
    Placeholder,
}

/// Looks at a secret's bytes; `longest` is the most characters that its provider takes. Reuse in other slots is
/// for the caller to add.
pub fn inspect(secret: &[u8], longest: Option<usize>) -> Result<Vec<FormatWarning>, Unusable> {
    let trimmed = secret.trim_ascii();
    if trimmed.is_empty() {
        return Err(Unusable::Empty);
    }
    if trimmed.len() < SHORTEST {
        return Err(Unusable::TooShort);
    }
    let lower = trimmed.to_ascii_lowercase();
    const PLACEHOLDERS: [&[u8]; 6] =
        [b"changeme", b"change-me", b"your-secret", b"your_signing_secret", b"secret", b"password"];
    if PLACEHOLDERS.contains(&lower.as_slice()) {
        return Err(Unusable::Placeholder);
    }
    let characters = std::str::from_utf8(secret).map_or(secret.len(), |text| text.chars().count());
    let quoted = |q: u8| trimmed.first() == Some(&q) && trimmed.last() == Some(&q);
    let findings = [
        (trimmed.len() != secret.len(), FormatWarning::EdgeWhitespace),
        (quoted(b'"') || quoted(b'\''), FormatWarning::Quoted),
        (trimmed.iter().any(u8::is_ascii_control), FormatWarning::ControlCharacters),
        (!secret.is_ascii(), FormatWarning::NotAscii),
        (longest.is_some_and(|most| characters > most), FormatWarning::OverForty),
        (characters < SAFE_LENGTH, FormatWarning::UnderSixteen),
    ];
    Ok(findings.into_iter().filter_map(|(found, warning)| found.then_some(warning)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_secrets_are_named() {
        use FormatWarning::{ControlCharacters, EdgeWhitespace, NotAscii, OverForty, Quoted, UnderSixteen};
        let forty = "a".repeat(40);
        let table: Vec<(&str, Result<Vec<FormatWarning>, Unusable>)> = vec![
            ("", Err(Unusable::Empty)),
            (" \n", Err(Unusable::Empty)),
            ("abcde", Err(Unusable::TooShort)),
            ("ChangeMe", Err(Unusable::Placeholder)),
            ("abcdef", Ok(vec![UnderSixteen])),
            ("0123456789abcdef", Ok(vec![])),
            (&forty, Ok(vec![])),
            ("0123456789abcdef0123456789abcdef012345678", Ok(vec![OverForty])),
            ("0123456789abcdef\n", Ok(vec![EdgeWhitespace])),
            ("\"0123456789abcdef\"", Ok(vec![Quoted])),
            ("0123456789\u{1}abcdef", Ok(vec![ControlCharacters])),
            ("0123456789abcdefü", Ok(vec![NotAscii])),
        ];
        for (secret, expected) in table {
            assert_eq!(inspect(secret.as_bytes(), Some(40)), expected, "{secret:?}");
        }
        assert_eq!(inspect("a".repeat(70).as_bytes(), None), Ok(vec![]));
    }
}
