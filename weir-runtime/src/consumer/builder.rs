//! Saying what a consumer reads and does.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tower::Layer;
use weir_core::{Broker, Error, ErrorKind, GroupOrigin, Policy};

use super::work::Unit;
use super::{Consumer, KillSwitch, KillSwitchSettings, Settings, Shared, Shutdown, Sources, consumer_name};
use crate::handler::{Batched, Single};
use crate::layers::{Parts, Stack, Validator, stack};
use crate::rate::Bucket;
use crate::{BatchHandler, Handler, Item, MarkStore, Rate, Stage, Time, class, health};

/// No handler was named yet.
#[derive(Debug, Clone, Copy)]
pub struct NoHandler;

/// What a consumer reads and does. Everything but the streams, the group and the handler has a default.
pub struct Builder<S> {
    broker: Arc<dyn Broker>,
    settings: Settings,
    sources: Sources,
    time: Time,
    grace: Duration,
    timeout: Option<Duration>,
    switch: Option<KillSwitchSettings>,
    throttle: Option<Rate>,
    marks: Option<Arc<dyn MarkStore>>,
    mark_field: Option<Vec<u8>>,
    validator: Option<Arc<Validator>>,
    health: Option<health::Settings>,
    stage: S,
}

impl Builder<NoHandler> {
    pub(crate) fn new(broker: Arc<dyn Broker>) -> Self {
        let settings = Settings {
            group: Vec::new(),
            consumer: Vec::new(),
            origin: None,
            policy: None,
            adopts: false,
            concurrency: 1,
            immediate: 0,
            order_by: None,
            max_lease: Duration::from_secs(600),
            stuck_after: Duration::from_secs(10),
            hold_max: Duration::from_secs(1),
            prefetch_max: 512,
            batch_max: 256,
            fatal_classes: class::FATAL.map(str::to_owned).to_vec(),
            rate: None,
        };
        let list_every = Duration::from_secs(10);
        Self {
            broker,
            settings,
            sources: Sources { names: BTreeSet::new(), patterns: Vec::new(), list_every },
            time: Time::system(),
            grace: Duration::from_secs(25),
            timeout: Some(Duration::from_secs(300)),
            switch: None,
            throttle: None,
            marks: None,
            mark_field: None,
            validator: None,
            health: None,
            stage: NoHandler,
        }
    }

    /// What handles each entry.
    #[must_use]
    pub fn handler<H: Handler>(self, handler: H) -> Builder<Single<H>> {
        self.with_stage(|NoHandler| Single(handler))
    }

    /// What handles several entries together; see [`Self::batch`].
    #[must_use]
    pub fn batch_handler<H: BatchHandler>(self, handler: H) -> Builder<Batched<H>> {
        self.with_stage(|NoHandler| Batched(handler))
    }
}

impl<S> Builder<S> {
    /// Reads this stream; may be said more than once.
    #[must_use]
    pub fn stream(mut self, stream: impl AsRef<[u8]>) -> Self {
        self.sources.names.insert(stream.as_ref().to_vec());
        self
    }

    /// Reads these streams.
    #[must_use]
    pub fn streams(mut self, streams: impl IntoIterator<Item: AsRef<[u8]>>) -> Self {
        self.sources.names.extend(streams.into_iter().map(|stream| stream.as_ref().to_vec()));
        self
    }

    /// Reads the streams whose names match a glob as in `KEYS`, and those that come to be later, found by listing every
    /// [`Self::list_every`]. Streams that weir keeps beside others are none of them. The group of a stream that is found
    /// while the consumer runs starts with its first entry. At most [`super::STREAMS_MAX`] streams.
    #[must_use]
    pub fn pattern(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.sources.patterns.push(pattern.as_ref().to_vec());
        self
    }

    /// How often patterns are looked at; 10 s by default.
    #[must_use]
    pub fn list_every(mut self, every: Duration) -> Self {
        self.sources.list_every = every;
        self
    }

    /// The group it reads as.
    #[must_use]
    pub fn group(mut self, group: impl AsRef<[u8]>) -> Self {
        self.settings.group = group.as_ref().to_vec();
        self
    }

    /// Where the group starts if it has to be made. There is no default: without it the group must exist. A group that
    /// was made to start elsewhere is an error.
    #[must_use]
    pub fn origin(mut self, origin: GroupOrigin) -> Self {
        self.settings.origin = Some(origin);
        self
    }

