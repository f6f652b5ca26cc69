//! I/O errors and a full disk at every operation, and for longer.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use weir_log::faulty::{Failure, FaultyDisk, Keep};
use weir_log::{Disk, Level, LogError, LogOptions, Lsn, MemoryDisk, Preparation, RealDisk, Room};

use crate::life::{History, Script, check_image, operations};
use crate::support::{body, open, read, scan, small};

#[test]
fn an_error_at_every_operation_loses_nothing_that_was_promised() {
    for preparation in [Preparation::Zeroes, Preparation::Allocation] {
        fail_at_every_operation(preparation);
    }
}

fn fail_at_every_operation(preparation: Preparation) {
    let script = Script { seed: 21, steps: 60, close: true, preparation };
    let count = operations(&MemoryDisk::new(), &History::default(), script);
    for failure in [Failure::Io, Failure::Full] {
        for at in 0..count {
            let disk = FaultyDisk::new();
            disk.fail_at(at, failure);
            let mut history = History::default();
            history.live(&disk, 0, script);
            for keep in [Keep::Nothing, Keep::Everything, Keep::Random(7), Keep::Random(8)] {
                check_image(&disk.after_crash(keep), &history, history.least(keep), small());
            }
        }
    }
}

#[test]
fn after_a_failed_flush_nothing_is_written_and_durable_records_are_still_read() {
    let disk = FaultyDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    let log = Arc::clone(&opened.log);
    let kept = opened.appender.append(|buffer| buffer.extend_from_slice(b"kept"));
    opened.appender.submit();
    log.flush_submitted(Level::Durable).unwrap();
    let durable = log.durable();

    opened.appender.append(|buffer| buffer.extend_from_slice(b"not flushed"));
    opened.appender.submit();
    // The write goes through, the flush behind it does not.
    disk.fail_at(disk.operations() + 1, Failure::Io);
    let error = log.flush_submitted(Level::Durable).unwrap_err();
    assert!(matches!(&error, LogError::Faulted { reason } if reason.contains("flushing seg/")), "{error}");
    assert!(log.is_faulted());

    let before = disk.operations();
    opened.appender.append(|buffer| buffer.extend_from_slice(b"refused"));
    opened.appender.submit();
    for level in [Level::Written, Level::Durable] {
        assert!(matches!(log.flush_submitted(level), Err(LogError::Faulted { .. })));
    }
    assert!(matches!(log.background_step(), Err(LogError::Faulted { .. })));
    assert_eq!(disk.operations(), before, "neither a write nor a second flush was tried");
    assert_eq!(log.durable(), durable);
    log.commit(durable, Level::Durable).unwrap();
    assert_eq!(read(&log, &[kept]), [b"kept"]);

    let image: Arc<dyn Disk> = Arc::new(disk.after_crash(Keep::Nothing));
    assert_eq!(open(&image, small(), 2, None).unwrap().1, [(kept, b"kept".to_vec())]);
}

#[test]
fn a_failed_write_moves_no_watermark() {
    let disk = FaultyDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    let log = Arc::clone(&opened.log);
    let before = log.written();
    // Across a change of segments: the first write goes through, the second does not.
    for n in 0..20 {
        opened.appender.append(|buffer| buffer.extend_from_slice(&body(n, 5000)));
    }
    opened.appender.submit();
    while log.background_step().unwrap() {}
    disk.fail_at(disk.operations() + 1, Failure::Io);
    for _ in 0..2 {
        let error = log.flush_submitted(Level::Written).unwrap_err();
        assert!(matches!(&error, LogError::Faulted { reason } if reason.contains("writing seg/")), "{error}");
        assert_eq!((log.written(), log.durable()), (before, before));
        assert_eq!(scan(&log, Lsn(0)), []);
    }
}

/// The engine's habit: ask for room, ask harder, refuse.
fn append_if_room(opened: &mut weir_log::Opened, len: usize, least: Room) -> bool {
    if opened.log.room_for(len as u64) < least && opened.log.ensure_room(len as u64).unwrap() < least {
        return false;
    }
    opened.appender.append(|buffer| buffer.resize(buffer.len() + len, 7));
    opened.appender.submit();
    opened.log.flush_submitted(Level::Durable).unwrap();
    true
}

fn impatient() -> LogOptions {
    LogOptions { full_retry: Duration::ZERO, ..small() }
}

#[test]
fn a_full_disk_refuses_before_it_hurts_and_recovers_by_itself() {
    for preparation in [Preparation::Zeroes, Preparation::Allocation] {
        fill_and_recover(&LogOptions { preparation, ..impatient() });
    }
}

