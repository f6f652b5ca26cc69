//! Handlers, and what middleware is made of.
//!
//! A user writes a [`Handler`] or a [`BatchHandler`], mostly as a closure. Inside, both are a [`Stage`]: something that
//! is given [`Work`] and says what became of it. A middleware is a [`tower::Layer`] that makes a stage of a stage.

use std::future::Future;

use crate::{Batch, Context, Outcome, Outcomes, class};

/// What handles entries one by one.
///
/// ```
/// use weir_runtime::{Context, Handler, Outcome};
///
/// struct Greeter;
///
/// impl Handler for Greeter {
///     async fn handle(&self, context: Context) -> Outcome {
///         match context.text("name") {
///             Some(name) => println!("hello {name}"),
///             None => return Outcome::dead("validation", "no name"),
///         }
///         Outcome::Done
///     }
/// }
/// ```
///
/// A closure does as well: `|context: Context| async move { Outcome::Done }`; it may also answer a `Result<(), E>` with
/// an error that implements [`crate::Classify`].
pub trait Handler: Send + Sync + 'static {
    /// Handles an entry. Dropped before its end on a timeout and at the end of a shutdown's grace.
    fn handle(&self, context: Context) -> impl Future<Output = Outcome> + Send;
}

impl<F, R> Handler for F
where
    F: Fn(Context) -> R + Send + Sync + 'static,
    R: Future<Output: Into<Outcome>> + Send,
{
    async fn handle(&self, context: Context) -> Outcome {
        self(context).await.into()
    }
}

/// What handles several entries together.
pub trait BatchHandler: Send + Sync + 'static {
    /// Handles a batch, and says for each entry what became of it.
    fn handle(&self, batch: Batch) -> impl Future<Output = Outcomes> + Send;
}

impl<F, R> BatchHandler for F
where
    F: Fn(Batch) -> R + Send + Sync + 'static,
    R: Future<Output: Into<Outcomes>> + Send,
{
    async fn handle(&self, batch: Batch) -> Outcomes {
        self(batch).await.into()
    }
}

/// What a stage is given: a [`Context`] or a [`Batch`].
pub trait Work: Send + 'static {
    /// What it answers.
    type Reply: Send + 'static;

    /// An answer of this outcome for everything.
    fn reply(outcome: Outcome) -> Self::Reply;

    /// How many entries it is about.
    fn len(&self) -> usize;

    /// Whether it is about none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first entry's context of trace, if it carries one.
    fn traceparent(&self) -> Option<crate::TraceParent>;

    /// The stream, for people.
    fn stream_name(&self) -> std::borrow::Cow<'_, str>;

    /// The first entry's ID.
    fn first_id(&self) -> weir_core::EntryId;

    /// Calls this with every entry's outcome.
    fn each(reply: &Self::Reply, len: usize, see: impl FnMut(&Outcome));

    /// What is left for the handler when some entries are settled before, by their places; `None` = nothing.
    fn without(self, settled: &[(usize, Outcome)]) -> Option<Self>
    where
        Self: Sized;

    /// The answer for `len` entries, made of the answer for what was left and of what was settled before.
    fn unite(left: Option<Self::Reply>, len: usize, settled: Vec<(usize, Outcome)>) -> Self::Reply;

    /// Its entries.
    fn items(&self) -> impl Iterator<Item = crate::Item<'_>>;
}

impl Work for Context {
    type Reply = Outcome;

    fn reply(outcome: Outcome) -> Outcome {
        outcome
    }

    fn len(&self) -> usize {
        1
    }

    fn traceparent(&self) -> Option<crate::TraceParent> {
        self.item().traceparent()
    }

