//! The raw limit of reading the log: `pg_recvlogical`, PostgreSQL's own client, alone.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use onewrite_testkit::servers::Database;
use tokio::process::Command;
use uuid::Uuid;

use crate::slots;

/// Where Debian keeps what its wrappers in the path start.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Reads what is written between the making of the original slot and of this.
pub struct Receiver {
    program: PathBuf,
    end: String,
}

impl Receiver {
    /// Marks the end in the log, by a transaction that comes to the reader at once, and reads it all once: what goes to nowhere
    /// cannot be counted, and here it must be so many bytes at the least.
    pub async fn new(program: PathBuf, database: &Database, bytes: usize) -> Result<Self> {
        let client = database.connect().await;
        let mark = "SELECT pg_logical_emit_message(true, 'bench', 'the end')::text";
        let end = client.query_one(mark, &[]).await.context(mark)?.get(0);
        let receiver = Self { program, end };
        let mut command = receiver.command(database, "-").await?;
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("starting pg_recvlogical")?;
        let mut output = child.stdout.take().context("its output is a pipe")?;
        let received = tokio::io::copy(&mut output, &mut tokio::io::sink()).await?;
        ensure!(child.wait().await?.success(), "pg_recvlogical failed");
        ensure!(
            received >= bytes as u64,
            "pg_recvlogical read {received} bytes, and the payloads alone are {bytes}"
        );
        Ok(receiver)
    }

    /// Seconds until it has read everything and ended, its start included.
    pub async fn receive(&self, database: &Database) -> Result<f64> {
        let mut command = self.command(database, "/dev/null").await?;
        let began = Instant::now();
        let status = command.status().await.context("starting pg_recvlogical")?;
        ensure!(status.success(), "pg_recvlogical failed ({status})");
        Ok(began.elapsed().as_secs_f64())
    }

    async fn command(&self, database: &Database, file: &str) -> Result<Command> {
        slots::drop_left(database).await?;
        // The last reader's slot may be in use for a moment still, so each has a name of its own.
        let slot = format!("bench_{}", Uuid::new_v4().simple());
        slots::copy_original(database, &slot).await?;
        let mut command = Command::new(&self.program);
        command
            .args(["--start", "--no-loop", "--slot", &slot, "--endpos", &self.end])
            .args(["--dbname", &database.url, "--file", file])
            .args(["--option", "proto_version=1", "--option", "binary=true"])
            .args(["--option", "publication_names=onewrite", "--option", "messages=true"])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }
}

/// The newest `pg_recvlogical` that is installed.
pub fn program() -> Result<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let debian = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin/pg_recvlogical")))
    });
    let newest = debian.filter(|(_, path)| path.is_file()).max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || {
        std::env::split_paths(&path)
            .map(|directory| directory.join("pg_recvlogical"))
            .find(|path| Path::is_file(path))
    };
    newest.map(|(_, path)| path).or_else(in_path).context(
        "pg_recvlogical is missing, which the drain is compared with; it comes with PostgreSQL's client programs (on Debian \
         the package postgresql-client), which `./x bench` installs",
    )
}
