//! Adding and removing entries: `XADD`, `XTRIM`, `XDEL`, `XDELEX`, `XSETID`, `XRANGE`.

use std::ops::ControlFlow;

use weir_core::{EntryId, ErrorKind, Expected};
use xxhash_rust::xxh3::xxh3_128;

use crate::ahead::gather;
use crate::api::{
    Append, Appended, Cold, Deleted, EntryRef, Halt, KeyRef, NewId, Producer, Range, References, SetId, Trim,
    TrimBound,
};
use crate::core::{Core, Found};
use crate::reading::ROWS_PER_RECORD;
use crate::record::{EntryRecord, Fields, GroupRef, IdempotenceLimits, Record, Removal};
use crate::stream::{BlockInfo, BlockSource, Span, Stream, plain_len};

/// What an entry's record needs beyond its names and values, at most.
const RECORD_OVERHEAD: usize = 256;

impl Core {
    /// Adds an entry to a stream.
    ///
    /// # Errors
    /// [`ErrorKind::IdZero`], [`ErrorKind::WrongType`], [`ErrorKind::StreamExhausted`],
    /// [`ErrorKind::IdNotGreater`], [`ErrorKind::EntryTooLarge`], [`ErrorKind::LimitReached`],
    /// [`ErrorKind::DiskFull`], in this order.
    pub fn append(&mut self, key: KeyRef<'_>, request: &Append<'_>) -> Result<Appended, Halt> {
        self.append_as(key, request, &Terms::default())
    }

    /// As [`Core::append`], on terms.
    ///
    /// # Errors
    /// As [`Core::append`]; [`ErrorKind::VersionMismatch`].
    pub fn append_as(
        &mut self,
        key: KeyRef<'_>,
        request: &Append<'_>,
        terms: &Terms,
    ) -> Result<Appended, Halt> {
        // Redis says so before it looks at the key; through the traits, an append that is repeated is answered as the first.
        let is_redis = !terms.remembers && terms.expected == Expected::Any;
        if is_redis && request.id == NewId::Exact(EntryId::MIN) {
            return Err(ErrorKind::IdZero.into());
        }
        let found = self.find_stream(key)?;
        if found.is_none() && !request.create {
            return Ok(Appended::NoStream);
        }
        let iid = request.producer.map(|producer| idempotent_id(&producer, request.fields));
        let idempotent = request.producer.as_ref().map(|p| p.id).zip(iid.as_deref());
        if let (Some(found), Some((producer, iid))) = (found, idempotent)
            && let Some(id) = self.find_idempotent(found, producer, iid)
        {
            return Ok(Appended::Duplicate(id));
        }
        self.check_version(found, terms.expected)?;
        let id = next_id(found.map(|f| self.stream(f).last_id), request.id, self.now.0)?;
        let fields = Fields::Slices(request.fields);
        let plain = plain_len(&fields);
        self.check_entry(key, request.fields.len(), plain)?;
        if found.is_none() {
            self.check_new_key()?;
        }
        if let Some((producer, iid)) = idempotent {
            self.check_producer(found, producer, iid)?;
        }
        if let Some(found) = found {
            // What the trims will look at is made warm before anything changes.
            if let Some(trim) = &request.trim {
                self.judge_required(found, 1)?;
                self.plan_guarded(found, trim)?;
            }
            self.warm_retention(found, 1, plain)?;
        }
        self.check_room(plain)?;
        self.tie();
        let new = NewEntry { id, fields, plain, idempotent, by_time: terms.remembers };
        let added = self.write_entry(key, found, new);
        let trimmed = match &request.trim {
            None => Ok(0),
            Some(trim) => self.trim_found(key, added, trim),
        };
        self.keep_to_limits(key, added);
        self.untie();
        self.touched(key);
        self.signal(key);
        self.event(key, "xadd");
        let trimmed = trimmed.unwrap_or(0);
        if trimmed > 0 {
            self.event(key, "xtrim");
        }
        Ok(Appended::Added { id, trimmed })
    }

