//! deploy/: each example against the schema of what reads it, and each request it makes against a real server.

use std::collections::BTreeMap;
use std::path::Path;

use deploywatch::domain::access::Scope;
use deploywatch::domain::clock::SignedDuration;
use deploywatch::services::access;
use reqwest::Method;
use serde_json::Value;

use crate::support::served::Served;
use crate::support::watch::violations;
use crate::support::{Engine, TestStore};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn documents(path: &str) -> Vec<Value> {
    let text = read(path);
    let document =
        |text: &str| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.split("\n---\n").map(document).collect()
}

fn assert_valid(document: &Value, schema: &str) {
    let path = crate::support::fixture(&format!("crds/{schema}.json"));
    let mut schemas = boon::Schemas::new();
    let schema = boon::Compiler::new().compile(path.to_str().unwrap(), &mut schemas);
    let schema = schema.unwrap_or_else(|error| panic!("the schema is one: {error:?}"));
    if let Err(error) = schemas.validate(document, schema) {
        panic!("{error:#}");
    }
}

async fn served(store: &TestStore) -> Served {
    Served::start(store, vec![violations("users.email")], |_| {}).await
}

async fn token(served: &Served, scopes: &[Scope]) -> String {
    let scopes = scopes.iter().copied().collect();
    access::reveal(&access::create_token(&served.world.ctx, "test", "x", scopes, None).await.unwrap())
        .to_owned()
}

fn minutes(n: i64) -> SignedDuration {
    SignedDuration::from_mins(n)
}

