//! Space comes back: what trims and deletes leave behind is given back to the disk, and nothing else is.

use std::sync::Arc;
use std::time::Duration;

use weir_core::{EntryId, ErrorKind, ManualClock, Timestamp};
use weir_engine::{
    Ahead, Engine, EntryRef, Halt, Options, Range, Read, ReadFrom, ReadLimits, References, Trim, TrimBound,
    Turn,
};
use weir_log::{LogOptions, MemoryDisk};

use crate::streams::{NS, add, key, values};

const GRACE: Duration = Duration::from_secs(11);

struct Rig {
    disk: MemoryDisk,
    clock: Arc<ManualClock>,
}

impl Rig {
    fn new() -> Self {
        Self { disk: MemoryDisk::new(), clock: Arc::new(ManualClock::at(Timestamp(1_000_000))) }
    }

    fn open(&self) -> Engine {
        self.open_with(256 << 10)
    }

    fn open_with(&self, segment_bytes: u64) -> Engine {
        let options = Options {
            background: false,
            log: LogOptions { segment_bytes, ..LogOptions::default() },
            ..Options::default()
        };
        Engine::open(Arc::new(self.disk.clone()), self.clock.clone(), options).expect("the folder opens")
    }

    /// Two snapshots, so that the segments before them may go, then background work until there is none.
    fn settle(&self, engine: &Engine) {
        engine.snapshot().expect("the disk works");
        add(engine, "other", self.clock.as_ref().now_ms(), "x");
        engine.snapshot().expect("the disk works");
        for _ in 0..50 {
            while engine.background_step().expect("the disk works") {}
            self.clock.advance(GRACE);
        }
    }
}

trait NowMs {
    fn now_ms(&self) -> u64;
}

impl NowMs for ManualClock {
    fn now_ms(&self) -> u64 {
        weir_core::Clock::now(self).0
    }
}

fn segments(engine: &Engine) -> u64 {
    engine.log_stats().segments
}

#[test]
fn trimmed_segments_are_recycled() {
    let rig = Rig::new();
    let engine = rig.open();
    for n in 1..=20_000 {
        add(&engine, "s", n, &"some value".repeat(20));
    }
    engine.flush().unwrap();
    let before = segments(&engine);
    let trim =
        Trim { bound: TrimBound::MaxLen(50), approximate: false, limit: 0, references: References::Keep };
    assert_eq!(engine.turn().trim(key("s"), &trim).unwrap(), 19_950);
    rig.settle(&engine);
    assert!(before > 15, "the run is long enough: {before}");
    assert!(segments(&engine) <= 6, "{} of {before} segments are left", segments(&engine));
    let kept = values(&engine, "s");
    assert_eq!(kept.len(), 50);
    engine.sync().unwrap();
    drop(engine);
    assert_eq!(values(&rig.open(), "s"), kept);
}

#[test]
fn mostly_dead_segments_are_rewritten_and_entries_keep_their_places() {
    let rig = Rig::new();
    let engine = rig.open();
    for n in 1..=20_000 {
        add(&engine, "s", n, &format!("value number {n:0200}"));
    }
    let doomed: Vec<EntryId> = (1..=20_000).filter(|n| n % 8 != 0).map(|n| EntryId::new(n, 1)).collect();
    for part in doomed.chunks(500) {
        assert_eq!(engine.ask(|turn| turn.delete(key("s"), part)).unwrap(), part.len() as u64);
    }
    engine.flush().unwrap();
    let before = engine.log_bytes();
    rig.settle(&engine);
    assert!(engine.log_stats().compacted > 10, "{:?}", engine.log_stats());
    assert!(engine.log_bytes() < before / 2, "{} of {before} bytes are left", engine.log_bytes());
    let check = |engine: &Engine| {
        let kept = values(engine, "s");
        assert_eq!(kept.len(), 2_500);
        assert_eq!(kept[0], (EntryId::new(8, 1), format!("value number {:0200}", 8)));
        assert_eq!(kept[2_499], (EntryId::new(20_000, 1), format!("value number {:0200}", 20_000)));
    };
    check(&engine);
    engine.sync().unwrap();
    drop(engine);
    check(&rig.open());
}