    pub(crate) fn check_entry(&self, key: KeyRef<'_>, strings: usize, plain: u64) -> Result<(), Halt> {
        let limits = &self.options.limits;
        let record_max = self.appender.max_record().saturating_sub(RECORD_OVERHEAD + 2 * limits.name_bytes);
        let bytes_max = limits.entry_bytes.min(record_max) as u64;
        if plain.saturating_add(5 * strings as u64) > bytes_max {
            return Err(ErrorKind::EntryTooLarge.into());
        }
        if strings > limits.entry_strings {
            return Err(ErrorKind::LimitReached("fields of an entry (entry_strings)").into());
        }
        self.check_name(key.name)
    }

    pub(crate) fn find_idempotent(&mut self, found: Found, producer: &[u8], iid: &[u8]) -> Option<EntryId> {
        let now = self.now.0;
        let stream = self.stream_mut(found);
        let limits = stream.idempotence_limits;
        let idempotence = stream.idempotence.as_mut()?;
        let id = idempotence.find(producer, iid, limits, now)?;
        idempotence.duplicates += 1;
        Some(id)
    }

    /// Adds an entry that was checked, to a stream that is made where there is none.
    pub(crate) fn write_entry(&mut self, key: KeyRef<'_>, found: Option<Found>, new: NewEntry<'_>) -> Found {
        let found = found.unwrap_or_else(|| self.make_stream(key));
        if new.by_time && new.idempotent.is_some() {
            self.remember_longer(found);
        }
        let (node_start, seal) = self.stream(found).next_block(new.plain, self.options.nodes);
        if seal {
            self.seal_tail(found);
        }
        let entry = self.key(found);
        let space = &self.state.namespaces[entry.ns as usize];
        let record = EntryRecord {
            key: entry.no,
            pos: self.stream(found).next_pos,
            gpos: space.next_gpos,
            id: new.id,
            at: self.now.0.max(space.last_at),
            node_start,
            fields: new.fields,
            idempotent: new.idempotent,
            by_time: new.by_time,
        };
        let judged = (record.pos, record.at);
        self.commit_to(found, &Record::Entry(record));
        self.judge_new(found, new.id, judged, &new.fields);
        found
    }

    /// Makes an empty stream under a free name.
    pub(crate) fn make_stream(&mut self, key: KeyRef<'_>) -> Found {
        self.vacate(key);
        let inner = self.state.inner(key.ns.0).expect("the key was looked up in this namespace");
        let idempotence = IdempotenceLimits {
            duration_s: self.options.idempotence_duration,
            ids_max: self.options.idempotence_max,
        };
        let record = Record::KeyNew { key: self.state.next_key, ns: inner, name: key.name, idempotence };
        let slot = self.commit(None, &record).expect("a new key has a slot");
        Found { slot }
    }

