//! Consumers: reading a group's entries, running a handler on each, and settling them by its outcome.
//!
//! The rules that hold:
//!
//! * A failed entry is tried again in two levels: at once in this process ([`Builder::immediate`], 0 by default), then
//!   by the broker after the delays of the group's policy. A handler runs at most `(immediate + 1) × failures_max`
//!   times for an entry, and `failures_max` of [`weir_core::Policy::delayed`] is one more than there are delays. The
//!   counters live in the broker, so restarts and other consumers change nothing about that.
//! * A delayed entry waits in the broker, never here.
//! * While a handler's future lives, the lease of its entry is extended, at most up to [`Builder::max_lease`] after it
//!   was read. Settling with a lease that was lost changes nothing; it is counted.
//! * What kills the process is not a failure; it is ended by `deliveries_max`. An entry that was twice given out
//!   without a word is handled alone, so that its neighbours are not counted with it.
//! * On shutdown: no more reading; handlers get the grace; what is left is dropped and handed back uncounted, for others
//!   at once; settlements are flushed; the consumer leaves the group. Give a supervisor at least the grace and 5 s.
//!
//! # Order
//!
//! A group whose policy names a key gives out at most one entry per value at a time, in order, whoever reads, whatever
//! fails. Without that, [`Builder::order_by`] keeps the order within this process only, and only between entries that
//! do not fail.

mod builder;
mod caretaker;
mod group;
mod killswitch;
mod lot;
mod name;
mod pace;
mod settle;
mod shared;
mod shutdown;
mod sitting_out;
mod status;
mod subscription;
mod work;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_core::{Error, ListStreams, is_side_stream};

pub use builder::{Builder, NoHandler};
pub use caretaker::{REAP_AFTER, REAP_EVERY};
pub use killswitch::KillSwitchSettings;
pub use name::consumer_name;
pub use shutdown::{Shutdown, Trigger};
pub use status::{ConsumerStatus, StreamState, StreamStatus};

pub(crate) use group::Origin;
pub(crate) use killswitch::KillSwitch;
pub(crate) use lot::{Lot, Scope, Standing};
pub(crate) use shared::{Settings, Shared};
pub(crate) use shutdown::Urgency;
pub(crate) use status::status as status_of;
pub(crate) use work::Unit;

use crate::rate::{Bucket, Limiter, Shared as SharedRate};
use crate::time::Patience;
use crate::{Stage, health};
use subscription::Subscription;

/// The most streams that one consumer reads; what a pattern finds beyond that is left out, and that is told.
pub const STREAMS_MAX: usize = 1_000;

/// Which streams a consumer reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) names: BTreeSet<Vec<u8>>,
    pub(crate) patterns: Vec<Vec<u8>>,
    pub(crate) list_every: Duration,
}

/// A consumer that is ready to run. `W` is what its handler is given: a [`crate::Context`] or a [`crate::Batch`]. Made by [`Consumer::builder`].
#[expect(private_bounds, reason = "work is an entry or a batch, and there is no third")]
pub struct Consumer<W: Unit, S> {
    shared: Arc<Shared>,
    stage: Arc<S>,
    sources: Sources,
    grace: Duration,
    health: Option<health::Settings>,
    work: std::marker::PhantomData<fn() -> W>,
}

impl Consumer<crate::Context, NoHandler> {
    /// Begins to say what a consumer reads and does.
    #[must_use]
    pub fn builder(broker: Arc<dyn weir_core::Broker>) -> Builder<NoHandler> {
        Builder::new(broker)
    }
}

/// Looks at a consumer that runs, and pauses it. May be copied and kept.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// How it is getting on. Asks the broker.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn status(&self) -> Result<ConsumerStatus, Error> {
        status_of(&self.shared).await
    }

    /// What it counted.
    #[must_use]
    pub fn totals(&self) -> crate::Totals {
        self.shared.metrics.totals()
    }

    /// Where `/health` is served, once it is.
    #[must_use]
    pub fn health_address(&self) -> Option<std::net::SocketAddr> {
        self.shared.health_address()
    }

    /// Pauses this consumer: it hands back what no handler has begun with and reads no more. Others of its group go on.
    pub fn pause(&self) {
        self.shared.pause.set(true);
    }

    /// Ends the pause.
    pub fn resume(&self) {
        self.shared.pause.set(false);
    }
}

