//! Bugs that were found once, each with its story.

use std::sync::Arc;

use weir_core::{Clock, EntryId, ErrorKind, Timestamp};
use weir_engine::{
    Append, Appended, Cold, Digests, Engine, ExpireWhen, Fsync, GroupReadFrom, GroupStart, Halt, NamespaceNo,
    NewId, NodeLimits, Options, Producer, Range, ReadGroup, ReadLimits, References, SetId, Trim, TrimBound,
};
use weir_log::{Disk, MemoryDisk};

use crate::script::{BEGIN, TestClock, small};
use crate::streams::{NS, add, key, values};

fn open_with(disk: &MemoryDisk, options: Options) -> Engine {
    Engine::open(Arc::new(disk.clone()), TestClock::new(), options).unwrap()
}

fn open(disk: &MemoryDisk) -> Engine {
    open_with(disk, small(Fsync::No))
}

/// Opens the folder again: the same state, and nothing wrong with it.
fn reopened(disk: &MemoryDisk, engine: Engine) -> Engine {
    engine.sync().unwrap();
    let before = engine.dump().unwrap();
    drop(engine);
    let engine = open(disk);
    assert_eq!(engine.dump().unwrap(), before);
    assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
    engine
}

fn snapshots(disk: &MemoryDisk) -> usize {
    disk.list("snap").unwrap().iter().filter(|name| name.ends_with(".snap")).count()
}

/// Snapshots are named by the log address they begin at. Where the log stood still the new one took the place of the
/// old one, but the list had both: the next cleaning removed the file under the newest snapshot's feet.
#[test]
fn snapshots_of_an_idle_engine_do_not_remove_each_other() {
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    add(&engine, "a", 1, "x");
    for _ in 0..5 {
        engine.snapshot().unwrap();
        assert_eq!(snapshots(&disk), 1);
    }
    add(&engine, "a", 2, "x");
    for _ in 0..5 {
        engine.snapshot().unwrap();
        assert_eq!(snapshots(&disk), 2);
    }
    reopened(&disk, engine).close().unwrap();
}

/// A snapshot's footer said that it knew everything up to and with the head, and the head is where the next record
/// begins: swapping two databases right after a snapshot was forgotten at the next start.
#[test]
fn a_swap_right_behind_a_snapshot_is_not_forgotten() {
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    add(&engine, "a", 1, "x");
    engine.snapshot().unwrap();
    engine.turn().swap_namespaces(NamespaceNo(0), NamespaceNo(1)).unwrap();
    let engine = reopened(&disk, engine);
    assert_eq!(values(&engine, "a"), []);
    assert_eq!(engine.turn().key_count(NamespaceNo(1)).unwrap(), 1);
}

/// A snapshot gave the rows of a group to the group with the highest number, whatever it was: groups come in the
/// order of their names.
#[test]
fn a_snapshot_keeps_the_rows_of_groups_apart() {
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    for group in [b"zebra", b"horse", b"ounce"] {
        engine.turn().group_create(key("s"), group, GroupStart::After(EntryId::MIN), None, true).unwrap();
    }
    (1..=20).for_each(|n| {
        add(&engine, "s", n, "x");
    });
    for (group, count) in [(b"zebra", 3), (b"horse", 5), (b"ounce", 7)] {
        deliver(&engine, group, count);
    }
    engine.snapshot().unwrap();
    reopened(&disk, engine);
}

fn deliver(engine: &Engine, group: &[u8], count: u64) {
    let read = ReadGroup {
        ns: NS,
        group: group.into(),
        consumer: b"ann".as_slice().into(),
        streams: vec![(b"s".as_slice().into(), GroupReadFrom::New)],
        limits: ReadLimits { count: Some(count), ..ReadLimits::default() },
        noack: false,
        claim_idle_min: None,
    };
    engine.ask(|turn| turn.read_group(&read)).unwrap();
}