#[tokio::test]
async fn argos_templates_fit_its_schema_and_ask_for_what_the_server_says() {
    let store = TestStore::new(Engine::Sqlite).await;
    let served = served(&store).await;
    let token = token(&served, &[Scope::Gate]).await;
    served.world.release("v1").await;
    served.world.pass(minutes(11)).await;
    let templates = documents("argo-rollouts/analysis-template.yaml");
    assert_eq!(templates.len(), 2);
    for template in &templates {
        assert_valid(template, "analysistemplates.argoproj.io");
        let metric = &template["spec"]["metrics"][0];
        let web = &metric["provider"]["web"];
        let fill = |text: &Value| {
            let mut text = text.as_str().unwrap().to_owned();
            let url = served.url("");
            for (name, value) in [
                ("url", url.as_str()),
                ("environment", "acme-production"),
                ("version", "v1"),
                ("token", &token),
            ] {
                text = text.replace(&format!("{{{{args.{name}}}}}"), value);
            }
            assert!(!text.contains("{{"), "{text}");
            text
        };
        let mut request = served.client.get(fill(&web["url"]).replace("wait=60s", "wait=0s"));
        for header in web["headers"].as_array().unwrap() {
            request = request.header(header["key"].as_str().unwrap(), fill(&header["value"]));
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let result: Value = answer.json().await.unwrap();
        assert_eq!((result["answer"].as_str(), result["state"].as_str()), (Some("go"), Some("verifying")));
        for condition in ["successCondition", "failureCondition"] {
            let condition = metric[condition].as_str().unwrap();
            for field in condition.split("result.").skip(1) {
                let field: String = field.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                assert!(!result[&field].is_null(), "{field} of {condition}");
            }
        }
    }
    let mut wrong = templates[0].clone();
    wrong["spec"]["metrics"][0]["sucessCondition"] = Value::from("x");
    let refused = std::panic::catch_unwind(|| assert_valid(&wrong, "analysistemplates.argoproj.io"));
    assert!(refused.is_err(), "the schema notices a misspelt name");
}

#[tokio::test]
async fn flaggers_hooks_fit_its_schema_and_are_held_let_go_and_rolled_back() {
    let store = TestStore::new(Engine::Sqlite).await;
    let served = served(&store).await;
    let token = token(&served, &[Scope::Gate]).await;
    let canary = documents("flagger/canary.yaml").remove(0);
    assert_valid(&canary, "canaries.flagger.app");
    let mut hooks = BTreeMap::new();
    for hook in canary["spec"]["analysis"]["webhooks"].as_array().unwrap() {
        let text = hook["url"].as_str().unwrap().replace("${DEPLOYWATCH_TOKEN}", &token);
        let url: url::Url = text.parse().unwrap();
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let who = (url.username().to_owned(), url.password().unwrap().to_owned());
        hooks.insert(hook["type"].as_str().unwrap().to_owned(), (path, who));
    }
    let ask = async |kind: &str| {
        let (path, (user, password)) = &hooks[kind];
        let body = serde_json::json!({ "name": "shop", "namespace": "default", "phase": "Progressing" });
        let asked = served.request(Method::POST, path).basic_auth(user, Some(password)).json(&body);
        asked.send().await.unwrap().status().as_u16()
    };
    assert_eq!((ask("confirm-rollout").await, ask("confirm-promotion").await), (200, 404));
    served.world.release("v1").await;
    assert_eq!((ask("confirm-promotion").await, ask("rollback").await), (425, 409));
    served.world.pass(minutes(11)).await;
    assert_eq!((ask("confirm-promotion").await, ask("rollback").await), (200, 409));
    served.world.target.script(|_, _| Ok(3.0));
    served.world.pass(minutes(6)).await;
    assert_eq!(
        (ask("confirm-promotion").await, ask("rollback").await, ask("confirm-rollout").await),
        (409, 200, 409)
    );
}

/// What the steps of the action ended with.
struct Ran {
    code: i32,
    printed: String,
    outputs: BTreeMap<String, String>,
    summary: String,
}

/// Runs the action's steps as a runner does: inputs filled in, the environment of a workflow, bash.
async fn act(with: &[(&str, &str)], runner: &[(&str, &str)]) -> Ran {
    let action: Value = documents("github-action/action.yml").remove(0);
    assert_eq!(action["runs"]["using"], "composite");
    let mut inputs: BTreeMap<&str, String> = BTreeMap::new();
    for (name, input) in action["inputs"].as_object().unwrap() {
        let default = input["default"].as_str().unwrap_or_default();
        inputs.insert(name, default.to_owned());
        let given = with.iter().any(|(given, _)| given == name);
        assert!(given || input["required"] != true, "{name} is required");
    }
    for (name, value) in with {
        assert!(inputs.insert(name, (*value).to_owned()).is_some(), "{name} is an input of the action");
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/github-action");
    let fill = |text: &str| {
        let mut text = text.replace("${{ github.action_path }}", here.to_str().unwrap());
        for (name, value) in &inputs {
            text = text.replace(&format!("${{{{ inputs.{name} }}}}"), value);
        }
        assert!(!text.contains("${{"), "{text}");
        text
    };
    let folder = crate::support::temp_dir();
    let (output, summary) = (folder.path().join("output"), folder.path().join("summary"));
    let mut ran = Ran { code: 0, printed: String::new(), outputs: BTreeMap::new(), summary: String::new() };
    for step in action["runs"]["steps"].as_array().unwrap() {
        assert_eq!(step["shell"], "bash");
        let mut command = tokio::process::Command::new("bash");
        command
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &fill(step["run"].as_str().unwrap())])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_STEP_SUMMARY", &summary)
            // Not a setting of the action: it only makes these tests quick.
            .env("DEPLOYWATCH_PAUSE", "0.1")
            .envs(runner.iter().copied());
        for (name, value) in step["env"].as_object().unwrap() {
            command.env(name, fill(value.as_str().unwrap()));
        }
        let done = command.output().await.expect("bash can be started");
        ran.code = done.status.code().unwrap_or(-1);
        ran.printed += &String::from_utf8_lossy(&done.stdout);
        ran.printed += &String::from_utf8_lossy(&done.stderr);
    }
    let lines = std::fs::read_to_string(&output).unwrap_or_default();
    ran.outputs =
        lines.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
    ran.summary = std::fs::read_to_string(&summary).unwrap_or_default();
    ran
}

