//! What Lemon Squeezy's documentation leaves open, how to find each thing out with a test store, and what our own
//! delivery log says about it. Nothing here depends on an answer; each makes the advice in mails better.

use super::clock::{SignedDuration, Timestamp, humane, rfc3339};

/// One open question.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Stable: `retries_keep_bytes`.
    pub code: &'static str,
    pub asks: &'static str,
    /// What to do, in order.
    pub steps: &'static [&'static str],
    /// Whether our log can see the answer; otherwise a person records what the dashboard shows.
    pub seen: Option<Reader>,
}

/// Reads an answer off the attempts of our log.
pub type Reader = fn(&[Attempt]) -> Option<Answer>;

/// What was seen, with the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub answer: String,
    pub evidence: String,
}

/// One request of Lemon Squeezy's, as our log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub at: Timestamp,
    pub digest: String,
    pub accepted: bool,
    /// Taken in after it was refused, so that its answer was a refusal.
    pub late: bool,
    pub class: String,
    pub event: Option<String>,
    /// The length of the secret that verified it.
    pub secret_length: Option<u32>,
    /// How characters beyond ASCII are written in it, where it has some.
    pub beyond_ascii: Option<Writing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// `\u00fc`
    Escaped,
    /// As UTF-8.
    Raw,
}

impl Writing {
    /// Looks at a body. One that holds both is raw, since an escaper would have left nothing.
    pub fn of(body: &[u8]) -> Option<Self> {
        if !body.is_ascii() {
            return Some(Self::Raw);
        }
        let escape = |window: &[u8]| {
            let digits =
                std::str::from_utf8(&window[2..]).ok().and_then(|hex| u32::from_str_radix(hex, 16).ok());
            &window[..2] == b"\\u" && digits.is_some_and(|code| code > 0x7f)
        };
        body.windows(6).any(escape).then_some(Self::Escaped)
    }
}

const REFUSE: &str = "Give a test-mode webhook that points here a secret that deploywatch does not know";
const TRIGGER: &str = "Make an event: buy with a test card, or simulate one in the dashboard";

/// All of them, in the order in which they are best tried.
pub const QUESTIONS: &[Question] = &[
    Question {
        code: "retries_keep_bytes",
        asks: "Do retries repeat the body's exact bytes?",
        steps: &[REFUSE, TRIGGER, "Wait three minutes for the retries"],
        seen: Some(retries_keep_bytes),
    },
    Question {
        code: "retry_times",
        asks: "How often and when is a refused delivery tried again?",
        steps: &[REFUSE, TRIGGER, "Wait three minutes for the retries"],
        seen: Some(retry_times),
    },
    Question {
        code: "secret_of_retries",
        asks: "After a change of the secret, which one signs the retries of older events?",
        steps: &[
            REFUSE,
            TRIGGER,
            "Within 20 seconds, set the webhook's secret to the test secret that deploywatch knows",
            "Wait three minutes for the retries",
        ],
        seen: Some(secret_of_retries),
    },
    Question {
        code: "resend_keeps_id",
        asks: "Does Resend repeat the event's webhook_id?",
        steps: &[
            "Let a test-mode event be delivered and answered with 200",
            "Five minutes later press Resend on it in Settings > Webhooks",
        ],
        seen: Some(resend_keeps_id),
    },
    Question {
        code: "resend_keeps_bytes",
        asks: "Does Resend repeat the body's exact bytes?",
        steps: &[
            "Let a test-mode event be delivered and answered with 200",
            "Five minutes later press Resend on it in Settings > Webhooks",
        ],
        seen: Some(resend_keeps_bytes),
    },
    Question {
        code: "escaping",
        asks: "How are characters beyond ASCII written in the body?",
        steps: &[
            "Buy with a test card as Jürgen Müller, or give a product such a name, and let it be delivered",
        ],
        seen: Some(escaping),
    },
    Question {
        code: "long_secrets",
        asks: "What happens to a secret of more than 40 characters?",
        steps: &[
            "Try to set a secret of 50 characters, both here (`deploywatch secret add lemonsqueezy --mode test`) and in a test-mode webhook",
            "If the dashboard refuses it, record that; else make an event and wait a minute for the diagnosis",
        ],
        seen: Some(long_secrets),
    },
    Question {
        code: "timeout",
        asks: "How long does Lemon Squeezy wait for an answer?",
        steps: &[
            "Point a test-mode webhook at something that takes a request and never answers, and make an event",
            "Record how long the attempt lasted until it was given up",
        ],
        seen: None,
    },
    Question {
        code: "other_2xx",
        asks: "Does an answer such as 201 or 204 count as delivered?",
        steps: &[
            "Point a test-mode webhook at something that answers 204, and make an event",
            "Record whether the dashboard calls it delivered, and whether it came again",
        ],
        seen: None,
    },
    Question {
        code: "redirects",
        asks: "Are redirects followed?",
        steps: &[
            "Point a test-mode webhook at something that answers 302 to this server's /webhooks/lemonsqueezy, and make an event",
            "Record whether it arrived here",
        ],
        seen: None,
    },
    Question {
        code: "gives_up_on_webhooks",
        asks: "Is a webhook switched off after many failures?",
        steps: &[
            "Leave a test-mode webhook with an unknown secret for a week with an event a day",
            "Record whether it still sends",
        ],
        seen: None,
    },
    Question {
        code: "secret_change_moves_updated_at",
        asks: "Does a change of the secret alone move updated_at in the API?",
        steps: &[
            "Read the webhook with GET /v1/webhooks/ID, change its secret alone, and read it again",
            "Record whether updated_at moved",
        ],
        seen: None,
    },
];

