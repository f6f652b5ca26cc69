//! The verbs of streams, each also behind a restart.

use std::sync::Arc;
use std::time::Duration;

use weir_core::{
    AppendOptions, BatchOptions, Clock, Entry, EntryId, ErrorKind, Expected, Head, ListStreams, ManualClock,
    NewEntry, Producer, ReadFrom, ReadOptions, Timestamp, TrimTo,
};
use weir_engine::{Append, Engine, Fsync, KeyRef, Namespace, NamespaceNo, NewId, Producer as RawProducer};
use weir_log::MemoryDisk;

use crate::script::{BEGIN, small};

/// An engine on a disk that outlives it.
pub(crate) struct House {
    disk: MemoryDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) engine: Engine,
    pub(crate) space: Namespace,
}

impl House {
    pub(crate) fn new() -> Self {
        let (disk, clock) = (MemoryDisk::new(), Arc::new(ManualClock::at(Timestamp(BEGIN))));
        let (engine, space) = Self::open(&disk, &clock);
        Self { disk, clock, engine, space }
    }

    fn open(disk: &MemoryDisk, clock: &Arc<ManualClock>) -> (Engine, Namespace) {
        let options = weir_engine::Options { retention_every: Duration::from_secs(30), ..small(Fsync::No) };
        let engine = Engine::open(Arc::new(disk.clone()), clock.clone(), options).unwrap();
        let space = engine.namespace("default").unwrap();
        (engine, space)
    }

    /// Ends the engine and opens the folder again, from the log alone or from a snapshot.
    pub(crate) fn restart(&mut self, from_snapshot: bool) {
        self.engine.flush().unwrap();
        if from_snapshot {
            self.engine.snapshot().unwrap();
        }
        let before = self.engine.dump().unwrap();
        // The folder's lock goes with the last clone.
        (self.engine, self.space) = {
            let other = Engine::memory();
            let space = other.namespace("default").unwrap();
            (other, space)
        };
        (self.engine, self.space) = Self::open(&self.disk, &self.clock);
        let after = self.engine.dump().unwrap();
        assert!(before == after, "{}", crate::power_cuts::lines_apart(&after, &before));
        assert_eq!(self.engine.verify().unwrap().problems, Vec::<String>::new());
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    pub(crate) fn add(&self, stream: &str, value: &str) -> EntryId {
        let fields: &[(&[u8], &[u8])] = &[(b"type", value.as_bytes())];
        self.space.append(stream.as_bytes(), fields, &AppendOptions::default()).unwrap().id
    }

    pub(crate) fn read(&self, stream: &str, from: ReadFrom) -> Vec<Entry> {
        let options = ReadOptions { from, to: None, backward: false, count: u64::MAX, wait: None };
        self.space.read(stream.as_bytes(), &options).unwrap()
    }

    pub(crate) fn values(&self, stream: &str) -> Vec<String> {
        self.read(stream, ReadFrom::Start).iter().map(value).collect()
    }

    /// Checks something now, behind a restart from the log, and behind one from a snapshot.
    fn always(&mut self, check: impl Fn(&Self)) {
        check(self);
        for from_snapshot in [false, true] {
            self.restart(from_snapshot);
            check(self);
        }
    }
}

pub(crate) fn value(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.fields[0].1).into_owned()
}

fn kind<T: std::fmt::Debug>(answer: Result<T, weir_core::Error>) -> ErrorKind {
    answer.unwrap_err().kind().clone()
}

#[test]
fn an_append_expects_a_version() {
    let mut house = House::new();
    let add = |house: &House, expected| {
        let options = AppendOptions { expected, ..AppendOptions::default() };
        house.space.append(b"s", &[(b"f", b"v")], &options).map(drop)
    };
    let mismatch = |actual| ErrorKind::VersionMismatch { actual };
    assert_eq!(kind(add(&house, Expected::Version(0))), mismatch(None));
    add(&house, Expected::NoEntries).unwrap();
    house.always(|house| {
        assert_eq!(kind(add(house, Expected::NoEntries)), mismatch(Some(0)));
        assert_eq!(kind(add(house, Expected::Version(1))), mismatch(Some(0)));
    });
    add(&house, Expected::Version(0)).unwrap();
    house.space.trim(b"s", TrimTo::Length(0)).unwrap();
    house.always(|house| {
        assert_eq!(kind(add(house, Expected::NoEntries)), mismatch(Some(1)));
        let head = house.space.head(b"s").unwrap().unwrap();
        assert_eq!(head.version, Some(1), "what is trimmed counts");
    });
    assert_eq!(house.space.head(b"none").unwrap(), None);
}

