//! From what was read to runs of the handler: cutting work off, immediate retries, watching the thread.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use weir_core::{Delivery, first_value};

use super::{Lot, Shared, Standing};
use crate::handler::each_of;
use crate::{Batch, Context, Outcome, Outcomes, Stage, Time, Work};

/// What was read and is not in work yet, lowest ID first.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    deliveries: VecDeque<(usize, Delivery)>,
    lot: Option<Arc<Lot>>,
}

impl Hand {
    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Takes in what was read; the hand was empty.
    pub(crate) fn fill(&mut self, deliveries: Vec<Delivery>, lot: Arc<Lot>) {
        assert!(self.deliveries.is_empty(), "only an empty hand is filled");
        self.deliveries = deliveries.into_iter().enumerate().collect();
        self.lot = Some(lot);
    }

    /// The next entry that may run and was not lost meanwhile.
    fn next(&mut self, may_run: impl Fn(&Delivery) -> bool) -> Option<(Arc<Lot>, usize, Delivery)> {
        let lot = self.lot.as_ref()?;
        let mut at = 0;
        while let Some((place, delivery)) = self.deliveries.get(at) {
            if lot.standing(*place) == Standing::Lost {
                self.deliveries.remove(at);
            } else if may_run(delivery) {
                let (place, delivery) = self.deliveries.remove(at)?;
                return lot
                    .begin(place)
                    .then(|| (Arc::clone(lot), place, delivery))
                    .or_else(|| self.next(may_run));
            } else {
                at += 1;
            }
        }
        None
    }

    /// Gives up everything: what is still ours, to be handed back.
    pub(crate) fn give_up(&mut self) -> Vec<Delivery> {
        let Some(lot) = self.lot.take() else { return Vec::new() };
        let ours = self.deliveries.drain(..).filter(|(place, _)| lot.finish(*place));
        ours.map(|(_, delivery)| delivery).collect()
    }
}

/// Work that is cut off and runs, or is about to.
#[derive(Debug)]
pub(crate) struct Cut<W> {
    pub(crate) work: W,
    pub(crate) lot: Arc<Lot>,
    pub(crate) places: Range<usize>,
}

/// Kinds of work: one entry, or a batch.
pub(crate) trait Unit: Work + Clone {
    /// Whether it may be several entries.
    const IS_BATCH: bool;

    /// Cuts the next piece off.
    fn cut(hand: &mut Hand, may_run: impl Fn(&Delivery) -> bool) -> Option<Cut<Self>>;

    /// How many entries to read at a time, given what the pace says.
    fn count(shared: &Shared, paced: u64) -> u64;

    /// The same for another run, of the entries at these places of it.
    fn again(self, retried: &[usize]) -> Self;

    /// The outcomes one by one.
    fn outcomes(reply: Self::Reply, len: usize) -> Vec<Outcome>;

    /// The other way round.
    fn reply_of(outcomes: Vec<Outcome>) -> Self::Reply;

    /// Calls this with every outcome.
    fn each_owned(reply: Self::Reply, len: usize, see: impl FnMut(usize, Outcome));
}

impl Unit for Context {
    const IS_BATCH: bool = false;

    fn cut(hand: &mut Hand, may_run: impl Fn(&Delivery) -> bool) -> Option<Cut<Self>> {
        let (lot, place, delivery) = hand.next(may_run)?;
        let work = Self::new(delivery, Arc::clone(&lot), place, 1);
        Some(Cut { work, lot, places: place..place + 1 })
    }

    fn count(_: &Shared, paced: u64) -> u64 {
        paced
    }

    fn again(self, _: &[usize]) -> Self {
        self.next_run()
    }

    fn outcomes(reply: Outcome, _: usize) -> Vec<Outcome> {
        vec![reply]
    }

    fn reply_of(outcomes: Vec<Outcome>) -> Outcome {
        outcomes.into_iter().next().unwrap_or(Outcome::Defer)
    }

    fn each_owned(reply: Outcome, _: usize, mut see: impl FnMut(usize, Outcome)) {
        see(0, reply);
    }
}

