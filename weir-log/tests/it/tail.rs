//! Torn tails are cut for good; rot is refused.

use std::sync::Arc;

use weir_log::faulty::{FaultyDisk, Keep};
use weir_log::{Disk, Level, Log, LogOptions, Lsn, MemoryDisk, Open, OpenError};

use crate::support::{Record, body, open, salts, scan, small};

/// Without watermarks in between: everything behind a bad record is tail.
fn no_watermarks() -> LogOptions {
    LogOptions { watermark_bytes: 1 << 30, ..small() }
}

fn flip(disk: &dyn Disk, path: &str, at: u64) {
    let file = disk.open(path, Open::Write).unwrap();
    let mut byte = [0];
    assert_eq!(file.read_at(&mut byte, at).unwrap(), 1);
    file.write_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn file_of(lsn: Lsn) -> (String, u64) {
    (format!("seg/{:016x}.seg", lsn.0 >> 16), lsn.0 & 0xffff)
}

/// Appends `count` records of 40 bytes that only this `life` writes, and commits them.
fn append(opened: &mut weir_log::Opened, life: u64, count: u64) -> Vec<Record> {
    let mut records = Vec::new();
    for n in 0..count {
        let body = body(life << 32 | n, 40);
        records.push((opened.appender.append(|buffer| buffer.extend_from_slice(&body)), body));
    }
    opened.appender.submit();
    opened.log.flush_submitted(Level::Durable).unwrap();
    records
}

/// The story: record 12 of 3 000 is torn, and the ones behind it are whole. The next life writes records of the very
/// same length, so each of them ends exactly where an old one begins. If the old ones were still there, the open
/// after that would take them for its own.
#[test]
fn records_behind_a_cut_never_come_back() {
    // In the first segment with 20 behind it; at its end with another segment behind it; in the second one.
    for (count, torn) in [(30, 12), (3000, 1270), (3000, 2000), (3000, 3)] {
        for written_then in [1, 2, 1300] {
            let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
            let (mut opened, _) = open(&disk, no_watermarks(), 1, None).unwrap();
            let mut expected = append(&mut opened, 1, count);
            drop(opened);
            let (path, at) = file_of(expected[torn].0);
            flip(&*disk, &path, at + 20);

            let (mut opened, found) = open(&disk, no_watermarks(), 2, None).unwrap();
            expected.truncate(torn);
            assert_eq!(found, expected);
            assert!(opened.report.torn_bytes > 0);
            expected.extend(append(&mut opened, 2, written_then));
            drop(opened);

            let (opened, found) = open(&disk, no_watermarks(), 3, None).unwrap();
            assert_eq!(found, expected, "torn {torn} of {count}, then {written_then}");
            assert_eq!(opened.report.torn_bytes, 0);
        }
    }
}

#[test]
fn records_of_an_unfinished_transaction_never_come_back() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (mut opened, _) = open(&disk, no_watermarks(), 1, None).unwrap();
    let mut expected = append(&mut opened, 1, 5);
    opened.appender.begin();
    let mut lsns = Vec::new();
    for n in 0..4 {
        lsns.push(opened.appender.append(|buffer| buffer.extend_from_slice(&body(9 << 32 | n, 40))));
    }
    opened.appender.end();
    append(&mut opened, 1, 5);
    drop(opened);
    let (path, at) = file_of(lsns[2]);
    flip(&*disk, &path, at);

    let (mut opened, found) = open(&disk, no_watermarks(), 2, None).unwrap();
    assert_eq!((found, opened.report.unfinished), (expected.clone(), 2));
    assert_eq!(opened.appender.head(), lsns[0]);
    expected.extend(append(&mut opened, 2, 3));
    drop(opened);
    assert_eq!(open(&disk, no_watermarks(), 3, None).unwrap().1, expected);
}

