//! Looks at every segment and every record of a folder, and says in words what it finds. Changes nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::disk::{Disk, Open};
use crate::folder::{self, Names, SegmentFile};
use crate::frame::{END, TXN_MORE, WATERMARK};
use crate::frames::{Frames, Step};
use crate::lsn::Geometry;
use crate::recovery::is_proof;
use crate::segment::Segment;
use crate::{Lsn, OpenError, tail};

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// Segment files that are in order as far as their header goes.
    pub segments: u64,
    /// Valid records.
    pub records: u64,
    /// Bytes of valid records, without their frames.
    pub bytes: u64,
    /// Where the first segment begins.
    pub begin: Lsn,
    /// Where the log ends.
    pub end: Lsn,
    /// Where a repair would cut; None when nothing keeps the log from opening.
    pub cut: Option<Lsn>,
    /// Everything worth saying, in log order.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Whether something that was durable once is lost.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Damage)
    }
}

/// How bad a finding is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Worth knowing; the log opens.
    Note,
    /// Something that was durable once is lost. The log does not open, unless the remedy says so.
    Damage,
}

/// One thing worth saying.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the data folder.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// The log address there, if there is one.
    pub lsn: Option<Lsn>,
    /// What is the matter.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Damage => "damage",
        };
        write!(f, "{severity}: {} at byte {}", self.file, self.offset)?;
        if let Some(lsn) = self.lsn {
            write!(f, " (log address {lsn})")?;
        }
        write!(f, ": {}; {}", self.what, self.remedy)
    }
}

const REPAIR: &str =
    "restore a backup, or cut here with `weir check DIR --repair`, which keeps a copy of what it cuts";
const NOT_NEEDED: &str =
    "the log opens without it, what lies here cannot be read; delete it, or restore a backup";
const NOTHING_TO_DO: &str = "nothing to do";

/// Looks at the log in the folder `seg` of `disk`, and shows `visit` every valid record in order.
///
/// `from` is where the next open would begin to replay, if that is known: a missing segment is damage above it, and
/// damaged records below it are in nobody's way. Without it a missing segment is only a note, since it may have been
/// taken back. The log must not be open.
pub fn check(
    disk: &dyn Disk,
    from: Option<Lsn>,
    visit: &mut dyn FnMut(Lsn, &[u8]),
) -> io::Result<CheckReport> {
    Ok(survey(disk, from, visit)?.report)
}

/// The report, and what a repair needs to know.
pub(crate) struct Survey {
    pub(crate) report: CheckReport,
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    /// Where the first damage that keeps the log from opening begins, at the begin of its transaction.
    pub(crate) cut: Option<Cut>,
}

/// A place to cut at: everything from there on is lost.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) segment: u64,
    /// Position in the segment's file; 0 when all of it is lost.
    pub(crate) offset: u64,
    pub(crate) lsn: u64,
}

pub(crate) fn survey(
    disk: &dyn Disk,
    from: Option<Lsn>,
    visit: &mut dyn FnMut(Lsn, &[u8]),
) -> io::Result<Survey> {
    let names = Names::list(disk)?;
    let mut surveyor = Surveyor {
        report: CheckReport::default(),
        segments: BTreeMap::new(),
        geometry: None,
        proof: BTreeMap::new(),
        clean: 0,
        from: from.unwrap_or_default().0,
        transaction: None,
        cut: None,
    };
    for path in &names.leftovers {
        surveyor.note(path, 0, None, "left by a crash".into(), "the next open removes it");
    }
    surveyor.open_segments(disk, &names)?;
    surveyor.collect_proof()?;
    surveyor.walk(from, visit)?;
    surveyor.report.cut = surveyor.cut.map(|cut| Lsn(cut.lsn));
    Ok(Survey { report: surveyor.report, segments: surveyor.segments, cut: surveyor.cut })
}

struct Surveyor {
    report: CheckReport,
    segments: BTreeMap<u64, Arc<Segment>>,
    geometry: Option<(Geometry, u128)>,
    /// For each segment, up to which address something in it or behind it proves that the log was durable.
    proof: BTreeMap<u64, u64>,
    clean: u64,
    /// Below this an open does not look at records.
    from: u64,
    /// Begin of the transaction that is open where the walk is.
    transaction: Option<Cut>,
    cut: Option<Cut>,
}

