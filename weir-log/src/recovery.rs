//! Opening a folder: find the end of the log, tell a torn tail from rot, cut, replay.
//!
//! Everything up to the first bad frame is the log. What lies behind it is either a *torn tail*, bytes of a crash
//! that nobody was promised, or, if a watermark record behind it says that the log was durable beyond it, *rot*:
//! then the open is refused, since going on would lose promised records silently.
//!
//! Before anything is appended, every byte behind the cut that could ever look like a record again is gone, durably.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, RwLock};

use crate::disk::{Disk, Open, read_full};
use crate::frame::{
    END, HEADER, Parsed, TXN_MORE, WATERMARK, WATERMARK_FRAME, WATERMARK_HEAD, parse, u64_at,
};
use crate::log::{Fault, Log, Opened};
use crate::lsn::{Geometry, PAGE, PAGE_LEN, page_down};
use crate::read::{Frames, Step};
use crate::ring::Ring;
use crate::segment::{self, FOLDER, Header, HeaderError, Segment};
use crate::space::Space;
use crate::stats::Counters;
use crate::writer::{Gate, Queue, Writer};
use crate::{Appender, LogOptions, Lsn, OpenError};

/// A fresh log fills only so much before it is open.
const FILL_AT_OPEN: u64 = 1 << 20;
/// Up to so many bytes behind the cut are zeroed in place; beyond that the file is cut and filled anew.
const ZERO_MAX: u64 = 1 << 20;

/// What [`Log::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Where the log ends and appending goes on.
    pub end: Lsn,
    /// Records shown to the replay function.
    pub records: u64,
    /// The highest proven durable address that was seen.
    pub watermark: Lsn,
    /// Bytes that were not zero behind the end and were discarded: the tail of a crash.
    pub torn_bytes: u64,
    /// Complete records that were discarded because their transaction was not.
    pub unfinished: u64,
    /// Segments that held nothing but such a tail.
    pub segments_discarded: u64,
}

impl Log {
    /// Opens the log in the folder `seg` of `disk`, making it if there is none: finds its end, cuts a torn tail, and
    /// shows `replay` each complete record at or after `from` (None: all).
    ///
    /// `from` must be an address between transactions up to which the log was made durable before; what lies below
    /// it is not looked at. `salts` is a source of random numbers. The caller holds a lock on the folder.
    pub fn open<E>(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        salts: Box<dyn FnMut() -> u64 + Send>,
        from: Option<Lsn>,
        replay: &mut dyn FnMut(Lsn, &[u8]) -> Result<(), E>,
    ) -> Result<Opened, OpenError<E>> {
        if !LogOptions::segment_bytes_valid(options.segment_bytes) {
            let what =
                format!("segments of {} bytes; a power of two from 64 KiB to 1 GiB", options.segment_bytes);
            return Err(OpenError::Options(what));
        }
        let mut salts = salts;
        let found = Inventory::take(&*disk, &options, &mut *salts)?;
        let mut recovery = Recovery { disk: &*disk, found, report: RecoveryReport::default() };
        let mut replayer = Replayer::new(replay);
        let bad = recovery.replay(from, &mut replayer)?;
        recovery.refuse_rot(bad)?;
        recovery.report.records = replayer.records;
        recovery.report.unfinished = replayer.held.len() as u64;
        let cut = replayer.begin_of_unfinished().unwrap_or(bad);
        recovery.cut(cut).map_err(|(what, source)| OpenError::Disk { what, source })?;
        recovery.into_log(cut, Arc::clone(&disk), options, salts)
    }
}

fn disk_error<E>(what: String) -> impl FnOnce(io::Error) -> OpenError<E> {
    move |source| OpenError::Disk { what, source }
}

/// The segments of the folder, lowest first.
struct Inventory {
    log_id: u128,
    geometry: Geometry,
    segments: BTreeMap<u64, Arc<Segment>>,
    spares: Vec<String>,
}

