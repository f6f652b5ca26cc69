//! Space ahead of the writer: the current segment filled with zeroes to its end, the next one made and filled.
//!
//! A flush into allocated, zeroed space costs half of one that grows a file, and a full disk is found a segment
//! early, where it is a refusal and not a fault. `guaranteed` is the address up to which space is really there. What
//! is prepared leaves the headroom free: without room for a snapshot nothing could ever be reclaimed.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::LogError;
use crate::error::{beside, is_full};
use crate::folder;
use crate::frame::{HEADER, WATERMARK_FRAME};
use crate::log::Log;
use crate::lsn::{page_down, page_up};
use crate::options::Preparation;
use crate::segment::{self, Header, Segment};
use crate::stats::Stopwatch;

/// Zeroes are written so many at a time: larger writes make later small ones dearer.
static ZEROES: [u8; 16 << 10] = [0; 16 << 10];
/// The most one [`Log::background_step`] fills.
const SLICE: u64 = 4 << 20;

/// Whether there is space for more records.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Room {
    /// None at all: append nothing.
    None,
    /// Only the reserve: acknowledgements, deletes and trims may go on.
    ReserveOnly,
    /// Enough.
    Ample,
}

#[derive(Debug)]
pub(crate) struct Space {
    /// Space is allocated up to this address.
    guaranteed: AtomicU64,
    /// The disk had no more when it was last asked.
    full: AtomicBool,
    /// Bytes of the disk that are left to others.
    headroom: AtomicU64,
    work: Mutex<Work>,
}

/// What is left from earlier, and when the disk was last full.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) spares: Vec<String>,
    /// Segments that are not part of the log any more, but whose files are still there.
    pub(crate) retired: Vec<Arc<Segment>>,
    pub(crate) full_since: Option<Stopwatch>,
}

impl Space {
    pub(crate) fn new(spares: Vec<String>, headroom: u64) -> Self {
        let work = Work { spares, retired: Vec::new(), full_since: None };
        let (guaranteed, headroom) = (AtomicU64::new(0), AtomicU64::new(headroom));
        Self { guaranteed, full: AtomicBool::new(false), headroom, work: Mutex::new(work) }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().expect("no panic under this lock")
    }
}

impl Log {
    /// Whether there is space for a small record. Cheap; see [`Log::room_for`].
    pub fn room(&self) -> Room {
        self.room_for((self.segment_bytes() / 16).min(1 << 20))
    }

    /// Whether there is space for records of so many bytes behind what was appended. Cheap.
    ///
    /// Anything but `Ample` may only mean that preparation lags: [`Log::ensure_room`] tells.
    pub fn room_for(&self, bytes: u64) -> Room {
        let guaranteed = self.space.guaranteed.load(Ordering::Acquire);
        let need = self.reach_of(bytes);
        if need + self.options.reserve(self.segment_bytes()) <= guaranteed {
            Room::Ample
        } else if need <= guaranteed {
            Room::ReserveOnly
        } else {
            Room::None
        }
    }

    /// Prepares space for so many bytes here and now, unless the disk is full. Call it without holding a lock.
    pub fn ensure_room(&self, bytes: u64) -> Result<Room, LogError> {
        let target = self.reach_of(bytes) + self.options.reserve(self.segment_bytes());
        while self.room_for(bytes) != Room::Ample {
            if !self.prepare(target)? && self.room_for(bytes) != Room::Ample {
                return Ok(self.room_for(bytes));
            }
        }
        Ok(Room::Ample)
    }

    /// Leaves so much of the disk to others from now on, see [`crate::LogOptions::headroom_bytes`].
    pub fn set_headroom(&self, bytes: u64) {
        self.space.headroom.store(bytes, Ordering::Relaxed);
    }

    /// Does a bounded piece of background work; true when there is more to do now.
    pub fn background_step(&self) -> Result<bool, LogError> {
        self.clear_retired()?;
        let current = self.geometry.segment_of(self.head.load(Ordering::Relaxed));
        self.prepare(self.geometry.end(current + 1))
    }

    /// The little that is prepared before a log counts as open.
    pub(crate) fn prepare_at_open(&self, target: u64) -> Result<(), LogError> {
        self.update_guaranteed();
        while self.prepare(target)? {}
        Ok(())
    }

    /// Where records of so many bytes would end, if they were appended now.
    fn reach_of(&self, bytes: u64) -> u64 {
        let head = self.head.load(Ordering::Relaxed);
        // Its own frame's head, a watermark in front, the end of the segment behind.
        let need = bytes + (2 * HEADER + WATERMARK_FRAME) as u64;
        let no = self.geometry.segment_of(head);
        if head + need <= self.geometry.end(no) { head + need } else { self.geometry.first(no + 1) + need }
    }