#[test]
fn a_batch_is_appended_whole_or_not_at_all() {
    let mut house = House::new();
    let fields: &[(&[u8], &[u8])] = &[(b"f", b"v")];
    let entry = |append_id| NewEntry { fields, id: None, append_id };
    let by = |name: &[u8]| BatchOptions { producer: Some(name.to_vec()), ..BatchOptions::default() };
    let ids: Vec<Vec<u8>> = (0..500).map(|n: u32| n.to_string().into_bytes()).collect();
    let all: Vec<NewEntry<'_>> = ids.iter().map(|id| entry(Some(&id[..]))).collect();
    let first = house.space.append_batch(b"s", &all[..300], &by(b"p")).unwrap();
    assert!(first.windows(2).all(|pair| pair[0].id < pair[1].id && !pair[0].is_duplicate));
    house.always(|house| {
        let again = house.space.append_batch(b"s", &all[..300], &by(b"p")).unwrap();
        assert!(again.iter().zip(&first).all(|(again, first)| again.is_duplicate && again.id == first.id));
        assert_eq!(house.space.stream_info(b"s").unwrap().unwrap().length, 300);
    });
    let mixed = house.space.append_batch(b"s", &all, &by(b"p")).unwrap();
    assert_eq!(mixed.iter().filter(|appended| appended.is_duplicate).count(), 300);
    let last = Some(EntryId::new(1, 1));
    let bad = [entry(None), NewEntry { id: last, ..entry(None) }];
    let refused = house.space.append_batch(b"s", &bad, &BatchOptions::default());
    assert!(matches!(kind(refused), ErrorKind::IdNotGreater { .. }));
    let odd = house.space.append_batch(b"s", &[entry(Some(b"1")), entry(None)], &by(b"p"));
    assert!(matches!(kind(odd), ErrorKind::Invalid(_)));
    let many = vec![entry(None); 10_001];
    let many = house.space.append_batch(b"s", &many, &BatchOptions::default());
    assert!(matches!(kind(many), ErrorKind::LimitReached(_)));
    house.always(|house| assert_eq!(house.space.stream_info(b"s").unwrap().unwrap().entries_added, 500));
}

/// Redis remembers a hundred appends for a hundred seconds; the traits promise more, and that raw clients see nothing
/// of it where nobody appends through them.
#[test]
fn producers_are_remembered_as_long_as_promised() {
    let mut house = House::new();
    let append = |house: &House, nth: u64, id| {
        let producer = Some(Producer { name: b"p".to_vec(), append_id: nth.to_string().into_bytes() });
        let options = AppendOptions { id, producer, ..AppendOptions::default() };
        house.space.append(b"s", &[(b"f", b"v")], &options).unwrap()
    };
    // The IDs' times are long past: what counts is when it was appended.
    for nth in 0..2_000 {
        append(&house, nth, Some(EntryId::new(5, nth + 1)));
    }
    house.advance(3_599_000);
    house.always(|house| {
        for nth in [0, 1_000, 1_999] {
            let again = append(house, nth, None);
            assert!(again.is_duplicate, "append {nth}");
            assert_eq!(again.id, EntryId::new(5, nth + 1));
        }
    });
    house.advance(1_001);
    assert!(!append(&house, 0, None).is_duplicate, "the hour is over");
    let raw = |name: &'static [u8]| KeyRef { ns: NamespaceNo(0), name };
    let producer = Some(RawProducer { id: b"p", iid: Some(b"1") });
    let fields: [&[u8]; 2] = [b"f", b"v"];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer };
    house.engine.turn().append(raw(b"raw"), &request).unwrap();
    let info = house.engine.ask(|turn| turn.stream_info(raw(b"raw"))).unwrap();
    assert_eq!((info.idempotence_duration, info.idempotence_max), (100, 100));
    house.always(|house| {
        let info = house.engine.ask(|turn| turn.stream_info(raw(b"s"))).unwrap();
        assert_eq!((info.idempotence_duration, info.idempotence_max), (3_600, 10_000));
    });
}

fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.position.unwrap()).collect()
}

#[test]
fn entries_are_read_by_position_and_by_time() {
    let mut house = House::new();
    for nth in 0..1_000 {
        house.add("s", &nth.to_string());
        house.add("other", "x");
        if nth % 3 == 0 {
            house.advance(10);
        }
    }
    let all = house.read("s", ReadFrom::Start);
    let gone: Vec<EntryId> = all.iter().skip(300).take(60).map(|entry| entry.id).collect();
    house.space.delete_entries(b"s", &gone).unwrap();
    house.space.trim(b"s", TrimTo::Length(800)).unwrap();
    house.always(|house| {
        let left = house.read("s", ReadFrom::Start);
        assert_eq!((left.len(), left[0].position), (800, Some(140)));
        assert!(left.iter().all(|entry| entry.global_position == Some(2 * entry.position.unwrap() + 1)));
        let read = |from, backward, count| {
            let options = ReadOptions { from, to: None, backward, count, wait: None };
            numbers(&house.space.read(b"s", &options).unwrap())
        };
        for (pos, forward, back) in [
            (0, Some(140), None),
            (140, Some(140), Some(140)),
            (299, Some(299), Some(299)),
            (300, Some(360), Some(299)),
            (330, Some(360), Some(299)),
            (999, Some(999), Some(999)),
            (1_000, None, Some(999)),
        ] {
            assert_eq!(read(ReadFrom::Position(pos), false, 1), Vec::from_iter(forward), "from {pos}");
            assert_eq!(read(ReadFrom::Position(pos), true, 1), Vec::from_iter(back), "back from {pos}");
        }
        for after in (0..3_400).step_by(7) {
            let at = Timestamp(BEGIN + after);
            let first = left.iter().find(|entry| entry.appended_at >= at).and_then(|entry| entry.position);
            let last =
                left.iter().rev().find(|entry| entry.appended_at <= at).and_then(|entry| entry.position);
            assert_eq!(read(ReadFrom::Time(at), false, 1), Vec::from_iter(first), "since {after}");
            assert_eq!(read(ReadFrom::Time(at), true, 1), Vec::from_iter(last), "before {after}");
        }
        assert_eq!(read(ReadFrom::End, true, 3), [999, 998, 997]);
        assert_eq!(read(ReadFrom::Start, true, 3), Vec::<u64>::new());
        assert_eq!(read(ReadFrom::End, false, 3), Vec::<u64>::new());
        let (from, to) = (ReadFrom::Id(left[5].id), Some(left[7].id));
        let options = ReadOptions { from, to, backward: false, count: 100, wait: None };
        assert_eq!(numbers(&house.space.read(b"s", &options).unwrap()), [145, 146, 147]);
        let (from, to) = (ReadFrom::After(left[5].id), Some(left[3].id));
        let options = ReadOptions { from, to, backward: true, count: 100, wait: None };
        assert_eq!(numbers(&house.space.read(b"s", &options).unwrap()), [144, 143]);
    });
}

#[test]
fn a_read_waits_for_a_position_and_for_the_end() {
    let house = House::new();
    house.add("s", "0");
    for (from, wanted) in
        [(ReadFrom::Position(2), "2"), (ReadFrom::End, "1"), (ReadFrom::Time(Timestamp(BEGIN)), "0")]
    {
        let house = House::new();
        house.add("s", "0");
        let reader = house.space.clone();
        let (ready, begun) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let options =
                ReadOptions { from, to: None, backward: false, count: 1, wait: Some(Duration::MAX) };
            ready.send(()).unwrap();
            reader.read(b"s", &options).unwrap()
        });
        begun.recv().unwrap();
        let waits = || house.engine.turn().waiting_counts().0 > 0;
        while from != ReadFrom::Time(Timestamp(BEGIN)) && !waits() {
            std::thread::yield_now();
        }
        house.add("s", "1");
        house.add("s", "2");
        let read = thread.join().unwrap();
        assert_eq!(read.iter().map(value).collect::<Vec<_>>(), [wanted], "{from:?}");
    }
    let options =
        ReadOptions { from: ReadFrom::Start, to: None, backward: true, count: 1, wait: Some(Duration::ZERO) };
    assert!(matches!(kind(house.space.read(b"s", &options)), ErrorKind::Invalid(_)));
}

