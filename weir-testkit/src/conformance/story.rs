//! The vocabulary of the cases: what a story is told with.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use weir_core::{Backoff, Broker, Condition, ConditionTest, FieldName, Filter, Policy};

use super::check::{Wrong, holds};
use super::stream::Stream;
use super::target::Stage;

/// How often something that has to come is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often it is looked for before the case has failed.
const LOOKS_MAX: u32 = 2_000;
/// What the clocks of a story and of a broker may differ by when a time is measured, since both cut to milliseconds.
const ROUNDING: Duration = Duration::from_millis(3);

/// Longer than any case: what is put off for so long must not come.
pub(super) const FOREVER: Duration = Duration::from_secs(3_600);
/// Short enough to wait for.
pub(super) const SOON: Duration = Duration::from_millis(80);

/// One case at play: its broker, its time, its names.
#[derive(Clone)]
pub struct Story {
    stage: Arc<dyn Stage>,
    prefix: Arc<str>,
}

impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Story").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Story {
    /// A story on a stage; all its names begin with `prefix`.
    #[must_use]
    pub fn new(stage: Arc<dyn Stage>, prefix: &str) -> Self {
        Self { stage, prefix: prefix.into() }
    }

    /// The broker.
    pub(super) fn broker(&self) -> Arc<dyn Broker> {
        self.stage.broker()
    }

    /// The stream that the story is about.
    pub(super) fn stream(&self) -> Stream {
        self.stream_named("orders")
    }

    /// A stream of the story.
    pub(super) fn stream_named(&self, name: &str) -> Stream {
        Stream::new(self.clone(), format!("{}/{name}", self.prefix).into_bytes())
    }

    /// A stream whose name has a hash tag that all tagged streams of the story share.
    pub(super) fn tagged(&self, name: &str) -> Stream {
        Stream::new(self.clone(), format!("{{{}}}{name}", self.prefix).into_bytes())
    }

    /// What the names of all streams begin with, [`Story::tagged`] ones left out.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The time, by the broker's clock.
    pub(super) fn now(&self) -> Duration {
        self.stage.now()
    }

    /// Lets time pass.
    pub(super) async fn advance(&self, by: Duration) {
        self.stage.advance(by).await;
    }

    /// Kills the engine and starts it again.
    pub(super) async fn restart(&self) -> Result<(), Wrong> {
        let restarted = self.stage.restart().await;
        restarted
            .map_err(|error| Wrong::new("the engine is killed and started again", "it to come back", error))
    }

    /// What `look` finds, once it finds something.
    pub(super) async fn eventually<T, L, F>(&self, step: &str, mut look: L) -> Result<T, Wrong>
    where
        L: FnMut() -> F,
        F: Future<Output = Result<Option<T>, Wrong>>,
    {
        for _ in 0..LOOKS_MAX {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            self.advance(LOOK_EVERY).await;
        }
        Err(Wrong::new(step, "it to come about", format!("nothing in {:?}", LOOK_EVERY * LOOKS_MAX)))
    }

    /// What something that runs beside the story answers, while time goes on.
    pub(super) async fn ends<T>(&self, step: &str, beside: JoinHandle<Result<T, Wrong>>) -> Result<T, Wrong> {
        for _ in 0..LOOKS_MAX {
            if beside.is_finished() {
                return beside.await.map_err(|error| Wrong::new(step, "no panic", error.to_string()))?;
            }
            self.advance(LOOK_EVERY).await;
        }
        beside.abort();
        Err(Wrong::new(step, "an end", format!("none in {:?}", LOOK_EVERY * LOOKS_MAX)))
    }

    /// It is no earlier than so long after `since`.
    pub(super) fn not_before(&self, step: &str, since: Duration, delay: Duration) -> Result<(), Wrong> {
        let passed = self.now().saturating_sub(since);
        holds(&format!("{step}, not before {delay:?} are over"), passed + ROUNDING >= delay, passed)
    }
}

/// A policy under which nothing happens by itself: no lease ends, no failure is the last, what failed is ready at once.
pub(super) fn policy() -> Policy {
    Policy {
        failures_max: 1_000,
        deliveries_max: 1_000,
        backoff: Backoff::List(vec![Duration::ZERO]),
        lease: FOREVER,
        ..Policy::recommended()
    }
}

/// That policy with delivery ordered by the field `key`.
pub(super) fn by_key() -> Policy {
    Policy { key: Some(b"key".to_vec()), ..policy() }
}

/// That policy with so many failures.
pub(super) fn failures_max(failures_max: u32) -> Policy {
    Policy { failures_max, ..policy() }
}

/// That policy with only those entries whose field has this value.
pub(super) fn with_filter(field: &str, value: &str) -> Policy {
    with_condition(FieldName::Exact(field.into()), ConditionTest::Equals(value.into()))
}

/// That policy with only those entries that meet a condition.
pub(super) fn with_condition(field: FieldName, test: ConditionTest) -> Policy {
    Policy { filter: Some(Filter { conditions: vec![Condition { field, test }] }), ..policy() }
}

/// Milliseconds.
pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
