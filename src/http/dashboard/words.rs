//! Small rules of how a page says things.

/// `1 check`, `3 checks`.
pub fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The first letter as a capital.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A message as a sentence: a capital and a full stop. A key such as `users.unique.email` keeps its spelling.
pub fn sentence(message: &str) -> String {
    let message = message.trim_end_matches('.');
    if message.is_empty() {
        return String::new();
    }
    let is_key = message.split([' ', ':']).next().is_some_and(|word| word.contains(['.', '_']));
    let head = if is_key { message.to_owned() } else { capital(message) };
    format!("{head}.")
}

/// Only a web address becomes a link: anything else could run as a script.
pub fn is_web(link: &str) -> bool {
    link.starts_with("https://") || link.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_sentences_and_keys_keep_their_spelling() {
        for (message, text) in [
            ("1 of 1,000 rows breaks the rule", "1 of 1,000 rows breaks the rule."),
            ("the target cannot be measured", "The target cannot be measured."),
            ("users.unique.email: 2 rows", "users.unique.email: 2 rows."),
            ("", ""),
        ] {
            assert_eq!(sentence(message), text);
        }
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert!(is_web("https://ci.example.com/1"));
        assert!(!is_web("javascript:alert(1)"));
    }
}
