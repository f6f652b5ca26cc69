//! Consumer groups: making and ending them, settling pending entries, taking them over.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::{EntryId, ErrorKind};

use crate::ahead::gather;
use crate::api::{
    AutoClaim, AutoClaimed, Claim, Deleted, EntryRef, GroupStart, Halt, KeyRef, Nack, NackMode, PendingQuery,
    PendingRow, PendingSummary, References,
};
use crate::core::{Core, Found};
use crate::entries::{RemovalPlan, plan_delete};
use crate::group::{Group, NO_CONSUMER, PendingEntry};
use crate::reading::{Place, ROWS_PER_RECORD};
use crate::record::{AssignedRow, GroupRef, Record};
use crate::stream::Stream;

/// How many rows one `XAUTOCLAIM` looks at, per entry it may claim.
const AUTO_CLAIM_LOOKS: u64 = 10;

impl Core {
    /// Makes a group, and the stream too when `make_stream` says so.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::GroupExists`], [`ErrorKind::WrongType`],
    /// [`ErrorKind::LimitReached`].
    pub fn group_create(
        &mut self,
        key: KeyRef<'_>,
        name: &[u8],
        start: GroupStart,
        entries_read: Option<u64>,
        make_stream: bool,
    ) -> Result<(), Halt> {
        let found = self.find_stream(key)?;
        if found.is_none() && !make_stream {
            return Err(ErrorKind::NoSuchStream.into());
        }
        let stream = found.map(|found| self.stream(found));
        if stream.is_some_and(|stream| stream.group(name).is_some()) {
            return Err(ErrorKind::GroupExists.into());
        }
        let groups = stream.and_then(|stream| stream.groups.as_ref()).map_or(0, |groups| groups.len());
        if groups >= self.options.limits.groups {
            return Err(ErrorKind::LimitReached("groups of a stream (groups)").into());
        }
        self.check_name(name)?;
        self.check_name(key.name)?;
        let made = found.is_none();
        if made {
            self.check_new_key()?;
        }
        self.check_writable(true)?;
        self.tie();
        let found = found.unwrap_or_else(|| self.make_stream(key));
        let stream = self.stream(found);
        let group = stream.groups.as_ref().map_or(0, |groups| groups.next_no());
        let record = Record::GroupNew {
            at: GroupRef { key: self.key(found).no, group },
            name,
            last_id: start_id(stream, start),
            entries_read: entries_read.map(|read| read.min(stream.entries_added)),
        };
        self.commit_to(found, &record);
        self.untie();
        if made {
            self.touched(key);
        }
        self.event(key, "xgroup-create");
        Ok(())
    }

    /// Sets what a group was last given.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::NoSuchGroup`], [`ErrorKind::WrongType`].
    pub fn group_set_id(
        &mut self,
        key: KeyRef<'_>,
        name: &[u8],
        start: GroupStart,
        entries_read: Option<u64>,
    ) -> Result<(), Halt> {
        self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        let (found, at) = self.find_group(key, name)?;
        self.check_writable(true)?;
        let stream = self.stream(found);
        let entries_read = entries_read.map(|read| read.min(stream.entries_added));
        let record = Record::GroupSet { at, last_id: start_id(stream, start), entries_read };
        self.commit_to(found, &record);
        self.event(key, "xgroup-setid");
        Ok(())
    }

    /// Ends a group with everything it has pending; `false` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::WrongType`].
    pub fn group_destroy(&mut self, key: KeyRef<'_>, name: &[u8]) -> Result<bool, Halt> {
        self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        let Ok((found, at)) = self.find_group(key, name) else { return Ok(false) };
        self.check_writable(false)?;
        self.commit_to(found, &Record::GroupDelete { at });
        self.signal(key);
        self.event(key, "xgroup-destroy");
        Ok(true)
    }

    /// Makes a consumer; `false` when it exists.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::NoSuchGroup`], [`ErrorKind::WrongType`],
    /// [`ErrorKind::LimitReached`].
    pub fn consumer_create(&mut self, key: KeyRef<'_>, group: &[u8], name: &[u8]) -> Result<bool, Halt> {
        self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        let (found, at) = self.find_group(key, group)?;
        if self.group(found, at).consumer_no(name).is_some() {
            return Ok(false);
        }
        self.check_consumer(self.group(found, at), name)?;
        self.check_writable(true)?;
        self.consumer_or_new(key, found, at, name);
        Ok(true)
    }

