//! What looks after a subscription while its handlers run: leases, stuck handlers, consumers that are gone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_core::{EntryId, Error, PendingFate, Settle, Settled, Settlement, Token};

use super::{Lot, Scope, Shared};
use crate::metrics::add;

/// How often consumers that are gone are looked for.
pub const REAP_EVERY: Duration = Duration::from_secs(300);
/// How long a consumer without pending entries asked for nothing before it counts as gone.
pub const REAP_AFTER: Duration = Duration::from_secs(600);
/// No lease is looked at more often.
const TICK_MIN: Duration = Duration::from_millis(5);
/// Nor more seldom.
const TICK_MAX: Duration = Duration::from_secs(10);

/// The lots of a subscription that are not settled yet. Their number is bounded by the handlers that run: a new one is
/// read when the one before is in work.
#[derive(Debug, Default)]
pub(crate) struct Lots {
    lots: Mutex<Vec<Arc<Lot>>>,
}

impl Lots {
    pub(crate) fn add(&self, lot: &Arc<Lot>) {
        let mut lots = self.lots();
        if lots.len() >= 16 {
            lots.retain(|lot| !lot.is_settled());
        }
        lots.push(Arc::clone(lot));
    }

    fn lots(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Lot>>> {
        self.lots.lock().expect("nothing panics under this lock")
    }

    fn unsettled(&self) -> Vec<Arc<Lot>> {
        let mut lots = self.lots();
        lots.retain(|lot| !lot.is_settled());
        lots.clone()
    }
}

/// Looks after one subscription until it is dropped.
pub(crate) struct Caretaker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) lots: Arc<Lots>,
    /// The policy's lease; `None` = the group has none, and nothing is extended.
    pub(crate) lease: Option<Duration>,
}

impl Caretaker {
    pub(crate) async fn run(self) {
        let settings = &self.shared.settings;
        let lease_part = self.lease.map_or(TICK_MAX, |lease| lease / 3);
        let tick = lease_part.min(settings.stuck_after / 2).clamp(TICK_MIN, TICK_MAX);
        let (mut reap_at, mut extend_at) = (self.shared.time.elapsed() + REAP_EVERY, Duration::ZERO);
        loop {
            self.shared.time.sleep(tick).await;
            let now = self.shared.time.elapsed();
            let lots = self.lots.unsettled();
            self.report_stuck(&lots, now);
            if now >= extend_at {
                extend_at = now + lease_part;
                self.extend(&lots, now).await;
            }
            if now >= reap_at {
                reap_at = now + REAP_EVERY;
                if let Err(error) = self.reap().await {
                    self.shared.note_error(&self.scope, &error);
                }
            }
        }
    }

    fn report_stuck(&self, lots: &[Arc<Lot>], now: Duration) {
        let Some(since) = now.checked_sub(self.shared.settings.stuck_after) else { return };
        for id in lots.iter().flat_map(|lot| lot.stuck(since)) {
            self.shared.note_stuck(&self.scope, id);
        }
    }

    /// Extends the lease of everything that is held, except what is held too long: that is given up.
    async fn extend(&self, lots: &[Arc<Lot>], now: Duration) {
        let Some(lease) = self.lease else { return };
        let mut held: Vec<(&Arc<Lot>, usize, EntryId, Token)> = Vec::new();
        for lot in lots {
            let is_over = now.saturating_sub(lot.taken_at) + lease / 3 > self.shared.settings.max_lease;
            for (place, id, token) in lot.held() {
                if is_over {
                    self.lose(lot, place, id, "it was held for longer than max_lease");
                } else {
                    held.push((lot, place, id, token));
                }
            }
        }
        if held.is_empty() {
            return;
        }
        let settles: Vec<_> = held
            .iter()
            .map(|(_, _, id, token)| Settle { id: *id, token: Some(*token), settlement: Settlement::Extend })
            .collect();
        let until = weir_core::Timestamp(self.shared.time.now().0 + lease.as_millis() as u64);
        // What the broker refuses is asked again at the next tick.
        match self.shared.broker.settle(&self.scope.stream, &self.scope.group, &settles).await {
            Ok(results) => {
                for ((lot, place, id, _), settled) in held.into_iter().zip(results) {
                    match settled {
                        Settled::Done => {
                            lot.extend(place, until);
                            add(&self.shared.metrics.extended, 1);
                        }
                        Settled::Stale | Settled::NotPending | Settled::DeadLettered => {
                            self.lose(lot, place, id, "somebody else has it");
                        }
                    }
                }
            }
            Err(error) => self.shared.note_error(&self.scope, &error),
        }
    }

    fn lose(&self, lot: &Lot, place: usize, id: EntryId, why: &str) {
        if lot.lose(place) {
            add(&self.shared.metrics.lost, 1);
            let stream = String::from_utf8_lossy(&self.scope.stream);
            tracing::warn!(%stream, %id, why, "the lease of an entry is lost; its outcome will not count");
        }
    }

    /// Removes consumers that asked for nothing for long and hold nothing.
    async fn reap(&self) -> Result<(), Error> {
        let (stream, group) = (&self.scope.stream, &self.scope.group);
        for consumer in self.shared.broker.consumers(stream, group).await? {
            let is_gone = consumer.pending == 0 && consumer.idle >= REAP_AFTER;
            if is_gone && consumer.name != self.shared.settings.consumer {
                // Should it come back in this very moment, what it is given is handed back and not lost.
                self.shared
                    .broker
                    .delete_consumer(stream, group, &consumer.name, PendingFate::HandBack)
                    .await?;
                add(&self.shared.metrics.reaped, 1);
            }
        }
        Ok(())
    }
}
