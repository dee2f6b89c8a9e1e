//! What the figures were measured on, and of what.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::drain::produce;
use crate::servers::Versions;
use crate::tax;
use crate::workload::SEED;

/// The machine and the programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The day.
    pub date: String,
    /// The processor's name.
    pub processor: String,
    /// How many cores this program may use.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Name and version of the kernel.
    pub kernel: String,
    /// The program that is measured.
    pub program: String,
    /// The revision of this source, where git knows it.
    pub revision: String,
    /// The client of the raw producer and, in the same version, of the relay.
    pub librdkafka: String,
    /// The servers, where any were started.
    pub servers: Option<Versions>,
    /// What made everything random the same on every run.
    pub seeds: String,
    /// The command line.
    pub command: String,
}

impl Machine {
    /// Looks around.
    pub fn look(program: &Path) -> Result<Self> {
        let version = Command::new(program)
            .arg("--version")
            .output()
            .with_context(|| format!("running {}", program.display()))?;
        ensure!(version.status.success(), "{} --version failed", program.display());
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Ok(Self {
            date: format!("{:.0}", Timestamp::now())
                .split('T')
                .next()
                .unwrap_or_default()
                .to_owned(),
            processor: field(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default(), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
            kernel: kernel(),
            program: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
            revision: revision(),
            librdkafka: rdkafka::util::get_rdkafka_version().1,
            servers: None,
            seeds: format!(
                "payloads {SEED}, ids {}, clients of the tax 0 to {}",
                produce::SEED,
                tax::CLIENTS - 1
            ),
            command: format!("./x bench {}", arguments.join(" ")).trim_end().to_owned(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            date,
            processor,
            cores,
            memory_bytes,
            kernel,
            program,
            revision,
            librdkafka,
            servers,
            seeds,
            command,
        } = self;
        let gigabytes = *memory_bytes as f64 / 1e9;
        write!(
            formatter,
            "Measured on {date} by `{command}`: {program}, revision {revision}, librdkafka {librdkafka}. Seeds: {seeds}.\n\n\
             Machine: {cores} cores ({processor}), {gigabytes:.0} GB of memory, {kernel}."
        )?;
        if let Some(Versions { postgres, kafka }) = servers {
            write!(
                formatter,
                " PostgreSQL {postgres}, Apache Kafka {kafka}, the relay and the measuring program share it."
            )?;
        }
        Ok(())
    }
}

fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn memory(text: &str) -> u64 {
    let kibibytes = field(text, "MemTotal");
    let number = kibibytes
        .strip_suffix(" kB")
        .and_then(|number| number.parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}

fn kernel() -> String {
    let name = rustix::system::uname();
    format!(
        "{} {}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy()
    )
}

/// With a mark when the files differ from it.
fn revision() -> String {
    let described = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
        .output();
    match described {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
impl Machine {
    /// One for tests of what is told.
    pub fn example(date: &str) -> Self {
        Self {
            date: date.to_owned(),
            processor: "A B".to_owned(),
            cores: 2,
            memory_bytes: 25_000_000_000,
            kernel: "Linux 6".to_owned(),
            program: "onewrite 0.1.0".to_owned(),
            revision: "abcdef0".to_owned(),
            librdkafka: "2.12.1".to_owned(),
            servers: None,
            seeds: "payloads 1".to_owned(),
            command: "./x bench".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(field("processor\t: 0\nmodel name\t: A B\n", "model name"), "A B");
        assert_eq!(field("", "model name"), "unknown");
        assert_eq!(memory("MemTotal:       2048 kB\n"), 2_097_152);
    }
}