impl Inventory {
    fn take<E>(
        disk: &dyn Disk,
        options: &LogOptions,
        salts: &mut dyn FnMut() -> u64,
    ) -> Result<Self, OpenError<E>> {
        disk.create_dir(FOLDER).and_then(|()| disk.sync_dir("")).map_err(disk_error("making seg".into()))?;
        let names = disk.list(FOLDER).map_err(disk_error("listing seg".into()))?;
        let mut spares = Vec::new();
        let mut headers = BTreeMap::new();
        for name in names {
            let path = format!("{FOLDER}/{name}");
            if name.ends_with(".new") {
                disk.remove(&path).map_err(disk_error(format!("removing {path}")))?;
            } else if name.ends_with(".spare") {
                spares.push(path);
            } else if name.ends_with(".seg") {
                let (header, segment) = read_header(disk, path)?;
                headers.insert(header.no, (header, segment));
            }
        }
        for path in spares.drain(options.spares_max.min(spares.len())..) {
            disk.remove(&path).map_err(disk_error(format!("removing {path}")))?;
        }
        let first = headers.values().next().map(|(header, _)| *header);
        let log_id =
            first.map_or_else(|| u128::from(salts()) << 64 | u128::from(salts()), |header| header.log_id);
        let segment_bytes = first.map_or(options.segment_bytes, |header| header.segment_bytes);
        if let Some((header, (file, path))) = headers
            .values()
            .find(|(header, _)| (header.log_id, header.segment_bytes) != (log_id, segment_bytes))
        {
            let _ = (header, file);
            return Err(OpenError::Foreign { file: path.clone(), what: "belongs to another log".into() });
        }
        let geometry = Geometry::new(segment_bytes);
        let mut segments = BTreeMap::new();
        for (no, (header, (file, path))) in headers {
            let len = file.len().map_err(disk_error(format!("reading {path}")))?;
            segments
                .insert(no, Arc::new(Segment::open(geometry, &header, path, file, len.min(segment_bytes))));
        }
        Ok(Self { log_id, geometry, segments, spares })
    }
}

type Named = (Arc<dyn crate::DiskFile>, String);

fn read_header<E>(disk: &dyn Disk, path: String) -> Result<(Header, Named), OpenError<E>> {
    let file = disk.open(&path, Open::Write).map_err(disk_error(format!("opening {path}")))?;
    let header = Header::read(&*file).map_err(disk_error(format!("reading {path}")))?;
    let what = match header {
        Ok(header) if !LogOptions::segment_bytes_valid(header.segment_bytes) => {
            "has an impossible segment size"
        }
        Ok(header) if segment::path(header.no) != path => "is the file of another segment under a wrong name",
        Ok(header) => return Ok((header, (file, path))),
        Err(HeaderError::Foreign(what)) => what,
        Err(HeaderError::Bad(what)) => {
            let (lsn, watermark, what) = (Lsn(0), Lsn(0), what.to_owned());
            return Err(OpenError::Rot { file: path, offset: 0, lsn, watermark, what });
        }
    };
    Err(OpenError::Foreign { file: path, what: what.into() })
}

/// Shows records to the caller once their transaction is known to be whole.
struct Replayer<'a, E> {
    replay: &'a mut dyn FnMut(Lsn, &[u8]) -> Result<(), E>,
    records: u64,
    /// Records of the open transaction: address, and where the body ends in `bytes`.
    held: Vec<(u64, usize)>,
    bytes: Vec<u8>,
}

impl<'a, E> Replayer<'a, E> {
    fn new(replay: &'a mut dyn FnMut(Lsn, &[u8]) -> Result<(), E>) -> Self {
        Self { replay, records: 0, held: Vec::new(), bytes: Vec::new() }
    }

    fn record(&mut self, lsn: u64, more: bool, body: &[u8]) -> Result<(), OpenError<E>> {
        if more {
            self.bytes.extend_from_slice(body);
            self.held.push((lsn, self.bytes.len()));
            return Ok(());
        }
        let mut from = 0;
        for (lsn, end) in self.held.drain(..) {
            let shown = (self.replay)(Lsn(lsn), &self.bytes[from..end]);
            shown.map_err(|error| OpenError::Replay { lsn: Lsn(lsn), error })?;
            from = end;
            self.records += 1;
        }
        self.bytes.clear();
        self.records += 1;
        (self.replay)(Lsn(lsn), body).map_err(|error| OpenError::Replay { lsn: Lsn(lsn), error })
    }

    fn begin_of_unfinished(&self) -> Option<u64> {
        self.held.first().map(|(lsn, _)| *lsn)
    }
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    found: Inventory,
    report: RecoveryReport,
}

