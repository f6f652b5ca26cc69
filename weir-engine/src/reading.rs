//! Reading for one's own account and for a group: `XREAD`, `XREADGROUP`.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_core::{EntryId, Error, ErrorKind};
use weir_log::{Lsn, ReadError};

use crate::ahead::{Colds, Measured, Missing, gather};
use crate::api::{
    Cold, Delivery, Entries, EntryRef, GroupReadFrom, Halt, KeyRef, NamespaceNo, Read, ReadFrom, ReadGroup,
    ReadLimits, ReadOutcome, ReadSource, StreamEntries,
};
use crate::core::{Core, Found};
use crate::counters;
use crate::giving::chooses;
use crate::group::{Group, PendingEntry};
use crate::mailbox::Mailbox;
use crate::record::{AssignedRow, EntryRecord, GroupRef, Record};
use crate::stream::Span;
use crate::waiting::{ReplyTo, Round, Served, WaiterId, Wanted, WatchId};

/// Rows in one record at most, so that a record always fits a segment: a row takes up to 40 bytes.
pub(crate) const ROWS_PER_RECORD: usize = 1_000;

/// What an entry takes in an answer beside its names and values, about.
const ENTRY_BYTES: u64 = 24;

/// Rows without an entry that one claim remembers to skip.
const GHOSTS_AT_ONCE: usize = 100_000;

/// Sizes of entries that the first look asks for when a read is limited by bytes, and the most any does.
const SIZES_FIRST: usize = 64;
const SIZES_MOST: usize = 65_536;

/// Rows that may be claimed with their entries, and rows without one that were passed over.
type Claimable = (Vec<(PendingEntry, EntryRef)>, Vec<PendingEntry>);

/// What is left of a read's limits.
pub(crate) struct Budget {
    count: Option<u64>,
    count_total: u64,
    bytes_total: Option<u64>,
    bytes: u64,
    answered: u64,
}

impl Budget {
    pub(crate) fn new(limits: &ReadLimits, most: usize) -> Self {
        let count_total = limits.count_total.unwrap_or(u64::MAX).min(most as u64);
        Self { count: limits.count, count_total, bytes_total: limits.bytes_total, bytes: 0, answered: 0 }
    }

    /// How many entries the next stream may give.
    fn next_stream(&self) -> u64 {
        self.count.unwrap_or(u64::MAX).min(self.count_total - self.answered)
    }

    /// Cuts a stream's share to what the byte limit leaves, and counts it.
    fn take(&mut self, core: &Core, refs: &mut Vec<EntryRef>) -> Result<(), Cold> {
        refs.truncate(self.count(core, refs)?);
        Ok(())
    }

    /// Counts as much of a stream's share as the byte limit leaves; answers how many entries that are.
    fn count(&mut self, core: &Core, refs: &[EntryRef]) -> Result<usize, Cold> {
        let mut kept = refs.len();
        if let Some(most) = self.bytes_total {
            kept = 0;
            for entry in refs {
                if self.answered + kept as u64 > 0 && self.bytes >= most {
                    break;
                }
                let size = if entry.is_gone() { Some(0) } else { core.size_of(entry) };
                self.bytes += ENTRY_BYTES + size.ok_or_else(|| core.missing_sizes(&refs[kept..]))?;
                kept += 1;
            }
        }
        self.answered += kept as u64;
        Ok(kept)
    }

    fn is_spent(&self) -> bool {
        self.answered >= self.count_total
            || (self.answered > 0 && self.bytes_total.is_some_and(|most| self.bytes >= most))
    }
}

impl Core {
    /// A byte limit looks at entries' sizes, so what was appended has to be written first. Sizes of entries that are not
    /// written yet count as [`ENTRY_BYTES`]: where nobody can ask again (a transaction, a waiting read), and of entries
    /// that were appended while that was waited for.
    fn check_sizes_readable(&self, limits: &ReadLimits) -> Result<(), Halt> {
        let readable = self.blocks.reads_on_the_spot()
            || self.blocks.ahead().is_written()
            || self.log.written() == self.appender.head();
        if limits.bytes_total.is_some() && !readable { Err(Cold::Unwritten.into()) } else { Ok(()) }
    }

    /// The bytes of an entry's names and values; `None` when the disk would have to be waited for.
    fn size_of(&self, entry: &EntryRef) -> Option<u64> {
        // An entry that cannot be read is reported when its fields are fetched.
        self.measured(entry.lsn).map(|measured| measured.map_or(0, |measured| measured.bytes))
    }