impl Unit for Batch {
    const IS_BATCH: bool = true;

    /// A batch is what one read gave, without what was lost meanwhile. (What is lost before the batch begins is part of
    /// it all the same, and its outcome is refused: it saves a place for each entry.)
    fn cut(hand: &mut Hand, _: impl Fn(&Delivery) -> bool) -> Option<Cut<Self>> {
        let lot = hand.lot.take()?;
        let deliveries: Vec<_> = hand.deliveries.drain(..).map(|(_, delivery)| delivery).collect();
        let places = 0..deliveries.len();
        places.clone().for_each(|place| {
            lot.begin(place);
        });
        (!deliveries.is_empty()).then(|| Cut {
            work: Self::new(deliveries, Arc::clone(&lot), 1),
            lot,
            places,
        })
    }

    fn count(shared: &Shared, _: u64) -> u64 {
        shared.settings.batch_max
    }

    fn again(self, retried: &[usize]) -> Self {
        let mut retried = retried.iter().peekable();
        let others: Vec<_> = (0..self.len()).filter(|place| retried.next_if_eq(&place).is_none()).collect();
        self.without(others.into_iter()).next_run()
    }

    fn outcomes(reply: Outcomes, len: usize) -> Vec<Outcome> {
        each_of(reply, len)
    }

    fn reply_of(outcomes: Vec<Outcome>) -> Outcomes {
        Outcomes::Each(outcomes)
    }

    fn each_owned(reply: Outcomes, len: usize, mut see: impl FnMut(usize, Outcome)) {
        match reply {
            Outcomes::All(outcome) => (0..len).for_each(|place| see(place, outcome.clone())),
            each => {
                each_of(each, len).into_iter().enumerate().for_each(|(place, outcome)| see(place, outcome))
            }
        }
    }
}

/// The value that orders an entry within this process.
pub(crate) fn order_key<'d>(shared: &Shared, delivery: &'d Delivery) -> Option<&'d [u8]> {
    shared.settings.order_by.as_ref().and_then(|field| first_value(&delivery.entry.fields, field))
}

/// Runs the handler, and again for failures that have immediate retries left.
pub(crate) async fn run<W: Unit, S: Stage<W>>(shared: &Shared, stage: &S, cut: Cut<W>) -> W::Reply {
    let Cut { work, lot, places } = cut;
    let watched = Watched { time: &shared.time, lot: &lot, place: places.start };
    if shared.settings.immediate == 0 {
        return watched.poll(stage.run(work)).await;
    }
    let len = work.len();
    let mut kept = work.clone();
    let mut outcomes = W::outcomes(watched.poll(stage.run(work)).await, len);
    // Which places of the whole the kept ones have.
    let mut kept_places: Vec<usize> = (0..len).collect();
    for _ in 0..shared.settings.immediate {
        let again: Vec<usize> =
            (0..kept_places.len()).filter(|at| is_immediate(shared, &outcomes[kept_places[*at]])).collect();
        if again.is_empty() || lot.is_cancelled(places.start) || shared.is_switched_off() {
            break;
        }
        kept = kept.again(&again);
        kept_places = again.iter().map(|at| kept_places[*at]).collect();
        let reply = watched.poll(stage.run(kept.clone())).await;
        for (place, outcome) in kept_places.iter().zip(W::outcomes(reply, kept_places.len())) {
            outcomes[*place] = outcome;
        }
    }
    W::reply_of(outcomes)
}

fn is_immediate(shared: &Shared, outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Retry { after: None, class, .. } if !shared.is_fatal(class))
}

/// Says when a handler has the thread, for the stuck detector.
struct Watched<'a> {
    time: &'a Time,
    lot: &'a Lot,
    place: usize,
}

impl Watched<'_> {
    async fn poll<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.lot.poll_begins(self.place, self.time.elapsed());
            let polled = future.as_mut().poll(cx);
            self.lot.poll_ends(self.place);
            polled
        })
        .await
    }
}
