//! The broker's time: steady, so that a stepped wall clock changes no delay.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir_core::{Clock, SystemClock, Timestamp};

/// What time it is, in both senses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Now {
    /// The wall clock when the broker was made, and what has elapsed since: for delays, leases, pauses and rows.
    pub(super) steady: Timestamp,
    /// The wall clock: for IDs and for the time of an append.
    pub(super) wall: Timestamp,
}

/// A clock, and when the broker was made.
#[derive(Debug)]
pub(super) struct Steady {
    clock: Arc<dyn Clock>,
    wall: Timestamp,
    elapsed: Duration,
}

impl Steady {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let (wall, elapsed) = (clock.now(), clock.elapsed());
        Self { clock, wall, elapsed }
    }

    /// Time since the broker was made.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.elapsed)
    }

    pub(super) fn now(&self) -> Now {
        let elapsed = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { steady: Timestamp(self.wall.0.saturating_add(elapsed)), wall: self.clock.now() }
    }

    /// How long it takes until a steady time is reached; at least a millisecond, so that nobody spins.
    pub(super) fn until(&self, due: Timestamp) -> Duration {
        Duration::from_millis(due.millis_since(self.now().steady).max(1))
    }
}

/// How a waiting read learns that time has passed.
#[derive(Debug)]
pub(super) enum Alarm {
    /// From the timers of the tokio runtime.
    Tokio,
    /// Somebody says so: [`super::NaiveBroker::tick`].
    Ticks,
}

/// The time of the tokio runtime: the machine's, or that of a test that has paused it.
#[derive(Debug)]
pub struct TokioClock {
    wall: Timestamp,
    start: Instant,
}

impl TokioClock {
    /// A clock that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { wall: SystemClock::new().now(), start: Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let elapsed = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.wall.0.saturating_add(elapsed))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