    /// What an entry's record says of its size and its time; the outer `None` when the disk would have to be waited
    /// for, the inner one when it is not written yet or cannot be read.
    pub(crate) fn measured(&self, lsn: Lsn) -> Option<Option<Measured>> {
        if let Some(measured) = self.blocks.ahead().measured(lsn) {
            return Some(Some(measured));
        }
        let mut found = None;
        let visit = &mut |_, body: &[u8]| {
            found = EntryRecord::decode(body).map(|record| Measured::of(&record));
            ControlFlow::Break(())
        };
        let read = if self.blocks.reads_on_the_spot() {
            self.log.read_many(&[lsn], visit)
        } else {
            self.log.read_many_cached(&[lsn], visit)
        };
        if matches!(read, Err(ReadError::Cold)) { None } else { Some(found) }
    }

    /// The sizes that a byte limit needs next; each look asks for twice as many as were looked up before.
    fn missing_sizes(&self, refs: &[EntryRef]) -> Cold {
        let known = self.blocks.ahead();
        let next = refs.iter().filter(|entry| !entry.is_gone() && known.measured(entry.lsn).is_none());
        let sizes = next.map(|entry| entry.lsn).take(known.sizes().clamp(SIZES_FIRST, SIZES_MOST)).collect();
        Missing { sizes, ..Missing::default() }.into()
    }

    // ---- plain reads -------------------------------------------------------------------------------------------

    /// Reads entries of several streams for oneself.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`], for the whole call.
    pub fn read(&mut self, read: &Read) -> Result<ReadOutcome, Halt> {
        self.check_sizes_readable(&read.limits)?;
        for (name, _) in &read.streams {
            self.find_stream(KeyRef { ns: read.ns, name })?;
        }
        let mut budget = Budget::new(&read.limits, self.options.limits.reply_entries);
        let (mut outcome, mut colds) = (ReadOutcome::default(), Colds::default());
        for (stream, (name, from)) in read.streams.iter().enumerate() {
            if budget.is_spent() {
                break;
            }
            let Some(found) = self.find_stream(KeyRef { ns: read.ns, name })? else { continue };
            let entries = self.plain_entries(found, *from, budget.next_stream(), read.streams.len() == 1);
            // A wide read may have a million of them, and is asked again for each few sizes.
            match entries.and_then(|refs| budget.count(self, &refs).map(|kept| cut(refs, kept))) {
                Ok(refs) if refs.is_empty() => {}
                Ok(refs) => outcome.streams.push(StreamEntries { stream, entries: Entries::Plain(refs) }),
                Err(cold) => {
                    if !colds.note(cold) {
                        break;
                    }
                }
            }
        }
        colds.end()?;
        Ok(outcome)
    }

