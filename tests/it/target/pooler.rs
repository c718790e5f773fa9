//! Through PgBouncer in transaction mode, where a statement's neighbours change and nothing may be left behind.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use deploywatch::domain::measure::{Partners, RowAggregate};

use super::*;
use crate::support::pg::database_of;
use crate::support::{AgentZero, PgCluster, eventually, free_port, temp_dir};

struct Bouncer {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bouncer {
    async fn before(cluster: &PgCluster) -> Self {
        let folder = temp_dir();
        let port = free_port();
        let users = folder.path().join("users.txt");
        std::fs::write(&users, "\"scanner\" \"scanner\"\n").unwrap();
        let config = folder.path().join("pgbouncer.ini");
        let mut file = std::fs::File::create(&config).unwrap();
        write!(
            file,
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = plain\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 2\nunix_socket_dir =\n",
            cluster.port(),
            users.display()
        )
        .unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|p| std::path::Path::new(p).exists())
            .expect("PgBouncer is installed: apt-get install pgbouncer");
        let mut command = Command::new(program);
        // It refuses to run as root, and stays in the foreground without -d.
        if nix::unistd::Uid::effective().is_root() {
            command.args(["-u", "nobody"]);
        }
        let child = command
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("PgBouncer starts");
        let bouncer = Self { child, port, _folder: folder };
        eventually("PgBouncer listens", Duration::from_secs(10), async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        bouncer
    }
}

#[tokio::test]
async fn values_are_right_and_nothing_is_left_behind() {
    let az = AgentZero::with_users(100).await;
    let bouncer = Bouncer::before(PgCluster::shared()).await;
    let url = format!("postgres://scanner:scanner@127.0.0.1:{}/{}", bouncer.port, database_of(&az.scanner));
    let scans = (0..8).map(|n| {
        let url = url.clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                let mut options = options(&url);
                options.proofs = false;
                let scan = scan(
                    options,
                    vec![
                        rows("users", "users", RowAggregate::RowCount),
                        not_null("users", "email"),
                        join("users", "id", "user_credits", "user_id", Partners::ExactlyOne),
                        value(&format!("SELECT {n} + count(*) FROM agents")),
                        value("SELECT nope FROM agents"),
                        value("SELECT CASE WHEN pg_try_advisory_lock(7) THEN 1 ELSE 0 END"),
                    ],
                )
                .await;
                assert_eq!(number(&scan.measurements[0]), 100.0);
                assert_eq!(number(&scan.measurements[1]), 0.0);
                assert_eq!(number(&scan.measurements[2]), 0.0);
                assert_eq!(number(&scan.measurements[3]), 200.0 + f64::from(n));
                assert!(scan.measurements[4].result.is_err());
            }
        })
    });
    for scan in scans.collect::<Vec<_>>() {
        scan.await.unwrap();
    }
    // Whatever server the pooler lends us next: no statement, no lock, no setting of ours.
    let left = scan(
        options(&url),
        vec![
            value("SELECT count(*) FROM pg_prepared_statements"),
            value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7"),
        ],
    )
    .await;
    assert_eq!(left.measurements.iter().map(number).collect::<Vec<_>>(), [0.0, 0.0]);
}
