//! A scripted world behind the real server: what outside systems ask, under a clock that the test moves.

use std::sync::Arc;

use deploywatch::app::{App, Role, Ticking};
use deploywatch::domain::check::Check;
use deploywatch::settings::Settings;
use reqwest::{Method, RequestBuilder};

use super::TestStore;
use super::watch::World;

pub struct Served {
    pub world: World,
    pub app: App,
    pub client: reqwest::Client,
}

impl Served {
    pub async fn start(store: &TestStore, checks: Vec<Check>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut world = World::new(store, checks).await;
        let settings = Arc::make_mut(&mut world.ctx.settings);
        settings.http.listen = ([127, 0, 0, 1], 0).into();
        change(settings);
        // Identifiers are really random: a restart under a clock that stands still must not repeat them.
        world.ctx.entropy = Arc::new(deploywatch::system::SystemEntropy);
        let app = App::start_with(world.ctx.clone(), Role::All, Ticking::ByHand).await;
        let app = app.unwrap_or_else(|error| panic!("the application starts: {error:?}"));
        Self { world, app, client: super::http::client() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address.expect("this application listens"))
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        let answer = self.request(Method::GET, path).send().await.expect("the server answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }
}
