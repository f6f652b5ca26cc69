//! Giving entries to the consumers of a group under its policy: by source, by name, by age.
//!
//! Whatever is given is looked at first: an entry that is gone loses its row, one that was given out too often becomes a
//! dead letter. Everything one request changes is one transaction of the log.
//!
//! A group that does not see everything, or is ordered by a key, looks at the fields of what is new. It goes as far as
//! it takes to find something, in slices: what one slice has passed over stays passed over when the next one is asked
//! for.

use std::collections::HashSet;
use std::time::Duration;

use weir_core::{AutoClaim, Claim, EntryId, ErrorKind, Failure, GroupSource, Policy, Timestamp, Token};
use weir_log::{Level, ReadError};

use crate::ahead::{Colds, Missing, read_error};
use crate::api::{
    Cold, Entries, EntryRef, Given, Halt, KeyRef, ReadLimits, ReadOutcome, ReadSource, StreamEntries,
    TakenOver,
};
use crate::charter::WITHOUT_END;
use crate::core::{Core, Found};
use crate::counters;
use crate::group::{Group, PendingEntry};
use crate::lanes::key_hash;
use crate::policy::millis;
use crate::reading::{Budget, Place, ROWS_PER_RECORD};
use crate::record::{AssignedRow, EntryRecord, GroupRef, KeyedRow, Record};

/// Rows of a group that wait for an earlier entry with their key, at most: then a read looks no further.
pub(crate) const WAITING_ROWS_MAX: usize = 100_000;
/// New entries that are looked at in one turn.
const LOOKED_AT_ONCE: usize = 2_048;
/// New entries that are looked up together.
const LOOK: u64 = 128;
/// Rows that one turn takes off the list besides those it gives.
const REMOVED_AT_ONCE: usize = 256;
/// Rows that are old enough and sorted by ID, at most; where there are more, the list is walked.
const SORTED_MAX: usize = 10_000;
/// Rows that an auto-claim looks at in one turn, at least.
const LOOKS_MIN: u64 = 10_000;

/// What becomes of rows that somebody asks for.
#[derive(Debug, Default)]
struct Plan {
    give: Vec<(PendingEntry, EntryRef)>,
    /// They were given out too often.
    bury: Vec<(PendingEntry, EntryRef)>,
    /// Their entries are gone.
    drop: Vec<EntryId>,
    /// There is more to look at.
    is_cut: bool,
}

/// What a look at new entries found.
#[derive(Debug, Default)]
struct Look {
    rows: Vec<KeyedRow>,
    given: Vec<EntryRef>,
    /// Every entry that was looked at.
    looked: Vec<EntryId>,
    passed: u64,
    /// Why it ended before it had found enough, unless there is nothing more.
    halt: Option<Halt>,
}

/// What a group looks for in the fields of an entry.
pub(crate) fn chooses(policy: &Policy) -> bool {
    policy.key.is_some() || policy.filter.is_some()
}

impl Core {
    /// Gives a consumer entries of one stream.
    ///
    /// # Errors
    /// As [`weir_core::Deliveries::read_group`], before anything is given.
    pub fn read_group_from(&mut self, read: &ReadSource) -> Result<ReadOutcome, Halt> {
        let key = KeyRef { ns: read.ns, name: &read.stream };
        let (found, at) = self.find_group(key, &read.group)?;
        self.check_consumer(self.group(found, at), &read.consumer)?;
        self.check_writable(false)?;
        let now = self.steady().0;
        if !read.while_paused && self.is_paused(found, at) {
            let consumer = self.consumer_or_new(key, found, at, &read.consumer);
            self.touch_consumer(&Place { found, at, consumer }, false);
            return Ok(ReadOutcome { retry_at: self.pause_end(found, at), ..ReadOutcome::default() });
        }
        self.group_mut(found, at).pending.ripen(now);
        self.tie();
        let given = self.give_from(key, read, (found, at));
        self.untie();
        let given = given?;
        if given.is_empty() {
            let retry_at = self.next_chance(found, at, read.source);
            return Ok(ReadOutcome { retry_at, ..ReadOutcome::default() });
        }
        let entries = Entries::Given(given);
        Ok(ReadOutcome { streams: vec![StreamEntries { stream: 0, entries }], retry_at: None })
    }