#[test]
fn trims_are_exact() {
    for (to, left) in [
        (TrimTo::Length(130), 130),
        (TrimTo::Bytes(130 * 7 + 6), 130),
        (TrimTo::Bytes(0), 0),
        (TrimTo::Time(Timestamp(BEGIN + 205)), 795),
        (TrimTo::Time(Timestamp(BEGIN + 5_000)), 0),
        (TrimTo::MinId(EntryId::new(BEGIN + 300, 0)), 700),
    ] {
        let mut house = House::new();
        for nth in 0..1_000_u64 {
            // Seven bytes with the name.
            let value = format!("{nth:03}");
            let at = Some(EntryId::new(BEGIN + nth, 0));
            let options = AppendOptions { id: at, ..AppendOptions::default() };
            house.space.append(b"s", &[(b"type", &value.as_bytes()[..3])], &options).unwrap();
            house.advance(1);
        }
        let trimmed = house.space.trim(b"s", to).unwrap();
        assert_eq!((trimmed.removed, trimmed.held), (1_000 - left, 0), "{to:?}");
        house.always(|house| {
            let entries = house.read("s", ReadFrom::Start);
            assert_eq!(entries.len() as u64, left, "{to:?}");
            assert_eq!(entries.first().and_then(|first| first.position), (left > 0).then_some(1_000 - left));
        });
    }
}

#[test]
fn names_come_in_pages() {
    let mut house = House::new();
    for nth in 0..3_000 {
        house.add(&format!("s-{nth:04}"), "x");
    }
    house.add("{s-0001}:alerts", "x");
    let list = |house: &House, pattern: &str, count, with_side_streams| {
        let (mut names, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let options = ListStreams { pattern: pattern.into(), after, count, with_side_streams };
            let page = house.space.list_streams(options).unwrap();
            assert!(page.names.len() as u64 <= count.max(1));
            names.extend(page.names);
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => return (names, pages),
            }
        }
    };
    house.always(|house| {
        let (names, pages) = list(house, "*", 700, false);
        assert_eq!((names.len(), pages), (3_000, 5));
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(list(house, "s-00?[13579]", 1_000, false).0.len(), 50);
        assert_eq!(list(house, "*alerts", 10, false).0.len(), 0);
        assert_eq!(list(house, "*", 3_001, true), (list(house, "*", 100, true).0, 1));
        assert_eq!(list(house, "s-0000", 0, false).0, [b"s-0000"]);
    });
}

#[test]
fn a_stream_goes_with_what_belongs_to_it() {
    let mut house = House::new();
    for name in ["s", "{s}:lost", "{s}:alerts", "{s}:dead:g"] {
        house.add(name, "x");
    }
    assert!(house.space.delete_stream(b"s").unwrap());
    assert!(!house.space.delete_stream(b"s").unwrap());
    house.always(|house| {
        let names = house.space.list_streams(ListStreams {
            pattern: b"*".to_vec(),
            after: None,
            count: 10,
            with_side_streams: true,
        });
        assert_eq!(names.unwrap().names, [b"{s}:alerts".to_vec(), b"{s}:dead:g".to_vec()]);
        assert_eq!(house.space.stream_info(b"s").unwrap(), None);
    });
    let id = house.add("s", "again");
    house.always(|house| {
        assert_eq!(house.space.head(b"s").unwrap(), Some(Head { last_id: id, version: Some(0) }));
        assert_eq!(house.clock.now().0, BEGIN);
    });
}
