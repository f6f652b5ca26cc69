//! Snapshots: the engine's state in a file, so that a start need not replay the whole log.
//!
//! A snapshot is fuzzy: keys are copied a few at a time, each with its stamp, while the engine goes on. It begins at
//! the log address `from`; recovery loads it and replays the log from there, and each key takes only records above
//! its stamp.
//!
//! ```text
//!  file:  magic "WEIRSNAP" | u32 version | frames …
//!  frame: u32 length | u32 crc32c of the body | body: items, each a tag and its values (varints, `docs/format.md`)
//! ```
//!
//! Invariants:
//! * A file under its final name is complete, was flushed, and was read back; the log is durable beyond all it holds.
//! * The last [`KEPT`] snapshots stay, so that one damaged file costs time and not data.

use std::collections::BTreeMap;
use std::sync::Arc;

use crc32c::crc32c;
use weir_core::{EntryId, Error, ErrorKind};
use weir_log::{Disk, DiskFile, Lsn, Open, read_full};

use crate::admission::COUNTED_MAX;
use crate::block::{Block, BlockHead};
use crate::charter::Charter;
use crate::engine::{Engine, Shared, io_error};
use crate::group::{Extra, Failed, Group, NO_CONSUMER, SnapshotRow};
use crate::idempotence::{Idempotence, Known};
use crate::node::Node;
use crate::policy::{put_origin, put_policy, read_origin, read_policy};
use crate::reclaim::Guess;
use crate::record::{IdempotenceLimits, put_failure, put_id, put_option, read_failure, read_id, read_option};
use crate::retention::{Measure, put_measures, put_retention, read_measures, read_retention};
use crate::state::{Key, Namespace, State, Value};
use crate::stream::{Sealed, Stream};
use crate::varint::{Reader, put, put_bytes, put_signed};

/// Snapshots that stay in the folder.
pub(crate) const KEPT: usize = 2;
/// Their folder.
pub(crate) const FOLDER: &str = "snap";
/// Room for a snapshot where none was written yet.
const HEADROOM_MIN: u64 = 1 << 20;
const MAGIC: &[u8; 8] = b"WEIRSNAP";
/// The first version had [`tag::EXTRAS_1`] and no charters; it is read still.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
const HEADER: usize = 12;
/// A frame is written when its body has grown to this.
const FRAME_BYTES: usize = 64 << 10;
/// A frame longer than this is damage.
const FRAME_BYTES_MAX: usize = 72 << 20;
/// Keys copied under the lock at once, at most.
const KEYS_PER_SLICE: u32 = 256;
/// Time under the lock at once, about, in microseconds.
const SLICE_MICROS: u128 = 150;
/// Values in one item, at most.
const PER_ITEM: usize = 2_000;

mod tag {
    pub(super) const BEGIN: u8 = 1;
    pub(super) const STREAM: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const HEADS: u8 = 4;
    pub(super) const MASKS: u8 = 5;
    pub(super) const IDEMPOTENT: u8 = 6;
    pub(super) const GROUP: u8 = 7;
    pub(super) const CONSUMER: u8 = 8;
    pub(super) const ROWS: u8 = 9;
    pub(super) const EXTRAS_1: u8 = 10;
    pub(super) const NAMESPACE: u8 = 11;
    pub(super) const DIRECTORY: u8 = 12;
    pub(super) const END: u8 = 13;
    pub(super) const WRITTEN: u8 = 14;
    pub(super) const NODES: u8 = 15;
    pub(super) const EXTRAS: u8 = 16;
    pub(super) const FAILED: u8 = 17;
    pub(super) const CHARTER: u8 = 18;
    pub(super) const RETENTION: u8 = 32;
    pub(super) const MEASURES: u8 = 33;
    pub(super) const IDEMPOTENT_SINCE: u8 = 34;
}

/// A snapshot in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotFile {
    /// Where the log has to be replayed from.
    pub(crate) from: Lsn,
    pub(crate) bytes: u64,
    pub(crate) path: String,
}

/// How much of the disk the log has to leave free, so that the next snapshot has room: without one, nothing is ever
/// reclaimed. `behind` bytes of log came since the newest, and part of them will be in the next one.
pub(crate) fn headroom(segment_bytes: u64, newest: Option<&SnapshotFile>, behind: u64) -> u64 {
    let least = HEADROOM_MIN.min(segment_bytes / 16);
    (newest.map_or(0, |snapshot| 2 * snapshot.bytes) + behind / 8).max(least)
}

