//! Whole keys as values: `COPY`, `DUMP`, `RESTORE`.
//!
//! A copy is taken in two turns: what the key is and where its entries lie, then, outside the lock, the entries
//! themselves. It is put back by adding the entries anew: same IDs, positions from 0, new global positions, so that no
//! reader of the namespace is ever passed from behind.
//!
//! The payload of `DUMP` is weir's own: a version, the key, its entries, groups and producers, and a checksum. It is
//! not Redis' and Redis will not take it.

use std::collections::BTreeSet;

use crc32c::crc32c;
use weir_core::{EntryId, Error, ErrorKind, Timestamp};
use weir_log::Level;

use crate::admission::COUNTED_MAX;
use crate::api::{EntryRef, Halt, KeyRef};
use crate::core::{Core, Found};
use crate::dead::unheld_row;
use crate::engine::{Engine, log_error};
use crate::group::Group;
use crate::idempotence::Known;
use crate::node::Node;
use crate::reading::ROWS_PER_RECORD;
use crate::record::{
    AssignedRow, EntryRecord, Fields, GroupRef, IdempotenceLimits, PlacedRow, Record, put_id, put_option,
    read_id, read_option,
};
use crate::state::Value;
use crate::stream::{Span, Stream, plain_len};
use crate::varint::{Reader, put, put_bytes, put_signed};

const MAGIC: &[u8; 4] = b"weir";
const VERSION: u8 = 2;
const TEXT: u8 = 0;
const STREAM: u8 = 1;

/// A key taken out of the engine: everything but the fields of its entries, and where those are. Two are equal when
/// nothing of the key has changed between them.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyImage {
    head: Vec<u8>,
    entries: Vec<EntryRef>,
    /// For each entry, whether it is the first of its macro node.
    node_starts: Vec<bool>,
}

impl KeyImage {
    /// Heap bytes held, about.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let entries = self.entries.capacity() * size_of::<EntryRef>();
        self.head.capacity() + entries + self.node_starts.capacity()
    }
}

/// A key ready to be put back.
#[derive(Debug)]
pub struct KeyCopy {
    payload: Vec<u8>,
}

