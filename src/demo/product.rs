//! The product that the demo watches: AgentZero with a thousand users, in a SQLite file or in a PostgreSQL
//! database that the demo makes and removes. Nothing that existed before is touched.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};

/// Big enough to be believed, small enough to be made in a blink.
pub const USERS: u32 = 1000;

const SQLITE: &str = include_str!("sqlite.sql");
const POSTGRES: &str = include_str!("../../checks/agentzero/schema.sql");

/// What a migration could look like that loses rows without an error: a rebuild through an inner join.
const BAD_MIGRATION: &[&str] = &[
    "UPDATE users SET display_name = NULL WHERE email IN ('user77@example.com', 'user404@example.com', 'user805@example.com')",
    "CREATE TABLE user_credits_new AS SELECT c.* FROM user_credits c JOIN users u ON u.id = c.user_id \
     WHERE u.display_name <> ''",
    "DELETE FROM user_credits WHERE user_id NOT IN (SELECT user_id FROM user_credits_new)",
    "DROP TABLE user_credits_new",
];

/// A product database of the demo's own.
#[derive(Debug)]
pub enum Product {
    Sqlite {
        options: SqliteConnectOptions,
        url: String,
    },
    Postgres {
        server: Box<PgConnectOptions>,
        own: Box<PgConnectOptions>,
        url: String,
        database: String,
        roles: Vec<String>,
    },
}

impl Product {
    /// Makes the SQLite file in `dir`.
    pub async fn sqlite(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("agentzero.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = options.connect().await.context("the sample database cannot be made")?;
        run_sqlite(&mut connection, &SQLITE.replace(":users", &USERS.to_string())).await?;
        connection.close().await?;
        Ok(Self::Sqlite { options, url: format!("sqlite:{}", path.display()) })
    }

    /// Makes a database named `name` on the server behind `url`.
    pub async fn postgres(url: &str, name: &str) -> anyhow::Result<Self> {
        // The parser's own message may repeat the URL with its password, so it is not passed on.
        let server = PgConnectOptions::from_str(url).map_err(|_| {
            anyhow::anyhow!(
                "--database-url is not a PostgreSQL URL; it looks like postgres://user:password@host/database"
            )
        })?;
        let mut connection = server.connect().await.context(
            "cannot connect to --database-url; is the server up, and are the user and password right",
        )?;
        let may: bool =
            sqlx::query("SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user")
                .fetch_one(&mut connection)
                .await?
                .get(0);
        if !may {
            bail!(
                "the demo makes a database of its own and removes it, so that nothing of yours is touched, and \
                 this role may not create one; use a role with CREATEDB, or run the demo without --database-url"
            );
        }
        let mut missing = Vec::new();
        for role in ["anon", "authenticated", "service_role"] {
            let found: bool = sqlx::query("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
                .bind(role)
                .fetch_one(&mut connection)
                .await?
                .get(0);
            if !found {
                missing.push(role.to_owned());
            }
        }
        let name_quoted = format!("\"{name}\"");
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name_quoted}")))
            .await
            .with_context(|| format!("the database {name} cannot be created"))?;
        connection.close().await?;
        let own = server.clone().database(name);
        let mut address = url::Url::parse(url).context("--database-url is not a URL")?;
        address.set_path(name);
        let product = Self::Postgres {
            server: Box::new(server),
            own: Box::new(own.clone()),
            url: address.into(),
            database: name.to_owned(),
            roles: missing,
        };
        if let Err(error) = fill_postgres(&own).await {
            product.remove().await;
            return Err(error.context("the sample data cannot be put into the new database; a role that may create roles (CREATEROLE) is needed where anon, authenticated and service_role are missing"));
        }
        Ok(product)
    }

    /// Where deploywatch finds it.
    pub fn url(&self) -> &str {
        match self {
            Self::Sqlite { url, .. } | Self::Postgres { url, .. } => url,
        }
    }

    /// A person's name for it.
    pub fn describe(&self) -> String {
        match self {
            Self::Sqlite { .. } => format!("AgentZero, {USERS} users, in SQLite"),
            Self::Postgres { database, .. } => {
                format!("AgentZero, {USERS} users, in PostgreSQL as {database} (removed at the end)")
            }
        }
    }

    /// The migration that goes wrong silently: three users lose their credits row.
    pub async fn migrate_badly(&self) -> anyhow::Result<()> {
        self.run(BAD_MIGRATION).await.context("the demo's migration did not run")
    }

    /// Removes what the demo made on a server; a file goes with its folder. Failing is only worth a word.
    pub async fn remove(&self) -> Option<String> {
        let Self::Postgres { server, database, roles, .. } = self else { return None };
        let drop_all = async {
            let mut connection = server.connect().await?;
            connection
                .execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)")))
                .await?;
            for role in roles {
                connection.execute(AssertSqlSafe(format!("DROP ROLE IF EXISTS \"{role}\""))).await?;
            }
            connection.close().await
        };
        let error: sqlx::Error = drop_all.await.err()?;
        Some(format!("the database {database} could not be removed ({error}); drop it by hand"))
    }

    async fn run(&self, statements: &[&'static str]) -> anyhow::Result<()> {
        match self {
            Self::Sqlite { options, .. } => {
                let mut connection = options.connect().await?;
                for statement in statements {
                    connection.execute(*statement).await?;
                }
                connection.close().await?;
            }
            Self::Postgres { own, .. } => {
                let mut connection = own.connect().await?;
                for statement in statements {
                    connection.execute(*statement).await?;
                }
                connection.close().await?;
            }
        }
        Ok(())
    }
}

async fn run_sqlite(connection: &mut SqliteConnection, sql: &str) -> anyhow::Result<()> {
    connection.execute("PRAGMA journal_mode = WAL").await?;
    let mut tx = connection.begin().await?;
    tx.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
        .await
        .context("the sample data cannot be made")?;
    tx.commit().await?;
    Ok(())
}

async fn fill_postgres(own: &PgConnectOptions) -> anyhow::Result<()> {
    let mut connection: PgConnection = own.connect().await?;
    let sql = format!("SET agentzero.users = '{USERS}';\n{POSTGRES}");
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    connection.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_migration_loses_three_rows() {
        let dir = tempfile::tempdir().unwrap();
        let product = Product::sqlite(dir.path()).await.unwrap();
        let Product::Sqlite { options, .. } = &product else { unreachable!() };
        let rows = async || -> i64 {
            let mut connection = options.connect().await.unwrap();
            sqlx::query("SELECT count(*) FROM user_credits").fetch_one(&mut connection).await.unwrap().get(0)
        };
        assert_eq!(rows().await, i64::from(USERS));
        product.migrate_badly().await.unwrap();
        assert_eq!(rows().await, i64::from(USERS) - 3);
    }
}