// ---- writing -------------------------------------------------------------------------------------------------------

/// Writes a snapshot while the engine goes on, or gives up when `stop` says so.
///
/// Answers also what the walk over all keys counted on the way: how full of life each segment seems.
///
/// # Errors
/// [`ErrorKind::Closed`] when it was told to stop; [`ErrorKind::DiskFull`], [`ErrorKind::Io`], [`ErrorKind::Faulted`].
pub(crate) fn write(shared: &Arc<Shared>, stop: &dyn Fn() -> bool) -> Result<(SnapshotFile, Guess), Error> {
    let engine = Engine::of(shared);
    let disk = &*shared.disk;
    let from = engine.turn().head();
    let failed = |error| io_error("writing a snapshot", error);
    disk.create_dir(FOLDER).map_err(failed)?;
    let path = format!("{FOLDER}/{:016x}.snap", from.0);
    let draft = format!("{path}.new");
    let mut guess = Guess::new();
    let written = write_draft(&engine, &draft, from, &mut guess, stop);
    if written.is_err() {
        // On a full disk its space is needed; if this fails too, the next start removes it.
        drop(disk.remove(&draft));
    }
    let bytes = written?;
    disk.rename(&draft, &path).map_err(failed)?;
    disk.sync_dir(FOLDER).map_err(failed)?;
    Ok((SnapshotFile { from, bytes, path }, guess))
}

/// Writes a whole snapshot under a name that counts for nothing; returns its size.
fn write_draft(
    engine: &Engine,
    draft: &str,
    from: Lsn,
    guess: &mut Guess,
    stop: &dyn Fn() -> bool,
) -> Result<u64, Error> {
    let failed = |error| io_error("writing a snapshot", error);
    let (disk, log) = (&*engine.shared.disk, &engine.shared.log);
    let mut out = Writer::create(disk, draft).map_err(failed)?;
    out.item(|buf| {
        buf.push(tag::BEGIN);
        put(buf, from.0);
    });
    let head = write_keys(engine, &mut out, guess, stop)?;
    let bytes = out.finish().map_err(failed)?;
    // What the snapshot has seen must not be taken back by a power cut.
    log.commit(head, weir_log::Level::Durable).map_err(crate::engine::log_error)?;
    read(disk, draft, &mut Verify)?;
    Ok(bytes)
}

pub(crate) fn remove(disk: &dyn Disk, snapshot: &SnapshotFile) -> Result<(), Error> {
    disk.remove(&snapshot.path).map_err(|error| io_error("removing an old snapshot", error))
}

/// Counts what [`write`] counts, and writes nothing.
pub(crate) fn survey(shared: &Arc<Shared>, stop: &dyn Fn() -> bool) -> Result<Guess, Error> {
    let mut guess = Guess::new();
    walk(&Engine::of(shared), &mut guess, stop, &mut |_| Ok(()), |_, _| {})?;
    Ok(guess)
}

/// Writes all keys, then the namespaces; returns the end of the log at that moment.
fn write_keys(
    engine: &Engine,
    out: &mut Writer,
    guess: &mut Guess,
    stop: &dyn Fn() -> bool,
) -> Result<Lsn, Error> {
    let mut keys = 0_u64;
    let mut footer = Vec::new();
    let mut write = |key: &Key| {
        keys += 1;
        write_key(key, out).map_err(|error| io_error("writing a snapshot", error))
    };
    let head = walk(engine, guess, stop, &mut write, |state, head| footer = encode_footer(state, head))?;
    out.item(|buf| {
        buf.append(&mut footer);
        buf.push(tag::END);
        put(buf, keys);
    });
    Ok(head)
}

