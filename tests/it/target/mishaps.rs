//! What happens to a scan while it runs, and between two of them: rewrites, crashes, and callers that give up.

use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;

use deploywatch::domain::evaluate::{BaselineFor, SlotFacts, evaluate};
use deploywatch::domain::measure::{Partners, RowAggregate};
use deploywatch::domain::measurement::MeasureErrorCode;
use deploywatch::domain::observation::Outcome;
use deploywatch::domain::threshold::{Bound, Threshold};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, Executor, PgConnection};

use super::*;
use crate::support::certificates::Authority;
use crate::support::{AgentZero, PgCluster, eventually};

fn waitlist() -> Check {
    rows("waitlist.row_count", "waitlist", RowAggregate::RowCount)
}

/// The scan sits in this one while the test does something.
fn slow(seconds: f64) -> Check {
    let mut slow = value(&format!("SELECT 1 FROM pg_sleep({seconds})"));
    slow.measure.timeout = Some(60);
    slow
}

/// Waits until some scan sleeps in this database.
async fn until_it_sleeps(admin: &str) {
    eventually("the scan sleeps", Duration::from_secs(20), async || sleeping(admin).await.then_some(()))
        .await;
}

async fn sleeping(admin: &str) -> bool {
    let mut conn = PgConnection::connect(admin).await.unwrap();
    let found: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'deploywatch' AND state = 'active' \
         AND datname = current_database() AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid())",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
    found
}

