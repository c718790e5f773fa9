//! The line in which a mail says of itself that it is late.

use crate::domain::notification::Content;

/// Where the line goes in the HTML: after the headline, which every mail has.
const AFTER: &str = "</h1>";

/// The same mail with `note` under its headline. The note is our own words; markup in it is inert all the same.
pub fn with_note(content: &Content, note: &str) -> Content {
    let mut content = content.clone();
    let (first, rest) = content.text.split_once('\n').unwrap_or((content.text.as_str(), ""));
    content.text = format!("{first}\n{note}\n{rest}");
    let inert = note.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    if let Some(at) = content.html.find(AFTER) {
        content.html.insert_str(at + AFTER.len(), &format!("\n<p><b>{inert}</b></p>"));
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_stands_under_the_headline_in_both_parts() {
        let content = Content {
            message_id: "<a@example.com>".into(),
            subject: "[FAIL 1] a".into(),
            headers: Vec::new(),
            text: "FAIL 1: it fails\nSince noon.".into(),
            html: "<h1>it fails</h1>\n<p>Since noon.</p>".into(),
        };
        let late = with_note(&content, "Late by 5 > 3 min.");
        assert_eq!(late.text, "FAIL 1: it fails\nLate by 5 > 3 min.\nSince noon.");
        assert!(late.html.contains("</h1>\n<p><b>Late by 5 &gt; 3 min.</b></p>\n<p>Since"), "{}", late.html);
        assert_eq!((late.message_id, late.subject), (content.message_id, content.subject));
    }
}