/// Shows `visit` a copy of every key, copied a few at a time, then `end` the state; returns the end of the log at that
/// moment. Counts how full of life each segment seems.
fn walk(
    engine: &Engine,
    guess: &mut Guess,
    stop: &dyn Fn() -> bool,
    visit: &mut dyn FnMut(&Key) -> Result<(), Error>,
    end: impl FnOnce(&State, Lsn),
) -> Result<Lsn, Error> {
    let segment_bytes = engine.segment_bytes();
    let mut slot = 0_u32;
    loop {
        if stop() {
            return Err(ErrorKind::Closed.into());
        }
        let mut copies = Vec::new();
        {
            let mut turn = engine.turn();
            let started = engine.clock().elapsed();
            let last_slot = turn.state.keys.end();
            let last = last_slot.min(slot.saturating_add(KEYS_PER_SLICE));
            while slot < last {
                copies.extend(turn.state.keys.get(slot).cloned());
                slot += 1;
                let took = || engine.clock().elapsed().saturating_sub(started).as_micros();
                if slot.is_multiple_of(16) && took() > SLICE_MICROS {
                    break;
                }
            }
            if slot >= last_slot && copies.is_empty() {
                turn.state.written.settle();
                for (segment, written) in &turn.state.written.counts {
                    guess.entry(*segment).or_default().0 = *written;
                }
                let head = turn.head();
                end(&turn.state, head);
                return Ok(head);
            }
        }
        for key in &copies {
            if let Value::Stream(stream) = &key.value {
                stream.count_by_segment(segment_bytes, guess);
            }
            visit(key)?;
        }
    }
}

/// What stands behind the keys, except for their number.
fn encode_footer(state: &State, head: Lsn) -> Vec<u8> {
    // The next record may begin right at the head, and is not in here.
    let stamp = head.0 - 1;
    let mut footer = Vec::new();
    let buf = &mut footer;
    for (no, space) in state.namespaces.iter().enumerate() {
        buf.push(tag::NAMESPACE);
        put(buf, no as u64);
        put_bytes(buf, &space.name);
        put(buf, space.next_gpos);
        put(buf, space.last_at);
    }
    buf.push(tag::DIRECTORY);
    put(buf, stamp);
    put(buf, state.next_key);
    put(buf, state.directory.len() as u64);
    state.directory.iter().for_each(|inner| put(buf, u64::from(*inner)));
    buf.push(tag::WRITTEN);
    put(buf, stamp);
    put(buf, state.written.counts.len() as u64);
    for (segment, count) in &state.written.counts {
        put(buf, *segment);
        put(buf, *count);
    }
    footer
}

fn write_key(key: &Key, out: &mut Writer) -> std::io::Result<()> {
    out.item(|buf| {
        buf.push(if key.stream().is_some() { tag::STREAM } else { tag::TEXT });
        put(buf, key.no);
        put(buf, u64::from(key.ns));
        put_bytes(buf, &key.name);
        put(buf, key.expires);
        put(buf, key.stamp.0);
        match &key.value {
            Value::Text(text) => put_bytes(buf, text),
            Value::Stream(stream) => put_stream(buf, stream),
        }
    });
    out.spill()?;
    let Value::Stream(stream) = &key.value else { return Ok(()) };
    write_sealed(stream, out)?;
    write_idempotence(stream, out)?;
    write_keeping(stream, out)?;
    stream.groups().try_for_each(|group| write_group(group, out))
}

fn put_stream(buf: &mut Vec<u8>, stream: &Stream) {
    for id in [stream.last_id, stream.first_id, stream.max_deleted] {
        put_id(buf, id);
    }
    put_node(buf, &stream.node);
    for value in [
        stream.entries_added,
        stream.next_pos,
        stream.len,
        u64::from(stream.tail.live),
        u64::from(stream.tail.node_start),
    ] {
        put(buf, value);
    }
    stream.idempotence_limits.encode(buf);
    put_option(buf, stream.idempotence.as_ref().map(|i| i.added));
    put(buf, stream.idempotence.as_ref().map_or(0, |i| i.duplicates));
    put(buf, stream.groups.as_ref().map_or(0, |groups| u64::from(groups.next_no())));
    stream.tail.block.encode(buf);
}

fn write_sealed(stream: &Stream, out: &mut Writer) -> std::io::Result<()> {
    let Some(sealed) = &stream.sealed else { return Ok(()) };
    if !sealed.closed.is_empty() {
        out.item(|buf| {
            buf.push(tag::NODES);
            put(buf, sealed.closed.len() as u64);
            sealed.closed.iter().for_each(|node| put_node(buf, node));
        });
    }
    let heads: Vec<&BlockHead> = sealed.heads.iter().collect();
    for part in heads.chunks(PER_ITEM) {
        out.item(|buf| {
            buf.push(tag::HEADS);
            put(buf, part.len() as u64);
            let mut before = BlockHead { lsn: Lsn(0), first_pos: 0, ..*part[0] };
            before.first = EntryId::MIN;
            for head in part {
                put(buf, head.first.ms - before.first.ms);
                put(buf, head.first.seq);
                put(buf, head.first_pos - before.first_pos);
                put(buf, head.lsn.0 - before.lsn.0);
                put(buf, u64::from(head.count));
                put(buf, u64::from(head.live) << 1 | u64::from(head.node_start));
                before = **head;
            }
        });
        out.spill()?;
    }
    let masks: Vec<(&u64, &u128)> = sealed.deleted.iter().collect();
    for part in masks.chunks(PER_ITEM) {
        out.item(|buf| {
            buf.push(tag::MASKS);
            put(buf, part.len() as u64);
            for (pos, mask) in part {
                put(buf, **pos);
                buf.extend_from_slice(&mask.to_le_bytes());
            }
        });
        out.spill()?;
    }
    Ok(())
}

