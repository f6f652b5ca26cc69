//! Records: every change of the engine's state, as it stands in the log.
//!
//! A record says what changed, never what was asked: applying it needs no clock, no randomness and no disk. Numbers
//! are LEB128 varints, byte strings carry their length in front; `docs/format.md` draws each kind.
//!
//! Decoding trusts nothing: what is cut off, too long or of an unknown kind is `None`.

use weir_core::{EntryId, Failure, GroupOrigin, Policy, Retention, Timestamp};

use crate::block::Block;
use crate::group::NO_CONSUMER;
use crate::node::Node;
use crate::policy::{put_origin, put_policy, read_origin, read_policy};
use crate::retention::{Measure, put_measures, put_retention, read_measures, read_retention};
use crate::varint::{self, Reader, put, put_bytes, put_signed};

/// The fields of an entry: names and values in turn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fields<'a> {
    /// As the caller passed them.
    Slices(&'a [&'a [u8]]),
    /// As they stand in a record.
    Encoded { count: usize, bytes: &'a [u8] },
}

impl<'a> Fields<'a> {
    /// How many names and values there are together.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Slices(slices) => slices.len(),
            Self::Encoded { count, .. } => *count,
        }
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&'a [u8])) {
        match self {
            Self::Slices(slices) => slices.iter().for_each(|bytes| visit(bytes)),
            Self::Encoded { count, bytes } => {
                let mut reader = Reader::new(bytes);
                (0..*count).map_while(|_| reader.bytes()).for_each(visit);
            }
        }
    }

    /// The first value under a name.
    pub(crate) fn value(&self, name: &[u8]) -> Option<&'a [u8]> {
        match self {
            Self::Slices(slices) => slices.chunks_exact(2).find(|pair| *pair[0] == *name).map(|pair| pair[1]),
            Self::Encoded { count, bytes } => {
                let mut reader = Reader::new(bytes);
                for _ in 0..count / 2 {
                    let (own, value) = (reader.bytes()?, reader.bytes()?);
                    if own == name {
                        return Some(value);
                    }
                }
                None
            }
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.len() as u64);
        match self {
            Self::Slices(slices) => slices.iter().for_each(|bytes| put_bytes(out, bytes)),
            Self::Encoded { bytes, .. } => out.extend_from_slice(bytes),
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Option<Self> {
        let count = reader.length()?;
        let bytes = reader.rest();
        for _ in 0..count {
            reader.bytes()?;
        }
        Some(Self::Encoded { count, bytes: &bytes[..bytes.len() - reader.rest().len()] })
    }
}

/// A new entry of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryRecord<'a> {
    pub(crate) key: u64,
    pub(crate) pos: u64,
    pub(crate) gpos: u64,
    pub(crate) id: EntryId,
    /// Append time in milliseconds since the Unix epoch; never decreases within a namespace.
    pub(crate) at: u64,
    /// Whether the entry begins a macro node.
    pub(crate) node_start: bool,
    pub(crate) fields: Fields<'a>,
    /// Producer and idempotent ID, when the producer gave them.
    pub(crate) idempotent: Option<(&'a [u8], &'a [u8])>,
    /// Whether the idempotent ID is remembered by the append time, not by the time part of the entry's ID.
    pub(crate) by_time: bool,
}

/// A row of a pending list after an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AssignedRow {
    pub(crate) id: EntryId,
    pub(crate) time: u64,
    pub(crate) deliveries: i64,
}

/// A row that is handed back, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnedRow {
    pub(crate) id: EntryId,
    pub(crate) deliveries: i64,
    /// `None` = as many as before.
    pub(crate) failures: Option<u32>,
    /// Not delivered again before, in milliseconds of steady time; 0 = at once.
    pub(crate) until: u64,
    pub(crate) failure: Option<Failure>,
}

/// A new row of a group that is ordered by a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyedRow {
    pub(crate) id: EntryId,
    /// The hash of the value that orders it; 0 = none does.
    pub(crate) key: u64,
    /// Whether it waits for an earlier one with its key, instead of being given to the reader.
    pub(crate) waiting: bool,
}

/// A row that is put in place as it was elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlacedRow {
    pub(crate) id: EntryId,
    /// Or [`NO_CONSUMER`].
    pub(crate) consumer: u32,
    pub(crate) time: u64,
    pub(crate) deliveries: i64,
    pub(crate) failures: u32,
    /// As [`ReturnedRow::until`]; where nobody holds it.
    pub(crate) until: u64,
    pub(crate) redrives: u32,
    /// As [`KeyedRow::key`].
    pub(crate) key: u64,
    /// The first failure and the last one.
    pub(crate) failed: Option<(Failure, Failure)>,
}

/// Which group of which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupRef {
    pub(crate) key: u64,
    pub(crate) group: u32,
}

