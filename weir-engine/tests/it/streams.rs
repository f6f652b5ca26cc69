//! What streams and groups do, on the disk in memory.

use weir_core::EntryId;
use weir_engine::{
    Append, Appended, Engine, Entries, GroupReadFrom, GroupStart, KeyRef, NamespaceNo, NewId, Range,
    ReadGroup, ReadLimits, References, Trim, TrimBound,
};

pub(crate) const NS: NamespaceNo = NamespaceNo(0);

pub(crate) fn key(name: &str) -> KeyRef<'_> {
    KeyRef { ns: NS, name: name.as_bytes() }
}

pub(crate) fn add(engine: &Engine, name: &str, ms: u64, value: &str) -> EntryId {
    let fields: [&[u8]; 2] = [b"f", value.as_bytes()];
    let id = NewId::Exact(EntryId::new(ms, 1));
    let request = Append { id, fields: &fields, create: true, trim: None, producer: None };
    match engine.turn().append(key(name), &request).expect("appends are accepted") {
        Appended::Added { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn values(engine: &Engine, name: &str) -> Vec<(EntryId, String)> {
    let all = Range { start: EntryId::MIN, end: EntryId::MAX, count: None, reverse: false };
    let refs = engine.ask(|turn| turn.range(key(name), &all)).expect("it can be read").unwrap_or_default();
    engine.flush().expect("memory has no faults");
    let mut found = Vec::new();
    engine
        .fetch(&refs, &mut |nth, fields| {
            let mut strings = Vec::new();
            fields.for_each(|bytes| strings.push(String::from_utf8_lossy(bytes).into_owned()));
            found.push((refs[nth].id, strings.pop().expect("an entry has a value")));
        })
        .expect("the entries are in the log");
    found
}

#[test]
fn entries_come_back_in_order() {
    let engine = Engine::memory();
    for n in 1..=1_000 {
        add(&engine, "s", n, &format!("v{n}"));
    }
    let found = values(&engine, "s");
    assert_eq!(found.len(), 1_000);
    assert_eq!(found[0], (EntryId::new(1, 1), "v1".into()));
    assert_eq!(found[999], (EntryId::new(1_000, 1), "v1000".into()));
}

#[test]
fn an_approximate_trim_drops_whole_nodes() {
    let engine = Engine::memory();
    for n in 1..=350 {
        add(&engine, "s", n, "x");
    }
    let trim = |bound, approximate, limit, references| Trim { bound, approximate, limit, references };
    let keep = References::Keep;
    let about = trim(TrimBound::MaxLen(120), true, 10_000, keep);
    assert_eq!(engine.turn().trim(key("s"), &about).unwrap(), 200);
    assert_eq!(values(&engine, "s")[0].0, EntryId::new(201, 1));
    let exact = trim(TrimBound::MinId(EntryId::new(220, 0)), false, 0, keep);
    assert_eq!(engine.turn().trim(key("s"), &exact).unwrap(), 19);
    assert_eq!(values(&engine, "s").len(), 131);
    let all = trim(TrimBound::MaxLen(0), false, 0, keep);
    assert_eq!(engine.turn().trim(key("s"), &all).unwrap(), 131);
    assert_eq!(values(&engine, "s"), []);
    assert_eq!(add(&engine, "s", 400, "y"), EntryId::new(400, 1));
    assert_eq!(values(&engine, "s").len(), 1);
}

#[test]
fn a_group_hands_each_entry_to_one_consumer() {
    let engine = Engine::memory();
    engine.turn().group_create(key("s"), b"g", GroupStart::After(EntryId::MIN), None, true).unwrap();
    for n in 1..=10 {
        add(&engine, "s", n, "x");
    }
    let read = |consumer: &str| ReadGroup {
        ns: NS,
        group: b"g".as_slice().into(),
        consumer: consumer.as_bytes().into(),
        streams: vec![(b"s".as_slice().into(), GroupReadFrom::New)],
        limits: ReadLimits { count: Some(6), ..ReadLimits::default() },
        noack: false,
        claim_idle_min: None,
    };
    let ids = |consumer: &str| -> Vec<u64> {
        let outcome = engine.turn().read_group(&read(consumer)).unwrap();
        outcome
            .streams
            .iter()
            .flat_map(|stream| match &stream.entries {
                Entries::Plain(refs) => refs.iter().map(|entry| entry.id.ms).collect::<Vec<_>>(),
                Entries::Claimed(_) | Entries::Given(_) => Vec::new(),
            })
            .collect()
    };
    assert_eq!(ids("ann"), [1, 2, 3, 4, 5, 6]);
    assert_eq!(ids("bob"), [7, 8, 9, 10]);
    assert_eq!(ids("ann"), []);
    let acked = engine.turn().ack(key("s"), b"g", &[EntryId::new(2, 1), EntryId::new(2, 1)]).unwrap();
    assert_eq!(acked, 1);
    let summary = engine.turn().pending_summary(key("s"), b"g").unwrap();
    assert_eq!(summary.count, 9);
    assert_eq!(summary.consumers, [(b"ann".as_slice().into(), 5), (b"bob".as_slice().into(), 4)]);
}

/// A read of more blocks than the cache holds went for the same block again and again: each one fetched was thrown out
/// at once, since all others were in use.
#[test]
fn a_read_of_more_blocks_than_the_cache_holds_ends() {
    let disk = std::sync::Arc::new(weir_log::MemoryDisk::new());
    let options = weir_engine::Options { block_cache_bytes: 1_000, background: false, ..Default::default() };
    let open = || {
        let clock = crate::script::TestClock::new();
        Engine::open(disk.clone(), clock, options.clone()).unwrap()
    };
    let engine = open();
    for n in 1..=2_000 {
        add(&engine, "s", n, "x");
    }
    engine.close().unwrap();
    assert_eq!(values(&open(), "s").len(), 2_000);
}