impl KeyCopy {
    /// Checks a payload of `DUMP`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is none of this version, or damaged.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let invalid = || Error::new(ErrorKind::Invalid("DUMP payload version or checksum are wrong"));
        let (body, crc) = payload.split_last_chunk::<4>().ok_or_else(invalid)?;
        if !body.starts_with(MAGIC)
            || body.get(4) != Some(&VERSION)
            || crc32c(body) != u32::from_le_bytes(*crc)
        {
            return Err(invalid());
        }
        let copy = Self { payload: body.to_vec() };
        // The checksum says that nobody changed it by accident; whether it makes sense is found by reading it once.
        copy.check().ok_or_else(invalid)?;
        Ok(copy)
    }

    /// Whether its counters fit its entries, and no group or consumer is named twice.
    fn check(&self) -> Option<()> {
        let (mut head, mut entries, mut last) = (None, 0, EntryId::MIN);
        let (mut groups, mut consumers) = (BTreeSet::new(), BTreeSet::new());
        self.read(&mut |item| {
            match item {
                Item::Stream(stream) => head = Some(stream),
                Item::Entry { id, .. } => (entries, last) = (entries + 1, id),
                Item::Group { name, .. } => {
                    consumers.clear();
                    groups.insert(name.to_vec()).then_some(())?;
                }
                Item::Consumer { name, .. } => consumers.insert(name.to_vec()).then_some(())?,
                _ => {}
            }
            Some(())
        })?;
        let fits = |head: StreamHead| {
            let counters = head.idempotent_added.max(head.idempotent_duplicates);
            head.last_id >= last && head.entries_added >= entries && counters < COUNTED_MAX
        };
        head.is_none_or(fits).then_some(())
    }

    /// The payload, as `DUMP` answers it.
    #[must_use]
    pub fn into_payload(mut self) -> Vec<u8> {
        let crc = crc32c(&self.payload);
        self.payload.extend_from_slice(&crc.to_le_bytes());
        self.payload
    }

    /// Heap bytes held, about.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.payload.capacity()
    }

    fn sizes(&self) -> Sizes {
        let (mut sizes, mut consumers, mut rows) = (Sizes::default(), 0, 0);
        let mut producers: BTreeSet<Box<[u8]>> = BTreeSet::new();
        let read = self.read(&mut |item| {
            let (mut name, mut value) = (0, 0);
            match item {
                Item::Entry { fields, .. } => {
                    sizes.entries += 1;
                    value = plain_len(&fields) + 5 * (fields.len() as u64);
                }
                Item::Text(text) => value = text.len() as u64,
                Item::Group { name: group, .. } => {
                    name = group.len();
                    (sizes.groups, consumers, rows) = (sizes.groups + 1, 0, 0);
                }
                Item::Consumer { name: consumer, .. } => (name, consumers) = (consumer.len(), consumers + 1),
                Item::Producer(producer, iid, _) => {
                    name = producer.len().max(iid.len());
                    if !producers.contains(producer) {
                        producers.insert(producer.into());
                    }
                }
                Item::Rows(more) => rows += more.len(),
                Item::Released(more) => rows += more.len(),
                Item::Stream(_) => {}
            }
            sizes.consumers_max = sizes.consumers_max.max(consumers);
            sizes.rows_max = sizes.rows_max.max(rows);
            sizes.name_max = sizes.name_max.max(name);
            sizes.value_max = sizes.value_max.max(value);
            Some(())
        });
        read.expect("a copy is read once before it is put in place");
        sizes.producers = producers.len();
        sizes
    }

    fn read(&self, visit: &mut dyn FnMut(Item<'_>) -> Option<()>) -> Option<()> {
        let mut r = Reader::new(&self.payload[5..]);
        if r.byte()? == TEXT {
            visit(Item::Text(r.bytes()?))?;
            return r.is_empty().then_some(());
        }
        visit(Item::Stream(StreamHead {
            last_id: read_id(&mut r)?,
            max_deleted: read_id(&mut r)?,
            entries_added: r.varint()?,
            limits: IdempotenceLimits::decode(&mut r)?,
            node: Node::decode(&mut r)?,
            idempotent_added: r.varint()?,
            idempotent_duplicates: r.varint()?,
        }))?;
        for _ in 0..r.length()? {
            visit(Item::Producer(r.bytes()?, r.bytes()?, read_id(&mut r)?))?;
        }
        for _ in 0..r.length()? {
            read_group(&mut r, visit)?;
        }
        let mut last = EntryId::MIN;
        for _ in 0..r.length()? {
            let id = read_id(&mut r)?;
            let packed = r.length()?;
            let (count, node_start) = (packed & !1, packed & 1 != 0);
            (count >= 2).then_some(())?;
            let from = r.rest();
            for _ in 0..count {
                r.bytes()?;
            }
            let bytes = &from[..from.len() - r.rest().len()];
            (id > last).then_some(())?;
            last = id;
            visit(Item::Entry { id, fields: Fields::Encoded { count, bytes }, node_start })?;
        }
        r.is_empty().then_some(())
    }
}

/// How much of everything a copy has.
#[derive(Debug, Default)]
struct Sizes {
    entries: usize,
    groups: usize,
    producers: usize,
    /// Consumers of the group that has most.
    consumers_max: usize,
    /// Pending entries of the group that has most.
    rows_max: usize,
    /// Bytes of the longest name.
    name_max: usize,
    /// Bytes of the largest entry or text, encoded.
    value_max: u64,
}

/// One part of a copied key, in the order they are put back, except entries, which come first.
enum Item<'a> {
    Text(&'a [u8]),
    Stream(StreamHead),
    Producer(&'a [u8], &'a [u8], EntryId),
    Group {
        name: &'a [u8],
        last_id: EntryId,
        entries_read: Option<u64>,
    },
    Consumer {
        name: &'a [u8],
        seen: u64,
        active: Option<u64>,
    },
    /// Rows of the last consumer; those of nobody come after the last consumer.
    Rows(Vec<AssignedRow>),
    Released(Vec<(EntryId, i64)>),
    Entry {
        id: EntryId,
        fields: Fields<'a>,
        node_start: bool,
    },
}

#[derive(Clone, Copy)]
struct StreamHead {
    last_id: EntryId,
    max_deleted: EntryId,
    entries_added: u64,
    limits: IdempotenceLimits,
    node: Node,
    idempotent_added: u64,
    idempotent_duplicates: u64,
}

