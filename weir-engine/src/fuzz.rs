//! Entry points for fuzzers and tests: bytes in, a panic when an invariant is broken. Not part of the interface.
//!
//! Everything begins with a [`Folder`] that an engine left behind and is then damaged. Each answers whether what came
//! out was accepted; to be refused is no finding.

use std::io;
use std::sync::Arc;

use weir_core::{EntryId, ManualClock, Timestamp};
use weir_log::{Disk, Log, LogOptions, Lsn, MemoryDisk, Open};

use crate::api::{Append, GroupReadFrom, Halt, KeyRef, NamespaceNo, NewId, Range, ReadGroup, ReadLimits};
use crate::copying::KeyCopy;
use crate::engine::{Engine, Turn};
use crate::options::{Fsync, Options};
use crate::record::Record;
use crate::snapshot::{self, SnapshotFile};
use crate::state::{State, Value};

/// Files by path.
pub type Folder = Vec<(String, Vec<u8>)>;

/// The folders of a data folder.
const FOLDERS: [&str; 2] = ["seg", "snap"];
/// Bytes of one edit.
const EDIT: usize = 6;

/// Reads a data folder.
///
/// # Errors
/// As the disk's.
pub fn folder_of(disk: &dyn Disk) -> io::Result<Folder> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        for name in disk.list(folder)? {
            let path = format!("{folder}/{name}");
            let file = disk.open(&path, Open::Read)?;
            let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
            let mut done = 0;
            while done < bytes.len() {
                match file.read_at(&mut bytes[done..], done as u64)? {
                    0 => break,
                    n => done += n,
                }
            }
            files.push((path, bytes));
        }
    }
    files.sort();
    Ok(files)
}

fn disk_with(folder: &Folder) -> MemoryDisk {
    let disk = MemoryDisk::new();
    for (path, bytes) in folder {
        let file = disk.open(path, Open::Create).expect("memory takes every file");
        file.write_at(bytes, 0).expect("memory takes every byte");
    }
    disk
}

/// An edit: where, what, with what.
struct Edit {
    which: usize,
    at: usize,
    kind: u8,
    value: u8,
}

fn edits(data: &[u8]) -> impl Iterator<Item = Edit> + '_ {
    data.chunks_exact(EDIT).map(|edit| Edit {
        which: usize::from(edit[0]) << 4 | usize::from(edit[1]) >> 4,
        at: usize::from(edit[1] & 15) << 16 | usize::from(edit[2]) << 8 | usize::from(edit[3]),
        kind: edit[4],
        value: edit[5],
    })
}

impl Edit {
    fn change(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            bytes.push(self.value);
            return;
        }
        let at = self.at % bytes.len();
        match self.kind % 8 {
            0..=2 => bytes[at] = self.value,
            3 => bytes[at] ^= 1 << (self.value % 8),
            4 => bytes[at] = bytes[at].wrapping_add(self.value),
            5 => bytes.truncate(at),
            6 => bytes.insert(at, self.value),
            _ => drop(bytes.remove(at)),
        }
    }

    /// As [`Edit::change`] for a whole file: what disks do.
    fn damage(&self, bytes: &mut Vec<u8>) {
        let sector = (self.at / 512 * 512).min(bytes.len());
        let end = (sector + 512).min(bytes.len());
        match self.kind {
            0..64 => self.change(bytes),
            64..96 => bytes[sector..end].fill(self.value),
            96..112 => bytes.truncate(self.at),
            112..128 => bytes.resize(bytes.len() + usize::from(self.value) * 16, self.value),
            _ => {
                let other = usize::from(self.value) * 512;
                if other + (end - sector) <= bytes.len() {
                    bytes.copy_within(other..other + (end - sector), sector);
                }
            }
        }
    }
}

fn options() -> Options {
    Options {
        fsync: Fsync::No,
        background: false,
        log: LogOptions { segment_bytes: 64 << 10, ring_bytes: 64 << 10, ..LogOptions::default() },
        ..Options::default()
    }
}

