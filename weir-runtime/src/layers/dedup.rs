//! What is marked is not handled again.

use std::collections::HashSet;
use std::sync::Arc;

use tower::Layer;
use weir_core::Error;

use crate::marks::PATIENCE;
use crate::metrics::Metrics;
use crate::{Item, Mark, MarkStore, Outcome, Stage, Time, Work};

/// Makes [`Dedup`].
#[derive(Clone)]
pub struct DedupLayer {
    time: Time,
    metrics: Arc<Metrics>,
    marks: Option<Arc<dyn MarkStore>>,
    field: Option<Vec<u8>>,
}

impl std::fmt::Debug for DedupLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DedupLayer").field("field", &self.field).finish_non_exhaustive()
    }
}

impl DedupLayer {
    pub(crate) fn new(
        time: Time,
        metrics: Arc<Metrics>,
        marks: Option<Arc<dyn MarkStore>>,
        field: Option<Vec<u8>>,
    ) -> Self {
        Self { time, metrics, marks, field }
    }
}

/// Asks the mark store before a run, and marks what was done after it.
#[derive(Debug)]
pub struct Dedup<S> {
    inner: S,
    by: DedupLayer,
}

impl<S> Layer<S> for DedupLayer {
    type Service = Dedup<S>;

    fn layer(&self, inner: S) -> Dedup<S> {
        Dedup { inner, by: self.clone() }
    }
}

impl DedupLayer {
    fn mark_of(&self, item: &Item<'_>) -> Mark {
        let key = self.field.as_ref().and_then(|field| item.field(field));
        key.map_or_else(|| item.mark(), |key| Mark::of_key(item.group(), key))
    }

    /// Which of the marks are set, by place. What is in a batch twice is deferred the second time: it comes again when it
    /// is known what became of the first.
    async fn set(&self, store: &dyn MarkStore, marks: &[Mark]) -> Result<Vec<(usize, Outcome)>, Error> {
        let (mut set, mut seen) = (Vec::new(), HashSet::new());
        for (place, mark) in marks.iter().enumerate() {
            if store.is_marked(mark).await? {
                self.metrics.duplicate();
                set.push((place, Outcome::Done));
            } else if !seen.insert(mark) {
                set.push((place, Outcome::Defer));
            }
        }
        Ok(set)
    }

    async fn mark_done(&self, store: &dyn MarkStore, marks: &[Mark], done: &[bool]) -> Result<(), Error> {
        for (mark, _) in marks.iter().zip(done).filter(|(_, is_done)| **is_done) {
            store.mark(mark).await?;
        }
        Ok(())
    }

    async fn patiently<T>(&self, ask: impl Future<Output = Result<T, Error>>) -> Result<T, Outcome> {
        match self.time.within(PATIENCE, ask).await {
            Some(answer) => answer.map_err(Outcome::from),
            None => Err(Outcome::retry_as("marks", "the mark store does not answer")),
        }
    }
}

impl<W: Work, S: Stage<W>> Stage<W> for Dedup<S> {
    async fn run(&self, work: W) -> W::Reply {
        let Some(store) = &self.by.marks else { return self.inner.run(work).await };
        let (len, marks): (_, Vec<_>) =
            (work.len(), work.items().map(|item| self.by.mark_of(&item)).collect());
        let set = match self.by.patiently(self.by.set(&**store, &marks)).await {
            Ok(set) => set,
            Err(outcome) => return W::reply(outcome),
        };
        let left = match work.without(&set) {
            Some(left) => Some(self.inner.run(left).await),
            None => None,
        };
        let mut done = Vec::with_capacity(len);
        let reply = W::unite(left, len, set.clone());
        W::each(&reply, len, |outcome| done.push(*outcome == Outcome::Done));
        set.iter().for_each(|(place, _)| done[*place] = false);
        // What was done and cannot be marked is acknowledged all the same: to retry it would repeat it for certain.
        if let Err(why) = self.by.patiently(self.by.mark_done(&**store, &marks, &done)).await {
            tracing::warn!(?why, "an entry that was handled could not be marked");
        }
        reply
    }
}