    /// Removes entries from the old end; answers how many went.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn trim(&mut self, key: KeyRef<'_>, trim: &Trim) -> Result<u64, Halt> {
        let Some(found) = self.find_stream(key)? else { return Ok(0) };
        self.judge_required(found, 1)?;
        self.plan_guarded(found, trim)?;
        self.check_writable(false)?;
        self.tie();
        let removed = self.trim_found(key, found, trim);
        self.untie();
        let removed = removed?;
        if removed > 0 {
            self.event(key, "xtrim");
        }
        Ok(removed)
    }

    pub(crate) fn trim_found(&mut self, key: KeyRef<'_>, found: Found, trim: &Trim) -> Result<u64, Halt> {
        let before = self.blocks.read_on_the_spot(true);
        let plan = self.plan_guarded(found, trim);
        self.blocks.read_on_the_spot(before);
        let plan = plan?;
        let (removed, dereferences) = (plan.removal.removed, !plan.dereferenced.is_empty());
        if removed > 0 {
            self.remove(found, plan);
            self.touched(key);
        }
        if dereferences {
            self.signal(key);
        }
        Ok(removed)
    }

    /// Removes entries by ID; answers how many there were.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn delete(&mut self, key: KeyRef<'_>, ids: &[EntryId]) -> Result<u64, Halt> {
        let answers = self.delete_with(key, ids, References::Keep)?;
        Ok(answers.iter().filter(|answer| **answer == Deleted::Yes).count() as u64)
    }

    /// Removes entries by ID and says for each what became of it.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn delete_with(
        &mut self,
        key: KeyRef<'_>,
        ids: &[EntryId],
        references: References,
    ) -> Result<Vec<Deleted>, Halt> {
        let Some(found) = self.find_stream(key)? else { return Ok(vec![Deleted::NotFound; ids.len()]) };
        let (answers, plan) = plan_delete(self.stream(found), &self.blocks, ids, references)?;
        self.check_writable(false)?;
        if plan.removal.removed > 0 || !plan.dereferenced.is_empty() {
            let (removed, dereferences) = (plan.removal.removed, !plan.dereferenced.is_empty());
            self.tie();
            self.remove(found, plan);
            self.untie();
            if dereferences {
                // What waited for the keys of rows that went may be ready.
                self.signal(key);
            }
            if removed > 0 {
                self.touched(key);
                self.event(key, "xdel");
            }
        }
        Ok(answers)
    }

    /// Carries out a planned removal.
    pub(crate) fn remove(&mut self, found: Found, plan: RemovalPlan) {
        let no = self.key(found).no;
        for (group, ids) in plan.dereferenced {
            self.acknowledge(found, GroupRef { key: no, group }, ids);
        }
        if plan.removal.removed == 0 {
            return;
        }
        let mut rest = Removal { key: no, ..plan.removal };
        while rest.runs.len() > ROWS_PER_RECORD {
            let later = rest.runs.split_off(ROWS_PER_RECORD);
            let later: Removal =
                Removal { removed: later.iter().map(|run| run.1).sum(), runs: later, ..rest };
            // What is left is only true behind the last of them, and nobody looks in between.
            let first_id = self.stream(found).first_id;
            let part = Removal { removed: rest.removed - later.removed, first_id, max_deleted: None, ..rest };
            self.commit_to(found, &Record::Remove(part));
            rest = later;
        }
        self.commit_to(found, &Record::Remove(rest));
    }

    /// How many live entries a stream has; 0 when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn len(&mut self, key: KeyRef<'_>) -> Result<u64, Halt> {
        Ok(self.find_stream(key)?.map_or(0, |found| self.stream(found).len))
    }

    /// The last ID a stream gave out; `None` when there is no stream.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`].
    pub fn last_id(&mut self, key: KeyRef<'_>) -> Result<Option<EntryId>, Halt> {
        Ok(self.find_stream(key)?.map(|found| self.stream(found).last_id))
    }

    /// Entries between two IDs; `None` when there is no stream.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`]; [`ErrorKind::LimitReached`] when more entries match than one answer may hold.
    pub fn range(&mut self, key: KeyRef<'_>, range: &Range) -> Result<Option<Vec<EntryRef>>, Halt> {
        let Some(found) = self.find_stream(key)? else { return Ok(None) };
        let most = self.options.limits.reply_entries;
        let count = range.count.map_or(most + 1, |n| usize::try_from(n).unwrap_or(most + 1).min(most + 1));
        let span = Span { from: range.start, to: range.end, most: count as u64 };
        let refs = self.entries_alone(found, span, range.reverse)?.into_owned();
        if refs.len() > most {
            return Err(ErrorKind::LimitReached("entries in one answer (reply_entries); use COUNT").into());
        }
        Ok(Some(refs))
    }

    /// Sets a stream's counters. Made for copying streams between servers.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchStream`]; [`ErrorKind::Invalid`] with the text Redis answers.
    pub fn set_id(&mut self, key: KeyRef<'_>, request: &SetId) -> Result<(), Halt> {
        let found = self.find_stream(key)?.ok_or(ErrorKind::NoSuchStream)?;
        let stream = self.stream(found);
        if request.last_id < stream.max_deleted {
            return Err(ErrorKind::Invalid(
                "The ID specified in XSETID is smaller than current max_deleted_entry_id",
            )
            .into());
        }
        if stream.len > 0 {
            let newest = stream.newest(&self.blocks)?.map_or(EntryId::MIN, |entry| entry.id);
            if request.last_id < newest {
                return Err(ErrorKind::Invalid(
                    "The ID specified in XSETID is smaller than the target stream top item",
                )
                .into());
            }
            if request.entries_added.is_some_and(|added| added < stream.len) {
                return Err(ErrorKind::Invalid(
                    "The entries_added specified in XSETID is smaller than the target stream length",
                )
                .into());
            }
        }
        self.check_writable(true)?;
        // Entries to come may lie below deleted ones at the end of the tail; within a block IDs only grow.
        let stream = self.stream(found);
        let split = stream.tail.live > 0 && stream.tail.block.last_id() > request.last_id;
        self.tie();
        if split {
            self.seal_tail(found);
        }
        let record = Record::SetId {
            key: self.key(found).no,
            last_id: request.last_id,
            entries_added: request.entries_added,
            max_deleted: request.max_deleted.filter(|id| *id != EntryId::MIN),
        };
        self.commit_to(found, &record);
        self.untie();
        self.event(key, "xsetid");
        Ok(())
    }
}

