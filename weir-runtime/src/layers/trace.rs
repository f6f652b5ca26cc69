//! The entry's trace is current while its handler is polled.

use std::future::poll_fn;
use std::pin::pin;

use tower::Layer;

use crate::{Stage, TraceParent, Work};

/// Makes [`Trace`].
#[derive(Debug, Clone, Copy)]
pub struct TraceLayer;

/// Opens a span and makes the entry's [`TraceParent`] current.
#[derive(Debug)]
pub struct Trace<S> {
    inner: S,
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

impl<W: Work, S: Stage<W>> Stage<W> for Trace<S> {
    async fn run(&self, work: W) -> W::Reply {
        let parent = work.traceparent();
        let span = tracing::info_span!(
            "handle",
            stream = %work.stream_name(),
            id = %work.first_id(),
            entries = work.len(),
            trace = parent.map(|parent| format!("{:032x}", parent.trace)),
        );
        let mut inner = pin!(self.inner.run(work));
        poll_fn(|cx| {
            let _current = TraceParent::enter(parent);
            let _span = span.enter();
            inner.as_mut().poll(cx)
        })
        .await
    }
}