/// The question of this code.
pub fn question(code: &str) -> Option<&'static Question> {
    QUESTIONS.iter().find(|question| question.code == code)
}

/// Lemon Squeezy gives up after 155 s; what comes later is no retry.
const RETRIES_END: SignedDuration = SignedDuration::from_secs(300);

fn answer(answer: impl Into<String>, evidence: String) -> Option<Answer> {
    Some(Answer { answer: answer.into(), evidence })
}

fn was_refused(attempt: &Attempt) -> bool {
    !attempt.accepted || attempt.late
}

/// A refused attempt and the next one of the same bytes, soon after.
fn retries(attempts: &[Attempt]) -> Vec<(&Attempt, &Attempt)> {
    let mut found = Vec::new();
    for (at, first) in attempts.iter().enumerate().filter(|(_, attempt)| was_refused(attempt)) {
        let next = attempts[at + 1..].iter().find(|next| next.digest == first.digest);
        if let Some(next) = next.filter(|next| next.at.duration_since(first.at) <= RETRIES_END) {
            found.push((first, next));
        }
    }
    found
}

fn retries_keep_bytes(attempts: &[Attempt]) -> Option<Answer> {
    if let Some((first, next)) = retries(attempts).first() {
        let evidence =
            format!("the deliveries of {} and {} have the same SHA-256", rfc3339(first.at), rfc3339(next.at));
        return answer("yes", evidence);
    }
    let changed = attempts.iter().enumerate().find_map(|(at, first)| {
        let next = attempts[at + 1..].iter().find(|next| {
            first.event.is_some()
                && next.event == first.event
                && next.digest != first.digest
                && next.at.duration_since(first.at) <= RETRIES_END
        });
        Some((first, next.filter(|_| was_refused(first))?))
    });
    let (first, next) = changed?;
    let evidence = format!(
        "the deliveries of {} and {} are one event with other bytes",
        rfc3339(first.at),
        rfc3339(next.at)
    );
    answer("no", evidence)
}