#[expect(private_bounds, reason = "work is an entry or a batch, and there is no third")]
impl<W: Unit, S: Stage<W>> Consumer<W, S> {
    /// What looks at this consumer while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Runs until the shutdown, and comes to a graceful end.
    ///
    /// # Errors
    /// What cannot pass by waiting: a group that was made to start elsewhere, a name that cannot be, an engine that was
    /// closed. Everything else that the broker answers is retried, and told by [`Handle::status`].
    pub async fn run(self, shutdown: impl Into<Shutdown>) -> Result<(), Error> {
        let mut shutdown = shutdown.into();
        let (urgency, watched) = watch::channel(Urgency::None);
        let _health = health::begin(self.health.as_ref(), &self.shared).await?;
        let mut loops =
            Loops { consumer: &self, urgency: watched, tasks: JoinSet::new(), known: BTreeSet::new() };
        let result = tokio::select! {
            biased;
            () = shutdown.signalled(1) => Ok(()),
            result = loops.supervise() => result,
        };
        let ended = loops.end(&urgency, &mut shutdown, self.grace).await;
        result.and(ended)
    }
}

/// The loops of a consumer, one per stream.
struct Loops<'c, W: Unit, S> {
    consumer: &'c Consumer<W, S>,
    urgency: watch::Receiver<Urgency>,
    tasks: JoinSet<(Vec<u8>, Result<(), Error>)>,
    known: BTreeSet<Vec<u8>>,
}

