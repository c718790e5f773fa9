//! Text from outside on its way into a mail: names, commit messages and database text are inert here.

use crate::domain::clock::Timestamp;

/// One line of at most `cap` characters without control, bidirectional or invisible characters.
pub fn clean(text: &str, cap: usize) -> String {
    let mut out = String::with_capacity(text.len().min(cap * 4));
    let mut length = 0;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            gap = length > 0;
            continue;
        }
        if is_invisible(c) {
            continue;
        }
        if length + usize::from(gap) >= cap {
            out.push('…');
            return out;
        }
        if gap {
            out.push(' ');
            length += 1;
            gap = false;
        }
        out.push(c);
        length += 1;
    }
    out
}

/// The same, with times as people write them: `2026-05-01 12:04:31 UTC` where a program wrote `2026-05-01T12:04:31Z`.
pub fn readable(text: &str, cap: usize) -> String {
    let words = text.split(' ').map(|word| {
        // A time may stand in brackets or before a comma.
        let inner = word.trim_matches(['(', ')', ',', ';', ':', '.']);
        match inner.parse::<Timestamp>() {
            Ok(at) if inner.ends_with('Z') => word.replacen(inner, &instant(at), 1),
            _ => word.to_owned(),
        }
    });
    clean(&words.collect::<Vec<_>>().join(" "), cap)
}

/// For subjects: ASCII, and no brackets, since mail programs ignore what stands in brackets when they thread.
pub fn identity(text: &str, cap: usize) -> String {
    clean(text, cap)
        .chars()
        .map(|c| match c {
            '[' => '(',
            ']' => ')',
            '…' => '.',
            c if c.is_ascii() => c,
            _ => '?',
        })
        .collect()
}

/// Letters that are safe in a header's token and on both sides of a Message-ID. The underscore is one of them, so
/// that an identifier reads the same in a header, on a page and in a log (`inc_0192f0c1…`).
pub fn token(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') { c } else { '-' })
        .collect()
}

/// `2026-05-01 12:04:31 UTC`
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Only addresses that a person may follow become links.
pub fn is_web_address(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://"))
        && !text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>'))
}

/// `o***@example.com`: enough for its owner to recognise.
pub fn mask(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => {
            let local = local.rsplit(['<', ' ']).next().unwrap_or(local);
            let first: String = local.chars().take(1).collect();
            format!("{first}***@{}", domain.trim_end_matches('>'))
        }
        None => "***".into(),
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_text_becomes_one_plain_line() {
        for (text, cleaned) in [
            ("  two\r\nlines\t ", "two lines"),
            ("\u{202e}evil\u{200b}", "evil"),
            ("nul\0bell\u{7}", "nul bell"),
            ("", ""),
        ] {
            assert_eq!(clean(text, 100), cleaned);
        }
        assert_eq!(clean("abcdef", 4), "abcd…");
        assert_eq!(clean("abcd", 4), "abcd");
    }

    #[test]
    fn times_are_written_for_people() {
        for (text, said) in [
            ("since 2026-05-01T12:04:31Z, perhaps", "since 2026-05-01 12:04:31 UTC, perhaps"),
            ("(2026-05-01T12:04:31Z)", "(2026-05-01 12:04:31 UTC)"),
            ("version 2026-05-01 of 12:04Z", "version 2026-05-01 of 12:04Z"),
            ("nothing of the kind", "nothing of the kind"),
        ] {
            assert_eq!(readable(text, 100), said);
        }
    }

    #[test]
    fn identities_are_ascii_without_brackets() {
        assert_eq!(identity("deploy [v1] früh 🚀", 80), "deploy (v1) fr?h ?");
    }

    #[test]
    fn tokens_keep_identifiers_as_they_are() {
        for (text, safe) in [
            ("inc_0192f0c1", "inc_0192f0c1"),
            ("acme-prod.eu", "acme-prod.eu"),
            ("a b\r\nX: <y>@é", "a-b--X---y---"),
        ] {
            assert_eq!(token(text), safe);
        }
    }

    #[test]
    fn addresses_are_masked() {
        assert_eq!(mask("oncall@example.com"), "o***@example.com");
        assert_eq!(mask("Ada <ada@example.com>"), "a***@example.com");
        assert_eq!(mask("nonsense"), "***");
    }

    #[test]
    fn only_web_addresses_are_links() {
        assert!(is_web_address("https://ci.example.com/run/1"));
        for text in ["javascript:alert(1)", "https://a b", "https://a\"onclick=", "ftp://x"] {
            assert!(!is_web_address(text), "{text}");
        }
    }
}
