//! How many runs, how long they took, what became of them.

use std::sync::Arc;

use tower::Layer;

use crate::metrics::Metrics;
use crate::{Stage, Time, Work};

/// Makes [`Measure`].
#[derive(Debug, Clone)]
pub struct MeasureLayer {
    time: Time,
    metrics: Arc<Metrics>,
}

impl MeasureLayer {
    pub(crate) fn new(time: Time, metrics: Arc<Metrics>) -> Self {
        Self { time, metrics }
    }
}

/// Counts runs of what is inside.
#[derive(Debug)]
pub struct Measure<S> {
    inner: S,
    time: Time,
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for MeasureLayer {
    type Service = Measure<S>;

    fn layer(&self, inner: S) -> Measure<S> {
        Measure { inner, time: self.time.clone(), metrics: Arc::clone(&self.metrics) }
    }
}

impl<W: Work, S: Stage<W>> Stage<W> for Measure<S> {
    async fn run(&self, work: W) -> W::Reply {
        let (len, began) = (work.len(), self.time.elapsed());
        let running = self.metrics.running();
        let reply = self.inner.run(work).await;
        drop(running);
        let now = self.time.elapsed();
        self.metrics.ran(now, now.saturating_sub(began));
        W::each(&reply, len, |outcome| self.metrics.outcome(outcome));
        reply
    }
}
