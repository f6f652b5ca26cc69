//! Ending a consumer: first gracefully, on a second signal at once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tokio::sync::watch;

/// What makes a consumer end. The first signal ends it gracefully: it reads no more, waits for its handlers up to the
/// grace, then hands back what it holds. The second one does not wait.
///
/// Any future is one that gives the first signal and no second.
pub struct Shutdown {
    signals: Signals,
}

enum Signals {
    Future(Pin<Box<dyn Future<Output = ()> + Send>>),
    Count(watch::Receiver<u32>),
}

/// What gives the signals.
#[derive(Debug, Clone)]
pub struct Trigger {
    count: watch::Sender<u32>,
}

impl Trigger {
    /// Gives a signal: the first one, the second one.
    pub fn signal(&self) {
        self.count.send_modify(|count| *count = count.saturating_add(1));
    }
}

impl Shutdown {
    /// A shutdown and what triggers it.
    #[must_use]
    pub fn new() -> (Trigger, Self) {
        let (count, receiver) = watch::channel(0);
        (Trigger { count }, Self { signals: Signals::Count(receiver) })
    }

    /// Never ends.
    #[must_use]
    pub fn never() -> Self {
        Self::from(std::future::pending::<()>())
    }

    /// Interrupt and terminate signals of the system; asked again, they are the second signal.
    ///
    /// # Errors
    /// When the system refuses.
    #[cfg(unix)]
    pub fn on_system_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (trigger, shutdown) = Self::new();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => trigger.signal(),
                    Some(()) = terminate.recv() => trigger.signal(),
                    () = trigger.count.closed() => return,
                }
            }
        });
        Ok(shutdown)
    }

    /// Waits for the `nth` signal; for ever when it does not come.
    pub(crate) async fn signalled(&mut self, nth: u32) {
        match &mut self.signals {
            Signals::Future(future) if nth == 1 => future.as_mut().await,
            Signals::Future(_) => std::future::pending().await,
            Signals::Count(count) => {
                if count.wait_for(|count| *count >= nth).await.is_err() {
                    std::future::pending().await
                }
            }
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> From<F> for Shutdown {
    fn from(future: F) -> Self {
        Self { signals: Signals::Future(Box::pin(future)) }
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").finish_non_exhaustive()
    }
}

/// How urgently a subscription shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Not at all.
    None,
    /// It reads no more, and its handlers end in their time.
    Graceful,
    /// Its handlers are dropped.
    Now,
    /// And nothing is waited for long.
    Immediate,
}
