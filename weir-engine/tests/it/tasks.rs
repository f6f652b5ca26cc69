//! The traits and the synchronous calls: both faces are complete, and tasks never wait for the disk inside a `poll`.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use weir_core::{
    AppendOptions, AutoClaim, Deliveries, Delivery, EntryId, ErrorKind, FieldRefs, GroupSource, Groups,
    ManualClock, ReadGroup, ReadOptions, Streams, Timestamp,
};
use weir_engine::{Engine, ExpireWhen, Fsync, Namespace, NewId, Options};
use weir_log::{Disk, DiskFile, DiskLock, MemoryDisk, Open};

use crate::script::small;
use crate::streams::{add, key};
use crate::waiting::{Task, above, everything, from_beginning};

/// A disk in memory on which nothing is cached, and which notes who waits for it.
#[derive(Debug, Clone, Default)]
struct Cold {
    disk: MemoryDisk,
    watched: Arc<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    is_cold: AtomicBool,
    /// The thread that must not wait.
    polls: Mutex<Option<ThreadId>>,
    waits: AtomicUsize,
    waits_in_poll: AtomicUsize,
}

impl Watched {
    fn wait(&self) {
        if self.is_cold.load(Ordering::SeqCst) {
            self.waits.fetch_add(1, Ordering::SeqCst);
            let polls = *self.polls.lock().unwrap() == Some(std::thread::current().id());
            self.waits_in_poll.fetch_add(usize::from(polls), Ordering::SeqCst);
        }
    }
}

impl Disk for Cold {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ColdFile { file: self.disk.open(path, how)?, watched: self.watched.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &str, contents: &str) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path, contents)
    }

    fn available(&self) -> io::Result<u64> {
        self.disk.available()
    }

    fn zero_fill_pays(&self) -> bool {
        self.disk.zero_fill_pays()
    }
}

#[derive(Debug)]
struct ColdFile {
    file: Arc<dyn DiskFile>,
    watched: Arc<Watched>,
}

impl DiskFile for ColdFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.watched.wait();
        self.file.read_at(buf, at)
    }

    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if self.watched.is_cold.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.file.read_at(buf, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watched.wait();
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watched.wait();
        self.file.set_len(len)
    }

    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        self.file.punch(at, len)
    }
}

const FIRST: u64 = 2_000;

/// An engine that was opened anew with so many entries in `orders`, and a disk on which all is cold from here on.
fn cold() -> (Cold, Engine, Namespace) {
    let disk = Cold::default();
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
    let open = |fsync| Engine::open(Arc::new(disk.clone()), clock.clone(), small(fsync)).unwrap();
    let engine = open(Fsync::No);
    for ms in 1..=FIRST {
        add(&engine, "orders", ms, &format!("{ms:0100}"));
        engine.background_step().unwrap();
    }
    engine.close().unwrap();
    drop(engine);
    let engine = open(Fsync::Always);
    let orders = engine.namespace("default").unwrap();
    disk.watched.is_cold.store(true, Ordering::SeqCst);
    *disk.watched.polls.lock().unwrap() = Some(std::thread::current().id());
    (disk, engine, orders)
}

#[test]
fn nothing_waits_for_the_disk_inside_a_poll() {
    let (disk, _engine, orders) = cold();
    let all = ReadOptions { count: FIRST, ..everything() };
    let mut read = Task::pending(Streams::read(&orders, b"orders", all));
    assert_eq!(read.finish().unwrap().len() as u64, FIRST);
    Task::pending(Groups::create_group(&orders, b"orders", b"g", from_beginning())).finish().unwrap();
    let given =
        Task::pending(Deliveries::read_group(&orders, b"orders", reader(1_000, None))).finish().unwrap();
    assert_eq!(given.len(), 1_000);
    let claim = AutoClaim { idle_min: Duration::ZERO, ..claims(1_000) };
    let claimed = Task::pending(Deliveries::auto_claim(&orders, b"orders", claim)).finish().unwrap();
    assert_eq!(ids(&claimed.deliveries), ids(&given));
    // More than the space that was prepared.
    let large: FieldRefs<'_> = &[(b"f", &[b'v'; 10_000])];
    for _ in 0..50 {
        let future = Streams::append(&orders, b"more", large, AppendOptions::default());
        Task { future, woken: Arc::default() }.finish().unwrap();
    }
    assert!(disk.watched.waits.load(Ordering::SeqCst) > 0, "the disk was not cold at all");
    assert_eq!(disk.watched.waits_in_poll.load(Ordering::SeqCst), 0);
}

