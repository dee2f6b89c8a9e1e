//! What the kernel tells of a process.

use std::fs;

use anyhow::{Context, Result};

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Seconds of CPU, in user mode and in the kernel, of all its threads.
    pub cpu_seconds: f64,
    /// The most bytes that were resident at once.
    pub peak_bytes: u64,
}

impl Usage {
    /// The same in megabytes of 1,000,000 bytes.
    pub fn peak_megabytes(&self) -> f64 {
        self.peak_bytes as f64 / 1e6
    }
}

/// What the process has used so far.
pub fn usage(pid: u32) -> Result<Usage> {
    let status = read(pid, "status")?;
    Ok(Usage {
        cpu_seconds: cpu_seconds(pid)?,
        peak_bytes: peak_bytes(&status).with_context(|| format!("no VmHWM in /proc/{pid}/status"))?,
    })
}

/// What a process and its present children have used so far, and of CPU its former ones. The peaks of memory are added up, though
/// they need not have come at once.
pub fn usage_with_children(parent: u32) -> Result<Usage> {
    let mut peak = usage(parent)?.peak_bytes;
    for (pid, times) in processes()? {
        if times.parent == parent {
            peak += usage(pid).map_or(0, |child| child.peak_bytes);
        }
    }
    Ok(Usage {
        cpu_seconds: cpu_seconds_with_children(parent)?,
        peak_bytes: peak,
    })
}

/// Seconds of CPU that a process and its present children have used, and its former ones.
pub fn cpu_seconds_with_children(parent: u32) -> Result<f64> {
    let ticks = processes()?.into_iter().map(|(pid, times)| {
        if pid == parent {
            times.own + times.children
        } else if times.parent == parent {
            times.own
        } else {
            0
        }
    });
    Ok(seconds(ticks.sum()))
}

/// All that run. One may end meanwhile; its time is then its parent's.
fn processes() -> Result<Vec<(u32, Times)>> {
    let entries = fs::read_dir("/proc").context("listing processes")?;
    let process = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = read(pid, "stat").ok()?;
        Some((pid, Times::parse(&stat)?))
    };
    Ok(entries.flatten().filter_map(process).collect())
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = read(pid, "stat")?;
    let times = Times::parse(&stat).with_context(|| format!("/proc/{pid}/stat holds {stat:?}"))?;
    Ok(seconds(times.own))
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("reading {path}"))
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

#[derive(Debug, PartialEq, Eq)]
struct Times {
    parent: u32,
    own: u64,
    children: u64,
}

impl Times {
    /// From /proc/PID/stat: the second field, the name, may hold anything, blanks and brackets too.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: number(11)? + number(12)?,
            children: number(13)? + number(14)?,
        })
    }
}

fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_peak_are_read_as_the_kernel_writes_them() {
        let stat = "41 (a) b (c) S 7 41 1 0 -1 4194560 1 2 0 0 250 50 30 20 20 0 9 0 1 2 3";
        let times = Times {
            parent: 7,
            own: 300,
            children: 50,
        };
        assert_eq!(Times::parse(stat), Some(times));
        assert_eq!(Times::parse("41 (a"), None);
        assert_eq!(peak_bytes("VmPeak:\t 900 kB\nVmHWM:\t   12 kB\n"), Some(12_288));
    }

    #[test]
    fn this_process_uses_something() {
        let own = usage(std::process::id()).expect("the test's own process");
        assert!(own.peak_bytes > 100_000 && own.cpu_seconds >= 0.0);
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("starting a child");
        let both = usage_with_children(std::process::id()).expect("the test's own process and its child");
        drop(child.stdin.take());
        child.wait().expect("the child ends with its input");
        assert!(both.peak_bytes > own.peak_bytes, "{both:?} {own:?}");
    }
}