fn read_group(r: &mut Reader<'_>, visit: &mut dyn FnMut(Item<'_>) -> Option<()>) -> Option<()> {
    visit(Item::Group { name: r.bytes()?, last_id: read_id(r)?, entries_read: read_option(r)? })?;
    for _ in 0..r.length()? {
        visit(Item::Consumer { name: r.bytes()?, seen: r.varint()?, active: read_option(r)? })?;
        let rows = (0..r.length()?)
            .map(|_| Some(AssignedRow { id: read_id(r)?, time: r.varint()?, deliveries: r.signed()? }))
            .collect::<Option<_>>()?;
        visit(Item::Rows(rows))?;
    }
    let released = (0..r.length()?).map(|_| Some((read_id(r)?, r.signed()?))).collect::<Option<_>>()?;
    visit(Item::Released(released))
}

/// Entries fetched before their bytes are counted.
const FETCHED_AT_ONCE: usize = 256;

/// About how many bytes a pending entry takes in a payload.
const ROW_BYTES: usize = 16;

fn too_many_bytes() -> Error {
    ErrorKind::LimitReached("bytes copied at once (copied_bytes)").into()
}

impl Engine {
    /// Fetches the entries of a key that was taken out.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] when they have more bytes than are copied at once; [`ErrorKind::Invalid`] when some
    /// were removed meanwhile and their space was given back; [`ErrorKind::Io`],
    /// [`ErrorKind::Corrupt`].
    pub fn complete(&self, image: &KeyImage) -> Result<KeyCopy, Error> {
        let KeyImage { head, entries, node_starts } = image;
        if entries.last().is_some_and(|last| last.lsn >= self.shared.log.written()) {
            self.shared.log.flush_submitted(Level::Written).map_err(log_error)?;
        }
        let mut payload = head.clone();
        let most = self.limits().copied_bytes;
        for (entries, node_starts) in entries.chunks(FETCHED_AT_ONCE).zip(node_starts.chunks(FETCHED_AT_ONCE))
        {
            let mut found = 0;
            self.fetch(entries, &mut |nth, fields| {
                found += 1;
                // What is too large anyway is not kept; the rest of these few is only looked at.
                if payload.len() > most {
                    return;
                }
                put_id(&mut payload, entries[nth].id);
                // The number of names and values is even; the lowest bit is free.
                put(&mut payload, fields.len() as u64 | u64::from(node_starts[nth]));
                fields.for_each(|bytes| put_bytes(&mut payload, bytes));
            })?;
            if payload.len() > most {
                return Err(too_many_bytes());
            }
            if found < entries.len() {
                return Err(ErrorKind::Invalid("the key was changed while it was copied").into());
            }
        }
        Ok(KeyCopy { payload })
    }
}

impl Core {
    /// Takes a key out, to be completed by [`Engine::complete`]; `None` when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] when it has more entries, or more of anything else, than are copied at once.
    pub fn image(&mut self, key: KeyRef<'_>) -> Result<Option<KeyImage>, Halt> {
        let Some(found) = self.find(key)? else { return Ok(None) };
        let mut head = MAGIC.to_vec();
        head.push(VERSION);
        let stream = match &self.key(found).value {
            Value::Text(text) => {
                head.push(TEXT);
                put_bytes(&mut head, text);
                return Ok(Some(KeyImage { head, entries: Vec::new(), node_starts: Vec::new() }));
            }
            Value::Stream(stream) => stream,
        };
        if stream.len > self.options.limits.copied_entries as u64 {
            return Err(ErrorKind::LimitReached("entries copied at once (copied_entries)").into());
        }
        let rows: usize = stream.groups().map(|group| group.pending.len()).sum();
        if rows > self.options.limits.copied_bytes / ROW_BYTES {
            return Err(too_many_bytes().into());
        }
        let entries = self.entries_of(found, Span { most: stream.len, ..Span::ALL }, false)?;
        // What is appended elsewhere is written before it is fetched, see [`Engine::complete`].
        if self.in_transaction() && entries.last().is_some_and(|last| last.lsn >= self.log.submitted()) {
            return Err(ErrorKind::Invalid("entries added in a transaction cannot be copied in it").into());
        }
        put_stream(&mut head, stream);
        if head.len() > self.options.limits.copied_bytes {
            return Err(too_many_bytes().into());
        }
        put(&mut head, entries.len() as u64);
        let node_starts = node_starts(stream, &entries);
        Ok(Some(KeyImage { head, entries, node_starts }))
    }