/// Damages the files of a folder and opens it. What opens is looked at from all sides and used, opened again, and the
/// same.
///
/// # Panics
/// When the engine breaks an invariant.
pub fn open_damaged(folder: &Folder, data: &[u8]) -> bool {
    let mut folder = folder.clone();
    for edit in edits(data) {
        let nth = edit.which % folder.len();
        if edit.kind == 255 {
            folder.remove(nth);
        } else {
            edit.damage(&mut folder[nth].1);
        }
        if folder.is_empty() {
            break;
        }
    }
    let disk = disk_with(&folder);
    let Ok(engine) = try_open(&disk) else { return false };
    use_it(&engine);
    // An entry that a snapshot stands for may be unreadable, and is told of whenever somebody asks for it.
    let before = engine.dump();
    engine.sync().expect("memory has no faults");
    drop(engine);
    let engine = open(&disk);
    match (before, engine.dump()) {
        (Ok(before), Ok(after)) => {
            assert!(before == after, "a restart changed this:\n{before}\ninto\n{after}")
        }
        (before, after) => assert_eq!(before.is_ok(), after.is_ok(), "a restart neither damages nor mends"),
    }
    use_it(&engine);
    true
}

fn try_open(disk: &MemoryDisk) -> Result<Engine, weir_core::Error> {
    let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
    Engine::open(Arc::new(disk.clone()), clock, options())
}

fn open(disk: &MemoryDisk) -> Engine {
    try_open(disk).expect("what an engine wrote opens")
}

/// Looks at everything and changes some of it; whatever is answered is fine.
fn use_it(engine: &Engine) {
    drop(engine.verify());
    drop(engine.dump());
    let mut keys = vec![(0, b"new".as_slice().into())];
    engine.each_key(64, &mut |key, _, _| keys.push((key.ns, key.name.clone())));
    for (ns, name) in keys.into_iter().take(64) {
        let key = KeyRef { ns: NamespaceNo(ns), name: &name };
        append(engine, key);
        let groups = engine.turn().groups_info(key).unwrap_or_default();
        for group in groups {
            let read = ReadGroup {
                ns: key.ns,
                group: group.name,
                consumer: b"fuzz".as_slice().into(),
                streams: vec![(name.clone(), GroupReadFrom::New)],
                limits: ReadLimits { count: Some(9), ..ReadLimits::default() },
                noack: false,
                claim_idle_min: Some(0),
            };
            retry(engine, |turn| turn.read_group(&read).map(drop));
        }
        retry(engine, |turn| turn.delete(key, &[EntryId::MAX]).map(drop));
    }
    drop(engine.snapshot());
    drop(engine.sync());
    // Behind the snapshot, so that the next open has something to replay.
    append(engine, KeyRef { ns: NamespaceNo(0), name: b"later" });
}

fn append(engine: &Engine, key: KeyRef<'_>) {
    let fields: [&[u8]; 2] = [b"f", b"v"];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
    retry(engine, |turn| turn.append(key, &request).map(drop));
}