#[derive(Debug, Clone)]
pub(crate) enum Record<'a> {
    /// A namespace came to be.
    Namespace {
        ns: u32,
        name: &'a [u8],
    },
    /// Two names of namespaces changed places.
    SwapNamespaces {
        a: u32,
        b: u32,
    },
    /// All keys of a namespace are gone.
    Flush {
        ns: u32,
    },
    /// An empty stream came to be.
    KeyNew {
        key: u64,
        ns: u32,
        name: &'a [u8],
        idempotence: IdempotenceLimits,
    },
    /// A string value came to be, or took another value.
    Text {
        key: u64,
        ns: u32,
        name: &'a [u8],
        value: &'a [u8],
    },
    KeyDelete {
        key: u64,
    },
    /// A key got another name or namespace.
    KeyMove {
        key: u64,
        ns: u32,
        name: &'a [u8],
    },
    /// 0 = never.
    Expire {
        key: u64,
        at: u64,
    },
    Entry(EntryRecord<'a>),
    /// The tail block of a stream was full; this record is its home from now on.
    Block {
        key: u64,
        block: std::borrow::Cow<'a, Block>,
    },
    /// Entries are gone.
    Remove(Removal),
    SetId {
        key: u64,
        last_id: EntryId,
        entries_added: Option<u64>,
        max_deleted: Option<EntryId>,
    },
    Idempotence {
        key: u64,
        limits: IdempotenceLimits,
    },
    /// An idempotent ID was tied to an entry without adding it.
    IdempotentId {
        key: u64,
        producer: &'a [u8],
        iid: &'a [u8],
        id: EntryId,
    },
    /// What a copied stream takes over besides its entries, groups and idempotent IDs: how full its last macro node
    /// is, deleted entries counted, and the lifetime counters of its producers.
    Carried {
        key: u64,
        node: Node,
        idempotent_added: u64,
        idempotent_duplicates: u64,
    },
    /// How much of a stream is kept, and how many of its alerts were told; `None` = everything.
    Retention {
        key: u64,
        kept: Option<(Retention, u8)>,
    },
    /// Sizes and append times of entries that were there before limits needed them: of all below `upto` that were not
    /// measured before.
    Measured {
        key: u64,
        upto: u64,
        rows: Vec<Measure>,
    },
    /// A stream remembers more of its producers from now on, and forgets nothing.
    IdempotenceRaised {
        key: u64,
        limits: IdempotenceLimits,
    },
    GroupNew {
        at: GroupRef,
        name: &'a [u8],
        last_id: EntryId,
        entries_read: Option<u64>,
    },
    GroupSet {
        at: GroupRef,
        last_id: EntryId,
        entries_read: Option<u64>,
    },
    GroupDelete {
        at: GroupRef,
    },
    ConsumerNew {
        at: GroupRef,
        consumer: u32,
        name: &'a [u8],
        seen: u64,
        active: Option<u64>,
    },
    ConsumerDelete {
        at: GroupRef,
        consumer: u32,
    },
    /// New entries were delivered; `ids` become pending, unless the reader wanted no acknowledgement.
    Deliver {
        at: GroupRef,
        consumer: u32,
        time: u64,
        last_id: EntryId,
        entries_read: Option<u64>,
        ids: Vec<EntryId>,
    },
    /// Pending entries were given to a consumer, again or anew.
    Assign {
        at: GroupRef,
        consumer: u32,
        rows: Vec<AssignedRow>,
    },
    /// Pending entries are settled.
    Acknowledge {
        at: GroupRef,
        ids: Vec<EntryId>,
    },
    /// Pending entries were handed back.
    Release {
        at: GroupRef,
        rows: Vec<(EntryId, i64)>,
    },
    /// What a group was made with, and the policy it has from now on.
    GroupPolicy {
        at: GroupRef,
        origin: Option<GroupOrigin>,
        policy: Option<std::borrow::Cow<'a, Policy>>,
    },
    /// Nothing is given out before a time, in milliseconds of steady time; 0 = the pause is over.
    GroupPause {
        at: GroupRef,
        until: u64,
    },
    /// A group was moved, and rows above its new place are gone.
    GroupSeek {
        at: GroupRef,
        last_id: EntryId,
        entries_read: Option<u64>,
    },
    /// Pending entries were handed back, with what is known of their failures.
    HandBack {
        at: GroupRef,
        rows: Vec<ReturnedRow>,
    },
    /// The leases of pending entries began anew.
    Extend {
        at: GroupRef,
        time: u64,
        ids: Vec<EntryId>,
    },
    /// As [`Record::Deliver`], in a group that does not see everything or is ordered by a key.
    DeliverChosen {
        at: GroupRef,
        consumer: u32,
        time: u64,
        last_id: EntryId,
        entries_read: Option<u64>,
        /// Entries that the filter passed over.
        passed: u64,
        rows: Vec<KeyedRow>,
    },
    /// Rows came to be as they were elsewhere. `fresh` = their entries never had one in this group.
    Place {
        at: GroupRef,
        fresh: bool,
        rows: Vec<PlacedRow>,
    },
    /// So many settlements were refused because of their token.
    Stale {
        at: GroupRef,
        count: u64,
    },
}

