//! PgBouncer, whose neighbours change between two statements.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{PgCluster, eventually};

/// A running PgBouncer in transaction mode; gone with the value.
#[derive(Debug)]
pub struct Bouncer {
    child: Child,
    pub port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bouncer {
    /// One before `cluster`, on a port of its own.
    pub async fn before(cluster: &PgCluster) -> Self {
        let folder = super::temp_dir();
        let port = super::free_port();
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
        let child = Self::start(&config);
        let bouncer = Self { child, port, folder };
        bouncer.listens().await;
        bouncer
    }

    /// Stops it as a power cut would, and starts it again on the same port once `meanwhile` is done.
    pub async fn restart_after(mut self, meanwhile: impl AsyncFnOnce()) -> Self {
        self.child.kill().expect("PgBouncer can be stopped");
        self.child.wait().expect("PgBouncer ends");
        meanwhile().await;
        self.child = Self::start(&self.folder.path().join("pgbouncer.ini"));
        self.listens().await;
        self
    }

    fn start(config: &Path) -> Child {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|p| Path::new(p).exists())
            .expect("PgBouncer is installed: apt-get install pgbouncer");
        let mut command = Command::new(program);
        // It refuses to run as root, and stays in the foreground without -d.
        if nix::unistd::Uid::effective().is_root() {
            command.args(["-u", "nobody"]);
        }
        command.arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("PgBouncer starts")
    }

    async fn listens(&self) {
        eventually("PgBouncer listens", Duration::from_secs(10), async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.ok()
        })
        .await;
    }
}
