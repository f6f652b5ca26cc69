//! Reading for one's own account and for a group: `XREAD`, `XREADGROUP`.

use std::ops::ControlFlow;
use std::sync::Arc;

use weir_core::{EntryId, ErrorKind};

use crate::api::{
    Cold, Delivery, Entries, EntryRef, GroupReadFrom, Halt, KeyRef, NamespaceNo, Read, ReadFrom, ReadGroup,
    ReadLimits, ReadOutcome, StreamEntries,
};
use crate::core::{Core, Found};
use crate::counters;
use crate::group::{Group, PendingEntry};
use crate::mailbox::Mailbox;
use crate::record::{AssignedRow, EntryRecord, GroupRef, Record};
use crate::stream::Stream;
use crate::waiting::{ReplyTo, Served, WaiterId, Wanted, WatchId};

/// Rows in one record at most, so that a record always fits a segment: a row takes up to 40 bytes.
pub(crate) const ROWS_PER_RECORD: usize = 1_000;

/// What an entry takes in an answer beside its names and values, about.
const ENTRY_BYTES: u64 = 24;

/// Rows without an entry that one claim remembers to skip.
const GHOSTS_AT_ONCE: usize = 100_000;

/// What is left of a read's limits.
struct Budget {
    count: Option<u64>,
    count_total: u64,
    bytes_total: Option<u64>,
    bytes: u64,
    answered: u64,
}

impl Budget {
    fn new(limits: &ReadLimits, most: usize) -> Self {
        let count = limits.count.filter(|count| *count > 0);
        let count_total = limits.count_total.unwrap_or(u64::MAX).min(most as u64);
        Self { count, count_total, bytes_total: limits.bytes_total, bytes: 0, answered: 0 }
    }

    /// How many entries the next stream may give.
    fn next_stream(&self) -> u64 {
        self.count.unwrap_or(u64::MAX).min(self.count_total - self.answered)
    }

    /// Cuts a stream's share to what the byte limit leaves, and counts it.
    fn take(&mut self, core: &Core, refs: &mut Vec<EntryRef>) {
        if let Some(most) = self.bytes_total {
            let mut kept = 0;
            for entry in refs.iter() {
                if self.answered + kept as u64 > 0 && self.bytes >= most {
                    break;
                }
                self.bytes += core.reply_bytes(entry);
                kept += 1;
            }
            refs.truncate(kept);
        }
        self.answered += refs.len() as u64;
    }

    fn is_spent(&self) -> bool {
        self.answered >= self.count_total
            || (self.answered > 0 && self.bytes_total.is_some_and(|most| self.bytes >= most))
    }
}

impl Core {
    /// A byte limit looks at entries' sizes, so what was appended has to be written first. Where nobody can ask again
    /// (a transaction, a waiting read) sizes of entries that are not written yet count as [`ENTRY_BYTES`].
    fn check_sizes_readable(&self, limits: &ReadLimits) -> Result<(), Halt> {
        let readable = self.blocks.reads_on_the_spot() || self.log.written() == self.appender.head();
        if limits.bytes_total.is_some() && !readable { Err(Cold::Unwritten.into()) } else { Ok(()) }
    }

    /// About how many bytes an entry takes in an answer.
    fn reply_bytes(&self, entry: &EntryRef) -> u64 {
        let mut bytes = ENTRY_BYTES;
        if !entry.is_gone() {
            let read = self.log.read_many(&[entry.lsn], &mut |_, body| {
                if let Some(record) = EntryRecord::decode(body) {
                    bytes += crate::stream::plain_len(&record.fields);
                }
                ControlFlow::Break(())
            });
            // An entry that cannot be read is reported when its fields are fetched.
            drop(read);
        }
        bytes
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
        let mut outcome = ReadOutcome::default();
        for (stream, (name, from)) in read.streams.iter().enumerate() {
            if budget.is_spent() {
                break;
            }
            let Some(found) = self.find_stream(KeyRef { ns: read.ns, name })? else { continue };
            let mut refs = self.plain_entries(found, *from, budget.next_stream())?;
            budget.take(self, &mut refs);
            if !refs.is_empty() {
                outcome.streams.push(StreamEntries { stream, entries: Entries::Plain(refs) });
            }
        }
        Ok(outcome)
    }

    fn plain_entries(&self, found: Found, from: ReadFrom, most: u64) -> Result<Vec<EntryRef>, Halt> {
        let stream = self.stream(found);
        match from {
            ReadFrom::Newest => {
                let newest = stream.newest(&self.blocks)?;
                Ok(newest.map(|entry| EntryRef { id: entry.id, lsn: entry.lsn }).into_iter().collect())
            }
            ReadFrom::After(id) => self.entries_after(stream, id, most),
        }
    }

