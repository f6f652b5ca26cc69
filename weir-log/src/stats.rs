//! Counters of a log, and the one place that measures time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a log has done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Flushes of the log's data.
    pub flushes: u64,
    /// A usual flush: moving average over about eight.
    pub flush_usual: Duration,
    /// The longest flush.
    pub flush_max: Duration,
    /// Write calls.
    pub writes: u64,
    /// Bytes written, padding to whole pages included.
    pub bytes_written: u64,
    /// Bytes of records, with their frames.
    pub bytes_appended: u64,
    /// Segment files.
    pub segments: u64,
    /// Segments made from a dead one.
    pub recycled: u64,
    /// Segments rewritten without their dead records.
    pub compacted: u64,
    /// Bytes given back by punching holes.
    pub bytes_punched: u64,
    /// Whether the disk was full when it was last asked for space.
    pub disk_full: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_usual_ns: AtomicU64,
    pub(crate) flush_max_ns: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) bytes_appended: AtomicU64,
    pub(crate) recycled: AtomicU64,
    pub(crate) compacted: AtomicU64,
    pub(crate) bytes_punched: AtomicU64,
}

impl Counters {
    pub(crate) fn flushed(&self, took: Duration) {
        let ns = took.as_nanos() as u64;
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.flush_max_ns.fetch_max(ns, Ordering::Relaxed);
        // One flusher at a time: load and store do not race.
        let usual = self.flush_usual_ns.load(Ordering::Relaxed);
        let next = if usual == 0 { ns } else { usual - usual / 8 + ns / 8 };
        self.flush_usual_ns.store(next, Ordering::Relaxed);
    }

    pub(crate) fn flush_usual(&self) -> Duration {
        Duration::from_nanos(self.flush_usual_ns.load(Ordering::Relaxed))
    }

    /// Everything but what only the log itself knows.
    pub(crate) fn snapshot(&self) -> LogStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogStats {
            flushes: get(&self.flushes),
            flush_usual: self.flush_usual(),
            flush_max: Duration::from_nanos(get(&self.flush_max_ns)),
            writes: get(&self.writes),
            bytes_written: get(&self.bytes_written),
            bytes_appended: get(&self.bytes_appended),
            segments: 0,
            recycled: get(&self.recycled),
            compacted: get(&self.compacted),
            bytes_punched: get(&self.bytes_punched),
            disk_full: false,
        }
    }
}

/// Tells how much time has passed since some fixed moment; by default as the system measures it.
#[derive(Clone)]
pub struct Elapsed(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Elapsed {
    /// Time as `elapsed` tells it, which never goes back.
    pub fn new(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(elapsed))
    }

    pub(crate) fn micros(&self) -> u64 {
        u64::try_from((self.0)().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Default for Elapsed {
    fn default() -> Self {
        let start = Stopwatch::start();
        Self::new(move || start.elapsed())
    }
}

impl fmt::Debug for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elapsed").finish_non_exhaustive()
    }
}

/// Measures how long something took.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "measures the disk; nothing that is stored depends on it")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
