//! Versions, processors, memory, open files, and the environment.

use std::fs;

use super::findings::{Findings, Severity};
use crate::files;
use crate::settings::{SETTINGS, Settings};

/// Variables that begin like settings and are none: weir's own tests and benchmarks go by them.
const OTHER_VARIABLES: [&str; 11] = [
    "WEIR_CONFIG",
    "WEIR_URL",
    "WEIR_TLS_CA",
    "WEIR_DESTINATION_TOKEN",
    "WEIR_CONSUMER",
    "WEIR_INSTANCE",
    "WEIR_FULL",
    "WEIR_ADDR",
    "WEIR_PROFILE",
    "WEIR_SEED",
    "WEIR_BLESS",
];

pub(super) fn versions(findings: &mut Findings) {
    let system = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    findings.ok(
        "versions",
        format!(
            "weir {}, {} {} on {}",
            env!("CARGO_PKG_VERSION"),
            text(system.sysname()),
            text(system.release()),
            text(system.machine())
        ),
    );
}

pub(super) fn examine(settings: &Settings, findings: &mut Findings) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match processors {
        1 => {
            let remedy = "one is enough; with two, answers come sooner, since one looks for the next request";
            findings.say(Severity::Note, "processors", "1", remedy);
        }
        _ => findings.ok("processors", processors.to_string()),
    }
    memory(settings.memory, available_memory(), findings);
    open_files(files::limits().1, settings.clients, findings);
}

fn memory(planned: u64, available: Option<u64>, findings: &mut Findings) {
    let shown = |bytes: u64| format!("{} MiB", bytes >> 20);
    match available {
        None => {
            findings.ok("memory", format!("{} planned; the system does not say what is free", shown(planned)))
        }
        Some(free) if free < planned => findings.say(
            Severity::Warning,
            "memory",
            format!("{} planned, {} available", shown(planned), shown(free)),
            "plan with less (--memory), or make room",
        ),
        Some(free) => findings.ok("memory", format!("{} planned, {} available", shown(planned), shown(free))),
    }
}

/// Bytes that this process may still take: what is free, and what its control group leaves.
fn available_memory() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10;
    let number =
        |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok();
    let group = number("memory.max").map(|most| most.saturating_sub(number("memory.current").unwrap_or(0)));
    Some(group.map_or(free, |group| free.min(group)))
}

fn open_files(hard: u64, clients: usize, findings: &mut Findings) {
    let fit = files::clients_within(hard, clients);
    let found = match hard {
        u64::MAX => format!("no limit, for {clients} clients"),
        hard => format!("at most {hard}, for {clients} clients"),
    };
    if fit < clients {
        let remedy = format!(
            "only {fit} clients fit: raise the hard limit (ulimit -Hn {}, LimitNOFILE=), or ask for fewer \
             (--clients {fit})",
            clients as u64 + files::OWN_FILES
        );
        return findings.say(Severity::Note, "open files", found, remedy);
    }
    findings.ok("open files", found);
}

/// Variables that look like settings and are none.
pub(super) fn environment(names: impl Iterator<Item = String>, findings: &mut Findings) {
    let is_known =
        |name: &str| OTHER_VARIABLES.contains(&name) || SETTINGS.iter().any(|setting| setting.env == name);
    let strange: Vec<String> = names.filter(|name| name.starts_with("WEIR_") && !is_known(name)).collect();
    if !strange.is_empty() {
        let remedy = "no setting has this name: see `weir config show` for those there are";
        findings.say(Severity::Warning, "environment", strange.join(", "), remedy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(findings: &Findings) -> (Severity, String) {
        let finding = findings.iter().next().unwrap();
        (finding.severity, format!("{} {:?}", finding.found, finding.remedy))
    }

    #[test]
    fn too_few_files_are_told_with_a_figure() {
        let mut findings = Findings::default();
        open_files(1_024, 50_000, &mut findings);
        let (severity, text) = only(&findings);
        assert_eq!(severity, Severity::Note);
        assert!(text.contains("--clients 768"), "{text}");
    }

    #[test]
    fn planning_with_more_memory_than_there_is_is_told() {
        let mut findings = Findings::default();
        memory(512 << 20, Some(100 << 20), &mut findings);
        assert_eq!(only(&findings).0, Severity::Warning);
    }

    #[test]
    fn misspelt_variables_are_told() {
        let mut findings = Findings::default();
        let names = ["WEIR_FSNYC", "WEIR_FSYNC", "WEIR_CONFIG", "PATH"];
        environment(names.iter().map(|name| (*name).to_owned()), &mut findings);
        let (severity, text) = only(&findings);
        assert_eq!(severity, Severity::Warning);
        assert!(text.starts_with("WEIR_FSNYC "), "{text}");
    }
}