/// How long and how many idempotent IDs a stream remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdempotenceLimits {
    pub(crate) duration_s: u64,
    pub(crate) ids_max: u64,
}

/// Entries that go: whole blocks from the front, then single positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) key: u64,
    /// Every block that begins below this position goes.
    pub(crate) blocks_below: u64,
    /// Runs of positions, (first, how many), each within one block that stays.
    pub(crate) runs: Vec<(u64, u64)>,
    /// How many live entries go in all.
    pub(crate) removed: u64,
    /// The first entry that is left, 0-0 when none is.
    pub(crate) first_id: EntryId,
    /// The highest ID deleted by name, when this raises it.
    pub(crate) max_deleted: Option<EntryId>,
}

mod kind {
    pub(super) const NAMESPACE: u8 = 1;
    pub(super) const SWAP_NAMESPACES: u8 = 2;
    pub(super) const FLUSH: u8 = 3;
    pub(super) const KEY_NEW: u8 = 4;
    pub(super) const TEXT: u8 = 5;
    pub(super) const KEY_DELETE: u8 = 6;
    pub(super) const KEY_MOVE: u8 = 7;
    pub(super) const EXPIRE: u8 = 8;
    pub(super) const ENTRY: u8 = 16;
    pub(super) const BLOCK: u8 = 17;
    pub(super) const REMOVE: u8 = 18;
    pub(super) const SET_ID: u8 = 19;
    pub(super) const IDEMPOTENCE: u8 = 20;
    pub(super) const IDEMPOTENT_ID: u8 = 21;
    pub(super) const CARRIED: u8 = 22;
    pub(super) const RETENTION: u8 = 24;
    pub(super) const MEASURED: u8 = 25;
    pub(super) const IDEMPOTENCE_RAISED: u8 = 26;
    pub(super) const GROUP_NEW: u8 = 32;
    pub(super) const GROUP_SET: u8 = 33;
    pub(super) const GROUP_DELETE: u8 = 34;
    pub(super) const CONSUMER_NEW: u8 = 35;
    pub(super) const CONSUMER_DELETE: u8 = 36;
    pub(super) const DELIVER: u8 = 37;
    pub(super) const ASSIGN: u8 = 38;
    pub(super) const ACKNOWLEDGE: u8 = 39;
    pub(super) const RELEASE: u8 = 40;
    pub(super) const GROUP_POLICY: u8 = 41;
    pub(super) const GROUP_PAUSE: u8 = 42;
    pub(super) const GROUP_SEEK: u8 = 43;
    pub(super) const HAND_BACK: u8 = 44;
    pub(super) const EXTEND: u8 = 45;
    pub(super) const DELIVER_CHOSEN: u8 = 46;
    pub(super) const PLACE: u8 = 47;
    pub(super) const STALE: u8 = 48;
}

const ENTRY_NODE_START: u8 = 1;
const ENTRY_IDEMPOTENT: u8 = 2;
const ENTRY_BY_TIME: u8 = 4;

pub(crate) fn put_id(out: &mut Vec<u8>, id: EntryId) {
    put(out, id.ms);
    put(out, id.seq);
}

pub(crate) fn read_id(reader: &mut Reader<'_>) -> Option<EntryId> {
    Some(EntryId::new(reader.varint()?, reader.varint()?))
}

/// `None` is 0, a value is one more than itself; the greatest u64 cannot occur in what is counted here.
pub(crate) fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    put(out, value.map_or(0, |v| v.saturating_add(1)));
}

pub(crate) fn read_option(reader: &mut Reader<'_>) -> Option<Option<u64>> {
    Some(reader.varint()?.checked_sub(1))
}

/// IDs in any order: each as the difference to the one before.
fn put_ids(out: &mut Vec<u8>, ids: &[EntryId]) {
    put(out, ids.len() as u64);
    let mut before = EntryId::MIN;
    for id in ids {
        put_id_after(out, before, *id);
        before = *id;
    }
}

fn put_id_after(out: &mut Vec<u8>, before: EntryId, id: EntryId) {
    put_signed(out, id.ms.wrapping_sub(before.ms) as i64);
    if id.ms == before.ms {
        put_signed(out, id.seq.wrapping_sub(before.seq) as i64);
    } else {
        put(out, id.seq);
    }
}