impl Recovery<'_> {
    /// Replays from `from`; returns the address of the first frame that is not there.
    fn replay<E>(&mut self, from: Option<Lsn>, replayer: &mut Replayer<'_, E>) -> Result<u64, OpenError<E>> {
        let geometry = self.found.geometry;
        let oldest = self.found.segments.keys().next().copied();
        let start = match (from, oldest) {
            (Some(from), _) => from.0.max(geometry.first(geometry.segment_of(from.0))),
            (None, Some(oldest)) => geometry.first(oldest),
            (None, None) => geometry.first(0),
        };
        let mut at = start;
        let mut buffer = Vec::new();
        while let Some(segment) = self.found.segments.get(&geometry.segment_of(at)).cloned() {
            let mut frames = Frames::new(&segment, at, geometry.end(segment.no), buffer);
            at = loop {
                let step = frames.next().map_err(disk_error(format!("reading {}", segment.path)))?;
                match step {
                    Step::Frame { head, .. } if head.is(END) => break geometry.first(segment.no + 1),
                    Step::Frame { head, body, .. } if head.is(WATERMARK) => {
                        self.report.watermark = self.report.watermark.max(Lsn(u64_at(body, 0)));
                    }
                    Step::Frame { lsn, head, body } => replayer.record(lsn, head.is(TXN_MORE), body)?,
                    Step::Bad(lsn) => return Ok(lsn),
                    Step::Limit => return Ok(geometry.end(segment.no)),
                }
            };
            buffer = frames.into_buffer();
        }
        Ok(at)
    }

    /// Refuses if anything behind `bad` proves that the log was durable beyond it.
    fn refuse_rot<E>(&mut self, bad: u64) -> Result<(), OpenError<E>> {
        let geometry = self.found.geometry;
        let no = geometry.segment_of(bad);
        let mut proof = self.report.watermark.0;
        for (_, segment) in self.found.segments.range(no..) {
            let from = bad.max(geometry.first(segment.no));
            let read = highest_watermark(segment, from, geometry.end(segment.no));
            proof = proof.max(read.map_err(disk_error(format!("reading {}", segment.path)))?);
        }
        let (file, missing) = match self.found.segments.get(&no) {
            Some(segment) => (segment.path.clone(), false),
            None => (segment::path(no), self.found.segments.range(no..).next().is_some()),
        };
        self.report.watermark = Lsn(proof);
        if proof <= bad && !missing {
            return Ok(());
        }
        let what = if missing { "the file is missing" } else { "no valid record stands there" };
        let offset = bad - geometry.base(no);
        Err(OpenError::Rot { file, offset, lsn: Lsn(bad), watermark: Lsn(proof), what: what.into() })
    }

    /// Discards, durably, everything from `cut` on.
    fn cut(&mut self, cut: u64) -> Result<(), (String, io::Error)> {
        let geometry = self.found.geometry;
        let no = geometry.segment_of(cut);
        let later: Vec<_> = self.found.segments.range(no + 1..).map(|(_, s)| Arc::clone(s)).rev().collect();
        // The highest first: whatever a crash leaves has no gap.
        for segment in later {
            let failed = |error| (format!("discarding {}", segment.path), error);
            let bytes = count_nonzero(&segment, PAGE).map_err(failed)?;
            if bytes > 0 {
                self.disk.remove(&segment.path).and_then(|()| self.disk.sync_dir(FOLDER)).map_err(failed)?;
                self.found.segments.remove(&segment.no);
                self.report.torn_bytes += bytes;
                self.report.segments_discarded += 1;
            }
        }
        for (_, segment) in self.found.segments.range(..=no) {
            let failed = |error| (format!("cutting {}", segment.path), error);
            if segment.no == no {
                self.report.torn_bytes += clear_behind(segment, geometry, cut).map_err(failed)?;
            }
            // What was found may never have been flushed: a killed process leaves it to the kernel.
            segment.file.sync_data().map_err(failed)?;
        }
        Ok(())
    }

    fn into_log<E>(
        self,
        cut: u64,
        disk: Arc<dyn Disk>,
        options: LogOptions,
        mut salts: Box<dyn FnMut() -> u64 + Send>,
    ) -> Result<Opened, OpenError<E>> {
        let Inventory { log_id, geometry, mut segments, spares } = self.found;
        let no = geometry.segment_of(cut);
        let mut planned: BTreeMap<u64, u64> = segments.range(no..).map(|(no, s)| (*no, s.salt)).collect();
        let salt = *planned.entry(no).or_insert_with(&mut salts);
        if !segments.contains_key(&no) {
            let header = Header { log_id, no, segment_bytes: geometry.segment_bytes(), salt, generation: 0 };
            let path = segment::path(no);
            let made = segment::create(&*disk, &header, None);
            let (file, len) = made.map_err(disk_error(format!("making {path}")))?;
            segments.insert(no, Arc::new(Segment::open(geometry, &header, path, file, len)));
        }
        let segment = Arc::clone(&segments[&no]);
        let mut tail = Box::new([0; PAGE_LEN]);
        let page = page_down(cut);
        let part = &mut tail[..(cut - page) as usize];
        let read = read_full(&*segment.file, part, segment.offset(page));
        read.map_err(disk_error(format!("reading {}", segment.path)))?;
        let log = Arc::new(Log {
            disk,
            geometry,
            log_id,
            head: AtomicU64::new(cut),
            written: AtomicU64::new(cut),
            durable: AtomicU64::new(cut),
            fault: Fault::default(),
            ring: Ring::new(options.ring_size(), cut),
            space: Space::new(spares, 0),
            counters: Counters::default(),
            gate: Mutex::new(Gate::default()),
            turn: Condvar::new(),
            segments: RwLock::new(segments),
            queue: Mutex::new(Queue::new(cut, salts, planned)),
            writer: Mutex::new(Writer::new(segment, tail)),
            options,
        });
        let target = page_down(cut) + FILL_AT_OPEN.min(geometry.segment_bytes() / 4);
        log.prepare_at_open(target).map_err(|error| OpenError::Disk {
            what: error.to_string(),
            source: io::Error::other("preparing space"),
        })?;
        let appender = Appender::new(Arc::clone(&log), cut, salt);
        Ok(Opened { log, appender, report: RecoveryReport { end: Lsn(cut), ..self.report } })
    }
}