    /// Puts a key in place under a name. `replace` says whether a key of that name may go; answers `false` when one
    /// was in the way.
    ///
    /// # Errors
    /// [`ErrorKind::DiskFull`], [`ErrorKind::LimitReached`], [`ErrorKind::EntryTooLarge`].
    pub fn put_copy(
        &mut self,
        key: KeyRef<'_>,
        copy: &KeyCopy,
        expires: Option<Timestamp>,
        replace: bool,
        event: &'static str,
    ) -> Result<bool, Halt> {
        let old = self.find(key)?;
        if old.is_some() && !replace {
            return Ok(false);
        }
        self.check_name(key.name)?;
        if old.is_none() {
            self.check_new_key()?;
        }
        self.check_copy(copy)?;
        self.check_room(copy.payload.len() as u64)?;
        self.tie();
        if let Some(old) = old {
            self.delete_found(key, old);
        }
        let found = self.write_copy(key, copy);
        if let (Some(found), Some(at)) = (found, expires) {
            let no = self.key(found).no;
            self.commit_to(found, &Record::Expire { key: no, at: at.0 });
        }
        self.untie();
        self.touched(key);
        self.signal(key);
        self.event(key, event);
        Ok(true)
    }

    /// Whether every entry fits and nothing is too many: a copy may come from an engine with larger segments and other
    /// limits.
    fn check_copy(&self, copy: &KeyCopy) -> Result<(), Halt> {
        let limits = &self.options.limits;
        if copy.payload.len() > limits.copied_bytes {
            return Err(too_many_bytes().into());
        }
        let sizes = copy.sizes();
        let bounds = [
            (sizes.entries, limits.copied_entries, "entries copied at once (copied_entries)"),
            (sizes.groups, limits.groups, "groups of a stream (groups)"),
            (sizes.producers, limits.producers, "producers of a stream (producers)"),
            (sizes.consumers_max, limits.consumers, "consumers of a group (consumers)"),
            (sizes.rows_max, limits.pending, "pending entries of a group (pending)"),
            (sizes.name_max, limits.name_bytes, "bytes of a name (name_bytes)"),
        ];
        if let Some((_, _, what)) = bounds.into_iter().find(|(count, most, _)| count > most) {
            return Err(ErrorKind::LimitReached(what).into());
        }
        let most = self.appender.max_record().saturating_sub(512 + 3 * limits.name_bytes) as u64;
        if sizes.value_max > most { Err(ErrorKind::EntryTooLarge.into()) } else { Ok(()) }
    }

    fn write_copy(&mut self, key: KeyRef<'_>, copy: &KeyCopy) -> Option<Found> {
        let mut found = None;
        let mut head = None;
        let mut at = None;
        let mut consumer = 0;
        // Entries first: adding them moves the counters that the rest then sets.
        copy.read(&mut |item| {
            match item {
                Item::Text(value) => found = Some(self.write_text(key, value)),
                Item::Stream(stream) => {
                    found = Some(self.make_stream(key));
                    head = Some(stream);
                }
                Item::Entry { id, fields, node_start } => self.add_copied(found?, id, fields, node_start),
                _ => {}
            }
            Some(())
        });
        let (target, head) = (found?, head);
        let Some(head) = head else { return found };
        self.write_head(target, head);
        copy.read(&mut |item| {
            let no = self.key(target).no;
            match item {
                Item::Producer(producer, iid, id) => {
                    self.commit_to(target, &Record::IdempotentId { key: no, producer, iid, id });
                }
                Item::Group { name, last_id, entries_read } => {
                    let group = self.stream(target).groups.as_ref().map_or(0, |groups| groups.next_no());
                    at = Some(GroupRef { key: no, group });
                    consumer = 0;
                    self.commit_to(target, &Record::GroupNew { at: at?, name, last_id, entries_read });
                }
                Item::Consumer { name, seen, active } => {
                    consumer = self.group(target, at?).next_consumer_no();
                    self.commit_to(target, &Record::ConsumerNew { at: at?, consumer, name, seen, active });
                }
                Item::Rows(rows) => {
                    for part in rows.chunks(ROWS_PER_RECORD) {
                        let row = |row: &AssignedRow| PlacedRow {
                            consumer,
                            time: row.time,
                            deliveries: row.deliveries,
                            ..unheld_row(row.id)
                        };
                        let rows = part.iter().map(row).collect();
                        self.commit_to(target, &Record::Place { at: at?, fresh: true, rows });
                    }
                }
                Item::Released(rows) => {
                    for part in rows.chunks(ROWS_PER_RECORD) {
                        self.commit_to(target, &Record::Release { at: at?, rows: part.to_vec() });
                    }
                }
                Item::Text(_) | Item::Stream(_) | Item::Entry { .. } => {}
            }
            Some(())
        });
        found
    }