fn read_ids(reader: &mut Reader<'_>) -> Option<Vec<EntryId>> {
    let mut before = EntryId::MIN;
    (0..reader.length()?)
        .map(|_| {
            before = read_id_after(reader, before)?;
            Some(before)
        })
        .collect()
}

fn read_id_after(reader: &mut Reader<'_>, before: EntryId) -> Option<EntryId> {
    let step = reader.signed()?;
    let seq = if step == 0 { before.seq.wrapping_add(reader.signed()? as u64) } else { reader.varint()? };
    Some(EntryId::new(before.ms.wrapping_add(step as u64), seq))
}

fn put_group(out: &mut Vec<u8>, kind: u8, at: GroupRef) {
    out.push(kind);
    put(out, at.key);
    put(out, u64::from(at.group));
}

fn read_u32(reader: &mut Reader<'_>) -> Option<u32> {
    u32::try_from(reader.varint()?).ok()
}

impl<'a> EntryRecord<'a> {
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        let idempotent = if self.idempotent.is_some() { ENTRY_IDEMPOTENT } else { 0 };
        out.push(kind::ENTRY);
        let by_time = if self.by_time { ENTRY_BY_TIME } else { 0 };
        out.push(if self.node_start { ENTRY_NODE_START } else { 0 } | idempotent | by_time);
        put(out, self.key);
        put(out, self.pos);
        put(out, self.gpos);
        put_id(out, self.id);
        put_signed(out, self.at.wrapping_sub(self.id.ms) as i64);
        self.fields.encode(out);
        if let Some((producer, iid)) = self.idempotent {
            put_bytes(out, producer);
            put_bytes(out, iid);
        }
    }

    /// Reads the body of an entry's record; `None` when it is something else.
    pub(crate) fn decode(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        if reader.byte()? != kind::ENTRY {
            return None;
        }
        Self::decode_rest(&mut reader)
    }

    fn decode_rest(reader: &mut Reader<'a>) -> Option<Self> {
        let flags = reader.byte()?;
        let (key, pos, gpos) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let id = read_id(reader)?;
        let at = id.ms.wrapping_add(reader.signed()? as u64);
        let fields = Fields::decode(reader)?;
        let idempotent =
            if flags & ENTRY_IDEMPOTENT != 0 { Some((reader.bytes()?, reader.bytes()?)) } else { None };
        let (node_start, by_time) = (flags & ENTRY_NODE_START != 0, flags & ENTRY_BY_TIME != 0);
        Some(Self { key, pos, gpos, id, at, node_start, fields, idempotent, by_time })
    }
}

impl<'a> Record<'a> {
    /// The key the record is about, for those that are about one.
    pub(crate) fn key(&self) -> Option<u64> {
        match self {
            Self::Namespace { .. } | Self::SwapNamespaces { .. } | Self::Flush { .. } => None,
            Self::KeyNew { key, .. }
            | Self::Text { key, .. }
            | Self::KeyDelete { key }
            | Self::KeyMove { key, .. }
            | Self::Expire { key, .. }
            | Self::Block { key, .. }
            | Self::SetId { key, .. }
            | Self::Idempotence { key, .. }
            | Self::IdempotentId { key, .. }
            | Self::Carried { key, .. }
            | Self::Retention { key, .. }
            | Self::Measured { key, .. }
            | Self::IdempotenceRaised { key, .. } => Some(*key),
            Self::Entry(entry) => Some(entry.key),
            Self::Remove(removal) => Some(removal.key),
            Self::GroupNew { at, .. }
            | Self::GroupSet { at, .. }
            | Self::GroupDelete { at }
            | Self::ConsumerNew { at, .. }
            | Self::ConsumerDelete { at, .. }
            | Self::Deliver { at, .. }
            | Self::Assign { at, .. }
            | Self::Acknowledge { at, .. }
            | Self::Release { at, .. }
            | Self::GroupPolicy { at, .. }
            | Self::GroupPause { at, .. }
            | Self::GroupSeek { at, .. }
            | Self::HandBack { at, .. }
            | Self::Extend { at, .. }
            | Self::DeliverChosen { at, .. }
            | Self::Place { at, .. }
            | Self::Stale { at, .. } => Some(at.key),
        }
    }

    /// The group the record is about, for those that a policy or a settlement makes.
    pub(crate) fn group(&self) -> Option<GroupRef> {
        match self {
            Self::GroupPolicy { at, .. }
            | Self::GroupPause { at, .. }
            | Self::GroupSeek { at, .. }
            | Self::HandBack { at, .. }
            | Self::Extend { at, .. }
            | Self::DeliverChosen { at, .. }
            | Self::Place { at, .. }
            | Self::Stale { at, .. } => Some(*at),
            _ => None,
        }
    }

