//! `deploywatch demo`: the whole product in one command, on sample data.

use std::net::SocketAddr;

use clap::Args;

use super::Output;
use crate::demo::{self, Then, Wish};

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// A PostgreSQL server: the demo makes a database of its own there and removes it at the end. Without it,
    /// the sample product is a SQLite file
    #[arg(long, value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Where the dashboard listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// End after the story instead of staying up
    #[arg(long)]
    no_wait: bool,
}

pub async fn run(args: DemoArgs, out: &mut Output) -> anyhow::Result<u8> {
    let then = if args.no_wait { Then::Leave } else { Then::Stay };
    demo::run(Wish { database_url: args.database_url, listen: args.listen, then }, out).await?;
    Ok(0)
}
