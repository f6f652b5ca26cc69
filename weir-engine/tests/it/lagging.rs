//! Lag is what a recount of everything gives, after any mix of appends, deliveries, deletions, trims and moves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_core::{
    BatchOptions, Condition, ConditionTest, CreateGroup, EntryId, FieldName, Filter, GroupOrigin, NewEntry,
    Policy, Retention, TrimTo,
};
use weir_engine::{
    Entries, GroupReadFrom, GroupStart, KeyRef, Nack, NackMode, NamespaceNo, ReadGroup, ReadLimits,
};

use crate::script::Chance;
use crate::verbs::House;

const KEY: KeyRef<'_> = KeyRef { ns: NamespaceNo(0), name: b"s" };

const GROUPS: [&str; 3] = ["all", "some", "few"];

/// What is believed of a group.
#[derive(Debug, Default)]
struct Believed {
    last: EntryId,
    held: BTreeSet<EntryId>,
    ready: BTreeSet<EntryId>,
}

struct Run {
    house: House,
    chance: Chance,
    /// Entries that are there, and their kind.
    entries: BTreeMap<EntryId, u8>,
    groups: BTreeMap<&'static str, Believed>,
    length: Option<u64>,
}

/// Which kinds a group sees.
fn sees(group: &str, kind: u8) -> bool {
    match group {
        "few" => kind == 7,
        "some" => kind < 4,
        _ => true,
    }
}

fn policy(group: &str) -> Policy {
    let values = (0..16_u8).filter(|kind| sees(group, *kind)).map(|kind| vec![b'a' + kind]).collect();
    let condition = Condition { field: FieldName::Type, test: ConditionTest::In(values) };
    let filter = (group != "all").then(|| Filter { conditions: vec![condition] });
    Policy { filter, ..Policy::recommended() }
}

impl Run {
    fn new(seed: u64) -> Self {
        let house = House::new();
        let mut groups = BTreeMap::new();
        for name in GROUPS {
            let options = CreateGroup { origin: GroupOrigin::Beginning, policy: policy(name) };
            house.space.create_group(b"s", name.as_bytes(), &options).unwrap();
            groups.insert(name, Believed::default());
        }
        Self { house, chance: Chance(seed), entries: BTreeMap::new(), groups, length: None }
    }

    fn group(&mut self) -> &'static str {
        GROUPS[self.chance.below(GROUPS.len() as u64) as usize]
    }

    /// An ID that is or was there, mostly.
    fn id(&mut self) -> EntryId {
        let nth = self.chance.below(self.entries.len() as u64 + 1) as usize;
        self.entries.keys().nth(nth).copied().unwrap_or(EntryId::new(7, 7))
    }

    fn step(&mut self) {
        match self.chance.below(100) {
            0..45 => self.append(),
            45..70 => self.deliver(),
            70..80 => self.settle(),
            80..86 => {
                let ids: Vec<EntryId> = (0..self.chance.below(6)).map(|_| self.id()).collect();
                self.house.space.delete_entries(b"s", &ids).unwrap();
                self.entries.retain(|id, _| !ids.contains(id));
            }
            86..89 => self.trim(),
            89..92 => self.seek(),
            92..94 => {
                self.length = self.chance.one_in(2).then(|| 100 + self.chance.below(400));
                let retention =
                    self.length.map(|length| Retention { length: Some(length), ..Retention::default() });
                self.house.space.set_retention(b"s", retention).unwrap();
            }
            94..97 => self.house.advance(self.chance.below(3_000)),
            _ => while self.house.engine.background_step().unwrap() {},
        }
        let most = self.length.unwrap_or(u64::MAX);
        while self.entries.len() as u64 > most {
            self.entries.pop_first();
        }
    }

    fn append(&mut self) {
        let kinds: Vec<u8> = (0..=self.chance.below(5)).map(|_| self.chance.below(16) as u8).collect();
        let values: Vec<[u8; 1]> = kinds.iter().map(|kind| [b'a' + kind]).collect();
        let fields: Vec<[(&[u8], &[u8]); 1]> =
            values.iter().map(|value| [(&b"type"[..], &value[..])]).collect();
        let new: Vec<NewEntry<'_>> =
            fields.iter().map(|fields| NewEntry { fields, id: None, append_id: None }).collect();
        let appended = self.house.space.append_batch(b"s", &new, &BatchOptions::default()).unwrap();
        self.entries.extend(appended.iter().map(|appended| appended.id).zip(kinds));
    }

    fn deliver(&mut self) {
        let (group, count) = (self.group(), 1 + self.chance.below(20));
        let read = ReadGroup {
            ns: KEY.ns,
            group: group.as_bytes().into(),
            consumer: b"ann".as_slice().into(),
            streams: vec![(KEY.name.into(), GroupReadFrom::New)],
            limits: ReadLimits { count: Some(count), ..ReadLimits::default() },
            noack: self.chance.one_in(10),
            claim_idle_min: None,
        };
        let outcome = self.house.engine.ask(|turn| turn.read_group(&read)).unwrap();
        let last = self.house.space.group_info(b"s", group.as_bytes()).unwrap().unwrap().last_delivered_id;
        let own = self.groups.get_mut(group).unwrap();
        for stream in outcome.streams {
            let Entries::Plain(refs) = stream.entries else { panic!("nothing was claimed") };
            for entry in refs.iter().filter(|_| !read.noack) {
                assert!(entry.id > own.last && sees(group, self.entries[&entry.id]), "{group} {}", entry.id);
                own.ready.remove(&entry.id);
                own.held.insert(entry.id);
            }
        }
        own.last = last;
    }

    fn settle(&mut self) {
        let group = self.group();
        let own = self.groups.get_mut(group).unwrap();
        let some: Vec<EntryId> = own.held.iter().chain(&own.ready).copied().take(40).collect();
        let ids: Vec<EntryId> = some.into_iter().filter(|_| self.chance.one_in(2)).collect();
        if self.chance.one_in(3) {
            let nack = Nack {
                group: group.as_bytes(),
                mode: NackMode::Silent,
                ids: &ids,
                deliveries: None,
                force: false,
            };
            self.house.engine.ask(|turn| turn.nack(KEY, &nack)).unwrap();
            own.ready.extend(&ids);
        } else {
            self.house.engine.ask(|turn| turn.ack(KEY, group.as_bytes(), &ids)).unwrap();
            own.ready.retain(|id| !ids.contains(id));
        }
        own.held.retain(|id| !ids.contains(id));
    }

    fn trim(&mut self) {
        let to = if self.chance.one_in(2) {
            TrimTo::Length(self.chance.below(600))
        } else {
            TrimTo::MinId(self.id())
        };
        self.house.space.trim(b"s", to).unwrap();
        match to {
            TrimTo::MinId(id) => self.entries = self.entries.split_off(&id),
            TrimTo::Length(most) => {
                while self.entries.len() as u64 > most {
                    self.entries.pop_first();
                }
            }
            _ => unreachable!("those are all"),
        }
    }

    fn seek(&mut self) {
        let (group, id) = (self.group(), self.id());
        let start = GroupStart::After(id);
        self.house.engine.turn().group_set_id(KEY, group.as_bytes(), start, None).unwrap();
        self.groups.get_mut(group).unwrap().last = id;
    }

    fn recount(&self) {
        for (name, own) in &self.groups {
            let lag = self.house.space.lag(b"s", name.as_bytes()).unwrap();
            let above =
                self.entries.range(own.last..).filter(|(id, kind)| **id > own.last && sees(name, **kind));
            let found = [lag.undelivered, lag.pending, lag.ready, lag.delayed, lag.dead];
            let wanted = [above.count(), own.held.len(), own.ready.len(), 0, 0].map(|count| count as u64);
            assert_eq!(found, wanted, "{name}");
            assert!(lag.exact && lag.oldest_undelivered.is_some() == (lag.undelivered > 0));
            assert!(lag.oldest_pending.is_some() == (lag.pending > 0));
        }
    }
}