    /// Appends the record's bytes.
    #[inline]
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry(entry) => entry.encode(out),
            Self::Deliver { at, consumer, time, last_id, entries_read, ids } => {
                put_group(out, kind::DELIVER, *at);
                put(out, u64::from(*consumer));
                put(out, *time);
                put_id(out, *last_id);
                put_option(out, *entries_read);
                put_ids(out, ids);
            }
            Self::Acknowledge { at, ids } => {
                put_group(out, kind::ACKNOWLEDGE, *at);
                put_ids(out, ids);
            }
            _ => self.encode_rare(out),
        }
    }

    fn encode_rare(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry(_) | Self::Deliver { .. } | Self::Acknowledge { .. } => {
                unreachable!("encoded by the caller")
            }
            Self::Namespace { ns, name } => {
                out.push(kind::NAMESPACE);
                put(out, u64::from(*ns));
                put_bytes(out, name);
            }
            Self::SwapNamespaces { a, b } => {
                out.push(kind::SWAP_NAMESPACES);
                put(out, u64::from(*a));
                put(out, u64::from(*b));
            }
            Self::Flush { ns } => {
                out.push(kind::FLUSH);
                put(out, u64::from(*ns));
            }
            Self::KeyNew { key, ns, name, idempotence } => {
                out.push(kind::KEY_NEW);
                put_key_name(out, *key, *ns, name);
                idempotence.encode(out);
            }
            Self::Text { key, ns, name, value } => {
                out.push(kind::TEXT);
                put_key_name(out, *key, *ns, name);
                put_bytes(out, value);
            }
            Self::KeyDelete { key } => {
                out.push(kind::KEY_DELETE);
                put(out, *key);
            }
            Self::KeyMove { key, ns, name } => {
                out.push(kind::KEY_MOVE);
                put_key_name(out, *key, *ns, name);
            }
            Self::Expire { key, at } => {
                out.push(kind::EXPIRE);
                put(out, *key);
                put(out, *at);
            }
            Self::Block { key, block } => {
                out.push(kind::BLOCK);
                put(out, *key);
                block.encode(out);
            }
            Self::Remove(removal) => removal.encode(out),
            Self::SetId { key, last_id, entries_added, max_deleted } => {
                out.push(kind::SET_ID);
                put(out, *key);
                put_id(out, *last_id);
                put_option(out, *entries_added);
                out.push(u8::from(max_deleted.is_some()));
                put_id(out, max_deleted.unwrap_or_default());
            }
            Self::Idempotence { key, limits } => {
                out.push(kind::IDEMPOTENCE);
                put(out, *key);
                limits.encode(out);
            }
            Self::IdempotentId { key, producer, iid, id } => {
                out.push(kind::IDEMPOTENT_ID);
                put(out, *key);
                put_bytes(out, producer);
                put_bytes(out, iid);
                put_id(out, *id);
            }
            Self::Carried { key, node, idempotent_added, idempotent_duplicates } => {
                out.push(kind::CARRIED);
                put(out, *key);
                node.encode(out);
                put(out, *idempotent_added);
                put(out, *idempotent_duplicates);
            }
            Self::Retention { key, kept } => {
                out.push(kind::RETENTION);
                put(out, *key);
                out.push(u8::from(kept.is_some()));
                if let Some((retention, told)) = kept {
                    put_retention(out, retention);
                    out.push(*told);
                }
            }
            Self::Measured { key, upto, rows } => {
                out.push(kind::MEASURED);
                put(out, *key);
                put(out, *upto);
                put_measures(out, rows);
            }
            Self::IdempotenceRaised { key, limits } => {
                out.push(kind::IDEMPOTENCE_RAISED);
                put(out, *key);
                limits.encode(out);
            }
            _ => self.encode_group(out),
        }
    }

    fn encode_group(&self, out: &mut Vec<u8>) {
        match self {
            Self::GroupNew { at, name, last_id, entries_read } => {
                put_group(out, kind::GROUP_NEW, *at);
                put_bytes(out, name);
                put_id(out, *last_id);
                put_option(out, *entries_read);
            }
            Self::GroupSet { at, last_id, entries_read } => {
                put_group(out, kind::GROUP_SET, *at);
                put_id(out, *last_id);
                put_option(out, *entries_read);
            }
            Self::GroupDelete { at } => put_group(out, kind::GROUP_DELETE, *at),
            Self::ConsumerNew { at, consumer, name, seen, active } => {
                put_group(out, kind::CONSUMER_NEW, *at);
                put(out, u64::from(*consumer));
                put_bytes(out, name);
                put(out, *seen);
                put_option(out, *active);
            }
            Self::ConsumerDelete { at, consumer } => {
                put_group(out, kind::CONSUMER_DELETE, *at);
                put(out, u64::from(*consumer));
            }
            Self::Assign { at, consumer, rows } => {
                put_group(out, kind::ASSIGN, *at);
                put(out, u64::from(*consumer));
                put(out, rows.len() as u64);
                let mut before = EntryId::MIN;
                for row in rows {
                    put_id_after(out, before, row.id);
                    put(out, row.time);
                    put_signed(out, row.deliveries);
                    before = row.id;
                }
            }
            Self::Release { at, rows } => {
                put_group(out, kind::RELEASE, *at);
                put(out, rows.len() as u64);
                let mut before = EntryId::MIN;
                for (id, deliveries) in rows {
                    put_id_after(out, before, *id);
                    put_signed(out, *deliveries);
                    before = *id;
                }
            }
            _ => self.encode_delivery(out),
        }
    }

    fn encode_delivery(&self, out: &mut Vec<u8>) {
        match self {
            Self::GroupPolicy { at, origin, policy } => {
                put_group(out, kind::GROUP_POLICY, *at);
                put_origin(out, *origin);
                out.push(u8::from(policy.is_some()));
                if let Some(policy) = policy {
                    put_policy(out, policy);
                }
            }
            Self::GroupPause { at, until } => {
                put_group(out, kind::GROUP_PAUSE, *at);
                put(out, *until);
            }
            Self::GroupSeek { at, last_id, entries_read } => {
                put_group(out, kind::GROUP_SEEK, *at);
                put_id(out, *last_id);
                put_option(out, *entries_read);
            }
            Self::HandBack { at, rows } => {
                put_group(out, kind::HAND_BACK, *at);
                put(out, rows.len() as u64);
                rows.iter().for_each(|row| row.encode(out));
            }
            Self::Extend { at, time, ids } => {
                put_group(out, kind::EXTEND, *at);
                put(out, *time);
                put_ids(out, ids);
            }
            Self::DeliverChosen { at, consumer, time, last_id, entries_read, passed, rows } => {
                put_group(out, kind::DELIVER_CHOSEN, *at);
                put(out, u64::from(*consumer));
                put(out, *time);
                put_id(out, *last_id);
                put_option(out, *entries_read);
                put(out, *passed);
                put(out, rows.len() as u64);
                let mut before = EntryId::MIN;
                for row in rows {
                    put_id_after(out, before, row.id);
                    out.push(u8::from(row.waiting));
                    put(out, row.key);
                    before = row.id;
                }
            }
            Self::Place { at, fresh, rows } => {
                put_group(out, kind::PLACE, *at);
                out.push(u8::from(*fresh));
                put(out, rows.len() as u64);
                rows.iter().for_each(|row| row.encode(out));
            }
            Self::Stale { at, count } => {
                put_group(out, kind::STALE, *at);
                put(out, *count);
            }
            _ => unreachable!("encoded by the callers"),
        }
    }

    /// The key of an index block's record, and the block's bytes; `None` when it is something else.
    pub(crate) fn block_key(body: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let mut reader = Reader::new(body);
        if reader.byte()? != kind::BLOCK {
            return None;
        }
        Some((reader.varint()?, reader.rest()))
    }

    /// Reads a record's bytes.
    pub(crate) fn decode(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let r = &mut reader;
        let record = match r.byte()? {
            kind::ENTRY => Self::Entry(EntryRecord::decode_rest(r)?),
            kind::NAMESPACE => Self::Namespace { ns: read_u32(r)?, name: r.bytes()? },
            kind::SWAP_NAMESPACES => Self::SwapNamespaces { a: read_u32(r)?, b: read_u32(r)? },
            kind::FLUSH => Self::Flush { ns: read_u32(r)? },
            kind::KEY_NEW => Self::KeyNew {
                key: r.varint()?,
                ns: read_u32(r)?,
                name: r.bytes()?,
                idempotence: IdempotenceLimits::decode(r)?,
            },
            kind::TEXT => {
                Self::Text { key: r.varint()?, ns: read_u32(r)?, name: r.bytes()?, value: r.bytes()? }
            }
            kind::KEY_DELETE => Self::KeyDelete { key: r.varint()? },
            kind::KEY_MOVE => Self::KeyMove { key: r.varint()?, ns: read_u32(r)?, name: r.bytes()? },
            kind::EXPIRE => Self::Expire { key: r.varint()?, at: r.varint()? },
            kind::BLOCK => {
                Self::Block { key: r.varint()?, block: std::borrow::Cow::Owned(Block::decode(r)?) }
            }
            kind::REMOVE => Self::Remove(Removal::decode(r)?),
            kind::SET_ID => {
                let (key, last_id, entries_added) = (r.varint()?, read_id(r)?, read_option(r)?);
                let has_max = r.byte()? != 0;
                let max = read_id(r)?;
                Self::SetId { key, last_id, entries_added, max_deleted: has_max.then_some(max) }
            }
            kind::IDEMPOTENCE => {
                Self::Idempotence { key: r.varint()?, limits: IdempotenceLimits::decode(r)? }
            }
            kind::IDEMPOTENT_ID => Self::IdempotentId {
                key: r.varint()?,
                producer: r.bytes()?,
                iid: r.bytes()?,
                id: read_id(r)?,
            },
            kind::CARRIED => Self::Carried {
                key: r.varint()?,
                node: Node::decode(r)?,
                idempotent_added: r.varint()?,
                idempotent_duplicates: r.varint()?,
            },
            kind::RETENTION => {
                let key = r.varint()?;
                let kept = if r.byte()? != 0 { Some((read_retention(r)?, r.byte()?)) } else { None };
                Self::Retention { key, kept }
            }
            kind::MEASURED => Self::Measured { key: r.varint()?, upto: r.varint()?, rows: read_measures(r)? },
            kind::IDEMPOTENCE_RAISED => {
                Self::IdempotenceRaised { key: r.varint()?, limits: IdempotenceLimits::decode(r)? }
            }
            kind => Self::decode_group(kind, r)?,
        };
        reader.is_empty().then_some(record)
    }

    fn decode_group(kind: u8, r: &mut Reader<'a>) -> Option<Self> {
        let at = GroupRef { key: r.varint()?, group: read_u32(r)? };
        Some(match kind {
            kind::GROUP_NEW => {
                Self::GroupNew { at, name: r.bytes()?, last_id: read_id(r)?, entries_read: read_option(r)? }
            }
            kind::GROUP_SET => Self::GroupSet { at, last_id: read_id(r)?, entries_read: read_option(r)? },
            kind::GROUP_DELETE => Self::GroupDelete { at },
            kind::CONSUMER_NEW => Self::ConsumerNew {
                at,
                consumer: read_u32(r)?,
                name: r.bytes()?,
                seen: r.varint()?,
                active: read_option(r)?,
            },
            kind::CONSUMER_DELETE => Self::ConsumerDelete { at, consumer: read_u32(r)? },
            kind::DELIVER => Self::Deliver {
                at,
                consumer: read_u32(r)?,
                time: r.varint()?,
                last_id: read_id(r)?,
                entries_read: read_option(r)?,
                ids: read_ids(r)?,
            },
            kind::ASSIGN => {
                let consumer = read_u32(r)?;
                let mut before = EntryId::MIN;
                let rows = (0..r.length()?).map(|_| {
                    before = read_id_after(r, before)?;
                    Some(AssignedRow { id: before, time: r.varint()?, deliveries: r.signed()? })
                });
                Self::Assign { at, consumer, rows: rows.collect::<Option<_>>()? }
            }
            kind::ACKNOWLEDGE => Self::Acknowledge { at, ids: read_ids(r)? },
            kind::RELEASE => {
                let mut before = EntryId::MIN;
                let rows = (0..r.length()?).map(|_| {
                    before = read_id_after(r, before)?;
                    Some((before, r.signed()?))
                });
                Self::Release { at, rows: rows.collect::<Option<_>>()? }
            }
            _ => return Self::decode_delivery(kind, at, r),
        })
    }

    fn decode_delivery(kind: u8, at: GroupRef, r: &mut Reader<'a>) -> Option<Self> {
        Some(match kind {
            kind::GROUP_POLICY => {
                let origin = read_origin(r)?;
                let policy = if r.byte()? != 0 { Some(read_policy(r)?) } else { None };
                Self::GroupPolicy { at, origin, policy: policy.map(std::borrow::Cow::Owned) }
            }
            kind::GROUP_PAUSE => Self::GroupPause { at, until: r.varint()? },
            kind::GROUP_SEEK => Self::GroupSeek { at, last_id: read_id(r)?, entries_read: read_option(r)? },
            kind::HAND_BACK => {
                let rows = (0..r.length()?).map(|_| ReturnedRow::decode(r));
                Self::HandBack { at, rows: rows.collect::<Option<_>>()? }
            }
            kind::EXTEND => Self::Extend { at, time: r.varint()?, ids: read_ids(r)? },
            kind::DELIVER_CHOSEN => {
                let (consumer, time) = (read_u32(r)?, r.varint()?);
                let (last_id, entries_read, passed) = (read_id(r)?, read_option(r)?, r.varint()?);
                let mut before = EntryId::MIN;
                let rows = (0..r.length()?).map(|_| {
                    before = read_id_after(r, before)?;
                    Some(KeyedRow { id: before, waiting: r.byte()? != 0, key: r.varint()? })
                });
                let rows = rows.collect::<Option<_>>()?;
                Self::DeliverChosen { at, consumer, time, last_id, entries_read, passed, rows }
            }
            kind::PLACE => {
                let fresh = r.byte()? != 0;
                let rows = (0..r.length()?).map(|_| PlacedRow::decode(r));
                Self::Place { at, fresh, rows: rows.collect::<Option<_>>()? }
            }
            kind::STALE => Self::Stale { at, count: r.varint()? },
            _ => return None,
        })
    }
}

