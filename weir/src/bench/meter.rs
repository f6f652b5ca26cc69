//! Measuring a run: time, CPU time of server and client, memory, and the progress bar while it lasts.

use std::cell::Cell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use weir_core::{Clock, SystemClock};

use super::process::{Process, Usage};

/// How often the progress bar moves.
const BAR_STEP: Duration = Duration::from_millis(100);

/// What measures the runs against one server.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    clock: &'a SystemClock,
    server: Option<Process>,
    /// How long a run may last.
    time: Option<Duration>,
    bar: ProgressBar,
    /// Whether the bar's length is the run's time, not its operations.
    bar_shows_time: bool,
    bar_moved: Cell<Duration>,
}

/// The beginning of a run.
#[derive(Debug)]
pub(super) struct Start {
    at: Duration,
    server: Usage,
    client: Usage,
}

/// A finished run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    /// CPU seconds of the server during the run.
    pub(super) server_cpu: Option<f64>,
    /// CPU seconds of this process during the run.
    pub(super) client_cpu: Option<f64>,
    /// The server's anonymous memory before and after, in bytes.
    pub(super) memory: Option<(u64, u64)>,
}

impl<'a> Meter<'a> {
    /// A meter for runs of at most `time`, or of `expected` operations, described as `title`.
    pub(super) fn new(
        clock: &'a SystemClock,
        server: Option<Process>,
        time: Option<Duration>,
        expected: Option<u64>,
        title: String,
    ) -> Self {
        let bar = match (expected, time) {
            (Some(operations), _) => ProgressBar::new(operations),
            (None, Some(time)) => ProgressBar::new(millis(time)),
            (None, None) => ProgressBar::no_length(),
        };
        let style = ProgressStyle::with_template("{prefix:30} {wide_bar} {msg} done, {eta} to go");
        let bar = bar.with_style(style.expect("the template is well formed")).with_prefix(title);
        let bar_shows_time = expected.is_none() && time.is_some();
        Self { clock, server, time, bar, bar_shows_time, bar_moved: Cell::new(Duration::ZERO) }
    }

    /// Time since an arbitrary fixed point.
    #[inline]
    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Begins a run.
    pub(super) fn start(&self) -> Start {
        let (server, client) = (self.server_usage(), Process::Own.usage());
        self.bar.reset();
        Start { at: self.now(), server, client }
    }

    /// Whether the run's time is up.
    pub(super) fn is_over(&self, start: &Start, now: Duration) -> bool {
        self.time.is_some_and(|time| now.saturating_sub(start.at) >= time)
    }

    /// Shows how far the run is, not more often than the eye follows.
    #[inline]
    pub(super) fn tick(&self, now: Duration, operations: u64) {
        if now.saturating_sub(self.bar_moved.get()) >= BAR_STEP {
            self.move_bar(now, operations);
        }
    }

    /// Ends a run.
    pub(super) fn stop(&self, start: &Start) -> Measured {
        let elapsed = self.now().saturating_sub(start.at);
        let (server, client) = (self.server_usage(), Process::Own.usage());
        self.bar.finish_and_clear();
        let spent = |before: Option<f64>, after: Option<f64>| Some(after? - before?);
        Measured {
            elapsed,
            server_cpu: spent(start.server.cpu_seconds, server.cpu_seconds),
            client_cpu: spent(start.client.cpu_seconds, client.cpu_seconds),
            memory: start.server.anonymous_bytes.zip(server.anonymous_bytes),
        }
    }

    fn server_usage(&self) -> Usage {
        self.server.map(Process::usage).unwrap_or_default()
    }

    #[cold]
    fn move_bar(&self, now: Duration, operations: u64) {
        self.bar_moved.set(now);
        self.bar.set_message(operations.to_string());
        self.bar.set_position(if self.bar_shows_time { millis(self.bar.elapsed()) } else { operations });
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
