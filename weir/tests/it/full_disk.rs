//! `weir serve` on a real file system that is full: refusals are clear, everything else goes on, nothing acknowledged is
//! lost, and it ends when there is room.
//!
//! Needs small file systems of its own: `scripts/full-disk` makes them, names them in `WEIR_FULL_DISK` (a folder with
//! a folder for each file system in it) and runs these tests, which are ignored otherwise.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weir_core::SystemClock;
use weir_engine::{Engine, Fsync, Options};
use weir_log::{LogOptions, RealDisk};
use weir_resp::Value;

use crate::weir::{Weir, weir_in};

const FULL: &str = "MISCONF the disk is full, appends are refused; free space in the data folder's file system or \
    trim streams";
/// Longer than anything here takes, in polls.
const POLLS_MAX: u32 = 1_200;
const POLL: Duration = Duration::from_millis(50);
const GROUP: &str = "billing";

/// A small file system and a data folder in it.
struct Place {
    root: PathBuf,
    fsync: &'static str,
}

impl Place {
    fn new(name: &str, fsync: &'static str) -> Self {
        let folder = std::env::var("WEIR_FULL_DISK").expect("scripts/full-disk runs this test");
        let place = Self { root: PathBuf::from(folder).join(name), fsync };
        assert!(place.available() < 64 << 20, "{} is no small file system", place.root.display());
        place
    }

    fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Makes the data folder with segments so small that weir does not take all space ahead, and some become dead.
    fn make_small_segments(&self) {
        let log = LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() };
        let options = Options { log, fsync: Fsync::Always, background: false, ..Options::default() };
        let disk = Arc::new(RealDisk::new(self.data()));
        Engine::open(disk, Arc::new(SystemClock::new()), options).unwrap().close().unwrap();
    }

    fn serve(&self) -> Weir {
        let data = self.data();
        Weir::start(&self.root, &["--fsync", self.fsync, "--dir", data.to_str().unwrap()])
    }

    fn available(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.root).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    /// Fills the file system with something else, so that only so many bytes are left.
    fn fill_but(&self, left: u64) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).unwrap();
        while self.available() > left {
            let bytes = vec![7; (self.available() - left).min(64 << 10) as usize];
            // The last blocks may be promised to others.
            if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
                break;
            }
        }
    }

    fn empty_again(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

/// What was acknowledged on one stream.
#[derive(Default)]
struct Ledger {
    live: Vec<String>,
    pending: Vec<String>,
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes().unwrap_or_else(|| panic!("no text: {value:?}"))).into_owned()
}

fn error(value: &Value) -> Option<String> {
    match value {
        Value::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    }
}

fn ids(entries: &Value) -> Vec<String> {
    let id = |entry: &Value| text(&entry.as_array().unwrap()[0]);
    entries.as_array().unwrap_or_else(|| panic!("no entries: {entries:?}")).iter().map(id).collect()
}

impl Ledger {
    fn begin(weir: &Weir) -> Self {
        assert_eq!(error(&weir.call(&["XGROUP", "CREATE", "s", GROUP, "0", "MKSTREAM"])), None);
        Self::default()
    }

    /// Appends until that is refused; answers how many were taken.
    fn fill(&mut self, weir: &Weir, bytes: usize) -> usize {
        let (before, pad) = (self.live.len(), "x".repeat(bytes));
        loop {
            let answer = weir.call(&["XADD", "s", "*", "pad", &pad]);
            if let Some(error) = error(&answer) {
                assert_eq!(error, FULL);
                return self.live.len() - before;
            }
            self.live.push(text(&answer));
        }
    }

    /// Reads new entries and settles some of them.
    fn work(&mut self, weir: &Weir) {
        let given = weir.call(&["XREADGROUP", "GROUP", GROUP, "ann", "COUNT", "8", "STREAMS", "s", ">"]);
        let given = ids(&given.as_array().expect("there are new entries")[0].as_array().unwrap()[1]);
        self.pending.extend_from_slice(&given);
        let settled = &given[..given.len() / 2];
        let line: Vec<&str> =
            ["XACK", "s", GROUP].into_iter().chain(settled.iter().map(|id| &**id)).collect();
        assert_eq!(weir.call(&line).as_int(), Some(settled.len() as i64));
        self.pending.retain(|id| !settled.contains(id));
    }