    fn give_from(
        &mut self,
        key: KeyRef<'_>,
        read: &ReadSource,
        (found, at): (Found, GroupRef),
    ) -> Result<Vec<Given>, Halt> {
        let idle_min = match read.source {
            GroupSource::New => return self.give_new(key, read, (found, at), read.count),
            GroupSource::History { after } => {
                let rows = self.own_rows(found, at, read, after);
                return self.give_rows(key, read, (found, at), rows.into_iter());
            }
            GroupSource::Reclaimed { idle_min } => {
                let rows = self.reclaimable(found, at, read, idle_min);
                return self.give_rows(key, read, (found, at), rows.into_iter());
            }
            GroupSource::Available { idle_min } => idle_min,
        };
        let rows = self.reclaimable(found, at, read, idle_min);
        let plan = self.plan(found, at, rows.into_iter(), read.count, REMOVED_AT_ONCE)?;
        let left = read.count.saturating_sub(plan.give.len() as u64);
        self.warm_new(found, at, left)?;
        let is_cut = plan.is_cut;
        let mut given = self.carry_out_plan(key, read, (found, at), plan)?;
        if given.is_empty() && is_cut {
            return Err(Cold::Again.into());
        }
        match self.give_new(key, read, (found, at), left) {
            Ok(new) => given.extend(new),
            Err(halt) if given.is_empty() => return Err(halt),
            // What was given has to reach the consumer; asked again, it is told why there is no more.
            Err(_) => {}
        }
        Ok(given)
    }

    /// Gives a consumer named entries that are pending, as far as it may have them.
    ///
    /// # Errors
    /// As [`weir_core::Deliveries::claim`].
    pub fn take_over(&mut self, key: KeyRef<'_>, claim: &Claim) -> Result<Vec<Given>, Halt> {
        let (found, at) = self.find_group(key, &claim.group)?;
        let read = self.claiming(key, &claim.group, &claim.consumer, u64::MAX);
        if !self.may_claim(key, &read, (found, at))? {
            return Ok(Vec::new());
        }
        let (now, idle_min) = (self.steady().0, millis(claim.idle_min));
        let mut ids = claim.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let group = self.group(found, at);
        let rows = ids.into_iter().filter_map(|id| group.pending.get(id));
        let rows: Vec<_> = rows.filter(|row| is_free(group, row, now, idle_min)).collect();
        // All of them are looked at: what is left out is what the consumer cannot have.
        let plan = self.plan(found, at, rows.into_iter(), u64::MAX, usize::MAX)?;
        self.carry_out_plan(key, &read, (found, at), plan)
    }

    /// Gives a consumer pending entries that are old enough, and says where to go on.
    ///
    /// # Errors
    /// As [`weir_core::Deliveries::auto_claim`].
    pub fn take_over_old(&mut self, key: KeyRef<'_>, claim: &AutoClaim) -> Result<TakenOver, Halt> {
        let (found, at) = self.find_group(key, &claim.group)?;
        let read = self.claiming(key, &claim.group, &claim.consumer, claim.count);
        if !self.may_claim(key, &read, (found, at))? {
            return Ok(TakenOver::default());
        }
        let (now, idle_min) = (self.steady().0, millis(claim.idle_min));
        let group = self.group(found, at);
        let mut looks = claim.count.saturating_mul(10).max(LOOKS_MIN);
        let (mut rows, mut cursor) = (Vec::new(), EntryId::MIN);
        for row in group.pending.from(claim.start) {
            if looks == 0 || rows.len() >= self.options.limits.reply_entries {
                cursor = row.id;
                break;
            }
            looks -= 1;
            if is_free(group, &row, now, idle_min) {
                rows.push(row);
            }
        }
        let plan = self.plan(found, at, rows.iter().copied(), claim.count, REMOVED_AT_ONCE)?;
        let last = plan.give.iter().map(|(row, _)| row.id).chain(plan.drop.iter().copied());
        let last = last.chain(plan.bury.iter().map(|(row, _)| row.id)).max();
        if plan.is_cut || plan.give.len() as u64 >= claim.count {
            // The next row that is there, so that a full answer that was the end says so.
            let from = last.map_or(Some(claim.start), EntryId::next);
            cursor = from.and_then(|from| group.pending.from(from).next()).map_or(EntryId::MIN, |row| row.id);
        }
        let deleted = plan.drop.clone();
        let given = self.carry_out_plan(key, &read, (found, at), plan)?;
        Ok(TakenOver { given, cursor, deleted })
    }

