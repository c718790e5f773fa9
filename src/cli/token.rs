//! `deploywatch token create|list|revoke`: works on the store directly, so that whoever can read the store's
//! file or its password can let others in.

use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};

use super::Output;
use super::common::SettingsArgs;
use crate::app::{self, Parts};
use crate::domain::access::{Scope, Scopes};
use crate::domain::clock::{SignedDuration, rfc3339};
use crate::domain::ids::TokenId;
use crate::services::{Context, access};
use crate::settings::Purpose;
use crate::store::tokens;

#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token; its text is shown this once
    Create {
        /// What or who it is for: `ci`, `anna`
        #[arg(long)]
        name: String,
        /// What it may do: deploy, gate, read, ack or admin; may be given several times
        #[arg(long = "scope", required = true, value_delimiter = ',')]
        scopes: Vec<Scope>,
        /// When it ends: 90d, 12h; never where absent
        #[arg(long, value_name = "LENGTH", value_parser = length)]
        expires: Option<SignedDuration>,
    },
    /// List all tokens, without their texts
    List,
    /// End a token and the sessions made with it
    Revoke {
        /// Its identifier, as `list` shows it, or its name
        token: String,
    },
}

const ACTOR: &str = "command line";

pub async fn run(args: TokenArgs, out: &mut Output) -> anyhow::Result<u8> {
    let settings = args.settings.load(Purpose::Command, out)?.settings;
    let ctx = app::context(&Parts::real(settings)).await?;
    let code = match args.command {
        TokenCommand::Create { name, scopes, expires } => create(&ctx, &name, scopes, expires, out).await,
        TokenCommand::List => list(&ctx, out).await,
        TokenCommand::Revoke { token } => revoke(&ctx, &token, out).await,
    };
    ctx.db.close().await;
    code
}

async fn create(
    ctx: &Context,
    name: &str,
    scopes: Vec<Scope>,
    expires: Option<SignedDuration>,
    out: &mut Output,
) -> anyhow::Result<u8> {
    anyhow::ensure!(!name.trim().is_empty(), "--name must not be empty: it tells tokens apart in the list");
    let expires_at = expires.map(|length| ctx.now() + length);
    let scopes: Scopes = scopes.into_iter().collect();
    let new = access::create_token(ctx, ACTOR, name.trim(), scopes, expires_at).await?;
    out.line(access::reveal(&new));
    let until =
        new.token.expires_at.map_or("until it is revoked".to_owned(), |at| format!("until {}", rfc3339(at)));
    out.note(&format!(
        "{} \"{}\" may {} {until}; keep the text, it cannot be shown again",
        new.token.id, new.token.name, new.token.scopes
    ));
    Ok(0)
}

async fn list(ctx: &Context, out: &mut Output) -> anyhow::Result<u8> {
    let tokens = tokens::list_tokens(&mut *ctx.db.reader().await?).await?;
    if tokens.is_empty() {
        out.note(
            "there is no token; `deploywatch token create --name ci --scope deploy --scope gate` makes one",
        );
        return Ok(0);
    }
    let now = ctx.now();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["id", "name", "scopes", "state", "created", "last used"]);
    for token in tokens {
        let state = match (token.revoked_at, token.expires_at) {
            (Some(at), _) => format!("revoked {}", rfc3339(at)),
            (None, Some(at)) if at <= now => format!("expired {}", rfc3339(at)),
            (None, Some(at)) => format!("until {}", rfc3339(at)),
            (None, None) => "live".into(),
        };
        let used = token.last_used_at.map_or("never".into(), rfc3339);
        let (id, scopes) = (token.id.to_string(), token.scopes.to_string());
        table.add_row([id, token.name, scopes, state, rfc3339(token.created_at), used]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
    Ok(0)
}

async fn revoke(ctx: &Context, wanted: &str, out: &mut Output) -> anyhow::Result<u8> {
    let tokens = tokens::list_tokens(&mut *ctx.db.reader().await?).await?;
    let live = tokens.iter().filter(|token| token.revoked_at.is_none());
    let found: Vec<&TokenId> = live
        .filter(|token| token.id.as_str() == wanted || token.name == wanted)
        .map(|token| &token.id)
        .collect();
    match found[..] {
        [id] if access::revoke_token(ctx, ACTOR, id).await? => {
            out.line(&format!("{id} is revoked, and its sessions are over"));
            Ok(0)
        }
        [] | [_] => {
            anyhow::bail!("there is no live token {wanted:?}; `deploywatch token list` shows what there is")
        }
        _ => anyhow::bail!("{} live tokens are named {wanted:?}; revoke by identifier", found.len()),
    }
}

/// `90d`, `12h`, `30m`
fn length(text: &str) -> Result<SignedDuration, String> {
    let wrong = || "write a number and d, h or m, such as 90d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        _ => return Err(wrong()),
    };
    let total = number.checked_mul(seconds).filter(|total| (1..=3_155_760_000).contains(total));
    total
        .map(SignedDuration::from_secs)
        .ok_or_else(|| "must be more than nothing and at most 100 years".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_nonsense_is_not() {
        assert_eq!(length("90d"), Ok(SignedDuration::from_hours(90 * 24)));
        assert_eq!(length("12h"), Ok(SignedDuration::from_hours(12)));
        for wrong in ["", "d", "90", "90x", "-1d", "0m", "99999999999999d", "9é"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