/// All of a key went into one frame of the snapshot, and no reader takes a frame of more than a few megabytes: an
/// engine with one large key could not write a snapshot at all.
#[test]
fn a_snapshot_takes_a_key_of_any_size() {
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    engine.turn().group_create(key("s"), b"g", GroupStart::After(EntryId::MIN), None, true).unwrap();
    const ROWS: u64 = 60_000;
    for n in 1..=ROWS {
        // IDs that do not compress: about forty bytes a row.
        add(&engine, "s", n << 45, "x");
        if n % 500 == 0 {
            deliver(&engine, b"g", 500);
        }
    }
    engine.snapshot().unwrap();
    let name = disk.list("snap").unwrap().pop().unwrap();
    let length = disk.open(&format!("snap/{name}"), weir_log::Open::Read).unwrap().len().unwrap();
    assert!(length > 1 << 20, "{length}");
    let engine = reopened(&disk, engine);
    assert_eq!(engine.turn().pending_summary(key("s"), b"g").unwrap().count, ROWS);
}

/// `XSETID` may set the last ID below deleted entries at the end of a stream. The next entry then went into a block
/// whose IDs only grow, and the block could not be read any more.
#[test]
fn ids_may_go_back_below_deleted_entries() {
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    engine.turn().group_create(key("s"), b"g", GroupStart::After(EntryId::MIN), None, true).unwrap();
    (1..=20).for_each(|n| {
        add(&engine, "s", n, "x");
    });
    deliver(&engine, b"g", 20);
    let acked: Vec<EntryId> = (6..=20).map(|n| EntryId::new(n, 1)).collect();
    engine.turn().ack(key("s"), b"g", &acked).unwrap();
    let trim =
        Trim { bound: TrimBound::MaxLen(0), approximate: false, limit: 0, references: References::Acked };
    assert_eq!(engine.turn().trim(key("s"), &trim).unwrap(), 15);
    let set = SetId { last_id: EntryId::new(7, 0), entries_added: None, max_deleted: None };
    engine.turn().set_id(key("s"), &set).unwrap();
    add(&engine, "s", 8, "again");
    assert_eq!(values(&engine, "s").last().unwrap(), &(EntryId::new(8, 1), "again".into()));
    let engine = reopened(&disk, engine);
    for n in 9..300 {
        add(&engine, "s", n, "more");
    }
    assert_eq!(values(&engine, "s").len(), 5 + 1 + 291);
    engine.snapshot().unwrap();
    reopened(&disk, engine);
}

/// Deleting very many entries at once was one record, and a record that fits no segment ends the process.
#[test]
fn a_removal_of_any_size_is_written() {
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    engine.turn().group_create(key("s"), b"g", GroupStart::After(EntryId::MIN), None, true).unwrap();
    let ids: Vec<EntryId> = (1..=30_000).map(|n| add(&engine, "s", n << 40, "x")).collect();
    for _ in 0..60 {
        deliver(&engine, b"g", 500);
    }
    let doomed: Vec<EntryId> = ids.iter().copied().filter(|id| (id.ms >> 40) % 10 != 3).collect();
    engine.ask(|turn| turn.delete_with(key("s"), &doomed, References::Delete)).unwrap();
    assert_eq!(values(&engine, "s").len(), 3_000);
    let engine = reopened(&disk, engine);
    assert_eq!(engine.turn().pending_summary(key("s"), b"g").unwrap().count, 3_000);
}

/// A producer's ID of any length went into the record beside the entry, which alone was measured.
#[test]
fn a_producers_ids_are_bounded() {
    let engine = Engine::memory_with(TestClock::new(), small(Fsync::No));
    let long = vec![b'x'; 70_000];
    let fields: [&[u8]; 2] = [b"f", b"v"];
    for producer in [Producer { id: &long, iid: Some(b"1") }, Producer { id: b"p", iid: Some(&long) }] {
        let id = NewId::Auto;
        let request = Append { id, fields: &fields, create: true, trim: None, producer: Some(producer) };
        let Err(Halt::Error(error)) = engine.turn().append(key("s"), &request) else { panic!("accepted") };
        assert!(matches!(error.kind(), ErrorKind::LimitReached(_)), "{error}");
    }
}