impl<W: Unit, S: Stage<W>> Loops<'_, W, S> {
    /// Begins a loop for every stream, for new ones when they are found; ends with the first loop that fails.
    async fn supervise(&mut self) -> Result<(), Error> {
        let given = self.consumer.shared.settings.origin;
        for stream in self.consumer.sources.names.clone() {
            self.begin(stream, Origin { given, is_found: false }).await?;
        }
        let (mut is_first, mut patience) = (true, Patience::new());
        loop {
            let wait = match self.find(is_first).await {
                Ok(()) => {
                    is_first = false;
                    patience.reset();
                    self.consumer.sources.list_every
                }
                Err(error) if settle::ends(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "the streams cannot be listed");
                    patience.next()
                }
            };
            self.watch(wait).await?;
        }
    }

    /// Watches the loops for so long; without patterns for ever.
    async fn watch(&mut self, wait: Duration) -> Result<(), Error> {
        let has_patterns = !self.consumer.sources.patterns.is_empty();
        let mut wait = self.consumer.shared.time.sleep(if has_patterns { wait } else { Duration::MAX / 4 });
        loop {
            tokio::select! {
                biased;
                Some(joined) = self.tasks.join_next() => match joined {
                    // A stream that a pattern had found is gone. Should it come again, it is found again.
                    Ok((stream, result)) => {
                        result?;
                        self.known.remove(&stream);
                    }
                    // A defect of this crate: the loop has panicked. Better to end than to go on with half of it.
                    Err(error) => return Err(Error::new(weir_core::ErrorKind::Io).with_source(error)),
                },
                () = &mut wait, if has_patterns => return Ok(()),
                else => std::future::pending::<()>().await,
            }
        }
    }

    /// Looks for streams that match the patterns. A stream that is found later than the first time is new: its group
    /// starts with its first entry, whatever the origin says.
    async fn find(&mut self, is_first: bool) -> Result<(), Error> {
        let given = self.consumer.shared.settings.origin;
        let given = given.map(|given| if is_first { given } else { weir_core::GroupOrigin::Beginning });
        for pattern in self.consumer.sources.patterns.clone() {
            for stream in self.matching(&pattern).await? {
                self.begin(stream, Origin { given, is_found: true }).await?;
            }
        }
        Ok(())
    }

    async fn matching(&self, pattern: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let options =
                ListStreams { pattern: pattern.to_vec(), after, count: 1_000, with_side_streams: false };
            let page = self.consumer.shared.broker.list_streams(options).await?;
            names.extend(page.names.into_iter().filter(|name| !is_own(name)));
            after = page.next;
            if after.is_none() {
                return Ok(names);
            }
        }
    }

    async fn begin(&mut self, stream: Vec<u8>, origin: Origin) -> Result<(), Error> {
        if self.known.contains(&stream) {
            return Ok(());
        }
        if self.known.len() >= STREAMS_MAX {
            tracing::warn!(limit = STREAMS_MAX, "a stream is left out: the consumer reads as many as it may");
            return Ok(());
        }
        let (shared, stage) = (Arc::clone(&self.consumer.shared), Arc::clone(&self.consumer.stage));
        let limiter = patient_limiter(&shared, &stream).await?;
        let subscription = Subscription::<W, S>::new(shared, stage, &stream, limiter, self.urgency.clone());
        self.known.insert(stream.clone());
        self.tasks.spawn(async move { (stream, subscription.run(origin).await) });
        Ok(())
    }

    /// Ends all loops: gracefully, after the grace or on a second signal at once.
    async fn end(
        &mut self,
        urgency: &watch::Sender<Urgency>,
        shutdown: &mut Shutdown,
        grace: Duration,
    ) -> Result<(), Error> {
        urgency.send_replace(Urgency::Graceful);
        let mut grace = Some(self.consumer.shared.time.sleep(grace));
        let (mut result, mut is_immediate) = (Ok(()), false);
        loop {
            tokio::select! {
                biased;
                joined = self.tasks.join_next() => match joined {
                    None => return result,
                    Some(Ok((_, ended))) => result = result.and(ended),
                    Some(Err(error)) => tracing::error!(%error, "a loop has panicked"),
                },
                () = shutdown.signalled(2), if !is_immediate => {
                    is_immediate = true;
                    urgency.send_replace(Urgency::Immediate);
                }
                () = async { if let Some(grace) = &mut grace { grace.await } }, if grace.is_some() => {
                    grace = None;
                    urgency.send_if_modified(|urgency| {
                        let is_sooner = *urgency < Urgency::Now;
                        *urgency = (*urgency).max(Urgency::Now);
                        is_sooner
                    });
                }
            }
        }
    }
}

/// Streams that this crate keeps for itself.
fn is_own(name: &[u8]) -> bool {
    let holds = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    is_side_stream(name) || holds(b"}:rate:") || name.ends_with(b"}:marks")
}

/// As [`limiter`], until the broker is there.
async fn patient_limiter(shared: &Shared, stream: &[u8]) -> Result<Option<Limiter>, Error> {
    let mut patience = Patience::new();
    loop {
        match limiter(shared, stream).await {
            Err(error) if error.is_retryable() || *error.kind() == weir_core::ErrorKind::Io => {
                tracing::warn!(%error, "the rate of the group cannot be prepared");
                shared.time.sleep(patience.next()).await;
            }
            made => return made,
        }
    }
}

async fn limiter(shared: &Shared, stream: &[u8]) -> Result<Option<Limiter>, Error> {
    let Some((rate, is_shared)) = shared.settings.rate else { return Ok(None) };
    if !is_shared {
        return Ok(Some(Limiter::Own(Arc::new(Bucket::new(rate)))));
    }
    let limiter = SharedRate::new(Arc::clone(&shared.broker), stream, &shared.settings.group, rate)?;
    limiter.prepare().await?;
    Ok(Some(Limiter::Shared(Arc::new(limiter))))
}

impl<W: Unit, S> fmt::Debug for Consumer<W, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("shared", &self.shared).finish_non_exhaustive()
    }
}
