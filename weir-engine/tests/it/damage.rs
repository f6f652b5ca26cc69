//! Damaged folders: what can be recovered is, what cannot is refused with a clear word, and nothing panics.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use weir_core::ErrorKind;
use weir_engine::{Digests, Engine, Fsync, Options, fuzz};
use weir_log::{Disk, DiskFile, DiskLock, Log, Lsn, MemoryDisk, Open};

use crate::power_cuts::{Case, full};
use crate::script::{Chance, Script, Step, TestClock, run, run_together, small};
use crate::streams::add;

/// Damaged folders that are opened; a hundred times as many with `WEIR_FULL=1`.
const CASES: u64 = 600;

fn cases() -> u64 {
    if full() { 100 * CASES } else { CASES }
}

/// Without snapshots of its own accord.
fn options() -> Options {
    Options { snapshot_log_bytes: 1 << 40, ..small(Fsync::Always) }
}

/// A folder after a run of a script, with snapshots behind these steps.
fn lived(seed: u64, steps: usize, snapshots: &[usize]) -> MemoryDisk {
    let script = Script::new(seed, steps);
    let (disk, clock) = (MemoryDisk::new(), TestClock::new());
    let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), options()).unwrap();
    for (nth, step) in script.steps.iter().enumerate() {
        match step {
            Step::Run(command) => drop(run(&engine, command)),
            Step::Together(commands) => drop(run_together(&engine, commands)),
            Step::Time(now) => clock.set(*now),
            Step::Snapshot | Step::Background => {}
        }
        engine.flush().unwrap();
        if snapshots.contains(&nth) {
            engine.snapshot().unwrap();
        }
    }
    engine.sync().unwrap();
    assert_eq!(Digests::default().of(&engine).unwrap(), *script.digests.last().unwrap());
    disk
}

/// A folder whose only snapshot was written while entries were added.
fn lived_inside(seed: u64, steps: usize) -> MemoryDisk {
    let disk = lived(seed, steps, &[]);
    let clock = TestClock::new();
    let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), options()).unwrap();
    let (inside, busy) = (engine.clone(), AtomicBool::new(false));
    let n = AtomicU64::new(0);
    let append = move || {
        if !busy.swap(true, Ordering::SeqCst) {
            let n = n.fetch_add(1, Ordering::SeqCst);
            add(&inside, "inside", 1 + n, "x");
            busy.store(false, Ordering::SeqCst);
        }
    };
    *clock.on_look.lock().unwrap() = Some(Arc::new(append));
    engine.snapshot().unwrap();
    *clock.on_look.lock().unwrap() = None;
    engine.sync().unwrap();
    disk
}

fn open(disk: &MemoryDisk) -> Result<Engine, weir_core::Error> {
    Engine::open(Arc::new(disk.clone()), TestClock::new(), options())
}

fn names(disk: &MemoryDisk, folder: &str) -> Vec<String> {
    let mut names: Vec<_> =
        disk.list(folder).unwrap().iter().map(|name| format!("{folder}/{name}")).collect();
    names.sort();
    names
}

fn flip(disk: &MemoryDisk, path: &str, at: u64) {
    let file = disk.open(path, Open::Write).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, at).unwrap();
    file.write_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn copy_of(disk: &MemoryDisk) -> MemoryDisk {
    let copy = MemoryDisk::new();
    for (path, bytes) in fuzz::folder_of(disk).unwrap() {
        copy.open(&path, Open::Create).unwrap().write_at(&bytes, 0).unwrap();
    }
    copy
}

