//! Many threads: one flush serves all who wait, and nobody is told too early.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use weir_log::faulty::{Failure, FaultyDisk};
use weir_log::{Disk, DiskFile, DiskLock, Level, Lsn, MemoryDisk, Open};

use crate::support::{body, open, scan, small};

#[test]
fn one_flush_serves_all_who_wait() {
    let disk = FaultyDisk::new();
    disk.set_sync_time(Duration::from_millis(2));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (opened, _) = open(&shared, small(), 1, None).unwrap();
    let (log, appender) = (opened.log, Mutex::new(opened.appender));
    let (threads, each) = (16, 40);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (log, appender) = (&log, &appender);
            scope.spawn(move || {
                for n in 0..each {
                    let mut guard = appender.lock().unwrap();
                    guard.append(|buffer| buffer.extend_from_slice(&body(thread << 32 | n, 60)));
                    guard.submit();
                    let upto = guard.head();
                    drop(guard);
                    log.commit(upto, Level::Durable).unwrap();
                    assert!(log.durable() >= upto);
                }
            });
        }
    });
    let flushes = log.stats().flushes;
    assert!(flushes < threads * each / 4, "{flushes} flushes for {} commits", threads * each);
    let mut found: Vec<_> = scan(&log, Lsn(0)).into_iter().map(|(_, body)| body).collect();
    let mut expected: Vec<_> =
        (0..threads).flat_map(|t| (0..each).map(move |n| body(t << 32 | n, 60))).collect();
    found.sort();
    expected.sort();
    assert!(found == expected);
}

#[test]
fn a_failed_flush_is_heard_by_all_who_wait() {
    let disk = FaultyDisk::new();
    disk.set_sync_time(Duration::from_millis(1));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (opened, _) = open(&shared, small(), 1, None).unwrap();
    let (log, appender) = (opened.log, Mutex::new(opened.appender));
    for operation in 60..200 {
        disk.fail_at(operation, Failure::Io);
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let mut guard = appender.lock().unwrap();
                    guard.append(|buffer| buffer.push(1));
                    guard.submit();
                    let upto = guard.head();
                    drop(guard);
                    if log.commit(upto, Level::Durable).is_err() {
                        assert!(log.is_faulted() && log.durable() < upto);
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn readers_see_whole_records_while_the_log_is_written_prepared_and_recycled() {
    let shared: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (opened, _) = open(&shared, small(), 1, None).unwrap();
    let (log, mut appender) = (opened.log, opened.appender);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut from = Lsn(0);
                while !done.load(Ordering::Acquire) {
                    let mut last = None;
                    let next = log.scan(from, &mut |lsn, body| {
                        assert_eq!(u64::from_le_bytes(body[..8].try_into().unwrap()), body.len() as u64);
                        assert!(last.is_none_or(|last| last < lsn));
                        last = Some(lsn);
                        ControlFlow::Continue(())
                    });
                    // Read again by address, unless it was recycled meanwhile.
                    if let Some(lsn) = last {
                        drop(log.read_many(&[lsn], &mut |_, body| {
                            assert_eq!(u64::from_le_bytes(body[..8].try_into().unwrap()), body.len() as u64);
                            ControlFlow::Continue(())
                        }));
                    }
                    from = next.unwrap();
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                log.background_step().unwrap();
                let durable = log.flush_submitted(Level::Durable).unwrap();
                log.drop_segments_below(Lsn(durable.0.saturating_sub(300_000))).unwrap();
            }
        });
        let mut n = 0;
        while log.stats().recycled < 12 || n < 5_000 {
            n += 1;
            assert!(n < 10_000_000, "nobody recycles");
            let len = 8 + (n * 31) % 500;
            appender.append(|buffer| {
                buffer.extend_from_slice(&(len as u64).to_le_bytes());
                buffer.resize(buffer.len() + len - 8, 9);
            });
            if n % 3 == 0 {
                appender.submit();
                log.commit(appender.head(), Level::Written).unwrap();
            }
        }
        done.store(true, Ordering::Release);
    });
}

/// A disk whose first flush of one file fails, but not before somebody else has tried to flush the same file.
#[derive(Debug)]
struct Late {
    disk: FaultyDisk,
    path: &'static str,
    flushes: Arc<(Mutex<u32>, Condvar)>,
}

#[derive(Debug)]
struct LateFile(Arc<dyn DiskFile>, Arc<(Mutex<u32>, Condvar)>);

impl Disk for Late {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, how)?;
        let late = path.starts_with(self.path);
        Ok(if late { Arc::new(LateFile(file, Arc::clone(&self.flushes))) } else { file })
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
        true
    }
}

impl DiskFile for LateFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_at(bytes, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        let (count, changed) = &*self.1;
        let mut flushes = count.lock().unwrap();
        *flushes += 1;
        changed.notify_all();
        match *flushes {
            // The header's, then that of the zeroes.
            1 => self.0.sync_data(),
            2 => {
                // Nobody else comes while this one is under way, unless they may.
                drop(changed.wait_timeout_while(flushes, Duration::from_millis(500), |n| *n < 3).unwrap());
                Err(io::Error::from_raw_os_error(5))
            }
            _ => Ok(()),
        }
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

#[test]
fn a_flush_of_space_ahead_that_fails_is_heard_by_who_flushes_records_meanwhile() {
    let flushes: Arc<(Mutex<u32>, Condvar)> = Arc::default();
    let disk: Arc<dyn Disk> = Arc::new(Late {
        disk: FaultyDisk::new(),
        path: "seg/0000000000000001",
        flushes: Arc::clone(&flushes),
    });
    let (opened, _) = open(&disk, small(), 1, None).unwrap();
    let (log, mut appender) = (opened.log, opened.appender);
    std::thread::scope(|scope| {
        let preparing = scope.spawn(|| {
            loop {
                match log.background_step() {
                    Ok(true) => {}
                    other => return other,
                }
            }
        });
        let (count, changed) = &*flushes;
        let seen = changed.wait_timeout_while(count.lock().unwrap(), Duration::from_secs(60), |n| *n < 2);
        assert!(!seen.unwrap().1.timed_out(), "the next segment is prepared");
        // Into the segment that is being flushed.
        for n in 0..40 {
            appender.append(|buffer| buffer.extend_from_slice(&body(n, 2_000)));
        }
        appender.submit();
        let before = log.durable();
        assert!(log.flush_submitted(Level::Durable).is_err(), "a flush failed");
        assert_eq!(log.durable(), before);
        assert!(preparing.join().unwrap().is_err());
    });
}
