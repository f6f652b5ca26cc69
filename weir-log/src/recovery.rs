//! Opening a folder: find the end of the log, tell a torn tail from rot, cut, replay.
//!
//! Everything up to the first bad frame is the log. What lies behind it is either a *torn tail*, bytes of a crash
//! that nobody was promised, or *rot*, if something proves that the log was durable beyond it: then the open is
//! refused, since going on would lose promised records silently. Proof is a watermark record, a segment that was
//! rewritten or has holes (only flushed ones are), or the mark of an orderly close.
//!
//! Before anything is appended, every byte behind the cut that could ever look like a record again is gone, durably.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, RwLock};

use crate::disk::{Disk, read_full};
use crate::folder::{self, CLEAN, Inventory, SEGMENTS, disk_error};
use crate::frame::{END, TXN_MORE, WATERMARK, u64_at};
use crate::frames::{Frames, Step};
use crate::log::{Fault, Log, Opened};
use crate::lsn::{PAGE_LEN, page_down, page_up};
use crate::read::Buffers;
use crate::ring::Ring;
use crate::segment::{self, Header, Segment};
use crate::space::Space;
use crate::stats::Counters;
use crate::tail;
use crate::writer::{Gate, Queue, Writer};
use crate::{Appender, LogOptions, Lsn, OpenError};

/// What a log that has no space prepared fills before it counts as open.
const FILL_AT_OPEN: u64 = 1 << 20;

/// A source of random numbers.
pub type Salts = Box<dyn FnMut() -> u64 + Send>;
/// Takes the records that are found at an open, in order.
pub type Replay<'a, E> = dyn FnMut(Lsn, &[u8]) -> Result<(), E> + 'a;

/// What [`Log::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Where the log ends and appending goes on.
    pub end: Lsn,
    /// Records shown to the replay function.
    pub records: u64,
    /// Whether the log had been closed in order.
    pub clean: bool,
    /// The highest address that was proven durable, as far as it was looked for.
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
    /// `from` is an address between transactions up to which the log was made durable before; what lies below it is
    /// not looked at. `salts` is a source of random numbers. The caller holds a lock on the folder.
    pub fn open<E>(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        mut salts: Salts,
        from: Option<Lsn>,
        replay: &mut Replay<'_, E>,
    ) -> Result<Opened, OpenError<E>> {
        if !LogOptions::segment_bytes_valid(options.segment_bytes) {
            let what =
                format!("segments of {} bytes; a power of two from 64 KiB to 1 GiB", options.segment_bytes);
            return Err(OpenError::Options(what));
        }
        let found = Inventory::take(&*disk, &options, &mut *salts)?;
        let mut recovery = Recovery {
            disk: &*disk,
            found,
            start: 0,
            nonzero: BTreeMap::new(),
            report: RecoveryReport { watermark: options.durable, ..RecoveryReport::default() },
        };
        let mut replayer = Replayer { replay, records: 0, held: Vec::new(), bytes: Vec::new() };
        let bad = recovery.replay(from, &mut replayer)?;
        recovery.report.records = replayer.records;
        recovery.report.unfinished = replayer.held.len() as u64;
        let cut = replayer.held.first().map_or(bad, |(lsn, _)| *lsn);
        recovery.report.clean = recovery.found.clean == Some(cut);
        if !recovery.report.clean {
            recovery.refuse_rot(cut, bad)?;
            recovery.cut(cut).map_err(|(what, source)| OpenError::Disk { what, source })?;
        }
        recovery.forget_mark().map_err(disk_error(format!("removing {CLEAN}")))?;
        recovery.into_log(cut, Arc::clone(&disk), options, salts)
    }
}

/// Shows records to the caller once their transaction is known to be whole.
struct Replayer<'a, 'f, E> {
    replay: &'a mut Replay<'f, E>,
    records: u64,
    /// Records of the open transaction: address, and where the body ends in `bytes`.
    held: Vec<(u64, usize)>,
    bytes: Vec<u8>,
}

impl<E> Replayer<'_, '_, E> {
    fn record(&mut self, lsn: u64, more: bool, body: &[u8]) -> Result<(), OpenError<E>> {
        if more {
            self.bytes.extend_from_slice(body);
            self.held.push((lsn, self.bytes.len()));
            return Ok(());
        }
        self.release()?;
        self.records += 1;
        (self.replay)(Lsn(lsn), body).map_err(|error| OpenError::Replay { lsn: Lsn(lsn), error })
    }

