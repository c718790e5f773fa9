//! Slack's incoming webhooks, and what imitates them (Mattermost, Rocket.Chat, Discord's `/slack`).

use serde_json::{Value, json};

use super::payload::{Bulletin, clean, cut, status, title};
use super::{Call, Failure, address, allowed};
use crate::domain::incident::IncidentState;
use crate::domain::notification::Notice;
use crate::settings::Channel;

/// Slack refuses longer headings and sections.
const HEADING: usize = 150;
const SECTION: usize = 2_900;
const MEMBERS: usize = 5;
/// Messages that a digest lists.
const DIGESTED: usize = 15;

pub(super) fn request(settings: &Channel, body: &str) -> Result<Call, Failure> {
    Ok(Call {
        url: address(settings, None)?,
        headers: vec![("content-type", "application/json; charset=utf-8".into())],
        body: Some(body.to_owned()),
        allow: allowed(settings),
    })
}

/// The text for notifications, and blocks for the channel.
pub(super) fn body(bulletin: &Bulletin<'_>) -> Value {
    let facts = bulletin.facts;
    let heading = cut(&title(bulletin), HEADING);
    let mut blocks =
        vec![json!({"type": "header", "text": {"type": "plain_text", "text": heading, "emoji": false}})];
    let mut lines = vec![escape(&facts.headline)];
    if let Some(IncidentState::Resolved { note, .. }) = bulletin.incident.map(|incident| &incident.state) {
        lines.push(format!("Over: {}", escape(note)));
    }
    if let (Notice::Acknowledged, Some(IncidentState::Acknowledged { by, .. })) =
        (bulletin.notice, bulletin.incident.map(|incident| &incident.state))
    {
        lines.push(format!("{} is on it", escape(by)));
    }
    blocks.push(section(&lines.join("\n")));
    if bulletin.notice == Notice::Digest {
        let listed = facts.members.iter().take(DIGESTED);
        let mut listed: Vec<String> =
            listed.map(|m| format!("• *{}* {}", escape(&m.title), escape(&m.message))).collect();
        if facts.members.len() > DIGESTED {
            listed.push(format!("+ {} more", facts.members.len() - DIGESTED));
        }
        blocks.push(section(&listed.join("\n")));
    } else if !facts.members.is_empty() && bulletin.is_news() {
        let mut listed: Vec<String> = facts
            .members
            .iter()
            .take(MEMBERS)
            .map(|m| format!("• *{}*: {}", escape(&m.title), escape(&m.observed)))
            .collect();
        if facts.members.len() > MEMBERS {
            listed.push(format!("+ {} more", facts.members.len() - MEMBERS));
        }
        blocks.push(section(&listed.join("\n")));
    }
    if let Some(step) = facts.next_steps.first().filter(|_| bulletin.is_news()) {
        blocks.push(section(&format!("Next: {}", escape(step))));
    }
    let links = links(bulletin);
    if !links.is_empty() {
        blocks.push(section(&links));
    }
    let text = format!("[{}] {}", status(bulletin), escape(&facts.headline));
    json!({"text": cut(&text, SECTION), "blocks": blocks, "unfurl_links": false, "unfurl_media": false})
}

fn links(bulletin: &Bulletin<'_>) -> String {
    let page = bulletin.page.iter().map(|url| ("Open", url.as_str()));
    let all = page.chain(bulletin.actions.iter().map(|(label, url)| (*label, url.as_str())));
    let link =
        |(label, url): (&str, &str)| format!("<{}|{}>", escape(url).replace('|', "%7C"), escape(label));
    all.map(link).collect::<Vec<_>>().join("  ·  ")
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION), "verbatim": true}})
}

/// Slack's own three letters; everything else is plain, `<!channel>` and `<@U1>` included.
fn escape(text: &str) -> String {
    clean(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