    /// Removes a consumer; answers how many pending entries went with it.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`], [`ErrorKind::NoSuchGroup`], [`ErrorKind::WrongType`].
    pub fn consumer_delete(&mut self, key: KeyRef<'_>, group: &[u8], name: &[u8]) -> Result<u64, Halt> {
        self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        let (found, at) = self.find_group(key, group)?;
        let group = self.group(found, at);
        let Some(consumer) = group.consumer_no(name) else { return Ok(0) };
        let pending = group.consumer(consumer).map_or(0, |consumer| consumer.pending.len());
        self.check_writable(false)?;
        self.commit_to(found, &Record::ConsumerDelete { at, consumer });
        self.signal_if_keyed(key, found, at);
        self.event(key, "xgroup-delconsumer");
        Ok(pending as u64)
    }

    // ---- settling ----------------------------------------------------------------------------------------------

    /// The group under a name; `None` when the stream or the group is missing.
    fn find_group_if_any(&mut self, key: KeyRef<'_>, name: &[u8]) -> Result<Option<(Found, GroupRef)>, Halt> {
        match self.find_group(key, name) {
            Ok(found) => Ok(Some(found)),
            Err(Halt::Error(error)) if *error.kind() == ErrorKind::NoSuchGroup => Ok(None),
            Err(halt) => Err(halt),
        }
    }