    fn claiming(&self, key: KeyRef<'_>, group: &[u8], consumer: &[u8], count: u64) -> ReadSource {
        ReadSource {
            ns: key.ns,
            stream: key.name.into(),
            group: group.into(),
            consumer: consumer.into(),
            source: GroupSource::Reclaimed { idle_min: None },
            count,
            while_paused: false,
        }
    }

    /// Whether entries may be taken over; not while the group is paused, but the consumer comes to be.
    fn may_claim(
        &mut self,
        key: KeyRef<'_>,
        read: &ReadSource,
        (found, at): (Found, GroupRef),
    ) -> Result<bool, Halt> {
        self.check_consumer(self.group(found, at), &read.consumer)?;
        self.check_writable(false)?;
        let now = self.steady().0;
        self.group_mut(found, at).pending.ripen(now);
        if self.is_paused(found, at) {
            let consumer = self.consumer_or_new(key, found, at, &read.consumer);
            self.touch_consumer(&Place { found, at, consumer }, false);
            return Ok(false);
        }
        Ok(true)
    }

    // ---- rows --------------------------------------------------------------------------------------------------

    fn own_rows(&self, found: Found, at: GroupRef, read: &ReadSource, after: EntryId) -> Vec<PendingEntry> {
        let group = self.group(found, at);
        let own = group.consumer_no(&read.consumer).and_then(|no| group.consumer(no));
        let Some((own, from)) = own.zip(after.next()) else { return Vec::new() };
        let most = usize::try_from(read.count).unwrap_or(usize::MAX).saturating_add(REMOVED_AT_ONCE + 1);
        own.pending.iter_from(|id| *id >= from).take(most).filter_map(|id| group.pending.get(*id)).collect()
    }

    /// What is ready, then what was held for long enough.
    fn reclaimable(
        &mut self,
        found: Found,
        at: GroupRef,
        read: &ReadSource,
        idle_min: Option<Duration>,
    ) -> Vec<PendingEntry> {
        let now = self.steady().0;
        let idle_min = idle_min.map(millis).or_else(|| lease_of(self.group(found, at)));
        if idle_min.is_some() {
            self.group_mut(found, at).pending.index_times();
        }
        let most = usize::try_from(read.count).unwrap_or(usize::MAX).saturating_add(REMOVED_AT_ONCE + 1);
        let pending = &self.group(found, at).pending;
        let mut rows: Vec<PendingEntry> = pending.ready().take(most).collect();
        if let Some(idle_min) = idle_min.filter(|_| rows.len() < most) {
            rows.extend(old_rows(self.group(found, at), now, idle_min, most - rows.len()));
        }
        rows
    }

    fn give_rows(
        &mut self,
        key: KeyRef<'_>,
        read: &ReadSource,
        (found, at): (Found, GroupRef),
        rows: impl Iterator<Item = PendingEntry>,
    ) -> Result<Vec<Given>, Halt> {
        let plan = self.plan(found, at, rows, read.count, REMOVED_AT_ONCE)?;
        let is_cut = plan.is_cut;
        let given = self.carry_out_plan(key, read, (found, at), plan)?;
        // Only what nobody can have was found, and there is more to look at.
        if given.is_empty() && is_cut { Err(Cold::Again.into()) } else { Ok(given) }
    }

