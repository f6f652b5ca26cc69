//! Settling what was given out, rows as they are and as they were elsewhere, and moving a group.
//!
//! A batch is settled one by one, in order, in one transaction of the log; what follows each other and is of one kind
//! shares a record.

use std::collections::HashMap;
use std::time::Duration;

use weir_core::{
    EntryId, ErrorKind, Failure, PendingQuery, PendingRow, PendingState, PendingSummary, Policy, RestoredRow,
    Seek, SeekTo, Settle, Settled, Settlement, Sought, Timestamp,
};

use crate::ahead::{Colds, gather};
use crate::api::{EntryRef, Halt, KeyRef, ReadFrom};
use crate::core::{Core, Found};
use crate::counters;
use crate::dead::{Letters, unheld_row};
use crate::giving::judge;
use crate::group::{Extra, Group, NO_CONSUMER, PendingEntry};
use crate::policy::millis;
use crate::reading::ROWS_PER_RECORD;
use crate::record::{GroupRef, PlacedRow, Record, ReturnedRow};
use crate::stream::Span;

/// Rows that are put back in one record: they may carry names.
const PLACED_PER_RECORD: usize = 200;

/// What is to be done with one row.
enum Fate {
    Acknowledge,
    Extend,
    HandBack(ReturnedRow),
    Bury(u32, Failure),
    Nothing(Settled),
}

/// Settlements of one kind that were not written yet.
#[derive(Default)]
struct Run {
    acknowledged: Vec<EntryId>,
    /// The highest of these.
    highest: Option<EntryId>,
    extended: Vec<EntryId>,
}

impl Run {
    fn has_acknowledged(&self, id: EntryId) -> bool {
        // Ascending IDs, the usual case, need no search.
        self.highest.is_some_and(|highest| id <= highest) && self.acknowledged.contains(&id)
    }

    fn acknowledge(&mut self, id: EntryId) {
        self.acknowledged.push(id);
        self.highest = self.highest.max(Some(id));
    }
}

impl Core {
    /// Settles deliveries, one after the other; answers what each did.
    ///
    /// # Errors
    /// As [`weir_core::Deliveries::settle`].
    pub fn settle(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        settlements: &[Settle],
    ) -> Result<Vec<Settled>, Halt> {
        let delays = settlements.iter().filter_map(|settle| match settle.settlement {
            Settlement::Nak { delay, .. } | Settlement::Release { delay } => delay,
            _ => None,
        });
        if delays.max().is_some_and(|longest| longest > Policy::DELAY_MAX) {
            return Err(ErrorKind::Invalid("a delay is at most 24 hours").into());
        }
        let (found, at) = self.find_group(key, group)?;
        self.check_writable(false)?;
        let buried = self.may_be_buried(found, at, settlements)?;
        let places: HashMap<EntryId, EntryRef> = buried.iter().map(|entry| (entry.id, *entry)).collect();
        let letters = self.letters_for(key, group, &buried)?;
        self.tie();
        let settled = self.settle_each((key, found, at), letters.as_ref(), &places, settlements);
        self.untie();
        if self.group(found, at).pending.unheld_len() > 0 {
            // Something may be ready, or will be at another time than those who wait know.
            self.signal(key);
        }
        settled
    }