    /// Whether the stream has the group.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn has_group(&mut self, key: KeyRef<'_>, name: &[u8]) -> Result<bool, Halt> {
        Ok(self.find_group_if_any(key, name)?.is_some())
    }

    /// Takes entries off the pending list; answers how many were on it.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn ack(&mut self, key: KeyRef<'_>, group: &[u8], ids: &[EntryId]) -> Result<u64, Halt> {
        let Some((found, at)) = self.find_group_if_any(key, group)? else { return Ok(0) };
        self.check_writable(false)?;
        let pending = &self.group(found, at).pending;
        let mut settled: Vec<EntryId> = Vec::with_capacity(ids.len());
        let mut last = None;
        for id in ids {
            // Ascending IDs, the usual case, need no search for repeats.
            let repeated = last.is_some_and(|last| *id <= last) && settled.contains(id);
            if !repeated && pending.get(*id).is_some() {
                settled.push(*id);
            }
            last = last.max(Some(*id));
        }
        let count = settled.len() as u64;
        self.acknowledge(found, at, settled);
        self.drained(found, at, count);
        self.signal_if_keyed(key, found, at);
        Ok(count)
    }

    /// Where delivery is ordered by a key, a row that left may have made another one ready.
    fn signal_if_keyed(&mut self, key: KeyRef<'_>, found: Found, at: GroupRef) {
        if self.group(found, at).pending.ready_len() > 0 {
            self.signal(key);
        }
    }

    pub(crate) fn acknowledge(&mut self, found: Found, at: GroupRef, ids: Vec<EntryId>) {
        if ids.len() <= ROWS_PER_RECORD {
            if !ids.is_empty() {
                self.commit_to(found, &Record::Acknowledge { at, ids });
            }
            return;
        }
        self.tie();
        for part in ids.chunks(ROWS_PER_RECORD) {
            self.commit_to(found, &Record::Acknowledge { at, ids: part.to_vec() });
        }
        self.untie();
    }

    /// Takes entries off the pending list and removes them from the stream.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn ack_delete(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        ids: &[EntryId],
        references: References,
    ) -> Result<Vec<Deleted>, Halt> {
        let Some((found, at)) = self.find_group_if_any(key, group)? else {
            return Ok(vec![Deleted::NotFound; ids.len()]);
        };
        let stream = self.stream(found);
        let own = self.group(found, at);
        let mut settled = BTreeSet::new();
        let mut unwanted = Vec::new();
        let answers = ids
            .iter()
            .map(|id| {
                if own.pending.get(*id).is_none() || !settled.insert(*id) {
                    return Deleted::NotFound;
                }
                if references == References::Acked && is_referenced_by_others(stream, *id, at.group) {
                    return Deleted::Referenced;
                }
                unwanted.push(*id);
                Deleted::Yes
            })
            .collect();
        let policy = if references == References::Delete { References::Delete } else { References::Keep };
        let (_, plan) = plan_delete(stream, &self.blocks, &unwanted, policy)?;
        self.check_writable(false)?;
        self.settle_and_remove(key, (found, at), settled.into_iter().collect(), plan);
        self.signal_if_keyed(key, found, at);
        Ok(answers)
    }

    fn settle_and_remove(
        &mut self,
        key: KeyRef<'_>,
        (found, at): (Found, GroupRef),
        settled: Vec<EntryId>,
        plan: RemovalPlan,
    ) {
        let removed = plan.removal.removed;
        let count = settled.len() as u64;
        self.tie();
        self.acknowledge(found, at, settled);
        self.remove(found, plan);
        self.untie();
        self.drained(found, at, count);
        if removed > 0 {
            self.touched(key);
            self.event(key, "xdel");
        }
    }

    /// Hands pending entries back to the group; answers how many.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchGroup`], [`ErrorKind::WrongType`]; [`ErrorKind::LimitReached`] when force would make more
    /// entries pending than a group may have.
    pub fn nack(&mut self, key: KeyRef<'_>, request: &Nack<'_>) -> Result<u64, Halt> {
        let (found, at) = self.find_group(key, request.group)?;
        let present = if request.force { self.locate(found, request.ids)? } else { Vec::new() };
        self.check_writable(false)?;
        let group = self.group(found, at);
        let mut rows: BTreeMap<EntryId, i64> = BTreeMap::new();
        let (mut order, mut new) = (Vec::new(), 0);
        for (nth, id) in request.ids.iter().enumerate() {
            let before = rows.get(id).copied().or_else(|| group.pending.get(*id).map(|row| row.deliveries));
            let count = match before {
                Some(count) => request.deliveries.unwrap_or_else(|| request.mode.count(count)),
                None if present.get(nth).is_some_and(|entry| !entry.is_gone()) => {
                    new += 1;
                    let fatal = request.mode == NackMode::Fatal;
                    request.deliveries.unwrap_or(if fatal { i64::MAX } else { 0 })
                }
                None => continue,
            };
            order.push(*id);
            rows.insert(*id, count);
        }
        self.check_pending(group, new)?;
        let released: Vec<(EntryId, i64)> = order.iter().map(|id| (*id, rows[id])).collect();
        self.tie();
        for part in released.chunks(ROWS_PER_RECORD) {
            self.commit_to(found, &Record::Release { at, rows: part.to_vec() });
        }
        self.untie();
        if !released.is_empty() {
            self.signal(key);
        }
        Ok(released.len() as u64)
    }

    // ---- taking over -------------------------------------------------------------------------------------------

    /// Gives pending entries to another consumer; answers those it got.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchGroup`], [`ErrorKind::WrongType`]; [`ErrorKind::LimitReached`] when there would be one
    /// consumer too many, or force would make more entries pending than a group may have.
    pub fn claim(&mut self, key: KeyRef<'_>, request: &Claim<'_>) -> Result<Vec<EntryRef>, Halt> {
        let (found, at) = self.find_group(key, request.group)?;
        let now = self.steady().0;
        self.group_mut(found, at).pending.ripen(now);
        if self.group(found, at).charter.is_none() {
            return self.claim_by(key, (found, at), request);
        }
        if self.is_paused(found, at) {
            return Ok(Vec::new());
        }
        self.locate(found, request.ids)?;
        self.tie();
        let free = self.free_rows(found, at, request.ids, request.idle_min);
        let buried = self.bury_spent(key, (found, at), &free);
        let claimed = buried.and_then(|_| self.claim_by(key, (found, at), request));
        self.untie();
        self.signal_if_keyed(key, found, at);
        claimed
    }

    /// Those of some rows that may be claimed.
    fn free_rows(&self, found: Found, at: GroupRef, ids: &[EntryId], idle_min: u64) -> Vec<EntryId> {
        let (group, now) = (self.group(found, at), self.steady().0);
        let is_free = |row: &PendingEntry| match row.idle(now) {
            Some(idle) => idle >= idle_min,
            None => group.pending.is_ready(row.id),
        };
        ids.iter().copied().filter(|id| group.pending.get(*id).as_ref().is_some_and(is_free)).collect()
    }

    fn claim_by(
        &mut self,
        key: KeyRef<'_>,
        (found, at): (Found, GroupRef),
        request: &Claim<'_>,
    ) -> Result<Vec<EntryRef>, Halt> {
        let places = self.locate(found, request.ids)?;
        let group = self.group(found, at);
        self.check_consumer(group, request.consumer)?;
        if request.force {
            let is_new = |entry: &&EntryRef| !entry.is_gone() && group.pending.get(entry.id).is_none();
            let new: BTreeSet<EntryId> = places.iter().filter(is_new).map(|entry| entry.id).collect();
            self.check_pending(group, new.len())?;
        }
        self.check_writable(false)?;
        self.tie();
        let consumer = self.consumer_or_new(key, found, at, request.consumer);
        let place = Place { found, at, consumer };
        self.raise_last_id(found, at, request.last_id);
        let claimed = self.claim_each(&place, request, &places);
        self.touch_consumer(&place, !claimed.is_empty());
        self.untie();
        Ok(claimed)
    }

    fn raise_last_id(&mut self, found: Found, at: GroupRef, last_id: Option<EntryId>) {
        let group = self.group(found, at);
        let entries_read = group.entries_read;
        if let Some(last_id) = last_id.filter(|id| *id > group.last_id) {
            self.commit_to(found, &Record::GroupSet { at, last_id, entries_read });
        }
    }

    fn claim_each(&mut self, place: &Place, request: &Claim<'_>, places: &[EntryRef]) -> Vec<EntryRef> {
        let now = self.steady().0;
        let time = request.time.filter(|time| *time <= now).unwrap_or(now);
        let (mut claimed, mut purged) = (Vec::new(), Vec::new());
        let mut rows: BTreeMap<EntryId, AssignedRow> = BTreeMap::new();
        for entry in places {
            let row = match rows.get(&entry.id) {
                Some(row) => Some((row.time, row.deliveries, false)),
                None => {
                    let row = self.group(place.found, place.at).pending.get(entry.id);
                    row.map(|row| (row.time, row.deliveries, row.consumer == NO_CONSUMER))
                }
            };
            let pending = &self.group(place.found, place.at).pending;
            let is_set_aside = row.is_some_and(|(.., unheld)| unheld) && !pending.is_ready(entry.id);
            if is_set_aside && !rows.contains_key(&entry.id) {
                continue;
            }
            if entry.is_gone() {
                purged.extend(row.map(|_| entry.id));
                continue;
            }
            let count = match row {
                Some((since, _, false)) if now.saturating_sub(since) < request.idle_min => continue,
                Some((_, count, _)) => count,
                // A row made by force counts as delivered once before this claim.
                None if request.force => 1,
                None => continue,
            };
            let raised = if request.just_ids { count } else { count.saturating_add(1) };
            let deliveries = request.deliveries.unwrap_or(raised);
            rows.insert(entry.id, AssignedRow { id: entry.id, time, deliveries });
            claimed.push(*entry);
        }
        purged.dedup();
        self.acknowledge(place.found, place.at, purged);
        self.assign(place, rows.into_values().collect());
        claimed
    }

    /// Gives a consumer entries that others have held for too long.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchGroup`], [`ErrorKind::WrongType`].
    pub fn auto_claim(&mut self, key: KeyRef<'_>, request: &AutoClaim<'_>) -> Result<AutoClaimed, Halt> {
        let (found, at) = self.find_group(key, request.group)?;
        let now = self.steady().0;
        self.group_mut(found, at).pending.ripen(now);
        if self.group(found, at).charter.is_none() {
            return self.auto_claim_by(key, (found, at), request);
        }
        if self.is_paused(found, at) {
            return Ok(AutoClaimed::default());
        }
        // What is cold shows before anything is changed; what comes in the place of what is buried is read on the spot.
        self.plan_auto_claim(found, at, request)?;
        let before = self.blocks.read_on_the_spot(true);
        self.tie();
        let buried = self.bury_all_spent(key, (found, at), request);
        let claimed = buried.and_then(|()| self.auto_claim_by(key, (found, at), request));
        self.untie();
        self.blocks.read_on_the_spot(before);
        self.signal_if_keyed(key, found, at);
        claimed
    }

    /// Makes dead letters of all that a claim would give out once too often.
    fn bury_all_spent(
        &mut self,
        key: KeyRef<'_>,
        (found, at): (Found, GroupRef),
        request: &AutoClaim<'_>,
    ) -> Result<(), Halt> {
        loop {
            let (_, rows) = self.plan_auto_claim(found, at, request)?;
            let ids: Vec<EntryId> = rows.iter().map(|row| row.id).collect();
            if !self.bury_spent(key, (found, at), &ids)? {
                return Ok(());
            }
        }
    }

    fn auto_claim_by(
        &mut self,
        key: KeyRef<'_>,
        (found, at): (Found, GroupRef),
        request: &AutoClaim<'_>,
    ) -> Result<AutoClaimed, Halt> {
        self.check_consumer(self.group(found, at), request.consumer)?;
        let (answer, rows) = self.plan_auto_claim(found, at, request)?;
        self.check_writable(false)?;
        self.tie();
        let consumer = self.consumer_or_new(key, found, at, request.consumer);
        let place = Place { found, at, consumer };
        self.acknowledge(found, at, answer.deleted.clone());
        self.assign(&place, rows);
        self.touch_consumer(&place, !answer.entries.is_empty());
        self.untie();
        Ok(answer)
    }

    fn plan_auto_claim(
        &self,
        found: Found,
        at: GroupRef,
        request: &AutoClaim<'_>,
    ) -> Result<(AutoClaimed, Vec<AssignedRow>), Halt> {
        let now = self.steady().0;
        let (stream, group) = (self.stream(found), self.group(found, at));
        let (mut answer, mut rows) = (AutoClaimed::default(), Vec::new());
        let (mut looks, mut left) = (request.count.saturating_mul(AUTO_CLAIM_LOOKS), request.count);
        for row in group.pending.from(request.start) {
            if looks == 0 || left == 0 {
                answer.cursor = row.id;
                break;
            }
            looks -= 1;
            // What is cold is looked for as far as this may go.
            let look = |row: PendingEntry| stream.find(&self.blocks, row.id);
            let found = look(row).map_err(|cold| {
                let rows = group.pending.from(row.id).take(usize::try_from(left).unwrap_or(usize::MAX));
                gather(rows.map(look)).err().unwrap_or(cold)
            });
            let Some(entry) = found? else {
                answer.deleted.push(row.id);
                left -= 1;
                continue;
            };
            let is_free =
                row.idle(now).map_or(group.pending.is_ready(row.id), |idle| idle >= request.idle_min);
            if !is_free {
                continue;
            }
            left -= 1;
            let deliveries = if request.just_ids { row.deliveries } else { row.deliveries.saturating_add(1) };
            rows.push(AssignedRow { id: row.id, time: now, deliveries });
            answer.entries.push(EntryRef { id: row.id, lsn: entry.lsn });
        }
        Ok((answer, rows))
    }

    // ---- looking at pending entries ----------------------------------------------------------------------------

    /// What a group has pending, in short.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchGroup`], [`ErrorKind::WrongType`].
    pub fn pending_summary(&mut self, key: KeyRef<'_>, group: &[u8]) -> Result<PendingSummary, Halt> {
        let (found, at) = self.find_group(key, group)?;
        let group = self.group(found, at);
        Ok(PendingSummary {
            count: group.pending.len() as u64,
            bounds: group.pending.first().zip(group.pending.last()),
            consumers: group
                .consumers()
                .filter(|(_, consumer)| !consumer.pending.is_empty())
                .map(|(_, consumer)| (consumer.name.clone(), consumer.pending.len() as u64))
                .collect(),
        })
    }

    /// Rows of a group's pending list.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchGroup`], [`ErrorKind::WrongType`].
    pub fn pending_rows(
        &mut self,
        key: KeyRef<'_>,
        query: &PendingQuery<'_>,
    ) -> Result<Vec<PendingRow>, Halt> {
        let (found, at) = self.find_group(key, query.group)?;
        let now = self.steady().0;
        let group = self.group(found, at);
        let most = usize::try_from(query.count).unwrap_or(usize::MAX).min(self.options.limits.reply_entries);
        let old_enough = |row: &PendingEntry| row.idle(now).is_none_or(|idle| idle >= query.idle_min);
        let rows: Vec<PendingRow> = match query.consumer {
            None => group
                .pending
                .from(query.start)
                .take_while(|row| row.id <= query.end)
                .filter(old_enough)
                .take(most)
                .map(|row| pending_row(group, &row, now))
                .collect(),
            Some(name) => group
                .consumer_no(name)
                .and_then(|no| group.consumer(no))
                .into_iter()
                .flat_map(|own| own.pending.iter_from(|id| *id >= query.start))
                .take_while(|id| **id <= query.end)
                .filter_map(|id| group.pending.get(*id))
                .filter(old_enough)
                .take(most)
                .map(|row| pending_row(group, &row, now))
                .collect(),
        };
        Ok(rows)
    }
}

impl NackMode {
    fn count(self, before: i64) -> i64 {
        match self {
            Self::Silent => before.saturating_sub(1).max(0),
            Self::Fail => before,
            Self::Fatal => i64::MAX,
        }
    }
}

pub(crate) fn pending_row(group: &Group, row: &PendingEntry, now: u64) -> PendingRow {
    PendingRow {
        id: row.id,
        consumer: group.consumer_name(row.consumer).into(),
        delivered_at: row.time,
        idle: row.idle(now),
        deliveries: row.deliveries,
    }
}

fn start_id(stream: &Stream, start: GroupStart) -> EntryId {
    match start {
        GroupStart::After(id) => id,
        GroupStart::End => stream.last_id,
    }
}

/// As [`crate::entries::is_referenced`], but the row of one group does not count.
fn is_referenced_by_others(stream: &Stream, id: EntryId, own: u32) -> bool {
    stream.groups().any(|group| group.last_id < id || (group.no != own && group.pending.get(id).is_some()))
}
