//! Mending a folder that does not open: the log is cut where its damage begins.
//!
//! What is cut, and every snapshot that has seen more than what is left, goes into a folder of its own first. So
//! nothing is lost that was not lost before, and a wrong decision can be taken back by hand.
//!
//! Every step leaves a folder that can be checked and mended again.

use anyhow::{Context, Result};
use serde::Serialize;
use weir_core::Clock;
use weir_engine::{FolderReport, SnapshotReport};
use weir_log::{Disk, Lsn};

use super::report::Report;
use crate::exit::refused;
use crate::output::print_line;

/// What was done.
#[derive(Debug, Serialize)]
pub(super) struct Repaired {
    /// Where the log ends now.
    cut_at: u64,
    /// The folder that keeps what was taken away, relative to the data folder.
    backup: String,
    /// What is in there.
    saved: Vec<String>,
}

impl Repaired {
    pub(super) fn print(&self) -> Result<()> {
        print_line(&format!("repaired: the log ends at {} now", Lsn(self.cut_at)))?;
        print_line(&format!("what was cut is kept in {}:", self.backup))?;
        self.saved.iter().try_for_each(|file| print_line(&format!("  {file}")))
    }
}

/// Cuts the log where its first damage begins that keeps it from opening. Where nothing can be cut and the log is
/// whole from its beginning, the snapshots are taken away instead, so that everything is made from the log.
///
/// # Errors
/// When nothing would be left to start from, when there is nothing to mend, or when the disk fails.
pub(super) fn repair(disk: &dyn Disk, report: &Report, clock: &dyn Clock) -> Result<Repaired> {
    let FolderReport { snapshots, log, .. } = &report.source;
    let backup = format!("cut-{:013}", clock.now().0);
    let Some(cut) = log.cut else {
        if log.begin > Lsn(0) || snapshots.is_empty() {
            return Err(refused("nothing in this folder can be cut to mend it; restore a backup"));
        }
        let saved = move_away(disk, snapshots.iter(), &backup).context("moving snapshots away")?;
        return Ok(Repaired { cut_at: log.end.0, backup, saved });
    };
    let Some(plan) = plan(disk, snapshots, log.begin, cut)? else {
        return Err(refused(format!(
            "the log could be cut at {cut}, but no snapshot is old enough and the log before {} was given back, so \
             nothing would be left to start from; restore a backup",
            log.begin
        )));
    };
    let goes = snapshots.iter().filter(|snapshot| !plan.keeps(snapshot));
    let mut saved = move_away(disk, goes, &backup).context("moving snapshots away")?;
    let done = weir_log::repair(disk, plan.from, &backup).context("cutting the log")?;
    saved.extend(done.saved);
    Ok(Repaired { cut_at: done.cut.unwrap_or(plan.cut).0, backup, saved })
}

/// Where to cut, and from which snapshot to go on; they depend on each other.
#[derive(Debug)]
struct Plan {
    cut: Lsn,
    from: Option<Lsn>,
}

impl Plan {
    /// Whether a snapshot can be read and has seen nothing behind the cut.
    fn keeps(&self, snapshot: &SnapshotReport) -> bool {
        snapshot.end.is_some_and(|end| end <= self.cut)
    }
}

/// An older snapshot needs more of the log, and that may be damaged earlier, which may rule the snapshot out.
fn plan(disk: &dyn Disk, snapshots: &[SnapshotReport], begin: Lsn, cut: Lsn) -> Result<Option<Plan>> {
    let mut plan = Plan { cut, from: None };
    loop {
        let newest =
            snapshots.iter().filter(|snapshot| plan.keeps(snapshot)).map(|snapshot| snapshot.from).max();
        plan.from = newest;
        if newest.is_none() && begin > Lsn(0) {
            return Ok(None);
        }
        let checked = weir_log::check(disk, newest, &mut |_, _| {}).context("reading the log")?;
        match checked.cut {
            Some(earlier) if earlier < plan.cut => plan.cut = earlier,
            _ => return Ok(Some(plan)),
        }
    }
}

fn move_away<'a>(
    disk: &dyn Disk,
    snapshots: impl Iterator<Item = &'a SnapshotReport>,
    backup: &str,
) -> std::io::Result<Vec<String>> {
    disk.create_dir(backup)?;
    let mut saved = Vec::new();
    for snapshot in snapshots {
        let name = snapshot.path.rsplit('/').next().unwrap_or(&snapshot.path);
        let to = format!("{backup}/{name}");
        disk.rename(&snapshot.path, &to)?;
        saved.push(to);
    }
    disk.sync_dir(backup)?;
    if !saved.is_empty() {
        disk.sync_dir("snap")?;
    }
    disk.sync_dir("")?;
    Ok(saved)
}
