//! Entries and index blocks that are not in memory: the reactor never waits for them, and answers stay in order.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use weir_core::SystemClock;
use weir_engine::{Engine, Options};
use weir_log::{Disk, DiskFile, DiskLock, LogOptions, MemoryDisk, Open};

use crate::harness::{TestClient, TestServer};

const ENTRIES: usize = 2_000;

/// A disk that has nothing in memory, and on which reads can be held up.
#[derive(Debug, Clone, Default)]
struct ColdDisk {
    disk: Arc<MemoryDisk>,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    fn shut(&self, yes: bool) {
        *self.is_shut.lock().unwrap() = yes;
        self.opened.notify_all();
    }

    fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(self.opened.wait_while(self.is_shut.lock().unwrap(), |is_shut| *is_shut).unwrap());
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many reads wait.
    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct ColdFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl Disk for ColdDisk {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, how)?;
        Ok(Arc::new(ColdFile { file, gate: self.gate.clone() }))
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

impl DiskFile for ColdFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.gate.pass();
        self.file.read_at(buf, at)
    }
    fn read_at_cached(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        self.file.punch(at, len)
    }
}

/// A server whose stream `s` has 2 000 entries, of which the newest few hundred are in memory.
fn start() -> (TestServer, ColdDisk) {
    let disk = ColdDisk::default();
    let log = LogOptions { segment_bytes: 256 << 10, ring_bytes: 64 << 10, ..LogOptions::default() };
    let options = Options { log, block_cache_bytes: 10 << 10, background: false, ..Options::default() };
    let engine = Engine::open(Arc::new(disk.clone()), Arc::new(SystemClock::new()), options).unwrap();
    let server = TestServer::on(engine);
    let mut client = server.client();
    let value = "x".repeat(200);
    let mut bytes = Vec::new();
    for nth in 1..=ENTRIES {
        weir_resp::command(&mut bytes, ["XADD", "s", &nth.to_string(), "field", &value]);
    }
    client.send_bytes(&bytes);
    (1..=ENTRIES).for_each(|_| assert!(client.reply().starts_with('$')));
    (server, disk)
}

fn ids(reply: &str) -> Vec<usize> {
    reply.split(' ').filter_map(|word| word.strip_suffix("-0")?.parse().ok()).collect()
}

fn expect_ids(client: &mut TestClient, wanted: impl Iterator<Item = usize>) {
    let reply = client.reply();
    assert_eq!(ids(&reply), wanted.collect::<Vec<_>>());
}

#[test]
fn answers_stay_in_order() {
    let (server, _) = start();
    let mut client = server.client();
    for _ in 0..3 {
        client.send("XRANGE s - + COUNT 700");
        client.send("XLEN s");
        client.send("XRANGE s 3 5");
        client.send("PING");
        client.send("XREVRANGE s 700 600");
        client.send("XREAD COUNT 2 STREAMS s 900");
    }
    for _ in 0..3 {
        expect_ids(&mut client, 1..=700);
        assert_eq!(client.reply(), ":2000");
        expect_ids(&mut client, 3..=5);
        assert_eq!(client.reply(), "+PONG");
        expect_ids(&mut client, (600..=700).rev());
        expect_ids(&mut client, 901..=902);
    }
}

#[test]
fn groups_read_what_is_cold() {
    let (server, _) = start();
    let mut client = server.client();
    client.check(&[("XGROUP CREATE s g 0", "+OK")]);
    for first in (1..ENTRIES).step_by(100) {
        client.send("XREADGROUP GROUP g c COUNT 100 STREAMS s >");
        expect_ids(&mut client, first..first + 100);
    }
    client.send("XREADGROUP GROUP g c COUNT 3 STREAMS s 40");
    expect_ids(&mut client, 41..=43);
    client.check(&[("MULTI", "+OK"), ("XRANGE s 7 7", "+QUEUED"), ("XLEN s", "+QUEUED")]);
    let reply = client.ask("EXEC");
    assert!(reply.starts_with("*2 *1 *2 $3 7-0") && reply.ends_with(" :2000"), "{reply}");
}

#[test]
fn others_are_served_while_the_disk_is_slow() {
    let (server, disk) = start();
    disk.gate.shut(true);
    let mut waiting = server.client();
    waiting.send("XRANGE s 3 5");
    waiting.send("PING");
    let mut other = server.client();
    for nth in 0..50 {
        other.check(&[("PING", "+PONG"), ("XLEN s", &format!(":{}", ENTRIES + nth))]);
        other.send("XADD s * a 1");
        other.reply();
    }
    let mut gone = server.client();
    gone.send("XRANGE s 3 5");
    gone.send("XADD s * a 1");
    drop(gone);
    disk.gate.shut(false);
    expect_ids(&mut waiting, 3..=5);
    assert_eq!(waiting.reply(), "+PONG");
}

/// The loop wrote snapshots and fetched what was to be copied itself, and everybody waited for the disk.
#[test]
fn others_are_served_while_a_snapshot_is_written_and_keys_are_copied() {
    let (server, disk) = start();
    disk.gate.shut(true);
    let (mut saving, mut dumping, mut copying) = (server.client(), server.client(), server.client());
    saving.send("SAVE");
    dumping.send("DUMP s");
    copying.send("COPY s t");
    let mut other = server.client();
    for _ in 0..50 {
        other.check(&[("PING", "+PONG"), ("XLEN s", &format!(":{ENTRIES}")), ("EXISTS t", ":0")]);
    }
    other.check(&[("XADD s 3000-0 a 1", "$6 3000-0")]);
    disk.gate.shut(false);
    assert_eq!(saving.reply(), "+OK");
    assert!(dumping.reply().starts_with('$'));
    assert_eq!(copying.reply(), ":1");
    // What was added before the copy appeared is in it.
    other.check(&[
        ("XLEN t", &format!(":{}", ENTRIES + 1)),
        ("XREVRANGE t + - COUNT 1", "*1 *2 $6 3000-0 *2 $1 a $1 1"),
    ]);
}

/// A range over more blocks than the cache holds was read under the engine's lock in the end, and one that waits for
/// the disk must not hold up those who add to the same stream.
#[test]
fn others_add_to_a_stream_that_is_read_from_end_to_end() {
    let (server, disk) = start();
    let mut client = server.client();
    let value = "x".repeat(20);
    let mut bytes = Vec::new();
    for nth in ENTRIES + 1..=8 * ENTRIES {
        weir_resp::command(&mut bytes, ["XADD", "s", &nth.to_string(), "field", &value]);
    }
    client.send_bytes(&bytes);
    (ENTRIES + 1..=8 * ENTRIES).for_each(|_| assert!(client.reply().starts_with('$')));
    disk.gate.shut(true);
    let (mut up, mut down, mut reading) = (server.client(), server.client(), server.client());
    up.send("XRANGE s - +");
    down.send("XREVRANGE s + -");
    reading.send("XREAD STREAMS s 0");
    server.until("all of them wait for the disk", || disk.gate.waiting() == 3);
    for nth in 1..=50 {
        client.check(&[(&format!("XADD s {}-0 a 1", 100_000 + nth), &format!("$8 {}-0", 100_000 + nth))]);
    }
    disk.gate.shut(false);
    expect_ids(&mut up, 1..=8 * ENTRIES);
    expect_ids(&mut down, (1..=8 * ENTRIES).rev());
    expect_ids(&mut reading, 1..=8 * ENTRIES);
}
