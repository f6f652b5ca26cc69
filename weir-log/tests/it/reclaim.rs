//! Taking space back: spares, holes, rewritten segments, and power cuts in the middle of it.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use weir_log::faulty::{FaultyDisk, Keep};
use weir_log::{Disk, Level, Log, LogError, Lsn, MemoryDisk, Opened, ReadError, SegmentState};

use crate::support::{Record, body, open, read, scan, small};

/// A closed log of six segments and something.
fn six_segments() -> (MemoryDisk, Vec<Record>) {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    let mut records = Vec::new();
    for n in 0..1600 {
        let body = body(n, 100 + (n as usize * 37) % 300);
        let transaction = n % 5 == 0;
        if transaction {
            opened.appender.begin();
        }
        records.push((opened.appender.append(|buffer| buffer.extend_from_slice(&body)), body));
        if transaction {
            records.push((opened.appender.append(|buffer| buffer.push(1)), vec![1]));
            opened.appender.end();
        }
        opened.appender.submit();
        opened.log.flush_submitted(Level::Durable).unwrap();
    }
    opened.log.close(opened.appender).unwrap();
    (disk, records)
}

fn segment_of(record: &Record) -> u64 {
    record.0.0 >> 16
}

/// Kept when a segment is rewritten.
fn lives(lsn: Lsn) -> bool {
    lsn.0 % 7 == 3
}

fn over(disk: &MemoryDisk) -> (FaultyDisk, Arc<dyn Disk>) {
    let faulty = FaultyDisk::over(disk);
    (faulty.clone(), Arc::new(faulty))
}

fn opened(disk: &Arc<dyn Disk>) -> (Opened, Vec<Record>) {
    open(disk, small(), 77, None).unwrap()
}

fn without(records: &[Record], no: u64, dead: impl Fn(&Record) -> bool) -> Vec<Record> {
    records.iter().filter(|record| segment_of(record) != no || !dead(record)).cloned().collect()
}

#[test]
fn a_dead_segment_becomes_the_next_one_and_its_old_records_never_show() {
    let (disk, records) = six_segments();
    let (_, shared) = over(&disk);
    let (mut opened, _) = opened(&shared);
    opened.log.recycle(0).unwrap();
    opened.log.recycle(1).unwrap();
    let error = opened.log.read_many(&[records[0].0], &mut |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, ReadError::Gone(_)), "{error}");
    while opened.log.background_step().unwrap() {}
    let mut expected: Vec<_> = records.iter().filter(|record| segment_of(record) > 1).cloned().collect();
    for n in 0..2000 {
        let body = body(1 << 40 | n, 200);
        expected.push((opened.appender.append(|buffer| buffer.extend_from_slice(&body)), body));
        opened.appender.submit();
        opened.log.flush_submitted(Level::Written).unwrap();
        opened.log.background_step().unwrap();
    }
    assert_eq!(opened.log.stats().recycled, 2);
    assert_eq!(scan(&opened.log, Lsn(0)), expected);
    drop(opened);
    // Not closed: the open looks behind the end, where the recycled file still has its old records.
    for seed in [5, 6] {
        let (opened, found) = open(&shared, small(), seed, Some(expected[0].0)).unwrap();
        assert_eq!(found, expected);
        drop(opened);
    }
}

