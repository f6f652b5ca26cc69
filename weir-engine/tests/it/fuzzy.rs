//! Changes of every kind at every moment of a snapshot: before the walk comes by, between two slices, behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use weir_core::{EntryId, Timestamp};
use weir_engine::{Engine, ExpireWhen, Fsync, GroupStart, KeyRef, NamespaceNo, References, Trim, TrimBound};
use weir_log::MemoryDisk;

use crate::power_cuts::Case;
use crate::script::{BEGIN, TestClock, small};
use crate::streams::{add, key};

/// Five slices of sixteen keys each.
const KEYS: usize = 80;

fn name(nth: usize) -> String {
    format!("key-{nth:02}")
}

fn ns(no: u32) -> NamespaceNo {
    NamespaceNo(no)
}

/// A change; the number says to which of the keys, where it is about one.
type Change = fn(&Engine, usize);

const CHANGES: &[(&str, Change)] = &[
    ("append", |engine, n| {
        add(engine, &name(n), 100, "more");
    }),
    ("delete and make again", |engine, n| {
        engine.turn().remove_key(key(&name(n))).unwrap();
        add(engine, &name(n), 1, "new");
    }),
    ("delete and make others", |engine, n| {
        // The freed slot goes to a key that the walk has passed, or has yet to come to.
        engine.turn().remove_key(key(&name(n))).unwrap();
        engine.turn().remove_key(key(&name((n + 40) % KEYS))).unwrap();
        add(engine, "other", 1, "new");
        engine.turn().set_text(key("third"), b"text", false, "set").unwrap();
    }),
    ("make and delete", |engine, _| {
        add(engine, "short", 1, "x");
        engine.turn().remove_key(key("short")).unwrap();
    }),
    ("text, text, gone", |engine, _| {
        engine.turn().set_text(key("text"), b"one", false, "set").unwrap();
        engine.turn().set_text(key("text"), b"two", false, "set").unwrap();
        engine.turn().remove_key(key("text")).unwrap();
    }),
    ("a text that was there changes and goes", |engine, _| {
        engine.turn().set_text(key("old text"), b"two", false, "set").unwrap();
        engine.turn().remove_key(key("old text")).unwrap();
    }),
    ("a text becomes a stream", |engine, _| {
        engine.turn().remove_key(key("old text")).unwrap();
        add(engine, "old text", 1, "x");
    }),
    ("a stream becomes a text", |engine, n| {
        engine.turn().set_text(key(&name(n)), b"text", false, "set").unwrap();
    }),
    ("flush", |engine, _| {
        engine.turn().flush_namespace(ns(0)).unwrap();
    }),
    ("flush and make again", |engine, n| {
        engine.turn().flush_namespace(ns(0)).unwrap();
        (0..KEYS).for_each(|nth| {
            add(engine, &name((nth + n) % KEYS), 1, "new");
        });
    }),
    ("move away, flush, move back", |engine, n| {
        let (name, other) = (name(n), ns(3));
        assert!(engine.turn().move_key(key(&name), other).unwrap());
        engine.turn().flush_namespace(ns(0)).unwrap();
        assert!(engine.turn().move_key(KeyRef { ns: other, name: name.as_bytes() }, ns(0)).unwrap());
        add(engine, &name, 100, "again");
    }),
    ("move, then flush where it went", |engine, n| {
        assert!(engine.turn().move_key(key(&name(n)), ns(3)).unwrap());
        engine.turn().flush_namespace(ns(3)).unwrap();
    }),
    ("names change places", |engine, n| {
        let (a, b) = (name(n), name((n + 40) % KEYS));
        engine.turn().rename(key(&a), b"between", false).unwrap();
        engine.turn().rename(key(&b), a.as_bytes(), false).unwrap();
        engine.turn().rename(key("between"), b.as_bytes(), false).unwrap();
    }),
    ("rename over another", |engine, n| {
        engine.turn().rename(key(&name(n)), name((n + 40) % KEYS).as_bytes(), true).unwrap();
    }),
    ("swap", |engine, n| {
        engine.turn().swap_namespaces(ns(0), ns(1)).unwrap();
        add(engine, &name(n), 100, "on the other side");
    }),
    ("swap twice", |engine, _| {
        engine.turn().swap_namespaces(ns(0), ns(1)).unwrap();
        engine.turn().swap_namespaces(ns(1), ns(2)).unwrap();
    }),
    ("swap and flush", |engine, _| {
        engine.turn().swap_namespaces(ns(0), ns(1)).unwrap();
        add(engine, "new here", 1, "x");
        engine.turn().flush_namespace(ns(1)).unwrap();
    }),
    ("expiry", |engine, n| {
        let at = Timestamp(BEGIN + 1_000_000);
        engine.turn().expire_at(key(&name(n)), at, ExpireWhen::default()).unwrap();
        engine.turn().expire_at(key(&name((n + 1) % KEYS)), Timestamp(BEGIN), ExpireWhen::default()).unwrap();
        engine.turn().persist(key(&name((n + 2) % KEYS))).unwrap();
    }),
    ("trim, and a group", |engine, n| {
        let trim =
            Trim { bound: TrimBound::MaxLen(1), approximate: false, limit: 0, references: References::Keep };
        engine.turn().trim(key(&name(n)), &trim).unwrap();
        let start = GroupStart::After(EntryId::MIN);
        engine.turn().group_create(key(&name(n)), b"late", start, None, true).unwrap();
        engine.turn().group_destroy(key(&name(n)), b"g").unwrap();
    }),
    ("all together", |engine, n| {
        let mut turn = engine.turn();
        turn.begin();
        turn.remove_key(key(&name(n))).unwrap();
        turn.rename(key(&name((n + 40) % KEYS)), name(n).as_bytes(), true).unwrap();
        turn.set_text(key(&name((n + 40) % KEYS)), b"text", false, "set").unwrap();
        turn.end();
    }),
];

