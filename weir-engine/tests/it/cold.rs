//! What is not in memory: how often a request has to ask for it, and that none reads it under the lock.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use weir_core::EntryId;
use weir_engine::{
    AutoClaim, Claim, Engine, Entries, Fsync, GroupReadFrom, GroupStart, Halt, Range, Read, ReadFrom,
    ReadGroup, ReadLimits, References, Trim, TrimBound, Turn,
};
use weir_log::{Disk, DiskFile, DiskLock, MemoryDisk, Open};

use crate::script::{TestClock, small};
use crate::streams::{NS, add, key};

/// More than 64 blocks by far, and more than the block cache holds.
const ENTRIES: u64 = 20_000;

thread_local! {
    /// Whether this thread holds the engine's lock, and how often it read from the disk meanwhile.
    static UNDER_LOCK: Cell<bool> = const { Cell::new(false) };
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// A disk whose files are never in memory, and which counts reads under the lock.
#[derive(Debug, Clone)]
struct Strict(MemoryDisk);

#[derive(Debug)]
struct StrictFile(Arc<dyn DiskFile>);

impl Disk for Strict {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(StrictFile(self.0.open(path, how)?)))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn lock(&self, path: &str, contents: &str) -> io::Result<Box<dyn DiskLock>> {
        self.0.lock(path, contents)
    }
    fn available(&self) -> io::Result<u64> {
        self.0.available()
    }
    fn zero_fill_pays(&self) -> bool {
        self.0.zero_fill_pays()
    }
}

impl DiskFile for StrictFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if UNDER_LOCK.get() {
            READS.set(READS.get() + 1);
        }
        self.0.read_at(buf, at)
    }
    fn read_at_cached(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_at(bytes, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        self.0.punch(at, len)
    }
}

/// An engine that was just started, with a stream `s` of [`ENTRIES`] entries; of a group `g` the first half of them is
/// pending for Ann.
fn start() -> Engine {
    let disk = Strict(MemoryDisk::new());
    let open = || Engine::open(Arc::new(disk.clone()), TestClock::new(), small(Fsync::No)).unwrap();
    let engine = open();
    for n in 1..=ENTRIES {
        add(&engine, "s", n, "value");
    }
    engine.turn().group_create(key("s"), b"g", GroupStart::After(EntryId::MIN), None, false).unwrap();
    let read = read_group("ann", GroupReadFrom::New, ENTRIES / 2);
    engine.ask(|turn| turn.read_group(&read)).unwrap();
    engine.close().unwrap();
    drop(engine);
    open()
}

fn read_group(consumer: &str, from: GroupReadFrom, count: u64) -> ReadGroup {
    ReadGroup {
        ns: NS,
        group: b"g".as_slice().into(),
        consumer: consumer.as_bytes().into(),
        streams: vec![(b"s".as_slice().into(), from)],
        limits: ReadLimits { count: Some(count), ..ReadLimits::default() },
        noack: false,
        claim_idle_min: None,
    }
}