fn trim_to(engine: &Engine, len: u64) {
    let trim =
        Trim { bound: TrimBound::MaxLen(len), approximate: false, limit: 0, references: References::Keep };
    engine.ask(|turn| turn.trim(key("s"), &trim)).unwrap();
}

fn delete(engine: &Engine, doomed: &[EntryId]) {
    for part in doomed.chunks(500) {
        assert_eq!(engine.ask(|turn| turn.delete(key("s"), part)).unwrap(), part.len() as u64);
    }
}

/// However many segments are dead, they go after one time of grace.
#[test]
fn segments_age_together() {
    let rig = Rig::new();
    let engine = rig.open();
    for n in 1..=20_000 {
        add(&engine, "s", n, &"some value".repeat(20));
    }
    engine.flush().unwrap();
    let before = segments(&engine);
    assert!(before > 15, "the run is long enough: {before}");
    trim_to(&engine, 50);
    engine.snapshot().unwrap();
    add(&engine, "other", 1, "x");
    engine.snapshot().unwrap();
    while engine.background_step().unwrap() {}
    assert!(segments(&engine) >= before, "nothing goes before its time");
    rig.clock.advance(GRACE);
    while engine.background_step().unwrap() {}
    assert!(segments(&engine) <= 6, "{} of {before} segments are left", segments(&engine));
}

/// Where all entries of a stream are.
fn places(engine: &Engine, name: &str) -> Vec<EntryRef> {
    let all = Range { start: EntryId::MIN, end: EntryId::MAX, count: None, reverse: false };
    engine.ask(|turn| turn.range(key(name), &all)).unwrap().unwrap_or_default()
}

/// Whoever asks late for entries that were deleted meanwhile gets the others, and no word of damage.
#[test]
fn entries_that_went_before_they_were_fetched_are_gone() {
    // Whole segments, records out of segments, and long runs.
    type Keeps = fn(u64) -> bool;
    let kept: [(&str, Keeps); 3] =
        [("whole", |n| n > 19_950), ("records", |n| n % 8 == 0), ("runs", |n| n % 1_000 < 500)];
    for (case, keep) in kept {
        let rig = Rig::new();
        let engine = rig.open();
        for n in 1..=20_000 {
            add(&engine, "s", n, &"some value".repeat(20));
        }
        engine.flush().unwrap();
        let slow = places(&engine, "s");
        let doomed: Vec<EntryId> = (1..=20_000).filter(|n| !keep(*n)).map(|n| EntryId::new(n, 1)).collect();
        delete(&engine, &doomed);
        rig.settle(&engine);
        let stats = engine.log_stats();
        let worked = match case {
            "whole" => segments(&engine) < 7,
            "records" => stats.compacted > 10,
            _ => stats.bytes_punched > 1 << 20,
        };
        assert!(worked, "{case}: {stats:?}");
        for backwards in [false, true] {
            let mut asked = slow.clone();
            if backwards {
                asked.reverse();
            }
            let mut found = Vec::new();
            engine.fetch(&asked, &mut |nth, _| found.push(asked[nth].id.ms)).unwrap();
            if backwards {
                found.reverse();
            }
            // What is dead and was not worth taking back may still be there.
            let missing = (1..=20_000).find(|n| keep(*n) && found.binary_search(n).is_err());
            assert_eq!(missing, None, "{case}");
            assert!(found.len() < 19_000, "{case}: {} are found", found.len());
        }
    }
}