#[tokio::test]
async fn a_table_that_is_rewritten_during_the_scan_is_never_taken_for_empty() {
    let az = AgentZero::with_users(100).await;
    // Once: the second try sees what is there then.
    let scanning = tokio::spawn({
        let options = options(&az.scanner);
        async move { scan(options, vec![waitlist(), slow(0.7)]).await }
    });
    until_it_sleeps(&az.admin).await;
    az.execute("TRUNCATE waitlist; INSERT INTO waitlist VALUES (1, 'a@b.c'), (2, 'b@b.c'), (3, 'c@b.c')")
        .await;
    assert_eq!(number(&scanning.await.unwrap().measurements[0]), 3.0);

    // Again and again: an error, and only for the check that reads it.
    let admin = az.admin.clone();
    let writing = tokio::spawn(async move {
        let mut conn = PgConnection::connect(&admin).await.unwrap();
        loop {
            conn.execute("TRUNCATE waitlist; INSERT INTO waitlist VALUES (1, 'a@b.c')").await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    let users = rows("users.row_count", "users", RowAggregate::RowCount);
    let seen = scan(options(&az.scanner), vec![waitlist(), users, slow(0.4)]).await;
    writing.abort();
    let error = refused(&seen.measurements[0]);
    assert_eq!(error.code, MeasureErrorCode::Rewritten, "{error:?}");
    assert!(error.message.contains("waitlist"), "{error:?}");
    assert_eq!(number(&seen.measurements[1]), 100.0);
}

#[tokio::test]
async fn a_scan_that_is_given_up_leaves_nothing_running() {
    let az = AgentZero::with_users(100).await;
    let scanning = tokio::spawn({
        let options = options(&az.scanner);
        async move { scan(options, vec![slow(60.0)]).await }
    });
    until_it_sleeps(&az.admin).await;
    scanning.abort();
    eventually("its statement is cancelled", Duration::from_secs(10), async || {
        (!sleeping(&az.admin).await).then_some(())
    })
    .await;
}

/// Counters of writes are lost in a crash, so nothing that was carried before may be carried after it.
#[tokio::test]
async fn nothing_is_carried_over_a_crash_of_the_server() {
    let cluster = PgCluster::private();
    let az = AgentZero::on(&cluster, 100).await;
    let scan_after = async |carry| {
        let mut request = request(vec![waitlist()]);
        request.carry = carry;
        Target::new(options(&az.scanner)).scan(&request).await
    };
    let mut carry = scan_after(None).await.unwrap().carry;
    eventually("the table is quiet", Duration::from_secs(30), async || {
        let scan = scan_after(Some(carry.clone())).await.unwrap();
        carry = scan.carry.clone();
        scan.measurements[0].carried.then_some(())
    })
    .await;

    // The backend dies before it has told anybody what it wrote, and takes the server down with it.
    let mut writer = PgConnection::connect(&az.admin).await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut writer).await.unwrap();
    writer.execute("SET synchronous_commit = on").await.unwrap();
    writer.execute("INSERT INTO waitlist VALUES (77, 'late@example.com')").await.unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    // A scan may still come in before the server notices; the one after it may not be wrong.
    let scan = eventually("the table is read again", Duration::from_secs(30), async || {
        scan_after(Some(carry.clone())).await.ok().filter(|scan| !scan.measurements[0].carried)
    })
    .await;
    assert_eq!(number(&scan.measurements[0]), 3.0);
}

#[tokio::test]
async fn a_new_failing_row_is_seen_where_their_number_stays() {
    let az = AgentZero::with_users(100).await;
    az.execute("UPDATE user_credits SET credits_remaining = -1 WHERE credits_used IN (1, 2)").await;
    let mut check = rule("user_credits", "credits_remaining >= 0");
    check.policy.fail = Some(Threshold { new_above: Some(Bound::Number(0.0)), ..Threshold::default() });
    let measure = async || scan(options(&az.scanner), vec![check.clone()]).await;
    let before = measure().await;
    let judged = |now: &Scan| {
        let slot =
            SlotFacts { slot_at: now.as_of, observed_at: now.as_of, confirm: false, finished_at: None };
        evaluate(&check.policy, &now.measurements[0], BaselineFor::Usable(&before.measurements[0]), slot)
    };
    assert_eq!(judged(&measure().await).outcome, Outcome::Pass);
    // As many as before, and one is another: the digests tell, and hold no value.
    az.execute(
        "UPDATE user_credits SET credits_remaining = 5 WHERE user_id = (SELECT user_id FROM user_credits \
         WHERE credits_remaining < 0 ORDER BY 1 LIMIT 1); \
         UPDATE user_credits SET credits_remaining = -1 WHERE credits_used = 50",
    )
    .await;
    let now = measure().await;
    let seen = judged(&now);
    assert_eq!(seen.outcome, Outcome::Fail, "{}", seen.message);
    assert!(seen.message.contains("1 of them new"), "{}", seen.message);
    let digests = &measured(&now.measurements[0]).digests;
    assert!(digests.iter().all(|digest| digest.len() == 16 && !digest.contains('-')), "{digests:?}");
}

#[tokio::test]
async fn foreign_keys_prove_only_where_they_are_trusted() {
    let az = AgentZero::with_users(100).await;
    let check = || join("agents", "organisation_id", "organisations", "id", Partners::AtLeastOne);
    let proved = async |trust: bool, own: bool| {
        let mut check = check();
        check.measure.trust_foreign_keys = own;
        let options = TargetOptions { trust_foreign_keys: trust, ..options(&az.scanner) };
        scan(options, vec![check]).await.measurements.remove(0)
    };
    let orphans = "SET session_replication_role = replica; UPDATE agents SET organisation_id = gen_random_uuid() \
                   WHERE name = 'Agent 3'";
    az.execute(orphans).await;
    // A replication role gets around it, so it is read unless somebody says otherwise.
    assert_eq!(number(&proved(false, false).await), 1.0);
    for (trust, own) in [(true, false), (false, true)] {
        let seen = proved(trust, own).await;
        assert_eq!(seen.proved.as_deref(), Some("foreign key agents_organisation_id_fkey"));
        assert_eq!(number(&seen), 0.0);
    }
    az.execute(
        "ALTER TABLE agents DROP CONSTRAINT agents_organisation_id_fkey; ALTER TABLE agents ADD CONSTRAINT \
         agents_organisation_id_fkey FOREIGN KEY (organisation_id) REFERENCES organisations NOT VALID",
    )
    .await;
    assert_eq!(number(&proved(true, true).await), 1.0, "what is not validated proves nothing");
}

#[tokio::test]
async fn the_server_is_believed_only_with_a_certificate_of_the_right_authority() {
    let cluster = PgCluster::private();
    let az = AgentZero::on(&cluster, 100).await;
    let (ours, theirs) = (Authority::new(), Authority::new());
    let issued = ours.issue("localhost");
    let dir = cluster.socket_dir();
    let owner = std::fs::metadata(dir).unwrap();
    for (from, name) in [(&issued.certificate, "server.crt"), (&issued.key, "server.key")] {
        let to = dir.join(name);
        std::fs::copy(from, &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
        use std::os::unix::fs::MetadataExt;
        chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    for setting in [
        format!("ssl_cert_file = '{}'", dir.join("server.crt").display()),
        format!("ssl_key_file = '{}'", dir.join("server.key").display()),
        "ssl = on".to_owned(),
    ] {
        cluster.execute(&az.admin, &format!("ALTER SYSTEM SET {setting}")).await;
    }
    cluster.execute(&az.admin, "SELECT pg_reload_conf()").await;

    let tried = async |host: &str, mode: &str, ca: Option<&Authority>| {
        let url = format!("{}?sslmode={mode}", az.scanner.replace("127.0.0.1", host));
        let options = TargetOptions { ca_file: ca.map(Authority::file), ..options(&url) };
        Target::new(options).scan(&request(vec![waitlist()])).await.map(|scan| number(&scan.measurements[0]))
    };
    eventually("the server speaks TLS", Duration::from_secs(10), async || {
        tried("localhost", "require", None).await.ok()
    })
    .await;
    assert_eq!(tried("localhost", "verify-full", Some(&ours)).await.unwrap(), 2.0);
    assert_eq!(tried("127.0.0.1", "verify-ca", Some(&ours)).await.unwrap(), 2.0);
    for (host, mode, ca) in [
        ("localhost", "verify-full", None),
        ("localhost", "verify-full", Some(&theirs)),
        ("localhost", "verify-ca", Some(&theirs)),
        ("127.0.0.1", "verify-full", Some(&ours)),
    ] {
        let error = tried(host, mode, ca).await.unwrap_err().error;
        assert_eq!(error.code, MeasureErrorCode::Connect, "{host} {mode}: {error:?}");
        assert!(error.message.contains("certificate"), "{host} {mode}: {error:?}");
        assert!(!error.message.contains("scanner:scanner"), "{error:?}");
    }
}
