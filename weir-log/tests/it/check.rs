//! Checking a folder, repairing it, and opening folders that were tampered with.

use std::sync::Arc;

use weir_log::faulty::{FaultyDisk, Keep};
use weir_log::{CheckReport, Disk, Level, Lsn, MemoryDisk, Open, OpenError, Severity, check, repair};

use crate::support::{Record, body, open, salts, small};

/// Five segments and something, every third record in a transaction with the next; not closed.
fn log_of_five() -> (MemoryDisk, Vec<Record>) {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    let mut records = Vec::new();
    for n in 0..1500 {
        if n % 3 == 0 {
            opened.appender.begin();
        }
        let body = body(n, 40 + (n as usize * 61) % 400);
        records.push((opened.appender.append(|buffer| buffer.extend_from_slice(&body)), body));
        if n % 3 == 1 {
            opened.appender.end();
        }
        if n % 3 != 0 {
            opened.appender.submit();
            opened.log.flush_submitted(Level::Durable).unwrap();
        }
        opened.log.background_step().unwrap();
    }
    (disk, records)
}

fn examine(disk: &dyn Disk) -> (CheckReport, Vec<Record>) {
    let mut records = Vec::new();
    let report = check(disk, None, &mut |lsn, body| records.push((lsn, body.to_vec()))).unwrap();
    (report, records)
}

fn over(disk: &MemoryDisk) -> Arc<dyn Disk> {
    Arc::new(FaultyDisk::over(disk))
}

fn flip(disk: &dyn Disk, path: &str, at: u64) {
    let file = disk.open(path, Open::Write).unwrap();
    let mut byte = [0];
    assert_eq!(file.read_at(&mut byte, at).unwrap(), 1);
    file.write_at(&[byte[0] ^ 4], at).unwrap();
}

fn damages(report: &CheckReport) -> Vec<String> {
    let damage = report.findings.iter().filter(|finding| finding.severity == Severity::Damage);
    damage.map(ToString::to_string).collect()
}

#[test]
fn a_sound_log_gives_no_cause_for_complaint() {
    let (disk, records) = log_of_five();
    let (report, seen) = examine(&disk);
    assert_eq!(seen, records);
    assert_eq!((report.records, report.findings.len(), report.is_damaged()), (1500, 0, false));
    assert_eq!(report.bytes, records.iter().map(|record| record.1.len() as u64).sum::<u64>());
    let last = records.last().unwrap();
    assert_eq!(report.end, Lsn(last.0.0 + 8 + last.1.len() as u64));
    let before = disk.list("seg").unwrap();
    assert_eq!(repair(&disk, None, "backup").unwrap().cut, None);
    assert_eq!(disk.list("seg").unwrap(), before);
}

#[test]
fn a_torn_tail_is_a_note() {
    let (disk, records) = log_of_five();
    let shared = over(&disk);
    let (lsn, _) = &records[1499];
    flip(&*shared, &format!("seg/{:016x}.seg", lsn.0 >> 16), (lsn.0 & 0xffff) + 10);
    let (report, seen) = examine(&*shared);
    assert_eq!((seen.len(), report.is_damaged(), report.end), (1499, false, *lsn));
    assert_eq!(report.findings.len(), 1);
    assert!(report.findings[0].to_string().contains("traces of a crash"), "{}", report.findings[0]);
    assert_eq!(repair(&*shared, None, "backup").unwrap().cut, None);
}

/// Checks that the log can be cut at its damage and then opens as a prefix up to `expected` records.
fn repaired(shared: &Arc<dyn Disk>, records: &[Record], expected: usize) {
    assert!(open(shared, small(), 2, None).is_err());
    let report = repair(&**shared, None, "backup").unwrap();
    assert!(!report.saved.is_empty());
    for path in &report.saved {
        assert!(shared.open(path, Open::Read).unwrap().len().unwrap() > 0, "{path}");
    }
    let (mut opened, found) = open(shared, small(), 3, None).unwrap();
    assert_eq!(found, records[..expected]);
    assert!(report.cut.unwrap() <= records[expected + 1].0);
    // It works on.
    let mut all = found;
    for n in 0..600 {
        let body = body(1 << 40 | n, 200);
        all.push((opened.appender.append(|buffer| buffer.extend_from_slice(&body)), body));
    }
    opened.appender.submit();
    opened.log.flush_submitted(Level::Durable).unwrap();
    drop(opened);
    assert_eq!(open(shared, small(), 4, None).unwrap().1, all);
    assert!(!examine(&**shared).0.is_damaged());
}

#[test]
fn a_damaged_record_is_named_and_everything_from_its_transaction_on_is_cut() {
    let (disk, records) = log_of_five();
    // 601 is the second of its transaction; 602 stands alone.
    for (damaged, expected) in [(601, 600), (602, 602), (600, 600)] {
        let shared = over(&disk);
        let (path, at) =
            (format!("seg/{:016x}.seg", records[damaged].0.0 >> 16), records[damaged].0.0 & 0xffff);
        flip(&*shared, &path, at + 11);
        let (report, seen) = examine(&*shared);
        let found = damages(&report);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with(&format!("damage: {path} at byte {at} (log address {}", records[damaged].0))
        );
        assert!(found[0].contains("--repair"), "{found:?}");
        assert!(seen.len() > 1450, "records behind the damage are checked too: {}", seen.len());
        repaired(&shared, &records, expected);
    }
}

