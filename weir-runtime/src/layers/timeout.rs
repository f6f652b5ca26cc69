//! What takes too long is dropped.

use std::pin::pin;
use std::time::Duration;

use tower::Layer;

use super::once;
use crate::{Outcome, Stage, Time, Work, class};

/// Makes [`TimeLimit`].
#[derive(Debug, Clone)]
pub struct TimeLimitLayer {
    time: Time,
    limit: Option<Duration>,
}

impl TimeLimitLayer {
    pub(crate) fn new(time: Time, limit: Option<Duration>) -> Self {
        Self { time, limit }
    }
}

/// Drops a run that takes too long. One that blocks its thread cannot be dropped: the stuck detector reports it.
#[derive(Debug)]
pub struct TimeLimit<S> {
    inner: S,
    time: Time,
    limit: Option<Duration>,
}

impl<S> Layer<S> for TimeLimitLayer {
    type Service = TimeLimit<S>;

    fn layer(&self, inner: S) -> TimeLimit<S> {
        TimeLimit { inner, time: self.time.clone(), limit: self.limit }
    }
}

impl<W: Work, S: Stage<W>> Stage<W> for TimeLimit<S> {
    async fn run(&self, work: W) -> W::Reply {
        let mut inner = pin!(self.inner.run(work));
        let Some(limit) = self.limit else { return inner.await };
        // Most handlers are done at once and need no timer.
        if let Some(reply) = once(inner.as_mut()).await {
            return reply;
        }
        self.time.within(limit, inner).await.unwrap_or_else(|| {
            W::reply(Outcome::retry_as(class::TIMEOUT, format!("the handler took longer than {limit:?}")))
        })
    }
}
