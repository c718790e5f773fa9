//! Lengths of time as people write them in queries and options: `30s`, `10m`, `24h`, `7d`, or seconds.

/// Seconds of a length such as `10m`; the error says what to write.
pub fn parse(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no length of time; write a number and s, m, h or d, such as 10m");
    let text_of_number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[text_of_number.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text_of_number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lengths_are_read_and_nonsense_is_not() {
        for (text, seconds) in [("30", 30), ("30s", 30), ("10m", 600), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse(text), Ok(seconds));
        }
        for text in ["", "m", "1.5h", "10 m", "-1s", "10min", "99999999d"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