#[test]
fn a_damaged_header_costs_its_segment_and_what_follows() {
    let (disk, records) = log_of_five();
    let shared = over(&disk);
    let path = "seg/0000000000000002.seg";
    flip(&*shared, path, 20);
    assert!(!examine(&*shared).0.is_damaged(), "there is a copy");
    flip(&*shared, path, 2048 + 20);
    let found = damages(&examine(&*shared).0);
    assert!(found.len() == 1 && found[0].contains(path) && found[0].contains("header"), "{found:?}");
    let first = records.iter().position(|record| record.0.0 >> 16 == 2).unwrap();
    let expected = if first % 3 == 1 { first - 1 } else { first };
    repaired(&shared, &records, expected);
}

#[test]
fn damage_in_rewritten_segments_and_lists_of_holes_is_found_and_cut() {
    let (disk, records) = log_of_five();
    let shared = over(&disk);
    let (opened, _) = open(&shared, small(), 9, None).unwrap();
    opened.log.compact(1, &mut |lsn, _| lsn.0 % 3 == 0).unwrap();
    let inside: Vec<_> = records.iter().filter(|record| record.0.0 >> 16 == 3).collect();
    opened.log.punch(3, &[inside[10].0..inside[150].0]).unwrap();
    opened.log.background_step().unwrap();
    drop(opened);
    let (report, live) = examine(&*shared);
    assert_eq!((live.len() as u64, report.is_damaged()), (report.records, false));
    let image = |shared: &Arc<dyn Disk>| {
        let copy = MemoryDisk::new();
        for name in shared.list("seg").unwrap() {
            let from = shared.open(&format!("seg/{name}"), Open::Read).unwrap();
            let mut bytes = vec![0; from.len().unwrap() as usize];
            from.read_at(&mut bytes, 0).unwrap();
            copy.open(&format!("seg/{name}"), Open::Create).unwrap().write_at(&bytes, 0).unwrap();
        }
        copy
    };
    let sound = image(&shared);

    let shared = over(&sound);
    let rewritten = "seg/0000000000000001.g0001";
    flip(&*shared, rewritten, 4096 + 1000);
    let found = damages(&examine(&*shared).0);
    assert!(found.len() == 1 && found[0].contains(rewritten), "{found:?}");
    let report = repair(&*shared, None, "backup").unwrap();
    let (opened, left) = open(&shared, small(), 3, None).unwrap();
    assert_eq!(left, live[..left.len()]);
    assert!(left.last().unwrap().0 < report.cut.unwrap() && opened.appender.head().0 >> 16 == 2);
    assert!(left.last().unwrap().0.0 >> 16 == 1);

    let shared = over(&sound);
    let holes = "seg/0000000000000003.holes";
    flip(&*shared, holes, 18);
    assert!(matches!(open(&shared, small(), 3, None), Err(OpenError::Rot { file, .. }) if file == holes));
    let found = damages(&examine(&*shared).0);
    assert!(found.len() == 1 && found[0].contains(holes), "{found:?}");
    repair(&*shared, None, "backup").unwrap();
    let (_, left) = open(&shared, small(), 3, None).unwrap();
    assert!(left == live[..left.len()] && left.last().unwrap().0.0 >> 16 == 2);

    // The index of a rewritten segment is only a help.
    let shared = over(&sound);
    let len = shared.open(rewritten, Open::Read).unwrap().len().unwrap();
    flip(&*shared, rewritten, len - 3);
    assert_eq!(open(&shared, small(), 3, None).unwrap().1, live);
}

#[test]
fn a_missing_segment_is_damage_where_the_replay_needs_it() {
    let (disk, records) = log_of_five();
    disk.remove("seg/0000000000000001.seg").unwrap();
    let (report, _) = examine(&disk);
    assert!(!report.is_damaged() && report.findings.len() == 1, "{:?}", report.findings);
    let above = check(&disk, Some(records[1200].0), &mut |_, _| {}).unwrap();
    assert!(!above.is_damaged());
    let below = check(&disk, Some(records[0].0), &mut |_, _| {}).unwrap();
    assert!(damages(&below)[0].contains("missing"), "{:?}", below.findings);
    let report = repair(&disk, Some(records[0].0), "backup").unwrap();
    assert_eq!(report.cut.unwrap().0 >> 16, 1);
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let (_, found) = open(&shared, small(), 5, Some(records[0].0)).unwrap();
    assert_eq!(found, records[..found.len()]);
    assert!(found.last().unwrap().0.0 >> 16 == 0);
}

