//! A private PostgreSQL cluster: the server of this machine's packages, on data of our own.

use std::collections::HashMap;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, Executor, PgConnection};

use super::reaper::Reaper;

const INSTALL: &str = "the tests need PostgreSQL's server programs; install them, on Debian or Ubuntu with\n    \
                       apt-get install postgresql\n(scripts/test does that) and run the tests again";

/// Roles that log in with their own name as password.
const ROLES: &str = "
    CREATE ROLE scanner LOGIN BYPASSRLS PASSWORD 'scanner';
    GRANT pg_read_all_data, pg_read_all_stats TO scanner;
    CREATE ROLE restricted LOGIN PASSWORD 'restricted';
    GRANT pg_read_all_data TO restricted;
";

/// A running server with its own data, socket and port; stopped and removed with the value.
#[derive(Debug)]
pub struct PgCluster {
    programs: PathBuf,
    dir: PathBuf,
    port: u16,
    next: AtomicU32,
    templates: tokio::sync::Mutex<HashMap<String, String>>,
    _reaper: Reaper,
}

impl PgCluster {
    /// The one cluster that all tests share, each with databases of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PgCluster> = OnceLock::new();
        SHARED.get_or_init(Self::private)
    }

    /// A cluster that a test may stop, pause and break.
    pub fn private() -> Self {
        let programs = programs().unwrap_or_else(|| panic!("{INSTALL}"));
        let dir = super::temp_dir().keep();
        let data = dir.join("data");
        if let Some((user, group)) = server_user() {
            chown(&dir, Some(user), Some(group)).expect("root may give a directory away");
        }
        let reaper = Reaper::new(
            "command=$1; shift; \"$@\" \"$command\" stop -D \"$PWD0/data\" -m immediate -w -t 20; rm -rf \"$PWD0\""
                .replace("$PWD0", &dir.display().to_string())
                .as_str(),
            &[&[programs.join("pg_ctl").display().to_string().as_str()], prefix()].concat(),
        );
        let password = dir.join("password");
        std::fs::write(&password, "postgres\n").expect("the password file can be written");
        run(as_server(&programs.join("initdb")).arg("-D").arg(&data).arg("--pwfile").arg(&password).args([
            "--no-sync",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ]));
        std::fs::write(data.join("postgresql.auto.conf"), settings(&dir))
            .expect("the settings can be written");
        let mut cluster = Self {
            programs,
            dir,
            port: 0,
            next: 0.into(),
            templates: HashMap::new().into(),
            _reaper: reaper,
        };
        // Somebody may take the port between our look and the server's; another one is soon found.
        let started = (0..5).any(|_| {
            cluster.port = super::free_port();
            cluster.try_start()
        });
        assert!(started, "PostgreSQL did not start; its log:\n{}", cluster.log());
        run(cluster.psql().args(["-c", ROLES]));
        cluster
    }

    /// A connection string for `role` (its password is its name) on `database`.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{role}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the server's socket.
    pub fn socket_dir(&self) -> &Path {
        &self.dir
    }

    /// An empty database of its own; `name` is a hint for people. Answers the superuser's URL.
    pub async fn create_database(&self, name: &str) -> String {
        self.copy_database(name, "template0").await
    }

    /// Runs any SQL, many statements if need be, as the superuser.
    pub async fn execute(&self, url: &str, sql: &str) {
        let mut connection = PgConnection::connect(url).await.expect("the test's database takes connections");
        connection
            .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())))
            .await
            .expect("the test's SQL is accepted");
        connection.close().await.expect("the connection closes");
    }

    /// A copy of the database that `fill` prepares once for each `template` name: much faster than filling anew.
    pub async fn copy_of_template(&self, template: &str, sql: impl AsyncFnOnce() -> String) -> String {
        let source = {
            let mut templates = self.templates.lock().await;
            match templates.get(template) {
                Some(database) => database.clone(),
                None => {
                    let url = self.create_database(template).await;
                    self.execute(&url, &sql().await).await;
                    let database = database_of(&url).to_owned();
                    templates.insert(template.to_owned(), database.clone());
                    database
                }
            }
        };
        self.copy_database(template, &source).await
    }

    async fn copy_database(&self, name: &str, template: &str) -> String {
        let name = format!("{name}_{}", self.next.fetch_add(1, Ordering::Relaxed));
        let sql = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\"");
        self.execute(&self.url("postgres", "postgres"), &sql).await;
        self.url("postgres", &name)
    }

    /// Stops the server as `systemctl stop` would; connections are cut.
    pub fn stop(&self) {
        run(self.pg_ctl("stop").args(["-m", "fast"]));
    }

    /// Starts a stopped server on the same port.
    pub fn start(&self) {
        assert!(self.try_start(), "PostgreSQL did not start again; its log:\n{}", self.log());
    }

    /// Freezes the server with all its processes: it takes connections and answers nothing.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let file = std::fs::read_to_string(self.dir.join("data/postmaster.pid")).expect("the server runs");
        let parent: i32 =
            file.lines().next().and_then(|line| line.parse().ok()).expect("its first line is a pid");
        kill(Pid::from_raw(parent), signal).expect("the server can be signalled");
        for child in children(parent) {
            let _ = kill(Pid::from_raw(child), signal);
        }
    }

    fn try_start(&self) -> bool {
        let options = format!("-p {}", self.port);
        let log = self.dir.join("log");
        let output = self.pg_ctl("start").arg("-l").arg(log).args(["-o", &options]).output();
        output.is_ok_and(|output| output.status.success())
    }

    fn pg_ctl(&self, action: &str) -> Command {
        let mut command = as_server(&self.programs.join("pg_ctl"));
        command.arg(action).arg("-D").arg(self.dir.join("data")).args(["-w", "-t", "60"]);
        command
    }

    fn psql(&self) -> Command {
        let mut command = as_server(&self.programs.join("psql"));
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres"]);
        command.arg("-h").arg(&self.dir).arg("-p").arg(self.port.to_string());
        command
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for PgCluster {
    fn drop(&mut self) {
        // A frozen server cannot be stopped.
        if self.dir.join("data/postmaster.pid").exists() {
            self.resume();
        }
    }
}

/// The database's name in a URL made here.
pub fn database_of(url: &str) -> &str {
    url.rsplit('/').next().expect("the URL names a database")
}

fn settings(dir: &Path) -> String {
    format!(
        "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 400\n\
         shared_buffers = 64MB\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n\
         autovacuum = off\nmax_wal_size = 4GB\nlog_min_messages = warning\n",
        dir.display()
    )
}

/// Debian keeps the server's programs out of the path, a folder for each version; take the newest.
fn programs() -> Option<PathBuf> {
    let asked = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().ok();
    let asked = asked.and_then(|output| String::from_utf8(output.stdout).ok());
    let asked = asked.map(|text| PathBuf::from(text.trim())).into_iter();
    let mut debian: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    debian.sort();
    let debian = debian.into_iter().rev().map(|(_, path)| path);
    asked
        .chain(debian)
        .find(|path| ["initdb", "pg_ctl", "psql"].iter().all(|program| path.join(program).is_file()))
}

/// PostgreSQL refuses to run as root; its package brings a user for it.
fn server_user() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let user =
        ["postgres", "nobody"].iter().find_map(|name| nix::unistd::User::from_name(name).ok().flatten());
    let user = user.unwrap_or_else(|| panic!("{INSTALL}"));
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

/// What stands before a command that must not run as root.
fn prefix() -> &'static [&'static str] {
    static PREFIX: OnceLock<Vec<&'static str>> = OnceLock::new();
    PREFIX.get_or_init(|| match server_user() {
        None => Vec::new(),
        Some((user, group)) => {
            let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
            vec!["setpriv", user.leak(), group.leak(), "--clear-groups"]
        }
    })
}

fn as_server(program: &Path) -> Command {
    let mut command = match prefix() {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C").env_remove("PGOPTIONS");
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {text}");
    output
}

fn children(parent: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name stands in brackets and may hold anything; the state and the parent follow it.
            let (_, rest) = stat.rsplit_once(") ")?;
            let of: i32 = rest.split(' ').nth(1)?.parse().ok()?;
            (of == parent).then(|| entry.file_name().to_str()?.parse().ok()).flatten()
        })
        .collect()
}
