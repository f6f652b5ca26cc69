//! What was found in a folder, for people and for programs.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use weir_core::Error;
use weir_engine::{FolderReport, Verified};
use weir_log::{Finding as LogFinding, Lsn, Severity as LogSeverity};

use super::repair::Repaired;
use crate::output::print_line;

/// Everything that was looked at and found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) folder: String,
    /// Whether `weir serve` would open it.
    pub(super) opens: bool,
    pub(super) segments: u64,
    pub(super) records: u64,
    pub(super) log_end: u64,
    pub(super) snapshots: u64,
    pub(super) keys: u64,
    pub(super) entries: u64,
    pub(super) pending: u64,
    pub(super) findings: Vec<Finding>,
    /// What `--repair` did before this was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) repaired: Option<Repaired>,
    #[serde(skip)]
    pub(super) source: FolderReport,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Worth knowing.
    Note,
    /// Something is lost, or does not fit together.
    Damage,
}

/// One thing worth saying.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// A file of the folder, or `index`.
    pub(super) place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<u64>,
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Report {
    pub(super) fn new(folder: &Path, source: FolderReport) -> Self {
        let mut findings: Vec<_> = source.log.findings.iter().map(of_log).collect();
        let usable = source.replay_from().is_some();
        for snapshot in &source.snapshots {
            let Some(problem) = &snapshot.problem else { continue };
            let rest =
                if usable { "another one is used instead" } else { "the whole log is replayed instead" };
            findings.push(Finding {
                severity: Severity::Note,
                place: snapshot.path.clone(),
                offset: None,
                what: format!("this snapshot cannot be used: {problem}"),
                remedy: format!("nothing to do: {rest}, and the file goes when newer snapshots are written"),
            });
        }
        if let Some(lsn) = source.unknown_record {
            findings.push(Finding {
                severity: Severity::Damage,
                place: "log".into(),
                offset: None,
                what: format!(
                    "the record at log address {lsn} is whole, and unknown to this version of weir"
                ),
                remedy: "use the version of weir that wrote it, or a newer one".into(),
            });
        }
        Self {
            folder: folder.display().to_string(),
            opens: false,
            segments: source.log.segments,
            records: source.log.records,
            log_end: source.log.end.0,
            snapshots: source.snapshots.iter().filter(|snapshot| snapshot.problem.is_none()).count() as u64,
            keys: 0,
            entries: 0,
            pending: 0,
            findings,
            repaired: None,
            source,
        }
    }

    /// Takes over what the engine found after it was opened.
    pub(super) fn verified(&mut self, verified: Verified) {
        self.opens = true;
        (self.keys, self.entries, self.pending) = (verified.keys, verified.entries, verified.pending);
        let more = verified.problem_count.saturating_sub(verified.problems.len() as u64);
        let mut problems = verified.problems;
        if more > 0 {
            problems.push(format!("and {more} more of the kind"));
        }
        self.findings.extend(problems.into_iter().map(|what| Finding {
            severity: Severity::Damage,
            place: "index".into(),
            offset: None,
            what,
            remedy: "delete what cannot be read (XDEL, XTRIM or DEL), or restore a backup".into(),
        }));
    }

    /// Takes over why the engine could not be opened.
    pub(super) fn does_not_open(&mut self, error: &Error) {
        let remedy = match self.is_damaged() {
            true => "see the other findings",
            false => "restore a backup, or remove the folder `snap` if the log is whole",
        };
        self.findings.push(Finding {
            severity: Severity::Damage,
            place: "folder".into(),
            offset: None,
            what: format!("it does not open: {error}"),
            remedy: remedy.into(),
        });
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Damage)
    }

    pub(super) fn print(&self) -> Result<()> {
        if let Some(repaired) = &self.repaired {
            repaired.print()?;
        }
        print_line(&self.folder)?;
        print_line(&format!(
            "  log        {} segments, {} records, ends at {}",
            self.segments,
            self.records,
            Lsn(self.log_end)
        ))?;
        print_line(&format!("  snapshots  {} that can be used", self.snapshots))?;
        if self.opens {
            print_line(&format!(
                "  index      {} keys, {} entries, {} pending: each compared with the log",
                self.keys, self.entries, self.pending
            ))?;
        }
        for finding in &self.findings {
            finding.print()?;
        }
        let verdict = match (self.is_damaged(), self.opens) {
            (false, _) => "everything is there and fits together",
            (true, true) => "damaged, and `weir serve` opens it: see above",
            (true, false) => "damaged, and `weir serve` refuses it: see above",
        };
        print_line(verdict)
    }
}

impl Finding {
    fn print(&self) -> Result<()> {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Damage => "damage",
        };
        let offset = self.offset.map_or(String::new(), |offset| format!(" at byte {offset}"));
        print_line(&format!("{severity}: {}{offset}: {}", self.place, self.what))?;
        print_line(&format!("        {}", self.remedy))
    }
}

fn of_log(finding: &LogFinding) -> Finding {
    let at = finding.lsn.map_or(String::new(), |lsn| format!(" (log address {lsn})"));
    Finding {
        severity: match finding.severity {
            LogSeverity::Note => Severity::Note,
            LogSeverity::Damage => Severity::Damage,
        },
        place: finding.file.clone(),
        offset: Some(finding.offset),
        what: format!("{}{at}", finding.what),
        remedy: finding.remedy.into(),
    }
}