fn write_idempotence(stream: &Stream, out: &mut Writer) -> std::io::Result<()> {
    for (producer, iid, known) in stream.idempotence.iter().flat_map(|i| i.iter()) {
        let own_time = known.since != known.id.ms;
        out.item(|buf| {
            buf.push(if own_time { tag::IDEMPOTENT_SINCE } else { tag::IDEMPOTENT });
            put_bytes(buf, producer);
            put_bytes(buf, iid);
            put_id(buf, known.id);
            if own_time {
                put(buf, known.since);
            }
        });
        out.spill()?;
    }
    Ok(())
}

fn write_keeping(stream: &Stream, out: &mut Writer) -> std::io::Result<()> {
    let Some(keeping) = &stream.keeping else { return Ok(()) };
    let rows: Vec<Measure> = keeping.measures.iter().flat_map(|measures| measures.iter()).collect();
    for part in rows.chunks(PER_ITEM) {
        out.item(|buf| {
            buf.push(tag::MEASURES);
            put_measures(buf, part);
        });
        out.spill()?;
    }
    out.item(|buf| {
        buf.push(tag::RETENTION);
        buf.push(u8::from(keeping.retention.is_some()));
        put_retention(buf, &keeping.retention.unwrap_or_default());
        buf.push(keeping.told);
        put_option(buf, keeping.measures.as_ref().map(|measures| measures.upto));
    });
    out.spill()
}

fn write_group(group: &Group, out: &mut Writer) -> std::io::Result<()> {
    out.item(|buf| {
        buf.push(tag::GROUP);
        put(buf, u64::from(group.no));
        put_bytes(buf, &group.name);
        put_id(buf, group.last_id);
        put_option(buf, group.entries_read);
        put(buf, u64::from(group.next_consumer_no()));
        put(buf, group.pending.released_next());
    });
    if let Some(charter) = &group.charter {
        out.item(|buf| {
            buf.push(tag::CHARTER);
            put_charter(buf, charter);
        });
        out.spill()?;
    }
    for (no, consumer) in group.consumers() {
        out.item(|buf| {
            buf.push(tag::CONSUMER);
            put(buf, u64::from(no));
            put_bytes(buf, &consumer.name);
            put(buf, consumer.seen);
            put_option(buf, consumer.active);
        });
        out.spill()?;
    }
    let mut rows = group.pending.rows().peekable();
    while rows.peek().is_some() {
        let part: Vec<SnapshotRow> = rows.by_ref().take(PER_ITEM).collect();
        out.item(|buf| {
            buf.push(tag::ROWS);
            put(buf, part.len() as u64);
            part.iter().for_each(|row| put_row(buf, row));
        });
        out.spill()?;
    }
    for (id, extra) in group.pending.extras() {
        out.item(|buf| {
            buf.push(tag::EXTRAS);
            put_id(buf, id);
            put_signed(buf, extra.count);
            put(buf, u64::from(extra.failures));
            put(buf, extra.not_before);
            put(buf, u64::from(extra.epoch_shift));
            put(buf, extra.released);
            put(buf, u64::from(extra.redrives));
            put(buf, extra.key);
            put(buf, u64::from(extra.generation) << 1 | u64::from(extra.waiting));
        });
        out.spill()?;
    }
    for (id, failed) in group.pending.failures() {
        out.item(|buf| {
            buf.push(tag::FAILED);
            put_id(buf, id);
            put_failure(buf, &failed.first);
            put_failure(buf, &failed.last);
        });
        out.spill()?;
    }
    Ok(())
}

