//! The engine's own threads, and what is flushed when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use weir_core::{ManualClock, Timestamp};
use weir_engine::{Engine, Fsync, Options};
use weir_log::MemoryDisk;
use weir_log::faulty::FaultyDisk;

use crate::script::small;
use crate::streams::add;
use crate::watched::Watched;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp(1_000_000)))
}

/// A gate that can be shut.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
    /// Somebody stands before it.
    waiting: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            self.waiting.store(true, Ordering::SeqCst);
            shut = self.opened.wait(shut).unwrap();
        }
    }

    fn set_shut(&self, is: bool) {
        *self.shut.lock().unwrap() = is;
        self.opened.notify_all();
    }
}

/// Opened by whoever panics, too.
struct Opener(Arc<Gate>);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.set_shut(false);
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if condition() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("it never came to this: {what}");
}

#[test]
fn a_long_snapshot_does_not_hold_up_the_flush_of_each_second() {
    let (disk, gate, clock) = (FaultyDisk::new(), Arc::new(Gate::default()), clock());
    let shut = gate.clone();
    // Whatever may take long stops here.
    let tell = Arc::new(move || {
        if std::thread::current().name() == Some("weir-upkeep") {
            shut.pass();
        }
    });
    let options = Options { background: true, snapshot_log_bytes: 1 << 40, ..small(Fsync::EverySecond) };
    let engine = Engine::open(Arc::new(Watched { disk, tell, skip: None }), clock.clone(), options).unwrap();
    let opener = Opener(gate.clone());
    gate.set_shut(true);
    assert!(engine.request_snapshot());
    until("a snapshot is being written", || gate.waiting.load(Ordering::SeqCst));
    add(&engine, "s", 1, "x");
    engine.flush().unwrap();
    let (written, _) = engine.watermarks();
    clock.advance(Duration::from_secs(2));
    until("what was written is flushed", || engine.watermarks().1 >= written);
    drop(opener);
    until("the snapshot is written", || engine.snapshots_written() == 1);
}

/// However it came about, a flush counts: writers do not flush again right behind it.
#[test]
fn a_late_writer_flushes_once() {
    let clock = clock();
    let engine = Engine::open(Arc::new(FaultyDisk::new()), clock.clone(), small(Fsync::EverySecond)).unwrap();
    let append = |n: u64| {
        add(&engine, "s", n, "x");
        let head = engine.turn().head();
        engine.commit(head).unwrap();
        engine.log_stats().flushes
    };
    let before = append(1);
    assert_eq!(append(2), before, "nothing is late yet");
    clock.advance(Duration::from_secs(3));
    assert_eq!(append(3), before + 1, "what was written three seconds ago is");
    assert_eq!(append(4), before + 1, "it was flushed just now");
    clock.advance(Duration::from_secs(3));
    assert_eq!(append(5), before + 2);
    // Everything is durable, so nothing is late, however long ago that was.
    engine.sync().unwrap();
    clock.advance(Duration::from_secs(60));
    let flushes = engine.log_stats().flushes;
    assert_eq!(append(6), flushes);
}

#[test]
fn a_folder_is_free_when_the_engine_was_dropped() {
    let disk = MemoryDisk::new();
    let open =
        || Engine::open(Arc::new(disk.clone()), clock(), Options { background: true, ..small(Fsync::No) });
    for round in 0..20 {
        let engine = open().unwrap_or_else(|error| panic!("round {round}: {error}"));
        for n in 1..=100 {
            add(&engine, &format!("{round} {n}"), n, "x");
        }
        engine.sync().unwrap();
        // Whatever the threads are at.
        assert!(engine.request_snapshot());
        let clone = engine.clone();
        drop(engine);
        assert!(open().is_err(), "a clone is left");
        drop(clone);
    }
}
