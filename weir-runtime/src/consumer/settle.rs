//! Settling: outcomes become settlements, and those go to the broker many at a time.
//!
//! While one batch is on its way the next one gathers; so a settlement waits for one round trip at most, and a fast
//! handler has few of them. A batch that the broker did not take is sent again until it does: the token makes that
//! safe, since a repeated one settles nothing.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use weir_core::{Broker, Error, ErrorKind, Policy, Settle, Settled, Settlement};

use super::{Scope, Shared};
use crate::metrics::add;
use crate::time::Patience;
use crate::{Outcome, Snooze};

/// So many settlements go together.
pub(crate) const BATCH_MAX: usize = 1_000;
/// With so many waiting, nothing more is read.
pub(crate) const QUEUE_MAX: usize = 10_000;

type Flight = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// What became of a batch.
pub(crate) struct Landed {
    results: Result<Vec<Settled>, Error>,
    /// Whether it was sent once only, so that every answer means what it says.
    is_first: bool,
}

/// The settlements of one subscription.
pub(crate) struct Settler {
    shared: Arc<Shared>,
    scope: Arc<Scope>,
    queue: Vec<Settle>,
    flight: Option<Flight>,
}

impl Settler {
    pub(crate) fn new(shared: Arc<Shared>, scope: Arc<Scope>) -> Self {
        Self { shared, scope, queue: Vec::new(), flight: None }
    }

    pub(crate) fn push(&mut self, settle: Settle) {
        self.queue.push(settle);
    }

    /// Whether nothing more may be read before some of it is settled.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= QUEUE_MAX
    }

    /// Whether a batch is worth sending.
    pub(crate) fn is_ripe(&self) -> bool {
        self.flight.is_none() && self.queue.len() >= BATCH_MAX
    }

    /// Makes failures that are not sent yet into releases: they do not count.
    pub(crate) fn forgive(&mut self) {
        for settle in &mut self.queue {
            if matches!(settle.settlement, Settlement::Nak { .. }) {
                settle.settlement = Settlement::Release { delay: None };
            }
        }
    }

    /// Sends what has gathered, unless something is on its way.
    pub(crate) fn start(&mut self) {
        if self.flight.is_some() || self.queue.is_empty() {
            return;
        }
        let rest = self.queue.split_off(self.queue.len().min(BATCH_MAX));
        let batch = std::mem::replace(&mut self.queue, rest);
        self.flight = Some(Box::pin(send(Arc::clone(&self.shared), Arc::clone(&self.scope), batch)));
    }

    /// Waits for what is on its way; for ever when nothing is. Dropped, it goes on the next time.
    pub(crate) async fn landed(&mut self) -> Landed {
        let landed = poll_fn(|cx| match &mut self.flight {
            Some(flight) => flight.as_mut().poll(cx),
            None => std::task::Poll::Pending,
        })
        .await;
        self.flight = None;
        landed
    }

    /// Waits until everything is settled.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        loop {
            self.start();
            if self.flight.is_none() {
                return Ok(());
            }
            let landed = self.landed().await;
            self.count(landed)?;
        }
    }

    /// Counts what settlements did.
    ///
    /// # Errors
    /// What ends the subscription's hold on the group: [`ErrorKind::NoSuchGroup`], and what ends the engine.
    pub(crate) fn count(&mut self, landed: Landed) -> Result<(), Error> {
        let metrics = &self.shared.metrics;
        let results = landed.results?;
        let count = |wanted| results.iter().filter(|settled| **settled == wanted).count() as u64;
        add(&metrics.dead, count(Settled::DeadLettered));
        if landed.is_first {
            add(&metrics.stale, count(Settled::Stale));
        }
        Ok(())
    }
}

async fn send(shared: Arc<Shared>, scope: Arc<Scope>, batch: Vec<Settle>) -> Landed {
    let (mut patience, mut is_first) = (Patience::new(), true);
    loop {
        match shared.broker.settle(&scope.stream, &scope.group, &batch).await {
            Ok(results) => return Landed { results: Ok(results), is_first },
            Err(error) if ends(&error) || matches!(error.kind(), ErrorKind::Invalid(_)) => {
                shared.note_error(&scope, &error);
                return Landed { results: Err(error), is_first };
            }
            Err(error) => shared.note_error(&scope, &error),
        }
        is_first = false;
        shared.time.sleep(patience.next()).await;
    }
}

/// Whether asking again is in vain.
pub(crate) fn ends(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NoSuchGroup | ErrorKind::Closed | ErrorKind::Faulted)
}

/// What an outcome does to the entry. `is_counted` = failures count; otherwise they are handed back.
pub(crate) fn settlement(shared: &Shared, outcome: Outcome, is_counted: bool) -> Settlement {
    match outcome {
        Outcome::Done | Outcome::Skip => Settlement::Ack,
        Outcome::Defer => Settlement::Release { delay: None },
        Outcome::Dead { class, reason } => {
            Settlement::Term { class: class.as_bytes().to_vec(), reason: reason.as_bytes().to_vec() }
        }
        Outcome::Retry { class, reason, .. } if shared.is_fatal(&class) => {
            Settlement::Term { class: class.as_bytes().to_vec(), reason: reason.as_bytes().to_vec() }
        }
        Outcome::Retry { .. } if !is_counted => Settlement::Release { delay: None },
        Outcome::Retry { after, class, reason } => Settlement::Nak {
            delay: after.filter(|after| *after <= Policy::DELAY_MAX || shared.refuse_delay()),
            class: class.as_bytes().to_vec(),
            reason: reason.as_bytes().to_vec(),
        },
        Outcome::Snooze(snooze) => {
            let wanted = match snooze {
                Snooze::For(duration) => duration,
                Snooze::Until(time) => Duration::from_millis(time.millis_since(shared.time.now())),
            };
            let delay = if wanted > Policy::DELAY_MAX {
                shared.refuse_delay();
                Policy::DELAY_MAX
            } else {
                wanted
            };
            Settlement::Release { delay: Some(delay).filter(|delay| !delay.is_zero()) }
        }
    }
}

/// Hands back everything that a consumer of this group holds, and removes it.
pub(crate) async fn deregister(broker: &dyn Broker, scope: &Scope, consumer: &[u8]) -> Result<(), Error> {
    let fate = weir_core::PendingFate::HandBack;
    broker.delete_consumer(&scope.stream, &scope.group, consumer, fate).await.map(drop)
}
