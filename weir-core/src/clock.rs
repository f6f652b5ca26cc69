//! Time as an argument.
//!
//! Whoever needs the time takes a [`Clock`]. The system clock is read in this file only.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The milliseconds from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the time comes from.
///
/// Wall-clock time may go backwards; [`Clock::elapsed`] never does.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall-clock time in milliseconds since the Unix epoch.
    fn now(&self) -> Timestamp;

    /// Wall-clock time in microseconds since the Unix epoch.
    fn now_micros(&self) -> u64 {
        self.now().0 * 1_000
    }

    /// Time since an arbitrary fixed point; never decreases.
    fn elapsed(&self) -> Duration;
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] starts at zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_micros() / 1_000)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now_micros(&self) -> u64 {
        // A machine whose clock stands before 1970 is served as if it were 1970.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves only when told to; for tests.
#[derive(Debug)]
pub struct ManualClock {
    elapsed_micros: AtomicU64,
    /// The wall-clock time at which nothing had elapsed; steps move it.
    origin_micros: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { elapsed_micros: AtomicU64::new(0), origin_micros: AtomicU64::new(now.0 * 1_000) }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.elapsed_micros.fetch_add(micros, Ordering::SeqCst);
    }

    /// Sets the wall clock forward, as an administrator would; no time passes.
    pub fn step_forward(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.origin_micros.fetch_add(micros, Ordering::SeqCst);
    }

    /// Sets the wall clock back; no time passes.
    pub fn step_back(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.origin_micros.fetch_sub(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_micros() / 1_000)
    }

    fn now_micros(&self) -> u64 {
        self.origin_micros.load(Ordering::SeqCst) + self.elapsed_micros.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.elapsed_micros.load(Ordering::SeqCst))
    }
}
