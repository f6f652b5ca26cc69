//! A broker in memory that is written to be obviously right: the yardstick for the engines, and a fast stand-in for them
//! in tests of handlers.
//!
//! Invariants:
//! * Everything is under one mutex; nothing is kept that could be computed from the entries and the rows.
//! * No row is above its group's last-delivered ID.
//! * What is refused has changed nothing.
//!
//! It scans where an engine has an index, so it is for thousands of entries, not millions. It never writes to disk and
//! never reads the system's clock, except to learn what time it is when a broker on real time is made.
//!
//! ```
//! use std::time::Duration;
//! use weir_core::{CreateGroup, GroupOrigin, GroupSource, Groups, Deliveries, Policy, ReadGroup, Streams};
//! use weir_testkit::TestBroker;
//!
//! # futures_util::FutureExt::now_or_never(async {
//! let broker = TestBroker::manual();
//! let options = CreateGroup { origin: GroupOrigin::Beginning, policy: Policy::recommended() };
//! broker.create_group(b"orders", b"billing", options).await?;
//! broker.append(b"orders", &[(b"type", b"placed")], Default::default()).await?;
//! let read = ReadGroup {
//!     group: b"billing".to_vec(),
//!     consumer: b"ann".to_vec(),
//!     source: GroupSource::Available { idle_min: None },
//!     count: 10,
//!     wait: None,
//!     while_paused: false,
//! };
//! assert_eq!(broker.read_group(b"orders", read.clone()).await?.len(), 1);
//! assert!(broker.read_group(b"orders", read.clone()).await?.is_empty(), "ann holds it");
//! broker.advance(Duration::from_secs(30));
//! assert_eq!(broker.read_group(b"orders", read).await?[0].deliveries, 2, "its lease is over");
//! # Ok::<(), weir_core::Error>(())
//! # }).expect("nothing waits").unwrap();
//! ```

mod delivery;
mod groups;
mod lag;
mod letters;
mod retention;
mod settling;
mod space;
mod streams;
mod time;
mod waiting;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use weir_core::{Admin, BoxFuture, Broker, Clock, Error, ErrorKind, ManualClock, Timestamp};

use space::Space;
pub use time::TokioClock;
use time::{Alarm, Steady};

/// Bytes of a stream's, group's or consumer's name, at most.
const NAME_BYTES_MAX: usize = 1_024;
/// Reads that wait at the same time, at most.
const WAITING_MAX: usize = 100_000;
/// What the namespaces are called; the first is the one a new broker speaks for.
const NAMESPACES: [&str; 16] = [
    "default", "db1", "db2", "db3", "db4", "db5", "db6", "db7", "db8", "db9", "db10", "db11", "db12", "db13",
    "db14", "db15",
];

/// A broker in memory. Clones share it. See the [module](self).
#[derive(Debug, Clone)]
pub struct NaiveBroker {
    shared: Arc<Shared>,
    namespace: &'static str,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told whenever something changed that a waiting read may be glad of.
    changed: Notify,
    waiting: AtomicUsize,
    time: Steady,
    alarm: Alarm,
    /// The clock that [`NaiveBroker::advance`] moves, when there is one.
    manual: Option<Arc<ManualClock>>,
}

#[derive(Debug, Default)]
struct State {
    spaces: BTreeMap<&'static str, Space>,
    /// What every call is refused with, as long as this is set.
    outage: Option<ErrorKind>,
    /// What all spaces are: [`NaiveBroker::plain`].
    is_plain: bool,
}

impl NaiveBroker {
    /// A broker on the time of the tokio runtime: real time, or that of a test that has paused it. Reads that wait for a
    /// certain time need a runtime with timers.
    #[must_use]
    pub fn new() -> Self {
        Self::build(Arc::new(TokioClock::new()), Alarm::Tokio, None)
    }

    /// A broker whose time moves only by [`NaiveBroker::advance`]; it begins on 2024-01-01.
    #[must_use]
    pub fn manual() -> Self {
        Self::with_manual_clock(Arc::new(ManualClock::at(Timestamp(1_704_067_200_000))))
    }