#[test]
fn a_damaged_newest_snapshot_costs_time_and_not_data() {
    let disk = lived(11, 900, &[300, 600]);
    let whole = open(&copy_of(&disk)).unwrap().dump().unwrap();
    let snapshots = names(&disk, "snap");
    assert_eq!(snapshots.len(), 2);
    let newest = &snapshots[1];
    let length = disk.open(newest, Open::Read).unwrap().len().unwrap();
    type Damage<'a> = &'a dyn Fn(&MemoryDisk);
    let damages: [(&str, Damage<'_>); 6] = [
        ("a bit in the middle", &|disk| flip(disk, newest, length / 2)),
        ("a bit of the header", &|disk| flip(disk, newest, 3)),
        ("no contents", &|disk| disk.open(newest, Open::Write).unwrap().set_len(0).unwrap()),
        ("half of it", &|disk| disk.open(newest, Open::Write).unwrap().set_len(length / 2).unwrap()),
        ("all but a byte", &|disk| disk.open(newest, Open::Write).unwrap().set_len(length - 1).unwrap()),
        ("gone", &|disk| disk.remove(newest).unwrap()),
    ];
    for (what, damage) in damages {
        let case = Case(what.into());
        let image = copy_of(&disk);
        damage(&image);
        let engine = open(&image).unwrap();
        assert_eq!(engine.dump().unwrap(), whole);
        assert!(engine.verify().unwrap().is_clean());
        // It goes on, snapshots included.
        add(&engine, "more", 1, "x");
        engine.snapshot().unwrap();
        engine.sync().unwrap();
        let after = engine.dump().unwrap();
        drop(engine);
        assert_eq!(open(&image).unwrap().dump().unwrap(), after);
        drop(case);
    }
    // Both damaged: the log is still whole here, and is replayed from its beginning.
    snapshots.iter().for_each(|path| flip(&disk, path, 100));
    assert_eq!(open(&disk).unwrap().dump().unwrap(), whole);
}

#[test]
fn without_a_snapshot_and_the_beginning_of_the_log_there_is_no_opening() {
    let disk = lived(11, 900, &[300, 600]);
    names(&disk, "snap").iter().for_each(|path| disk.remove(path).unwrap());
    disk.remove(&names(&disk, "seg")[0]).unwrap();
    let error = open(&disk).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("backup"), "{error}");
}

#[test]
fn a_record_that_rotted_is_refused_wherever_it_is() {
    // Of this run the first two segments are full, so that every place in them is in a record.
    let disk = lived(13, 1_500, &[]);
    let segments = names(&disk, "seg");
    let end = fuzz::records_of(&fuzz::folder_of(&disk).unwrap()).last().unwrap().0;
    assert!(end > 2 * (64 << 10), "the log goes beyond the first two segments");
    for segment in &segments[..2] {
        for at in [5_000, 20_000, 40_000] {
            let image = copy_of(&disk);
            flip(&image, segment, at);
            let error = open(&image).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains(segment), "{error}");
        }
    }
}

/// A snapshot may hold more than a log that lost its end: records that came after would have been taken for old ones.
#[test]
fn a_log_that_ends_before_its_snapshot_does_is_refused() {
    let disk = lived_inside(13, 400);
    let snapshot = names(&disk, "snap").pop().unwrap();
    let from = u64::from_str_radix(&snapshot[5..21], 16).unwrap();
    let segment = names(&disk, "seg")[(from / (64 << 10)) as usize].clone();
    let file = disk.open(&segment, Open::Write).unwrap();
    file.set_len(from % (64 << 10)).unwrap();
    file.set_len(64 << 10).unwrap();
    let error = open(&disk).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Corrupt, "{error}");
}

struct Seeds {
    folder: fuzz::Folder,
    records: Vec<(u64, Vec<u8>)>,
    snapshot: Vec<u8>,
    /// Records behind the snapshot's beginning.
    later: Vec<(u64, Vec<u8>)>,
}

fn seeds() -> &'static Seeds {
    static SEEDS: OnceLock<Seeds> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let folder = fuzz::folder_of(&lived(14, 900, &[400, 700])).unwrap();
        let records = fuzz::records_of(&folder);
        let (path, snapshot) = folder.iter().rfind(|(path, _)| path.starts_with("snap/")).unwrap().clone();
        let from = u64::from_str_radix(&path[5..21], 16).unwrap();
        let later = records.iter().filter(|(lsn, _)| *lsn >= from).cloned().collect();
        Seeds { folder, records, snapshot, later }
    })
}

/// Random edits, some of them; for the sake of replaying one, its case is said when it fails.
fn edited(what: &str, open: impl Fn(&[u8]) -> bool) {
    let mut accepted = 0;
    for case in 0..cases() {
        let mut chance = Chance(case);
        let edits: Vec<u8> = (0..6 * (1 + chance.below(4))).map(|_| chance.next() as u8).collect();
        let case = Case(format!("{what}: {edits:?}"));
        accepted += u64::from(open(&edits));
        drop(case);
    }
    eprintln!("{what}: {accepted} of {} accepted", cases());
    assert!(accepted > 0 && accepted < cases(), "the edits matter, and not all of them: {accepted}");
}