    fn stream_name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.stream())
    }

    fn first_id(&self) -> weir_core::EntryId {
        self.id()
    }

    fn each(reply: &Outcome, _: usize, mut see: impl FnMut(&Outcome)) {
        see(reply);
    }

    fn without(self, settled: &[(usize, Outcome)]) -> Option<Self> {
        settled.is_empty().then_some(self)
    }

    fn unite(left: Option<Outcome>, _: usize, settled: Vec<(usize, Outcome)>) -> Outcome {
        left.or_else(|| settled.into_iter().next().map(|(_, outcome)| outcome)).unwrap_or(Outcome::Defer)
    }

    fn items(&self) -> impl Iterator<Item = crate::Item<'_>> {
        std::iter::once(self.item())
    }
}

impl Work for Batch {
    type Reply = Outcomes;

    fn reply(outcome: Outcome) -> Outcomes {
        Outcomes::All(outcome)
    }

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn traceparent(&self) -> Option<crate::TraceParent> {
        self.items().next().and_then(|item| item.traceparent())
    }

    fn stream_name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.stream())
    }

    fn first_id(&self) -> weir_core::EntryId {
        self.deliveries().first().map_or(weir_core::EntryId::MIN, |delivery| delivery.entry.id)
    }

    fn each(reply: &Outcomes, len: usize, mut see: impl FnMut(&Outcome)) {
        match reply {
            Outcomes::All(outcome) => (0..len).for_each(|_| see(outcome)),
            Outcomes::Each(outcomes) => outcomes.iter().for_each(see),
        }
    }

    fn without(self, settled: &[(usize, Outcome)]) -> Option<Self> {
        let left = Self::without(self, settled.iter().map(|(place, _)| *place));
        Some(left).filter(|left| !left.is_empty())
    }

    fn unite(left: Option<Outcomes>, len: usize, settled: Vec<(usize, Outcome)>) -> Outcomes {
        if settled.is_empty() {
            return left.unwrap_or(Outcomes::Each(Vec::new()));
        }
        let wanted = len - settled.len();
        let mut left = each_of(left.unwrap_or(Outcomes::Each(Vec::new())), wanted).into_iter();
        let mut settled = settled.into_iter().peekable();
        let united = (0..len).map(|place| match settled.next_if(|(at, _)| *at == place) {
            Some((_, outcome)) => outcome,
            None => left.next().unwrap_or(Outcome::Defer),
        });
        Outcomes::Each(united.collect())
    }

    fn items(&self) -> impl Iterator<Item = crate::Item<'_>> {
        Self::items(self)
    }
}

/// The outcomes one by one. A middleware that gives a wrong number of them defers everything.
pub(crate) fn each_of(outcomes: Outcomes, len: usize) -> Vec<Outcome> {
    match outcomes {
        Outcomes::All(outcome) => vec![outcome; len],
        Outcomes::Each(outcomes) if outcomes.len() == len => outcomes,
        Outcomes::Each(_) => vec![Outcome::Defer; len],
    }
}

/// One stage of handling: a middleware, or the handler itself at the end.
pub trait Stage<W: Work>: Send + Sync + 'static {
    /// Handles work.
    fn run(&self, work: W) -> impl Future<Output = W::Reply> + Send;
}

/// A [`Handler`] as the last stage.
#[derive(Debug)]
pub struct Single<H>(pub(crate) H);

impl<H: Handler> Stage<Context> for Single<H> {
    fn run(&self, context: Context) -> impl Future<Output = Outcome> + Send {
        self.0.handle(context)
    }
}

/// A [`BatchHandler`] as the last stage.
#[derive(Debug)]
pub struct Batched<H>(pub(crate) H);

impl<H: BatchHandler> Stage<Batch> for Batched<H> {
    async fn run(&self, batch: Batch) -> Outcomes {
        let len = batch.len();
        match self.0.handle(batch).await {
            Outcomes::Each(outcomes) if outcomes.len() != len => {
                let reason = format!("the handler gave {} outcomes for {len} entries", outcomes.len());
                Outcomes::All(Outcome::retry_as(class::BATCH, reason))
            }
            outcomes => outcomes,
        }
    }
}
