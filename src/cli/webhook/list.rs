//! `deploywatch webhook list` and what `show` prints of one.

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};

use crate::api::length;
use crate::cli::Output;
use crate::cli::secret::Format;
use crate::domain::clock::{SignedDuration, Timestamp, rfc3339};
use crate::domain::delivery::Delivery;
use crate::domain::diagnosis::Class;
use crate::domain::signature::Scheme;
use crate::services::Context;
use crate::services::webhooks::{Search, search};

#[derive(Debug, Args)]
pub struct ListArgs {
    #[arg(long)]
    source: Option<String>,
    /// What they turned out to be: verified, stale_secret, unknown_secret …
    #[arg(long)]
    class: Option<String>,
    /// accepted, refused, duplicate or late
    #[arg(long)]
    outcome: Option<String>,
    /// Only this event: order_created …
    #[arg(long)]
    event: Option<String>,
    /// Only what this secret signed: v3, or its fingerprint
    #[arg(long)]
    version: Option<String>,
    /// Only from then on: a length of time ago (90m, 6h, 7d) or an instant (2026-05-01T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Go on after this delivery, the last one of the page before
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// At most 200
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub async fn run(ctx: &Context, args: ListArgs, out: &mut Output) -> anyhow::Result<()> {
    let time = |given: Option<&String>| given.map(|text| instant(text, ctx.now())).transpose();
    let (since, until) = (time(args.since.as_ref())?, time(args.until.as_ref())?);
    let page = search(
        ctx,
        Search {
            source: args.source,
            class: args.class,
            outcome: args.outcome,
            event: args.event,
            event_id: None,
            version: args.version,
            since,
            until,
            before: args.before,
            limit: Some(args.limit),
        },
    )
    .await?;
    match args.format {
        Format::Json => out.line(&serde_json::to_string_pretty(&page)?),
        Format::Text => {
            print_list(&page.deliveries, out);
            if let Some(next) = page.next {
                out.note(&format!("there are more; go on with --before {next}"));
            }
        }
    }
    Ok(())
}

/// `6h` ago, or the instant itself.
fn instant(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(seconds) = length::parse(text) {
        return Ok(now - SignedDuration::from_secs(seconds.into()));
    }
    text.parse().map_err(|_| {
        anyhow::anyhow!(
            "{text:?} is no time; write a length such as 6h, or an instant such as 2026-05-01T12:00:00Z"
        )
    })
}

fn print_list(found: &[Delivery], out: &mut Output) {
    if found.is_empty() {
        out.note("no delivery fits; `deploywatch webhook send` makes one");
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["received", "answer", "what", "event", "delivery", ""]);
    for delivery in found {
        let mut notes = delivery.flags.clone();
        if delivery.duplicate {
            notes.push("duplicate".into());
        }
        if delivery.late {
            notes.push("verified late".into());
        }
        table.add_row([
            rfc3339(delivery.received_at),
            delivery.status.to_string(),
            delivery.class.clone(),
            delivery.event_name.clone().unwrap_or_default(),
            delivery.id.to_string(),
            notes.join(", "),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
}

pub fn print_one(delivery: &Delivery, scheme: &Scheme, out: &mut Output) {
    let none = || "none".to_owned();
    let lines = [
        ("delivery", delivery.id.to_string()),
        ("received", rfc3339(delivery.received_at)),
        ("source", delivery.source.clone()),
        ("mode", delivery.mode.map_or_else(none, |mode| mode.as_str().into())),
        ("answered", delivery.status.to_string()),
        ("event", delivery.event_name.clone().unwrap_or_else(none)),
        ("secret", delivery.version.as_ref().map_or_else(none, ToString::to_string)),
        ("bytes", delivery.body_bytes.to_string()),
        ("duplicate", if delivery.duplicate { "yes" } else { "no" }.into()),
        ("late", if delivery.late { "yes, verified after it was refused" } else { "no" }.into()),
        ("flags", if delivery.flags.is_empty() { none() } else { delivery.flags.join(", ") }),
    ];
    for (label, value) in lines {
        out.line(&format!("{label:<10} {value}"));
    }
    let Some(class) = Class::parse(&delivery.class) else { return };
    out.line(&format!("{:<10} {}: {}", "finding", class.as_str(), class.explain()));
    if delivery.status != 200 {
        for (number, step) in class.next_steps(&delivery.source, scheme).iter().enumerate() {
            out.line(&format!("  {}. {step}", number + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_lengths_or_instants() {
        let now: Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        assert_eq!(rfc3339(instant("6h", now).unwrap()), "2026-05-01T06:00:00Z");
        assert_eq!(rfc3339(instant("2026-04-30T00:00:00Z", now).unwrap()), "2026-04-30T00:00:00Z");
        assert!(instant("yesterday", now).unwrap_err().to_string().contains("such as 6h"));
    }
}