/// On what terms an entry is appended, beyond what Redis knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// What the end of the stream has to be.
    pub expected: Expected,
    /// Whether the stream is to remember its producers as [`weir_core::Producer`] promises, not as Redis does.
    pub remembers: bool,
}

/// An entry that may be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEntry<'a> {
    pub(crate) id: EntryId,
    pub(crate) fields: Fields<'a>,
    /// Bytes of names and values.
    pub(crate) plain: u64,
    pub(crate) idempotent: Option<(&'a [u8], &'a [u8])>,
    pub(crate) by_time: bool,
}

/// The ID a new entry gets.
pub(crate) fn next_id(last: Option<EntryId>, wanted: NewId, now: u64) -> Result<EntryId, Halt> {
    let last = last.unwrap_or(EntryId::MIN);
    if wanted == NewId::Exact(EntryId::MIN) {
        return Err(ErrorKind::IdZero.into());
    }
    if last == EntryId::MAX {
        return Err(ErrorKind::StreamExhausted.into());
    }
    let not_greater = || Halt::from(ErrorKind::IdNotGreater { last });
    match wanted {
        NewId::Auto if now > last.ms => Ok(EntryId::new(now, 0)),
        NewId::Auto => last.next().ok_or_else(not_greater),
        NewId::AutoSeq(ms) if ms > last.ms => Ok(EntryId::new(ms, 0)),
        NewId::AutoSeq(ms) if ms == last.ms => {
            last.seq.checked_add(1).map(|seq| EntryId::new(ms, seq)).ok_or_else(not_greater)
        }
        NewId::AutoSeq(_) => Err(not_greater()),
        NewId::Exact(id) if id > last => Ok(id),
        NewId::Exact(_) => Err(not_greater()),
    }
}

/// The producer's own ID of an append, or one made from its fields, whatever their order.
fn idempotent_id(producer: &Producer<'_>, fields: &[&[u8]]) -> Vec<u8> {
    if let Some(iid) = producer.iid {
        return iid.to_vec();
    }
    let mut sum = 0_u128;
    let mut pair = Vec::new();
    for field in fields.chunks(2) {
        pair.clear();
        pair.extend_from_slice(&(field[0].len() as u64).to_le_bytes());
        field.iter().for_each(|bytes| pair.extend_from_slice(bytes));
        sum = sum.wrapping_add(xxh3_128(&pair));
    }
    sum.to_le_bytes().to_vec()
}

/// What goes when entries are removed.
#[derive(Debug, Default)]
pub(crate) struct RemovalPlan {
    pub(crate) removal: Removal,
    /// One more than the last position that was looked at and goes.
    next_pos: u64,
    /// Pending rows that go too, by group number.
    pub(crate) dereferenced: Vec<(u32, Vec<EntryId>)>,
}