/// Asks, and expects that few looks are enough and none reads under the lock.
fn ask<T>(engine: &Engine, looks: u32, mut question: impl FnMut(&mut Turn<'_>) -> Result<T, Halt>) -> T {
    let mut asked = 0;
    READS.set(0);
    let answer = engine.ask(|turn| {
        asked += 1;
        UNDER_LOCK.set(true);
        let answer = question(turn);
        UNDER_LOCK.set(false);
        answer
    });
    assert_eq!(READS.get(), 0, "reads under the lock");
    assert!(asked <= 1 + looks, "asked {asked} times");
    answer.unwrap()
}

fn ids(entries: &Entries) -> Vec<u64> {
    match entries {
        Entries::Plain(refs) => refs.iter().map(|entry| entry.id.ms).collect(),
        Entries::Claimed(given) => given.iter().map(|delivery| delivery.entry.id.ms).collect(),
        Entries::Given(given) => given.iter().map(|given| given.entry.id.ms).collect(),
    }
}

/// A wide range asked for one block at a time, and read the rest under the lock after sixty-four.
#[test]
fn a_wide_range_needs_one_look() {
    let engine = start();
    for reverse in [false, true] {
        let range = Range { start: EntryId::MIN, end: EntryId::MAX, count: None, reverse };
        let refs = ask(&engine, 1, |turn| turn.range(key("s"), &range)).unwrap();
        let mut found: Vec<u64> = refs.iter().map(|entry| entry.id.ms).collect();
        if reverse {
            found.reverse();
        }
        assert_eq!(found, (1..=ENTRIES).collect::<Vec<_>>());
        let range =
            Range { start: EntryId::new(777, 0), end: EntryId::new(15_555, 0), count: Some(9_000), reverse };
        let refs = ask(&engine, 1, |turn| turn.range(key("s"), &range)).unwrap();
        assert_eq!(refs.len(), 9_000);
        assert_eq!(refs[0].id.ms, if reverse { 15_554 } else { 777 });
        // A few blocks are looked up on the way.
        let range = Range { start: EntryId::new(3_333, 0), end: EntryId::MAX, count: Some(1_000), reverse };
        let refs = ask(&engine, 1, |turn| turn.range(key("s"), &range)).unwrap();
        assert_eq!(refs.len(), 1_000);
        assert_eq!(refs[0].id.ms, if reverse { ENTRIES } else { 3_333 });
    }
}

/// What a wide range answers is the stream as it was when it was asked first.
#[test]
fn a_wide_range_is_of_one_moment() {
    let engine = start();
    engine.ask(|turn| turn.delete(key("s"), &[EntryId::new(5, 1), EntryId::new(ENTRIES, 1)])).unwrap();
    let range = Range { start: EntryId::MIN, end: EntryId::MAX, count: None, reverse: false };
    let mut asked = 0;
    let refs = engine.ask(|turn| {
        asked += 1;
        let answer = turn.range(key("s"), &range);
        if asked == 1 {
            let (first, last) = (EntryId::new(1, 1), EntryId::new(ENTRIES + 1, 1));
            while turn.delete(key("s"), &[first]).is_err() {
                turn.read_on_the_spot(true);
            }
            turn.read_on_the_spot(false);
            let request = weir_engine::Append {
                id: weir_engine::NewId::Exact(last),
                fields: &[b"f", b"v"],
                create: false,
                trim: None,
                producer: None,
            };
            turn.append(key("s"), &request)?;
        }
        answer
    });
    let found: Vec<u64> = refs.unwrap().unwrap().iter().map(|entry| entry.id.ms).collect();
    let wanted: Vec<u64> = (1..ENTRIES).filter(|n| *n != 5).collect();
    assert_eq!(asked, 2);
    assert_eq!(found, wanted);
}

#[test]
fn reads_of_many_streams_need_one_look() {
    let engine = start();
    for n in 0..50 {
        for ms in 1..=200 {
            add(&engine, &format!("t{n}"), ms, "x");
        }
    }
    let name = |n: u64| if n == 50 { "s".into() } else { format!("t{n}") };
    let streams = (0..=50).map(|n| (name(n).into_bytes().into(), ReadFrom::After(EntryId::MIN))).collect();
    let read = Read { ns: NS, streams, limits: ReadLimits::default() };
    let outcome = ask(&engine, 1, |turn| turn.read(&read));
    assert_eq!(outcome.streams.len(), 51);
    assert_eq!(ids(&outcome.streams[0].entries), (1..=200).collect::<Vec<_>>());
    assert_eq!(ids(&outcome.streams[50].entries), (1..=ENTRIES).collect::<Vec<_>>());
}

#[test]
fn a_byte_limit_is_measured_outside_the_lock() {
    let engine = start();
    let streams = vec![(b"s".as_slice().into(), ReadFrom::After(EntryId::MIN))];
    // An entry counts 24 bytes, and its name and value.
    let limits = ReadLimits { bytes_total: Some(30 * 3_000), ..ReadLimits::default() };
    let outcome = ask(&engine, 12, |turn| turn.read(&Read { ns: NS, streams: streams.clone(), limits }));
    assert_eq!(ids(&outcome.streams[0].entries), (1..=3_000).collect::<Vec<_>>());
    let read = ReadGroup { limits, ..read_group("bob", GroupReadFrom::New, 0) };
    let outcome = ask(&engine, 12, |turn| turn.read_group(&read));
    let first = ENTRIES / 2 + 1;
    assert_eq!(ids(&outcome.streams[0].entries), (first..first + 3_000).collect::<Vec<_>>());
}

#[test]
fn groups_need_one_look() {
    let engine = start();
    let history = read_group("ann", GroupReadFrom::History(EntryId::MIN), ENTRIES);
    let outcome = ask(&engine, 1, |turn| turn.read_group(&history));
    assert_eq!(ids(&outcome.streams[0].entries), (1..=ENTRIES / 2).collect::<Vec<_>>());
    let claimed: Vec<EntryId> = (1..=ENTRIES / 2).step_by(50).map(|n| EntryId::new(n, 1)).collect();
    let claim = Claim {
        group: b"g",
        consumer: b"bob",
        idle_min: 0,
        ids: &claimed,
        time: None,
        deliveries: None,
        force: false,
        just_ids: false,
        last_id: None,
    };
    let got = ask(&engine, 1, |turn| turn.claim(key("s"), &claim));
    assert_eq!(got.iter().map(|entry| entry.id).collect::<Vec<_>>(), claimed);
    let auto = AutoClaim {
        group: b"g",
        consumer: b"cid",
        idle_min: 0,
        start: EntryId::MIN,
        count: 9_000,
        just_ids: false,
    };
    assert_eq!(ask(&engine, 1, |turn| turn.auto_claim(key("s"), &auto)).entries.len(), 9_000);
    let claiming = ReadGroup { claim_idle_min: Some(0), ..read_group("dan", GroupReadFrom::New, 15_000) };
    let outcome = ask(&engine, 2, |turn| turn.read_group(&claiming));
    assert_eq!(ids(&outcome.streams[0].entries).len(), 15_000);
}

#[test]
fn removing_needs_one_look() {
    let engine = start();
    let doomed: Vec<EntryId> = (1..=ENTRIES).step_by(7).map(|n| EntryId::new(n, 1)).collect();
    let gone = ask(&engine, 2, |turn| turn.delete(key("s"), &doomed));
    assert_eq!(gone, doomed.len() as u64);
    let bound = TrimBound::MaxLen(500);
    let trim = Trim { bound, approximate: false, limit: 0, references: References::Delete };
    let left = engine.turn().len(key("s")).unwrap();
    assert_eq!(ask(&engine, 2, |turn| turn.trim(key("s"), &trim)), left - 500);
    // Rows of what was deleted by name stay behind.
    let behind = doomed.iter().filter(|id| id.ms <= ENTRIES / 2).count() as u64;
    assert_eq!(engine.turn().pending_summary(key("s"), b"g").unwrap().count, behind);
    assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
}

/// A trim whose bound lies below everything has to look at the oldest block all the same; it named none, and was asked
/// for ever.
#[test]
fn a_trim_below_everything_ends() {
    let engine = start();
    let trim =
        |id| Trim { bound: TrimBound::MinId(id), approximate: false, limit: 0, references: References::Keep };
    ask(&engine, 1, |turn| turn.delete(key("s"), &[EntryId::new(1, 1)]));
    assert_eq!(ask(&engine, 1, |turn| turn.trim(key("s"), &trim(EntryId::new(1, 0)))), 0);
    assert_eq!(ask(&engine, 1, |turn| turn.trim(key("s"), &trim(EntryId::new(1, 9)))), 0);
}
