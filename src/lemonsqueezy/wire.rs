//! The JSON:API objects of Lemon Squeezy, as far as they are read.

use serde::Deserialize;

use crate::domain::clock::Timestamp;
use crate::domain::provider::Registered;
use crate::domain::secret::SlotMode;

#[derive(Debug, Deserialize)]
pub struct List {
    #[serde(default)]
    meta: Meta,
    data: Vec<Object>,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    page: Page,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    last_page: u32,
}

#[derive(Debug, Deserialize)]
struct Object {
    id: String,
    attributes: Attributes,
}

#[derive(Debug, Deserialize)]
struct Attributes {
    #[serde(default)]
    store_id: Option<u64>,
    url: String,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    last_sent_at: Option<Timestamp>,
    #[serde(default)]
    updated_at: Option<Timestamp>,
    #[serde(default)]
    test_mode: bool,
}

impl List {
    pub fn last_page(&self) -> u32 {
        self.meta.page.last_page
    }

    pub fn registered(self) -> impl Iterator<Item = Registered> {
        self.data.into_iter().map(|Object { id, attributes }| Registered {
            id,
            store_id: attributes.store_id,
            url: attributes.url,
            events: attributes.events,
            last_sent_at: attributes.last_sent_at,
            updated_at: attributes.updated_at,
            mode: if attributes.test_mode { SlotMode::Test } else { SlotMode::Live },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_list_is_read() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/lemon_squeezy/api-webhooks.list.lemonsqueezy-go.json"
        );
        let list: List = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(list.last_page(), 1);
        let found: Vec<Registered> = list.registered().collect();
        let [only] = &found[..] else { panic!("there is one webhook") };
        assert_eq!((only.id.as_str(), only.store_id, only.mode), ("1", Some(1), SlotMode::Live));
        assert_eq!(only.url, "https://mysite.com/webhooks/");
        assert_eq!(only.events.len(), 4);
        assert_eq!(only.last_sent_at.unwrap().to_string(), "2022-11-22T07:38:06Z");
    }
}