#[tokio::test]
async fn the_github_action_announces_asks_and_explains() {
    let store = TestStore::new(Engine::Sqlite).await;
    let served = served(&store).await;
    let token = token(&served, &[Scope::Deploy, Scope::Gate]).await;
    let (url, sha) = (served.url(""), "7f3c2a1d9b8e4c6f7f3c2a1d9b8e4c6f7f3c2a1d");
    let runner = [
        ("GITHUB_SHA", sha),
        ("GITHUB_ACTOR", "dana"),
        ("GITHUB_SERVER_URL", "https://github.example"),
        ("GITHUB_REPOSITORY", "acme/shop"),
        ("GITHUB_RUN_ID", "42"),
    ];
    let run = async |with: &[(&str, &str)]| {
        let mut all = vec![("url", url.as_str()), ("token", token.as_str())];
        all.extend(with);
        act(&all, &runner).await
    };
    let asked = run(&[("command", "gate"), ("previous", "true"), ("wait", "0s")]).await;
    assert_eq!(asked.code, 0, "{}", asked.printed);

    let started = run(&[("command", "start")]).await;
    assert_eq!(started.code, 0, "{}", started.printed);
    let id = started.outputs["deploy"].clone();
    assert!(id.starts_with("dep_") && started.outputs["state"] == "deploying", "{:?}", started.outputs);
    let finished = run(&[("command", "finish")]).await;
    assert_eq!((finished.code, &finished.outputs["deploy"]), (0, &id), "{}", finished.printed);
    let deploy = deploywatch::domain::ids::DeployId::from_text(id.as_str());
    let row = served.world.row(&deploy).await.deploy;
    assert_eq!((row.version.as_str(), row.commit.as_deref()), ("7f3c2a1d9b8e", Some(sha)));
    assert_eq!(row.link.as_deref(), Some("https://github.example/acme/shop/actions/runs/42"));

    let waiting = run(&[("command", "gate"), ("wait", "1s")]).await;
    assert_eq!((waiting.code, waiting.outputs["answer"].as_str()), (4, "wait"), "{}", waiting.printed);
    served.world.pass(minutes(11)).await;
    let go = run(&[("command", "gate")]).await;
    assert_eq!((go.code, go.outputs["answer"].as_str()), (0, "go"), "{}", go.printed);
    assert!(go.printed.contains("GO: deploy 7f3c2a1d9b8e") && !go.printed.contains("::"), "{}", go.printed);

    served.world.target.script(|_, _| Ok(3.0));
    served.world.pass(minutes(6)).await;
    let stop = run(&[("command", "gate")]).await;
    assert_eq!((stop.code, stop.outputs["answer"].as_str()), (1, "stop"), "{}", stop.printed);
    assert!(
        stop.printed.lines().any(|line| line.starts_with("::error title=users.email::")),
        "{}",
        stop.printed
    );
    assert!(
        stop.summary.contains("### deploywatch: stop") && stop.summary.contains("| users.email |"),
        "{}",
        stop.summary
    );
    let back = run(&[("command", "gate"), ("previous", "true"), ("kind", "rollback")]).await;
    assert_eq!(back.code, 0, "{}", back.printed);

    let other = [("command", "gate"), ("version", "never"), ("wait", "0s")];
    assert_eq!(run(&other).await.code, 5);
    let second = [("version", "v2")];
    assert_eq!(run(&[&[("command", "start")][..], &second].concat()).await.code, 0);
    let cancelled =
        run(&[&[("command", "cancel"), ("reason", "the build failed")][..], &second].concat()).await;
    assert_eq!(cancelled.code, 0, "{}", cancelled.printed);

    let refused = act(&[("command", "gate"), ("url", &url), ("token", "dw_wrong")], &runner).await;
    assert_eq!(refused.code, 7, "{}", refused.printed);
    let nobody = [("command", "start"), ("url", "http://127.0.0.1:1"), ("token", token.as_str())];
    assert_eq!(act(&nobody, &runner).await.code, 6);
    for wrong in [[("command", "deploy"), ("url", "http://x")], [("command", "gate"), ("url", "")]] {
        assert_eq!(act(&wrong, &runner).await.code, 2);
    }
    for said in [&started, &stop, &refused] {
        assert!(!said.printed.contains(&token) && !said.printed.contains("dw_wrong"), "no token is printed");
    }
}
