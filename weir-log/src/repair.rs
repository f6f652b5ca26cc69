//! Cuts a damaged log where its first damage begins, after saving what it cuts.
//!
//! The log is left a prefix of what it was: later records may build upon the lost ones, so they cannot stay.

use std::io;

use crate::check::{Cut, survey};
use crate::disk::{Disk, DiskFile, Open, read_full};
use crate::folder::{self, CLEAN, SEGMENTS};
use crate::lsn::PAGE;
use crate::segment::{Header, Layout, Segment};
use crate::{Finding, Lsn, holes};

/// What [`repair`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// What was found before.
    pub findings: Vec<Finding>,
    /// Where the log was cut; None when there was no damage and nothing was done.
    pub cut: Option<Lsn>,
    /// The files that keep what was cut, relative to the data folder.
    pub saved: Vec<String>,
}

/// Bytes copied at a time.
const COPY: usize = 1 << 20;

/// Cuts the log in the folder `seg` of `disk` where its first damage begins. What is cut is copied into the folder
/// `backup` first, durably. Nothing is done when nothing is damaged. The log must not be open; `from` as in
/// [`crate::check`].
pub fn repair(disk: &dyn Disk, from: Option<Lsn>, backup: &str) -> io::Result<RepairReport> {
    let survey = survey(disk, from, &mut |_, _| {})?;
    let mut report = RepairReport { findings: survey.report.findings, ..RepairReport::default() };
    let Some(cut) = survey.cut else { return Ok(report) };
    report.cut = Some(Lsn(cut.lsn));

    disk.create_dir(backup)?;
    let lost = lost_files(disk, cut)?;
    for (path, offset) in &lost {
        report.saved.push(save(disk, path, *offset, backup)?);
    }
    disk.sync_dir(backup)?;
    disk.sync_dir("")?;

    // From here on every step leaves a log that can be repaired again: the highest segments go first.
    if folder::Names::list(disk)?.clean {
        disk.remove(CLEAN)?;
        disk.sync_dir(SEGMENTS)?;
    }
    for (path, _) in lost.iter().rev().filter(|(_, offset)| *offset == 0) {
        disk.remove(path)?;
        disk.sync_dir(SEGMENTS)?;
    }
    if let Some(segment) = survey.segments.get(&cut.segment).filter(|_| cut.offset > 0) {
        seal(disk, segment, cut)?;
    }
    Ok(report)
}

/// The files from the cut on, with the place in each where the loss begins.
fn lost_files(disk: &dyn Disk, cut: Cut) -> io::Result<Vec<(String, u64)>> {
    let names = folder::Names::list(disk)?;
    let mut lost = Vec::new();
    for (no, generation) in names.segments.range(cut.segment..) {
        let offset = if *no == cut.segment { cut.offset } else { 0 };
        lost.push((folder::path_of(*no, *generation), offset));
    }
    for no in names.holes.iter().filter(|no| **no > cut.segment || (**no == cut.segment && cut.offset == 0)) {
        lost.push((folder::holes_path(*no), 0));
    }
    Ok(lost)
}

/// Copies a file from `offset` on into the backup; returns the copy's path.
fn save(disk: &dyn Disk, path: &str, offset: u64, backup: &str) -> io::Result<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let copy =
        if offset == 0 { format!("{backup}/{name}") } else { format!("{backup}/{name}.from-{offset}") };
    let (from, to) = (disk.open(path, Open::Read)?, disk.open(&copy, Open::Create)?);
    copy_bytes(&*from, offset..from.len()?, &*to, 0)?;
    to.sync_data()?;
    Ok(copy)
}

fn copy_bytes(
    from: &dyn DiskFile,
    range: std::ops::Range<u64>,
    to: &dyn DiskFile,
    mut at: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; COPY];
    let mut position = range.start;
    while position < range.end {
        let len = (range.end - position).min(COPY as u64) as usize;
        let n = read_full(from, &mut buffer[..len], position)?;
        if n == 0 {
            break;
        }
        to.write_at(&buffer[..n], at)?;
        position += n as u64;
        at += n as u64;
    }
    Ok(())
}

/// Lets a segment end at the cut; the log goes on in the next one.
fn seal(disk: &dyn Disk, segment: &Segment, cut: Cut) -> io::Result<()> {
    match &segment.layout {
        Layout::Plain { .. } => {
            // Everything behind is a hole.
            let header =
                Header::read(&*segment.file)?.map_err(|_| io::Error::other("the header was there before"))?;
            let end = segment.base + header.segment_bytes;
            let old = segment.holes();
            let holes = holes::cut(old.as_deref().unwrap_or_default(), cut.lsn, end);
            folder::write_small(disk, &folder::holes_path(segment.no), &holes::encode(&holes, segment.salt))
        }
        Layout::Compacted(_) => shorten(disk, segment, cut),
    }
}

/// Writes a compacted segment anew, up to the cut.
fn shorten(disk: &dyn Disk, segment: &Segment, cut: Cut) -> io::Result<()> {
    let header =
        Header::read(&*segment.file)?.map_err(|_| io::Error::other("the header was there before"))?;
    // A checksum that does not fit: the index is made from the records at every open.
    let header = Header {
        generation: header.generation + 1,
        data_end: cut.offset,
        index_entries: 0,
        index_crc: u32::MAX,
        ..header
    };
    let path = folder::compacted_path(header.no, header.generation);
    let new = format!("{path}.new");
    let file = disk.open(&new, Open::Create)?;
    file.write_at(&header.encode(), 0)?;
    copy_bytes(&*segment.file, PAGE..cut.offset, &*file, PAGE)?;
    file.sync_data()?;
    disk.rename(&new, &path)?;
    disk.sync_dir(SEGMENTS)?;
    disk.remove(&segment.path)
}
