//! `deploywatch webhook audit`: 0 when everything fits, 1 when something does not, 3 when nobody answered.

use crate::cli::Output;
use crate::cli::secret::Format;
use crate::services::Context;
use crate::services::provider::{LookError, look};

pub async fn run(ctx: &Context, source: &str, format: Format, out: &mut Output) -> anyhow::Result<u8> {
    let found = match look(ctx, source).await {
        Ok(found) => found,
        Err(error @ LookError::Api(_)) => {
            out.error(&format!("{:#}", anyhow::Error::from(error)));
            return Ok(3);
        }
        Err(other) => return Err(other.into()),
    };
    match format {
        Format::Json => out.line(&serde_json::to_string_pretty(&serde_json::json!({
            "source": source, "webhooks": found.webhooks, "findings": found.findings,
        }))?),
        Format::Text => {
            if found.findings.is_empty() {
                out.line(&format!(
                    "Lemon Squeezy has {} that the key can see, and what concerns {source} is as it should be",
                    match found.webhooks {
                        1 => "1 webhook".to_owned(),
                        n => format!("{n} webhooks"),
                    }
                ));
            }
            for finding in &found.findings {
                out.line(&format!("{:<8} {} ({})", finding.severity.as_str(), finding.says, finding.code));
                out.line(&format!("         {}", finding.next));
            }
        }
    }
    Ok(u8::from(!found.findings.is_empty()))
}
