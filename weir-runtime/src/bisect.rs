//! Batches for sinks that only say whether all of it went well.

use std::future::Future;
use std::pin::Pin;

use crate::{Batch, BatchHandler, Classify, Outcome, Outcomes};

/// What takes a batch as a whole, and does not say which entry it was that it refused. A refused batch must have had no
/// effect, or one that may be repeated.
pub trait Sink: Send + Sync + 'static {
    /// Why it refuses.
    type Error: Classify + Send;

    /// Takes all entries or none.
    ///
    /// # Errors
    /// What the sink says.
    fn write(&self, batch: &Batch) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A batch handler of a [`Sink`]: a batch that is refused is halved until the refused entries stand alone. For `bad`
/// entries in a batch of `n` that is about `2 × bad × log2 n` writes.
#[derive(Debug, Clone)]
pub struct Bisect<S>(pub S);

impl<S: Sink> BatchHandler for Bisect<S> {
    async fn handle(&self, batch: Batch) -> Outcomes {
        let mut outcomes = Vec::with_capacity(batch.len());
        self.write(batch, &mut outcomes).await;
        Outcomes::Each(outcomes)
    }
}

impl<S: Sink> Bisect<S> {
    fn write<'a>(
        &'a self,
        batch: Batch,
        outcomes: &'a mut Vec<Outcome>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let written = self.0.write(&batch).await;
            match (written, batch.len()) {
                (Ok(()), len) => outcomes.extend(std::iter::repeat_n(Outcome::Done, len)),
                (Err(error), 0 | 1) => outcomes.push(error.into()),
                (Err(_), len) => {
                    let (left, right) = batch.split(len / 2);
                    self.write(left, outcomes).await;
                    self.write(right, outcomes).await;
                }
            }
        })
    }
}