#[test]
fn a_bad_record_below_a_watermark_is_refused_wherever_it_is() {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    let mut records = Vec::new();
    for life in 0..60 {
        records.extend(append(&mut opened, life, 60));
    }
    let end = opened.appender.head();
    drop(opened);
    let clean = open(&shared, small(), 2, None).unwrap().0.report;
    assert!(clean.watermark > Lsn(end.0 - 8000), "there are watermarks to the end");

    let mut chance = salts(3);
    let (mut refused, mut cut) = (0, 0);
    for _ in 0..400 {
        let record = &records[chance() as usize % records.len()];
        let image: Arc<dyn Disk> = Arc::new(FaultyDisk::over(&disk));
        let (path, at) = file_of(record.0);
        let byte = at + chance() % 48;
        flip(&*image, &path, byte);
        match open(&image, small(), 2, None) {
            Err(error @ OpenError::Rot { .. }) => {
                let text = error.to_string();
                assert!(text.contains(&path) && text.contains(&format!("byte {at} ")), "{text}");
                assert!(text.contains("weir check DIR --repair"), "{text}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
            Ok((_, found)) => {
                assert!(record.0 >= clean.watermark, "a durable record was lost silently: {record:?}");
                assert_eq!(found, records[..found.len()]);
                cut += 1;
            }
        }
    }
    assert!(refused > 300 && cut > 0, "refused {refused}, cut {cut}");
}

#[test]
fn after_an_orderly_close_any_bad_record_is_refused() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (mut opened, _) = open(&disk, no_watermarks(), 1, None).unwrap();
    let records = append(&mut opened, 1, 10);
    opened.log.close(opened.appender).unwrap();
    let (opened, found) = open(&disk, no_watermarks(), 2, None).unwrap();
    assert_eq!(found, records);
    assert!(opened.report.clean);
    opened.log.close(opened.appender).unwrap();
    let (path, at) = file_of(records[9].0);
    flip(&*disk, &path, at + 9);
    let error = open(&disk, no_watermarks(), 3, None).unwrap_err();
    assert!(matches!(error, OpenError::Rot { lsn, .. } if lsn == records[9].0), "{error}");
}

#[test]
fn the_mark_of_an_orderly_close_is_gone_once_the_log_is_open_again() {
    let disk = FaultyDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, no_watermarks(), 1, None).unwrap();
    let records = append(&mut opened, 1, 10);
    opened.log.close(opened.appender).unwrap();
    let (mut opened, _) = open(&shared, no_watermarks(), 2, None).unwrap();
    assert!(opened.report.clean);
    // Handed to the system, never flushed; then the power goes.
    let lsn = opened.appender.append(|buffer| buffer.extend_from_slice(b"lost"));
    opened.appender.submit();
    opened.log.flush_submitted(Level::Written).unwrap();
    let image: Arc<dyn Disk> = Arc::new(disk.after_crash(Keep::Nothing));
    let (opened, found) = open(&image, no_watermarks(), 3, None).unwrap();
    assert!(!opened.report.clean);
    assert_eq!((found, opened.appender.head()), (records, lsn));
}

/// A killed process leaves its writes to the kernel. What the next life finds it builds upon, so it must be flushed
/// before that life counts as begun.
#[test]
fn what_an_open_finds_survives_a_power_cut() {
    let disk = FaultyDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    for n in 0..3000 {
        opened.appender.append(|buffer| buffer.extend_from_slice(&body(n, 40)));
    }
    opened.appender.submit();
    opened.log.flush_submitted(Level::Written).unwrap();
    let records = scan(&opened.log, Lsn(0));
    drop(opened);
    let (opened, found) = open(&shared, small(), 2, None).unwrap();
    assert_eq!((found.len(), &found), (3000, &records));
    assert_eq!(opened.log.durable(), opened.appender.head());
    let image: Arc<dyn Disk> = Arc::new(disk.after_crash(Keep::Nothing));
    assert_eq!(open(&image, small(), 3, None).unwrap().1, records);
}

/// Three segments behind the cut, and the power goes while they are discarded: never a gap that looks like damage.
#[test]
fn a_power_cut_while_a_long_tail_is_discarded() {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, no_watermarks(), 1, None).unwrap();
    let records = append(&mut opened, 1, 5000);
    drop(opened);
    let (path, at) = file_of(records[1000].0);
    flip(&disk, &path, at + 9);
    let whole = FaultyDisk::over(&disk);
    drop(open(&(Arc::new(whole.clone()) as Arc<dyn Disk>), no_watermarks(), 2, None).unwrap());
    for cut in 0..whole.operations() {
        let faulty = FaultyDisk::over(&disk);
        faulty.cut_at(cut);
        drop(open(&(Arc::new(faulty.clone()) as Arc<dyn Disk>), no_watermarks(), 2, None));
        for keep in [Keep::Nothing, Keep::Everything, Keep::Random(cut), Keep::Random(cut + 1000)] {
            let image: Arc<dyn Disk> = Arc::new(faulty.after_crash(keep));
            let (mut opened, found) = open(&image, no_watermarks(), 3, None).unwrap();
            assert!(found == records[..1000], "{} found after {cut}, {keep:?}", found.len());
            let more = append(&mut opened, 3, 3000);
            drop(opened);
            assert_eq!(open(&image, no_watermarks(), 4, None).unwrap().1[1000..], more);
        }
    }
}

#[test]
fn a_missing_or_damaged_segment_is_refused() {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    let records = append(&mut opened, 1, 5000);
    drop(opened);
    for damage in ["missing", "header", "empty"] {
        let image: Arc<dyn Disk> = Arc::new(FaultyDisk::over(&disk));
        let path = "seg/0000000000000001.seg";
        match damage {
            "missing" => image.remove(path).unwrap(),
            "header" => [50, 2048 + 50].into_iter().for_each(|at| flip(&*image, path, at)),
            _ => image.open(path, Open::Write).unwrap().set_len(0).unwrap(),
        }
        let error = open(&image, small(), 2, None).unwrap_err();
        assert!(matches!(&error, OpenError::Rot { file, .. } if file == path), "{damage}: {error}");
    }
    // One of the two copies of a header is enough.
    for at in [50, 2048 + 50] {
        let image: Arc<dyn Disk> = Arc::new(FaultyDisk::over(&disk));
        flip(&*image, "seg/0000000000000001.seg", at);
        assert_eq!(open(&image, small(), 2, None).unwrap().1, records);
    }
    // Below the place where the replay begins nobody misses it.
    shared.remove("seg/0000000000000001.seg").unwrap();
    let from = records.iter().position(|(lsn, _)| lsn.0 >> 16 == 2).unwrap();
    let (opened, found) = open(&shared, small(), 2, Some(records[from].0)).unwrap();
    assert_eq!(found, records[from..]);
    let mut scanned = records[..from].to_vec();
    scanned.retain(|(lsn, _)| lsn.0 >> 16 != 1);
    scanned.extend(found);
    assert_eq!(scan(&opened.log, Lsn(0)), scanned);
}