/// Nothing: 0; otherwise 1 and what it is.
fn put_if<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn read_if<'a, T>(r: &mut Reader<'a>, read: impl FnOnce(&mut Reader<'a>) -> Option<T>) -> Option<Option<T>> {
    match r.byte()? {
        0 => Some(None),
        _ => read(r).map(Some),
    }
}

pub(crate) fn put_failure(out: &mut Vec<u8>, failure: &Failure) {
    put_bytes(out, &failure.class);
    put_bytes(out, &failure.reason);
    put(out, failure.at.0);
}

pub(crate) fn read_failure(r: &mut Reader<'_>) -> Option<Failure> {
    let (class, reason) = (r.bytes()?.to_vec(), r.bytes()?.to_vec());
    let fits = class.len() <= Failure::CLASS_MAX && reason.len() <= Failure::REASON_MAX;
    Some(Failure { class, reason, at: Timestamp(r.varint()?) }).filter(|_| fits)
}

impl ReturnedRow {
    fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.id);
        put_signed(out, self.deliveries);
        put_option(out, self.failures.map(u64::from));
        put(out, self.until);
        put_if(out, self.failure.as_ref(), put_failure);
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (id, deliveries) = (read_id(r)?, r.signed()?);
        let failures = read_option(r)?.map(u32::try_from).transpose().ok()?;
        Some(Self { id, deliveries, failures, until: r.varint()?, failure: read_if(r, read_failure)? })
    }
}