fn by_hand() -> (Engine, Namespace, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
    let options = Options { background: false, ..Options::default() };
    let engine = Engine::memory_with(clock.clone(), options);
    let namespace = engine.namespace("default").unwrap();
    (engine, namespace, clock)
}

fn reader(count: u64, wait: Option<Duration>) -> ReadGroup {
    ReadGroup {
        group: b"g".to_vec(),
        consumer: b"ann".to_vec(),
        source: GroupSource::New,
        count,
        wait,
        while_paused: false,
    }
}

fn own(count: u64) -> ReadGroup {
    ReadGroup { source: GroupSource::History { after: EntryId::MIN }, ..reader(count, None) }
}

fn claims(count: u64) -> AutoClaim {
    AutoClaim {
        group: b"g".to_vec(),
        consumer: b"bob".to_vec(),
        idle_min: Duration::from_secs(5),
        start: EntryId::MIN,
        count,
    }
}

fn ids(given: &[Delivery]) -> Vec<u64> {
    given.iter().map(|delivery| delivery.entry.id.ms).collect()
}

#[test]
fn the_synchronous_calls_are_complete() {
    let (_, orders, clock) = by_hand();
    assert_eq!(orders.stream_info(b"s").unwrap(), None);
    for ms in 1..=3 {
        let id = AppendOptions { id: Some(EntryId::new(ms, 0)), ..AppendOptions::default() };
        orders.append(b"s", &[(b"f", b"v")], &id).unwrap();
    }
    orders.create_group(b"s", b"g", &from_beginning()).unwrap();
    assert_eq!(orders.read_group(b"s", &reader(2, None)).unwrap().len(), 2);
    assert_eq!(ids(&orders.read_group(b"s", &own(10)).unwrap()), [1, 2]);
    clock.advance(Duration::from_secs(5));
    let claimed = orders.auto_claim(b"s", &claims(1)).unwrap();
    assert_eq!((claimed.deliveries[0].entry.id.ms, claimed.cursor.ms), (1, 2));
    assert_eq!(orders.delete_entries(b"s", &[EntryId::new(1, 0), EntryId::new(9, 9)]).unwrap(), 1);
    let info = orders.stream_info(b"s").unwrap().unwrap();
    assert_eq!((info.length, info.entries_added, info.groups), (2, 3, 1));
    assert!(orders.delete_stream(b"s").unwrap());
    assert!(!orders.delete_stream(b"s").unwrap());
}

#[test]
fn a_count_of_zero_asks_for_nothing() {
    let (engine, orders, clock) = by_hand();
    orders.append(b"s", &[(b"f", b"v")], &AppendOptions::default()).unwrap();
    orders.create_group(b"s", b"g", &from_beginning()).unwrap();
    assert_eq!(orders.read(b"s", &ReadOptions { count: 0, ..everything() }).unwrap(), []);
    // Waiting for none would never end.
    let none = ReadOptions { count: 0, ..above(EntryId::MIN, Some(Duration::MAX)) };
    assert_eq!(orders.read(b"s", &none).unwrap(), []);
    assert_eq!(orders.read_group(b"s", &reader(0, Some(Duration::MAX))).unwrap(), []);
    assert_eq!(engine.turn().waiting_counts(), (0, 0));
    assert_eq!(orders.read_group(b"s", &reader(1, None)).unwrap().len(), 1);
    assert_eq!(orders.read_group(b"s", &own(0)).unwrap(), []);
    clock.advance(Duration::from_secs(5));
    assert_eq!(orders.auto_claim(b"s", &claims(0)).unwrap().deliveries, []);
    let wrong = orders.read_group(b"none", &reader(0, None)).unwrap_err();
    assert_eq!(*wrong.kind(), ErrorKind::NoSuchGroup);
}

#[test]
fn expired_keys_go_without_a_door() {
    let (engine, _, clock) = by_hand();
    for n in 0..100 {
        let name = format!("s{n}");
        let request = weir_engine::Append {
            id: NewId::Auto,
            fields: &[b"f", b"v"],
            create: true,
            trim: None,
            producer: None,
        };
        let mut turn = engine.turn();
        turn.append(key(&name), &request).unwrap();
        turn.expire_at(key(&name), Timestamp(1_005_000), ExpireWhen::default()).unwrap();
    }
    clock.advance(Duration::from_secs(5));
    assert_eq!(engine.turn().expired_keys(), 0);
    while engine.background_step().unwrap() {}
    assert_eq!(engine.turn().expired_keys(), 100);
}