/// A million operations with `WEIR_FULL` set.
#[test]
fn lag_equals_a_recount() {
    let steps = if std::env::var_os("WEIR_FULL").is_some() { 1_000_000 } else { 6_000 };
    let seed = std::env::var("WEIR_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut run = Run::new(seed);
    for step in 0..steps {
        run.step();
        if run.chance.one_in(1_000) {
            let from_snapshot = run.chance.one_in(2);
            run.house.restart(from_snapshot);
        }
        let recounted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.recount()));
        assert!(recounted.is_ok(), "seed {seed}, step {step}");
    }
    assert_eq!(run.house.engine.verify().unwrap().problems, Vec::<String>::new());
}

#[test]
fn ages_and_rates_tell_when_it_will_be_done() {
    let house = House::new();
    let options = CreateGroup { origin: GroupOrigin::Beginning, policy: policy("all") };
    house.space.create_group(b"s", b"g", &options).unwrap();
    let lag = || house.space.lag(b"s", b"g").unwrap();
    assert_eq!((lag().total(), lag().eta), (0, Some(Duration::ZERO)));
    for _ in 0..600 {
        house.add("s", "x");
        house.advance(100);
    }
    let behind = lag();
    assert_eq!((behind.undelivered, behind.eta), (600, None), "it never ends");
    assert!((behind.arrivals_per_s - 10.0).abs() < 1.0, "{behind:?}");
    assert_eq!(behind.oldest_undelivered, Some(Duration::from_millis(60_000)));
    let read = ReadGroup {
        ns: KEY.ns,
        group: b"g".as_slice().into(),
        consumer: b"ann".as_slice().into(),
        streams: vec![(KEY.name.into(), GroupReadFrom::New)],
        limits: ReadLimits { count: Some(500), ..ReadLimits::default() },
        noack: false,
        claim_idle_min: None,
    };
    let outcome = house.engine.ask(|turn| turn.read_group(&read)).unwrap();
    let Entries::Plain(refs) = &outcome.streams[0].entries else { panic!("nothing was claimed") };
    house.advance(70_000);
    let ids: Vec<EntryId> = refs.iter().map(|entry| entry.id).take(300).collect();
    house.engine.turn().ack(KEY, b"g", &ids).unwrap();
    let lag = lag();
    assert_eq!((lag.undelivered, lag.pending, lag.total()), (100, 200, 300));
    assert_eq!((lag.arrivals_per_s, lag.drained_per_s), (0.0, 5.0));
    assert_eq!((lag.oldest_pending, lag.eta), (Some(Duration::from_secs(70)), Some(Duration::from_secs(60))));
}