    /// Decides what becomes of rows, until so many may be given or so many are to be removed.
    fn plan(
        &self,
        found: Found,
        at: GroupRef,
        rows: impl Iterator<Item = PendingEntry>,
        most: u64,
        removed_max: usize,
    ) -> Result<Plan, Halt> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.options.limits.reply_entries);
        let (stream, group) = (self.stream(found), self.group(found, at));
        let deliveries_max = group.policy().map_or(i64::MAX, |policy| i64::from(policy.deliveries_max));
        let (mut plan, mut colds, mut looked) = (Plan::default(), Colds::default(), 0);
        for row in rows {
            if looked >= most {
                break;
            }
            if plan.bury.len() + plan.drop.len() >= removed_max {
                plan.is_cut = true;
                break;
            }
            let cold = match stream.find(&self.blocks, row.id) {
                Ok(None) => {
                    plan.drop.push(row.id);
                    continue;
                }
                Ok(Some(entry)) if row.deliveries >= deliveries_max => {
                    plan.bury.push((row, entry.into()));
                    match self.with_record(entry.lsn, |_| ()) {
                        Ok(()) => continue,
                        Err(Halt::Cold(cold)) => cold,
                        Err(halt) => return Err(halt),
                    }
                }
                Ok(Some(entry)) => {
                    looked += 1;
                    plan.give.push((row, entry.into()));
                    continue;
                }
                Err(cold) => {
                    looked += 1;
                    cold
                }
            };
            if !colds.note(cold) {
                break;
            }
        }
        colds.end()?;
        Ok(plan)
    }

    fn carry_out_plan(
        &mut self,
        key: KeyRef<'_>,
        read: &ReadSource,
        (found, at): (Found, GroupRef),
        plan: Plan,
    ) -> Result<Vec<Given>, Halt> {
        let buried: Vec<EntryRef> = plan.bury.iter().map(|(_, entry)| *entry).collect();
        let letters = self.letters_for(key, &read.group, &buried)?;
        let now = self.steady().0;
        self.tie();
        let consumer = self.consumer_or_new(key, found, at, &read.consumer);
        let place = Place { found, at, consumer };
        for (row, entry) in &plan.bury {
            let reason = Failure::DELIVERIES_REASON.to_vec();
            let last = Failure { class: Failure::DELIVERIES.to_vec(), reason, at: Timestamp(now) };
            let failures = self.group(found, at).pending.extra(row.id).failures;
            let Some(letters) = &letters else { break };
            let buried = self.bury((key, found, at), letters, row.id, (*entry, failures, last));
            if let Err(halt) = buried {
                self.untie();
                return Err(halt);
            }
        }
        self.acknowledge(found, at, plan.drop.clone());
        let rows = plan.give.iter().map(|(row, _)| AssignedRow {
            id: row.id,
            time: now,
            deliveries: row.deliveries.saturating_add(1),
        });
        self.assign(&place, rows.collect());
        self.touch_consumer(&place, !plan.give.is_empty());
        self.untie();
        if !(plan.bury.is_empty() && plan.drop.is_empty()) {
            // What waited for their keys may be ready.
            self.signal(key);
        }
        Ok(plan.give.iter().map(|(_, entry)| self.given(&place, *entry)).collect())
    }

    /// A delivery as it stands on the pending list now.
    pub(crate) fn given(&self, place: &Place, entry: EntryRef) -> Given {
        let group = self.group(place.found, place.at);
        let row = group.pending.get(entry.id).expect("it was given in this turn");
        let extra = group.pending.extra(entry.id);
        let failed = group.pending.failed(entry.id);
        let lease_until = lease_of(group).map_or(u64::MAX, |lease| row.time.saturating_add(lease));
        Given {
            entry,
            token: Token(group.token(place.at.key, &row)),
            deliveries: u64::try_from(row.deliveries).unwrap_or(0),
            failures: u64::from(extra.failures),
            redrives: extra.redrives,
            lease_until: Timestamp(lease_until),
            failed: failed.map(|failed| Box::new((failed.first.clone(), failed.last.clone()))),
        }
    }

    /// Makes dead letters of those rows that were given out too often: before a Redis command would give them to
    /// somebody. Answers whether there were any: then others come in their place, which have to be looked at as well.
    pub(crate) fn bury_spent(
        &mut self,
        key: KeyRef<'_>,
        (found, at): (Found, GroupRef),
        ids: &[EntryId],
    ) -> Result<bool, Halt> {
        let group = self.group(found, at);
        let Some(most) = group.policy().map(|policy| i64::from(policy.deliveries_max)) else {
            return Ok(false);
        };
        let spent: Vec<EntryId> = ids
            .iter()
            .filter(|id| group.pending.get(**id).is_some_and(|row| row.deliveries >= most))
            .copied()
            .collect();
        if spent.is_empty() {
            return Ok(false);
        }
        let (name, rows) = (group.name.clone(), group.pending.len());
        let before = self.blocks.read_on_the_spot(true);
        let buried = self.bury_all(key, (found, at), &name, &spent);
        self.blocks.read_on_the_spot(before);
        // What waited for their keys may be ready.
        self.signal(key);
        // A row whose entry is gone is not buried; who reads drops it.
        buried.map(|()| self.group(found, at).pending.len() < rows)
    }

    fn bury_all(
        &mut self,
        key: KeyRef<'_>,
        (found, at): (Found, GroupRef),
        group: &[u8],
        spent: &[EntryId],
    ) -> Result<(), Halt> {
        let mut entries = self.locate(found, spent)?;
        entries.retain(|entry| !entry.is_gone());
        let Some(letters) = self.letters_for(key, group, &entries)? else { return Ok(()) };
        for entry in entries {
            let (class, reason) = (Failure::DELIVERIES.to_vec(), Failure::DELIVERIES_REASON.to_vec());
            let last = Failure { class, reason, at: self.steady() };
            let failures = self.group(found, at).pending.extra(entry.id).failures;
            self.bury((key, found, at), &letters, entry.id, (entry, failures, last))?;
        }
        Ok(())
    }

    // ---- what is new -------------------------------------------------------------------------------------------

    fn give_new(
        &mut self,
        key: KeyRef<'_>,
        read: &ReadSource,
        (found, at): (Found, GroupRef),
        most: u64,
    ) -> Result<Vec<Given>, Halt> {
        let most = most.min(self.options.limits.reply_entries as u64);
        if self.group(found, at).consumer_no(&read.consumer).is_none() {
            // Before the consumer comes to be.
            self.warm_new(found, at, most)?;
        }
        let consumer = self.consumer_or_new(key, found, at, &read.consumer);
        let place = Place { found, at, consumer };
        let mut budget = Budget::new(&ReadLimits::default(), usize::MAX);
        let refs = self.deliver_new(&place, false, most, &mut budget)?;
        Ok(refs.into_iter().map(|entry| self.given(&place, entry)).collect())
    }

    /// Looks at what is new, so that what is cold shows before anything is changed: one request is one transaction.
    fn warm_new(&self, found: Found, at: GroupRef, most: u64) -> Result<(), Halt> {
        let most = most.min(self.options.limits.reply_entries as u64);
        let group = self.group(found, at);
        if most == 0 || group.last_id >= self.stream(found).last_id {
            return Ok(());
        }
        if group.policy().is_some_and(chooses) {
            self.warm_look(found, at, false, most)?;
        } else {
            self.entries_after(found, group.last_id, most)?;
        }
        Ok(())
    }

    /// Delivers new entries of a group that does not see everything or is ordered by a key.
    pub(crate) fn deliver_chosen(
        &mut self,
        place: &Place,
        noack: bool,
        most: u64,
    ) -> Result<Vec<EntryRef>, Halt> {
        let mut look = self.look(place.found, place.at, noack, most)?;
        if look.given.is_empty() && !matches!(look.halt, None | Some(Halt::Cold(Cold::Again))) {
            // Asked again it looks again, at little more: one request changes something once.
            return Err(look.halt.take().expect("matched above"));
        }
        let group = self.group(place.found, place.at);
        let (mut last, mut read) = (group.last_id, group.entries_read);
        let (mut rows, mut passed) = (look.rows.iter().copied().peekable(), look.passed);
        for part in look.looked.chunks(ROWS_PER_RECORD) {
            read = counters::entries_read_after(self.stream(place.found), (last, read), part);
            last = *part.last().expect("chunks are not empty");
            let own = std::iter::from_fn(|| rows.next_if(|row| row.id <= last)).collect();
            let record = Record::DeliverChosen {
                at: place.at,
                consumer: place.consumer,
                time: self.steady().0,
                last_id: last,
                entries_read: read,
                passed: std::mem::take(&mut passed),
                rows: own,
            };
            self.commit_to(place.found, &record);
        }
        self.touch_consumer(place, !look.given.is_empty() && !noack);
        match look.halt {
            Some(halt) if look.given.is_empty() => Err(halt),
            _ => Ok(look.given),
        }
    }

    /// Looks at new entries until so many are found that may be given.
    fn look(&self, found: Found, at: GroupRef, noack: bool, most: u64) -> Result<Look, Halt> {
        let (group, mut look) = (self.group(found, at), Look::default());
        let Some(policy) = group.policy() else { return Ok(look) };
        let room = self.options.limits.pending.saturating_sub(group.pending.len());
        let waiting_room = WAITING_ROWS_MAX.saturating_sub(group.pending.waiting_len());
        if room == 0 && !noack && group.last_id < self.stream(found).last_id {
            return Err(ErrorKind::LimitReached("pending entries of a group (pending)").into());
        }
        let (mut taken, mut waiting, mut last) = (HashSet::new(), 0, group.last_id);
        while (look.given.len() as u64) < most {
            // Also where it reads on the spot, unless nobody can ask again.
            if look.looked.len() >= LOOKED_AT_ONCE && !self.is_asked_once() {
                look.halt = Some(Cold::Again.into());
                break;
            }
            let entries = match self.entries_after(found, last, LOOK) {
                Ok(entries) if entries.is_empty() => break,
                Ok(entries) => entries,
                Err(cold) => {
                    look.halt = Some(cold.into());
                    break;
                }
            };
            for (nth, entry) in entries.iter().enumerate() {
                if look.given.len() as u64 >= most {
                    break;
                }
                let seen = self.with_record(entry.lsn, |record| judge(policy, record));
                let seen = match seen {
                    Ok(seen) => seen,
                    Err(halt) => {
                        look.halt = self.halt_at(halt, &entries[nth..]);
                        return Ok(look);
                    }
                };
                let Some(value) = seen else {
                    look.passed += 1;
                    look.looked.push(entry.id);
                    last = entry.id;
                    continue;
                };
                let busy = !noack
                    && value != 0
                    && (taken.contains(&value) || group.pending.is_busy(value, Some(entry.id)));
                if !noack && (look.rows.len() >= room || (busy && waiting >= waiting_room)) {
                    return Ok(look);
                }
                if !noack {
                    look.rows.push(KeyedRow { id: entry.id, key: value, waiting: busy });
                    taken.insert(value);
                    waiting += usize::from(busy);
                }
                if !busy {
                    look.given.push(*entry);
                }
                look.looked.push(entry.id);
                last = entry.id;
            }
        }
        Ok(look)
    }

    /// Looks as a delivery will, so that what is cold shows before anything is changed.
    pub(crate) fn warm_look(&self, found: Found, at: GroupRef, noack: bool, most: u64) -> Result<(), Cold> {
        match self.look(found, at, noack, most) {
            Ok(Look { halt: Some(Halt::Cold(cold)), given, .. })
                if given.is_empty() && !matches!(cold, Cold::Again) =>
            {
                Err(cold)
            }
            // Whatever else is wrong shows when it is done.
            _ => Ok(()),
        }
    }

    /// Why a look ends at an entry; nothing where nobody can ask again.
    fn halt_at(&self, halt: Halt, rest: &[EntryRef]) -> Option<Halt> {
        match halt {
            Halt::Cold(Cold::Unwritten) if self.is_asked_once() => None,
            Halt::Cold(Cold::Index(_)) => {
                let known = self.blocks.ahead();
                let missing = rest.iter().map(|entry| entry.lsn).filter(|lsn| known.body(*lsn).is_none());
                Some(Cold::from(Missing { bodies: missing.collect(), ..Missing::default() }).into())
            }
            halt => Some(halt),
        }
    }

    /// Shows the record of an entry; none when its space was taken back.
    pub(crate) fn with_record<T>(
        &self,
        lsn: weir_log::Lsn,
        show: impl FnOnce(Option<&EntryRecord<'_>>) -> T,
    ) -> Result<T, Halt> {
        if let Some(body) = self.blocks.ahead().body(lsn) {
            return Ok(show(EntryRecord::decode(body).as_ref()));
        }
        let (mut show, mut shown) = (Some(show), None);
        let visit = &mut |_: usize, body: &[u8]| {
            shown = show.take().map(|show| show(EntryRecord::decode(body).as_ref()));
            std::ops::ControlFlow::Break(())
        };
        let read = if self.blocks.reads_on_the_spot() {
            if lsn >= self.log.written() {
                // Nobody can ask again: what came before is written now, if it can be. If not, the read says so.
                drop(self.log.flush_submitted(Level::Written));
            }
            self.log.read_many(&[lsn], visit)
        } else {
            self.log.read_many_cached(&[lsn], visit)
        };
        match read {
            Ok(()) => Ok(shown.expect("a record that was read was shown")),
            Err(ReadError::Gone(_)) => Ok(show.take().expect("nothing was shown")(None)),
            Err(ReadError::NotWritten(_)) => Err(Cold::Unwritten.into()),
            Err(ReadError::Cold) => {
                Err(Cold::from(Missing { bodies: vec![lsn], ..Missing::default() }).into())
            }
            Err(error) => Err(read_error(error).into()),
        }
    }

    // ---- waiting -----------------------------------------------------------------------------------------------

    /// When a pause is over, if that is known.
    pub(crate) fn pause_end(&self, found: Found, at: GroupRef) -> Option<u64> {
        let charter = self.group(found, at).charter.as_deref();
        charter.map(|charter| charter.paused_until).filter(|until| *until != WITHOUT_END)
    }

    /// When a read that found nothing may find something though nothing changes.
    fn next_chance(&self, found: Found, at: GroupRef, source: GroupSource) -> Option<u64> {
        let idle_min = match source {
            GroupSource::New | GroupSource::History { .. } => return None,
            GroupSource::Reclaimed { idle_min } | GroupSource::Available { idle_min } => idle_min,
        };
        let group = self.group(found, at);
        let idle_min = idle_min.map(millis).or_else(|| lease_of(group));
        let oldest = group.pending.longest_idle().next();
        let old = oldest.zip(idle_min).map(|(row, idle_min)| row.time.saturating_add(idle_min));
        let soonest = old.into_iter().chain(group.pending.next_due()).min()?;
        Some(soonest.max(self.steady().0 + 1))
    }
}