fn retry_times(attempts: &[Attempt]) -> Option<Answer> {
    let pairs = retries(attempts);
    let mut chains: Vec<Vec<&Attempt>> = Vec::new();
    for (first, next) in pairs {
        match chains.iter_mut().find(|chain| chain.last().is_some_and(|last| std::ptr::eq(*last, first))) {
            Some(chain) => chain.push(next),
            None => chains.push(vec![first, next]),
        }
    }
    let longest = chains.into_iter().max_by_key(Vec::len).filter(|chain| chain.len() >= 4)?;
    let waits: Vec<String> =
        longest.windows(2).map(|pair| humane(pair[1].at.duration_since(pair[0].at))).collect();
    let evidence = format!("{} attempts at one body since {}", longest.len(), rfc3339(longest[0].at));
    answer(format!("{} more times, after {}", waits.len(), waits.join(", ")), evidence)
}

fn secret_of_retries(attempts: &[Attempt]) -> Option<Answer> {
    let pairs = retries(attempts);
    let unknown = |attempt: &Attempt| !attempt.accepted && attempt.class == "unknown_secret";
    let new = pairs.iter().find(|(first, next)| was_refused(first) && next.accepted && !next.late);
    if let Some((first, next)) = new {
        let evidence = format!(
            "what was refused at {} verified at {}, byte for byte the same",
            rfc3339(first.at),
            rfc3339(next.at)
        );
        return answer("the new one", evidence);
    }
    let old = pairs.iter().find(|(first, next)| {
        unknown(first)
            && unknown(next)
            && attempts.iter().any(|other| {
                other.accepted
                    && !other.late
                    && other.at > first.at
                    && other.at < next.at
                    && other.digest != first.digest
            })
    });
    let (first, next) = old?;
    let evidence = format!(
        "the retry at {} of what came at {} was still signed with the unknown secret, although another event had verified in between",
        rfc3339(next.at),
        rfc3339(first.at)
    );
    answer("the old one", evidence)
}

/// An accepted event and the same event again, too late to be a retry.
fn resent(attempts: &[Attempt]) -> Option<(&Attempt, &Attempt)> {
    attempts.iter().enumerate().find_map(|(at, first)| {
        let again = attempts[at + 1..]
            .iter()
            .find(|next| next.event == first.event && next.at.duration_since(first.at) > RETRIES_END);
        Some((first, again.filter(|_| first.accepted && !first.late && first.event.is_some())?))
    })
}

fn resend_keeps_id(attempts: &[Attempt]) -> Option<Answer> {
    let (first, again) = resent(attempts)?;
    let evidence = format!("the event of {} came again at {}", rfc3339(first.at), rfc3339(again.at));
    answer("yes", evidence)
}

fn resend_keeps_bytes(attempts: &[Attempt]) -> Option<Answer> {
    let (first, again) = resent(attempts)?;
    let same = first.digest == again.digest;
    let evidence = format!(
        "the event of {} came again at {} with {} SHA-256",
        rfc3339(first.at),
        rfc3339(again.at),
        if same { "the same" } else { "another" }
    );
    answer(if same { "yes" } else { "no" }, evidence)
}

fn escaping(attempts: &[Attempt]) -> Option<Answer> {
    let found = attempts.iter().find(|attempt| attempt.accepted && attempt.beyond_ascii.is_some())?;
    let how = match found.beyond_ascii? {
        Writing::Escaped => "as \\u escapes",
        Writing::Raw => "as UTF-8",
    };
    answer(how, format!("the verified body of {}", rfc3339(found.at)))
}