impl RemovalPlan {
    fn dereference(&mut self, stream: &Stream, id: EntryId) {
        for group in stream.groups().filter(|group| group.pending.get(id).is_some()) {
            match self.dereferenced.iter_mut().find(|(no, _)| *no == group.no) {
                Some((_, ids)) => ids.push(id),
                None => self.dereferenced.push((group.no, vec![id])),
            }
        }
    }
}

/// Whether some group has still to see or to acknowledge an entry.
pub(crate) fn is_referenced(stream: &Stream, id: EntryId) -> bool {
    stream.groups().any(|group| group.last_id < id || group.pending.get(id).is_some())
}

/// Decides a trim: nodes from the oldest, whole ones where possible. The steps are those of `docs/semantics.md`.
pub(crate) fn plan_trim(
    stream: &Stream,
    source: &impl BlockSource,
    trim: &Trim,
) -> Result<RemovalPlan, Cold> {
    let mut plan = RemovalPlan::default();
    if stream.len == 0 {
        return Ok(plan);
    }
    if let TrimBound::MaxLen(most) = trim.bound
        && stream.len <= most
    {
        return Ok(plan);
    }
    let mut blocks = stream.blocks_from(EntryId::MIN).peekable();
    let mut first_left = None;
    while let Some(first) = blocks.next() {
        let mut node = vec![first];
        while let Some(next) = blocks.next_if(|block| !block.node_start) {
            node.push(next);
        }
        let step = TrimStep { stream, source, trim, next: blocks.peek().map(|block| block.first) };
        if !step.take_node(&node, &mut plan, &mut first_left)? {
            break;
        }
    }
    if plan.removal.removed > 0 {
        plan.removal.first_id = match first_left {
            Some(id) => id,
            None => first_live_from(stream, source, plan.next_pos)?,
        };
    }
    Ok(plan)
}

/// The first live entry from a position on; 0-0 when there is none.
fn first_live_from(stream: &Stream, source: &impl BlockSource, pos: u64) -> Result<EntryId, Cold> {
    let mut first = EntryId::MIN;
    for block in stream.blocks_from(EntryId::MIN).filter(|block| block.first_pos + block.count > pos) {
        if block.first_pos >= pos && stream.begins_alive(&block) {
            return Ok(block.first);
        }
        let flow = stream.visit_block(&block, source, |entry| {
            if entry.pos < pos {
                return ControlFlow::Continue(());
            }
            first = entry.id;
            ControlFlow::Break(())
        })?;
        if flow.is_break() {
            break;
        }
    }
    Ok(first)
}

struct TrimStep<'a, S> {
    stream: &'a Stream,
    source: &'a S,
    trim: &'a Trim,
    /// The first ID after this node.
    next: Option<EntryId>,
}