fn fill(engine: &Engine) {
    for nth in 0..KEYS {
        (1..=3).for_each(|ms| {
            add(engine, &name(nth), ms, "x");
        });
        let start = GroupStart::After(EntryId::MIN);
        engine.turn().group_create(key(&name(nth)), b"g", start, None, true).unwrap();
    }
    engine.turn().set_text(key("old text"), b"one", false, "set").unwrap();
    let other = KeyRef { ns: ns(1), name: b"in the other" };
    engine.turn().set_text(other, b"x", false, "set").unwrap();
    // A snapshot before, so that records of earlier times are not replayed.
    engine.snapshot().unwrap();
    add(engine, "last", 1, "x");
}

/// Writes a snapshot and lets the change happen at the `at`-th moment; `false` when there are fewer moments.
fn snapshot_with(
    engine: &Engine,
    clock: &TestClock,
    at: usize,
    change: impl Fn(&Engine) + Send + Sync + 'static,
) -> bool {
    let (other, busy) = (engine.clone(), AtomicBool::new(false));
    let moments = Arc::new(AtomicUsize::new(0));
    let seen = moments.clone();
    clock.slice(200);
    *clock.on_look.lock().unwrap() = Some(Arc::new(move || {
        if !busy.swap(true, Ordering::SeqCst) {
            if seen.fetch_add(1, Ordering::SeqCst) == at {
                change(&other);
            }
            busy.store(false, Ordering::SeqCst);
        }
    }));
    engine.snapshot().unwrap();
    *clock.on_look.lock().unwrap() = None;
    clock.slice(0);
    moments.load(Ordering::SeqCst) > at
}

#[test]
fn every_change_at_every_moment_of_a_snapshot() {
    let mut cases = 0;
    for (what, change) in CHANGES {
        // A key of the first slice, one in the middle, one of the last.
        for n in [3, 35, 77] {
            for at in 0.. {
                let case = Case(format!("{what}, key {n}, moment {at}"));
                let (disk, clock) = (MemoryDisk::new(), TestClock::new());
                let open = || Engine::open(Arc::new(disk.clone()), clock.clone(), small(Fsync::No)).unwrap();
                let engine = open();
                fill(&engine);
                if !snapshot_with(&engine, &clock, at, move |engine| change(engine, n)) {
                    assert!(at > 5, "the snapshot went in slices");
                    drop(case);
                    break;
                }
                engine.sync().unwrap();
                let before = engine.dump().unwrap();
                drop(engine);
                let engine = open();
                let after = engine.dump().unwrap();
                assert!(after == before, "{}", crate::power_cuts::lines_apart(&after, &before));
                assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
                cases += 1;
                drop(case);
            }
        }
    }
    eprintln!("{cases} changes inside snapshots");
}
