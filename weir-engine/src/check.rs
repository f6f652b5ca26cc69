//! What can be said about a data folder without opening it: whether its snapshots and its log can be read.
//!
//! Whether the index agrees with the log is another question, which [`crate::Engine::verify`] answers.
//!
//! Nobody else may have the folder open. Drafts of snapshots that a crash left are removed, as at every open.

use weir_core::Error;
use weir_log::{CheckReport, Disk, Lsn};

use crate::engine::io_error;
use crate::record::Record;
use crate::snapshot::{self, SnapshotFile};
use crate::state::State;

/// What was found in a folder.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FolderReport {
    /// Snapshots, newest first.
    pub snapshots: Vec<SnapshotReport>,
    /// The log, as far as its frames go.
    pub log: CheckReport,
    /// The first log address whose record this version does not know, although its checksum is right.
    pub unknown_record: Option<Lsn>,
}

impl FolderReport {
    /// Where the next open begins to replay: at the newest snapshot that can be read.
    #[must_use]
    pub fn replay_from(&self) -> Option<Lsn> {
        self.snapshots.iter().find(|snapshot| snapshot.problem.is_none()).map(|snapshot| snapshot.from)
    }
}

/// A snapshot in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// The file, relative to the data folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Where the log has to be replayed from after loading it.
    pub from: Lsn,
    /// The log's end when it was finished: it may hold what was written before that. Unknown when it cannot be read.
    pub end: Option<Lsn>,
    /// Why it cannot be read.
    pub problem: Option<String>,
}

/// Reads every snapshot and every record of a folder, and loads nothing of it.
///
/// # Errors
/// [`weir_core::ErrorKind::Io`] when the disk fails.
pub fn check_folder(disk: &dyn Disk) -> Result<FolderReport, Error> {
    let mut snapshots = Vec::new();
    for file in snapshot::list(disk)? {
        snapshots.push(check_snapshot(disk, file)?);
    }
    let mut report = FolderReport { snapshots, log: CheckReport::default(), unknown_record: None };
    let mut unknown = None;
    let visit = &mut |lsn: Lsn, body: &[u8]| {
        if unknown.is_none() && Record::decode(body).is_none() {
            unknown = Some(lsn);
        }
    };
    report.log = weir_log::check(disk, report.replay_from(), visit)
        .map_err(|error| io_error("reading the log", error))?;
    report.unknown_record = unknown;
    Ok(report)
}

fn check_snapshot(disk: &dyn Disk, file: SnapshotFile) -> Result<SnapshotReport, Error> {
    let mut state = State::default();
    state.begin_recovery();
    let (end, problem) = match snapshot::load(disk, &file, &mut state) {
        Ok(()) => (Some(state.snapshot_end), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let SnapshotFile { from, bytes, path } = file;
    Ok(SnapshotReport { path, bytes, from, end, problem })
}