    fn settle_each(
        &mut self,
        (key, found, at): (KeyRef<'_>, Found, GroupRef),
        letters: Option<&Letters>,
        places: &HashMap<EntryId, EntryRef>,
        settlements: &[Settle],
    ) -> Result<Vec<Settled>, Halt> {
        let (mut run, mut stale) = (Run::default(), 0);
        let mut answers = Vec::with_capacity(settlements.len());
        for settle in settlements {
            if run.has_acknowledged(settle.id) {
                answers.push(Settled::NotPending);
                continue;
            }
            let fate = decide(self.group(found, at), at.key, settle, self.steady().0);
            match &fate {
                Fate::Acknowledge if run.extended.is_empty() => {}
                Fate::Extend if run.acknowledged.is_empty() => {}
                Fate::Nothing(_) => {}
                _ => self.write_run(found, at, &mut run),
            }
            answers.push(match fate {
                Fate::Acknowledge => {
                    run.acknowledge(settle.id);
                    Settled::Done
                }
                Fate::Extend => {
                    run.extended.push(settle.id);
                    Settled::Done
                }
                Fate::HandBack(row) => {
                    self.commit_to(found, &Record::HandBack { at, rows: vec![row] });
                    Settled::Done
                }
                Fate::Bury(failures, failure) => {
                    let entry = places.get(&settle.id).copied().unwrap_or(EntryRef::gone(settle.id));
                    if let Some(letters) = letters {
                        self.bury((key, found, at), letters, settle.id, (entry, failures, failure))?;
                    }
                    Settled::DeadLettered
                }
                Fate::Nothing(settled) => {
                    stale += u64::from(settled == Settled::Stale && settle.token.is_some());
                    settled
                }
            });
        }
        self.write_run(found, at, &mut run);
        if stale > 0 {
            self.commit_to(found, &Record::Stale { at, count: stale });
        }
        Ok(answers)
    }

    fn write_run(&mut self, found: Found, at: GroupRef, run: &mut Run) {
        self.drained(found, at, run.acknowledged.len() as u64);
        self.acknowledge(found, at, std::mem::take(&mut run.acknowledged));
        run.highest = None;
        let (extended, time) = (std::mem::take(&mut run.extended), self.steady().0);
        for part in extended.chunks(ROWS_PER_RECORD) {
            self.commit_to(found, &Record::Extend { at, time, ids: part.to_vec() });
        }
    }

    /// The entries that a batch may make dead letters, each looked up and read before.
    fn may_be_buried(
        &self,
        found: Found,
        at: GroupRef,
        settlements: &[Settle],
    ) -> Result<Vec<EntryRef>, Halt> {
        let (stream, group) = (self.stream(found), self.group(found, at));
        let Some(policy) = group.policy() else { return Ok(Vec::new()) };
        // Mostly each is named once.
        let mut named: HashMap<EntryId, u32> = HashMap::with_capacity(settlements.len());
        for settle in settlements {
            *named.entry(settle.id).or_default() += 1;
        }
        let may_be = |settle: &&Settle| {
            group.pending.get(settle.id).is_some()
                && match settle.settlement {
                    Settlement::Term { .. } => true,
                    Settlement::Nak { .. } => {
                        let failures = group.pending.extra(settle.id).failures;
                        let more = named.get(&settle.id).copied().unwrap_or(1);
                        failures.saturating_add(more) >= policy.failures_max || policy.retry_for_max.is_some()
                    }
                    _ => false,
                }
        };
        let (mut entries, mut colds) = (Vec::new(), Colds::default());
        for settle in settlements.iter().filter(may_be) {
            let cold = match stream.find(&self.blocks, settle.id) {
                Ok(None) => {
                    entries.push(EntryRef::gone(settle.id));
                    continue;
                }
                Ok(Some(entry)) => match self.with_record(entry.lsn, |_| ()) {
                    Ok(()) => {
                        entries.push(entry.into());
                        continue;
                    }
                    Err(Halt::Cold(cold)) => cold,
                    Err(halt) => return Err(halt),
                },
                Err(cold) => cold,
            };
            if !colds.note(cold) {
                break;
            }
        }
        colds.end()?;
        Ok(entries)
    }

    // ---- rows as they are --------------------------------------------------------------------------------------

    /// Rows of the pending list with their states, by ID.
    ///
    /// # Errors
    /// As [`weir_core::Deliveries::pending`].
    pub fn pending_states(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        query: &PendingQuery,
    ) -> Result<Vec<PendingRow>, Halt> {
        let (found, at) = self.find_group(key, group)?;
        let now = self.steady().0;
        self.group_mut(found, at).pending.ripen(now);
        let group = self.group(found, at);
        let idle_min = query.idle_min.map(millis);
        let is_meant =
            |row: &PendingEntry| idle_min.is_none_or(|least| row.idle(now).is_some_and(|idle| idle >= least));
        let most = usize::try_from(query.count).unwrap_or(usize::MAX).min(self.options.limits.reply_entries);
        let state = |row: PendingEntry| state_of(group, &row, now);
        Ok(match &query.consumer {
            None => {
                let rows = group.pending.from(query.start).take_while(|row| row.id <= query.end);
                rows.filter(is_meant).take(most).map(state).collect()
            }
            Some(name) => {
                let own = group.consumer_no(name).and_then(|no| group.consumer(no));
                let ids = own.into_iter().flat_map(|own| own.pending.iter_from(|id| *id >= query.start));
                let rows = ids.take_while(|id| **id <= query.end).filter_map(|id| group.pending.get(*id));
                rows.filter(is_meant).take(most).map(state).collect()
            }
        })
    }

    /// What a group has pending, in short.
    ///
    /// # Errors
    /// As [`weir_core::Deliveries::pending_summary`].
    pub fn pending_in_short(&mut self, key: KeyRef<'_>, group: &[u8]) -> Result<PendingSummary, Halt> {
        let summary = self.pending_summary(key, group)?;
        Ok(PendingSummary {
            count: summary.count,
            bounds: summary.bounds,
            consumers: summary.consumers.into_iter().map(|(name, held)| (name.into_vec(), held)).collect(),
        })
    }

    /// Puts rows on the pending list as they were elsewhere; answers how many.
    ///
    /// # Errors
    /// As [`weir_core::Deliveries::restore_pending`]; [`ErrorKind::LimitReached`] when the group would have too much
    /// pending or too many consumers.
    pub fn restore_pending(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        rows: &[RestoredRow],
    ) -> Result<u64, Halt> {
        let (found, at) = self.find_group(key, group)?;
        let (stream, own) = (self.stream(found), self.group(found, at));
        let places = gather(rows.iter().map(|row| stream.find(&self.blocks, row.id)))?;
        let mut kept = Vec::with_capacity(rows.len());
        let mut colds = Colds::default();
        for (row, place) in rows.iter().zip(places) {
            let Some(place) = place.filter(|_| row.id <= own.last_id) else { continue };
            let ordered = own.policy().filter(|policy| policy.key.is_some());
            let order = |record: Option<&crate::record::EntryRecord<'_>>| {
                ordered.map_or(0, |policy| {
                    judge(&Policy { filter: None, ..policy.clone() }, record).unwrap_or(0)
                })
            };
            match if ordered.is_some() { self.with_record(place.lsn, order) } else { Ok(0) } {
                Ok(order) => kept.push((row, order)),
                Err(Halt::Cold(cold)) => {
                    if !colds.note(cold) {
                        break;
                    }
                }
                Err(halt) => return Err(halt),
            }
            if let Some(consumer) = &row.consumer {
                self.check_consumer(own, consumer)?;
            }
        }
        colds.end()?;
        self.check_pending(own, kept.len())?;
        self.check_writable(true)?;
        self.tie();
        let rows: Vec<PlacedRow> =
            kept.iter().map(|(row, order)| self.placed((key, found, at), row, *order)).collect();
        for part in rows.chunks(PLACED_PER_RECORD) {
            self.commit_to(found, &Record::Place { at, fresh: false, rows: part.to_vec() });
        }
        self.untie();
        self.signal(key);
        Ok(rows.len() as u64)
    }

