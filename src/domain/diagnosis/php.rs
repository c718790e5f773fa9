//! Writing received JSON again as PHP's `json_encode` does: compact, `/` as `\/`, and beyond ASCII `\uXXXX`.
//!
//! It works on the tokens of the text and never on a parsed value, so that the order of keys and the spelling
//! of numbers survive. Text that is no JSON gives nothing.

/// The forms to try: with and without `\uXXXX`, since it is not known which one the provider uses.
pub fn reencode(body: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(body) else { return Vec::new() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return Vec::new();
    }
    let forms = [Beyond::Escaped, Beyond::Plain].map(|beyond| write(text, beyond));
    let [escaped, plain] = forms;
    if escaped == plain { vec![escaped] } else { vec![escaped, plain] }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Beyond {
    Escaped,
    Plain,
}

fn write(text: &str, beyond: Beyond) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if next == '"' {
            let end = string_end(rest);
            // The text is valid JSON, so each string in it decodes.
            if let Ok(decoded) = serde_json::from_str::<String>(&rest[..end]) {
                write_string(&mut out, &decoded, beyond);
            }
            rest = &rest[end..];
        } else {
            if !next.is_ascii_whitespace() {
                out.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
            }
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// The length of the string literal at the start of `text`, quotes included.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn write_string(out: &mut Vec<u8>, text: &str, beyond: Beyond) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '/' => out.extend_from_slice(b"\\/"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 => write_escape(out, c as u16),
            c if !c.is_ascii() && beyond == Beyond::Escaped => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write_escape(out, *unit);
                }
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, unit: u16) {
    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forms(text: &str) -> Vec<String> {
        reencode(text.as_bytes()).into_iter().map(|form| String::from_utf8(form).unwrap()).collect()
    }

    #[test]
    fn tokens_survive_and_strings_are_written_as_php_does() {
        let table: [(&str, &[&str]); 6] = [
            (r#"{ "b": 1.00000000, "a": -0e5 }"#, &[r#"{"b":1.00000000,"a":-0e5}"#]),
            (r#"{"u":"https://x/y"}"#, &[r#"{"u":"https:\/\/x\/y"}"#]),
            (r#"{"u":"https:\/\/x"}"#, &[r#"{"u":"https:\/\/x"}"#]),
            (
                r#"["ü","\u00fc","\ud83d\ude00"]"#,
                &[r#"["\u00fc","\u00fc","\ud83d\ude00"]"#, r#"["ü","ü","😀"]"#],
            ),
            ("[\"a\\tb\\u0001 c\"]", &[r#"["a\tb\u0001 c"]"#]),
            ("not json", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(forms(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = reencode(&bytes);
        }

        #[test]
        fn the_value_stays_the_same(text in "\\PC*", number in any::<i32>()) {
            let value = serde_json::json!({ "t": text, "n": [number, null, true] });
            for form in reencode(value.to_string().as_bytes()) {
                prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&form).unwrap(), &value);
            }
        }
    }
}
