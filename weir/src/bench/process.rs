//! CPU time and memory of a process, from `/proc`. On systems without it everything is `None`.

use std::fs;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// CPU time in seconds, of all threads, user and system; `None` when unknown. Steps of 10 ms.
    pub(super) cpu_seconds: Option<f64>,
    /// Resident anonymous memory in bytes: heap and stacks, without files that are mapped or cached.
    pub(super) anonymous_bytes: Option<u64>,
}

/// A process on this machine.
#[derive(Debug, Clone, Copy)]
pub(super) enum Process {
    /// This one.
    Own,
    /// Another.
    Pid(u32),
}

impl Process {
    /// What it has used so far.
    pub(super) fn usage(self) -> Usage {
        Usage {
            cpu_seconds: self.read("stat").and_then(|text| cpu_seconds(&text)),
            anonymous_bytes: self.read("status").and_then(|text| anonymous_bytes(&text)),
        }
    }

    /// How many files it may open, by its soft limit; `None` when unknown.
    pub(super) fn files_max(self) -> Option<u64> {
        files_max(&self.read("limits")?)
    }

    fn read(self, file: &str) -> Option<String> {
        match self {
            Self::Own => fs::read_to_string(format!("/proc/self/{file}")).ok(),
            Self::Pid(pid) => fs::read_to_string(format!("/proc/{pid}/{file}")).ok(),
        }
    }
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name of the program stands in parentheses and may contain anything.
    let behind_name = stat.rsplit_once(')')?.1;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / ticks_per_second())
}

fn files_max(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn anonymous_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(unix)]
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(not(unix))]
fn ticks_per_second() -> f64 {
    100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(300.0 / ticks_per_second()));
        let status = "VmRSS:\t  900 kB\nRssAnon:\t     512 kB\nRssFile:\t 388 kB\n";
        assert_eq!(anonymous_bytes(status), Some(512 * 1024));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024    4096   files\n";
        assert_eq!((files_max(limits), files_max("nonsense")), (Some(1024), None));
        assert_eq!((cpu_seconds("nonsense"), anonymous_bytes("nonsense")), (None, None));
    }
}
