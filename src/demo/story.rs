//! What happens in the demo, in domain time: a healthy deploy and its whole day, an old secret that still
//! signs after its overlap, a migration that loses rows.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::clock::LeapingClock;
use super::narrator::Narrator;
use super::product::Product;
use super::{ENVIRONMENT, provider};
use crate::app::App;
use crate::domain::check::Stage;
use crate::domain::clock::{Clock, SignedDuration};
use crate::domain::deploy::DeployKind;
use crate::domain::gate::{FailOn, GateAnswer, GatePolicy};
use crate::services::gate::{self, Answered, Question};
use crate::services::verification::{self, Announcement, Attempt};

/// The story begins this long ago, so that it ends at the present.
pub const LENGTH: SignedDuration = SignedDuration::from_mins(26 * 60);

const SMOKE_STEP: SignedDuration = SignedDuration::from_secs(15);
const SOAK_STEP: SignedDuration = SignedDuration::from_mins(5);

/// Plays it, up to the present.
pub async fn tell(
    app: &App,
    clock: &LeapingClock,
    product: &Product,
    narrator: &mut Narrator<'_>,
) -> anyhow::Result<()> {
    let mut stage = Set { app, clock, narrator, told: HashSet::new(), orders: 0, client: client()? };
    stage.narrator.opening(&product.describe());
    stage.healthy_deploy().await?;
    stage.forgotten_rotation().await?;
    stage.broken_deploy(product).await?;
    // The rest of the time until now, so that the page shows a window without a gap.
    while clock.left().is_positive() {
        stage.step(SOAK_STEP).await;
    }
    Ok(())
}

struct Set<'a, 'b> {
    app: &'a App,
    clock: &'a LeapingClock,
    narrator: &'a mut Narrator<'b>,
    /// Mails that were mentioned.
    told: HashSet<String>,
    orders: u32,
    client: reqwest::Client,
}

impl Set<'_, '_> {
    async fn healthy_deploy(&mut self) -> anyhow::Result<()> {
        self.chapter("1. A healthy deploy");
        self.start("v1.41.0").await?;
        self.narrator.says("… the migration runs …");
        self.finish("v1.41.0").await?;
        let answered = self.gate("v1.41.0").await?;
        self.narrator.gate(&answered);
        self.narrator.says("");
        self.narrator
            .says("The webhook secret was rotated this morning: Lemon Squeezy signs with the new one,");
        self.narrator.says("and the old one stays accepted for 24 hours.");
        self.order(provider::NEW_SECRET, "the new secret").await?;
        self.order(provider::OLD_SECRET, "the old one, within its overlap").await?;
        let day = SignedDuration::from_hours(24);
        self.pass(day, SOAK_STEP).await?;
        self.narrator.says("");
        self.narrator.says("24 hours later: every check was made again and again, and held.");
        self.mails().await
    }

    async fn forgotten_rotation(&mut self) -> anyhow::Result<()> {
        self.chapter("2. An old secret still signs");
        self.narrator
            .says("The overlap is over, but one of the two webhooks at Lemon Squeezy was forgotten:");
        self.order(provider::NEW_SECRET, "the new secret").await?;
        self.order(provider::OLD_SECRET, "the old one, after its overlap").await?;
        self.pass(SignedDuration::from_mins(3), SMOKE_STEP).await?;
        self.mails().await
    }

    async fn broken_deploy(&mut self, product: &Product) -> anyhow::Result<()> {
        self.chapter("3. A deploy that loses rows without an error");
        self.start("v1.42.0").await?;
        self.narrator
            .says("… the migration rebuilds user_credits through an inner join; nothing complains …");
        product.migrate_badly().await?;
        self.finish("v1.42.0").await?;
        let answered = self.gate("v1.42.0").await?;
        self.narrator.gate(&answered);
        self.pass(SignedDuration::from_mins(11), SMOKE_STEP).await?;
        self.mails().await
    }

    fn chapter(&mut self, title: &str) {
        self.narrator.chapter(self.clock.now(), title);
    }

    async fn start(&mut self, version: &str) -> anyhow::Result<()> {
        self.narrator.command(&format!("deploywatch deploy start --version {version}"));
        let started = verification::start(&self.app.context, &announcement(version)).await?;
        let checks = started.baseline.map_or(0, |baseline| baseline.measurements.len());
        self.narrator.says(&format!("baseline: {checks} checks measured before the migration"));
        Ok(())
    }

    async fn finish(&mut self, version: &str) -> anyhow::Result<()> {
        self.narrator.command(&format!("deploywatch deploy finish --version {version}"));
        verification::finish_version(&self.app.context, &announcement(version)).await?;
        Ok(())
    }

    /// Lets the smoke stage pass until CI has its answer.
    async fn gate(&mut self, version: &str) -> anyhow::Result<Answered> {
        self.narrator.command(&format!("deploywatch gate --version {version} --wait 15m"));
        let question = Question::Version { environment: ENVIRONMENT.to_owned(), version: version.to_owned() };
        let policy = GatePolicy { stage: Stage::Smoke, fail_on: FailOn::Failure };
        for _ in 0..80 {
            self.step(SMOKE_STEP).await;
            let answered = gate::ask(&self.app.context, &question, policy).await?;
            if answered.decision.answer != GateAnswer::Wait {
                return Ok(answered);
            }
        }
        bail!("the gate did not answer within 20 minutes of the demo's time; this is a bug")
    }

    async fn pass(&mut self, length: SignedDuration, step: SignedDuration) -> anyhow::Result<()> {
        let mut left = length;
        while left.is_positive() {
            self.step(step.min(left)).await;
            left -= step;
        }
        Ok(())
    }

    async fn step(&mut self, by: SignedDuration) {
        self.clock.advance(by);
        self.app.tick().await;
    }

    /// Lemon Squeezy delivers an order to the server's real endpoint.
    async fn order(&mut self, secret: &str, by: &str) -> anyhow::Result<()> {
        self.orders += 1;
        let address = self.app.address.context("the demo listens")?;
        let body = provider::order(self.orders, self.clock.now());
        let answer = self
            .client
            .post(format!("http://{address}/webhooks/lemonsqueezy"))
            .header("User-Agent", "LemonSqueezy-Hookshot")
            .header("Content-Type", "application/json")
            .header("X-Event-Name", "order_created")
            .header("X-Signature", provider::sign(secret, &body))
            .body(body)
            .send()
            .await
            .context("the demo's own endpoint did not answer")?;
        self.narrator.says(&format!("order {} signed by {by}: {}", self.orders, answer.status()));
        Ok(())
    }

    /// Mentions the mails that were written since the last look.
    async fn mails(&mut self) -> anyhow::Result<()> {
        self.app.tick().await;
        let mut c = self.app.context.db.reader().await?;
        let mut found = crate::store::notifications::list_recent(&mut c, 50).await?;
        found.reverse();
        for stored in found {
            let mail = stored.notification;
            if self.told.insert(mail.id.to_string()) {
                self.narrator.mail(&mail.content.subject);
            }
        }
        Ok(())
    }
}

fn announcement(version: &str) -> Announcement {
    Announcement {
        environment: Some(ENVIRONMENT.to_owned()),
        version: version.to_owned(),
        commit: None,
        kind: DeployKind::Normal,
        actor: Some("demo".to_owned()),
        link: None,
        attempt: Attempt::Same,
        smoke_seconds: None,
        window_seconds: None,
    }
}

fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?)
}
