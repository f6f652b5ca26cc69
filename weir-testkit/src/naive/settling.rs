//! Settling what was given out.

use std::time::Duration;

use weir_core::{EntryId, Error, ErrorKind, Failure, Policy, Settle, Settled, Settlement, Timestamp};

use super::millis;
use super::space::{Place, Row, Space};

impl Space {
    pub(super) fn settle(
        &mut self,
        stream: &[u8],
        group: &[u8],
        settlements: &[Settle],
    ) -> Result<Vec<Settled>, Error> {
        let delays = settlements.iter().filter_map(|settle| match settle.settlement {
            Settlement::Nak { delay, .. } | Settlement::Release { delay } => delay,
            _ => None,
        });
        if delays.max().is_some_and(|longest| longest > Policy::DELAY_MAX) {
            return Err(Error::new(ErrorKind::Invalid("a delay is at most 24 hours")));
        }
        self.group(stream, group)?;
        settlements.iter().map(|settle| self.settle_one(stream, group, settle)).collect()
    }

    fn settle_one(&mut self, stream: &[u8], group: &[u8], settle: &Settle) -> Result<Settled, Error> {
        let Settle { id, token, settlement } = settle;
        let now = self.now.steady;
        let of = self.group_mut(stream, group)?;
        let Some(row) = of.rows.get_mut(id) else { return Ok(Settled::NotPending) };
        let is_current =
            token.is_none_or(|token| matches!(row.place, Place::Held { token: held, .. } if held == token));
        if !is_current {
            of.stale += 1;
            return Ok(Settled::Stale);
        }
        match settlement {
            Settlement::Ack => {
                of.take_off(*id);
                of.drain(now);
            }
            Settlement::Extend => {
                let Place::Held { since, .. } = &mut row.place else { return Ok(Settled::Stale) };
                *since = now;
            }
            Settlement::Release { delay } => {
                row.deliveries = row.deliveries.saturating_sub(1);
                row.set_aside(now, delay.map_or(0, millis));
            }
            Settlement::Nak { delay, class, reason } => {
                let failure = failed(class, reason, now);
                row.fail(failure.clone(), of.policy.reset_on_class);
                if row.has_failed_for_good(&of.policy, now) {
                    self.bury(stream, group, *id, failure);
                    return Ok(Settled::DeadLettered);
                }
                let wait = wait_after(&of.policy, *id, row.failures, *delay);
                row.set_aside(now, wait);
            }
            Settlement::Term { class, reason } => {
                let failure = failed(class, reason, now);
                row.fail(failure.clone(), of.policy.reset_on_class);
                self.bury(stream, group, *id, failure);
                return Ok(Settled::DeadLettered);
            }
        }
        self.changes += 1;
        Ok(Settled::Done)
    }
}

fn failed(class: &[u8], reason: &[u8], at: Timestamp) -> Failure {
    let cut = |text: &[u8], most: usize| text[..text.len().min(most)].to_vec();
    Failure { class: cut(class, Failure::CLASS_MAX), reason: cut(reason, Failure::REASON_MAX), at }
}

/// Milliseconds until a failed entry comes again.
fn wait_after(policy: &Policy, id: EntryId, failures: u64, asked: Option<Duration>) -> u64 {
    let failures = u32::try_from(failures).unwrap_or(u32::MAX);
    asked.map_or_else(|| policy.backoff.delay_millis(id, failures), millis)
}

impl Row {
    /// Counts a failure.
    fn fail(&mut self, failure: Failure, reset_on_class: bool) {
        let is_other = self.last_failure.as_ref().is_some_and(|last| last.class != failure.class);
        if reset_on_class && is_other {
            self.failures = 0;
            self.first_failure = None;
        }
        self.failures += 1;
        self.first_failure.get_or_insert_with(|| failure.clone());
        self.last_failure = Some(failure);
    }

    fn has_failed_for_good(&self, policy: &Policy, now: Timestamp) -> bool {
        let first = self.first_failure.as_ref().map_or(now, |first| first.at);
        let is_late = |limit| now.millis_since(first) > millis(limit);
        self.failures >= u64::from(policy.failures_max) || policy.retry_for_max.is_some_and(is_late)
    }

    /// Hands it back for later; what waits for an earlier entry goes on waiting.
    fn set_aside(&mut self, now: Timestamp, wait: u64) {
        if !self.is_waiting() {
            let from = if wait == 0 { 0 } else { now.0.saturating_add(wait) };
            self.place = Place::Free { from: Timestamp(from) };
        }
    }
}