pub(crate) fn put_charter(buf: &mut Vec<u8>, charter: &Charter) {
    put_origin(buf, charter.origin);
    buf.push(u8::from(charter.policy.is_some()));
    if let Some(policy) = &charter.policy {
        put_policy(buf, policy);
    }
    for value in [charter.paused_until, charter.filtered, charter.stale, u64::from(charter.generation)] {
        put(buf, value);
    }
    put(buf, charter.resets.len() as u64);
    for (from, generation) in &charter.resets {
        put_id(buf, *from);
        put(buf, u64::from(*generation));
    }
}

pub(crate) fn read_charter(r: &mut Reader<'_>) -> Option<Charter> {
    let origin = read_origin(r)?;
    let policy = if r.byte()? != 0 { Some(Box::new(read_policy(r)?)) } else { None };
    let (paused_until, filtered, stale) = (r.varint()?, r.varint()?, r.varint()?);
    let generation = read_u32(r)?;
    let resets = (0..r.length()?).map(|_| Some((read_id(r)?, read_u32(r)?))).collect::<Option<_>>()?;
    let charter = Charter { origin, policy, paused_until, filtered, stale, generation, resets };
    charter.is_sound().then_some(charter)
}

fn put_node(buf: &mut Vec<u8>, node: &Node) {
    put_id(buf, node.master);
    put(buf, u64::from(node.count));
    put(buf, u64::from(node.deleted));
    put(buf, node.bytes);
    put(buf, node.names_hash);
}

fn put_row(buf: &mut Vec<u8>, row: &SnapshotRow) {
    put_id(buf, row.id);
    put(buf, row.time);
    put(buf, u64::from(row.consumer));
    put(buf, u64::from(row.count));
}

/// Collects items into frames and writes those.
struct Writer {
    file: Arc<dyn DiskFile>,
    at: u64,
    body: Vec<u8>,
}

impl Writer {
    fn create(disk: &dyn Disk, path: &str) -> std::io::Result<Self> {
        let file = disk.open(path, Open::Create)?;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSIONS.end().to_le_bytes());
        file.write_at(&header, 0)?;
        Ok(Self { file, at: HEADER as u64, body: Vec::new() })
    }

    fn item(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.body);
    }

    /// Writes what was collected when it is enough for a frame. No item is larger than a frame may be.
    fn spill(&mut self) -> std::io::Result<()> {
        if self.body.len() >= FRAME_BYTES { self.write_frame() } else { Ok(()) }
    }

    fn write_frame(&mut self) -> std::io::Result<()> {
        let mut frame = Vec::with_capacity(8 + self.body.len());
        frame.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        frame.extend_from_slice(&crc32c(&self.body).to_le_bytes());
        frame.append(&mut self.body);
        self.file.write_at(&frame, self.at)?;
        self.at += frame.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> std::io::Result<u64> {
        if !self.body.is_empty() {
            self.write_frame()?;
        }
        self.file.sync_data()?;
        Ok(self.at)
    }
}

// ---- reading -------------------------------------------------------------------------------------------------------

/// The snapshots in the folder, newest first; drafts of a crash are removed.
pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<SnapshotFile>, Error> {
    let failed = |error| io_error("listing snapshots", error);
    disk.create_dir(FOLDER).map_err(failed)?;
    let mut found = Vec::new();
    for name in disk.list(FOLDER).map_err(failed)? {
        let path = format!("{FOLDER}/{name}");
        if name.ends_with(".new") {
            disk.remove(&path).map_err(failed)?;
        } else if let Some(from) = name.strip_suffix(".snap").and_then(|s| u64::from_str_radix(s, 16).ok()) {
            let bytes = disk.open(&path, Open::Read).and_then(|file| file.len()).map_err(failed)?;
            found.push(SnapshotFile { from: Lsn(from), bytes, path });
        }
    }
    found.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.from));
    Ok(found)
}

/// What a snapshot's items are told to.
trait Sink {
    /// `false` = it contradicts what came before.
    fn key(&mut self, key: Key) -> bool;
    /// `false` = it is not the next one.
    fn namespace(&mut self, no: u64, space: Namespace) -> bool;
    fn directory(&mut self, stamp: Lsn, next_key: u64, directory: Vec<u32>);
    fn written(&mut self, stamp: Lsn, counts: BTreeMap<u64, u64>);
}

/// Only looks whether the file can be read.
struct Verify;

impl Sink for Verify {
    fn key(&mut self, _: Key) -> bool {
        true
    }

