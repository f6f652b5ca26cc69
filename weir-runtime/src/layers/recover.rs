//! A panic becomes a failure.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tower::Layer;

use crate::{Outcome, Stage, Work, class};

/// Makes [`Recover`].
#[derive(Debug, Clone, Copy)]
pub struct RecoverLayer;

/// Catches panics of what is inside.
#[derive(Debug)]
pub struct Recover<S> {
    inner: S,
}

impl<S> Layer<S> for RecoverLayer {
    type Service = Recover<S>;

    fn layer(&self, inner: S) -> Recover<S> {
        Recover { inner }
    }
}

impl<W: Work, S: Stage<W>> Stage<W> for Recover<S> {
    async fn run(&self, work: W) -> W::Reply {
        // A handler that panicked is given other entries afterwards. What it shares between them it has to keep whole
        // itself, as with a mutex that is poisoned.
        let inner = AssertUnwindSafe(async { self.inner.run(work).await });
        inner
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| W::reply(Outcome::retry_as(class::PANIC, words_of(&*panic))))
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(|s| &**s));
    words.unwrap_or("the handler panicked").to_owned()
}