#[test]
fn a_damaged_folder_opens_or_is_refused_and_never_panics() {
    assert!(fuzz::open_damaged(&seeds().folder, &[]));
    edited("folders", |edits| fuzz::open_damaged(&seeds().folder, edits));
}

#[test]
fn changed_records_with_good_checksums_are_refused_or_make_sense() {
    assert!(fuzz::replay_edited(&seeds().records, &[]));
    edited("records", |edits| fuzz::replay_edited(&seeds().records, edits));
}

#[test]
fn changed_snapshots_with_good_checksums_are_refused_or_make_sense() {
    assert!(fuzz::load_edited(&seeds().snapshot, &seeds().later, &[]));
    edited("snapshots", |edits| fuzz::load_edited(&seeds().snapshot, &seeds().later, edits));
}

#[test]
fn changed_payloads_with_good_checksums_are_refused_or_open_again() {
    let payloads = fuzz::payloads_of(&seeds().folder);
    assert!(payloads.iter().all(|payload| fuzz::restore_edited(payload, &[])));
    edited("payloads", |edits| fuzz::restore_edited(&payloads[edits.len() / 6 % payloads.len()], edits));
}

/// Without a snapshot the log has to be all there: a part that was given back may have held what was acknowledged.
#[test]
fn without_a_snapshot_a_log_with_holes_is_refused() {
    let disk = MemoryDisk::new();
    let engine = open(&disk).unwrap();
    for n in 1..=2_000 {
        add(&engine, "s", n, &"some value".repeat(20));
    }
    engine.sync().unwrap();
    drop(engine);
    let (mut lsns, mut end) = (Vec::new(), Lsn(0));
    let opened = Log::open(
        Arc::new(disk.clone()),
        small(Fsync::Always).log,
        Box::new(|| 7),
        None,
        &mut |lsn, _| -> Result<(), Infallible> {
            lsns.push(lsn);
            Ok(())
        },
    );
    let log = opened.unwrap().log;
    for info in log.segments().iter().filter(|info| info.no == 0) {
        end = info.end;
    }
    // From the middle of the first segment on: its first record is still there.
    let from = lsns[150];
    assert!(from < end);
    let to = *lsns.iter().take_while(|lsn| **lsn < end).last().unwrap();
    log.punch(0, &[from..to]).unwrap();
    drop(log);
    let error = open(&disk).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("no snapshot can be read"), "{error}");
}

/// A disk that fails to read what has this in its path.
#[derive(Debug)]
struct Unreadable(MemoryDisk, Vec<String>);

#[derive(Debug)]
struct UnreadableFile(Arc<dyn DiskFile>);

impl Disk for Unreadable {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.0.open(path, how)?;
        let fails = self.1.iter().any(|name| name == path);
        Ok(if fails { Arc::new(UnreadableFile(file)) } else { file })
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

impl DiskFile for UnreadableFile {
    /// The header can be read, what is behind it cannot.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if at < 12 { self.0.read_at(buf, at) } else { Err(io::Error::from_raw_os_error(5)) }
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

/// A snapshot that the disk fails to read costs time; when it fails to read both, that is the disk's failure, and
/// nothing is said of damage.
#[test]
fn a_disk_that_fails_to_read_snapshots_is_no_damage() {
    let disk = lived(14, 300, &[100, 200]);
    let snapshots = names(&disk, "snap");
    assert_eq!(snapshots.len(), 2);
    let expected = Digests::default().of(&open(&disk).unwrap()).unwrap();
    let newest = vec![snapshots[1].clone()];
    let engine = Engine::open(Arc::new(Unreadable(disk.clone(), newest)), TestClock::new(), options());
    assert_eq!(Digests::default().of(&engine.unwrap()).unwrap(), expected);
    let engine = Engine::open(Arc::new(Unreadable(disk, snapshots)), TestClock::new(), options());
    assert_eq!(*engine.unwrap_err().kind(), ErrorKind::Io);
}