    fn write_text(&mut self, key: KeyRef<'_>, value: &[u8]) -> Found {
        self.vacate(key);
        let ns = self.state.inner(key.ns.0).expect("the key was looked up in this namespace");
        let no = self.state.next_key;
        let slot = self.commit(None, &Record::Text { key: no, ns, name: key.name, value });
        Found { slot: slot.expect("a new key has a slot") }
    }

    /// Macro nodes begin where they did, so that trimming the copy does what trimming the original would.
    fn add_copied(&mut self, found: Found, id: EntryId, fields: Fields<'_>, node_start: bool) {
        if self.stream(found).seals_before(node_start) {
            self.seal_tail(found);
        }
        let key = self.key(found);
        let space = &self.state.namespaces[key.ns as usize];
        let record = EntryRecord {
            key: key.no,
            pos: self.stream(found).next_pos,
            gpos: space.next_gpos,
            id,
            at: self.now.0.max(space.last_at),
            node_start,
            fields,
            idempotent: None,
            by_time: false,
        };
        self.commit_to(found, &Record::Entry(record));
    }

    fn write_head(&mut self, found: Found, head: StreamHead) {
        let key = self.key(found).no;
        self.commit_to(found, &Record::Idempotence { key, limits: head.limits });
        let record = Record::SetId {
            key,
            last_id: head.last_id,
            entries_added: Some(head.entries_added),
            max_deleted: Some(head.max_deleted),
        };
        self.commit_to(found, &record);
        let StreamHead { node, idempotent_added, idempotent_duplicates, .. } = head;
        let record = Record::Carried { key, node, idempotent_added, idempotent_duplicates };
        self.commit_to(found, &record);
    }
}

/// For each of all live entries of a stream, whether it is the first of its macro node that is left.
fn node_starts(stream: &Stream, entries: &[EntryRef]) -> Vec<bool> {
    let mut masters = stream.node_masters().peekable();
    let begins = |entry: &EntryRef| {
        let mut begins = false;
        while masters.next_if(|master| *master <= entry.id).is_some() {
            begins = true;
        }
        begins
    };
    entries.iter().map(begins).collect()
}

fn put_stream(out: &mut Vec<u8>, stream: &Stream) {
    out.push(STREAM);
    put_id(out, stream.last_id);
    put_id(out, stream.max_deleted);
    put(out, stream.entries_added);
    stream.idempotence_limits.encode(out);
    stream.node.encode(out);
    let counters = stream.idempotence.as_ref().map_or((0, 0), |known| (known.added, known.duplicates));
    put(out, counters.0);
    put(out, counters.1);
    let known: Vec<_> = stream.idempotence.iter().flat_map(|idempotence| idempotence.iter()).collect();
    put(out, known.len() as u64);
    for (producer, iid, Known { id, .. }) in known {
        put_bytes(out, producer);
        put_bytes(out, iid);
        put_id(out, id);
    }
    put(out, stream.groups().count() as u64);
    stream.groups().for_each(|group| put_group(out, group));
}