impl PlacedRow {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.id);
        // Nobody is 0, so that it is short.
        put(out, u64::from(self.consumer.wrapping_add(1)));
        put(out, self.time);
        put_signed(out, self.deliveries);
        put(out, u64::from(self.failures));
        put(out, self.until);
        put(out, u64::from(self.redrives));
        put(out, self.key);
        put_if(out, self.failed.as_ref(), |out, (first, last)| {
            put_failure(out, first);
            put_failure(out, last);
        });
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            id: read_id(r)?,
            consumer: read_u32(r)?.checked_sub(1).unwrap_or(NO_CONSUMER),
            time: r.varint()?,
            deliveries: r.signed()?,
            failures: read_u32(r)?,
            until: r.varint()?,
            redrives: read_u32(r)?,
            key: r.varint()?,
            failed: read_if(r, |r| Some((read_failure(r)?, read_failure(r)?)))?,
        })
    }
}

fn put_key_name(out: &mut Vec<u8>, key: u64, ns: u32, name: &[u8]) {
    put(out, key);
    put(out, u64::from(ns));
    put_bytes(out, name);
}

impl IdempotenceLimits {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put(out, self.duration_s);
        put(out, self.ids_max);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { duration_s: reader.varint()?, ids_max: reader.varint()? })
    }
}

