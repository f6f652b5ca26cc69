//! What the connections of one run share: how much is left to do, what is done, how long it took.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(100);

/// The state of one run.
#[derive(Debug)]
pub(super) struct Board {
    /// Operations that may still be begun; `None` when only time limits the run.
    left: Option<u64>,
    /// Whether nothing new is begun any more.
    stopped: bool,
    turns: u64,
    /// Operations done, in the unit of the mode.
    pub(super) operations: u64,
    /// Replies received.
    pub(super) replies: u64,
    /// Fan-out: entries the server confirmed.
    pub(super) appended: u64,
    /// Fan-out: entries each group received.
    pub(super) delivered: Vec<u64>,
    /// Nanoseconds from sending a batch to its last reply; of waiting readers nothing.
    pub(super) latency: Histogram<u64>,
}

impl Board {
    /// An empty board for at most `limit` operations.
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            left: limit,
            stopped: false,
            turns: 0,
            operations: 0,
            replies: 0,
            appended: 0,
            delivered: Vec::new(),
            latency: new_histogram(),
        }
    }

    /// Asks for up to `wanted` operations to begin; 0 when it is over.
    pub(super) fn take(&mut self, wanted: u64) -> u64 {
        if self.stopped {
            return 0;
        }
        let Some(left) = &mut self.left else { return wanted };
        let taken = wanted.min(*left);
        *left -= taken;
        taken
    }

    /// Counts up from 0, over all connections.
    pub(super) fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns - 1
    }

    /// Begins nothing new from now on.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Fan-out: entries the slowest group has yet to receive.
    pub(super) fn backlog(&self) -> u64 {
        self.delivered.iter().min().map_or(0, |slowest| self.appended.saturating_sub(*slowest))
    }

    /// Notes how long something took.
    #[inline]
    pub(super) fn took(&mut self, time: Duration) {
        self.latency.saturating_record(nanos(time));
    }
}

/// An empty histogram of nanoseconds, exact to three digits.
pub(super) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, nanos(LATENCY_MAX), 3)
        .expect("the bounds are ordered and three digits are allowed")
}

/// Nanoseconds, as far as a `u64` goes.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