/// Watermarks used to be put in only in front of records outside transactions. An engine that ties every command's
/// records together then had none, and damage in the middle of its log passed for the torn tail of a crash.
#[test]
fn a_log_of_nothing_but_transactions_knows_damage_from_a_torn_tail() {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    let mut records = Vec::new();
    for n in 0..600 {
        opened.appender.begin();
        let body = body(n, 300);
        records.push(opened.appender.append(|buffer| buffer.extend_from_slice(&body)));
        opened.appender.end();
        opened.appender.submit();
        opened.log.flush_submitted(Level::Durable).unwrap();
        opened.log.background_step().unwrap();
    }
    drop(opened);
    let damaged = records[200];
    flip(&disk, &format!("seg/{:016x}.seg", damaged.0 >> 16), (damaged.0 & 0xffff) + 9);
    let (report, _) = examine(&disk);
    assert_eq!(report.cut, Some(damaged), "{:?}", report.findings);
    assert!(matches!(open(&shared, small(), 2, None), Err(OpenError::Rot { .. })));
}

#[test]
fn damage_below_the_replay_is_told_and_not_cut() {
    let (disk, records) = log_of_five();
    let (damaged, from) = (records[300].0, records[1200].0);
    flip(&disk, &format!("seg/{:016x}.seg", damaged.0 >> 16), (damaged.0 & 0xffff) + 9);
    let report = check(&disk, Some(from), &mut |_, _| {}).unwrap();
    assert!(report.is_damaged() && damages(&report)[0].contains("the log opens without it"), "{report:?}");
    let sound = check(&disk, None, &mut |_, _| {}).unwrap();
    assert!(report.end > sound.end, "the log goes on behind what is not needed");
    assert_eq!(repair(&disk, Some(from), "backup").unwrap().cut, None);
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let (_, found) = open(&shared, small(), 5, Some(from)).unwrap();
    assert_eq!(found, records[1200..]);
}

#[test]
fn a_power_cut_during_a_repair_leaves_something_to_repair_or_a_sound_log() {
    let (disk, records) = log_of_five();
    flip(&disk, &format!("seg/{:016x}.seg", records[700].0.0 >> 16), (records[700].0.0 & 0xffff) + 9);
    let faulty = FaultyDisk::over(&disk);
    repair(&faulty, None, "backup").unwrap();
    for cut in 0..faulty.operations() {
        let faulty = FaultyDisk::over(&disk);
        faulty.cut_at(cut);
        drop(repair(&faulty, None, "backup"));
        for keep in [Keep::Nothing, Keep::Everything, Keep::Random(cut), Keep::Random(cut + 1000)] {
            let image: Arc<dyn Disk> = Arc::new(faulty.after_crash(keep));
            if open(&image, small(), 2, None).is_err() {
                repair(&*image, None, "backup").unwrap();
            }
            let (_, found) = open(&image, small(), 3, None).unwrap();
            assert!(found == records[..699], "{} at {cut}, {keep:?}", found.len());
        }
    }
}

/// Whatever is done to the files: no panic, no huge allocation; a prefix or a refusal, and after a repair a prefix.
#[test]
fn tampered_folders_open_as_a_prefix_or_not_at_all() {
    let (disk, records) = log_of_five();
    let mut chance = salts(99);
    let (mut opened, mut refused) = (0, 0);
    for round in 0..400 {
        let shared = over(&disk);
        let names = shared.list("seg").unwrap();
        for _ in 0..1 + chance() % 3 {
            let path = format!("seg/{}", names[chance() as usize % names.len()]);
            let file = shared.open(&path, Open::Write).unwrap();
            let len = file.len().unwrap().max(1);
            let at = chance() % len;
            match chance() % 5 {
                0 => file.set_len(at).unwrap(),
                1 => file.write_at(&vec![0; (chance() % 5000) as usize], at).unwrap(),
                2 => file.write_at(&chance().to_le_bytes().repeat(20), at).unwrap(),
                3 => file.write_at(&[0xff; 4], at).unwrap(),
                _ => {
                    // A piece of the log over another piece.
                    let mut bytes = vec![0; (chance() % 3000) as usize];
                    let n = file.read_at(&mut bytes, chance() % len).unwrap();
                    file.write_at(&bytes[..n], at).unwrap();
                }
            }
        }
        let report = examine(&*shared).0;
        match open(&shared, small(), round, None) {
            Ok((_, found)) => {
                opened += 1;
                assert!(found == records[..found.len()]);
                assert!(!report.is_damaged(), "{:?}", damages(&report));
            }
            Err(error) => {
                refused += 1;
                assert!(matches!(error, OpenError::Rot { .. } | OpenError::Foreign { .. }), "{error}");
                assert!(report.is_damaged() || error.to_string().contains("missing"), "{error}");
                repair(&*shared, Some(Lsn(0)), "backup").unwrap();
                let (_, found) = open(&shared, small(), round, None).unwrap();
                assert!(found == records[..found.len()], "round {round}");
            }
        }
    }
    assert!(opened > 5 && refused > 100, "{opened} opened, {refused} refused");
}
