//! The shared half of the log: its parts, its watermarks, its life.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, RwLock};
use std::time::Duration;

use crate::disk::Disk;
use crate::error::{beside, is_full};
use crate::folder;
use crate::lsn::Geometry;
use crate::read::Buffers;
use crate::ring::Ring;
use crate::segment::{Segment, SegmentInfo, SegmentState};
use crate::space::Space;
use crate::stats::{Counters, LogStats};
use crate::writer::{Gate, Queue, Writer};
use crate::{Appender, LogError, LogOptions, Lsn, RecoveryReport};

/// How safe something is.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Handed to the operating system: survives a killed process.
    Written,
    /// Flushed: survives a power cut.
    Durable,
}

/// An open log.
#[derive(Debug)]
pub struct Opened {
    /// The half that everybody shares.
    pub log: Arc<Log>,
    /// The half that its owner keeps behind a lock.
    pub appender: Appender,
    /// What was found.
    pub report: RecoveryReport,
}

/// A log: writes what its [`Appender`] submitted, reads it back, takes space back. Usable from any thread.
#[derive(Debug)]
pub struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: LogOptions,
    pub(crate) geometry: Geometry,
    pub(crate) log_id: u128,
    pub(crate) head: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) durable: AtomicU64,
    /// When the oldest write that is not flushed was handed over, in microseconds of `options.elapsed`, or a little
    /// earlier. Says nothing while everything is durable.
    pub(crate) unflushed_since: AtomicU64,
    pub(crate) fault: Fault,
    pub(crate) ring: Ring,
    pub(crate) buffers: Buffers,
    pub(crate) space: Space,
    pub(crate) counters: Counters,
    pub(crate) gate: Mutex<Gate>,
    pub(crate) turn: Condvar,
    pub(crate) segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) writer: Mutex<Writer>,
}

impl Log {
    /// Everything below is handed to the operating system.
    pub fn written(&self) -> Lsn {
        Lsn(self.written.load(Ordering::Acquire))
    }

    /// Everything below is flushed.
    pub fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// How long something that was written has been waiting to be flushed; zero when everything is durable.
    pub fn unflushed_for(&self) -> Duration {
        if self.durable() >= self.written() {
            return Duration::ZERO;
        }
        let since = self.unflushed_since.load(Ordering::Acquire);
        Duration::from_micros(self.options.elapsed.micros().saturating_sub(since))
    }

    /// Whether the disk was full when it was last asked for space.
    pub fn is_full(&self) -> bool {
        self.space.is_full()
    }

    /// Whether a write or flush has failed; nothing is written any more then.
    pub fn is_faulted(&self) -> bool {
        matches!(self.fault.0.get(), Some(Stop::Failed(_)))
    }

    /// An error when nothing is written any more, because of a failure or after [`Log::shut`].
    pub fn check(&self) -> Result<(), LogError> {
        self.fault.check()
    }

    /// Writes nothing any more from now on, so that somebody else may open the folder. What was committed stays.
    pub fn shut(&self) {
        // Whoever writes or prepares space now is waited for.
        let (_writer, _work) = (self.writer(), self.space.work());
        self.fault.0.get_or_init(|| Stop::Shut);
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let current = self.geometry.segment_of(self.written().0);
        let segments: Vec<_> = self.map().values().cloned().collect();
        let info = |segment: &Arc<Segment>| SegmentInfo {
            no: segment.no,
            first: Lsn(self.geometry.first(segment.no)),
            end: Lsn(self.geometry.end(segment.no)),
            bytes_on_disk: segment.file.allocated().unwrap_or(0),
            generation: segment.generation,
            state: match segment.no.cmp(&current) {
                std::cmp::Ordering::Less => SegmentState::Sealed,
                std::cmp::Ordering::Equal => SegmentState::Current,
                std::cmp::Ordering::Greater => SegmentState::Prepared,
            },
        };
        segments.iter().map(info).collect()
    }

    /// Size of a segment in bytes.
    pub fn segment_bytes(&self) -> u64 {
        self.geometry.segment_bytes()
    }

    /// What was done since the log was opened.
    pub fn stats(&self) -> LogStats {
        LogStats {
            segments: self.map().len() as u64,
            disk_full: self.space.is_full(),
            ..self.counters.snapshot()
        }
    }

    /// Submits and flushes what is left, and notes how the log ended, so that the next open need not look behind its
    /// end.
    pub fn close(&self, mut appender: Appender) -> Result<(), LogError> {
        appender.submit();
        self.flush_submitted(Level::Durable)?;
        appender.append_watermark();
        appender.submit();
        let end = self.flush_submitted(Level::Durable)?;
        let mark = folder::clean_mark(end.0, self.log_id);
        match folder::write_small(&*self.disk, folder::CLEAN, &mark) {
            // Without the mark the next open looks longer, that is all.
            Err(error) if is_full(&error) => Ok(()),
            written => written.map_err(|error| beside(format!("writing {}", folder::CLEAN), error)),
        }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no panic under this lock")
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect("no panic under this lock")
    }

    pub(crate) fn map(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        self.segments.read().expect("no panic under this lock")
    }
}

/// Why nothing is written any more.
#[derive(Debug)]
enum Stop {
    Failed(Arc<str>),
    Shut,
}

/// The latch of the first failure, or of the end.
#[derive(Debug, Default)]
pub(crate) struct Fault(OnceLock<Stop>);

impl Stop {
    fn error(&self) -> LogError {
        match self {
            Self::Failed(reason) => LogError::Faulted { reason: Arc::clone(reason) },
            Self::Shut => LogError::Shut,
        }
    }
}

impl Fault {
    pub(crate) fn check(&self) -> Result<(), LogError> {
        self.0.get().map_or(Ok(()), |stop| Err(stop.error()))
    }

    /// Remembers the failure, unless there was an earlier one; returns what everybody gets from now on.
    pub(crate) fn latch(&self, reason: String) -> LogError {
        self.0.get_or_init(|| Stop::Failed(reason.into())).error()
    }
}