fn long_secrets(attempts: &[Attempt]) -> Option<Answer> {
    if let Some(cut) = attempts.iter().find(|attempt| attempt.class == "first_forty") {
        let evidence = format!("the delivery of {} was signed with the first 40 characters", rfc3339(cut.at));
        return answer("it is cut to 40", evidence);
    }
    let whole = attempts.iter().find(|attempt| attempt.accepted && attempt.secret_length > Some(40))?;
    answer("it is used whole", format!("the delivery of {} was signed with a longer one", rfc3339(whole.at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-05-01T12:00:00Z".parse().unwrap()
    }

    fn refused(seconds: i64, digest: &str) -> Attempt {
        Attempt {
            at: start() + SignedDuration::from_secs(seconds),
            digest: digest.into(),
            accepted: false,
            late: false,
            class: "unknown_secret".into(),
            event: None,
            secret_length: None,
            beyond_ascii: None,
        }
    }

    fn accepted(seconds: i64, digest: &str, event: &str) -> Attempt {
        Attempt {
            accepted: true,
            class: "verified".into(),
            event: Some(event.into()),
            secret_length: Some(32),
            ..refused(seconds, digest)
        }
    }

    fn seen(code: &str, attempts: &[Attempt]) -> Option<String> {
        (question(code).unwrap().seen.unwrap())(attempts).map(|answer| answer.answer)
    }

    #[test]
    fn the_log_answers_what_it_can_see() {
        let four: Vec<Attempt> = [0, 5, 30, 155].map(|at| refused(at, "a")).into();
        let late = Attempt { late: true, accepted: true, event: Some("e".into()), ..refused(0, "a") };
        let table: Vec<(&str, Vec<Attempt>, Option<&str>)> = vec![
            ("retries_keep_bytes", vec![refused(0, "a"), refused(5, "b")], None),
            ("retries_keep_bytes", four.clone(), Some("yes")),
            ("retries_keep_bytes", vec![late, accepted(5, "b", "e")], Some("no")),
            ("retry_times", four[..3].to_vec(), None),
            ("retry_times", four, Some("3 more times, after 5 s, 25 s, 2 min")),
            ("secret_of_retries", vec![refused(0, "a"), accepted(25, "a", "e")], Some("the new one")),
            (
                "secret_of_retries",
                vec![refused(0, "a"), accepted(9, "b", "e"), refused(25, "a")],
                Some("the old one"),
            ),
            ("secret_of_retries", vec![refused(0, "a"), refused(25, "a")], None),
            ("resend_keeps_id", vec![accepted(0, "a", "e"), accepted(400, "b", "e")], Some("yes")),
            ("resend_keeps_bytes", vec![accepted(0, "a", "e"), accepted(400, "b", "e")], Some("no")),
            ("resend_keeps_bytes", vec![accepted(0, "a", "e"), accepted(400, "a", "e")], Some("yes")),
            ("resend_keeps_bytes", vec![accepted(0, "a", "e"), accepted(100, "a", "e")], None),
            (
                "long_secrets",
                vec![Attempt { class: "first_forty".into(), ..refused(0, "a") }],
                Some("it is cut to 40"),
            ),
            (
                "long_secrets",
                vec![Attempt { secret_length: Some(50), ..accepted(0, "a", "e") }],
                Some("it is used whole"),
            ),
            ("long_secrets", vec![accepted(0, "a", "e")], None),
        ];
        for (code, attempts, expected) in table {
            assert_eq!(seen(code, &attempts).as_deref(), expected, "{code}");
        }
    }

    #[test]
    fn characters_beyond_ascii_are_recognised() {
        assert_eq!(Writing::of(br#"{"a":"M\u00fcller"}"#), Some(Writing::Escaped));
        assert_eq!(Writing::of("{\"a\":\"Müller\"}".as_bytes()), Some(Writing::Raw));
        assert_eq!(Writing::of(br#"{"a":"\u0000\u0041 plain \/"}"#), None);
    }

    #[test]
    fn every_question_has_a_name_of_its_own_and_says_what_to_do() {
        for (at, one) in QUESTIONS.iter().enumerate() {
            assert!(QUESTIONS[..at].iter().all(|other| other.code != one.code), "{}", one.code);
            assert!(one.asks.ends_with('?') && !one.steps.is_empty(), "{}", one.code);
        }
    }
}
