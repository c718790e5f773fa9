//! Settings: three sources, every problem at once, and no secret in any output.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use deploywatch::settings::{Inputs, Loaded, Purpose, SettingsError, load, schema, variable_of};
use secrecy::ExposeSecret;

use super::support::{cli, process::Invocation, temp_dir};

fn inputs(env: &[(&str, &str)]) -> Inputs {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Inputs { env, ..Inputs::default() }
}

fn loaded(env: &[(&str, &str)]) -> Loaded {
    load(&inputs(env), Purpose::Command).unwrap_or_else(|error| panic!("these load: {error}"))
}

fn problems(inputs: &Inputs, purpose: Purpose) -> Vec<String> {
    match load(inputs, purpose) {
        Ok(_) => Vec::new(),
        Err(SettingsError { problems }) => problems,
    }
}

#[test]
fn the_names_that_products_already_use_work_as_they_stand() {
    let loaded = loaded(&[
        ("DATABASE_URL", "postgres://u:p@db/acme"),
        ("LEMONSQUEEZY_WEBHOOK_SECRET", "current-secret"),
        ("LEMONSQUEEZY_WEBHOOK_SECRET_PREVIOUS", "previous-secret"),
    ]);
    let settings = &loaded.settings;
    assert_eq!(settings.environments["production"].database_url.expose_secret(), "postgres://u:p@db/acme");
    let source = &settings.webhooks.sources["lemonsqueezy"];
    assert_eq!(source.secret.as_ref().unwrap().expose_secret(), "current-secret");
    assert_eq!(source.secret_previous.as_ref().unwrap().expose_secret(), "previous-secret");
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn stronger_sources_win_field_by_field() {
    let dir = temp_dir();
    let file = dir.path().join("deploywatch.toml");
    std::fs::write(
        &file,
        "[http]\nlisten = \"127.0.0.1:9000\"\nshutdown_seconds = 7\n\
         [environments.acme_production]\ndatabase_url = \"postgres://file/acme\"\n",
    )
    .unwrap();
    let env = [
        ("DEPLOYWATCH__HTTP__LISTEN", "127.0.0.1:9001"),
        ("DEPLOYWATCH__ENVIRONMENTS__ACME_PRODUCTION__RECIPIENTS", "a@example.com, b@example.com"),
        ("DEPLOYWATCH__ENVIRONMENTS__ACME_STAGING__DATABASE_URL", "postgres://env/staging"),
        ("DATABASE_URL", "postgres://ignored/acme"),
    ];
    let loaded = load(&Inputs { file: Some(file.clone()), ..inputs(&env) }, Purpose::Command).unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.http.listen.port(), 9001);
    assert_eq!(settings.http.shutdown_seconds, 7);
    // The file's spelling of a name stands; a name that only the environment has gets dashes.
    let names: Vec<&str> = settings.environments.keys().map(String::as_str).collect();
    assert_eq!(names, ["acme-staging", "acme_production"]);
    assert_eq!(settings.environments["acme_production"].recipients, ["a@example.com", "b@example.com"]);
    assert!(loaded.warnings[0].starts_with("DATABASE_URL is not used"), "{:?}", loaded.warnings);
    let origin = |path: &str| loaded.shown.iter().find(|s| s.path == path).unwrap().origin.clone();
    assert_eq!(origin("http.listen"), "DEPLOYWATCH__HTTP__LISTEN");
    assert_eq!(origin("http.shutdown_seconds"), format!("{}:3", file.display()));
    assert_eq!(origin("scan.connections"), "default");
}

#[test]
fn secrets_come_from_files_without_their_last_newline() {
    let dir = temp_dir();
    let path = dir.path().join("secret");
    std::fs::write(&path, "from-a-file\n").unwrap();
    let path = path.display().to_string();
    for variable in
        ["LEMONSQUEEZY_WEBHOOK_SECRET_FILE", "DEPLOYWATCH__WEBHOOKS__SOURCES__LEMONSQUEEZY__SECRET_FILE"]
    {
        let settings = loaded(&[(variable, &path)]).settings;
        let secret = settings.webhooks.sources["lemonsqueezy"].secret.as_ref().unwrap().expose_secret();
        assert_eq!(secret, "from-a-file", "{variable}");
    }
}