fn put_group(out: &mut Vec<u8>, group: &Group) {
    put_bytes(out, &group.name);
    put_id(out, group.last_id);
    put_option(out, group.entries_read);
    put(out, group.consumer_count() as u64);
    for (_, consumer) in group.consumers() {
        put_bytes(out, &consumer.name);
        put(out, consumer.seen);
        put_option(out, consumer.active);
        put(out, consumer.pending.len() as u64);
        for row in consumer.pending.iter().filter_map(|id| group.pending.get(*id)) {
            put_id(out, row.id);
            put(out, row.time);
            put_signed(out, row.deliveries);
        }
    }
    put(out, group.pending.unheld_len() as u64);
    for row in group.pending.unheld() {
        put_id(out, row.id);
        put_signed(out, row.deliveries);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_core::ManualClock;
    use weir_log::{LogOptions, MemoryDisk};

    use super::*;
    use crate::api::NamespaceNo;
    use crate::options::{Fsync, Options};

    const KEY: KeyRef<'_> = KeyRef { ns: NamespaceNo(0), name: b"s" };

    fn open(disk: &MemoryDisk) -> Engine {
        let log = LogOptions { segment_bytes: 64 << 10, ring_bytes: 64 << 10, ..LogOptions::default() };
        let options = Options { log, fsync: Fsync::No, background: false, ..Options::default() };
        let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
        Engine::open(Arc::new(disk.clone()), clock, options).expect("the folder opens")
    }

    /// A payload with one entry and whatever head somebody likes to claim.
    fn payload(node: Node, (added, idempotent_added): (u64, u64)) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[VERSION, STREAM]);
        put_id(&mut out, EntryId::new(5, 0));
        put_id(&mut out, EntryId::MIN);
        put(&mut out, added);
        IdempotenceLimits::default().encode(&mut out);
        node.encode(&mut out);
        put(&mut out, idempotent_added);
        put(&mut out, 0);
        put(&mut out, 0);
        put(&mut out, 0);
        put(&mut out, 1);
        put_id(&mut out, EntryId::new(5, 0));
        put(&mut out, 2 | 1);
        put_bytes(&mut out, b"field");
        put_bytes(&mut out, b"value");
        let crc = crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Puts a payload in place, goes on with it, and opens the folder again, with and without a snapshot.
    fn survives(payload: &[u8]) {
        let copy = KeyCopy::parse(payload).expect("it makes sense");
        let disk = MemoryDisk::new();
        let mut engine = open(&disk);
        assert!(engine.turn().put_copy(KEY, &copy, None, false, "restore").expect("it is put in place"));
        for _ in 0..2 {
            let fields: [&[u8]; 2] = [b"f", b"v"];
            let id = crate::api::NewId::Auto;
            let request =
                crate::api::Append { id, fields: &fields, create: true, trim: None, producer: None };
            for _ in 0..3 {
                engine.turn().append(KEY, &request).expect("entries are added");
            }
            let first = engine.turn().stream_info(KEY).expect("it is there").first_id;
            engine.turn().delete(KEY, &[first]).expect("it is deleted");
            engine.sync().expect("memory has no faults");
            let before = engine.dump().expect("memory has no faults");
            drop(engine);
            engine = open(&disk);
            assert_eq!(engine.dump().expect("memory has no faults"), before);
            assert!(engine.verify().expect("memory has no faults").is_clean());
            engine.snapshot().expect("memory has no faults");
        }
        drop(engine);
        assert_eq!(open(&disk).turn().len(KEY).expect("it is there"), 5);
    }

    #[test]
    fn whatever_a_payload_claims_the_folder_opens_again() {
        let node = Node { count: 1, deleted: 0, bytes: 20, master: EntryId::new(5, 0), names_hash: 1 };
        survives(&payload(node, (1, 0)));
        survives(&payload(Node { count: 1_000, ..node }, (1, 0)));
        survives(&payload(Node { count: u32::MAX, deleted: u32::MAX, ..node }, (1, 0)));
        survives(&payload(Node { bytes: crate::node::NODE_BYTES_MAX, ..node }, (u64::MAX, COUNTED_MAX - 1)));
        survives(&payload(Node { master: EntryId::MAX, names_hash: 0, ..node }, (1, 0)));
        survives(&payload(Node::default(), (1, 0)));
    }

    #[test]
    fn counters_that_would_overflow_are_refused() {
        let node = Node::default();
        assert!(KeyCopy::parse(&payload(node, (0, 0))).is_err());
        assert!(KeyCopy::parse(&payload(node, (1, u64::MAX))).is_err());
        assert!(KeyCopy::parse(&payload(Node { deleted: 1, ..node }, (1, 0))).is_err());
    }
}
