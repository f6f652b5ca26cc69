//! Dead letters: how they are written, found, handed back and removed.
//!
//! A dead letter is an entry of the group's dead-letter stream: what became of the entry in fields that begin with
//! `weir-`, then the entry's own fields. It is appended in the same transaction of the log in which the row leaves the
//! pending list. An entry with which the letter would be larger than an entry may be is left out of it; it is in its
//! stream still.

use weir_core::{
    DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetterQuery, EntryId, ErrorKind, Failure, Fields,
    Filter, Purge, Redrive, Redriven, Timestamp, dead_letters_of, first_value, is_side_stream,
};

use crate::ahead::{Colds, gather};
use crate::api::{Append, Cold, EntryRef, Halt, KeyRef, NewId};
use crate::core::{Core, Found};
use crate::giving::judge;
use crate::group::NO_CONSUMER;
use crate::record::{EntryRecord, GroupRef, PlacedRow, Record};
use crate::state::Value;

/// What a letter adds to its entry, at most, besides names.
const LETTER_BYTES: u64 = 4 << 10;
/// Letters that one turn looks at.
const LETTERS_AT_ONCE: u64 = 500;
/// Letters that a page looks at before it says where to go on.
const LETTERS_PER_PAGE: usize = 10_000;

/// The names of a failure's fields: class, reason, time.
type FailureNames = [&'static [u8]; 3];
const FIRST: FailureNames = [b"weir-first-class", b"weir-first-reason", b"weir-first-at"];
const LAST: FailureNames = [b"weir-last-class", b"weir-last-reason", b"weir-last-at"];

/// Where the dead letters of a group go.
#[derive(Debug)]
pub(crate) struct Letters {
    name: Vec<u8>,
    stream: Vec<u8>,
    group: Vec<u8>,
}

/// How far a [`Core::redrive`] or a [`Core::purge_dead_letters`] is. Keep it while it is asked again.
#[derive(Debug, Default)]
pub struct LettersDone {
    after: EntryId,
    /// The last letter there was at first: what comes while this goes on is left alone.
    upto: Option<EntryId>,
    /// Redriven or removed.
    done: Vec<EntryId>,
    gone: Vec<EntryId>,
    purged: u64,
}

fn number(value: u64) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// A letter's fields, names and values in turn, without the entry's own.
fn written(letters: &Letters, letter: &DeadLetter) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = Vec::with_capacity(30);
    let mut put = |name: &[u8], value: Vec<u8>| fields.extend([name.to_vec(), value]);
    put(b"weir-stream", letters.stream.clone());
    put(b"weir-group", letters.group.clone());
    put(b"weir-id", letter.entry_id.to_string().into_bytes());
    if let Some(consumer) = &letter.consumer {
        put(b"weir-consumer", consumer.clone());
    }
    put(b"weir-deliveries", number(letter.deliveries));
    put(b"weir-failures", number(letter.failures));
    put(b"weir-redrives", number(letter.redrives.into()));
    for (names, failure) in [(FIRST, letter.first_failure.as_ref()), (LAST, Some(&letter.last_failure))] {
        if let Some(failure) = failure {
            put(names[0], failure.class.clone());
            put(names[1], failure.reason.clone());
            put(names[2], number(failure.at.0));
        }
    }
    fields
}

/// The letter that an entry is, if it is one of this group.
fn read(letters: &Letters, id: EntryId, record: &EntryRecord<'_>) -> Option<DeadLetter> {
    let mut fields: Fields = Vec::with_capacity(record.fields.len() / 2);
    let mut name: Option<Vec<u8>> = None;
    record.fields.for_each(|bytes| match name.take() {
        None => name = Some(bytes.to_vec()),
        Some(name) => fields.push((name, bytes.to_vec())),
    });
    let head = fields.iter().position(|(name, _)| name == b"weir-fields")? + 1;
    let own = fields.split_off(head);
    let value = |name: &[u8]| first_value(&fields, name);
    let counted = |name: &[u8]| std::str::from_utf8(value(name)?).ok()?.parse::<u64>().ok();
    let failure = |names: FailureNames| {
        let (class, reason) = (value(names[0])?.to_vec(), value(names[1])?.to_vec());
        Some(Failure { class, reason, at: Timestamp(counted(names[2])?) })
    };
    if value(b"weir-stream")? != letters.stream || value(b"weir-group")? != letters.group {
        return None;
    }
    let own_count = usize::try_from(counted(b"weir-fields")?).ok()?;
    Some(DeadLetter {
        id,
        entry_id: EntryId::parse(value(b"weir-id")?, 0).ok()?,
        fields: own.into_iter().take(own_count).collect(),
        consumer: value(b"weir-consumer").map(<[u8]>::to_vec),
        deliveries: counted(b"weir-deliveries")?,
        failures: counted(b"weir-failures")?,
        first_failure: failure(FIRST),
        last_failure: failure(LAST)?,
        redrives: u32::try_from(counted(b"weir-redrives")?).ok()?,
    })
}