fn retry(engine: &Engine, question: impl FnMut(&mut Turn<'_>) -> Result<(), Halt>) {
    // What is refused is refused; nothing here may panic.
    drop(engine.ask(question));
}

/// The records of a folder's log, from its beginning, as far as they are there.
pub fn records_of(folder: &Folder) -> Vec<(u64, Vec<u8>)> {
    let mut records = Vec::new();
    let replay = &mut |lsn: Lsn, body: &[u8]| {
        records.push((lsn.0, body.to_vec()));
        Ok::<(), ()>(())
    };
    let disk = Arc::new(disk_with(folder));
    drop(Log::open(disk, options().log, Box::new(|| 7), None, replay));
    records
}

/// Edits records (in their bytes, or by leaving out, repeating and exchanging them) as if each had a valid checksum,
/// and replays them until one is refused.
///
/// # Panics
/// When a record that was accepted breaks an invariant.
pub fn replay_edited(records: &[(u64, Vec<u8>)], data: &[u8]) -> bool {
    let mut records = records.to_vec();
    for edit in edits(data) {
        if records.is_empty() {
            break;
        }
        let nth = edit.which % records.len();
        match edit.kind {
            0..192 => edit.change(&mut records[nth].1),
            192..208 => drop(records.remove(nth)),
            208..224 => records[nth].1 = records[edit.at % records.len()].1.clone(),
            _ => {
                let other = edit.at % records.len();
                let body = std::mem::take(&mut records[nth].1);
                records[nth].1 = std::mem::replace(&mut records[other].1, body);
            }
        }
    }
    let mut state = State::default();
    state.begin_recovery();
    replay(&mut state, &records)
}

fn replay(state: &mut State, records: &[(u64, Vec<u8>)]) -> bool {
    for (lsn, body) in records {
        let Some(record) = Record::decode(body) else { return false };
        if !state.replay(Lsn(*lsn), &record) {
            return false;
        }
    }
    if !state.end_recovery() {
        return false;
    }
    state.keys.iter().for_each(|(_, key)| {
        let Value::Stream(stream) = &key.value else { return };
        stream.check_counts(&mut |what| panic!("an accepted record broke a stream: {what}"));
        let groups = stream.groups();
        groups.for_each(|group| group.check(&mut |what| panic!("an accepted record broke a group: {what}")));
    });
    true
}

/// Edits a snapshot inside its frames, as if each had a valid checksum, loads it, and replays records on top.
///
/// # Panics
/// When a snapshot that was accepted breaks an invariant.
pub fn load_edited(snapshot: &[u8], records: &[(u64, Vec<u8>)], data: &[u8]) -> bool {
    let mut bytes = snapshot.to_vec();
    for edit in edits(data) {
        edit.change(&mut bytes);
    }
    snapshot::seal_frames(&mut bytes);
    let disk = MemoryDisk::new();
    let path = "snap/0000000000001000.snap".to_owned();
    let file = disk.open(&path, Open::Create).expect("memory takes every file");
    file.write_at(&bytes, 0).expect("memory takes every byte");
    let mut state = State::default();
    state.begin_recovery();
    let file = SnapshotFile { from: Lsn(4096), bytes: bytes.len() as u64, path };
    if snapshot::load(&disk, &file, &mut state).is_err() {
        return false;
    }
    replay(&mut state, records)
}

/// What `DUMP` answers for each key of a folder.
pub fn payloads_of(folder: &Folder) -> Vec<Vec<u8>> {
    let engine = open(&disk_with(folder));
    let mut keys = Vec::new();
    engine.each_key(64, &mut |key, _, _| keys.push((key.ns, key.name.clone())));
    let mut payloads = Vec::new();
    for (ns, name) in keys {
        let mut image = None;
        let key = KeyRef { ns: NamespaceNo(ns), name: &name };
        retry(&engine, |turn| turn.image(key).map(|found| image = found));
        if let Some(image) = image {
            payloads.push(engine.complete(&image).expect("memory has no faults").into_payload());
        }
    }
    payloads
}

/// Edits a payload of `DUMP` as if it had a valid checksum and puts it in place. What is accepted is used, and opened
/// again: from the log alone, and from a snapshot.
///
/// # Panics
/// When the folder does not open, or the engine breaks an invariant.
pub fn restore_edited(payload: &[u8], data: &[u8]) -> bool {
    let mut body = payload.split_last_chunk::<4>().map_or(payload, |(body, _)| body).to_vec();
    for edit in edits(data) {
        edit.change(&mut body);
    }
    let crc = crc32c::crc32c(&body);
    body.extend_from_slice(&crc.to_le_bytes());
    let Ok(copy) = KeyCopy::parse(&body) else { return false };
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    let key = KeyRef { ns: NamespaceNo(0), name: b"forged" };
    let mut placed = false;
    retry(&engine, |turn| turn.put_copy(key, &copy, None, false, "restore").map(|done| placed = done));
    if !placed {
        return false;
    }
    let engine = reopened(&disk, engine);
    delete_some(&engine, key);
    use_it(&engine);
    let engine = reopened(&disk, engine);
    delete_some(&engine, key);
    drop(reopened(&disk, engine));
    true
}

fn delete_some(engine: &Engine, key: KeyRef<'_>) {
    let range = Range { start: EntryId::MIN, end: EntryId::MAX, count: Some(40), reverse: false };
    let mut found = Vec::new();
    retry(engine, |turn| turn.range(key, &range).map(|refs| found = refs.unwrap_or_default()));
    for entry in found.iter().step_by(3) {
        retry(engine, |turn| turn.delete(key, &[entry.id]).map(drop));
    }
}

/// Opens a folder again: the same state, and nothing wrong with it.
fn reopened(disk: &MemoryDisk, engine: Engine) -> Engine {
    engine.sync().expect("memory has no faults");
    let before = engine.dump().expect("memory has no faults");
    drop(engine);
    let engine = open(disk);
    assert_eq!(engine.dump().expect("memory has no faults"), before, "opened again it is another");
    let verified = engine.verify().expect("memory has no faults");
    assert!(verified.is_clean(), "{:#?}", verified.problems);
    engine
}
