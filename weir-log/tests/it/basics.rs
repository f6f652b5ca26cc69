//! Appending, committing, reading and opening again, on memory and on a real folder.

use std::sync::Arc;

use weir_log::{Disk, Level, Lsn, MemoryDisk, RealDisk};

use crate::support::{Record, body, open, read, salts, scan, small};

fn on_every_disk(test: impl Fn(Arc<dyn Disk>)) {
    test(Arc::new(MemoryDisk::new()));
    let folder = tempfile::tempdir().unwrap();
    test(Arc::new(RealDisk::new(folder.path())));
}

/// Appends 2 000 records of up to 3 000 bytes, in transactions now and then.
fn fill(disk: &Arc<dyn Disk>) -> Vec<Record> {
    let (mut opened, found) = open(disk, small(), 1, None).unwrap();
    assert!(found.is_empty());
    let mut sizes = salts(5);
    let mut records = Vec::new();
    for n in 0..2000 {
        if n % 7 == 0 {
            opened.appender.begin();
        }
        let body = body(n, (sizes() % 3000) as usize);
        let lsn = opened.appender.append(|buffer| buffer.extend_from_slice(&body));
        records.push((lsn, body));
        if n % 7 == 3 {
            opened.appender.end();
        }
        if n % 7 >= 3 && n % 2 == 0 {
            opened.appender.submit();
            let level = if n % 5 == 0 { Level::Durable } else { Level::Written };
            opened.log.commit(opened.appender.head(), level).unwrap();
        }
        while n % 11 == 0 && opened.log.background_step().unwrap() {}
    }
    opened.log.close(opened.appender).unwrap();
    assert_eq!(scan(&opened.log, Lsn(0)), records);
    records
}

#[test]
fn what_was_committed_is_there_at_the_next_open() {
    on_every_disk(|disk| {
        let records = fill(&disk);
        for round in 0..3 {
            let (opened, found) = open(&disk, small(), 2 + round, None).unwrap();
            assert_eq!(found, records);
            assert_eq!(opened.report.records, 2000);
            assert_eq!(opened.report.torn_bytes, 0);
            assert_eq!(opened.log.durable(), opened.appender.head());
        }
    });
}

#[test]
fn records_are_read_by_address_in_any_order() {
    on_every_disk(|disk| {
        let records = fill(&disk);
        let (opened, _) = open(&disk, small(), 9, Some(records[1500].0)).unwrap();
        let mut next = salts(77);
        let mut order: Vec<usize> = (0..records.len()).collect();
        for run in [0, 1, 2] {
            match run {
                0 => {}
                1 => order.reverse(),
                _ => order.sort_by_cached_key(|_| next()),
            }
            let lsns: Vec<_> = order.iter().map(|index| records[*index].0).collect();
            let bodies: Vec<_> = order.iter().map(|index| records[*index].1.clone()).collect();
            assert_eq!(read(&opened.log, &lsns), bodies, "run {run}");
        }
    });
}

#[test]
fn replay_begins_where_it_is_told() {
    on_every_disk(|disk| {
        let records = fill(&disk);
        for index in [0, 1, 700, 1999] {
            let (_, found) = open(&disk, small(), 9, Some(records[index].0)).unwrap();
            assert_eq!(found, records[index..]);
        }
    });
}

/// Whoever prepared space three segments ahead made the writer forget the salt it had chosen for the next one: what
/// it wrote there was no record to anybody who looked later.
#[test]
fn space_prepared_many_segments_ahead_is_written_as_it_was_prepared() {
    on_every_disk(|disk| {
        let (mut opened, _) = open(&disk, small(), 1, None).unwrap();
        opened.log.ensure_room(8 * (64 << 10)).unwrap();
        let mut records = Vec::new();
        for n in 0..600 {
            let body = body(n, 1000);
            let lsn = opened.appender.append(|buffer| buffer.extend_from_slice(&body));
            records.push((lsn, body));
            opened.appender.submit();
            opened.log.commit(opened.appender.head(), Level::Written).unwrap();
        }
        opened.log.flush_submitted(Level::Durable).unwrap();
        drop(opened);
        let (_, found) = open(&disk, small(), 2, None).unwrap();
        assert_eq!(found.len(), records.len());
        assert!(found == records);
    });
}