impl Surveyor {
    fn note(&mut self, file: &str, offset: u64, lsn: Option<u64>, what: String, remedy: &'static str) {
        let (severity, file, lsn) = (Severity::Note, file.to_owned(), lsn.map(Lsn));
        self.report.findings.push(Finding { severity, file, offset, lsn, what, remedy });
    }

    fn damage(&mut self, file: &str, at: Cut, what: String) {
        let lsn = Some(Lsn(at.lsn));
        let (severity, file, offset, remedy) = (Severity::Damage, file.to_owned(), at.offset, REPAIR);
        self.report.findings.push(Finding { severity, file, offset, lsn, what, remedy });
        let cut = self.transaction.unwrap_or(at);
        if self.cut.is_none_or(|earlier| cut.lsn < earlier.lsn) {
            self.cut = Some(cut);
        }
    }

    /// Records that cannot be read: in the way only where an open looks at them.
    fn damaged_records(&mut self, file: &str, at: Cut, until: u64) {
        let what = format!("no valid record stands here, nor up to address {until}");
        if until > self.from {
            return self.damage(file, at, what);
        }
        let lsn = Some(Lsn(at.lsn));
        let (severity, file, offset, remedy) = (Severity::Damage, file.to_owned(), at.offset, NOT_NEEDED);
        self.report.findings.push(Finding { severity, file, offset, lsn, what, remedy });
    }

    fn open_segments(&mut self, disk: &dyn Disk, names: &Names) -> io::Result<()> {
        let mut bad = Vec::new();
        for (no, generation) in &names.segments {
            let opened =
                SegmentFile::open::<Infallible>(disk, *no, *generation, Open::Read).and_then(|file| {
                    let (geometry, log_id) = *self.geometry.get_or_insert_with(|| {
                        (Geometry::new(file.header.segment_bytes), file.header.log_id)
                    });
                    if (geometry.segment_bytes(), log_id) != (file.header.segment_bytes, file.header.log_id) {
                        let what = "belongs to another log".to_owned();
                        return Err(OpenError::Foreign { file: file.path, what });
                    }
                    file.into_segment(disk, geometry, names.holes.contains(no))
                });
            match opened {
                Ok(segment) => drop(self.segments.insert(*no, Arc::new(segment))),
                Err(OpenError::Disk { source, .. }) => return Err(source),
                Err(OpenError::Rot { file, what, .. }) => bad.push((*no, file, what)),
                Err(OpenError::Foreign { file, what }) => bad.push((*no, file, format!("it {what}"))),
                Err(other) => return Err(io::Error::other(other)),
            }
        }
        self.report.segments = self.segments.len() as u64;
        for (no, file, what) in bad {
            let base = self.geometry.map_or(0, |(geometry, _)| geometry.base(no));
            self.damage(&file, Cut { segment: no, offset: 0, lsn: base }, what);
        }
        if let (true, Some((_, log_id))) = (names.clean, self.geometry) {
            let mark = folder::read_clean::<Infallible>(disk, log_id).map_err(io::Error::other)?;
            self.clean = mark.unwrap_or(0);
        }
        Ok(())
    }

    fn collect_proof(&mut self) -> io::Result<()> {
        let mut highest = self.clean;
        for (no, segment) in self.segments.iter().rev() {
            let Some((geometry, _)) = self.geometry else { break };
            let end = geometry.end(*no);
            let proof = match is_proof(segment) {
                true => end,
                false => tail::look_behind(segment, geometry.first(*no), end)?.watermark,
            };
            highest = highest.max(proof);
            self.proof.insert(*no, highest);
        }
        Ok(())
    }

