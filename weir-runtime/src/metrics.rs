//! Counters of a consumer. Reading them changes nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::Outcome;

/// Upper bounds of the buckets of [`Totals::durations`], in microseconds; the last bucket has none.
pub const DURATION_BOUNDS_MICROS: [u64; 12] =
    [10, 50, 100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000, 60_000_000];

/// Seconds that [`Metrics::throughput`] looks at.
const SECONDS: usize = 32;

/// Declares the counters once: the atomic ones, the snapshot, and how they are told.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters that go on.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $(pub(crate) $name: AtomicU64,)*
            /// Handlers that run now.
            running: AtomicU64,
            durations: [AtomicU64; DURATION_BOUNDS_MICROS.len() + 1],
            duration_micros: AtomicU64,
            /// When a handler last came to an end, in microseconds of the steady clock, plus one; 0 = never.
            last_progress: AtomicU64,
            /// Runs in each of the last [`SECONDS`] seconds: the second in the upper half, the runs in the lower.
            per_second: [AtomicU64; SECONDS],
        }

        /// Counters at a moment.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
            /// Handlers that run now.
            pub running: u64,
            /// Runs by how long they took: see [`DURATION_BOUNDS_MICROS`].
            pub durations: [u64; DURATION_BOUNDS_MICROS.len() + 1],
            /// All runs together, in microseconds.
            pub duration_micros: u64,
        }

        impl Metrics {
            pub(crate) fn totals(&self) -> Totals {
                let mut durations = [0; DURATION_BOUNDS_MICROS.len() + 1];
                for (total, counter) in durations.iter_mut().zip(&self.durations) {
                    *total = counter.load(Relaxed);
                }
                Totals {
                    $($name: self.$name.load(Relaxed),)*
                    running: self.running.load(Relaxed),
                    durations,
                    duration_micros: self.duration_micros.load(Relaxed),
                }
            }
        }

        impl Totals {
            /// The counters by name.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Entries that were read.
    read,
    /// Entries that were done.
    done,
    /// Entries that were skipped.
    skipped,
    /// Runs that failed and may be tried again, immediate retries included.
    retried,
    /// Entries that were snoozed.
    snoozed,
    /// Entries that were deferred.
    deferred,
    /// Entries that a handler or a layer said never succeed.
    refused,
    /// Entries that became dead letters by what this consumer settled.
    dead,
    /// Runs that panicked.
    panics,
    /// Runs that took too long.
    timeouts,
    /// Entries that were handed back because the consumer stopped, paused or held them too long.
    released,
    /// Settlements that came too late: somebody else had the entry. The outcomes were dropped.
    stale,
    /// Leases that were lost while the entry was in hand.
    lost,
    /// Leases that were extended.
    extended,
    /// Handlers that did not give back their thread in time.
    stuck,
    /// Entries that a mark store knew.
    duplicates,
    /// Delays above the longest that handlers asked for.
    delays_refused,
    /// Errors of the broker.
    errors,
    /// How often the kill switch opened.
    switched_off,
    /// Consumers that were idle for long and were removed.
    reaped,
}

impl Metrics {
    pub(crate) fn running(&self) -> Running<'_> {
        self.running.fetch_add(1, Relaxed);
        Running(self)
    }

    pub(crate) fn ran(&self, now: Duration, took: Duration) {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let took = micros(took);
        let bucket = DURATION_BOUNDS_MICROS.iter().position(|bound| took <= *bound);
        self.durations[bucket.unwrap_or(DURATION_BOUNDS_MICROS.len())].fetch_add(1, Relaxed);
        self.duration_micros.fetch_add(took, Relaxed);
        self.last_progress.store(micros(now).saturating_add(1), Relaxed);
        self.tick(now);
    }

    /// Counts runs that ended in this second.
    fn tick(&self, now: Duration) {
        let second = now.as_secs() & u64::from(u32::MAX);
        let slot = &self.per_second[(second % SECONDS as u64) as usize];
        let value = slot.load(Relaxed);
        if value >> 32 == second {
            slot.fetch_add(1, Relaxed);
        } else {
            // Of two threads that meet in a new second one count may be lost.
            slot.store(second << 32 | 1, Relaxed);
        }
    }

    /// Runs per second over the last half minute.
    pub(crate) fn throughput(&self, now: Duration) -> f64 {
        let second = now.as_secs() & u64::from(u32::MAX);
        let oldest = (second + 1).saturating_sub(SECONDS as u64);
        let slots = self.per_second.iter().map(|slot| slot.load(Relaxed));
        let lately = slots.filter(|value| (oldest..=second).contains(&(value >> 32)));
        let runs: u64 = lately.map(|value| value & u64::from(u32::MAX)).sum();
        let seconds = now.as_secs_f64().clamp(1.0, SECONDS as f64);
        f64::from(u32::try_from(runs).unwrap_or(u32::MAX)) / seconds
    }

    pub(crate) fn outcome(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Done => &self.done,
            Outcome::Skip => &self.skipped,
            Outcome::Retry { class, .. } => {
                if class == crate::class::TIMEOUT {
                    self.timeouts.fetch_add(1, Relaxed);
                }
                &self.retried
            }
            Outcome::Snooze(_) => &self.snoozed,
            Outcome::Defer => &self.deferred,
            Outcome::Dead { .. } => &self.refused,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Relaxed);
    }

    /// When a handler last came to an end, by the steady clock.
    pub(crate) fn last_progress(&self) -> Option<Duration> {
        self.last_progress.load(Relaxed).checked_sub(1).map(Duration::from_micros)
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

/// A handler that runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Metrics);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
        // A panic passes by here on its way out, and is no outcome before it arrives there.
        if std::thread::panicking() {
            self.0.panics.fetch_add(1, Relaxed);
            self.0.retried.fetch_add(1, Relaxed);
        }
    }
}