    fn plain_entries(
        &self,
        found: Found,
        from: ReadFrom,
        most: u64,
        alone: bool,
    ) -> Result<Cow<'_, [EntryRef]>, Cold> {
        match from {
            ReadFrom::Newest => {
                let newest = self.stream(found).newest(&self.blocks)?;
                Ok(newest.map(|entry| EntryRef { id: entry.id, lsn: entry.lsn }).into_iter().collect())
            }
            ReadFrom::End => Ok(Cow::default()),
            ReadFrom::Position(_) | ReadFrom::Time(_) => {
                let from = self.place_of(found, from)?;
                from.map_or_else(
                    || Ok(Cow::default()),
                    |id| self.plain_entries(found, ReadFrom::After(id), most, alone),
                )
            }
            ReadFrom::After(id) if alone => match self.span_after(found, id, most) {
                Some(span) => self.entries_alone(found, span, false),
                None => Ok(Cow::default()),
            },
            ReadFrom::After(id) => self.entries_after(found, id, most).map(Cow::Owned),
        }
    }

    /// Entries above an ID, for a request that may ask more.
    pub(crate) fn entries_after(&self, found: Found, id: EntryId, most: u64) -> Result<Vec<EntryRef>, Cold> {
        let span = self.span_after(found, id, most);
        span.map_or_else(|| Ok(Vec::new()), |span| self.entries_of(found, span, false))
    }

    /// What to look through for entries above an ID; `None` where there are none.
    fn span_after(&self, found: Found, id: EntryId, most: u64) -> Option<Span> {
        let stream = self.stream(found);
        let from = id.next().filter(|_| id < stream.last_id && stream.len > 0 && most > 0)?;
        Some(Span { from, to: EntryId::MAX, most })
    }

    // ---- group reads -------------------------------------------------------------------------------------------

    /// Checks that every stream of a group read has the group.
    ///
    /// # Errors
    /// The index of the first stream that has not, with [`ErrorKind::WrongType`] or [`ErrorKind::NoSuchGroup`].
    pub fn check_groups(&mut self, read: &ReadGroup) -> Result<(), (usize, Halt)> {
        for (nth, (name, _)) in read.streams.iter().enumerate() {
            self.find_group(KeyRef { ns: read.ns, name }, &read.group).map_err(|halt| (nth, halt))?;
        }
        Ok(())
    }

    /// Reads entries of several streams for a consumer of a group, which has them pending afterwards.
    ///
    /// Where a stream cannot be served and one before it was, those are the answer: what is delivered is told.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`], [`ErrorKind::NoSuchGroup`], [`ErrorKind::LimitReached`], for the whole call and before
    /// anything is delivered; the consumer may have come to be.
    pub fn read_group(&mut self, read: &ReadGroup) -> Result<ReadOutcome, Halt> {
        for (name, _) in &read.streams {
            let (found, at) = self.find_group(KeyRef { ns: read.ns, name }, &read.group)?;
            self.check_consumer(self.group(found, at), &read.consumer)?;
        }
        self.check_writable(false)?;
        self.check_sizes_readable(&read.limits)?;
        self.warm_group_read(read)?;
        let before = self.blocks.read_on_the_spot(true);
        self.tie();
        let outcome = self.serve_group(read);
        self.untie();
        self.blocks.read_on_the_spot(before);
        outcome
    }

    /// Looks at everything a group read will look at, so that what is cold shows before anything is changed.
    fn warm_group_read(&mut self, read: &ReadGroup) -> Result<(), Halt> {
        let mut colds = Colds::default();
        for (name, from) in &read.streams {
            let (found, at) = self.find_group(KeyRef { ns: read.ns, name }, &read.group)?;
            if read.claim_idle_min.is_some() {
                let now = self.steady().0;
                let pending = &mut self.group_mut(found, at).pending;
                pending.ripen(now);
                pending.index_times();
            }
            if let Err(cold) = self.look_at_group(read, *from, found, at)
                && !colds.note(cold)
            {
                break;
            }
        }
        Ok(colds.end()?)
    }

    fn look_at_group(
        &self,
        read: &ReadGroup,
        from: GroupReadFrom,
        found: Found,
        at: GroupRef,
    ) -> Result<(), Cold> {
        let most = Budget::new(&read.limits, self.options.limits.reply_entries).next_stream();
        let (stream, group) = (self.stream(found), self.group(found, at));
        if let GroupReadFrom::History(after) = from {
            let Some(consumer) = group.consumer_no(&read.consumer) else { return Ok(()) };
            let refs = self.locate(found, &own_after(group, consumer, after, most))?;
            return self.measure(&read.limits, refs);
        }
        if let Some(idle_min) = read.claim_idle_min {
            let (rows, _) = self.claimable(found, at, idle_min, most)?;
            let refs: Vec<EntryRef> = rows.into_iter().map(|(_, entry)| entry).collect();
            if refs.is_empty() {
                self.longest_held(found, at)?;
            }
            self.measure(&read.limits, refs)?;
        }
        if group.last_id >= stream.last_id || most == 0 {
            return Ok(());
        }
        if group.policy().is_some_and(chooses) {
            return self.warm_look(found, at, read.noack, most);
        }
        if read.limits.bytes_total.is_some() {
            return self.measure(&read.limits, self.entries_after(found, group.last_id, most)?);
        }
        let from = group.last_id.next().unwrap_or(EntryId::MAX);
        stream.scan(&self.blocks, Span { from, to: EntryId::MAX, most }, |_| ControlFlow::Continue(()))
    }

    /// Looks at the sizes that a byte limit will look at.
    fn measure(&self, limits: &ReadLimits, mut refs: Vec<EntryRef>) -> Result<(), Cold> {
        Budget::new(limits, self.options.limits.reply_entries).take(self, &mut refs)
    }

    fn serve_group(&mut self, read: &ReadGroup) -> Result<ReadOutcome, Halt> {
        let mut budget = Budget::new(&read.limits, self.options.limits.reply_entries);
        let mut outcome = ReadOutcome::default();
        let mut claim = read.claim_idle_min;
        let mut delivered = false;
        for nth in 0..read.streams.len() {
            match self.serve_one(read, nth, &mut claim, &mut budget) {
                Ok((entries, retry_at)) => {
                    outcome.retry_at = match (outcome.retry_at, retry_at) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                    delivered |= entries.is_some() && read.streams[nth].1 == GroupReadFrom::New;
                    outcome.streams.extend(entries.map(|entries| StreamEntries { stream: nth, entries }));
                }
                // What was delivered so far has to reach the consumer; asked again, it gets the error.
                Err(_) if delivered => break,
                Err(halt) => return Err(halt),
            }
        }
        Ok(outcome)
    }

    /// Serves one stream of a group read; also answers when rows get old enough to be claimed.
    fn serve_one(
        &mut self,
        read: &ReadGroup,
        nth: usize,
        claim: &mut Option<u64>,
        budget: &mut Budget,
    ) -> Result<(Option<Entries>, Option<u64>), Halt> {
        let (name, from) = &read.streams[nth];
        let key = KeyRef { ns: read.ns, name };
        let (found, at) = self.find_group(key, &read.group)?;
        let consumer = self.consumer_or_new(key, found, at, &read.consumer);
        let place = Place { found, at, consumer };
        if self.is_paused(found, at) {
            self.touch_consumer(&place, false);
            return Ok((None, self.pause_end(found, at)));
        }
        if self.group(found, at).policy().is_some() {
            while self.bury_spent_of(key, &place, *from, *claim, budget.next_stream())? {}
        }
        match (from, *claim) {
            (GroupReadFrom::History(after), _) => {
                *claim = None;
                Ok((Some(Entries::Plain(self.history(&place, *after, budget)?)), None))
            }
            _ if budget.is_spent() => Ok((None, None)),
            (GroupReadFrom::New, None) => {
                let refs = self.deliver_new(&place, read.noack, budget.next_stream(), budget)?;
                Ok(((!refs.is_empty()).then_some(Entries::Plain(refs)), None))
            }
            (GroupReadFrom::New, Some(idle_min)) => {
                let (given, retry_at) = self.claim_then_new(&place, read.noack, idle_min, budget)?;
                Ok(((!given.is_empty()).then_some(Entries::Claimed(given)), retry_at))
            }
        }
    }

    /// Makes dead letters of what a read would give out once too often, and drops rows without an entry that it finds.
    fn bury_spent_of(
        &mut self,
        key: KeyRef<'_>,
        place: &Place,
        from: GroupReadFrom,
        claim: Option<u64>,
        most: u64,
    ) -> Result<bool, Halt> {
        let Place { found, at, consumer } = *place;
        let ids: Vec<EntryId> = match (from, claim) {
            (GroupReadFrom::History(after), _) => own_after(self.group(found, at), consumer, after, most),
            (GroupReadFrom::New, None) => return Ok(false),
            (GroupReadFrom::New, Some(idle_min)) => {
                self.group_mut(found, at).pending.index_times();
                let (rows, ghosts) = self.claimable(found, at, idle_min, most)?;
                if !ghosts.is_empty() {
                    // As with every other read of a group with a policy; they may have held back a key.
                    self.acknowledge(found, at, ghosts.iter().map(|row| row.id).collect());
                    self.signal(key);
                }
                rows.iter().map(|(row, _)| row.id).collect()
            }
        };
        self.bury_spent(key, (found, at), &ids)
    }

    /// The consumer's own pending entries, counted as delivered once more.
    fn history(&mut self, place: &Place, after: EntryId, budget: &mut Budget) -> Result<Vec<EntryRef>, Halt> {
        let now = self.steady().0;
        let most = budget.next_stream();
        let ids = own_after(self.group(place.found, place.at), place.consumer, after, most);
        let mut refs = self.locate(place.found, &ids)?;
        budget.take(self, &mut refs)?;
        let group = self.group(place.found, place.at);
        let rows: Vec<AssignedRow> = refs
            .iter()
            .filter(|entry| !entry.is_gone())
            .filter_map(|entry| group.pending.get(entry.id))
            .map(|row| AssignedRow { id: row.id, time: now, deliveries: row.deliveries.saturating_add(1) })
            .collect();
        self.assign(place, rows);
        self.touch_consumer(place, false);
        Ok(refs)
    }

    /// Places of entries by ID, in the same order; what is gone is said so.
    pub(crate) fn locate(&self, found: Found, ids: &[EntryId]) -> Result<Vec<EntryRef>, Cold> {
        let stream = self.stream(found);
        gather(ids.iter().map(|id| {
            let entry = stream.find(&self.blocks, *id)?;
            Ok(entry.map_or(EntryRef::gone(*id), EntryRef::from))
        }))
    }

    pub(crate) fn deliver_new(
        &mut self,
        place: &Place,
        noack: bool,
        most: u64,
        budget: &mut Budget,
    ) -> Result<Vec<EntryRef>, Halt> {
        if self.group(place.found, place.at).policy().is_some_and(chooses) {
            let refs = self.deliver_chosen(place, noack, most)?;
            // What was looked at cannot be put back, so a limit of bytes ends the reading, but not within a stream.
            budget.count(self, &refs)?;
            return Ok(refs);
        }
        let (group, stream) = (self.group(place.found, place.at), self.stream(place.found));
        let (last, read) = (group.last_id, group.entries_read);
        let pending_room = (self.options.limits.pending as u64).saturating_sub(group.pending.len() as u64);
        if pending_room == 0 && !noack && last < stream.last_id {
            return Err(ErrorKind::LimitReached("pending entries of a group (pending)").into());
        }
        let most = if noack { most } else { most.min(pending_room) };
        let mut refs = self.entries_after(place.found, last, most)?;
        budget.take(self, &mut refs)?;
        self.write_deliveries(place, noack, (last, read), &refs);
        self.touch_consumer(place, !refs.is_empty() && !noack);
        Ok(refs)
    }

    fn write_deliveries(
        &mut self,
        place: &Place,
        noack: bool,
        (mut last, mut read): (EntryId, Option<u64>),
        refs: &[EntryRef],
    ) {
        for part in refs.chunks(ROWS_PER_RECORD) {
            let ids: Vec<EntryId> = part.iter().map(|entry| entry.id).collect();
            read = counters::entries_read_after(self.stream(place.found), (last, read), &ids);
            last = *ids.last().expect("chunks are not empty");
            let record = Record::Deliver {
                at: place.at,
                consumer: place.consumer,
                time: self.steady().0,
                last_id: last,
                entries_read: read,
                ids: if noack { Vec::new() } else { ids },
            };
            self.commit_to(place.found, &record);
        }
    }

    /// Rows that are idle long enough first, then new entries.
    fn claim_then_new(
        &mut self,
        place: &Place,
        noack: bool,
        idle_min: u64,
        budget: &mut Budget,
    ) -> Result<(Vec<Delivery>, Option<u64>), Halt> {
        let most = budget.next_stream();
        let mut given = self.claim_idle(place, idle_min, most, budget)?;
        let claimed = !given.is_empty();
        if (given.len() as u64) < most && !budget.is_spent() {
            let new = match self.deliver_new(place, noack, most - given.len() as u64, budget) {
                Err(_) if claimed => Vec::new(),
                new => new?,
            };
            given.extend(new.into_iter().map(|entry| Delivery { entry, idle: 0, deliveries: 0 }));
        }
        if claimed {
            self.touch_consumer(place, true);
        }
        let retry_at = if given.is_empty() { self.next_idle(place, idle_min) } else { None };
        Ok((given, retry_at))
    }

    fn claim_idle(
        &mut self,
        place: &Place,
        idle_min: u64,
        most: u64,
        budget: &mut Budget,
    ) -> Result<Vec<Delivery>, Halt> {
        let now = self.steady().0;
        self.group_mut(place.found, place.at).pending.index_times();
        let (claimed, ghosts) = self.claimable(place.found, place.at, idle_min, most)?;
        self.group_mut(place.found, place.at).pending.skip_times(&ghosts);
        let mut refs: Vec<EntryRef> = claimed.iter().map(|(_, entry)| *entry).collect();
        budget.take(self, &mut refs)?;
        let given: Vec<Delivery> = claimed
            .iter()
            .zip(refs)
            .map(|((row, _), entry)| {
                // Rows that were handed back count as delivered at time 0.
                Delivery { entry, idle: now.saturating_sub(row.time), deliveries: row.deliveries }
            })
            .collect();
        let rows = given.iter().map(|delivery| AssignedRow {
            id: delivery.entry.id,
            time: now,
            deliveries: delivery.deliveries.saturating_add(1),
        });
        self.assign(place, rows.collect());
        Ok(given)
    }

    /// Rows that may be claimed, in the order in which they are: handed back first, then those idle longest.
    fn claimable(&self, found: Found, at: GroupRef, idle_min: u64, most: u64) -> Result<Claimable, Cold> {
        let (stream, group, now) = (self.stream(found), self.group(found, at), self.steady().0);
        let ripe = |row: &PendingEntry| row.idle(now).is_none_or(|idle| idle >= idle_min);
        let (mut rows, mut ghosts) = (Vec::new(), Vec::new());
        let (mut colds, mut left) = (Colds::default(), most);
        for row in group.pending.handed_back().chain(group.pending.longest_idle().take_while(ripe)) {
            if left == 0 {
                break;
            }
            match stream.find(&self.blocks, row.id) {
                Ok(None) => {
                    if ghosts.len() < GHOSTS_AT_ONCE {
                        ghosts.push(row);
                    }
                    continue;
                }
                Ok(Some(entry)) => rows.push((row, EntryRef::from(entry))),
                Err(cold) => {
                    if !colds.note(cold) {
                        break;
                    }
                }
            }
            left -= 1;
        }
        colds.end().map(|()| (rows, ghosts))
    }

    /// The row with an entry that somebody has held longest, and rows without one that were passed over.
    fn longest_held(
        &self,
        found: Found,
        at: GroupRef,
    ) -> Result<(Option<PendingEntry>, Vec<PendingEntry>), Cold> {
        let (stream, mut ghosts) = (self.stream(found), Vec::new());
        // Mostly the first row has its entry. Where rows have none, each look reads as much as all before it.
        let (mut colds, most) = (Colds::default(), self.blocks.ahead().blocks().max(1));
        for row in self.group(found, at).pending.longest_idle() {
            match stream.find(&self.blocks, row.id) {
                Ok(Some(_)) if colds.is_empty() => return Ok((Some(row), ghosts)),
                Ok(Some(_)) => break,
                Ok(None) if ghosts.len() < GHOSTS_AT_ONCE => ghosts.push(row),
                Ok(None) => {}
                Err(cold) => {
                    if !colds.note(cold) || colds.blocks() >= most {
                        break;
                    }
                }
            }
        }
        colds.end().map(|()| (None, ghosts))
    }

    /// When the row that is idle longest will be old enough.
    fn next_idle(&mut self, place: &Place, idle_min: u64) -> Option<u64> {
        let (waiting, ghosts) = self.longest_held(place.found, place.at).unwrap_or_default();
        let now = self.steady().0;
        let from = waiting.map_or(now, |row| row.time);
        let has_policy = self.group(place.found, place.at).policy().is_some();
        let pending = &mut self.group_mut(place.found, place.at).pending;
        if !has_policy {
            // In a group with a policy they are dropped once they are old enough.
            pending.skip_times(&ghosts);
        }
        let soonest = from.saturating_add(idle_min).min(pending.next_due().unwrap_or(u64::MAX));
        Some(soonest.max(now + 1))
    }

    pub(crate) fn assign(&mut self, place: &Place, rows: Vec<AssignedRow>) {
        for part in rows.chunks(ROWS_PER_RECORD) {
            let record = Record::Assign { at: place.at, consumer: place.consumer, rows: part.to_vec() };
            self.commit_to(place.found, &record);
        }
    }

    pub(crate) fn touch_consumer(&mut self, place: &Place, active: bool) {
        let now = self.steady().0;
        self.group_mut(place.found, place.at).touch_consumer(place.consumer, now, active);
    }

    // ---- groups by name ----------------------------------------------------------------------------------------

    pub(crate) fn find_group(&mut self, key: KeyRef<'_>, name: &[u8]) -> Result<(Found, GroupRef), Halt> {
        let missing = || Error::no_such_group(key.name, name);
        let found = self.find_stream(key)?.ok_or_else(missing)?;
        let group = self.stream(found).group(name).ok_or_else(missing)?.no;
        Ok((found, GroupRef { key: self.key(found).no, group }))
    }

    pub(crate) fn group(&self, found: Found, at: GroupRef) -> &Group {
        let groups = self.stream(found).groups.as_ref();
        groups.and_then(|groups| groups.by_no(at.group)).expect("found in this turn")
    }

    pub(crate) fn group_mut(&mut self, found: Found, at: GroupRef) -> &mut Group {
        let groups = self.stream_mut(found).groups.as_mut();
        groups.and_then(|groups| groups.by_no_mut(at.group)).expect("found in this turn")
    }

    /// A consumer by its name, made if there is none. [`Core::check_consumer`] comes before.
    pub(crate) fn consumer_or_new(
        &mut self,
        key: KeyRef<'_>,
        found: Found,
        at: GroupRef,
        name: &[u8],
    ) -> u32 {
        if let Some(no) = self.group(found, at).consumer_no(name) {
            return no;
        }
        let consumer = self.group(found, at).next_consumer_no();
        let seen = self.steady().0;
        self.commit_to(found, &Record::ConsumerNew { at, consumer, name, seen, active: None });
        self.event(key, "xgroup-createconsumer");
        consumer
    }

    // ---- waiting -----------------------------------------------------------------------------------------------

    /// Lets a plain read wait. It was asked just before and found nothing.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] when too many reads wait, [`ErrorKind::Closed`].
    pub fn wait_read(&mut self, read: Read, token: u64) -> Result<WaiterId, Halt> {
        self.wait(Wanted::Read(read), ReplyTo::Door(token))
    }

    /// Lets a group read wait. It was asked just before and found nothing.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] when too many reads wait, [`ErrorKind::Closed`].
    pub fn wait_group(&mut self, read: ReadGroup, token: u64) -> Result<WaiterId, Halt> {
        self.wait(Wanted::Group(read), ReplyTo::Door(token))
    }

    /// Lets a group read by source wait, whose answer goes to a door. It was asked just before, and found nothing until
    /// `retry_at`.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] when too many reads wait, [`ErrorKind::Closed`].
    pub fn wait_source(
        &mut self,
        read: ReadSource,
        retry_at: Option<u64>,
        token: u64,
    ) -> Result<WaiterId, Halt> {
        let waiter = self.wait(Wanted::Source(read), ReplyTo::Door(token))?;
        self.waiting.set_timer(waiter, retry_at);
        Ok(waiter)
    }

    /// Asks waiting reads again whose time has come: something may be old enough, or a pause or a delay be over.
    pub(crate) fn ask_due_waiters(&mut self) {
        if self.waiting.next_timer().is_none() {
            return;
        }
        let now = self.steady().0;
        self.waiting.signal_due(now);
        self.serve_waiters();
    }

    /// Lets a read of this process wait, whose answer goes into a mailbox.
    pub(crate) fn wait_in(
        &mut self,
        wanted: Wanted,
        retry_at: Option<u64>,
        mailbox: Arc<Mailbox>,
    ) -> Result<WaiterId, Halt> {
        let waiter = self.wait(wanted, ReplyTo::Own(mailbox))?;
        self.waiting.set_timer(waiter, retry_at);
        Ok(waiter)
    }

    fn wait(&mut self, wanted: Wanted, reply_to: ReplyTo) -> Result<WaiterId, Halt> {
        self.check_open()?;
        if self.waiting.len() >= self.options.limits.waiting {
            return Err(ErrorKind::LimitReached("waiting reads (waiting)").into());
        }
        Ok(self.waiting.add(wanted, reply_to))
    }

    /// Ends a wait; `false` when it was served already.
    pub fn cancel(&mut self, waiter: WaiterId) -> bool {
        self.waiting.remove(waiter).is_some()
    }

    /// Waiting reads, and the streams they wait for.
    #[must_use]
    pub fn waiting_counts(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting.stream_count())
    }

    /// Asks waiting reads again whose streams changed. Does nothing within a transaction.
    pub fn serve_waiters(&mut self) {
        if !self.waiting.has_ready() || self.in_transaction() {
            return;
        }
        // For what lacks room in the log the turn makes some, without the lock, and comes here again.
        while !self.lacks_room()
            && let Some((ns, name)) = self.waiting.next_ready()
        {
            self.serve_stream(ns, &name);
        }
        self.waiting.end_round();
    }

    /// Whether a delivery would have to wait for room in the log.
    fn lacks_room(&self) -> bool {
        matches!(self.check_writable(false), Err(Halt::Cold(_)))
    }

    fn serve_stream(&mut self, ns: NamespaceNo, name: &[u8]) {
        for waiter in self.waiting.plain(ns, name) {
            self.ask_again(waiter);
        }
        for group in self.waiting.groups(ns, name) {
            let paused = match self.find_group(KeyRef { ns, name }, &group) {
                Ok((found, at)) if self.is_paused(found, at) => Some(self.pause_end(found, at)),
                // Where there is no group any more, each of them is told.
                _ => None,
            };
            if let Some(Some(end)) = paused {
                self.waiting.ask_group_at(ns, name, &group, end);
            }
            let mut round = Round::new(paused.is_some());
            while let Some(waiter) = self.waiting.next_in(ns, name, &group, &mut round) {
                if !self.ask_again(waiter) {
                    self.waiting.got_nothing(&mut round);
                }
            }
        }
    }

    /// Asks a waiting read again; `true` when it need not wait any more.
    pub fn ask_again(&mut self, waiter: WaiterId) -> bool {
        let Some(wait) = self.waiting.get(waiter) else { return false };
        let wanted = wait.wanted.clone();
        let before = self.blocks.read_on_the_spot(true);
        let answer = match &wanted {
            Wanted::Read(read) => self.read(read),
            Wanted::Group(read) => self.read_group(read),
            Wanted::Source(read) => self.read_group_from(read),
        };
        self.blocks.read_on_the_spot(before);
        let result = match (answer, &wanted) {
            (Ok(outcome), _) if outcome.streams.is_empty() => {
                self.waiting.set_timer(waiter, outcome.retry_at);
                return false;
            }
            (Ok(outcome), _) => Ok(outcome),
            // Plain reads go on waiting whatever becomes of the key.
            (Err(_), Wanted::Read(_)) => return false,
            (Err(Halt::Cold(Cold::Room(_) | Cold::Unwritten | Cold::Again)), _) => {
                self.waiting.ask_later(waiter);
                return false;
            }
            (Err(Halt::Error(error)), _) => Err(error.kind().clone()),
            (Err(Halt::Cold(Cold::Index(_))), _) => Err(ErrorKind::Io),
        };
        self.answer_waiter(waiter, result);
        true
    }

    fn answer_waiter(&mut self, waiter: WaiterId, result: Result<ReadOutcome, ErrorKind>) {
        let Some(wait) = self.waiting.remove(waiter) else { return };
        match wait.reply_to {
            ReplyTo::Door(token) => self.waiting.served.push(Served { waiter, token, result }),
            ReplyTo::Own(mailbox) => self.waiting.wakers.extend(mailbox.put(result)),
        }
    }

    /// Answers all waiting reads with an error.
    pub(crate) fn refuse_waiters(&mut self, kind: &ErrorKind) {
        for waiter in self.waiting.all() {
            self.answer_waiter(waiter, Err(kind.clone()));
        }
    }

    /// What became of waiting reads since this was last asked.
    pub fn take_served(&mut self) -> Vec<Served> {
        std::mem::take(&mut self.waiting.served)
    }

    // ---- watching ----------------------------------------------------------------------------------------------

    /// Notes a key whose change is of interest. One that has expired by now counts as missing.
    pub fn watch(&mut self, key: KeyRef<'_>) -> WatchId {
        if self.has_expired(key.ns, key.name) && self.check_writable(false).is_ok() {
            self.vacate(key);
        }
        self.watches.add(key.ns, key.name)
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, watch: WatchId) {
        self.watches.remove(watch);
    }

    /// Whether the key changed since it was watched. A key that has expired by now counts as changed.
    pub fn is_dirty(&mut self, watch: WatchId) -> bool {
        self.watches.is_dirty(watch)
            || self.watches.key(watch).is_some_and(|(ns, name)| self.has_expired(ns, name))
    }

    /// Whether a key is there whose time is over and that nobody has removed yet.
    fn has_expired(&self, ns: NamespaceNo, name: &[u8]) -> bool {
        let slot = self.state.inner(ns.0).and_then(|inner| self.state.slot(inner, name));
        let key = slot.and_then(|slot| self.state.keys.get(slot));
        key.is_some_and(|key| key.expires != 0 && key.expires <= self.now.0)
    }
}

