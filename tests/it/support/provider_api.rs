//! A stand-in for Lemon Squeezy's API: it answers the recorded list, changed as a test says.

use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

/// One answer; the last one repeats.
#[derive(Clone)]
pub enum Answer {
    /// Pages of webhooks.
    Pages(Vec<Vec<Value>>),
    Status(u16, Vec<(&'static str, String)>),
    Text(&'static str),
}

#[derive(Default)]
struct State {
    answers: Vec<Answer>,
    queries: Vec<String>,
    keys: Vec<String>,
}

pub struct ProviderApi {
    state: Arc<Mutex<State>>,
    port: u16,
    server: actix_web::dev::ServerHandle,
}

/// The recorded webhook object with this URL, these events, last sent then.
pub fn webhook(id: &str, url: &str, events: &[&str], last_sent_at: Option<&str>, test_mode: bool) -> Value {
    let recorded = super::fixture_bytes("lemon_squeezy/api-webhook-object.get.lemonsqueezy-go.json");
    let recorded: Value = serde_json::from_slice(&recorded).expect("the recorded object is JSON");
    let mut object = recorded["data"].clone();
    object["id"] = id.into();
    let attributes = object["attributes"].as_object_mut().expect("the recorded object has attributes");
    attributes.insert("url".into(), url.into());
    attributes.insert("events".into(), events.into());
    attributes.insert("last_sent_at".into(), last_sent_at.into());
    attributes.insert("test_mode".into(), test_mode.into());
    object
}

impl ProviderApi {
    pub async fn start(answers: Vec<Answer>) -> Self {
        let state = Arc::new(Mutex::new(State { answers, ..State::default() }));
        let shared = Arc::clone(&state);
        let server = HttpServer::new(move || {
            let state = web::Data::from(Arc::clone(&shared));
            App::new().app_data(state).route("/v1/webhooks", web::get().to(list))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .expect("loopback has a free port");
        let port = server.addrs()[0].port();
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { state, port, server: handle }
    }

    pub fn url(&self) -> url::Url {
        format!("http://127.0.0.1:{}", self.port).parse().expect("the address is well-formed")
    }

    /// What it answers from now on.
    pub fn answer(&self, answers: Vec<Answer>) {
        self.state.lock().unwrap().answers = answers;
    }

    /// The queries of all calls until now.
    pub fn queries(&self) -> Vec<String> {
        self.state.lock().unwrap().queries.clone()
    }

    pub fn keys(&self) -> Vec<String> {
        self.state.lock().unwrap().keys.clone()
    }
}

impl Drop for ProviderApi {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn list(request: HttpRequest, state: web::Data<Mutex<State>>) -> HttpResponse {
    let mut state = state.lock().unwrap();
    let header = |name: &str| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    state.queries.push(request.query_string().to_owned());
    state.keys.push(header("authorization"));
    if header("accept") != "application/vnd.api+json" {
        return HttpResponse::NotAcceptable().finish();
    }
    let answer = match state.answers.len() {
        0 => Answer::Pages(vec![Vec::new()]),
        1 => state.answers[0].clone(),
        _ => state.answers.remove(0),
    };
    match answer {
        Answer::Status(status, headers) => {
            let mut response = HttpResponse::build(status.try_into().expect("it is a status"));
            for header in headers {
                response.insert_header(header);
            }
            response.finish()
        }
        Answer::Text(text) => HttpResponse::Ok().body(text),
        Answer::Pages(pages) => {
            let page = url::form_urlencoded::parse(request.query_string().as_bytes())
                .find(|(name, _)| name == "page[number]")
                .and_then(|(_, number)| number.parse::<usize>().ok())
                .unwrap_or(1);
            let recorded = super::fixture_bytes("lemon_squeezy/api-webhooks.list.lemonsqueezy-go.json");
            let mut recorded: Value = serde_json::from_slice(&recorded).expect("the recorded list is JSON");
            recorded["meta"]["page"]["currentPage"] = page.into();
            recorded["meta"]["page"]["lastPage"] = pages.len().into();
            recorded["data"] = pages.get(page - 1).cloned().unwrap_or_default().into();
            HttpResponse::Ok()
                .insert_header(("x-ratelimit-limit", "300"))
                .insert_header(("x-ratelimit-remaining", "290"))
                .json(recorded)
        }
    }
}
