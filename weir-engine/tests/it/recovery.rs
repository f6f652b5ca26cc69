//! What an engine knows after it was opened again.

use std::sync::Arc;

use weir_core::SystemClock;
use weir_engine::{Engine, Options};
use weir_log::{LogOptions, MemoryDisk};

use crate::streams::{add, key, values};

fn options() -> Options {
    Options {
        background: false,
        log: LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() },
        ..Options::default()
    }
}

fn open(disk: &MemoryDisk) -> Engine {
    Engine::open(Arc::new(disk.clone()), Arc::new(SystemClock::new()), options()).expect("the folder opens")
}

#[test]
fn everything_is_there_again_with_and_without_a_snapshot() {
    for with_snapshot in [false, true] {
        let disk = MemoryDisk::new();
        let engine = open(&disk);
        for n in 1..=2_000 {
            add(&engine, "a", n, "x");
            add(&engine, "b", n, "y");
        }
        engine.turn().rename(key("b"), b"c", false).unwrap();
        if with_snapshot {
            engine.snapshot().unwrap();
        }
        add(&engine, "a", 3_000, "last");
        engine.sync().unwrap();
        let before = (values(&engine, "a"), values(&engine, "c"));
        drop(engine);
        let engine = open(&disk);
        assert_eq!((values(&engine, "a"), values(&engine, "c")), before);
        assert_eq!(values(&engine, "b"), []);
        add(&engine, "a", 3_001, "more");
        assert_eq!(values(&engine, "a").len(), 2_002);
    }
}