/// The lease of a group in milliseconds; `None` without a policy.
pub(crate) fn lease_of(group: &Group) -> Option<u64> {
    group.policy().map(|policy| millis(policy.lease))
}

/// Whether a row may be taken over: somebody has held it for long enough, or it is ready.
fn is_free(group: &Group, row: &PendingEntry, now: u64, idle_min: u64) -> bool {
    match row.idle(now) {
        Some(idle) => idle >= idle_min,
        None => group.pending.is_ready(row.id),
    }
}

/// Rows that were held for long enough, lowest ID first, at most so many.
fn old_rows(group: &Group, now: u64, idle_min: u64, most: usize) -> Vec<PendingEntry> {
    let is_old = |row: &PendingEntry| row.idle(now).is_some_and(|idle| idle >= idle_min);
    let old = group.pending.longest_idle().take_while(is_old).take(SORTED_MAX + 1);
    let mut old: Vec<PendingEntry> = old.collect();
    if old.len() > SORTED_MAX {
        return group.pending.from(EntryId::MIN).filter(is_old).take(most).collect();
    }
    old.sort_unstable_by_key(|row| row.id);
    old.truncate(most);
    old
}

/// What a policy says of an entry: nothing when the group does not see it, otherwise the hash of what orders it, 0 when
/// nothing does.
pub(crate) fn judge(policy: &Policy, record: Option<&EntryRecord<'_>>) -> Option<u64> {
    let fields = &record?.fields;
    if policy.filter.as_ref().is_some_and(|filter| !filter.matches(|name| fields.value(name))) {
        return None;
    }
    let value = policy.key.as_ref().and_then(|name| fields.value(name));
    Some(value.map_or(0, key_hash))
}