    fn entries_after(&self, stream: &Stream, id: EntryId, most: u64) -> Result<Vec<EntryRef>, Halt> {
        let mut refs = Vec::new();
        let Some(start) = id.next().filter(|_| id < stream.last_id && stream.len > 0 && most > 0) else {
            return Ok(refs);
        };
        stream.scan(&self.blocks, (start, EntryId::MAX), |entry| {
            refs.push(EntryRef { id: entry.id, lsn: entry.lsn });
            if refs.len() as u64 >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(refs)
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
        let most = read.limits.count.filter(|count| *count > 0).unwrap_or(u64::MAX);
        for (name, from) in &read.streams {
            let Some(found) = self.find_stream(KeyRef { ns: read.ns, name })? else { continue };
            let stream = self.stream(found);
            let Some(group) = stream.group(&read.group) else { continue };
            if *from == GroupReadFrom::New && group.last_id < stream.last_id {
                let most = most.min(self.options.limits.reply_entries as u64);
                let mut left = most;
                let start = group.last_id.next().unwrap_or(EntryId::MAX);
                stream.scan(&self.blocks, (start, EntryId::MAX), |_| {
                    left -= 1;
                    if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
            }
        }
        Ok(())
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

    /// The consumer's own pending entries, counted as delivered once more.
    fn history(&mut self, place: &Place, after: EntryId, budget: &mut Budget) -> Result<Vec<EntryRef>, Halt> {
        let now = self.now.0;
        let group = self.group(place.found, place.at);
        let most = budget.next_stream();
        let Some(own) = group.consumer(place.consumer) else { return Ok(Vec::new()) };
        let ids: Vec<EntryId> = match after.next() {
            None => Vec::new(),
            Some(start) => own
                .pending
                .iter_from(|id| *id >= start)
                .take(usize::try_from(most).unwrap_or(usize::MAX))
                .copied()
                .collect(),
        };
        let mut refs = self.locate(place.found, &ids)?;
        budget.take(self, &mut refs);
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
    pub(crate) fn locate(&self, found: Found, ids: &[EntryId]) -> Result<Vec<EntryRef>, Halt> {
        let stream = self.stream(found);
        ids.iter()
            .map(|id| {
                let entry = stream.find(&self.blocks, *id)?;
                Ok(entry.map_or(EntryRef::gone(*id), |entry| EntryRef { id: *id, lsn: entry.lsn }))
            })
            .collect()
    }

    fn deliver_new(
        &mut self,
        place: &Place,
        noack: bool,
        most: u64,
        budget: &mut Budget,
    ) -> Result<Vec<EntryRef>, Halt> {
        let (group, stream) = (self.group(place.found, place.at), self.stream(place.found));
        let (last, read) = (group.last_id, group.entries_read);
        let pending_room = (self.options.limits.pending as u64).saturating_sub(group.pending.len() as u64);
        if pending_room == 0 && !noack && last < stream.last_id {
            return Err(ErrorKind::LimitReached("pending entries of a group (pending)").into());
        }
        let most = if noack { most } else { most.min(pending_room) };
        let mut refs = self.entries_after(stream, last, most)?;
        budget.take(self, &mut refs);
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
                time: self.now.0,
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
        let now = self.now.0;
        self.group_mut(place.found, place.at).pending.index_times();
        let group = self.group(place.found, place.at);
        let stream = self.stream(place.found);
        let ripe = |row: &PendingEntry| row.idle(now).is_none_or(|idle| idle >= idle_min);
        let candidates = group.pending.handed_back().chain(group.pending.longest_idle().take_while(ripe));
        let (mut given, mut ghosts) = (Vec::new(), Vec::new());
        for row in candidates {
            if given.len() as u64 >= most {
                break;
            }
            match stream.find(&self.blocks, row.id)? {
                Some(entry) => given.push(Delivery {
                    entry: EntryRef { id: row.id, lsn: entry.lsn },
                    // Rows that were handed back count as delivered at time 0.
                    idle: now.saturating_sub(row.time),
                    deliveries: row.deliveries,
                }),
                None if ghosts.len() < GHOSTS_AT_ONCE => ghosts.push(row),
                None => {}
            }
        }
        self.group_mut(place.found, place.at).pending.skip_times(&ghosts);
        let mut refs: Vec<EntryRef> = given.iter().map(|delivery| delivery.entry).collect();
        budget.take(self, &mut refs);
        given.truncate(refs.len());
        let rows = given.iter().map(|delivery| AssignedRow {
            id: delivery.entry.id,
            time: now,
            deliveries: delivery.deliveries.saturating_add(1),
        });
        self.assign(place, rows.collect());
        Ok(given)
    }

    /// When the row that is idle longest will be old enough.
    fn next_idle(&mut self, place: &Place, idle_min: u64) -> Option<u64> {
        let group = self.group(place.found, place.at);
        let stream = self.stream(place.found);
        let mut ghosts = Vec::new();
        let waiting = group.pending.longest_idle().find(|row| {
            let found = stream.find(&self.blocks, row.id);
            if ghosts.len() < GHOSTS_AT_ONCE && found.as_ref().is_ok_and(Option::is_none) {
                ghosts.push(*row);
            }
            found.is_ok_and(|entry| entry.is_some())
        });
        let from = waiting.map_or(self.now.0, |row| row.time);
        self.group_mut(place.found, place.at).pending.skip_times(&ghosts);
        Some(from.saturating_add(idle_min).max(self.now.0 + 1))
    }

    pub(crate) fn assign(&mut self, place: &Place, rows: Vec<AssignedRow>) {
        for part in rows.chunks(ROWS_PER_RECORD) {
            let record = Record::Assign { at: place.at, consumer: place.consumer, rows: part.to_vec() };
            self.commit_to(place.found, &record);
        }
    }

    pub(crate) fn touch_consumer(&mut self, place: &Place, active: bool) {
        let now = self.now.0;
        self.group_mut(place.found, place.at).touch_consumer(place.consumer, now, active);
    }

    // ---- groups by name ----------------------------------------------------------------------------------------

    pub(crate) fn find_group(&mut self, key: KeyRef<'_>, name: &[u8]) -> Result<(Found, GroupRef), Halt> {
        let found = self.find_stream(key)?.ok_or(ErrorKind::NoSuchGroup)?;
        let group = self.stream(found).group(name).ok_or(ErrorKind::NoSuchGroup)?.no;
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
        let seen = self.now.0;
        self.commit_to(found, &Record::ConsumerNew { at, consumer, name, seen, active: None });
        self.event(key, "xgroup-createconsumer");
        consumer
    }

    // ---- waiting -----------------------------------------------------------------------------------------------

    /// Lets a plain read wait. It was asked just before and found nothing.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] when too many reads wait.
    pub fn wait_read(&mut self, read: Read, token: u64) -> Result<WaiterId, Halt> {
        self.wait(Wanted::Read(read), ReplyTo::Door(token))
    }

    /// Lets a group read wait. It was asked just before and found nothing.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] when too many reads wait.
    pub fn wait_group(&mut self, read: ReadGroup, token: u64) -> Result<WaiterId, Halt> {
        self.wait(Wanted::Group(read), ReplyTo::Door(token))
    }

    /// Lets a read of this process wait, whose answer goes into a mailbox.
    pub(crate) fn wait_in(&mut self, wanted: Wanted, mailbox: Arc<Mailbox>) -> Result<WaiterId, Halt> {
        self.wait(wanted, ReplyTo::Own(mailbox))
    }

    fn wait(&mut self, wanted: Wanted, reply_to: ReplyTo) -> Result<WaiterId, Halt> {
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
            while let Some(waiter) = self.waiting.first(ns, name, &group) {
                if !self.ask_again(waiter) {
                    break;
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
        };
        self.blocks.read_on_the_spot(before);
        let result = match (answer, &wanted) {
            (Ok(outcome), _) if outcome.streams.is_empty() => return false,
            (Ok(outcome), _) => Ok(outcome),
            // Plain reads go on waiting whatever becomes of the key.
            (Err(_), Wanted::Read(_)) => return false,
            (Err(Halt::Cold(Cold::Room(_))), Wanted::Group(read)) => {
                read.streams.iter().for_each(|(name, _)| self.waiting.signal(read.ns, name));
                return false;
            }
            (Err(Halt::Error(error)), Wanted::Group(_)) => Err(error.kind().clone()),
            (Err(Halt::Cold(_)), Wanted::Group(_)) => Err(ErrorKind::Io),
        };
        if let Some(wait) = self.waiting.remove(waiter) {
            match wait.reply_to {
                ReplyTo::Door(token) => self.waiting.served.push(Served { waiter, token, result }),
                ReplyTo::Own(mailbox) => mailbox.put(result),
            }
        }
        true
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
            Some(Entries::Plain(_)) => panic!("it claims"),
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