#[test]
fn files_of_another_log_or_version_are_refused() {
    let (one, other) = (MemoryDisk::new(), MemoryDisk::new());
    for (disk, seed) in [(&one, 1), (&other, 2)] {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        append(&mut open(&shared, small(), seed, None).unwrap().0, 1, 3000);
    }
    let from = other.open("seg/0000000000000001.seg", Open::Read).unwrap();
    let mut bytes = vec![0; from.len().unwrap() as usize];
    from.read_at(&mut bytes, 0).unwrap();
    one.open("seg/0000000000000001.seg", Open::Create).unwrap().write_at(&bytes, 0).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(one);
    let error = open(&shared, small(), 3, None).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn a_folder_keeps_its_segment_size_and_silly_sizes_are_refused() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let records = append(&mut open(&disk, small(), 1, None).unwrap().0, 1, 3000);
    let large = LogOptions { segment_bytes: 1 << 20, ..small() };
    let (opened, found) = open(&disk, large, 2, None).unwrap();
    assert_eq!((found, opened.log.segment_bytes()), (records, 64 << 10));
    for segment_bytes in [0, 1, 32 << 10, 100_000, 2 << 30] {
        let error = open(&disk, LogOptions { segment_bytes, ..small() }, 3, None).unwrap_err();
        assert!(matches!(error, OpenError::Options(_)), "{segment_bytes}");
    }
}

#[test]
fn a_replay_function_can_refuse() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let records = append(&mut open(&disk, small(), 1, None).unwrap().0, 1, 3);
    let mut seen = 0;
    let result = Log::open(Arc::clone(&disk), small(), salts(2), None, &mut |_, _| {
        seen += 1;
        if seen == 2 { Err("no") } else { Ok(()) }
    });
    let refused = records[1].0;
    assert!(matches!(result, Err(OpenError::Replay { lsn, error: "no" }) if lsn == refused));
}

#[test]
fn short_reads_make_no_difference() {
    let disk = FaultyDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let records = append(&mut open(&shared, small(), 1, None).unwrap().0, 1, 3000);
    disk.set_short_reads(true);
    let (opened, found) = open(&shared, small(), 2, None).unwrap();
    assert_eq!(found, records);
    assert_eq!(scan(&opened.log, Lsn(0)), records);
}

/// A transaction that began in one segment and was torn in the next: the next was discarded first, the one prepared
/// behind it stayed, and a power cut right then left a gap that no open would go over.
#[test]
fn a_power_cut_while_a_torn_segment_is_discarded_leaves_no_gap() {
    let disk = FaultyDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    opened.log.ensure_room(3 * (64 << 10)).unwrap();
    let mut records = append(&mut opened, 1, 1200);
    while opened.appender.head().0 < (64 << 10) - 1000 {
        records.extend(append(&mut opened, 1, 1));
    }
    opened.appender.begin();
    let mut last = Lsn(0);
    for n in 0..40 {
        last = opened.appender.append(|buffer| buffer.extend_from_slice(&body(n, 40)));
    }
    opened.appender.end();
    opened.appender.submit();
    opened.log.flush_submitted(Level::Written).unwrap();
    assert!(records.last().unwrap().0.0 < 64 << 10 && last.0 > 64 << 10, "it goes over the border");
    let image = disk.after_crash(Keep::Everything);
    flip(&image, &file_of(last).0, file_of(last).1 + 20);
    let count = {
        let disk = FaultyDisk::over(&image);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (opened, found) = open(&shared, small(), 2, None).unwrap();
        assert_eq!(found, records);
        assert!(opened.report.segments_discarded > 0);
        disk.operations()
    };
    for cut in 0..count {
        for keep in [Keep::Nothing, Keep::Everything, Keep::Random(cut)] {
            let disk = FaultyDisk::over(&image);
            disk.cut_at(cut);
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            assert!(open(&shared, small(), 3, None).is_err());
            let after: Arc<dyn Disk> = Arc::new(disk.after_crash(keep));
            let (_, found) = open(&after, small(), 4, None).unwrap_or_else(|error| {
                panic!("cut at {cut}, {keep:?}: {error}\n{}", disk.trace().join("\n"))
            });
            assert_eq!(found, records, "cut at {cut}, {keep:?}");
        }
    }
}