    /// The group's policy, also if it exists with another one: the last consumer that starts decides. Without this a new
    /// group has [`Policy::recommended`], and an existing one keeps its own.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = Some(policy);
        self
    }

    /// Gives groups a policy that were made by `XGROUP CREATE`. Where those start is not known, so [`Self::origin`] does
    /// not count for them.
    #[must_use]
    pub fn adopt_plain_groups(mut self) -> Self {
        self.settings.adopts = true;
        self
    }

    /// What the consumer is called: the same over restarts, another one for every process. By default
    /// [`consumer_name`].
    #[must_use]
    pub fn consumer(mut self, name: impl AsRef<[u8]>) -> Self {
        self.settings.consumer = name.as_ref().to_vec();
        self
    }

    /// How many handlers run at a time, for each stream; 1 by default, and then they run one after the other in the
    /// task that reads. More run as tasks of their own.
    #[must_use]
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.settings.concurrency = handlers;
        self
    }

    /// Of the entries with the same value in this field only one is handled at a time, in order: within this process,
    /// and as long as none of them fails. Not with a batch handler. Better say [`Policy::key`], which holds for the whole
    /// group and for failures.
    #[must_use]
    pub fn order_by(mut self, field: impl AsRef<[u8]>) -> Self {
        self.settings.order_by = Some(field.as_ref().to_vec());
        self
    }

    /// How often a failed entry is tried again at once, in this process, before the broker is told; 0 by default. All
    /// runs together: `(immediate + 1) × failures_max`.
    #[must_use]
    pub fn immediate(mut self, retries: u32) -> Self {
        self.settings.immediate = retries;
        self
    }

    /// How long a handler may take; 5 minutes by default, `None` = as long as it likes. A longer run is dropped and
    /// fails with class `timeout`.
    #[must_use]
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.timeout = limit.into();
        self
    }

    /// How long an entry's lease is extended after it was read; 10 minutes by default. Later others may take it, and
    /// this consumer's outcome does not count.
    #[must_use]
    pub fn max_lease(mut self, limit: Duration) -> Self {
        self.settings.max_lease = limit;
        self
    }

    /// A handler that keeps its thread for so long without awaiting anything is reported; 10 s by default.
    #[must_use]
    pub fn stuck_after(mut self, limit: Duration) -> Self {
        self.settings.stuck_after = limit;
        self
    }

    /// When no handler of a stream ends for so long, what was read and none has begun with is handed back for others; 1 s
    /// by default.
    #[must_use]
    pub fn hold_max(mut self, limit: Duration) -> Self {
        self.settings.hold_max = limit;
        self
    }

    /// How many entries are read at a time at most; 512 by default. Fewer are read when handlers are slow.
    #[must_use]
    pub fn prefetch(mut self, entries: u64) -> Self {
        self.settings.prefetch_max = entries;
        self
    }

    /// How many entries a batch handler is given at a time at most; 256 by default.
    #[must_use]
    pub fn batch(mut self, entries: u64) -> Self {
        self.settings.batch_max = entries;
        self
    }

    /// Classes of failures that make a dead letter at once, also when a handler says retry; by default
    /// [`class::FATAL`].
    #[must_use]
    pub fn fatal_classes(mut self, classes: impl IntoIterator<Item: Into<String>>) -> Self {
        self.settings.fatal_classes = classes.into_iter().map(Into::into).collect();
        self
    }

    /// At most so many entries are read per time, by this consumer and stream. It waits before reading, never with an
    /// entry in hand.
    #[must_use]
    pub fn rate_limit(mut self, count: u64, per: Duration) -> Self {
        self.settings.rate = Some((Rate { count, per }, false));
        self
    }

    /// The same for all consumers of the group together, each stream by itself. They agree through a stream that the
    /// broker keeps beside, `{stream}:rate:group`; what one was granted and does not use is spent.
    #[must_use]
    pub fn rate_limit_of_group(mut self, count: u64, per: Duration) -> Self {
        self.settings.rate = Some((Rate { count, per }, true));
        self
    }

    /// At most so many runs begin per time. What exceeds it waits [`crate::layers::THROTTLE_WAIT_MAX`] at most and is
    /// deferred then: for what a handler calls, where others of the group may have room. Off by default.
    #[must_use]
    pub fn throttle(mut self, count: u64, per: Duration) -> Self {
        self.throttle = Some(Rate { count, per });
        self
    }

    /// Pauses the group when nearly everything fails; off by default.
    #[must_use]
    pub fn kill_switch(mut self, settings: KillSwitchSettings) -> Self {
        self.switch = Some(settings);
        self
    }

    /// Entries that this store knows are done without the handler, and those that the handler has done are told to it.
    #[must_use]
    pub fn dedup(mut self, marks: impl MarkStore) -> Self {
        self.marks = Some(Arc::new(marks));
        self
    }

    /// Marks are of this field's value instead of the entry's ID: an event that was appended twice is handled once. Of two
    /// that are handled at the same time neither is marked yet; a [`Policy::key`] of the same field keeps them apart.
    #[must_use]
    pub fn dedup_by(mut self, field: impl AsRef<[u8]>) -> Self {
        self.mark_field = Some(field.as_ref().to_vec());
        self
    }

    /// Looks at entries before the handler; what it refuses is a dead letter of class `validation`.
    #[must_use]
    pub fn validate(
        mut self,
        validator: impl Fn(&Item<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.validator = Some(Arc::new(validator));
        self
    }

    /// How long handlers have to come to their end at a shutdown; 25 s by default. A supervisor should wait at least
    /// 5 s longer.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Serves `/health` and `/metrics` at this address while it runs.
    #[must_use]
    pub fn health(mut self, address: SocketAddr) -> Self {
        let lagging_at = self.health.as_ref().map_or(health::LAGGING_AT, |health| health.lagging_at);
        self.health = Some(health::Settings { address: Some(address), lagging_at });
        self
    }

    /// So many entries behind, `/health` says `lagging`; 1000 by default.
    #[must_use]
    pub fn lagging_at(mut self, entries: u64) -> Self {
        let address = self.health.as_ref().and_then(|health| health.address);
        self.health = Some(health::Settings { address, lagging_at: entries });
        self
    }

    /// Where the time comes from; for tests.
    #[must_use]
    pub fn time(mut self, time: Time) -> Self {
        self.time = time;
        self
    }

    /// A middleware of the user's own, right around the handler; said again, around the one before.
    #[must_use]
    pub fn layer<L: Layer<S>>(self, layer: L) -> Builder<L::Service> {
        self.with_stage(|stage| layer.layer(stage))
    }

    fn with_stage<T>(self, make: impl FnOnce(S) -> T) -> Builder<T> {
        let Self { broker, settings, sources, time, grace, timeout, switch, throttle, .. } = self;
        let Self { marks, mark_field, validator, health, stage, .. } = self;
        let stage = make(stage);
        Builder {
            broker,
            settings,
            sources,
            time,
            grace,
            timeout,
            switch,
            throttle,
            marks,
            mark_field,
            validator,
            health,
            stage,
        }
    }

    /// Checks everything and makes the consumer.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming what is missing or cannot be.
    #[expect(private_bounds, reason = "work is an entry or a batch, and there is no third")]
    pub fn build<W: Unit>(mut self) -> Result<Consumer<W, Stack<S>>, Error>
    where
        S: Stage<W>,
    {
        self.check()?;
        if W::IS_BATCH && self.settings.order_by.is_some() {
            return Err(Error::new(ErrorKind::Invalid(
                "order_by is for single entries; for batches a policy has a key",
            )));
        }
        if self.settings.consumer.is_empty() {
            self.settings.consumer = consumer_name().into_bytes();
        }
        let switch = self.switch.map(|settings| Arc::new(KillSwitch::new(settings)));
        let shared = Shared::new(self.broker, self.settings, self.time.clone(), switch.clone());
        let parts = Parts {
            time: self.time,
            metrics: Arc::clone(&shared.metrics),
            timeout: self.timeout,
            marks: self.marks,
            mark_field: self.mark_field,
            validator: self.validator,
            switch,
            bucket: self.throttle.map(|rate| Arc::new(Bucket::new(rate))),
        };
        Ok(Consumer {
            shared: Arc::new(shared),
            stage: Arc::new(stack(self.stage, parts)),
            sources: self.sources,
            grace: self.grace,
            health: self.health,
            work: PhantomData,
        })
    }

    /// Makes the consumer and runs it until the shutdown.
    ///
    /// # Errors
    /// As [`Self::build`] and [`Consumer::run`].
    #[expect(private_bounds, reason = "work is an entry or a batch, and there is no third")]
    pub async fn run<W: Unit>(self, shutdown: impl Into<Shutdown>) -> Result<(), Error>
    where
        S: Stage<W>,
    {
        self.build()?.run(shutdown).await
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |what| Err(Error::new(ErrorKind::Invalid(what)));
        let settings = &self.settings;
        let is_zero_rate = |rate: &Rate| rate.count == 0 || rate.per.is_zero();
        if self.sources.names.is_empty() && self.sources.patterns.is_empty() {
            return refuse("a consumer needs a stream or a pattern");
        }
        if settings.group.is_empty() {
            return refuse("a consumer needs a group");
        }
        if settings.concurrency == 0 || settings.prefetch_max == 0 || settings.batch_max == 0 {
            return refuse("concurrency, prefetch and batch must be at least 1");
        }
        if settings.rate.iter().map(|(rate, _)| rate).chain(&self.throttle).any(is_zero_rate) {
            return refuse("a rate needs at least one entry and more than no time");
        }
        if self.timeout.is_some_and(|limit| limit.is_zero()) {
            return refuse("a handler needs more than no time; say None for no limit");
        }
        if let Some(switch) = &self.switch
            && !(switch.failed_ratio > 0.0 && switch.failed_ratio <= 1.0 && !switch.window.is_zero())
        {
            return refuse("a kill switch needs a window and a ratio above 0 and up to 1");
        }
        settings.policy.as_ref().map_or(Ok(()), Policy::check)
    }
}

impl<S> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