/// The folder's own segment size counts, whatever the settings say.
#[test]
fn a_folder_opened_with_another_segment_size_is_reclaimed() {
    let rig = Rig::new();
    let engine = rig.open_with(256 << 10);
    add(&engine, "s", 1, "x");
    engine.sync().unwrap();
    drop(engine);
    let engine = rig.open_with(64 << 10);
    for n in 2..=20_000 {
        add(&engine, "s", n, &"some value".repeat(20));
    }
    engine.flush().unwrap();
    let doomed: Vec<EntryId> =
        (2..=20_000).filter(|n| n % 1_000 >= 500).map(|n| EntryId::new(n, 1)).collect();
    delete(&engine, &doomed);
    rig.settle(&engine);
    let stats = engine.log_stats();
    assert!(stats.bytes_punched > 1 << 20, "{stats:?}");
}

/// Finds something cold, looks for it only when most of the stream is gone from the disk, and asks again.
fn ask_late<T>(mut question: impl FnMut(&mut Turn<'_>) -> Result<T, Halt>) -> T {
    let rig = Rig::new();
    let engine = rig.open();
    for n in 1..=20_000 {
        add(&engine, "s", n, &"some value".repeat(20));
    }
    engine.close().unwrap();
    drop(engine);
    let engine = rig.open();
    let first = question(&mut engine.turn());
    let Err(Halt::Cold(cold)) = first else { panic!("nothing is cached after a start") };
    trim_to(&engine, 50);
    rig.settle(&engine);
    assert!(segments(&engine) < 8, "{} segments are left", segments(&engine));
    let mut ahead = Ahead::default();
    engine.warm(cold, &mut ahead).expect("what was taken back is no damage");
    loop {
        let mut turn = engine.turn();
        turn.lend(ahead);
        let answer = question(&mut turn);
        ahead = turn.take_back();
        drop(turn);
        match answer {
            Ok(answer) => return answer,
            Err(Halt::Cold(cold)) => engine.warm(cold, &mut ahead).unwrap(),
            Err(Halt::Error(error)) => panic!("{error:?}"),
        }
    }
}

/// A wide read whose blocks were taken back before it came to them was told of damage.
#[test]
fn a_wide_read_that_comes_late_is_asked_again() {
    for reverse in [false, true] {
        let all = Range { start: EntryId::MIN, end: EntryId::MAX, count: None, reverse };
        let refs = ask_late(|turn| turn.range(key("s"), &all)).unwrap();
        assert_eq!(refs.len(), 50);
    }
}

#[test]
fn blocks_that_went_before_they_were_looked_at_are_not_wanted_any_more() {
    let from = |name: &str| (name.as_bytes().into(), ReadFrom::After(EntryId::MIN));
    let read = Read { ns: NS, streams: vec![from("s"), from("t")], limits: ReadLimits::default() };
    let outcome = ask_late(|turn| turn.read(&read));
    let weir_engine::Entries::Plain(refs) = &outcome.streams[0].entries else { panic!("nobody claims") };
    assert_eq!(refs.len(), 50);
}

/// A copy said that it had all entries, and lacked those that went before they were fetched.
#[test]
fn a_copy_that_comes_late_is_refused() {
    let rig = Rig::new();
    let engine = rig.open();
    for n in 1..=20_000 {
        add(&engine, "s", n, &"some value".repeat(20));
    }
    engine.flush().unwrap();
    let image = engine.ask(|turn| turn.image(key("s"))).unwrap().unwrap();
    assert!(engine.complete(&image).is_ok());
    trim_to(&engine, 50);
    rig.settle(&engine);
    let refused = engine.complete(&image).expect_err("most entries are gone");
    assert!(matches!(refused.kind(), ErrorKind::Invalid(_)), "{refused:?}");
    let image = engine.ask(|turn| turn.image(key("s"))).unwrap().unwrap();
    let copy = engine.complete(&image).unwrap();
    assert!(engine.ask(|turn| turn.put_copy(key("t"), &copy, None, false, "copy_to")).unwrap());
    assert_eq!(values(&engine, "t"), values(&engine, "s"));
}
