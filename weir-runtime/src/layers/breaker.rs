//! Failures are counted for the kill switch.

use std::sync::Arc;

use tower::Layer;

use crate::consumer::KillSwitch;
use crate::{Outcome, Stage, Time, Work};

/// Makes [`Break`].
#[derive(Debug, Clone)]
pub struct BreakLayer {
    time: Time,
    switch: Option<Arc<KillSwitch>>,
}

impl BreakLayer {
    pub(crate) fn new(time: Time, switch: Option<Arc<KillSwitch>>) -> Self {
        Self { time, switch }
    }
}

/// Tells the kill switch what became of each run, and defers everything once it is open.
#[derive(Debug)]
pub struct Break<S> {
    inner: S,
    by: BreakLayer,
}

impl<S> Layer<S> for BreakLayer {
    type Service = Break<S>;

    fn layer(&self, inner: S) -> Break<S> {
        Break { inner, by: self.clone() }
    }
}

impl<W: Work, S: Stage<W>> Stage<W> for Break<S> {
    async fn run(&self, work: W) -> W::Reply {
        let Some(switch) = &self.by.switch else { return self.inner.run(work).await };
        if !switch.admits() {
            return W::reply(Outcome::Defer);
        }
        let len = work.len();
        // A panic passes by here and becomes an outcome further out; dropped by a timeout, there is none here either.
        let mut unknown = Unknown { time: &self.by.time, switch, is_known: false };
        let reply = self.inner.run(work).await;
        unknown.is_known = true;
        let now = self.by.time.elapsed();
        W::each(&reply, len, |outcome| switch.note(now, outcome));
        reply
    }
}

/// A run whose outcome is not known: if it never is, it has failed. (Unless the consumer ends; then it does not
/// matter.)
struct Unknown<'a> {
    time: &'a Time,
    switch: &'a KillSwitch,
    is_known: bool,
}

impl Drop for Unknown<'_> {
    fn drop(&mut self) {
        if !self.is_known {
            self.switch.note(self.time.elapsed(), &Outcome::retry("it had no outcome"));
        }
    }
}