    fn delete_first(&mut self, weir: &Weir) {
        let id = self.live.remove(0);
        assert_eq!(weir.call(&["XDEL", "s", &id]).as_int(), Some(1));
    }

    fn trim(&mut self, weir: &Weir, len: usize) {
        let gone = self.live.len() - len;
        let answer = weir.call(&["XTRIM", "s", "MAXLEN", &len.to_string()]);
        assert_eq!(answer.as_int(), Some(gone as i64));
        self.live.drain(..gone);
    }

    /// Waits until an append is taken.
    fn append_when_there_is_room(&mut self, weir: &Weir) {
        let id = wait("an append is taken", || {
            let answer = weir.call(&["XADD", "s", "*", "f", "v"]);
            if let Some(error) = error(&answer) {
                assert_eq!(error, FULL);
                return None;
            }
            Some(text(&answer))
        });
        self.live.push(id);
    }

    /// Everything acknowledged is there, and nothing else.
    #[track_caller]
    fn check(&self, weir: &Weir) {
        assert_eq!(ids(&weir.call(&["XRANGE", "s", "-", "+"])), self.live);
        assert_eq!(ids(&weir.call(&["XPENDING", "s", GROUP, "-", "+", "100000"])), self.pending);
    }
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..POLLS_MAX {
        if let Some(found) = look() {
            return found;
        }
        std::thread::park_timeout(POLL);
    }
    panic!("it does not come about that {what}");
}

fn info(weir: &Weir, name: &str) -> String {
    let info = text(&weir.call(&["INFO", "persistence"]));
    let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {name} in {info}")).trim().to_owned()
}

fn snapshot(weir: &Weir) -> String {
    assert_eq!(error(&weir.call(&["BGSAVE"])), None);
    wait("the snapshot is over", || (info(weir, "rdb_bgsave_in_progress") == "0").then_some(()));
    info(weir, "rdb_last_bgsave_status")
}

/// Filled by its own entries, emptied by its own trimming.
fn filled_and_trimmed(place: &Place) {
    place.make_small_segments();
    let weir = place.serve();
    let mut ledger = Ledger::begin(&weir);
    let taken = ledger.fill(&weir, 20_000);
    assert!(taken > 300, "{taken}");
    assert!(weir.get("/health").contains("\"disk_full\""));
    assert!(weir.get("/readyz").starts_with("HTTP/1.1 200"), "consumers shall go on");
    ledger.work(&weir);
    ledger.delete_first(&weir);
    assert_eq!(snapshot(&weir), "ok", "there is always room left for one");
    ledger.check(&weir);
    ledger.trim(&weir, 100);
    ledger.work(&weir);
    ledger.append_when_there_is_room(&weir);
    // Really room, and not only for one.
    wait("there is room for many", || (ledger.fill(&weir, 20_000) > 40).then_some(()));
    ledger.work(&weir);
    ledger.check(&weir);
    drop(weir);
    let weir = place.serve();
    ledger.check(&weir);
    let (status, _) = weir.terminate();
    assert!(status.success(), "a full disk does not keep it from ending in order: {status}");
    ledger.check(&place.serve());
    eprintln!(
        "{}: {taken} entries until it was full, {} at the end",
        place.root.display(),
        ledger.live.len()
    );
}

#[test]
#[ignore = "needs a small file system: scripts/full-disk"]
fn trimming_makes_room_on_ext4() {
    filled_and_trimmed(&Place::new("ext4-trim", "always"));
}

#[test]
#[ignore = "needs a small file system: scripts/full-disk"]
fn trimming_makes_room_on_tmpfs() {
    filled_and_trimmed(&Place::new("tmpfs-trim", "everysec"));
}