/// Reads a segment in pieces of this size.
const PIECE: usize = 1 << 20;

/// Shows `visit` the bytes of a segment from `offset` to its end, in pieces that overlap by `overlap` bytes.
fn each_piece(
    segment: &Segment,
    offset: u64,
    overlap: usize,
    visit: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut at = offset;
    loop {
        let n = read_full(&*segment.file, &mut buffer, at)?;
        if n > 0 {
            visit(at, &buffer[..n])?;
        }
        if n < PIECE {
            return Ok(());
        }
        at += (n - overlap) as u64;
    }
}

/// The highest address a valid watermark frame behind `from` claims, wherever it stands; 0 if there is none.
fn highest_watermark(segment: &Segment, from: u64, end: u64) -> io::Result<u64> {
    let mut highest = 0;
    let overlap = WATERMARK_FRAME - 1;
    each_piece(segment, segment.offset(from), overlap, &mut |offset, bytes| {
        if is_zero(bytes) {
            return Ok(());
        }
        let pattern = WATERMARK_HEAD.to_le_bytes();
        for (index, window) in bytes.windows(WATERMARK_FRAME).enumerate() {
            if window[..4] != pattern {
                continue;
            }
            let lsn = segment.base + offset + index as u64;
            if let Parsed::Frame(_, body) = parse(window, end - lsn, segment.salt, lsn) {
                highest = highest.max(u64_at(body, 0));
            }
        }
        Ok(())
    })?;
    Ok(highest)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Bytes that are not zero from `offset` on.
fn count_nonzero(segment: &Segment, offset: u64) -> io::Result<u64> {
    let mut count = 0;
    each_piece(segment, offset, 0, &mut |_, bytes| {
        if !is_zero(bytes) {
            count += bytes.iter().filter(|byte| **byte != 0).count() as u64;
        }
        Ok(())
    })?;
    Ok(count)
}

/// Makes everything behind `cut` zero; returns how many bytes were not.
fn clear_behind(segment: &Arc<Segment>, geometry: Geometry, cut: u64) -> io::Result<u64> {
    let torn = count_nonzero(segment, segment.offset(cut))?;
    if torn == 0 {
        return Ok(0);
    }
    let offset = segment.offset(cut);
    let page = page_down(offset);
    let mut pages = Vec::new();
    each_piece(segment, page, 0, &mut |at, bytes| {
        for (index, bytes) in bytes.chunks(PAGE_LEN).enumerate() {
            if !is_zero(bytes) {
                pages.push(at + (index * PAGE_LEN) as u64);
            }
        }
        Ok(())
    })?;
    let _ = (geometry, HEADER, ZERO_MAX);
    for at in pages {
        let mut bytes = [0; PAGE_LEN];
        if at == page {
            let keep = (offset - page) as usize;
            read_full(&*segment.file, &mut bytes[..keep], page)?;
        }
        segment.file.write_at(&bytes, at)?;
    }
    Ok(torn)
}