    /// Shows what was held back.
    fn release(&mut self) -> Result<(), OpenError<E>> {
        let mut from = 0;
        for (lsn, end) in self.held.drain(..) {
            let lsn = Lsn(lsn);
            (self.replay)(lsn, &self.bytes[from..end]).map_err(|error| OpenError::Replay { lsn, error })?;
            from = end;
            self.records += 1;
        }
        self.bytes.clear();
        Ok(())
    }
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    found: Inventory,
    /// Where the replay began.
    start: u64,
    /// Bytes behind the cut that are not zero, by segment.
    nonzero: BTreeMap<u64, u64>,
    report: RecoveryReport,
}

impl Recovery<'_> {
    /// Replays from `from`; returns the address of the first frame that is not there.
    fn replay<E>(
        &mut self,
        from: Option<Lsn>,
        replayer: &mut Replayer<'_, '_, E>,
    ) -> Result<u64, OpenError<E>> {
        let geometry = self.found.geometry;
        let oldest = self.found.segments.keys().next().copied();
        let begin = oldest.map_or(geometry.first(0), |oldest| geometry.first(oldest));
        let mut at = from.map_or(begin, |from| from.0.max(geometry.first(geometry.segment_of(from.0))));
        self.start = at;
        if from.is_some() && !self.found.segments.contains_key(&geometry.segment_of(at)) && at != begin {
            return Err(self.rot(at, at, "the file is missing"));
        }
        let mut buffer = Vec::new();
        while let Some(segment) = self.found.segments.get(&geometry.segment_of(at)).cloned() {
            // Only flushed segments are touched up later, so their transactions are whole; but parts may be gone.
            let whole = is_proof(&segment);
            if whole {
                replayer.release()?;
            }
            let mut frames = Frames::new(&segment, at, geometry.end(segment.no), buffer);
            loop {
                match frames.next().map_err(|error| disk_error(format!("reading {}", segment.path))(error))? {
                    Step::Frame { head, .. } if head.is(END) => break,
                    Step::Frame { head, body, .. } if head.is(WATERMARK) => {
                        self.report.watermark = self.report.watermark.max(Lsn(u64_at(body, 0)));
                    }
                    Step::Frame { lsn, head, body } => {
                        replayer.record(lsn, head.is(TXN_MORE) && !whole, body)?
                    }
                    Step::Bad(lsn) => return Ok(lsn),
                    Step::Limit => break,
                }
            }
            at = geometry.first(segment.no + 1);
            buffer = frames.into_buffer();
        }
        Ok(at)
    }

    /// Looks at everything behind `cut`, and refuses if anything proves that the log was durable beyond `bad`, the
    /// first address at which nothing valid stands.
    fn refuse_rot<E>(&mut self, cut: u64, bad: u64) -> Result<(), OpenError<E>> {
        let geometry = self.found.geometry;
        let no = geometry.segment_of(bad);
        let mut proof = self.report.watermark.0.max(self.found.clean.unwrap_or(0));
        for (_, segment) in self.found.segments.range(geometry.segment_of(cut)..) {
            let end = geometry.end(segment.no);
            if is_proof(segment) {
                proof = proof.max(end);
            } else {
                let from = cut.max(geometry.first(segment.no));
                let behind = tail::look_behind(segment, from, end);
                let behind = behind.map_err(disk_error(format!("reading {}", segment.path)))?;
                proof = proof.max(behind.watermark);
                self.nonzero.insert(segment.no, behind.nonzero);
            }
        }
        self.report.watermark = Lsn(proof);
        let gap = !self.found.segments.contains_key(&no) && self.found.segments.range(no..).next().is_some();
        if gap {
            return Err(self.rot(bad, proof, "the file is missing"));
        }
        if proof > bad {
            return Err(self.rot(bad, proof, "no valid record stands there"));
        }
        Ok(())
    }

    fn rot<E>(&self, bad: u64, proof: u64, what: &str) -> OpenError<E> {
        let no = self.found.geometry.segment_of(bad);
        let segment = self.found.segments.get(&no);
        let file = segment.map_or_else(|| folder::segment_path(no), |segment| segment.path.clone());
        let offset = bad - self.found.geometry.base(no);
        OpenError::Rot { file, offset, lsn: Lsn(bad), watermark: Lsn(proof), what: what.into() }
    }

    /// Discards, durably, everything from `cut` on.
    fn cut(&mut self, cut: u64) -> Result<(), (String, io::Error)> {
        let geometry = self.found.geometry;
        let no = geometry.segment_of(cut);
        let torn = self.nonzero.range(no + 1..).find(|(_, bytes)| **bytes > 0).map(|(no, _)| *no);
        // The highest first, empty ones included: whatever a crash leaves has no gap.
        while let Some((last, segment)) = self.found.segments.last_key_value() {
            if torn.is_none_or(|torn| *last < torn) {
                break;
            }
            let failed = |error| (format!("discarding {}", segment.path), error);
            self.disk.remove(&segment.path).and_then(|()| self.disk.sync_dir(SEGMENTS)).map_err(failed)?;
            let bytes = self.nonzero.get(last).copied().unwrap_or(0);
            self.report.torn_bytes += bytes;
            self.report.segments_discarded += u64::from(bytes > 0);
            self.found.segments.pop_last();
        }
        for (_, segment) in self.found.segments.range(geometry.segment_of(self.start)..=no) {
            let failed = |error| (format!("cutting {}", segment.path), error);
            let torn = self.nonzero.get(&segment.no).copied().unwrap_or(0);
            if segment.no == no && torn > 0 {
                tail::clear(segment, segment.offset(cut), geometry.segment_bytes()).map_err(failed)?;
                self.report.torn_bytes += torn;
            }
            // What was found may never have been flushed: a killed process leaves it to the kernel.
            segment.file.sync_data().map_err(failed)?;
        }
        Ok(())
    }

    /// Removes the mark of an orderly close: from now on it would be a lie.
    fn forget_mark(&self) -> io::Result<()> {
        match self.disk.remove(CLEAN) {
            Ok(()) => self.disk.sync_dir(SEGMENTS),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a log that goes on at `cut`.
    fn into_log<E>(
        self,
        cut: u64,
        disk: Arc<dyn Disk>,
        options: LogOptions,
        mut salts: Salts,
    ) -> Result<Opened, OpenError<E>> {
        let Inventory { log_id, geometry, mut segments, spares, .. } = self.found;
        let no = geometry.segment_of(cut);
        let mut planned: BTreeMap<u64, u64> = segments.range(no..).map(|(no, s)| (*no, s.salt)).collect();
        let salt = *planned.entry(no).or_insert_with(&mut salts);
        let segment = match segments.get(&no) {
            Some(segment) => Arc::clone(segment),
            None => {
                let header = Header::plain(log_id, no, geometry.segment_bytes(), salt);
                let path = folder::segment_path(no);
                let made = segment::create(&*disk, &header, None);
                let (file, len) = made.map_err(disk_error(format!("making {path}")))?;
                let segment = Arc::new(Segment::plain(geometry, &header, path, file, len));
                segments.insert(no, Arc::clone(&segment));
                segment
            }
        };
        let tail = read_tail(&segment, cut).map_err(disk_error(format!("reading {}", segment.path)))?;
        let log = Arc::new(Log {
            disk,
            geometry,
            log_id,
            head: AtomicU64::new(cut),
            written: AtomicU64::new(cut),
            durable: AtomicU64::new(cut),
            unflushed_since: AtomicU64::new(0),
            fault: Fault::default(),
            buffers: Buffers::default(),
            ring: Ring::new(options.ring_size(), cut),
            space: Space::new(spares, options.headroom_bytes),
            counters: Counters::default(),
            gate: Mutex::new(Gate::default()),
            turn: Condvar::new(),
            segments: RwLock::new(segments),
            queue: Mutex::new(Queue::new(cut, salts, planned)),
            writer: Mutex::new(Writer::new(segment, tail)),
            options,
        });
        let target = page_up(cut) + FILL_AT_OPEN.min(geometry.segment_bytes() / 4);
        let prepared = log.prepare_at_open(target.min(geometry.end(no)));
        prepared.map_err(io::Error::other).map_err(disk_error("preparing space".into()))?;
        let appender = Appender::new(Arc::clone(&log), cut, salt);
        Ok(Opened { log, appender, report: RecoveryReport { end: Lsn(cut), ..self.report } })
    }
}

/// The page that `cut` lies in, up to there.
fn read_tail(segment: &Segment, cut: u64) -> io::Result<Box<[u8; PAGE_LEN]>> {
    let mut tail = Box::new([0; PAGE_LEN]);
    let page = page_down(cut);
    let part = &mut tail[..(cut - page) as usize];
    read_full(&*segment.file, part, segment.offset(page))?;
    Ok(tail)
}

/// Whether this segment could only come about after all of it was flushed.
pub(crate) fn is_proof(segment: &Segment) -> bool {
    segment.generation > 0 || segment.holes().is_some()
}
