//! The log on folders that were tampered with.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use weir_log::{Disk, Level, Log, LogOptions, Lsn, MemoryDisk, Open, OpenError, Opened, check, repair};

/// Bytes of one edit: which file, where (three bytes), what, with what.
const EDIT: usize = 6;
const BACKUP: &str = "cut";
/// Records behind what was found: whole transactions of three, over some pages, and more than one watermark.
const APPENDED: u8 = 30;

/// A log of some segments: its files, and the records in it by their addresses.
struct Sample {
    files: Vec<(String, Vec<u8>)>,
    records: BTreeMap<u64, Vec<u8>>,
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        ring_bytes: 64 << 10,
        watermark_bytes: 4 << 10,
        ..LogOptions::default()
    }
}

fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let disk = MemoryDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let opened = Log::open(shared, options(), Box::new(|| 7), None, &mut |_, _| Ok::<(), ()>(()));
        let mut opened = opened.expect("an empty disk in memory opens");
        let mut records = BTreeMap::new();
        for n in 0..400_u32 {
            let body = n.to_le_bytes().repeat(1 + n as usize % 150);
            if n % 4 == 0 {
                opened.appender.begin();
            }
            let lsn = opened.appender.append(|out| out.extend_from_slice(&body));
            records.insert(lsn.0, body);
            if n % 4 == 1 {
                opened.appender.end();
            }
            if n % 4 != 0 {
                opened.appender.submit();
                opened.log.flush_submitted(Level::Durable).expect("memory has no faults");
            }
            opened.log.background_step().expect("memory has no faults");
        }
        let names = disk.list("seg").expect("memory can be read");
        let files = names.into_iter().map(|name| {
            let path = format!("seg/{name}");
            let bytes = contents(&disk, &path);
            (path, bytes)
        });
        Sample { files: files.collect(), records }
    })
}

fn contents(disk: &dyn Disk, path: &str) -> Vec<u8> {
    let file = disk.open(path, Open::Read).expect("it is listed");
    let mut bytes = vec![0; file.len().expect("memory knows") as usize];
    file.read_at(&mut bytes, 0).expect("memory can be read");
    bytes
}

pub(crate) fn log(data: &[u8]) {
    let mut files = sample().files.clone();
    for edit in data.chunks_exact(EDIT) {
        let nth = usize::from(edit[0]) % files.len();
        let at = usize::from(edit[1]) << 16 | usize::from(edit[2]) << 8 | usize::from(edit[3]);
        change(&mut files[nth].1, at, edit[4], edit[5]);
    }
    let disk = MemoryDisk::new();
    disk.create_dir("seg").expect("memory makes folders");
    for (path, bytes) in &files {
        disk.open(path, Open::Create).and_then(|file| file.write_at(bytes, 0)).expect("memory takes it");
    }
    let mut seen = BTreeMap::new();
    let visit = &mut |lsn: Lsn, body: &[u8]| drop(seen.insert(lsn.0, body.to_vec()));
    let report = check(&disk, None, visit).expect("memory can be read");
    were_written(&seen);
    let (opened, found) = open(&disk, 9).unwrap_or_else(|error| {
        assert!(report.is_damaged(), "what does not open ({error}) is damaged: {report:?}");
        repair(&disk, None, BACKUP).expect("memory takes it");
        open(&disk, 9).expect("a repaired log opens")
    });
    were_written(&found);
    without_a_gap(&found);
    goes_on(&disk, opened, found);
}

/// What is appended behind what was found is found again after a kill, and nothing else is: no byte that was cut
/// comes back.
fn goes_on(disk: &MemoryDisk, mut opened: Opened, mut expected: BTreeMap<u64, Vec<u8>>) {
    for n in 0..APPENDED {
        let body = vec![n; 1 + 40 * usize::from(n)];
        if n % 3 == 0 {
            opened.appender.begin();
        }
        let lsn = opened.appender.append(|out| out.extend_from_slice(&body));
        expected.insert(lsn.0, body);
        if n % 3 == 2 {
            opened.appender.end();
        }
    }
    opened.appender.submit();
    opened.log.flush_submitted(Level::Durable).expect("memory has no faults");
    drop(opened);
    let (opened, found) = open(disk, 11).expect("a log that was appended to opens");
    assert!(found == expected, "{} records were there, {} are found", expected.len(), found.len());
    opened.log.close(opened.appender).expect("memory has no faults");
    drop(opened.log);
    let report = check(disk, None, &mut |_, _| ()).expect("memory can be read");
    assert!(!report.is_damaged(), "a log that was opened, used and closed is whole: {report:?}");
    let (opened, found) = open(disk, 13).expect("a log that was closed opens");
    assert!(opened.report.clean && found == expected, "closing keeps everything: {:?}", opened.report);
}

type Found = (Opened, BTreeMap<u64, Vec<u8>>);

fn open(disk: &MemoryDisk, salt: u64) -> Result<Found, OpenError<()>> {
    let mut found = BTreeMap::new();
    let replay = &mut |lsn: Lsn, body: &[u8]| {
        found.insert(lsn.0, body.to_vec());
        Ok::<(), ()>(())
    };
    let opened = Log::open(Arc::new(disk.clone()), options(), Box::new(move || salt), None, replay)?;
    Ok((opened, found))
}

/// What opens is the beginning of what was written: a log with a hole would be a loss that nobody is told of.
fn without_a_gap(found: &BTreeMap<u64, Vec<u8>>) {
    let written = sample().records.keys().take(found.len());
    assert!(written.eq(found.keys()), "{} records are found, and not the first ones", found.len());
}

/// Checksums leave no way for a record to come from nowhere.
fn were_written(found: &BTreeMap<u64, Vec<u8>>) {
    for (lsn, body) in found {
        assert!(sample().records.get(lsn) == Some(body), "nobody wrote the record at {lsn}");
    }
}

fn change(bytes: &mut Vec<u8>, at: usize, kind: u8, value: u8) {
    let at = at.min(bytes.len().saturating_sub(1));
    if bytes.is_empty() {
        return bytes.push(value);
    }
    let sector = at / 512 * 512;
    let end = (sector + 512).min(bytes.len());
    match kind % 8 {
        0 | 1 => bytes[at] = value,
        2 => bytes[at] ^= 1 << (value % 8),
        3 => bytes.truncate(at),
        4 => bytes[sector..end].fill(0),
        5 => bytes.extend(std::iter::repeat_n(value, 64)),
        6 => bytes[at..].fill(0),
        _ => {
            let from = usize::from(value) * 512;
            if from + (end - sector) <= bytes.len() {
                bytes.copy_within(from..from + (end - sector), sector);
            }
        }
    }
}