/// Somebody else fills the disk, and frees it again.
fn filled_by_others(place: &Place) {
    place.make_small_segments();
    let weir = place.serve();
    let mut ledger = Ledger::begin(&weir);
    for _ in 0..3 {
        ledger.append_when_there_is_room(&weir);
        place.fill_but(0);
        assert!(ledger.fill(&weir, 5_000) < 1_000, "there is not that much prepared");
        ledger.work(&weir);
        ledger.delete_first(&weir);
        ledger.check(&weir);
        place.empty_again();
        ledger.append_when_there_is_room(&weir);
        ledger.check(&weir);
    }
    drop(weir);
    ledger.check(&place.serve());
}

#[test]
#[ignore = "needs a small file system: scripts/full-disk"]
fn others_fill_ext4_and_free_it() {
    filled_by_others(&Place::new("ext4-others", "everysec"));
}

#[test]
#[ignore = "needs a small file system: scripts/full-disk"]
fn others_fill_tmpfs_and_free_it() {
    filled_by_others(&Place::new("tmpfs-others", "always"));
}

/// Full at the start, once with nothing in the folder and once with something.
fn full_at_start(place: &Place) {
    place.fill_but(0);
    let data = place.data();
    let serve = ["serve", "--resp", "127.0.0.1:0", "--http", "none", "--dir", data.to_str().unwrap()];
    let output = weir_in(&place.root, &serve).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("the disk is full; make room in its file system"), "{said}");
    place.empty_again();
    place.make_small_segments();
    let weir = place.serve();
    let mut ledger = Ledger::begin(&weir);
    for _ in 0..20 {
        ledger.append_when_there_is_room(&weir);
    }
    drop(weir);
    place.fill_but(0);
    let weir = place.serve();
    ledger.fill(&weir, 500);
    ledger.work(&weir);
    ledger.delete_first(&weir);
    ledger.check(&weir);
    drop(weir);
    place.empty_again();
    let weir = place.serve();
    ledger.check(&weir);
    ledger.append_when_there_is_room(&weir);
}

#[test]
#[ignore = "needs a small file system: scripts/full-disk"]
fn ext4_is_full_at_the_start() {
    full_at_start(&Place::new("ext4-start", "always"));
}

#[test]
#[ignore = "needs a small file system: scripts/full-disk"]
fn tmpfs_is_full_at_the_start() {
    full_at_start(&Place::new("tmpfs-start", "everysec"));
}

fn drafts(data: &Path) -> usize {
    let names = std::fs::read_dir(data.join("snap")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".new")).count()
}

/// Room for half a snapshot.
fn full_in_a_snapshot(place: &Place) {
    place.make_small_segments();
    let weir = place.serve();
    let mut ledger = Ledger::begin(&weir);
    for _ in 0..8 {
        ledger.append_when_there_is_room(&weir);
    }
    let value = "x".repeat(100_000);
    for n in 0..20 {
        let answer = wait("a string is taken", || {
            let answer = weir.call(&["SET", &format!("text-{n}"), &value]);
            (error(&answer).as_deref() != Some(FULL)).then_some(answer)
        });
        assert_eq!(error(&answer), None);
    }
    place.fill_but(1 << 20);
    assert_eq!(snapshot(&weir), "err");
    assert_eq!(drafts(&place.data()), 0, "half a snapshot takes no room");
    ledger.work(&weir);
    ledger.check(&weir);
    let (status, _) = weir.terminate();
    assert!(status.success(), "{status}");
    place.empty_again();
    let weir = place.serve();
    ledger.check(&weir);
    assert_eq!(text(&weir.call(&["GET", "text-19"])), value);
    assert_eq!(snapshot(&weir), "ok");
    ledger.append_when_there_is_room(&weir);
    drop(weir);
    ledger.check(&place.serve());
}

#[test]
#[ignore = "needs a small file system: scripts/full-disk"]
fn ext4_fills_up_in_a_snapshot() {
    full_in_a_snapshot(&Place::new("ext4-snapshot", "everysec"));
}

#[test]
#[ignore = "needs a small file system: scripts/full-disk"]
fn tmpfs_fills_up_in_a_snapshot() {
    full_in_a_snapshot(&Place::new("tmpfs-snapshot", "always"));
}