    fn walk(&mut self, from: Option<Lsn>, visit: &mut dyn FnMut(Lsn, &[u8])) -> io::Result<()> {
        let Some((geometry, _)) = self.geometry else { return Ok(()) };
        self.report.begin = Lsn(self.segments.keys().next().map_or(0, |no| geometry.base(*no)));
        let mut expected = None;
        let segments: Vec<_> = self.segments.values().cloned().collect();
        for segment in segments {
            let first = geometry.first(segment.no);
            if expected.is_some_and(|expected| expected < segment.no) {
                self.gap(geometry, expected.unwrap_or_default(), segment.no, from);
            }
            expected = Some(segment.no + 1);
            if is_proof(&segment) {
                self.transaction = None;
            }
            if let Some(end) = self.walk_segment(geometry, &segment, first, visit)? {
                self.behind_the_end(&segment, end)?;
                break;
            }
        }
        if let Some(begin) = self.transaction.filter(|_| self.cut.is_none()) {
            self.report.end = Lsn(begin.lsn);
            let what = "a transaction begins here that was never finished".to_owned();
            let file = folder::segment_path(begin.segment);
            self.note(&file, begin.offset, Some(begin.lsn), what, "the next open cuts it");
        }
        if self.clean > self.report.end.0 && self.cut.is_none() {
            let segment = expected.unwrap_or_default();
            let at = Cut { segment, offset: 0, lsn: geometry.first(segment) };
            let what =
                format!("the log was closed in order at {}, but ends at {}", self.clean, self.report.end);
            self.damage(&folder::segment_path(segment), at, what);
        }
        Ok(())
    }

    fn gap(&mut self, geometry: Geometry, expected: u64, found: u64, from: Option<Lsn>) {
        let (file, lsn) = (folder::segment_path(expected), geometry.first(expected));
        if self.cut.is_some_and(|cut| cut.segment >= expected && cut.segment < found) {
            // Its header is damaged, and that was said already.
            return;
        }
        if from.is_some_and(|from| from.0 < geometry.base(found)) {
            self.damage(&file, Cut { segment: expected, offset: 0, lsn }, "the file is missing".into());
        } else {
            let what = format!("segments {expected} to {} are not there: taken back, or lost", found - 1);
            self.note(&file, 0, Some(lsn), what, NOTHING_TO_DO);
        }
    }

    /// Walks one segment; where the log ends, if it does so in there.
    fn walk_segment(
        &mut self,
        geometry: Geometry,
        segment: &Segment,
        first: u64,
        visit: &mut dyn FnMut(Lsn, &[u8]),
    ) -> io::Result<Option<u64>> {
        let end = geometry.end(segment.no);
        let whole = is_proof(segment);
        let mut frames = Frames::new(segment, first, end, Vec::new());
        loop {
            let offset = frames.offset();
            match frames.next()? {
                Step::Frame { head, .. } if head.is(END) => return Ok(None),
                Step::Limit => return Ok(None),
                Step::Frame { head, lsn, .. } if head.is(WATERMARK) => {
                    self.advance(lsn + head.frame_len() as u64)
                }
                Step::Frame { lsn, head, body } => {
                    let begin = Cut { segment: segment.no, offset, lsn };
                    let open = head.is(TXN_MORE) && !whole;
                    self.transaction = open.then(|| self.transaction.unwrap_or(begin));
                    self.report.records += 1;
                    self.report.bytes += body.len() as u64;
                    visit(Lsn(lsn), body);
                    self.advance(lsn + head.frame_len() as u64);
                }
                Step::Bad(lsn) => {
                    let proof = self.proof.get(&segment.no).copied().unwrap_or(0);
                    let offset = frames.offset();
                    if proof <= lsn && !whole {
                        self.advance(lsn);
                        return Ok(Some(lsn));
                    }
                    let next = if whole { None } else { tail::next_watermark(segment, lsn, end)? };
                    let at = Cut { segment: segment.no, offset, lsn };
                    self.damaged_records(&segment.path, at, next.unwrap_or(end));
                    self.transaction = None;
                    let Some(next) = next else { return Ok(None) };
                    frames = Frames::new(segment, next, end, Vec::new());
                }
            }
        }
    }

    fn advance(&mut self, end: u64) {
        if self.cut.is_none() {
            self.report.end = Lsn(end);
        }
    }

    /// Says what lies behind the end of the log.
    fn behind_the_end(&mut self, last: &Segment, end: u64) -> io::Result<()> {
        if self.clean == end {
            return Ok(());
        }
        let torn = tail::look_behind(last, end, end)?.nonzero;
        if torn > 0 {
            let what = format!("the log ends here; {torn} bytes behind are the traces of a crash");
            let path = last.path.clone();
            self.note(&path, last.offset(end), Some(end), what, "the next open cuts them");
        }
        Ok(())
    }
}