    fn namespace(&mut self, _: u64, _: Namespace) -> bool {
        true
    }

    fn directory(&mut self, _: Lsn, _: u64, _: Vec<u32>) {}
    fn written(&mut self, _: Lsn, _: BTreeMap<u64, u64>) {}
}

impl Sink for State {
    fn key(&mut self, key: Key) -> bool {
        self.restore_key(key)
    }

    fn namespace(&mut self, no: u64, space: Namespace) -> bool {
        self.namespaces.push(space);
        no + 1 == self.namespaces.len() as u64
    }

    fn directory(&mut self, stamp: Lsn, next_key: u64, directory: Vec<u32>) {
        self.directory_stamp = stamp;
        self.snapshot_end = stamp;
        self.next_key = self.next_key.max(next_key);
        self.directory = directory;
    }

    fn written(&mut self, stamp: Lsn, counts: BTreeMap<u64, u64>) {
        self.written.stamp = stamp;
        self.written.counts = counts;
    }
}

/// Loads a snapshot into an empty state that is in recovery.
pub(crate) fn load(disk: &dyn Disk, snapshot: &SnapshotFile, state: &mut State) -> Result<(), Error> {
    read(disk, &snapshot.path, state)?;
    if state.fits_together() {
        return Ok(());
    }
    let what = format!("{}: its parts contradict each other", snapshot.path);
    Err(Error::new(ErrorKind::Corrupt).with_context(what))
}

fn read(disk: &dyn Disk, path: &str, sink: &mut dyn Sink) -> Result<(), Error> {
    let failed = |error| io_error("reading a snapshot", error);
    let damaged = |at: u64| Error::new(ErrorKind::Corrupt).with_context(format!("{path} at byte {at}"));
    let file = disk.open(path, Open::Read).map_err(failed)?;
    // A file that ends too early is damaged; one that cannot be read may be whole.
    let fill = |buf: &mut [u8], at: u64| match read_full(&*file, buf, at).map_err(failed)? {
        n if n == buf.len() => Ok(()),
        _ => Err(damaged(at)),
    };
    let mut header = [0; HEADER];
    fill(&mut header, 0)?;
    if header[..8] != MAGIC[..] || !VERSIONS.contains(&le32(&header[8..])) {
        return Err(damaged(0));
    }
    let (mut at, end) = (HEADER as u64, file.len().map_err(failed)?);
    let mut loader = Loader { sink, key: None, group: 0, keys: 0, ended: false };
    let mut body = Vec::new();
    while at < end && !loader.ended {
        let mut head = [0; 8];
        fill(&mut head, at)?;
        let (length, crc) = (le32(&head[..4]) as usize, le32(&head[4..]));
        if length == 0 || length > FRAME_BYTES_MAX || at + 8 + length as u64 > end {
            return Err(damaged(at));
        }
        body.resize(length, 0);
        fill(&mut body, at + 8)?;
        if crc32c(&body) != crc || loader.frame(&body).is_none() {
            return Err(damaged(at));
        }
        at += 8 + length as u64;
    }
    if loader.ended { Ok(()) } else { Err(damaged(at)) }
}

/// Gives every frame of a snapshot the checksum its body has, so that a fuzzer gets behind it.
pub(crate) fn seal_frames(file: &mut [u8]) {
    let Some((_, mut rest)) = file.split_at_mut_checked(HEADER) else { return };
    while let Some((head, behind)) = rest.split_at_mut_checked(8) {
        let Some((body, next)) = behind.split_at_mut_checked(le32(&head[..4]) as usize) else { return };
        head[4..].copy_from_slice(&crc32c(body).to_le_bytes());
        rest = next;
    }
}

fn le32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

/// Puts items together to keys.
struct Loader<'a> {
    sink: &'a mut dyn Sink,
    key: Option<Key>,
    /// The group whose rows are being read, by its number.
    group: u32,
    keys: u64,
    ended: bool,
}