fn is_meant(filter: &DeadLetterFilter, letter: &DeadLetter) -> bool {
    let last = &letter.last_failure;
    let contains = |part: &Vec<u8>| part.is_empty() || last.reason.windows(part.len()).any(|at| at == part);
    let conditions = Filter { conditions: filter.conditions.clone() };
    (filter.entry_ids.is_empty() || filter.entry_ids.contains(&letter.entry_id))
        && filter.class.as_ref().is_none_or(|class| *class == last.class)
        && filter.reason_contains.as_ref().is_none_or(contains)
        && filter.redrives_max.is_none_or(|most| letter.redrives <= most)
        && conditions.matches_fields(&letter.fields)
}

impl Core {
    // ---- writing -----------------------------------------------------------------------------------------------

    /// Where a group's dead letters go, if it has a policy.
    fn letters_of(&self, key: KeyRef<'_>, found: Found, at: GroupRef) -> Result<Option<Letters>, Halt> {
        let group = self.group(found, at);
        let Some(policy) = group.policy() else { return Ok(None) };
        let name = match &policy.dead_letter {
            Some(name) => name.clone(),
            None => dead_letters_of(key.name, &group.name)?,
        };
        Ok(Some(Letters { name, stream: key.name.to_vec(), group: group.name.to_vec() }))
    }

