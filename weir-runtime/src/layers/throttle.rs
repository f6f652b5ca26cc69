//! What exceeds a rate is deferred.

use std::sync::Arc;

use tower::Layer;

use super::THROTTLE_WAIT_MAX;
use crate::rate::Bucket;
use crate::{Outcome, Stage, Time, Work};

/// Makes [`Throttle`].
#[derive(Debug, Clone)]
pub struct ThrottleLayer {
    time: Time,
    bucket: Option<Arc<Bucket>>,
}

impl ThrottleLayer {
    pub(crate) fn new(time: Time, bucket: Option<Arc<Bucket>>) -> Self {
        Self { time, bucket }
    }
}

/// Lets so many entries through per time. Waits [`THROTTLE_WAIT_MAX`] at most.
#[derive(Debug)]
pub struct Throttle<S> {
    inner: S,
    by: ThrottleLayer,
}

impl<S> Layer<S> for ThrottleLayer {
    type Service = Throttle<S>;

    fn layer(&self, inner: S) -> Throttle<S> {
        Throttle { inner, by: self.clone() }
    }
}

impl<W: Work, S: Stage<W>> Stage<W> for Throttle<S> {
    async fn run(&self, work: W) -> W::Reply {
        let Some(bucket) = &self.by.bucket else { return self.inner.run(work).await };
        let time = &self.by.time;
        let wanted = work.len() as u64;
        while let Err(wait) = bucket.take_all(time.elapsed(), wanted) {
            if wait > THROTTLE_WAIT_MAX {
                return W::reply(Outcome::Defer);
            }
            time.sleep(wait).await;
        }
        self.inner.run(work).await
    }
}
