//! Time as an argument: the clock, and waiting.
//!
//! Whatever waits in this crate waits through a [`Time`], so that a test moves it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use weir_core::{Clock, SystemClock, Timestamp};

/// A wait that was begun.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What lets a task wait.
pub trait Timer: Send + Sync + fmt::Debug {
    /// Ends when so much time has passed.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The timer of the tokio runtime.
#[derive(Debug, Clone, Copy)]
pub struct TokioTimer;

impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock, and waiting by it.
#[derive(Debug, Clone)]
pub struct Time {
    clock: Arc<dyn Clock>,
    timer: Arc<dyn Timer>,
}

impl Time {
    /// The machine's clock and tokio's timer.
    #[must_use]
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock::new()), timer: Arc::new(TokioTimer) }
    }

    /// This clock and a timer that goes by it.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, timer: Arc<dyn Timer>) -> Self {
        Self { clock, timer }
    }

    /// Wall-clock time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Time since a fixed point; never decreases.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Ends when so much time has passed.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.timer.sleep(duration)
    }

    /// What a future gives, or `None` when it takes longer than that.
    pub(crate) async fn within<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        tokio::select! {
            biased;
            value = &mut future => Some(value),
            () = self.sleep(limit) => None,
        }
    }
}

/// Waits that double, up to a longest: between attempts at a broker that is away.
#[derive(Debug)]
pub(crate) struct Patience {
    next: Duration,
}

impl Patience {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);

    pub(crate) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(Self::LONGEST);
        wait
    }

    pub(crate) fn reset(&mut self) {
        self.next = Self::FIRST;
    }
}