    /// Where entries go that become dead letters, once it is sure that they can.
    pub(crate) fn letters_for(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        buried: &[EntryRef],
    ) -> Result<Option<Letters>, Halt> {
        if buried.is_empty() {
            return Ok(None);
        }
        let (found, at) = self.find_group(key, group)?;
        let Some(letters) = self.letters_of(key, found, at)? else { return Ok(None) };
        let names = (letters.name.len() + letters.stream.len() + letters.group.len()) as u64;
        let mut bytes = 0;
        for entry in buried {
            bytes += LETTER_BYTES + names + self.options.limits.name_bytes as u64;
            if !entry.is_gone() {
                let size = |record: Option<&EntryRecord<'_>>| {
                    record.map_or(0, |record| crate::stream::plain_len(&record.fields))
                };
                bytes += self.with_record(entry.lsn, size)?;
            }
        }
        let name = KeyRef { ns: key.ns, name: &letters.name };
        match self.find_stream(name)? {
            None => self.check_new_key()?,
            Some(found) if self.stream(found).last_id.ms == u64::MAX => {
                return Err(ErrorKind::StreamExhausted.into());
            }
            Some(_) => {}
        }
        self.check_room(bytes)?;
        Ok(Some(letters))
    }

    /// Takes a row off its group's list and puts a copy of its entry among the dead letters.
    pub(crate) fn bury(
        &mut self,
        (key, found, at): (KeyRef<'_>, Found, GroupRef),
        letters: &Letters,
        id: EntryId,
        (entry, failures, last): (EntryRef, u32, Failure),
    ) -> Result<(), Halt> {
        let group = self.group(found, at);
        let Some(row) = group.pending.get(id) else { return Ok(()) };
        let letter = DeadLetter {
            id: EntryId::MIN,
            entry_id: id,
            fields: Fields::new(),
            consumer: (row.consumer != NO_CONSUMER).then(|| group.consumer_name(row.consumer).to_vec()),
            deliveries: u64::try_from(row.deliveries).unwrap_or(0),
            failures: u64::from(failures),
            first_failure: first_of(group.pending.failed(id).map(|failed| &failed.first), failures, &last),
            last_failure: last,
            redrives: group.pending.extra(id).redrives,
        };
        let mut own: Vec<Vec<u8>> = Vec::new();
        let before = self.blocks.read_on_the_spot(true);
        let copied = match entry.is_gone() {
            true => Ok(()),
            false => self.with_record(entry.lsn, |record| {
                if let Some(record) = record {
                    record.fields.for_each(|bytes| own.push(bytes.to_vec()));
                }
            }),
        };
        let name = KeyRef { ns: key.ns, name: &letters.name };
        let appended =
            copied.and_then(|()| match self.append_letter(name, written(letters, &letter), &own) {
                Err(Halt::Error(error)) if is_too_large(error.kind()) => {
                    self.append_letter(name, written(letters, &letter), &[])
                }
                appended => appended,
            });
        self.blocks.read_on_the_spot(before);
        appended?;
        self.acknowledge(found, at, vec![id]);
        self.drained(found, at, 1);
        Ok(())
    }

    fn append_letter(&mut self, name: KeyRef<'_>, head: Vec<Vec<u8>>, own: &[Vec<u8>]) -> Result<(), Halt> {
        let count = number((own.len() / 2) as u64);
        let mut fields: Vec<&[u8]> = head.iter().map(|bytes| &**bytes).collect();
        fields.extend([b"weir-fields".as_slice(), &count]);
        fields.extend(own.iter().map(|bytes| &**bytes));
        let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
        self.append(name, &request).map(drop)
    }

    // ---- whose they are ----------------------------------------------------------------------------------------

    /// Whether a group may send its dead letters to a stream. `is_own` says that no other group could have that name.
    pub(crate) fn check_dead_letters(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        (name, is_own): (&[u8], bool),
    ) -> Result<(), Halt> {
        let taken = || Halt::from(ErrorKind::DeadLetterTaken);
        if name == key.name || (is_side_stream(name) && !is_own) || self.is_promised(key, group, name)? {
            return Err(taken());
        }
        let Some(found) = self.find(KeyRef { ns: key.ns, name })? else { return Ok(()) };
        let Value::Stream(stream) = &self.key(found).value else { return Err(taken()) };
        let Some(first) = stream.oldest(&self.blocks)? else { return Ok(()) };
        let letters = Letters { name: name.to_vec(), stream: key.name.to_vec(), group: group.to_vec() };
        let is_letter = |record: Option<&EntryRecord<'_>>| {
            record.is_some_and(|record| read(&letters, first.id, record).is_some())
        };
        if self.with_record(first.lsn, is_letter)? { Ok(()) } else { Err(taken()) }
    }

    /// Whether another group's policy names a stream for its dead letters.
    fn is_promised(&self, key: KeyRef<'_>, group: &[u8], name: &[u8]) -> Result<bool, Halt> {
        let inner = self.inner(key.ns)?;
        let Some(owner) = self.state.letter_owners.get(&(inner, name.into())) else { return Ok(false) };
        let slot = self.state.keys.get(owner.slot).filter(|slot| slot.no == owner.key && slot.ns == inner);
        let Some(stream) = slot.and_then(|slot| Some((slot, slot.stream()?))) else { return Ok(false) };
        let other = stream.1.groups.as_ref().and_then(|groups| groups.by_no(owner.group));
        let names_it = other
            .and_then(|other| other.policy())
            .is_some_and(|policy| policy.dead_letter.as_deref() == Some(name));
        let is_self = *stream.0.name == *key.name && other.is_some_and(|other| *other.name == *group);
        Ok(names_it && !is_self)
    }

    // ---- looking -----------------------------------------------------------------------------------------------

    /// The letters behind an ID, at most so many entries of their stream; whether there are more, and the last ID that
    /// was looked at.
    fn letters_after(
        &mut self,
        ns: crate::api::NamespaceNo,
        letters: &Letters,
        after: EntryId,
        most: u64,
    ) -> Result<(Vec<DeadLetter>, Option<EntryId>), Halt> {
        let found = self.find_stream(KeyRef { ns, name: &letters.name })?;
        let Some(found) = found else { return Ok((Vec::new(), None)) };
        let entries = self.entries_after(found, after, most)?;
        let (mut read_all, mut colds) = (Vec::with_capacity(entries.len()), Colds::default());
        for entry in &entries {
            let letter = self.with_record(entry.lsn, |record| read(letters, entry.id, record?));
            match letter {
                Ok(letter) => read_all.extend(letter),
                Err(Halt::Cold(cold)) => {
                    if !colds.note(cold) {
                        break;
                    }
                }
                Err(halt) => return Err(halt),
            }
        }
        colds.end()?;
        let is_all = (entries.len() as u64) < most;
        Ok((read_all, entries.last().map(|entry| entry.id).filter(|_| !is_all)))
    }

    /// The dead letters of a group, the oldest first. A page may hold fewer than asked for though there are more.
    ///
    /// # Errors
    /// As [`weir_core::Deliveries::dead_letters`].
    pub fn dead_letters(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        query: &DeadLetterQuery,
    ) -> Result<DeadLetterPage, Halt> {
        let (found, at) = self.find_group(key, group)?;
        let mut page = DeadLetterPage { letters: Vec::new(), next: None };
        let Some(letters) = self.letters_of(key, found, at)? else { return Ok(page) };
        let most = usize::try_from(query.count).unwrap_or(usize::MAX).min(self.options.limits.reply_entries);
        let (mut after, mut looked) = (query.after, 0);
        loop {
            let (read, next) = self.letters_after(key.ns, &letters, after, LETTERS_AT_ONCE)?;
            for letter in read.into_iter().filter(|letter| is_meant(&query.filter, letter)) {
                if page.letters.len() >= most {
                    page.next = Some(page.letters.last().map_or(query.after, |last| last.id));
                    return Ok(page);
                }
                page.letters.push(letter);
            }
            looked += LETTERS_AT_ONCE as usize;
            match next {
                None => return Ok(page),
                Some(next) if looked >= LETTERS_PER_PAGE => {
                    page.next = Some(next);
                    return Ok(page);
                }
                Some(next) => after = next,
            }
        }
    }

    // ---- handing back and removing -----------------------------------------------------------------------------

    /// Hands dead letters back to the group that failed, some in each turn. `done` is kept by whoever asks again.
    ///
    /// # Errors
    /// As [`weir_core::Deliveries::redrive`].
    pub fn redrive(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        options: &Redrive,
        done: &mut LettersDone,
    ) -> Result<Redriven, Halt> {
        loop {
            let (found, at) = self.find_group(key, group)?;
            let letters = self.letters_of(key, found, at)?;
            let left = options.count.saturating_sub(done.done.len() as u64);
            let next = match &letters {
                Some(letters) if left > 0 => {
                    let (read, next) = self.letters_done(key.ns, letters, done)?;
                    let meant = read.into_iter().filter(|letter| is_meant(&options.filter, letter));
                    let all =
                        self.redrive_part(key, (found, at), letters, (meant, left, options.dry_run), done)?;
                    done.after = next.unwrap_or(done.after);
                    next.filter(|_| all)
                }
                _ => None,
            };
            if next.is_none() {
                let dead = self.dead_count(key, letters.as_ref())?;
                let less = if options.dry_run { done.done.len() as u64 } else { 0 };
                let (entry_ids, gone) = (std::mem::take(&mut done.done), std::mem::take(&mut done.gone));
                return Ok(Redriven { entry_ids, gone, left: dead.saturating_sub(less) });
            }
            if !self.blocks.reads_on_the_spot() {
                return Err(Cold::Again.into());
            }
        }
    }

    /// As [`Core::letters_after`], up to the last letter there was when this was first asked.
    fn letters_done(
        &mut self,
        ns: crate::api::NamespaceNo,
        letters: &Letters,
        done: &mut LettersDone,
    ) -> Result<(Vec<DeadLetter>, Option<EntryId>), Halt> {
        let upto = match done.upto {
            Some(upto) => upto,
            None => self.last_id(KeyRef { ns, name: &letters.name })?.unwrap_or_default(),
        };
        done.upto = Some(upto);
        let (mut read, next) = self.letters_after(ns, letters, done.after, LETTERS_AT_ONCE)?;
        read.retain(|letter| letter.id <= upto);
        Ok((read, next.filter(|next| *next < upto)))
    }

    fn dead_count(&mut self, key: KeyRef<'_>, letters: Option<&Letters>) -> Result<u64, Halt> {
        match letters {
            Some(letters) => self.len(KeyRef { ns: key.ns, name: &letters.name }),
            None => Ok(0),
        }
    }

    /// Answers whether all of them were looked at.
    fn redrive_part(
        &mut self,
        key: KeyRef<'_>,
        (found, at): (Found, GroupRef),
        letters: &Letters,
        (meant, left, dry_run): (impl Iterator<Item = DeadLetter>, u64, bool),
        done: &mut LettersDone,
    ) -> Result<bool, Halt> {
        let meant: Vec<DeadLetter> = meant.collect();
        let (stream, group) = (self.stream(found), self.group(found, at));
        let places = gather(meant.iter().map(|letter| stream.find(&self.blocks, letter.entry_id)))?;
        let (mut rows, mut removed, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen = std::collections::HashSet::new();
        let mut is_all = true;
        for (letter, place) in meant.iter().zip(places) {
            if removed.len() as u64 >= left {
                is_all = false;
                break;
            }
            let Some(place) = place else {
                gone.push(letter.entry_id);
                continue;
            };
            removed.push(letter.id);
            let id = letter.entry_id;
            // What comes anyway, or is pending already, is only removed from the letters.
            if id > group.last_id || group.pending.get(id).is_some() || !seen.insert(id) {
                continue;
            }
            let orders = group.policy().filter(|policy| policy.key.is_some());
            let key_of = |record: Option<&EntryRecord<'_>>| {
                orders.map_or(0, |policy| judge(&only_key(policy), record).unwrap_or(0))
            };
            let value = if orders.is_some() { self.with_record(place.lsn, key_of)? } else { 0 };
            let redrives = letter.redrives.saturating_add(1);
            rows.push(PlacedRow { redrives, key: value, ..unheld_row(id) });
        }
        let ids: Vec<EntryId> = meant
            .iter()
            .filter(|letter| removed.contains(&letter.id))
            .map(|letter| letter.entry_id)
            .collect();
        if !dry_run && !removed.is_empty() {
            self.check_pending(self.group(found, at), rows.len())?;
            self.check_writable(false)?;
            let before = self.blocks.read_on_the_spot(true);
            self.tie();
            let deleted = self.delete(KeyRef { ns: key.ns, name: &letters.name }, &removed);
            if deleted.is_ok() && !rows.is_empty() {
                self.commit_to(found, &Record::Place { at, fresh: false, rows });
            }
            self.untie();
            self.blocks.read_on_the_spot(before);
            deleted?;
            self.signal(key);
        }
        done.done.extend(ids);
        done.gone.extend(gone);
        Ok(is_all)
    }

    /// Removes dead letters, some in each turn; answers how many. `done` is kept by whoever asks again.
    ///
    /// # Errors
    /// As [`weir_core::Deliveries::purge_dead_letters`].
    pub fn purge_dead_letters(
        &mut self,
        key: KeyRef<'_>,
        group: &[u8],
        options: &Purge,
        done: &mut LettersDone,
    ) -> Result<u64, Halt> {
        loop {
            let (found, at) = self.find_group(key, group)?;
            let left = options.count.saturating_sub(done.purged);
            let letters = self.letters_of(key, found, at)?.filter(|_| left > 0);
            let Some(letters) = letters else { return Ok(std::mem::take(&mut done.purged)) };
            let (read, next) = self.letters_done(key.ns, &letters, done)?;
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let meant = read.iter().filter(|letter| is_meant(&options.filter, letter)).take(most);
            let ids: Vec<EntryId> = meant.map(|letter| letter.id).collect();
            if !options.dry_run && !ids.is_empty() {
                self.delete(KeyRef { ns: key.ns, name: &letters.name }, &ids)?;
            }
            done.purged += ids.len() as u64;
            match next {
                None => return Ok(std::mem::take(&mut done.purged)),
                Some(next) => done.after = next,
            }
            if !self.blocks.reads_on_the_spot() {
                return Err(Cold::Again.into());
            }
        }
    }
}

/// The first failure of an entry whose last one this is.
fn first_of(known: Option<&Failure>, failures: u32, last: &Failure) -> Option<Failure> {
    match failures {
        0 => known.cloned(),
        1 if last.class != Failure::DELIVERIES => Some(last.clone()),
        _ if last.class != Failure::DELIVERIES => Some(known.unwrap_or(last).clone()),
        _ => known.cloned(),
    }
}

fn is_too_large(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::EntryTooLarge | ErrorKind::LimitReached(_))
}

/// A policy of which only the key counts.
fn only_key(policy: &weir_core::Policy) -> weir_core::Policy {
    weir_core::Policy { filter: None, ..policy.clone() }
}

/// A row that nobody holds and everything is counted from 0.
pub(crate) fn unheld_row(id: EntryId) -> PlacedRow {
    PlacedRow {
        id,
        consumer: NO_CONSUMER,
        time: 0,
        deliveries: 0,
        failures: 0,
        until: 0,
        redrives: 0,
        key: 0,
        failed: None,
    }
}