impl Removal {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::REMOVE);
        put(out, self.key);
        put(out, self.blocks_below);
        put(out, self.removed);
        put_id(out, self.first_id);
        out.push(u8::from(self.max_deleted.is_some()));
        put_id(out, self.max_deleted.unwrap_or_default());
        varint::put(out, self.runs.len() as u64);
        for (first, count) in &self.runs {
            put(out, *first);
            put(out, *count);
        }
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (key, blocks_below, removed, first_id) = (r.varint()?, r.varint()?, r.varint()?, read_id(r)?);
        let has_max = r.byte()? != 0;
        let max = read_id(r)?;
        let runs = (0..r.length()?).map(|_| Some((r.varint()?, r.varint()?))).collect::<Option<_>>()?;
        Some(Self { key, blocks_below, runs, removed, first_id, max_deleted: has_max.then_some(max) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/format.md` draws these bytes.
    #[test]
    fn an_entry_is_written_as_the_format_says() {
        let record = EntryRecord {
            key: 5,
            pos: 7,
            gpos: 11,
            id: EntryId::new(1, 0),
            at: 3,
            node_start: false,
            fields: Fields::Slices(&[b"type", b"placed"]),
            idempotent: None,
            by_time: false,
        };
        let mut bytes = Vec::new();
        Record::Entry(record).encode(&mut bytes);
        assert_eq!(bytes, b"\x10\x00\x05\x07\x0b\x01\x00\x04\x02\x04type\x06placed");
        assert_eq!(EntryRecord::decode(&bytes).map(|entry| (entry.pos, entry.at)), Some((7, 3)));
    }
}
