//! The broker's own measuring tool, on the same broker.

use std::io::Write as _;

use anyhow::{Context, Result};

use crate::servers::Servers;
use crate::workload::{PARTITIONS, Workload};

/// Different payloads that the tool is given, which it draws from at random.
const PAYLOADS: usize = 8_192;

/// Sends so many records to a new topic, and returns how many a second; the topic is gone then. They have the payloads, but
/// neither keys nor headers: the tool knows none.
pub async fn produce(servers: &Servers, topic: &str, workload: &Workload, events: usize) -> Result<f64> {
    let mut file = tempfile::NamedTempFile::new().context("making a file for the payloads")?;
    for number in 0..PAYLOADS {
        file.write_all(workload.payload(number))?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    let path = file.path().to_str().context("the file's path is text")?;
    servers.kafka.create_topic(topic, PARTITIONS, &[]).await;
    let events = events.to_string();
    let arguments = [
        ["--topic", topic, "--num-records", &events, "--throughput", "-1"].as_slice(),
        &["--payload-file", path, "--command-property"],
        &["acks=all", "enable.idempotence=true", "compression.type=lz4"],
    ]
    .concat();
    let class = "org.apache.kafka.tools.ProducerPerformance";
    let printed = servers.kafka.tool(class, &arguments).await;
    servers.delete_topic(topic).await?;
    rate(&printed).with_context(|| format!("{class} printed no rate:\n{printed}"))
}

/// Out of the last line, such as `50000 records sent, 63131.3 records/sec (18.06 MB/sec), 61.35 ms avg latency, …`.
fn rate(printed: &str) -> Option<f64> {
    let line = printed.lines().rfind(|line| line.contains("records sent"))?;
    let (before, _) = line.split_once(" records/sec")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn the_tools_rate_is_that_of_all_records() {
        let printed = "Reading payloads from: /tmp/payloads\nNumber of messages read: 8192\n\
                       31010 records sent, 6202.0 records/sec (1.77 MB/sec), 11.3 ms avg latency, 225.0 ms max latency.\n\
                       50000 records sent, 63131.3 records/sec (18.06 MB/sec), 61.35 ms avg latency, 250.00 ms max latency, 50 ms 50th.\n";
        assert_eq!(rate(printed), Some(63_131.3));
        assert_eq!(rate("50000 records"), None);
    }
}
