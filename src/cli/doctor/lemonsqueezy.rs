//! `deploywatch doctor lemonsqueezy`: what the provider's documentation leaves open, settled with one's own test
//! store. Each step is done in the dashboard; the evidence is read off our own delivery log.

use std::time::Duration;

use clap::Args;

use crate::api::length;
use crate::cli::Output;
use crate::cli::secret::Format;
use crate::domain::clock::rfc3339;
use crate::domain::questions::QUESTIONS;
use crate::services::Context;
use crate::services::provider::{known, observe, record};
use crate::store::provider::Known;

#[derive(Debug, Args)]
pub struct LemonSqueezyArgs {
    /// The source whose delivery log is read
    #[arg(long, default_value = "lemonsqueezy")]
    source: String,
    /// Only list what is known and what is open; the log is not read
    #[arg(long)]
    list: bool,
    /// Record what you saw: timeout="30 s"
    #[arg(long, value_name = "QUESTION=ANSWER")]
    record: Vec<String>,
    /// Go on looking at the log for this long: 10m
    #[arg(long, value_name = "LENGTH", value_parser = length::parse)]
    watch: Option<u32>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Between two looks at the log.
const PAUSE: Duration = Duration::from_secs(2);

pub async fn run(ctx: &Context, args: LemonSqueezyArgs, out: &mut Output) -> anyhow::Result<u8> {
    for given in &args.record {
        let Some((code, answer)) = given.split_once('=') else {
            anyhow::bail!("{given:?} is no answer; write QUESTION=ANSWER, such as timeout=\"30 s\"")
        };
        record(ctx, code.trim(), answer, "command line").await?;
    }
    if !args.list {
        observe(ctx, &args.source).await?;
    }
    let answers = known(ctx).await?;
    match args.format {
        Format::Json => out.line(&serde_json::to_string_pretty(&as_json(&answers))?),
        Format::Text => print(&answers, out),
    }
    if let Some(seconds) = args.watch {
        watch(ctx, &args.source, seconds, out).await?;
    }
    Ok(0)
}

async fn watch(ctx: &Context, source: &str, seconds: u32, out: &mut Output) -> anyhow::Result<()> {
    out.note(&format!(
        "looking at the delivery log for {seconds} s; do the steps in the dashboard meanwhile"
    ));
    let looking = async {
        loop {
            for found in observe(ctx, source).await? {
                print_known(&found, out);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(seconds.into()), looking).await {
        Ok(stopped) => stopped,
        Err(_) => Ok(()),
    }
}

fn print(answers: &[Known], out: &mut Output) {
    for question in QUESTIONS {
        if let Some(found) = answers.iter().find(|known| known.question == question.code) {
            print_known(found, out);
            continue;
        }
        out.line(&format!("open   {} ({})", question.asks, question.code));
        for (number, step) in question.steps.iter().enumerate() {
            out.line(&format!("         {}. {step}", number + 1));
        }
        if question.seen.is_none() {
            out.line(&format!(
                "       then: deploywatch doctor lemonsqueezy --record {}=\"…\"",
                question.code
            ));
        }
    }
    let settled = QUESTIONS.iter().filter(|q| answers.iter().any(|known| known.question == q.code)).count();
    out.note(&format!("{settled} of {} questions are settled", QUESTIONS.len()));
}

fn print_known(found: &Known, out: &mut Output) {
    let asks = crate::domain::questions::question(&found.question).map_or("", |question| question.asks);
    out.line(&format!("known  {asks} ({})", found.question));
    out.line(&format!(
        "         {}: {}; recorded {} by {}",
        found.answer,
        found.evidence,
        rfc3339(found.recorded_at),
        found.recorded_by
    ));
}

fn as_json(answers: &[Known]) -> Vec<serde_json::Value> {
    let one = |question: &crate::domain::questions::Question| {
        serde_json::json!({
            "question": question.code,
            "asks": question.asks,
            "steps": question.steps,
            "answer": answers.iter().find(|known| known.question == question.code),
        })
    };
    QUESTIONS.iter().map(one).collect()
}