    fn placed(
        &mut self,
        (key, found, at): (KeyRef<'_>, Found, GroupRef),
        row: &RestoredRow,
        order: u64,
    ) -> PlacedRow {
        let now = self.steady().0;
        let consumer =
            row.consumer.as_ref().map_or(NO_CONSUMER, |name| self.consumer_or_new(key, found, at, name));
        PlacedRow {
            consumer,
            time: now.saturating_sub(millis(row.idle)),
            deliveries: i64::try_from(row.deliveries).unwrap_or(i64::MAX),
            failures: u32::try_from(row.failures).unwrap_or(u32::MAX),
            until: until(now, row.delay.map_or(0, millis)),
            key: order,
            ..unheld_row(row.id)
        }
    }

    // ---- moving ------------------------------------------------------------------------------------------------

    /// Moves a group, or says what would happen.
    ///
    /// # Errors
    /// As [`weir_core::Groups::seek`].
    pub fn seek(&mut self, key: KeyRef<'_>, group: &[u8], options: &Seek) -> Result<Sought, Halt> {
        let (found, at) = self.find_group(key, group)?;
        let from = self.group(found, at).last_id;
        let to = self.sought(found, from, options.to)?;
        let group = self.group(found, at);
        let dropped = to.next().map_or(0, |above| group.pending.from(above).count() as u64);
        if !options.dry_run {
            self.check_writable(true)?;
            let entries_read = counters::estimate(self.stream(found), to);
            self.commit_to(found, &Record::GroupSeek { at, last_id: to, entries_read });
            self.signal(key);
        }
        Ok(Sought { from, to, dropped })
    }

    fn sought(&self, found: Found, from: EntryId, to: SeekTo) -> Result<EntryId, Halt> {
        let stream = self.stream(found);
        Ok(match to {
            SeekTo::Start => EntryId::MIN,
            SeekTo::End => stream.last_id,
            SeekTo::After(id) => id.min(stream.last_id),
            SeekTo::Time(at) => self
                .place_of(found, ReadFrom::Time(at.0))?
                .map_or(stream.last_id, |after| after.min(stream.last_id)),
            SeekTo::Skip(0) => from,
            SeekTo::Skip(count) => {
                let Some(next) = from.next() else { return Ok(from) };
                let span = Span { from: next, to: EntryId::MAX, most: count };
                let skipped = self.entries_alone(found, span, false)?;
                let last = skipped.last().filter(|_| skipped.len() as u64 == count);
                last.map_or(stream.last_id.max(from), |entry| entry.id)
            }
        })
    }
}

/// What becomes of one row.
fn decide(group: &Group, key: u64, settle: &Settle, now: u64) -> Fate {
    let Some(row) = group.pending.get(settle.id) else { return Fate::Nothing(Settled::NotPending) };
    let is_held = row.consumer != NO_CONSUMER;
    if settle.token.is_some_and(|token| !is_held || token.0 != group.token(key, &row)) {
        return Fate::Nothing(Settled::Stale);
    }
    let extra = group.pending.extra(row.id);
    let returned = |deliveries, wait, failed: Option<(u32, Failure)>| {
        let (failures, failure) = failed.unzip();
        Fate::HandBack(ReturnedRow { id: row.id, deliveries, failures, until: until(now, wait), failure })
    };
    match &settle.settlement {
        Settlement::Ack => Fate::Acknowledge,
        Settlement::Extend if is_held => Fate::Extend,
        Settlement::Extend => Fate::Nothing(Settled::Stale),
        Settlement::Release { delay } => {
            returned(row.deliveries.saturating_sub(1).max(0), delay.map_or(0, millis), None)
        }
        Settlement::Nak { delay, class, reason } => {
            let (failures, failure) = failed(group, &extra, row.id, (class, reason), now);
            if group.policy().is_some_and(|policy| is_final(group, policy, row.id, failures, now)) {
                return Fate::Bury(failures, failure);
            }
            let wait = delay.map_or_else(
                || group.policy().map_or(0, |policy| policy.backoff.delay_millis(row.id, failures)),
                millis,
            );
            returned(row.deliveries, wait, Some((failures, failure)))
        }
        Settlement::Term { .. } if group.policy().is_none() => Fate::Acknowledge,
        Settlement::Term { class, reason } => {
            let (failures, failure) = failed(group, &extra, row.id, (class, reason), now);
            Fate::Bury(failures, failure)
        }
    }
}

/// The count of failures with one more, and that one.
fn failed(
    group: &Group,
    extra: &Extra,
    id: EntryId,
    (class, reason): (&[u8], &[u8]),
    now: u64,
) -> (u32, Failure) {
    let cut = |text: &[u8], most: usize| text[..text.len().min(most)].to_vec();
    let failure = Failure {
        class: cut(class, Failure::CLASS_MAX),
        reason: cut(reason, Failure::REASON_MAX),
        at: Timestamp(now),
    };
    let resets = group.policy().is_some_and(|policy| policy.reset_on_class);
    let is_other = group.pending.failed(id).is_some_and(|failed| failed.last.class != failure.class);
    let before = if resets && is_other { 0 } else { extra.failures };
    (before.saturating_add(1), failure)
}

/// Whether a failure makes a dead letter.
fn is_final(group: &Group, policy: &Policy, id: EntryId, failures: u32, now: u64) -> bool {
    let first = group.pending.failed(id).filter(|_| failures > 1).map_or(now, |failed| failed.first.at.0);
    let is_late = |limit: Duration| now.saturating_sub(first) > millis(limit);
    failures >= policy.failures_max || policy.retry_for_max.is_some_and(is_late)
}

/// When a wait is over; 0 = there is none.
fn until(now: u64, wait: u64) -> u64 {
    if wait == 0 { 0 } else { now.saturating_add(wait) }
}

fn state_of(group: &Group, row: &PendingEntry, now: u64) -> PendingRow {
    let extra = group.pending.extra(row.id);
    let state = match extra {
        _ if row.consumer != NO_CONSUMER => PendingState::InFlight,
        Extra { waiting: true, .. } => PendingState::Waiting,
        Extra { not_before, .. } if not_before > now => {
            PendingState::Delayed { until: Timestamp(not_before) }
        }
        _ => PendingState::Ready,
    };
    PendingRow {
        id: row.id,
        consumer: (row.consumer != NO_CONSUMER).then(|| group.consumer_name(row.consumer).to_vec()),
        state,
        idle: Duration::from_millis(row.idle(now).unwrap_or(0)),
        deliveries: u64::try_from(row.deliveries).unwrap_or(0),
        failures: u64::from(extra.failures),
        last_failure: group.pending.failed(row.id).map(|failed| failed.last.clone()),
    }
}