fn fill_and_recover(options: &LogOptions) {
    // Wherever in a segment the disk is full, and wherever in a page the record that finds out.
    for (quota, len) in (80..360).step_by(7).map(|kib| kib << 10).zip((60..).step_by(5)) {
        let segments = quota / (64 << 10);
        let disk = FaultyDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        disk.set_quota(Some(quota));
        let (mut opened, _) = open(&shared, options.clone(), 1, None).unwrap();
        let mut count = 0;
        while append_if_room(&mut opened, 1000, Room::Ample) {
            count += 1;
            opened.log.background_step().unwrap();
        }
        assert!(count as u64 >= (segments - 1) * 40, "{count} records into {quota} bytes");
        assert!(opened.log.stats().disk_full);

        let mut controls = 0;
        while append_if_room(&mut opened, len, Room::ReserveOnly) {
            controls += 1;
        }
        assert!(controls > 30, "the reserve took only {controls}");
        assert_eq!(opened.log.room_for(len as u64), Room::None);
        assert!(!opened.log.is_faulted());
        if segments == 1 {
            continue;
        }

        // Something dies, and there is room again without anybody asking for it.
        opened.log.recycle(0).unwrap();
        while opened.log.background_step().unwrap() {}
        assert_eq!(opened.log.room(), Room::Ample, "{segments} segments");
        assert!(append_if_room(&mut opened, 1000, Room::Ample));

        // Or the disk grows.
        while append_if_room(&mut opened, 1000, Room::Ample) {}
        disk.set_quota(None);
        opened.log.background_step().unwrap();
        assert!(append_if_room(&mut opened, 1000, Room::Ample));
        let records = scan(&opened.log, Lsn(0));
        let from = records[0].0;
        drop(opened);
        assert_eq!(open(&shared, options.clone(), 2, Some(from)).unwrap().1, records);
    }
}

/// Needs a small file system that nobody else uses:
/// `mount -t tmpfs -o size=2m none DIR && WEIR_SMALL_DISK=DIR cargo test -p weir-log -- --ignored really_full`
#[test]
#[ignore = "needs a small file system"]
fn a_disk_that_is_really_full() {
    let folder =
        std::env::var("WEIR_SMALL_DISK").expect("WEIR_SMALL_DISK names a folder on a small file system");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder));
    for preparation in [Preparation::Zeroes, Preparation::Allocation] {
        let options = LogOptions { preparation, ..impatient() };
        let (mut opened, _) = open(&disk, options.clone(), 1, None).unwrap();
        let mut count = 0;
        while append_if_room(&mut opened, 1000, Room::Ample) {
            count += 1;
            assert!(count < 1_000_000, "the file system is not small");
            drop(opened.log.background_step());
        }
        while append_if_room(&mut opened, 60, Room::ReserveOnly) {}
        assert!(!opened.log.is_faulted() && opened.log.room_for(60) == Room::None);
        let records = scan(&opened.log, Lsn(0));
        drop(opened);
        // Full still: it opens, and goes on once something is dead.
        let from = records[0].0;
        let (mut opened, found) = open(&disk, options.clone(), 2, Some(from)).unwrap();
        assert_eq!(found, records);
        assert!(!append_if_room(&mut opened, 1000, Room::Ample));
        let dead = opened.log.segments()[2].first;
        assert_eq!(opened.log.drop_segments_below(dead).unwrap(), 2);
        while opened.log.background_step().unwrap() {}
        assert!(append_if_room(&mut opened, 1000, Room::Ample));
        for segment in opened.log.segments() {
            drop(opened.log.recycle(segment.no));
        }
        opened.log.close(opened.appender).unwrap();
    }
}

#[test]
fn a_memory_disk_with_a_quota_fills_up_as_a_real_one_does() {
    for preparation in [Preparation::Zeroes, Preparation::Allocation] {
        fill_memory(LogOptions { preparation, ..impatient() });
    }
}

fn fill_memory(options: LogOptions) {
    let disk = MemoryDisk::new();
    disk.set_quota(Some(5 * (64 << 10)));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, options, 1, None).unwrap();
    let mut count = 0;
    while append_if_room(&mut opened, 1000, Room::Ample) {
        count += 1;
    }
    assert!((200..330).contains(&count), "{count}");
    assert!(append_if_room(&mut opened, 60, Room::ReserveOnly));
    disk.set_quota(None);
    assert!(append_if_room(&mut opened, 1000, Room::Ample));
    assert!(!opened.log.is_faulted());
}

#[test]
fn a_large_record_has_room_as_long_as_the_disk_has() {
    let disk = FaultyDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut opened, _) = open(&shared, impatient(), 1, None).unwrap();
    let largest = opened.appender.max_record();
    for _ in 0..4 {
        assert!(append_if_room(&mut opened, largest, Room::Ample));
        assert!(append_if_room(&mut opened, 0, Room::Ample));
    }
    let mut sizes = Vec::new();
    let visit = &mut |_, body: &[u8]| {
        sizes.push(body.len());
        ControlFlow::Continue(())
    };
    opened.log.scan(Lsn(0), visit).unwrap();
    assert_eq!(sizes, [largest, 0].repeat(4));
}

#[test]
fn what_was_never_submitted_cannot_be_committed() {
    let shared: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (mut opened, _) = open(&shared, small(), 1, None).unwrap();
    opened.appender.append(|buffer| buffer.extend_from_slice(&body(1, 10)));
    assert_eq!(opened.appender.buffered(), 18);
    for level in [Level::Written, Level::Durable] {
        let error = opened.log.commit(opened.appender.head(), level).unwrap_err();
        assert!(matches!(error, LogError::NotSubmitted { .. }));
    }
    opened.appender.submit();
    opened.log.commit(opened.appender.head(), Level::Durable).unwrap();
    assert_eq!(opened.appender.buffered(), 0);
}