/// A key whose time had come was removed by whoever looked at it, also where nothing could be written any more.
/// What stands under its name now must not be doubled when there is room again.
#[test]
fn an_expired_key_on_a_full_disk_leaves_its_name_free() {
    let disk = MemoryDisk::new();
    let clock = TestClock::new();
    let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), small(Fsync::No)).unwrap();
    // Only a disk with a limit is asked for space ahead.
    drop(engine);
    disk.set_quota(Some(1 << 30));
    let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), small(Fsync::No)).unwrap();
    add(&engine, "a", 1, "old");
    let at = weir_core::Timestamp(BEGIN + 10);
    engine.turn().expire_at(key("a"), at, weir_engine::ExpireWhen::default()).unwrap();
    disk.set_quota(Some(1));
    let full = loop {
        let fields: [&[u8]; 2] = [b"f", &[7; 200]];
        let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
        match engine.ask(|turn| turn.append(key("filler"), &request)) {
            Ok(Appended::Added { .. }) => engine.flush().unwrap(),
            Err(error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(*full.kind(), ErrorKind::DiskFull);
    // Deletes go on in the reserve, until that is used up too.
    loop {
        let answer = engine.turn().set_text(key("t"), b"x", false, "set");
        assert!(answer.is_err());
        let gone = engine.turn().delete(key("filler"), &[EntryId::new(1, 1)]);
        assert_eq!(gone.unwrap_or(0), 0);
        let expire = weir_engine::ExpireWhen::default();
        if engine.turn().expire_at(key("a"), at, expire).is_err() {
            break;
        }
        engine.flush().unwrap();
    }
    let before = engine.watermarks().0;
    clock.set(BEGIN + 20);
    assert_eq!(engine.turn().len(key("a")).unwrap(), 0);
    engine.flush().unwrap();
    assert_eq!(engine.watermarks().0, before, "nothing was written");
    disk.set_quota(None);
    engine.make_room();
    add(&engine, "a", 2, "new");
    assert_eq!(values(&engine, "a"), [(EntryId::new(2, 1), "new".into())]);
    let digest = Digests::default().of(&engine).unwrap();
    engine.sync().unwrap();
    drop(engine);
    let engine = Engine::open(Arc::new(disk), clock, small(Fsync::No)).unwrap();
    assert_eq!(Digests::default().of(&engine).unwrap(), digest);
    assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
}

/// Whoever sleeps until something happens asks when the next key expires: nobody heard of it before a command came by.
#[test]
fn the_next_expiry_is_told_beforehand() {
    let clock = TestClock::new();
    let engine = Engine::memory_with(clock.clone(), small(Fsync::No));
    assert_eq!(engine.turn().next_expiry(), None);
    for (name, ms) in [("a", 30), ("b", 10), ("c", 20)] {
        add(&engine, name, 1, "x");
        let at = weir_core::Timestamp(BEGIN + ms);
        engine.turn().expire_at(key(name), at, weir_engine::ExpireWhen::default()).unwrap();
    }
    engine.turn().record_events(true);
    let mut told = Vec::new();
    let next = || engine.turn().next_expiry();
    while let Some(at) = next() {
        clock.set(at.0 - 1);
        let mut turn = engine.turn();
        turn.expire_due();
        assert_eq!(turn.take_events().len(), 0, "not before its time");
        drop(turn);
        clock.set(at.0);
        let mut turn = engine.turn();
        turn.expire_due();
        told.extend(turn.take_events().iter().map(|told| (told.event, told.key.to_vec())));
    }
    assert_eq!(told, [("expired", b"b".to_vec()), ("expired", b"c".to_vec()), ("expired", b"a".to_vec())]);
    assert_eq!(clock.now(), weir_core::Timestamp(BEGIN + 30));
}

/// Reclaiming trusted memory: with a trim that no power cut would have kept, it gave back the records of entries
/// that were there again afterwards.
#[test]
fn nothing_is_reclaimed_before_what_made_it_dead_is_on_disk() {
    let disk = weir_log::faulty::FaultyDisk::new();
    let clock = TestClock::new();
    let open = |disk: Arc<dyn Disk>| Engine::open(disk, clock.clone(), small(Fsync::No)).unwrap();
    let engine = open(Arc::new(disk.clone()));
    (1..=3_000).for_each(|n| {
        add(&engine, "s", n, "some value of some length");
    });
    engine.snapshot().unwrap();
    add(&engine, "other", 1, "x");
    let trim_to = |most| {
        let bound = TrimBound::MaxLen(most);
        let trim = Trim { bound, approximate: false, limit: 0, references: References::Keep };
        engine.ask(|turn| turn.trim(key("s"), &trim)).unwrap();
    };
    // Enough for the segments to be looked at, which the snapshot brings to disk.
    trim_to(1_000);
    engine.snapshot().unwrap();
    // The rest goes without.
    trim_to(0);
    for n in 1..30 {
        while engine.background_step().unwrap() {}
        clock.set(BEGIN + n * 11_000);
    }
    assert!(engine.log_stats().segments < 4, "segments were given back");
    let engine = open(Arc::new(disk.after_crash(weir_log::faulty::Keep::Nothing)));
    assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
}

/// Closing freed the folder, and whoever still had a clone went on writing into it beside its new owner.
#[test]
fn a_closed_engine_writes_nothing_any_more() {
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    add(&engine, "a", 1, "x");
    let clone = engine.clone();
    engine.close().unwrap();
    let fields: [&[u8]; 2] = [b"f", b"v"];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
    let Err(Halt::Error(error)) = clone.turn().append(key("a"), &request) else { panic!("accepted") };
    assert_eq!(*error.kind(), ErrorKind::Closed);
    let successor = open(&disk);
    add(&successor, "a", 2, "x");
    successor.sync().unwrap();
    assert_eq!(*clone.snapshot().unwrap_err().kind(), ErrorKind::Closed);
    assert!(clone.background_step().is_err());
    assert_eq!(values(&successor, "a").len(), 2);
    reopened(&disk, successor);
}

/// A node with several blocks counted only the deletions in its first one. A copy of such a stream carried a node with
/// more entries than the stream had: live nobody minded, the next start refused the record.
#[test]
fn a_copy_of_a_stream_with_large_nodes_opens_again() {
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    engine.turn().set_node_limits(NodeLimits { entries_max: 1_000, bytes_max: 0 });
    (1..=300).for_each(|n| {
        add(&engine, "s", n, "x");
    });
    assert_eq!(delete(&engine, &[200, 299]), 2);
    copy(&engine, "s", "t");
    assert_eq!(engine.turn().stream_info(key("t")).unwrap().nodes, 1);
    let engine = reopened(&disk, engine);
    assert_eq!(engine.turn().len(key("t")).unwrap(), 298);
    engine.snapshot().unwrap();
    reopened(&disk, engine);
}

/// What is left of a node that lost its first block is one still, and the next entry goes into it.
#[test]
fn a_large_node_may_lose_blocks_in_any_order() {
    #[expect(clippy::single_range_in_vec_init, reason = "ranges of entries, not the numbers in them")]
    for gone in [vec![1..129], vec![129..257], vec![1..129, 129..257], vec![257..301, 1..129]] {
        let disk = MemoryDisk::new();
        let engine = open(&disk);
        engine.turn().set_node_limits(NodeLimits { entries_max: 1_000, bytes_max: 0 });
        (1..=300).for_each(|n| {
            add(&engine, "s", n, "x");
        });
        for run in gone {
            let count = run.clone().count() as u64;
            assert_eq!(delete(&engine, &run.collect::<Vec<u64>>()), count);
        }
        add(&engine, "s", 400, "x");
        assert_eq!(engine.turn().stream_info(key("s")).unwrap().nodes, 1);
        copy(&engine, "s", "t");
        let engine = reopened(&disk, engine);
        engine.snapshot().unwrap();
        reopened(&disk, engine);
    }
}

fn delete(engine: &Engine, ids: &[u64]) -> u64 {
    let ids: Vec<EntryId> = ids.iter().map(|ms| EntryId::new(*ms, 1)).collect();
    engine.ask(|turn| turn.delete(key("s"), &ids)).unwrap()
}

fn copy(engine: &Engine, from: &str, to: &str) {
    let image = engine.ask(|turn| turn.image(key(from))).unwrap().unwrap();
    let copy = engine.complete(&image).unwrap();
    assert!(engine.ask(|turn| turn.put_copy(key(to), &copy, None, false, "copy_to")).unwrap());
}

/// Whether a watched key had expired was known only once somebody had removed it. Where more keys were due than are
/// removed at once, a transaction went on though the key it watched was gone.
#[test]
fn a_watched_key_that_expires_has_changed() {
    let clock = TestClock::new();
    let engine = Engine::memory_with(clock.clone(), Options::default());
    for name in ["due", "early", "later"] {
        add(&engine, name, 1, "x");
    }
    let expire = |name: &str, at: u64| {
        engine.turn().expire_at(key(name), Timestamp(BEGIN + at), ExpireWhen::default()).unwrap();
    };
    expire("due", 1_000);
    expire("early", 10);
    expire("later", 9_000);
    clock.set(BEGIN + 500);
    let watches = ["due", "early", "later", "missing"].map(|name| engine.turn().watch(key(name)));
    let dirty = || watches.map(|watch| engine.turn().is_dirty(watch));
    assert_eq!(dirty(), [false; 4], "what had expired before was missing when it was watched");
    clock.set(BEGIN + 1_000);
    assert_eq!(dirty(), [true, false, false, false]);
}

/// Ending what was not begun took a counter below zero, and what one turn wanted read under the lock the next ones got
/// so too.
#[test]
fn what_a_turn_begins_ends_with_it() {
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    engine.turn().end();
    (1..=20_000).for_each(|n| {
        add(&engine, "s", n, "x");
    });
    let engine = reopened(&disk, engine);
    let first = Range { start: EntryId::MIN, end: EntryId::MAX, count: Some(5), reverse: false };
    let is_cold = || matches!(engine.turn().range(key("s"), &first), Err(Halt::Cold(Cold::Index(_))));
    assert!(is_cold());
    engine.turn().read_on_the_spot(true);
    assert!(is_cold());
    let mut turn = engine.turn();
    turn.read_on_the_spot(true);
    turn.begin();
    turn.end();
    assert_eq!(turn.range(key("s"), &first).unwrap().unwrap().len(), 5);
}

/// Where entries are appended all the time, the last one is never written when a copy looks: it was asked again for
/// ever. A transaction may copy whatever came before it, written or not.
#[test]
fn a_stream_that_grows_can_be_copied() {
    let disk = MemoryDisk::new();
    let engine = open(&disk);
    add(&engine, "s", 1, "x");
    let image = engine.turn().image(key("s")).unwrap().unwrap();
    let copy = engine.complete(&image).unwrap();
    engine.turn().put_copy(key("t"), &copy, None, false, "copy_to").unwrap();
    let mut turn = engine.turn();
    let fields: [&[u8]; 2] = [b"f", b"v"];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
    turn.append(key("s"), &request).unwrap();
    turn.begin();
    let image = turn.image(key("s")).unwrap().unwrap();
    let copy = engine.complete(&image).unwrap();
    turn.put_copy(key("u"), &copy, None, false, "copy_to").unwrap();
    turn.append(key("s"), &request).unwrap();
    assert!(matches!(turn.image(key("s")), Err(Halt::Error(_))), "what it appends itself it cannot copy");
    turn.end();
    drop(turn);
    let lens = ["s", "t", "u"].map(|name| engine.turn().len(key(name)).unwrap());
    assert_eq!(lens, [3, 1, 2]);
}
