//! What is bounded is refused beyond its bound, and nothing else is.

use std::sync::Arc;

use weir_core::{EntryId, ErrorKind};
use weir_engine::{
    Append, Claim, Engine, Entries, Fsync, GroupReadFrom, GroupStart, Halt, Limits, Nack, NackMode, NewId,
    Options, Producer, ReadGroup, ReadLimits, ReadOutcome,
};
use weir_log::MemoryDisk;

use crate::script::{TestClock, small};
use crate::streams::{NS, add, key};

fn engine(limits: Limits) -> Engine {
    Engine::memory_with(TestClock::new(), Options { limits, ..Options::default() })
}

fn copied_from(engine: &Engine, name: &str) -> weir_engine::KeyCopy {
    engine.flush().unwrap();
    let image = engine.turn().image(key(name)).unwrap().unwrap();
    engine.complete(&image).unwrap()
}

/// Says that a limit was reached, and which.
fn reached<T: std::fmt::Debug>(result: Result<T, Halt>) -> &'static str {
    match result {
        Err(Halt::Error(error)) => match error.kind() {
            ErrorKind::LimitReached(what) => what,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn group(engine: &Engine, name: &str, group: &[u8]) {
    engine.turn().group_create(key(name), group, GroupStart::After(EntryId::MIN), None, true).unwrap();
}

fn read_new(engine: &Engine, names: &[&str], consumer: &[u8], count: u64) -> Result<ReadOutcome, Halt> {
    let read = ReadGroup {
        ns: NS,
        group: b"g".as_slice().into(),
        consumer: consumer.into(),
        streams: names.iter().map(|name| (name.as_bytes().into(), GroupReadFrom::New)).collect(),
        limits: ReadLimits { count: Some(count), ..ReadLimits::default() },
        noack: false,
        claim_idle_min: None,
    };
    engine.turn().read_group(&read)
}

fn ids(entries: &Entries) -> Vec<u64> {
    match entries {
        Entries::Plain(entries) => entries.iter().map(|entry| entry.id.ms).collect(),
        Entries::Claimed(given) => given.iter().map(|delivery| delivery.entry.id.ms).collect(),
        Entries::Given(given) => given.iter().map(|given| given.entry.id.ms).collect(),
    }
}

/// The limit of keys was asked for at every append, to streams that were there as well, and by nothing else.
#[test]
fn the_limit_of_keys_is_about_new_keys() {
    let engine = engine(Limits { keys: 2, ..Limits::default() });
    add(&engine, "a", 1, "x");
    engine.turn().set_text(key("text"), b"x", false, "set").unwrap();
    add(&engine, "a", 2, "x");
    group(&engine, "a", b"g");
    engine.turn().set_text(key("text"), b"y", false, "set").unwrap();

    let fields: [&[u8]; 2] = [b"f", b"v"];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
    assert_eq!(reached(engine.turn().append(key("b"), &request)), "keys");
    let start = GroupStart::After(EntryId::MIN);
    assert_eq!(reached(engine.turn().group_create(key("b"), b"g", start, None, true)), "keys");
    assert_eq!(reached(engine.turn().set_text(key("b"), b"x", false, "set")), "keys");
    let copy = copied_from(&engine, "a");
    assert_eq!(reached(engine.turn().put_copy(key("b"), &copy, None, false, "copy_to")), "keys");
    assert!(engine.turn().put_copy(key("text"), &copy, None, true, "copy_to").unwrap());
    assert_eq!(engine.turn().key_count(NS).unwrap(), 2);
}

/// Only deliveries were counted against the limit; rows made by force were not.
#[test]
fn the_limit_of_pending_entries_holds_for_force_too() {
    let engine = engine(Limits { pending: 2, ..Limits::default() });
    group(&engine, "s", b"g");
    (1..=5).for_each(|ms| {
        add(&engine, "s", ms, "x");
    });
    assert_eq!(ids(&read_new(&engine, &["s"], b"ann", 9).unwrap().streams[0].entries), [1, 2]);
    let full = "pending entries of a group (pending)";
    assert_eq!(reached(read_new(&engine, &["s"], b"ann", 9)), full);

    let at = |ms| EntryId::new(ms, 1);
    let claim = |ids: &[EntryId], consumer: &[u8]| {
        let request = Claim {
            group: b"g",
            consumer,
            idle_min: 0,
            ids,
            time: None,
            deliveries: None,
            force: true,
            just_ids: true,
            last_id: None,
        };
        engine.turn().claim(key("s"), &request)
    };
    assert_eq!(claim(&[at(1), at(2)], b"ann").unwrap().len(), 2);
    assert_eq!(reached(claim(&[at(1), at(3)], b"bob")), full);
    assert_eq!(engine.turn().consumers_info(key("s"), b"g").unwrap().len(), 1, "nothing was changed");
    let nack = |ids: &[EntryId]| {
        let request = Nack { group: b"g", mode: NackMode::Silent, ids, deliveries: None, force: true };
        engine.turn().nack(key("s"), &request)
    };
    assert_eq!(reached(nack(&[at(1), at(3)])), full);
    assert_eq!(nack(&[at(1)]).unwrap(), 1);
}

#[test]
fn a_copy_obeys_the_limits_of_the_engine_it_goes_to() {
    let source = engine(Limits::default());
    group(&source, "s", b"g");
    group(&source, "s", b"h");
    (1..=5).for_each(|ms| {
        add(&source, "s", ms, "x");
    });
    read_new(&source, &["s"], b"ann", 2).unwrap();
    read_new(&source, &["s"], b"bob", 2).unwrap();
    for (producer, iid) in [(b"p", b"1"), (b"p", b"2"), (b"q", b"1")] {
        let producer = Some(Producer { id: producer, iid: Some(iid) });
        let request = Append { id: NewId::Auto, fields: &[b"f", b"x"], create: false, trim: None, producer };
        source.turn().append(key("s"), &request).unwrap();
    }
    let copy = copied_from(&source, "s");
    let refused_by = |limits| {
        let target = engine(limits);
        let refused = reached(target.turn().put_copy(key("t"), &copy, None, false, "restore"));
        assert_eq!(target.turn().key_count(NS).unwrap(), 0);
        refused
    };
    let some = Limits::default();
    assert_eq!(refused_by(Limits { groups: 1, ..some }), "groups of a stream (groups)");
    assert_eq!(refused_by(Limits { consumers: 1, ..some }), "consumers of a group (consumers)");
    assert_eq!(refused_by(Limits { pending: 3, ..some }), "pending entries of a group (pending)");
    assert_eq!(refused_by(Limits { producers: 1, ..some }), "producers of a stream (producers)");
    assert_eq!(refused_by(Limits { copied_entries: 7, ..some }), "entries copied at once (copied_entries)");
    assert_eq!(refused_by(Limits { copied_bytes: 60, ..some }), "bytes copied at once (copied_bytes)");
    let exactly =
        Limits { groups: 2, consumers: 2, pending: 4, copied_entries: 8, producers: 2, keys: 1, ..some };
    assert!(engine(exactly).turn().put_copy(key("t"), &copy, None, false, "restore").unwrap());
}

/// Only entries were counted: a hundred thousand of them may have gigabytes.
#[test]
fn a_copy_is_bounded_in_bytes() {
    let engine = engine(Limits { copied_bytes: 10_000, ..Limits::default() });
    (1..=9).for_each(|ms| {
        add(&engine, "s", ms, &"x".repeat(1_000));
    });
    assert!(copied_from(&engine, "s").into_payload().len() > 9_000);
    add(&engine, "s", 10, &"x".repeat(1_000));
    engine.flush().unwrap();
    let image = engine.turn().image(key("s")).unwrap().unwrap();
    assert_eq!(reached(engine.complete(&image).map_err(Halt::Error)), "bytes copied at once (copied_bytes)");
}

#[test]
fn a_group_has_so_many_consumers_and_no_more() {
    let engine = engine(Limits { consumers: 1, ..Limits::default() });
    group(&engine, "s", b"g");
    add(&engine, "s", 1, "x");
    read_new(&engine, &["s"], b"ann", 1).unwrap();
    read_new(&engine, &["s"], b"ann", 1).unwrap();
    let full = "consumers of a group (consumers)";
    assert_eq!(reached(read_new(&engine, &["s"], b"bob", 1)), full);
    assert_eq!(reached(engine.turn().consumer_create(key("s"), b"g", b"bob")), full);
    assert!(!engine.turn().consumer_create(key("s"), b"g", b"ann").unwrap());
}

/// A read over several streams was answered with an error after the first had been delivered: its entries were pending
/// and nobody had seen them.
#[test]
fn what_was_delivered_before_a_limit_is_told() {
    let engine = engine(Limits { pending: 2, ..Limits::default() });
    for name in ["full", "free"] {
        group(&engine, name, b"g");
        (1..=3).for_each(|ms| {
            add(&engine, name, ms, "x");
        });
    }
    read_new(&engine, &["full"], b"ann", 2).unwrap();
    let outcome = read_new(&engine, &["free", "full"], b"ann", 1).unwrap();
    assert_eq!(outcome.streams.len(), 1);
    assert_eq!((outcome.streams[0].stream, ids(&outcome.streams[0].entries)), (0, vec![1]));
    let full = "pending entries of a group (pending)";
    assert_eq!(reached(read_new(&engine, &["full", "free"], b"ann", 1)), full);
    assert_eq!(engine.turn().pending_summary(key("free"), b"g").unwrap().count, 1, "nothing was changed");
}

/// A full group that has nothing new is no reason to refuse: the read may wait.
#[test]
fn a_full_group_without_news_answers_nothing() {
    let engine = engine(Limits { pending: 1, ..Limits::default() });
    group(&engine, "s", b"g");
    add(&engine, "s", 1, "x");
    read_new(&engine, &["s"], b"ann", 1).unwrap();
    assert_eq!(read_new(&engine, &["s"], b"ann", 1).unwrap().streams.len(), 0);
}

/// Names that no record could hold were taken, and the first one ended the process that was to log it.
#[test]
fn names_have_to_fit_the_log() {
    let with = |name_bytes| {
        let options = Options { limits: Limits { name_bytes, ..Limits::default() }, ..small(Fsync::No) };
        Engine::open(Arc::new(MemoryDisk::new()), TestClock::new(), options)
    };
    let refused = with(32 << 10).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Invalid(_)), "{refused}");
    let most = 15_000;
    let engine = with(most).unwrap();
    let name = "n".repeat(most);
    group(&engine, &name, name.as_bytes());
    let fields: [&[u8]; 2] = [b"f", b"v"];
    let producer = Some(Producer { id: name.as_bytes(), iid: Some(name.as_bytes()) });
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer };
    engine.turn().append(key(&name), &request).unwrap();
    engine.turn().consumer_create(key(&name), name.as_bytes(), name.as_bytes()).unwrap();
    engine.turn().rename(key(&name), &[b'o'; 15_000], true).unwrap();
    engine.turn().set_text(key(&name), &[b'v'; 30_000], false, "set").unwrap();
}