    /// Brings `guaranteed` a slice nearer to `target`; false when it is there or the disk is full.
    fn prepare(&self, target: u64) -> Result<bool, LogError> {
        self.fault.check()?;
        // Records are written in whole pages, so half a page is no space.
        let target = page_up(target);
        if !self.disk.zero_fill_pays() {
            self.space.guaranteed.store(u64::MAX, Ordering::Release);
            return Ok(false);
        }
        let mut work = self.space.work();
        if work.full_since.is_some_and(|since| since.elapsed() < self.options.full_retry) {
            return Ok(false);
        }
        match self.prepare_slice(&mut work, target) {
            Ok(more) => {
                work.full_since = None;
                self.space.full.store(false, Ordering::Relaxed);
                Ok(more)
            }
            // A spare is worth more as free space than for reuse.
            Err(Trouble::Full) if !work.spares.is_empty() => {
                let spare = work.spares.pop().unwrap_or_default();
                self.disk.remove(&spare).map_err(|error| beside(format!("removing {spare}"), error))?;
                Ok(true)
            }
            Err(Trouble::Full) => {
                work.full_since = Some(Stopwatch::start());
                self.space.full.store(true, Ordering::Relaxed);
                self.update_guaranteed();
                Ok(false)
            }
            Err(Trouble::Log(error)) => Err(error),
        }
    }

    fn prepare_slice(&self, work: &mut Work, target: u64) -> Result<bool, Trouble> {
        let mut budget = SLICE;
        let mut no = self.geometry.segment_of(self.written().0);
        while self.geometry.base(no) < target {
            let existing = self.map().get(&no).cloned();
            let segment = match existing {
                Some(segment) => segment,
                None => {
                    let salt = self.queue().salt_of(no);
                    self.create_segment(work, no, salt)
                        .map_err(|e| trouble("making", &folder::segment_path(no), e))?
                }
            };
            let limit = (target - segment.base).min(self.segment_bytes());
            let before = budget;
            while segment.filled() < limit && budget > 0 {
                let n = self.fill(&segment, limit).map_err(|e| trouble("filling", &segment.path, e))?;
                budget = budget.saturating_sub(n);
            }
            if budget < before {
                self.settle(&segment)?;
            }
            if segment.filled() < limit {
                self.update_guaranteed();
                return Ok(true);
            }
            no += 1;
        }
        self.update_guaranteed();
        Ok(false)
    }

    fn fill(&self, segment: &Segment, limit: u64) -> io::Result<u64> {
        let most = self.affordable()?;
        if self.options.preparation == Preparation::Allocation {
            match segment.allocate(most, limit) {
                // What does not fit as a whole may fit in part.
                Err(error) if error.kind() == io::ErrorKind::Unsupported || is_full(&error) => {}
                other => return other,
            }
        }
        segment.fill(&ZEROES[..ZEROES.len().min(most as usize)], limit)
    }

    /// How much of a slice can be taken without touching the headroom: at least a page.
    fn affordable(&self) -> io::Result<u64> {
        let headroom = self.space.headroom.load(Ordering::Relaxed);
        if headroom == 0 {
            return Ok(SLICE);
        }
        let available = self.disk.available().unwrap_or(u64::MAX);
        match page_down(available.saturating_sub(headroom).min(SLICE)) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            most => Ok(most),
        }
    }

    /// Flushes zeroes of a segment that is not written yet, so that its first flush of records does not carry them.
    fn settle(&self, segment: &Segment) -> Result<(), Trouble> {
        if segment.no <= self.geometry.segment_of(self.written().0) {
            return Ok(());
        }
        segment.sync(&self.fault).map_err(Trouble::Log)
    }

    pub(crate) fn update_guaranteed(&self) {
        let mut no = self.geometry.segment_of(self.written().0);
        let mut guaranteed = self.geometry.base(no);
        let map = self.map();
        while let Some(segment) = map.get(&no) {
            guaranteed = segment.base + segment.filled();
            if segment.filled() < self.segment_bytes() {
                break;
            }
            no += 1;
        }
        self.space.guaranteed.store(guaranteed, Ordering::Release);
    }

    /// The segment the writer goes on in, made here if nobody prepared it.
    pub(crate) fn enter_segment(&self, no: u64, salt: u64) -> Result<Arc<Segment>, LogError> {
        if let Some(segment) = self.map().get(&no) {
            return Ok(Arc::clone(segment));
        }
        let mut work = self.space.work();
        // Prepared while we waited for the lock?
        if let Some(segment) = self.map().get(&no) {
            return Ok(Arc::clone(segment));
        }
        self.create_segment(&mut work, no, salt)
            .map_err(|error| self.fault.latch(format!("making {}: {error}", folder::segment_path(no))))
    }

    fn create_segment(&self, work: &mut Work, no: u64, salt: u64) -> io::Result<Arc<Segment>> {
        let segment_bytes = self.segment_bytes();
        let header = Header::plain(self.log_id, no, segment_bytes, salt);
        let spare = work.spares.pop();
        if spare.is_some() {
            self.counters.recycled.fetch_add(1, Ordering::Relaxed);
        }
        let (file, filled) = segment::create(&*self.disk, &header, spare.as_deref())?;
        let segment =
            Arc::new(Segment::plain(self.geometry, &header, folder::segment_path(no), file, filled));
        self.segments.write().expect("no panic under this lock").insert(no, Arc::clone(&segment));
        Ok(segment)
    }
}

enum Trouble {
    /// The disk is full: no fault, and it may pass.
    Full,
    Log(LogError),
}

fn trouble(doing: &str, path: &str, error: io::Error) -> Trouble {
    if is_full(&error) { Trouble::Full } else { Trouble::Log(beside(format!("{doing} {path}"), error)) }
}

/// For messages.
impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::ReserveOnly => "reserve only",
            Self::Ample => "ample",
        })
    }
}
