//! Appending, committing, reading and opening again, on memory and on a real folder.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_log::faulty::FaultyDisk;
use weir_log::{Disk, Level, LogOptions, Lsn, MemoryDisk, Open, Preparation, ReadError, RealDisk};

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

/// The story: the salt of a segment is chosen when the appender comes to it or when its space is prepared, whichever
/// is first. A transaction far ahead of the writer must not make preparation choose another one.
#[test]
fn a_transaction_over_many_segments_with_preparation_in_between() {
    on_every_disk(|disk| {
        let (mut opened, _) = open(&disk, small(), 1, None).unwrap();
        let mut records = Vec::new();
        opened.appender.begin();
        for n in 0..200 {
            let body = body(n, 3000);
            records.push((opened.appender.append(|buffer| buffer.extend_from_slice(&body)), body));
            opened.log.background_step().unwrap();
            assert_eq!(scan(&opened.log, Lsn(0)), [], "nobody sees half a transaction");
        }
        opened.appender.end();
        opened.appender.submit();
        while opened.log.background_step().unwrap() {}
        opened.log.flush_submitted(Level::Durable).unwrap();
        assert_eq!(scan(&opened.log, Lsn(0)), records);
        drop(opened);
        assert_eq!(open(&disk, small(), 2, None).unwrap().1, records);
    });
}

/// On a real folder: space only allocated, a killed process, holes.
#[test]
fn a_log_in_allocated_space_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()));
    let options = LogOptions { preparation: Preparation::Allocation, ..small() };
    let mut expected = Vec::new();
    for life in 0..5 {
        let (mut opened, found) = open(&disk, options.clone(), life, None).unwrap();
        assert_eq!(found, expected);
        for n in 0..150 {
            let body = body(life << 32 | n, 700);
            expected.push((opened.appender.append(|buffer| buffer.extend_from_slice(&body)), body));
            opened.appender.submit();
            opened.log.flush_submitted(Level::Written).unwrap();
            opened.log.background_step().unwrap();
        }
        let room = opened.log.room();
        assert_eq!(room, weir_log::Room::Ample);
    }
    let (opened, _) = open(&disk, options, 9, None).unwrap();
    let dead = expected[2].0..expected[60].0;
    assert!(opened.log.punch(0, std::slice::from_ref(&dead)).unwrap() > 30_000);
    expected.retain(|record| !dead.contains(&record.0));
    assert_eq!(scan(&opened.log, Lsn(0)), expected);
}

#[test]
fn what_is_in_memory_is_read_without_waiting() {
    on_every_disk(|disk| {
        let records = fill(&disk);
        let (opened, _) = open(&disk, small(), 9, None).unwrap();
        // Just replayed, so all of it is in the page cache, if the system has one and tells.
        let lsns: Vec<_> = records.iter().map(|record| record.0).collect();
        let mut bodies = Vec::new();
        let read = opened.log.read_many_cached(&lsns, &mut |_, body| {
            bodies.push(body.to_vec());
            ControlFlow::Continue(())
        });
        assert!(matches!(read, Ok(()) | Err(ReadError::Cold)), "{read:?}");
        assert!(bodies.iter().zip(&records).all(|(body, record)| *body == record.1));
        assert!(read.is_err() || bodies.len() == records.len());
    });
}

#[test]
fn a_lock_is_held_once_and_its_contents_are_readable() {
    let folder = tempfile::tempdir().unwrap();
    let disks: [Arc<dyn Disk>; 3] =
        [Arc::new(MemoryDisk::new()), Arc::new(FaultyDisk::new()), Arc::new(RealDisk::new(folder.path()))];
    for disk in disks {
        let lock = disk.lock("LOCK", "pid 1 at 127.0.0.1:6379").unwrap();
        let refused = disk.lock("LOCK", "pid 2").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let contents = || {
            let mut bytes = [0; 64];
            let n = disk.open("LOCK", Open::Read).unwrap().read_at(&mut bytes, 0).unwrap();
            String::from_utf8(bytes[..n].to_vec()).unwrap()
        };
        assert_eq!(contents(), "pid 1 at 127.0.0.1:6379");
        lock.rewrite("pid 1").unwrap();
        assert_eq!(contents(), "pid 1");
        drop(lock);
        drop(disk.lock("LOCK", "pid 2").unwrap());
    }
}