#[test]
fn every_problem_comes_at_once_with_its_field_and_origin() {
    let dir = temp_dir();
    std::fs::write(
        dir.path().join("deploywatch.toml"),
        "[http]\nlisten = 8080\n\n[emial]\nfrom = \"x\"\n\n[environments.acme]\nsuites = \"checks\"\n",
    )
    .unwrap();
    let mut inputs = inputs(&[
        ("DEPLOYWATCH__HTTP__LISTN", "127.0.0.1:1"),
        ("DEPLOYWATCH_HTTP_LISTEN", "127.0.0.1:1"),
        ("DEPLOYWATCH__EMAIL__SMTP__TLS", "startls"),
        ("DEPLOYWATCH__EMAIL__SMTP__HOST", "mail.example.com"),
        ("DEPLOYWATCH__SCAN__CONNECTIONS", "many"),
        ("DEPLOYWATCH__STORE__URL_FILE", "/nowhere/url"),
        ("LEMONSQUEEZY_WEBHOOK_SECRET", "abc"),
        ("LEMONSQUEEZY_WEBHOOK_SECRET_PREVIOUS", ""),
    ]);
    inputs.directory = Some(dir.path().to_owned());
    let found = problems(&inputs, Purpose::Serve);
    for expected in [
        "http.listen (deploywatch.toml:2) must be an address with a port, such as 127.0.0.1:8080, not 8080",
        "emial.from (deploywatch.toml:5) is not a setting; did you mean email.from?",
        "environments.acme.suites (deploywatch.toml:8) must be a list (in the environment: separated by commas), not \"checks\"",
        "environments.acme.database_url is missing; set it, or DEPLOYWATCH__ENVIRONMENTS__ACME__DATABASE_URL, or its _FILE form",
        "DEPLOYWATCH__HTTP__LISTN is not a setting; did you mean DEPLOYWATCH__HTTP__LISTEN?",
        "DEPLOYWATCH_HTTP_LISTEN is read by nothing; the sections are separated by two underscores: DEPLOYWATCH__HTTP__LISTEN",
        "email.smtp.tls (DEPLOYWATCH__EMAIL__SMTP__TLS) must be one of \"implicit\", \"starttls\", \"none\", not \"startls\"; did you mean \"starttls\"?",
        "scan.connections (DEPLOYWATCH__SCAN__CONNECTIONS) must be a whole number from 0 to 4294967295, not \"many\"",
        "store.url_file (DEPLOYWATCH__STORE__URL_FILE): the file /nowhere/url cannot be read: No such file or directory (os error 2)",
        "webhooks.sources.lemonsqueezy.secret (LEMONSQUEEZY_WEBHOOK_SECRET) is shorter than 6 characters, which is easily guessed",
        "email.recipients is empty, so nobody would be told about acme; set DEPLOYWATCH__EMAIL__RECIPIENTS=oncall@example.com, or recipients of the environment",
    ] {
        assert!(found.iter().any(|p| p == expected), "{expected}\nis missing in\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), 11, "{}", found.join("\n"));
}

#[test]
fn each_rule_has_its_sentence() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("DATABASE_URL", "mysql://db/acme")], "must be postgres://USER@HOST/NAME or sqlite:PATH"),
        (&[("DATABASE_URL", "")], "is empty; give the watched database"),
        (&[("LEMONSQUEEZY_WEBHOOK_SECRET", "")], "is empty; anybody could sign with it"),
        (&[("LEMONSQUEEZY_WEBHOOK_SECRET_PREVIOUS", "previous")], "is given without secret"),
        (&[("DEPLOYWATCH__STORE__URL", "sqlite::memory:")], "in-memory store would lose everything"),
        (&[("DEPLOYWATCH__STORE__URL", "redis://x")], "must be sqlite:PATH or postgres://"),
        (&[("DEPLOYWATCH__SECRETS__MASTER_KEY", "short")], "`openssl rand -hex 32` makes one"),
        (&[("DEPLOYWATCH__HTTP__SHUTDOWN_SECONDS", "60")], "must be at most 25"),
        (&[("DEPLOYWATCH__HTTP__PUBLIC_URL", "ftp://x")], "must be an http:// or https:// address"),
        (&[("DEPLOYWATCH__VERIFICATION__SMOKE_SECONDS", "90000")], "must not be longer than"),
        (&[("DEPLOYWATCH__SCAN__CONNECTIONS", "0")], "must be more than 0"),
        (
            &[("DEPLOYWATCH__EMAIL__RECIPIENTS", "a@example.com,nonsense")],
            "(number 2) must be a mail address",
        ),
        (
            &[
                ("DEPLOYWATCH__EMAIL__SMTP__HOST", "mail.example.com"),
                ("DEPLOYWATCH__EMAIL__SMTP__TLS", "none"),
            ],
            "in the clear",
        ),
        (&[("DEPLOYWATCH__EMAIL__SMTP__USERNAME", "u")], "is given without email.smtp.password"),
        (
            &[
                ("DEPLOYWATCH__ENVIRONMENTS__A__DATABASE_URL", "sqlite:a.db"),
                ("DEPLOYWATCH__ENVIRONMENTS__B__DATABASE_URL", "sqlite:b.db"),
                ("LEMONSQUEEZY_WEBHOOK_SECRET", "current-secret"),
            ],
            "is missing; say which one of a, b it is",
        ),
        (
            &[
                ("DATABASE_URL", "sqlite:a.db"),
                ("LEMONSQUEEZY_WEBHOOK_SECRET", "current-secret"),
                ("DEPLOYWATCH__WEBHOOKS__SOURCES__LEMONSQUEEZY__ENVIRONMENT", "prod"),
            ],
            "names \"prod\", which is not an environment (production)",
        ),
        (
            &[("DATABASE_URL", "sqlite:a.db"), ("DEPLOYWATCH__ENVIRONMENTS__PRODUCTION__SUITES", "/nowhere")],
            "names /nowhere, which does not exist",
        ),
        (
            &[
                ("LEMONSQUEEZY_WEBHOOK_SECRET", "one-secret"),
                ("LEMONSQUEEZY_WEBHOOK_SECRET_FILE", "/etc/hostname"),
            ],
            "is set twice, by LEMONSQUEEZY_WEBHOOK_SECRET and by LEMONSQUEEZY_WEBHOOK_SECRET_FILE",
        ),
        (&[("DEPLOYWATCH__TELEMETRY__LOG", "info,=")], "must be tracing directives"),
        (&[("DEPLOYWATCH__HEARTBEAT__URL", "nonsense")], "must be an address that begins with https://"),
        (&[("DEPLOYWATCH__CHANNELS__TEAM__KIND", "slack")], "is missing; say where to send"),
        (
            &[
                ("DEPLOYWATCH__CHANNELS__TEAM__KIND", "webhook"),
                ("DEPLOYWATCH__CHANNELS__TEAM__URL", "https://bot.example.com/"),
                ("DEPLOYWATCH__CHANNELS__TEAM__SECRET", "whsec_c2hvcnQ="),
            ],
            "must be whsec_ and 24 to 64 bytes as base64",
        ),
        (&[("DEPLOYWATCH__CHANNELS__PAGER__KIND", "pagerduty")], "give the routing key"),
    ];
    for (env, sentence) in cases {
        let found = problems(&inputs(env), Purpose::Command);
        assert!(found.iter().any(|p| p.contains(sentence)), "{env:?}: {sentence}\nis missing in {found:#?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_is_named_with_its_line() {
    let dir = temp_dir();
    let broken = dir.path().join("broken.toml");
    std::fs::write(&broken, "[http]\nlisten = \n[store\n").unwrap();
    let found = problems(&Inputs { file: Some(broken.clone()), ..Inputs::default() }, Purpose::Command);
    assert!(found[0].starts_with(&format!("{}:2: ", broken.display())), "{found:?}");
    let missing = Path::new("/nowhere/deploywatch.toml").to_owned();
    let found = problems(&Inputs { file: Some(missing), ..Inputs::default() }, Purpose::Command);
    assert!(found[0].starts_with("/nowhere/deploywatch.toml: the settings file cannot be read"), "{found:?}");
}

#[test]
fn a_trigger_that_anybody_could_pull_or_that_means_nothing_is_refused() {
    let environments = [
        ("DEPLOYWATCH__ENVIRONMENTS__ONE__DATABASE_URL", "postgres://db.invalid/one"),
        ("DEPLOYWATCH__ENVIRONMENTS__TWO__DATABASE_URL", "postgres://db.invalid/two"),
    ];
    for (variable, value, expected) in [
        ("DEPLOYWATCH__TRIGGERS__GITHUB__REPOSITORIES", "acme/shop", "triggers.github.secret is missing"),
        ("DEPLOYWATCH__TRIGGERS__SHOP__SECRET", "long enough", "triggers.shop.provider is missing"),
        ("DEPLOYWATCH__TRIGGERS__GITHUB__SECRET", "abc", "is shorter than 6 characters"),
        ("DEPLOYWATCH__TRIGGERS__GITHUB__SECRET", "long enough", "triggers.github.environments is empty"),
        ("DEPLOYWATCH__TRIGGERS__GITHUB__ENVIRONMENTS", "Production=three", "which is not an environment"),
        ("DEPLOYWATCH__TRIGGERS__GITHUB__ENVIRONMENTS", "Production", "write \"Production=ENVIRONMENT\""),
        ("DEPLOYWATCH__TRIGGERS__GITHUB__REPOSITORIES", "shop", "which is not OWNER/NAME"),
        ("DEPLOYWATCH__TRIGGERS__GITHUB__APP_ID", "1", "is given without private_key"),
        ("DEPLOYWATCH__TRIGGERS__GITHUB__API_URL", "http://github.example.com", "must be https"),
    ] {
        let all: Vec<(&str, &str)> = environments.into_iter().chain([(variable, value)]).collect();
        let found = problems(&inputs(&all), Purpose::Command);
        assert!(found.iter().any(|problem| problem.contains(expected)), "{variable}={value}: {found:?}");
    }
    let good = [
        ("DEPLOYWATCH__TRIGGERS__GITHUB__SECRET", "long enough"),
        ("DEPLOYWATCH__TRIGGERS__GITHUB__ENVIRONMENTS", "Production=one,Staging=two"),
    ];
    let all: Vec<(&str, &str)> = environments.into_iter().chain(good).collect();
    assert_eq!(loaded(&all).settings.triggers["github"].environments.len(), 2);
}

/// The struct, `default.toml` and `.env.example` list the same settings, commented ones included.
#[test]
fn struct_defaults_and_example_list_the_same_settings() {
    let known: BTreeSet<String> = schema::FIELDS.iter().map(schema::Field::dotted).collect();

    let mut section = String::new();
    let mut in_defaults = BTreeSet::new();
    for line in deploywatch::settings::DEFAULTS.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name
                .replace("environments.acme-production", "environments.*")
                .replace("channels.team", "channels.*")
                .replace("sources.lemonsqueezy", "sources.*")
                .replace("triggers.github", "triggers.*")
                .replace("people.ada", "people.*")
                .replace("rotations.primary", "rotations.*")
                .replace("metrics.prometheus", "metrics.*")
                .replace("logs.vercel", "logs.*");
        } else if let Some((field, _)) = line.split_once(" = ")
            && field.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            // Any name may stand there; the example shows one.
            let field = if section == "signals.values" { "*" } else { field };
            in_defaults.insert(format!("{section}.{field}"));
        }
    }
    // The first comment of the file shows the form `name = `.
    in_defaults.remove(".name");
    assert_eq!(in_defaults, known, "default.toml and the structs differ");

    let example =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.example")).unwrap();
    let variables: BTreeSet<String> = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .collect();
    let expected = |field: &schema::Field| {
        let path: Vec<String> = field
            .path
            .iter()
            .enumerate()
            .map(|(i, part)| match part.as_str() {
                "*" if field.path[i - 1] == "environments" => "acme-production".to_owned(),
                "*" if field.path[i - 1] == "channels" => "team".to_owned(),
                "*" if field.path[i - 1] == "triggers" => "github".to_owned(),
                "*" if field.path[i - 1] == "people" => "ada".to_owned(),
                "*" if field.path[i - 1] == "rotations" => "primary".to_owned(),
                "*" if field.path[i - 1] == "metrics" => "prometheus".to_owned(),
                "*" if field.path[i - 1] == "logs" => "vercel".to_owned(),
                "*" if field.path[i - 1] == "values" => "login_token".to_owned(),
                "*" => "lemonsqueezy".to_owned(),
                other => other.to_owned(),
            })
            .collect();
        variable_of(&path)
    };
    for field in schema::FIELDS.iter() {
        let variable = expected(field);
        assert!(variables.contains(&variable), "{variable} is missing in .env.example");
        if field.secret {
            assert!(
                variables.contains(&format!("{variable}_FILE")),
                "{variable}_FILE is missing in .env.example"
            );
        }
    }
    let mut all: BTreeSet<String> = schema::FIELDS
        .iter()
        .flat_map(|f| {
            let variable = expected(f);
            if f.secret { vec![format!("{variable}_FILE"), variable] } else { vec![variable] }
        })
        .collect();
    for plain in deploywatch::settings::PLAIN_VARIABLES.iter().map(|(name, _)| *name).chain(["DATABASE_URL"])
    {
        all.extend([plain.to_owned(), format!("{plain}_FILE")]);
    }
    all.extend(deploywatch::settings::COMMAND_VARIABLES.iter().map(|name| (*name).to_owned()));
    all.extend(["NO_COLOR".to_owned()]);
    let unknown: Vec<&String> = variables.difference(&all).collect();
    assert!(unknown.is_empty(), ".env.example names {unknown:?}, which nothing reads");
}