/// A consumer of a group of a stream that was found in this turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) found: Found,
    pub(crate) at: GroupRef,
    pub(crate) consumer: u32,
}

/// The first of some entries.
fn cut(refs: Cow<'_, [EntryRef]>, kept: usize) -> Vec<EntryRef> {
    match refs {
        Cow::Borrowed(refs) => refs[..kept].to_vec(),
        Cow::Owned(mut refs) => {
            refs.truncate(kept);
            refs
        }
    }
}

/// The IDs that a consumer has pending above one of them.
fn own_after(group: &Group, consumer: u32, after: EntryId, most: u64) -> Vec<EntryId> {
    let (Some(own), Some(start)) = (group.consumer(consumer), after.next()) else { return Vec::new() };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    own.pending.iter_from(|id| *id >= start).take(most).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Append, GroupStart, NewId, References, SetId};
    use crate::engine::Engine;

    const KEY: KeyRef<'_> = KeyRef { ns: NamespaceNo(0), name: b"s" };

    fn add(engine: &Engine, ms: u64) {
        let fields: [&[u8]; 2] = [b"f", b"v"];
        let id = NewId::Exact(EntryId::new(ms, 0));
        let request = Append { id, fields: &fields, create: true, trim: None, producer: None };
        engine.turn().append(KEY, &request).expect("it is added");
    }

    fn claim(engine: &Engine, idle_min: u64) -> Vec<u64> {
        let read = ReadGroup {
            ns: KEY.ns,
            group: b"g".as_slice().into(),
            consumer: b"ann".as_slice().into(),
            streams: vec![(KEY.name.into(), GroupReadFrom::New)],
            limits: ReadLimits::default(),
            noack: false,
            claim_idle_min: Some(idle_min),
        };
        let outcome = engine.turn().read_group(&read).expect("the group is there");
        match outcome.streams.into_iter().next().map(|stream| stream.entries) {
            Some(Entries::Claimed(given)) => given.iter().map(|delivery| delivery.entry.id.ms).collect(),
            Some(Entries::Plain(_) | Entries::Given(_)) => panic!("it claims"),
            None => Vec::new(),
        }
    }

    fn by_age(engine: &Engine) -> usize {
        let mut turn = engine.turn();
        let (found, at) = turn.find_group(KEY, b"g").expect("it is there");
        turn.group(found, at).pending.longest_idle().count()
    }

    /// A claim looked at every pending row without an entry, each time.
    #[test]
    fn a_claim_looks_once_at_rows_whose_entries_are_gone() {
        let engine = Engine::memory();
        engine
            .turn()
            .group_create(KEY, b"g", GroupStart::After(EntryId::MIN), None, true)
            .expect("it is made");
        (1..=10).for_each(|ms| add(&engine, ms));
        assert_eq!(claim(&engine, 0), Vec::from_iter(1..=10));
        let gone: Vec<EntryId> = (2..=10).map(|ms| EntryId::new(ms, 0)).collect();
        engine.turn().delete_with(KEY, &gone, References::Keep).expect("they go");
        assert_eq!(claim(&engine, 0), [1]);
        assert_eq!(by_age(&engine), 1);
        assert_eq!(engine.turn().pending_summary(KEY, b"g").expect("it is there").count, 10);
        assert!(engine.verify().expect("memory has no faults").is_clean());
    }

    /// XSETID may take the last ID back, and an entry may come that has the ID of a deleted one.
    #[test]
    fn a_row_counts_again_when_an_entry_with_its_id_comes() {
        let engine = Engine::memory();
        engine
            .turn()
            .group_create(KEY, b"g", GroupStart::After(EntryId::MIN), None, true)
            .expect("it is made");
        (1..=3).for_each(|ms| add(&engine, ms));
        assert_eq!(claim(&engine, 0), [1, 2, 3]);
        let trim = crate::api::Trim {
            bound: crate::api::TrimBound::MaxLen(0),
            approximate: false,
            limit: 0,
            references: References::Keep,
        };
        engine.turn().trim(KEY, &trim).expect("they go");
        assert_eq!(claim(&engine, 0), []);
        assert_eq!(by_age(&engine), 0);
        let back = SetId { last_id: EntryId::new(1, 0), entries_added: None, max_deleted: None };
        engine.turn().set_id(KEY, &back).expect("no entry is there");
        add(&engine, 2);
        assert_eq!(claim(&engine, 0), [2]);
    }
}
