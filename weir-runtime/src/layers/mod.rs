//! The middleware around a handler, each a [`tower::Layer`], always in this order:
//!
//! ```text
//! recover → trace → measure → timeout → dedup → validate → breaker → throttle → (the user's layers) → handler
//! ```
//!
//! * recover: a panic becomes a failure of class `panic`.
//! * trace: the entry's `traceparent` is current while the handler is polled; a span per entry.
//! * measure: how many, how long, with which outcome.
//! * timeout: what takes too long is dropped and is a failure of class `timeout`.
//! * dedup: what is marked is done without the handler; what is done is marked.
//! * validate: what breaks a rule is a dead letter of class `validation`.
//! * breaker: failures are counted for the kill switch; once it is open, everything is deferred.
//! * throttle: what exceeds a rate waits shortly and is deferred then.
//!
//! None of them waits with an entry in hand beyond [`THROTTLE_WAIT_MAX`].

mod breaker;
mod dedup;
mod measure;
mod recover;
mod throttle;
mod timeout;
mod trace;
mod validate;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tower::Layer;

pub use breaker::{Break, BreakLayer};
pub use dedup::{Dedup, DedupLayer};
pub use measure::{Measure, MeasureLayer};
pub use recover::{Recover, RecoverLayer};
pub use throttle::{Throttle, ThrottleLayer};
pub use timeout::{TimeLimit, TimeLimitLayer};
pub use trace::{Trace, TraceLayer};
pub use validate::{Validate, ValidateLayer, Validator};

use crate::consumer::KillSwitch;
use crate::metrics::Metrics;
use crate::rate::Bucket;
use crate::{MarkStore, Time};

/// The longest that a layer waits with an entry in hand.
pub const THROTTLE_WAIT_MAX: Duration = Duration::from_millis(50);

/// All layers around `S`.
pub type Stack<S> = Recover<Trace<Measure<TimeLimit<Dedup<Validate<Break<Throttle<S>>>>>>>>;

/// What the layers are made of.
pub(crate) struct Parts {
    pub(crate) time: Time,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) marks: Option<Arc<dyn MarkStore>>,
    pub(crate) mark_field: Option<Vec<u8>>,
    pub(crate) validator: Option<Arc<Validator>>,
    pub(crate) switch: Option<Arc<KillSwitch>>,
    pub(crate) bucket: Option<Arc<Bucket>>,
}

/// Puts all layers around a stage.
pub(crate) fn stack<S>(stage: S, parts: Parts) -> Stack<S> {
    let Parts { time, metrics, timeout, marks, mark_field, validator, switch, bucket } = parts;
    let stage = ThrottleLayer::new(time.clone(), bucket).layer(stage);
    let stage = BreakLayer::new(time.clone(), switch).layer(stage);
    let stage = ValidateLayer::new(validator).layer(stage);
    let stage = DedupLayer::new(time.clone(), Arc::clone(&metrics), marks, mark_field).layer(stage);
    let stage = TimeLimitLayer::new(time.clone(), timeout).layer(stage);
    let stage = MeasureLayer::new(time, metrics).layer(stage);
    RecoverLayer.layer(TraceLayer.layer(stage))
}

/// What a future gives if it is ready now.
pub(crate) async fn once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut future = Some(future);
    std::future::poll_fn(|cx| match future.take().map(|future| future.poll(cx)) {
        Some(Poll::Ready(value)) => Poll::Ready(Some(value)),
        _ => Poll::Ready(None),
    })
    .await
}