#[tokio::test]
async fn no_secret_is_ever_printed() {
    let canaries = [
        ("DATABASE_URL", "postgres://user:canary-database@127.0.0.1:1/acme?password=canary-query"),
        ("LEMONSQUEEZY_WEBHOOK_SECRET", "canary-secret"),
        ("LEMONSQUEEZY_WEBHOOK_SECRET_PREVIOUS", "canary-previous"),
        ("DEPLOYWATCH__WEBHOOKS__SOURCES__LEMONSQUEEZY__TEST_SECRET", "canary-test"),
        ("DEPLOYWATCH__EMAIL__SMTP__PASSWORD", "canary-smtp"),
        ("DEPLOYWATCH__EMAIL__SMTP__USERNAME", "mailer"),
        ("DEPLOYWATCH__EMAIL__SMTP__HOST", "127.0.0.1"),
        ("DEPLOYWATCH__EMAIL__RECIPIENTS", "oncall@example.com"),
        ("DEPLOYWATCH__SECRETS__MASTER_KEY", "ca4a41"),
        ("DEPLOYWATCH__STORE__URL", "postgres://user:canary-store@127.0.0.1:1/dw"),
        ("DEPLOYWATCH__TELEMETRY__LOG", "trace"),
    ];
    let key = "ca4a41".repeat(10) + "ca4a";
    let env: BTreeMap<&str, &str> =
        canaries.iter().map(|(n, v)| (*n, if *v == "ca4a41" { key.as_str() } else { *v })).collect();
    let run = async |arguments: &[&str]| {
        let mut invocation = Invocation::new().args(arguments);
        for (name, value) in &env {
            invocation = invocation.env(name, value);
        }
        invocation.finish().await
    };
    for arguments in [
        &["config", "show"][..],
        &["config", "show", "--format", "json"],
        &["config", "check"],
        &["serve"],
        &["token", "list"],
    ] {
        let finished = run(arguments).await;
        let all = format!("{}{}", finished.stdout, finished.stderr);
        assert!(!all.contains("canary") && !all.contains("ca4a41"), "{arguments:?} printed a secret:\n{all}");
    }
    let loaded = loaded(&env.iter().map(|(n, v)| (*n, *v)).collect::<Vec<_>>());
    let debug = format!("{:?} {:?}", loaded.settings, loaded.shown);
    assert!(!debug.contains("canary") && !debug.contains("ca4a41"), "{debug}");
}

#[tokio::test]
async fn config_check_ends_with_the_code_for_configuration() {
    let good = cli(["config", "check"]).await;
    assert_eq!(
        (good.code, good.stdout.trim()),
        (0, "the settings are valid: 0 environment(s), 0 webhook source(s)")
    );
    let bad = Invocation::new().args(["config", "check"]).env("DEPLOYWATCH__HTTP__LISTN", "x").finish().await;
    assert_eq!(bad.code, 2);
    assert!(bad.stderr.contains("did you mean DEPLOYWATCH__HTTP__LISTEN?"), "{}", bad.stderr);
}