impl<S: BlockSource> TrimStep<'_, S> {
    /// Removes what the trim wants of one node; `false` = go no further.
    fn take_node(
        &self,
        node: &[BlockInfo],
        plan: &mut RemovalPlan,
        first_left: &mut Option<EntryId>,
    ) -> Result<bool, Cold> {
        let left = self.stream.len - plan.removal.removed;
        let live: u64 = node.iter().map(|block| block.live).sum();
        let limit = self.trim.limit;
        if matches!(self.trim.bound, TrimBound::MaxLen(most) if left <= most)
            || (limit != 0 && plan.removal.removed + live > limit)
        {
            return Ok(false);
        }
        let eligible = match self.trim.bound {
            TrimBound::MaxLen(most) => left - live >= most,
            TrimBound::MinId(id) => self.ends_below(node, id)?,
        };
        if self.trim.references == References::Keep {
            if eligible && first_left.is_none() {
                let last = node.last().expect("a node has a block");
                plan.removal.blocks_below = last.first_pos + 1;
                plan.next_pos = last.first_pos + last.count;
                plan.removal.removed += live;
                return Ok(true);
            }
            if self.trim.approximate {
                return Ok(false);
            }
        }
        for block in node {
            let taken = self.take_entries(block, plan, first_left);
            if !taken.map_err(|cold| self.missing(cold, block.first, plan))? {
                break;
            }
        }
        Ok(eligible)
    }

    /// What a trim that looks at every entry found cold, and what it will look at from that block on, about.
    fn missing(&self, cold: Cold, from: EntryId, plan: &RemovalPlan) -> Cold {
        let (most, to) = match self.trim.bound {
            TrimBound::MaxLen(most) => (self.stream.len - plan.removal.removed - most, EntryId::MAX),
            TrimBound::MinId(id) => (u64::MAX, id),
        };
        let most = if self.trim.references == References::Keep { 1 } else { most.max(1) };
        self.stream.missing(cold, self.source, &Span { from, to, most }, false)
    }

    fn ends_below(&self, node: &[BlockInfo], id: EntryId) -> Result<bool, Cold> {
        if self.next.is_some_and(|next| next <= id) {
            return Ok(true);
        }
        if node[0].first >= id {
            return Ok(false);
        }
        let last = node.last().expect("a node has a block");
        Ok(self.stream.block_last(last, self.source)? < id)
    }

    /// Removes entries of a block one by one up to the bound; `false` = the bound was reached.
    fn take_entries(
        &self,
        block: &BlockInfo,
        plan: &mut RemovalPlan,
        first_left: &mut Option<EntryId>,
    ) -> Result<bool, Cold> {
        let flow = self.stream.visit_block(block, self.source, |entry| {
            let reached = match self.trim.bound {
                TrimBound::MaxLen(most) => self.stream.len - plan.removal.removed <= most,
                TrimBound::MinId(id) => entry.id >= id,
            };
            let kept = self.trim.references == References::Acked && is_referenced(self.stream, entry.id);
            if reached || kept {
                first_left.get_or_insert(entry.id);
                return if reached { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            }
            if self.trim.references == References::Delete {
                plan.dereference(self.stream, entry.id);
            }
            match plan.removal.runs.last_mut() {
                Some((first, count)) if *first >= block.first_pos && *first + *count == entry.pos => {
                    *count += 1
                }
                _ => plan.removal.runs.push((entry.pos, 1)),
            }
            plan.removal.removed += 1;
            plan.next_pos = entry.pos + 1;
            ControlFlow::Continue(())
        })?;
        Ok(flow.is_continue())
    }
}

/// Decides which of the named entries go.
pub(crate) fn plan_delete(
    stream: &Stream,
    source: &impl BlockSource,
    ids: &[EntryId],
    references: References,
) -> Result<(Vec<Deleted>, RemovalPlan), Cold> {
    let mut plan = RemovalPlan::default();
    let mut gone = std::collections::BTreeSet::new();
    let mut answers = Vec::with_capacity(ids.len());
    let places = gather(ids.iter().map(|id| {
        let kept = references == References::Acked && is_referenced(stream, *id);
        if kept { Ok(None) } else { stream.find(source, *id) }
    }))?;
    for (id, place) in ids.iter().zip(places) {
        if references == References::Acked && is_referenced(stream, *id) {
            answers.push(Deleted::Referenced);
            continue;
        }
        if references == References::Delete && !gone.contains(id) {
            plan.dereference(stream, *id);
        }
        match place.filter(|_| !gone.contains(id)) {
            None => answers.push(Deleted::NotFound),
            Some(entry) => {
                gone.insert(*id);
                plan.removal.runs.push((entry.pos, 1));
                answers.push(Deleted::Yes);
            }
        }
    }
    plan.removal.removed = gone.len() as u64;
    plan.removal.max_deleted = gone.last().copied();
    plan.removal.first_id = stream.first_id;
    if gone.contains(&stream.first_id) {
        plan.removal.first_id = EntryId::MIN;
        let span = Span { from: stream.first_id, to: EntryId::MAX, most: gone.len() as u64 + 1 };
        stream.scan(source, span, |entry| {
            if gone.contains(&entry.id) {
                return ControlFlow::Continue(());
            }
            plan.removal.first_id = entry.id;
            ControlFlow::Break(())
        })?;
    }
    Ok((answers, plan))
}
