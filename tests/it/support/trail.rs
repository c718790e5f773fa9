//! Who claimed and who recorded which deploy, as the store itself saw it: a trigger notes each change of a claim
//! together with the process that made it. What a killed process had not committed leaves no trace.

use std::collections::BTreeMap;

use deploywatch::domain::clock::{SignedDuration, Timestamp, from_micros};
use sqlx::{Connection, Executor, PgConnection, Row};

const TRAIL: &str = r"
    CREATE TABLE trail (
      n BIGSERIAL PRIMARY KEY, at BIGINT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
      deploy_id TEXT NOT NULL, token BIGINT NOT NULL, scans BIGINT NOT NULL, held_until BIGINT NOT NULL,
      until BIGINT NOT NULL, due BIGINT
    );
    CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE what TEXT;
    BEGIN
      what := CASE WHEN NEW.lease_token > OLD.lease_token THEN 'claim'
                   WHEN NEW.scans > OLD.scans THEN 'record'
                   WHEN NEW.lease_until > OLD.lease_until THEN 'renew' END;
      IF what IS NOT NULL THEN
        INSERT INTO trail (at, who, what, deploy_id, token, scans, held_until, until, due)
        VALUES (CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT),
                current_setting('application_name'), what, NEW.id, NEW.lease_token, NEW.scans, OLD.lease_until,
                NEW.lease_until, OLD.next_due_at);
      END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER follow AFTER UPDATE ON deploys FOR EACH ROW EXECUTE FUNCTION follow();
";

/// One change of a claim.
#[derive(Debug, Clone)]
pub struct Step {
    pub at: Timestamp,
    /// The `application_name` of the process.
    pub who: String,
    pub what: String,
    /// The claim that it was made under, or that it made.
    pub token: i64,
    /// The ticks of the deploy after it.
    pub scans: i64,
    /// How long the claim before it was to last.
    pub held_until: Timestamp,
    /// How long this one is to last.
    pub until: Timestamp,
    /// Since when the deploy had been waiting.
    pub due: Option<Timestamp>,
}

/// The trail of a PostgreSQL store.
pub struct Trail {
    c: PgConnection,
}

impl Trail {
    pub async fn start(store: &str) -> Self {
        let mut c = PgConnection::connect(store).await.expect("the store takes connections");
        c.execute(sqlx::raw_sql(TRAIL)).await.expect("the trigger can be made");
        Self { c }
    }

    /// How many steps were taken; those that were rolled back count too.
    pub async fn steps(&mut self) -> i64 {
        let row = self.c.fetch_one("SELECT last_value FROM trail_n_seq").await;
        row.expect("the sequence can be read").get(0)
    }

    /// How many deploys want something still.
    pub async fn open(&mut self) -> i64 {
        let row = self.c.fetch_one("SELECT count(*) FROM deploys WHERE next_due_at IS NOT NULL").await;
        row.expect("deploys can be counted").get(0)
    }

    /// Every step of every deploy, in its order. The row's lock is held while a step is noted, so that the order
    /// of one deploy's steps is that of their commits.
    pub async fn read(&mut self) -> BTreeMap<String, Vec<Step>> {
        let rows = self.c.fetch_all("SELECT * FROM trail ORDER BY n").await.expect("the trail can be read");
        let mut all: BTreeMap<String, Vec<Step>> = BTreeMap::new();
        for row in rows {
            all.entry(row.get("deploy_id")).or_default().push(Step {
                at: from_micros(row.get("at")),
                who: row.get("who"),
                what: row.get("what"),
                token: row.get("token"),
                scans: row.get("scans"),
                held_until: from_micros(row.get("held_until")),
                until: from_micros(row.get("until")),
                due: row.get::<Option<i64>, _>("due").map(from_micros),
            });
        }
        all
    }
}

/// Fails where a process wrote under a claim that was not, or no longer, its own, where a claim was taken that
/// another still held, or where a tick was recorded twice.
pub fn assert_claims_are_kept(deploy: &str, steps: &[Step]) {
    let (mut holder, mut token, mut scans, mut released) = ("", 0, 0, true);
    for step in steps {
        if step.what == "claim" {
            assert_eq!(step.token, token + 1, "claims of {deploy} grow by one: {step:?}");
            assert!(released || step.held_until <= step.at, "{deploy} was held still: {step:?}");
            (holder, token, released) = (step.who.as_str(), step.token, false);
        } else {
            assert_eq!((step.who.as_str(), step.token), (holder, token), "{deploy} is {holder}'s: {step:?}");
            assert!(!released, "{deploy} was written again under a claim that was given back: {step:?}");
            if step.what == "record" {
                assert_eq!(step.scans, scans + 1, "the ticks of {deploy} grow by one: {step:?}");
                (scans, released) = (step.scans, true);
            }
        }
    }
}

/// A claim whose holder was killed, and how long it took until another process had it.
#[derive(Debug, Clone)]
pub struct TakeOver {
    pub killed_at: Timestamp,
    /// When its claim ended.
    pub free_at: Timestamp,
    /// The claim of another process.
    pub taken: Step,
}

impl TakeOver {
    pub fn dark(&self) -> SignedDuration {
        self.taken.at.duration_since(self.killed_at)
    }

    /// Whether a claim left this deploy lying that was free and had waited longer. A claim is dated by its holder's
    /// clock, from which its end counts; what is under way at the same time is not told apart.
    pub fn is_passed_over_by(&self, claim: &Step, lease: SignedDuration) -> bool {
        let (then, now) = (claim.until - lease, self.taken.until - lease);
        claim.what == "claim"
            && then >= self.free_at
            && then + SignedDuration::from_secs(3) < now
            && claim.due > self.taken.due
    }
}

/// The claims that `who` held when it was killed.
pub fn taken_over(trail: &BTreeMap<String, Vec<Step>>, who: &str, killed_at: Timestamp) -> Vec<TakeOver> {
    let held = |steps: &Vec<Step>| {
        let at = steps.iter().rposition(|step| step.who == who)?;
        if steps[at].what == "record" {
            return None;
        }
        let taken = steps.get(at + 1).expect("what was claimed and not recorded is claimed again").clone();
        // One that slept, lost its claim and was killed later held nothing any more.
        (taken.at > killed_at).then_some(TakeOver { killed_at, free_at: taken.held_until, taken })
    };
    trail.values().filter_map(held).collect()
}
