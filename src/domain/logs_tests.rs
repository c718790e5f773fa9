use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn filter(pattern: &str) -> LogFilter {
    LogFilter { pattern: Some(pattern.into()), level: None, status: Vec::new() }
}

const VERCEL: &str = r#"[
  {"id":"1573817187330377061717300000","deploymentId":"dpl_1","source":"lambda","host":"shop.vercel.app",
   "timestamp":1573817187330,"projectId":"p","level":"error","message":"Unauthorised: no session","statusCode":401},
  {"id":"2","deploymentId":"dpl_1","source":"edge","host":"shop.vercel.app","timestamp":1573817250172,"projectId":"p",
   "level":"info","proxy":{"timestamp":1573817250172,"method":"GET","statusCode":503,"path":"/"}},
  {"id":"3","source":"lambda","timestamp":1573817250172,"message":"crashed","statusCode":-1},
  "not an object"
]"#;

#[test]
fn vercel_sends_an_array_or_a_line_for_each() {
    let read = parse(LogFormat::Vercel, VERCEL.as_bytes()).unwrap();
    let first = Line {
        message: "Unauthorised: no session".into(),
        level: LogLevel::Error,
        status: Some(401),
        at: Some(at("2019-11-15T11:26:27.330Z")),
    };
    assert_eq!(read.lines[0], first);
    assert_eq!((read.lines[1].status, read.lines[1].message.as_str()), (Some(503), ""));
    assert_eq!(read.lines[2].status, None);
    assert_eq!((read.lines.len(), read.unreadable), (3, 1));
    let lines = "{\"message\":\"a\",\"timestamp\":1573817187330}\n\n{\"message\":\"b\"}\r\n{broken\n";
    let read = parse(LogFormat::Vercel, lines.as_bytes()).unwrap();
    assert_eq!(read.lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(read.unreadable, 1);
}

#[test]
fn supabase_keeps_level_and_status_in_its_metadata() {
    let body = r#"[
      {"event_message":"column \"plan\" does not exist","timestamp":1719414456789000,
       "metadata":{"parsed":{"error_severity":"ERROR"}}},
      {"event_message":"GET | 500 | /rest/v1/users","timestamp":1719414456789000,
       "metadata":[{"response":[{"status_code":500}]}]}
    ]"#;
    let read = parse(LogFormat::Supabase, body.as_bytes()).unwrap();
    assert_eq!(read.lines[0].level, LogLevel::Error);
    assert_eq!(read.lines[0].at, Some(at("2024-06-26T15:07:36.789Z")));
    assert_eq!(read.lines[1].status, Some(500));
}

#[test]
fn plain_text_is_a_line_where_the_sender_is_anybody() {
    let body = "Insufficient credits for org 7\n{\"msg\":\"ok\",\"severity\":\"WARN\",\"ts\":1700000000.5}\n";
    let read = parse(LogFormat::Ndjson, body.as_bytes()).unwrap();
    assert_eq!(read.lines[0].message, "Insufficient credits for org 7");
    assert_eq!((read.lines[1].message.as_str(), read.lines[1].level), ("ok", LogLevel::Warning));
    assert_eq!(parse(LogFormat::Vercel, b"plain text"), Err(NotLines));
    assert_eq!(parse(LogFormat::Ndjson, b""), Ok(Lines::default()));
}

#[test]
fn a_filter_holds_wholly() {
    let line = |message: &str, level, status| Line { message: message.into(), level, status, at: None };
    let missing = Matcher::new(&filter(r"column .* does not exist")).unwrap();
    assert!(missing.counts(&line("ERROR: column \"plan\" does not exist", LogLevel::Error, None)));
    assert!(!missing.counts(&line("unauthorised", LogLevel::Error, None)));
    let server_errors =
        Matcher::new(&LogFilter { pattern: None, level: None, status: vec![(500, 599)] }).unwrap();
    assert!(server_errors.counts(&line("", LogLevel::Info, Some(503))));
    assert!(!server_errors.counts(&line("", LogLevel::Info, None)));
    let bad = LogFilter { level: Some(LogLevel::Error), ..filter("credits") };
    let bad = Matcher::new(&bad).unwrap();
    assert!(bad.counts(&line("Insufficient credits", LogLevel::Fatal, None)));
    assert!(!bad.counts(&line("Insufficient credits", LogLevel::Warning, None)));
    assert!(Matcher::new(&filter("(")).is_err());
    assert!(Matcher::new(&filter(r"(\w{1000}){1000}")).is_err(), "a pattern has a size limit");
}

#[test]
fn a_line_counts_when_it_was_written_where_that_can_be_right() {
    let arrived = at("2026-05-01T12:00:05Z");
    for (written, bucket_at) in [
        (Some("2026-05-01T11:59:59Z"), "2026-05-01T11:59:50Z"),
        (Some("2026-05-01T10:00:00Z"), "2026-05-01T12:00:00Z"),
        (Some("2026-05-01T12:30:00Z"), "2026-05-01T12:00:00Z"),
        (None, "2026-05-01T12:00:00Z"),
    ] {
        let line = Line { at: written.map(at), ..Line::default() };
        assert_eq!(bucket(&line, arrived), at(bucket_at).as_second(), "{written:?}");
    }
}

proptest! {
    /// Whatever anybody sends, reading it ends, and never gives more lines than it has entries.
    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        for format in [LogFormat::Vercel, LogFormat::Supabase, LogFormat::Ndjson] {
            if let Ok(read) = parse(format, &body) {
                let breaks = body.iter().filter(|byte| matches!(byte, b'\n' | b',')).count();
                prop_assert!(read.lines.len() + read.unreadable <= breaks + 1);
            }
        }
    }

    /// Entries of any JSON shape are read, each once.
    #[test]
    fn every_entry_is_a_line_or_unreadable(
        entries in proptest::collection::vec(
            prop_oneof![
                ".{0,20}".prop_map(|text| serde_json::json!({ "message": text, "level": text, "status": text })),
                any::<i64>().prop_map(|n| serde_json::json!({ "message": n, "timestamp": n, "statusCode": n })),
                any::<f64>().prop_map(|n| serde_json::json!({ "event_message": {}, "timestamp": n, "metadata": [n] })),
                any::<bool>().prop_map(|n| serde_json::json!(n)),
            ],
            0..20,
        )
    ) {
        let body = serde_json::to_vec(&entries).unwrap();
        for format in [LogFormat::Vercel, LogFormat::Supabase, LogFormat::Ndjson] {
            let read = parse(format, &body).unwrap();
            prop_assert_eq!(read.lines.len() + read.unreadable, entries.len());
            for line in &read.lines {
                bucket(line, Timestamp::UNIX_EPOCH);
            }
        }
    }
}
