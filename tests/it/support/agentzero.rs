//! The watched product of the tests: the AgentZero schema with healthy data, on the shared cluster or on one
//! that the test may break.

use super::pg::{PgCluster, database_of};

/// The schema and its data as plain SQL; the number of users is the setting `agentzero.users`.
pub const SQL: &str = include_str!("../../../checks/agentzero/schema.sql");

/// One AgentZero database and the URLs of the roles that look at it.
#[derive(Debug, Clone)]
pub struct AgentZero {
    /// The owner of everything: migrations run as this one.
    pub admin: String,
    /// The role that deploywatch should have: reads all, BYPASSRLS.
    pub scanner: String,
    /// Reads all tables but not past row-level security.
    pub restricted: String,
}

impl AgentZero {
    /// A database of its own with `users` users, on the shared cluster.
    pub async fn with_users(users: u32) -> Self {
        Self::on(PgCluster::shared(), users).await
    }

    pub async fn on(cluster: &PgCluster, users: u32) -> Self {
        let template = format!("agentzero_{users}");
        // What a Supabase project grants its readers, so that `visible_rows` may look through a user's eyes.
        let sql =
            async || format!("SET agentzero.users = '{users}';\n{SQL}\nGRANT authenticated TO scanner;");
        let admin = cluster.copy_of_template(&template, sql).await;
        let database = database_of(&admin);
        Self {
            scanner: cluster.url("scanner", database),
            restricted: cluster.url("restricted", database),
            admin: admin.clone(),
        }
    }

    /// Runs SQL as the owner, as a migration or the product would.
    pub async fn execute(&self, sql: &str) {
        PgCluster::shared().execute(&self.admin, sql).await;
    }
}