impl Loader<'_> {
    fn frame(&mut self, body: &[u8]) -> Option<()> {
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            self.item(&mut reader)?;
        }
        Some(())
    }

    fn finish_key(&mut self) -> Option<()> {
        if let Some(key) = self.key.take() {
            self.keys += 1;
            (key.is_consistent() && self.sink.key(key)).then_some(())?;
        }
        Some(())
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        self.key.as_mut()?.stream_mut()
    }

    fn item(&mut self, r: &mut Reader<'_>) -> Option<()> {
        match r.byte()? {
            tag::BEGIN => drop(r.varint()?),
            kind @ (tag::STREAM | tag::TEXT) => {
                self.finish_key()?;
                self.key = Some(read_key(r, kind == tag::STREAM)?);
            }
            tag::HEADS => read_heads(r, self.stream()?.sealed.get_or_insert_default())?,
            tag::NODES => {
                let sealed = self.stream()?.sealed.get_or_insert_default();
                for _ in 0..r.length()? {
                    sealed.closed.push(read_node(r)?);
                }
            }
            tag::MASKS => {
                let sealed = self.stream()?.sealed.get_or_insert_default();
                for _ in 0..r.length()? {
                    sealed.deleted.insert(r.varint()?, r.u128()?);
                }
            }
            tag::IDEMPOTENT => {
                let (producer, iid, id) = (r.bytes()?, r.bytes()?, read_id(r)?);
                self.stream()?.idempotence.get_or_insert_default().restore(producer, iid, id.into());
            }
            tag::IDEMPOTENT_SINCE => {
                let (producer, iid, id) = (r.bytes()?, r.bytes()?, read_id(r)?);
                let known = Known { id, since: r.varint()? };
                self.stream()?.idempotence.get_or_insert_default().restore(producer, iid, known);
            }
            tag::MEASURES => {
                let rows = read_measures(r)?;
                let upto = rows.last().map_or(0, |row| row.pos.saturating_add(1));
                self.stream()?.keeping.get_or_insert_default().measured(upto, &rows);
            }
            tag::RETENTION => {
                let in_force = r.byte()? != 0;
                let (retention, told, upto) = (read_retention(r)?, r.byte()?, read_option(r)?);
                let keeping = self.stream()?.keeping.get_or_insert_default();
                if let Some(upto) = upto {
                    keeping.measured(upto, &[]);
                }
                keeping.told = told;
                keeping.retention = in_force.then_some(retention);
            }
            tag::GROUP => {
                let mut group = Group::new(read_u32(r)?, r.bytes()?, read_id(r)?, read_option(r)?);
                let (next_consumer, released_next) = (read_u32(r)?, r.varint()?);
                let groups = self.stream()?.groups.get_or_insert_default();
                let new = groups.by_no(group.no).is_none() && groups.get(&group.name).is_none();
                (new && group.no < u32::MAX && released_next < COUNTED_MAX).then_some(())?;
                group.restore_counters(next_consumer, released_next);
                self.group = group.no;
                self.stream()?.groups.get_or_insert_default().add(group);
            }
            tag::CONSUMER => {
                let (no, name, seen, active) = (read_u32(r)?, r.bytes()?, r.varint()?, read_option(r)?);
                let group = self.group()?;
                let new = group.consumer(no).is_none() && group.consumer_no(name).is_none();
                (new && no != NO_CONSUMER).then_some(())?;
                group.add_consumer(no, name, seen, active);
            }
            tag::ROWS => {
                let group = self.group()?;
                for _ in 0..r.length()? {
                    let (id, time) = (read_id(r)?, r.varint()?);
                    let row = SnapshotRow { id, time, consumer: read_u32(r)?, count: read_u32(r)? };
                    group.restore_row(row).then_some(())?;
                }
            }
            kind @ (tag::EXTRAS_1 | tag::EXTRAS) => {
                let id = read_id(r)?;
                let extra = read_extra(r, kind == tag::EXTRAS)?;
                self.group()?.pending.restore_extra(id, extra).then_some(())?;
            }
            tag::FAILED => {
                let (id, first, last) = (read_id(r)?, read_failure(r)?, read_failure(r)?);
                self.group()?.pending.restore_failed(id, Failed { first, last }).then_some(())?;
            }
            tag::CHARTER => {
                let charter = read_charter(r)?;
                self.group()?.charter = Some(Box::new(charter));
            }
            kind => return self.footer_item(kind, r),
        }
        Some(())
    }

    fn footer_item(&mut self, kind: u8, r: &mut Reader<'_>) -> Option<()> {
        self.finish_key()?;
        match kind {
            tag::NAMESPACE => {
                let no = r.varint()?;
                let space = Namespace {
                    name: r.bytes()?.into(),
                    next_gpos: r.varint()?,
                    last_at: r.varint()?,
                    ..Namespace::default()
                };
                self.sink.namespace(no, space).then_some(())?;
            }
            tag::DIRECTORY => {
                let (stamp, next_key) = (Lsn(r.varint()?), r.varint()?);
                let directory = (0..r.length()?).map(|_| read_u32(r)).collect::<Option<Vec<_>>>()?;
                self.sink.directory(stamp, next_key, directory);
            }
            tag::WRITTEN => {
                let stamp = Lsn(r.varint()?);
                let counts =
                    (0..r.length()?).map(|_| Some((r.varint()?, r.varint()?))).collect::<Option<_>>()?;
                self.sink.written(stamp, counts);
            }
            tag::END => {
                (r.varint()? == self.keys).then_some(())?;
                self.ended = true;
            }
            _ => return None,
        }
        Some(())
    }

    fn group(&mut self) -> Option<&mut Group> {
        let no = self.group;
        self.stream()?.groups.as_mut()?.by_no_mut(no)
    }
}

