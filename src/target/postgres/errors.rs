//! What the server says, in words for a person, with what to do about it.

use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgErrorPosition};

use crate::domain::measurement::{MeasureError, MeasureErrorCode};

use super::super::plan::relation::Relations;

/// The connection could not be made. Never repeats the URL, which holds the password.
pub fn connecting(error: &sqlx::Error, to: &PgConnectOptions) -> MeasureError {
    let place = match to.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", to.get_host(), to.get_port()),
    };
    let user = to.get_username();
    let database = to.get_database().unwrap_or(user);
    let (message, hint) = match error {
        sqlx::Error::Database(refusal) => {
            let (code, said) = match refusal.try_downcast_ref::<PgDatabaseError>() {
                Some(pg) => (pg.code().to_owned(), pg.message().to_owned()),
                None => (String::new(), refusal.message().to_owned()),
            };
            match code.as_str() {
                "28P01" | "28000" => (
                    format!("{place} refused the user {user}: {said}"),
                    "check the user and the password in the database URL (percent-encode special characters), \
                     and pg_hba.conf",
                ),
                "3D000" => (
                    format!("there is no database {database} at {place}"),
                    "check the name after the last / of the database URL",
                ),
                "53300" => (
                    format!("{place} has no connection left: {said}"),
                    "raise max_connections, or connect through a pooler",
                ),
                "57P03" | "57P01" | "57P02" => {
                    (format!("{place} is starting up or shutting down: {said}"), "try again in a moment")
                }
                "42501" => (
                    format!("{place} does not let the user {user} connect: {said}"),
                    "GRANT CONNECT ON DATABASE to that role",
                ),
                _ => (format!("{place} refused the connection: {said}"), "see the server's log"),
            }
        }
        sqlx::Error::Io(io) => match io.kind() {
            std::io::ErrorKind::ConnectionRefused => (
                format!("nothing listens at {place}"),
                "start the database, or check the host and the port in the database URL",
            ),
            std::io::ErrorKind::TimedOut => (
                format!("{place} did not answer in time"),
                "check the network and the firewall between here and there",
            ),
            _ if io.to_string().contains("lookup") => (
                format!("the host {} is not known: {io}", to.get_host()),
                "check the host in the database URL",
            ),
            _ => (format!("{place} cannot be reached: {io}"), "check the host, the port and the network"),
        },
        sqlx::Error::Tls(tls) => (
            format!("the encrypted connection to {place} failed: {tls}"),
            "give the server's CA as ca_file (Supabase has its own), or check sslmode in the database URL",
        ),
        other => (format!("{place} could not be talked to: {other}"), "check that it is a PostgreSQL server"),
    };
    MeasureError { code: MeasureErrorCode::Connect, message, hint: Some(hint.into()) }
}

pub fn not_answering(to: &PgConnectOptions) -> MeasureError {
    connecting(&sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()), to)
}

/// A statement failed. `prefix` is how many characters stand before the user's own text, if it is theirs.
pub fn statement(
    error: &sqlx::Error,
    prefix: Option<usize>,
    relations: &Relations,
    role: &str,
) -> MeasureError {
    let Some(pg) = error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>()) else {
        return lost(&error.to_string());
    };
    let said = pg.message();
    let own_hint = || pg.hint().map(str::to_owned);
    let (code, message, hint) = match pg.code() {
        "57014" => (
            MeasureErrorCode::Timeout,
            format!("the statement was stopped: {said}"),
            Some("give the check a longer `timeout`, an index that helps it, or `isolated: true`".into()),
        ),
        "55P03" => (
            MeasureErrorCode::Lock,
            "the table was locked by somebody else for longer than the lock timeout".into(),
            Some("usual while a migration runs; see pg_locks if it stays".into()),
        ),
        "42501" if pg.routine() == Some("check_enable_rls") => {
            (MeasureErrorCode::Rls, hidden_message(role, None), Some(hidden_hint(role)))
        }
        "42501" => (
            MeasureErrorCode::Sql,
            format!("the role {role} may not read this: {said}"),
            Some(format!(
                "GRANT USAGE ON SCHEMA … TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA … TO {role}"
            )),
        ),
        "42P01" => (
            MeasureErrorCode::Sql,
            located(said, pg, prefix),
            quoted(said).and_then(|name| relations.suggest(name)).or_else(own_hint),
        ),
        "25006" => (
            MeasureErrorCode::Sql,
            format!("the statement tried to write: {said}"),
            Some("a check only reads; nothing was changed".into()),
        ),
        code if code.starts_with("57P") || code.starts_with("08") => return lost(said),
        _ => (MeasureErrorCode::Sql, located(said, pg, prefix), own_hint()),
    };
    MeasureError { code, message, hint }
}

pub fn lost(said: &str) -> MeasureError {
    MeasureError {
        code: MeasureErrorCode::Connect,
        message: format!("the connection was lost during the scan: {said}"),
        hint: Some("see whether the database restarted or failed over".into()),
    }
}

/// Row-level security would hide rows, which would look like a loss of data.
pub fn hidden(role: &str, table: &str) -> MeasureError {
    MeasureError {
        code: MeasureErrorCode::Rls,
        message: hidden_message(role, Some(table)),
        hint: Some(hidden_hint(role)),
    }
}

/// The snapshot is older than the table's rows.
pub fn rewritten(table: &str) -> MeasureError {
    MeasureError {
        code: MeasureErrorCode::Rewritten,
        message: format!("table {table} was truncated or rewritten while it was read, twice in a row"),
        hint: Some("usual while a migration runs; the next scan reads it again".into()),
    }
}

pub fn budget() -> MeasureError {
    MeasureError {
        code: MeasureErrorCode::Budget,
        message: "the time for the whole scan was used up before this check's turn".into(),
        hint: Some("raise scan.budget_seconds, or mark the slow checks `isolated: true`".into()),
    }
}

fn hidden_message(role: &str, table: Option<&str>) -> String {
    let what = table.map_or("this".to_owned(), |t| format!("table {t}"));
    format!(
        "row-level security would hide rows of {what} from the role {role}, so counting them would mislead"
    )
}

fn hidden_hint(role: &str) -> String {
    let role = super::super::plan::sql::ident(role);
    format!(
        "as an administrator: ALTER ROLE {role} BYPASSRLS; or, for each table, \
         CREATE POLICY deploywatch_reads ON … FOR SELECT TO {role} USING (true) \
         together with row_security = \"policy\" in the environment's settings"
    )
}

/// The server's words and where in the user's own text they point.
fn located(said: &str, pg: &PgDatabaseError, prefix: Option<usize>) -> String {
    match (pg.position(), prefix) {
        (Some(PgErrorPosition::Original(at)), Some(prefix)) if at > prefix => {
            format!("{said} (at character {} of the statement)", at - prefix)
        }
        _ => said.to_owned(),
    }
}

fn quoted(said: &str) -> Option<&str> {
    let start = said.find('"')? + 1;
    let end = said[start..].find('"')? + start;
    Some(&said[start..end])
}

pub fn is_missing_table(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == "42P01")
}