#[test]
fn a_file_is_left_alone_while_it_is_read() {
    let (disk, records) = six_segments();
    let (_, shared) = over(&disk);
    let (opened, _) = opened(&shared);
    let log = &opened.log;
    let names = || shared.list("seg").unwrap();
    let mut seen = Vec::new();
    log.scan(Lsn(0), &mut |lsn, body| {
        if seen.is_empty() {
            log.recycle(0).unwrap();
            log.background_step().unwrap();
            assert!(names().contains(&"0000000000000000.seg".to_owned()), "{:?}", names());
        }
        seen.push((lsn, body.to_vec()));
        if segment_of(&(lsn, vec![])) == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    assert_eq!(seen, records[..seen.len()]);
    log.background_step().unwrap();
    assert!(!names().contains(&"0000000000000000.seg".to_owned()), "{:?}", names());
    assert_eq!(log.drop_segments_below(records[900].0).unwrap(), segment_of(&records[900]) - 1);
    assert_eq!(
        scan(log, Lsn(0))[0],
        *records.iter().find(|r| segment_of(r) == segment_of(&records[900])).unwrap()
    );
}

#[test]
fn a_rewritten_segment_keeps_addresses_and_loses_the_dead() {
    let (disk, records) = six_segments();
    let (_, shared) = over(&disk);
    let (opened_, _) = opened(&shared);
    let log = &opened_.log;
    let done = log.compact(2, &mut |lsn, body| {
        assert_eq!(read(log, &[lsn]), [body]);
        lives(lsn)
    });
    let done = done.unwrap();
    let expected = without(&records, 2, |record| !lives(record.0));
    let kept: Vec<_> = expected.iter().filter(|record| segment_of(record) == 2).cloned().collect();
    assert_eq!(done.kept, kept.len() as u64);
    assert_eq!(done.kept + done.dropped, records.iter().filter(|r| segment_of(r) == 2).count() as u64);
    while log.background_step().unwrap() {}
    check_reads(log, &records, &expected);
    let info = log.segments().into_iter().find(|segment| segment.no == 2).unwrap();
    assert_eq!((info.generation, info.state), (1, SegmentState::Sealed));
    assert!(info.bytes_on_disk < 20 << 10, "{}", info.bytes_on_disk);
    drop(opened_);

    // Again, fewer still, after another open; and then none.
    let (opened_, found) = opened(&shared);
    assert_eq!(found, expected);
    let last = kept.last().unwrap().0;
    opened_.log.compact(2, &mut |lsn, _| lsn == last).unwrap();
    let expected = without(&records, 2, |record| record.0 != last);
    check_reads(&opened_.log, &records, &expected);
    drop(opened_);
    let (opened_, found) = opened(&shared);
    assert_eq!(found, expected);
    assert_eq!(opened_.log.compact(2, &mut |_, _| false).unwrap().bytes, 0);
    check_reads(&opened_.log, &records, &without(&records, 2, |_| true));
}

/// Each record of `expected` can be read, alone and together; each other one of `all` is gone.
fn check_reads(log: &Log, all: &[Record], expected: &[Record]) {
    assert_eq!(scan(log, Lsn(0)), expected);
    for descending in [false, true] {
        let mut some = expected.to_vec();
        if descending {
            some.reverse();
        }
        let lsns: Vec<_> = some.iter().map(|record| record.0).collect();
        let bodies: Vec<_> = some.iter().map(|record| record.1.clone()).collect();
        assert_eq!(read(log, &lsns), bodies);
    }
    for (index, record) in all.iter().enumerate() {
        let alive = expected.binary_search_by_key(&record.0, |record| record.0).is_ok();
        if alive && index % 10 == 0 {
            assert_eq!(read(log, &[record.0]), [&record.1[..]]);
        } else if !alive {
            let error = log.read_many(&[record.0], &mut |_, _| ControlFlow::Continue(())).unwrap_err();
            assert!(matches!(error, ReadError::Gone(lsn) if lsn == record.0), "{error}");
        }
    }
}

/// Dead ranges of segment 3: nearly all, in a few runs.
fn dead_ranges(records: &[Record]) -> Vec<Range<Lsn>> {
    let inside: Vec<_> = records.iter().filter(|record| segment_of(record) == 3).collect();
    let mut ranges = Vec::new();
    for chunk in inside.chunks(60) {
        if chunk.len() == 60 {
            ranges.push(chunk[0].0..chunk[59].0);
        }
    }
    let behind = records.iter().find(|record| segment_of(record) == 4).unwrap();
    ranges.push(inside.last().unwrap().0..behind.0);
    ranges
}

fn is_dead(ranges: &[Range<Lsn>], lsn: Lsn) -> bool {
    ranges.iter().any(|range| range.contains(&lsn))
}

#[test]
fn holes_give_space_back_and_are_passed_over() {
    let (disk, records) = six_segments();
    let (faulty, shared) = over(&disk);
    let (opened_, _) = opened(&shared);
    let dead = dead_ranges(&records);
    let expected = without(&records, 3, |record| is_dead(&dead, record.0));
    for (from, to) in [(dead[0].start.0 + 1, dead[0].end.0), (dead[2].start.0, dead[2].end.0 + 1), (9, 8)] {
        let error = opened_.log.punch(3, &[Lsn(from)..Lsn(to)]).unwrap_err();
        assert!(matches!(error, LogError::Segment { segment: 3, .. }), "{error}");
    }
    let used = faulty.used();
    let given = opened_.log.punch(3, &dead).unwrap();
    assert!(given >= 16 << 10 && faulty.used() <= used - given + 4096, "{given}");
    assert_eq!(opened_.log.punch(3, &dead[..1]).unwrap(), given, "once more changes nothing");
    check_reads(&opened_.log, &records, &expected);
    drop(opened_);
    let (opened_, found) = opened(&shared);
    assert_eq!(found, expected);
    check_reads(&opened_.log, &records, &expected);

    // Rewriting a segment with holes ends them.
    opened_.log.compact(3, &mut |lsn, _| lives(lsn)).unwrap();
    while opened_.log.background_step().unwrap() {}
    let expected = without(&expected, 3, |record| !lives(record.0));
    check_reads(&opened_.log, &records, &expected);
    let names = shared.list("seg").unwrap();
    assert!(!names.iter().any(|name| name.ends_with(".holes")));
    assert_eq!(opened_.log.stats().recycled, 0, "a file with holes is no space to count on");
    drop(opened_);
    assert_eq!(opened(&shared).1, expected);
}

#[test]
fn the_current_segment_and_unflushed_ones_are_left_alone() {
    let shared: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    for n in 0..3000 {
        opened.appender.append(|buffer| buffer.extend_from_slice(&body(n, 40)));
    }
    opened.appender.submit();
    opened.log.flush_submitted(Level::Written).unwrap();
    let log = &opened.log;
    let current = log.segments().into_iter().find(|segment| segment.state == SegmentState::Current).unwrap();
    assert!(current.no > 0);
    for no in [0, current.no, current.no + 5] {
        assert!(matches!(log.recycle(no), Err(LogError::Segment { .. })), "{no}");
        assert!(log.compact(no, &mut |_, _| true).is_err());
        assert!(log.punch(no, &[]).is_err());
    }
    log.flush_submitted(Level::Durable).unwrap();
    log.recycle(0).unwrap();
}

/// Cuts the power at each operation of `work`, and hands what is found then to `check`.
fn at_every_cut(disk: &MemoryDisk, work: &dyn Fn(&Opened), check: &dyn Fn(&Arc<dyn Disk>)) {
    let (faulty, shared) = over(disk);
    let (opened_, _) = opened(&shared);
    let first = faulty.operations();
    work(&opened_);
    let last = faulty.operations();
    assert!(last - first > 3);
    drop(opened_);
    for cut in first..last {
        let (faulty, shared) = over(disk);
        let (opened_, _) = opened(&shared);
        faulty.cut_at(cut);
        work(&opened_);
        for keep in
            [Keep::Nothing, Keep::Everything, Keep::Random(cut), Keep::Random(cut + 99), Keep::Random(!cut)]
        {
            let image: Arc<dyn Disk> = Arc::new(faulty.after_crash(keep));
            check(&image);
        }
    }
}

#[test]
fn a_power_cut_while_a_segment_is_rewritten_leaves_the_old_or_the_new() {
    let (disk, records) = six_segments();
    let expected = without(&records, 2, |record| !lives(record.0));
    let work = |opened: &Opened| {
        drop(opened.log.compact(2, &mut |lsn, _| lives(lsn)));
        drop(opened.log.background_step());
        drop(opened.log.background_step());
    };
    at_every_cut(&disk, &work, &|image| {
        let (opened_, found) = opened(image);
        assert!(found == records || found == expected, "{}", found.len());
        check_reads(&opened_.log, &[], &found);
        assert!(!image.list("seg").unwrap().iter().any(|name| name.ends_with(".new")));
    });
}

#[test]
fn a_power_cut_while_holes_are_punched_leaves_all_live_records() {
    let (disk, records) = six_segments();
    let dead = dead_ranges(&records);
    let expected = without(&records, 3, |record| is_dead(&dead, record.0));
    let work = |opened: &Opened| drop(opened.log.punch(3, &dead));
    at_every_cut(&disk, &work, &|image| {
        let (opened_, found) = opened(image);
        assert!(found == records || found == expected, "{}", found.len());
        check_reads(&opened_.log, &[], &found);
    });
}

#[test]
fn a_power_cut_while_segments_are_recycled_leaves_the_rest() {
    let (disk, records) = six_segments();
    let from = records.iter().find(|record| segment_of(record) == 4).unwrap().0;
    let expected: Vec<_> = records.iter().filter(|record| record.0 >= from).cloned().collect();
    let work = |opened: &Opened| {
        for no in [0, 3, 1, 2] {
            drop(opened.log.recycle(no));
            // Uses the spares for the segments ahead.
            for _ in 0..10 {
                drop(opened.log.background_step());
            }
        }
        drop(opened.log.ensure_room(150_000));
    };
    at_every_cut(&disk, &work, &|image| {
        let (opened_, found) = open(image, small(), 3, Some(from)).unwrap();
        assert_eq!(found, expected);
        assert!(scan(&opened_.log, Lsn(0)).ends_with(&expected));
    });
}
