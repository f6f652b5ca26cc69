//! Appending several entries at once, and what appends through the traits promise: versions, a long memory.
//!
//! A batch is decided as a whole before its first record is written, and its records are one transaction of the log.

use std::collections::HashMap;

use weir_core::{Appended, EntryId, ErrorKind, Expected};

use crate::api::{self, Append, Halt, KeyRef, NewId, Producer};
use crate::core::{Core, Found};
use crate::entries::{NewEntry, Terms, next_id};
use crate::record::{Fields, IdempotenceLimits, Record};
use crate::stream::plain_len;

/// What a stream remembers of each producer that appends through the traits.
const REMEMBERED: IdempotenceLimits = IdempotenceLimits { duration_s: 3_600, ids_max: 10_000 };

/// One entry of a batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchEntry<'a> {
    /// Which ID.
    pub id: NewId,
    /// Names and values in turn; an even number, at least two.
    pub fields: &'a [&'a [u8]],
    /// Which append of the producer it is.
    pub append_id: Option<&'a [u8]>,
}

impl Core {
    /// Whether the end of a stream is what an appender expects.
    pub(crate) fn check_version(&self, found: Option<Found>, expected: Expected) -> Result<(), Halt> {
        let actual = || found.and_then(|found| self.stream(found).next_pos.checked_sub(1));
        let fits = match expected {
            Expected::Any => true,
            Expected::NoEntries => actual().is_none(),
            Expected::Version(version) => actual() == Some(version),
        };
        if fits { Ok(()) } else { Err(ErrorKind::VersionMismatch { actual: actual() }.into()) }
    }

    /// Has a stream remember its producers as the traits promise. Nothing that it remembers is forgotten.
    pub(crate) fn remember_longer(&mut self, found: Found) {
        let own = self.stream(found).idempotence_limits;
        if own.duration_s < REMEMBERED.duration_s || own.ids_max < REMEMBERED.ids_max {
            let key = self.key(found).no;
            self.commit_to(found, &Record::IdempotenceRaised { key, limits: REMEMBERED });
        }
    }

    /// Adds several entries to a stream, which is made if there is none: all of them or none. Those that the producer
    /// repeats are answered with the ID of the first, also within the batch.
    ///
    /// # Errors
    /// As [`Core::append_as`], for the whole batch; [`ErrorKind::Invalid`] when some entry has an append ID and there is
    /// no producer, or the other way round; [`ErrorKind::LimitReached`] with more entries or bytes than a batch may have.
    pub fn append_batch(
        &mut self,
        key: KeyRef<'_>,
        entries: &[BatchEntry<'_>],
        producer: Option<&[u8]>,
        terms: &Terms,
    ) -> Result<Vec<Appended>, Halt> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        if let [only] = entries
            && only.append_id.is_some() == producer.is_some()
        {
            return self.append_single(key, only, producer, terms).map(|appended| vec![appended]);
        }
        let found = self.find_stream(key)?;
        let planned = self.plan_batch(key, found, entries, producer, terms)?;
        let bytes = planned.bytes;
        if let Some(found) = found.filter(|_| !planned.new.is_empty()) {
            self.warm_retention(found, planned.new.len() as u64, bytes)?;
        }
        if !planned.new.is_empty() {
            self.check_room(bytes)?;
            self.write_batch(key, found, &planned.new);
        }
        Ok(planned.answers)
    }

    fn append_single(
        &mut self,
        key: KeyRef<'_>,
        entry: &BatchEntry<'_>,
        producer: Option<&[u8]>,
        terms: &Terms,
    ) -> Result<Appended, Halt> {
        let producer = producer.zip(entry.append_id).map(|(id, iid)| Producer { id, iid: Some(iid) });
        let request = Append { id: entry.id, fields: entry.fields, create: true, trim: None, producer };
        Ok(match self.append_as(key, &request, terms)? {
            api::Appended::Added { id, .. } => Appended { id, is_duplicate: false },
            api::Appended::Duplicate(id) => Appended { id, is_duplicate: true },
            api::Appended::NoStream => unreachable!("a missing stream is made"),
        })
    }

    /// Decides everything about a batch.
    fn plan_batch<'e>(
        &mut self,
        key: KeyRef<'_>,
        found: Option<Found>,
        entries: &[BatchEntry<'e>],
        producer: Option<&'e [u8]>,
        terms: &Terms,
    ) -> Result<Planned<'e>, Halt> {
        if entries.len() > self.options.limits.batch_entries {
            return Err(ErrorKind::LimitReached("entries of a batch (batch_entries)").into());
        }
        if entries.iter().any(|entry| entry.append_id.is_some() != producer.is_some()) {
            return Err(ErrorKind::Invalid(
                "with a producer every entry needs an append ID, without none has one",
            )
            .into());
        }
        let mut planned = Planned { answers: Vec::with_capacity(entries.len()), new: Vec::new(), bytes: 0 };
        let mut known: HashMap<&[u8], EntryId> = HashMap::new();
        let mut last = found.map(|found| self.stream(found).last_id);
        for entry in entries {
            let idempotent = producer.zip(entry.append_id);
            if let Some((producer, iid)) = idempotent {
                let before = known.get(iid).copied();
                let before = before.or_else(|| self.find_idempotent(found?, producer, iid));
                if let Some(id) = before {
                    planned.answers.push(Appended { id, is_duplicate: true });
                    continue;
                }
                self.check_producer(found, producer, iid)?;
            }
            self.check_version(found, terms.expected)?;
            let id = next_id(last, entry.id, self.now.0)?;
            let fields = Fields::Slices(entry.fields);
            let plain = plain_len(&fields);
            self.check_entry(key, entry.fields.len(), plain)?;
            planned.bytes += plain;
            planned.answers.push(Appended { id, is_duplicate: false });
            planned.new.push(NewEntry { id, fields, plain, idempotent, by_time: terms.remembers });
            known.extend(entry.append_id.map(|iid| (iid, id)));
            last = Some(id);
        }
        if planned.bytes > self.options.limits.batch_bytes as u64 {
            return Err(ErrorKind::LimitReached("bytes of a batch (batch_bytes)").into());
        }
        if found.is_none() && !planned.new.is_empty() {
            self.check_new_key()?;
        }
        Ok(planned)
    }

    fn write_batch(&mut self, key: KeyRef<'_>, mut found: Option<Found>, new: &[NewEntry<'_>]) {
        self.tie();
        for entry in new {
            found = Some(self.write_entry(key, found, *entry));
        }
        if let Some(found) = found {
            self.keep_to_limits(key, found);
        }
        self.untie();
        self.touched(key);
        self.signal(key);
        new.iter().for_each(|_| self.event(key, "xadd"));
    }
}

/// What a batch comes to.
struct Planned<'e> {
    answers: Vec<Appended>,
    new: Vec<NewEntry<'e>>,
    bytes: u64,
}