    /// A broker on a clock that a test moves: by [`NaiveBroker::advance`], or by itself and then [`NaiveBroker::tick`].
    #[must_use]
    pub fn with_manual_clock(clock: Arc<ManualClock>) -> Self {
        Self::build(clock.clone(), Alarm::Ticks, Some(clock))
    }

    fn build(clock: Arc<dyn Clock>, alarm: Alarm, manual: Option<Arc<ManualClock>>) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            changed: Notify::new(),
            waiting: AtomicUsize::new(0),
            time: Steady::new(clock),
            alarm,
            manual,
        };
        Self { shared: Arc::new(shared), namespace: NAMESPACES[0] }
    }

    /// The same broker as if a Redis that others write to were behind it: entries have no positions, and the time part of
    /// an ID stands for the time of the append. To be called before anything is appended.
    #[must_use]
    pub fn plain(self) -> Self {
        self.lock().is_plain = true;
        self
    }

    /// Lets time pass: leases and delays end, reads that waited long enough come back. On a broker that is not on a
    /// manual clock nothing happens.
    pub fn advance(&self, by: Duration) {
        if let Some(clock) = &self.shared.manual {
            clock.advance(by);
        }
        self.tick();
    }

    /// Has waiting reads look again, after the clock was moved from outside.
    pub fn tick(&self) {
        self.shared.changed.notify_waiters();
    }

    /// How many reads wait now: a test awaits that its reader does before it goes on.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Refuses everything with errors of this kind, also what waits, until [`NaiveBroker::recover`]: an outage.
    pub fn fail_with(&self, kind: ErrorKind) {
        self.lock().outage = Some(kind);
        self.tick();
    }

    /// Ends what [`NaiveBroker::fail_with`] began.
    pub fn recover(&self) {
        self.lock().outage = None;
    }

    /// The broker of another namespace; `None` when there is none of that name.
    #[must_use]
    pub fn in_namespace(&self, name: &str) -> Option<Self> {
        let namespace = NAMESPACES.into_iter().find(|known| *known == name)?;
        Some(Self { shared: self.shared.clone(), namespace })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("nothing panics under this lock")
    }

    /// Does something to the namespace, and has waiting reads look when something changed.
    fn with<T>(&self, act: impl FnOnce(&mut Space) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = self.lock();
        if let Some(kind) = &state.outage {
            return Err(Error::new(kind.clone()).with_context("the test said so"));
        }
        let is_plain = state.is_plain;
        let space = state.spaces.entry(self.namespace).or_default();
        space.is_plain = is_plain;
        let before = space.changes;
        space.begin(self.shared.time.now());
        let answer = act(space);
        if space.changes != before {
            self.shared.changed.notify_waiters();
        }
        answer
    }

    /// The same as a future that does nothing before it is polled.
    fn later<'a, T>(
        &'a self,
        act: impl FnOnce(&mut Space) -> Result<T, Error> + Send + 'a,
    ) -> BoxFuture<'a, T>
    where
        T: Send + 'a,
    {
        Box::pin(async move { self.with(act) })
    }
}

impl Default for NaiveBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl Admin for NaiveBroker {
    fn namespaces(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async { Ok(NAMESPACES.into_iter().map(String::from).collect()) })
    }

    fn namespace(&self, name: &str) -> Result<Arc<dyn Broker>, Error> {
        let Some(broker) = self.in_namespace(name) else {
            return Err(Error::new(ErrorKind::Invalid("no such namespace")).with_context(format!("{name:?}")));
        };
        Ok(Arc::new(broker))
    }
}

/// Refuses names that are too long.
fn check_names(names: &[&[u8]]) -> Result<(), Error> {
    if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        return Err(Error::new(ErrorKind::LimitReached("a name has at most 1024 bytes")));
    }
    Ok(())
}

/// Whole milliseconds, as many as there can be.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