fn read_u32(r: &mut Reader<'_>) -> Option<u32> {
    u32::try_from(r.varint()?).ok()
}

fn read_extra(r: &mut Reader<'_>, is_whole: bool) -> Option<Extra> {
    let mut extra = Extra {
        count: r.signed()?,
        failures: read_u32(r)?,
        not_before: r.varint()?,
        epoch_shift: read_u32(r)?,
        released: r.varint()?,
        ..Extra::default()
    };
    if is_whole {
        (extra.redrives, extra.key) = (read_u32(r)?, r.varint()?);
        let packed = r.varint()?;
        extra.waiting = packed & 1 != 0;
        extra.generation = u32::try_from(packed >> 1).ok()?;
    }
    Some(extra)
}

fn read_key(r: &mut Reader<'_>, is_stream: bool) -> Option<Key> {
    let (no, ns, name) = (r.varint()?, read_u32(r)?, r.bytes()?);
    let (expires, stamp) = (r.varint()?, Lsn(r.varint()?));
    (no < COUNTED_MAX).then_some(())?;
    let value = if is_stream { Value::Stream(read_stream(r)?) } else { Value::Text(r.bytes()?.into()) };
    Some(Key { no, ns, name: name.into(), expires, stamp, value })
}

fn read_stream(r: &mut Reader<'_>) -> Option<Stream> {
    let mut stream =
        Stream { last_id: read_id(r)?, first_id: read_id(r)?, max_deleted: read_id(r)?, ..Stream::default() };
    stream.node = read_node(r)?;
    stream.entries_added = r.varint()?;
    stream.next_pos = r.varint()?;
    stream.len = r.varint()?;
    stream.tail.live = u16::try_from(r.varint()?).ok()?;
    stream.tail.node_start = r.varint()? != 0;
    stream.idempotence_limits = IdempotenceLimits::decode(r)?;
    let (added, duplicates) = (read_option(r)?, r.varint()?);
    if let Some(added) = added {
        stream.idempotence = Some(Box::new(Idempotence::with_counters(added, duplicates)));
    }
    let groups_next = read_u32(r)?;
    if groups_next > 0 {
        stream.groups.get_or_insert_default().restore_next_no(groups_next);
    }
    stream.tail.block = Block::decode(r)?;
    Some(stream)
}

fn read_node(r: &mut Reader<'_>) -> Option<Node> {
    let (master, count, deleted) = (read_id(r)?, read_u32(r)?, read_u32(r)?);
    Some(Node { count, deleted, bytes: r.varint()?, master, names_hash: r.varint()? })
}

fn read_heads(r: &mut Reader<'_>, sealed: &mut Sealed) -> Option<()> {
    let (mut ms, mut first_pos, mut lsn) = (0_u64, 0_u64, 0_u64);
    for _ in 0..r.length()? {
        ms = ms.checked_add(r.varint()?)?;
        let first = EntryId::new(ms, r.varint()?);
        first_pos = first_pos.checked_add(r.varint()?)?;
        lsn = lsn.checked_add(r.varint()?)?;
        let count = u16::try_from(r.varint()?).ok()?;
        let packed = r.varint()?;
        let live = u16::try_from(packed >> 1).ok()?;
        if sealed.heads.last().is_some_and(|last| last.first >= first) {
            return None;
        }
        sealed.heads.push(BlockHead {
            first,
            first_pos,
            lsn: Lsn(lsn),
            count,
            live,
            node_start: packed & 1 != 0,
        });
    }
    Some(())
}
