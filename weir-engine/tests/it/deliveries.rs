//! What becomes of entries that were given out: each story goes on after the folder was opened again, once from the log
//! alone and once from a snapshot.

use std::sync::Arc;
use std::time::Duration;

use weir_core::{
    AppendOptions, AutoClaim, Backoff, Claim, Clock, Condition, ConditionTest, CreateGroup, DeadLetterFilter,
    DeadLetterQuery, Deliveries, Delivery, EntryId, ErrorKind, Failure, FieldName, Filter, GroupOrigin,
    GroupSource, ManualClock, PendingFate, PendingQuery, PendingState, Policy, ReadGroup, Redrive,
    RestoredRow, Seek, SeekTo, Settle, Settled, Settlement, Timestamp, Token,
};
use weir_engine::{Engine, Fsync, KeyRef, Namespace, NamespaceNo};
use weir_log::MemoryDisk;

use crate::script::small;
use crate::waiting::Task;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// An engine that can be opened again, with a stream `s` and a group `g`.
pub(crate) struct Shop {
    disk: MemoryDisk,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) engine: Option<Engine>,
}

impl Shop {
    pub(crate) fn new(policy: Policy, entries: &[(&str, &str)]) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
        let mut shop = Self { disk: MemoryDisk::new(), clock, engine: None };
        shop.open();
        for (nth, (name, value)) in entries.iter().enumerate() {
            shop.add(nth as u64 + 1, name, value);
        }
        let made = CreateGroup { origin: GroupOrigin::Beginning, policy };
        shop.space().create_group(b"s", b"g", &made).unwrap();
        shop
    }

    fn open(&mut self) {
        let disk = Arc::new(self.disk.clone());
        self.engine = Some(Engine::open(disk, self.clock.clone(), small(Fsync::No)).unwrap());
    }

    /// Opens the folder again: nothing has changed, and all tables fit.
    fn again(&mut self, with_snapshot: bool) {
        let engine = self.engine.take().unwrap();
        let before = engine.dump().unwrap();
        if with_snapshot {
            engine.snapshot().unwrap();
        }
        engine.sync().unwrap();
        drop(engine);
        self.open();
        let engine = self.engine.as_ref().unwrap();
        assert_eq!(engine.dump().unwrap(), before);
        assert_eq!(engine.verify().unwrap().problems, Vec::<String>::new());
    }

    pub(crate) fn space(&self) -> Namespace {
        self.engine.as_ref().unwrap().namespace("default").unwrap()
    }

    pub(crate) fn add(&self, ms: u64, name: &str, value: &str) {
        let options = AppendOptions { id: Some(EntryId::new(ms, 0)), ..AppendOptions::default() };
        self.space().append(b"s", &[(name.as_bytes(), value.as_bytes())], &options).unwrap();
    }

    pub(crate) fn read(&self, consumer: &str, source: GroupSource, count: u64) -> Vec<Delivery> {
        self.space().read_group(b"s", &read(consumer, source, count)).unwrap()
    }

    fn settle(&self, delivery: &Delivery, settlement: Settlement) -> Settled {
        self.settle_with(delivery.entry.id, Some(delivery.token), settlement)
    }

    fn settle_with(&self, id: EntryId, token: Option<Token>, settlement: Settlement) -> Settled {
        self.space().settle(b"s", b"g", &[Settle { id, token, settlement }]).unwrap()[0]
    }

    fn states(&self) -> Vec<(u64, PendingState)> {
        let rows = self.space().pending(b"s", b"g", &everything()).unwrap();
        rows.iter().map(|row| (row.id.ms, row.state)).collect()
    }

    fn letters(&self) -> Vec<weir_core::DeadLetter> {
        let query = DeadLetterQuery { filter: DeadLetterFilter::default(), after: EntryId::MIN, count: 100 };
        self.space().dead_letters(b"s", b"g", &query).unwrap().letters
    }
}

pub(crate) fn read(consumer: &str, source: GroupSource, count: u64) -> ReadGroup {
    let (group, consumer) = (b"g".to_vec(), consumer.into());
    ReadGroup { group, consumer, source, count, wait: None, while_paused: false }
}

fn everything() -> PendingQuery {
    PendingQuery { consumer: None, idle_min: None, start: EntryId::MIN, end: EntryId::MAX, count: 100 }
}

fn nak(delay: Option<Duration>) -> Settlement {
    Settlement::Nak { delay, class: b"timeout".to_vec(), reason: b"no answer".to_vec() }
}

pub(crate) fn ids(given: &[Delivery]) -> Vec<u64> {
    given.iter().map(|delivery| delivery.entry.id.ms).collect()
}

const READY: GroupSource = GroupSource::Reclaimed { idle_min: None };
pub(crate) const AVAILABLE: GroupSource = GroupSource::Available { idle_min: None };

#[test]
fn a_late_settlement_of_a_former_owner_is_refused_and_counted() {
    for with_snapshot in [false, true] {
        let mut shop = Shop::new(Policy::recommended(), &[("f", "1")]);
        let first = shop.read("ann", GroupSource::New, 1).remove(0);
        shop.clock.advance(Duration::from_secs(31));
        let second = shop.read("bob", READY, 1).remove(0);
        assert_eq!((second.deliveries, second.failures), (2, 0));
        shop.again(with_snapshot);
        assert_eq!(shop.settle(&first, Settlement::Ack), Settled::Stale);
        assert_eq!(shop.settle(&first, Settlement::Extend), Settled::Stale);
        assert_eq!(shop.settle(&second, Settlement::Extend), Settled::Done);
        shop.again(with_snapshot);
        assert_eq!(shop.space().group_info(b"s", b"g").unwrap().unwrap().stale_settlements, 2);
        assert_eq!(shop.settle(&second, Settlement::Ack), Settled::Done);
        assert_eq!(shop.settle(&second, Settlement::Ack), Settled::NotPending);
    }
}

/// A count of deliveries would be the same again after a release, and after a seek.
#[test]
fn no_token_is_given_out_twice() {
    let mut shop = Shop::new(Policy::recommended(), &[("f", "1"), ("f", "2")]);
    let mut seen = Vec::new();
    for round in 0..6 {
        let source = if round % 2 == 0 { GroupSource::New } else { READY };
        let given = shop.read("ann", source, 1).remove(0);
        assert_eq!((given.entry.id.ms, given.deliveries), (1, 1), "round {round}");
        assert!(seen.iter().all(|old| *old != given.token), "round {round}");
        for old in &seen {
            assert_eq!(shop.settle_with(given.entry.id, Some(*old), Settlement::Ack), Settled::Stale);
        }
        seen.push(given.token);
        if round % 2 == 0 {
            assert_eq!(shop.settle(&given, Settlement::Release { delay: None }), Settled::Done);
        } else {
            let sought = Seek { to: SeekTo::Start, dry_run: false };
            assert_eq!(shop.space().seek(b"s", b"g", sought).unwrap().dropped, 1);
        }
        shop.again(round % 3 == 0);
    }
    let space = shop.space();
    space.delete_group(b"s", b"g").unwrap();
    let made = CreateGroup { origin: GroupOrigin::Beginning, policy: Policy::recommended() };
    space.create_group(b"s", b"g", &made).unwrap();
    let given = shop.read("ann", GroupSource::New, 1).remove(0);
    assert!(!seen.contains(&given.token), "a group of the same name is another group");
}

#[test]
fn a_failed_entry_comes_again_on_schedule_and_is_a_dead_letter_at_last() {
    for with_snapshot in [false, true] {
        let delays = vec![Duration::from_millis(200), SECOND, 3 * SECOND];
        let mut shop = Shop::new(Policy::delayed(delays.clone()), &[("type", "placed")]);
        let mut given = shop.read("ann", GroupSource::New, 1).remove(0);
        for (nth, delay) in delays.iter().enumerate() {
            assert_eq!(shop.settle(&given, nak(None)), Settled::Done);
            let due = Timestamp(shop.clock.now().0 + u64::try_from(delay.as_millis()).unwrap());
            assert_eq!(shop.states(), [(1, PendingState::Delayed { until: due })]);
            shop.clock.advance(*delay - Duration::from_millis(1));
            shop.again(with_snapshot);
            assert_eq!(shop.read("bob", AVAILABLE, 1), [], "delay {nth}");
            shop.clock.advance(Duration::from_millis(1));
            assert_eq!(shop.states(), [(1, PendingState::Ready)]);
            given = shop.read("bob", AVAILABLE, 1).remove(0);
            assert_eq!((given.failures, given.deliveries), (nth as u64 + 1, nth as u64 + 2));
            assert_eq!(given.last_failure.as_ref().unwrap().class, b"timeout");
        }
        assert_eq!(shop.settle(&given, nak(None)), Settled::DeadLettered);
        shop.again(with_snapshot);
        assert_eq!(shop.states(), []);
        let letter = shop.letters().remove(0);
        assert_eq!((letter.entry_id.ms, letter.failures, letter.deliveries), (1, 4, 4));
        assert_eq!(letter.fields, [(b"type".to_vec(), b"placed".to_vec())]);
        assert_eq!(letter.consumer.as_deref(), Some(&b"bob"[..]));
        assert!(letter.first_failure.unwrap().at < letter.last_failure.at);
    }
}

#[test]
fn a_stepped_wall_clock_changes_no_delay_and_no_lease() {
    let shop = Shop::new(Policy::recommended(), &[("f", "1"), ("f", "2")]);
    let given = shop.read("ann", GroupSource::New, 2);
    assert_eq!(shop.settle(&given[0], nak(Some(10 * SECOND))), Settled::Done);
    shop.clock.step_forward(Duration::from_secs(86_400));
    assert_eq!(shop.read("bob", AVAILABLE, 9), []);
    shop.clock.advance(9 * SECOND);
    shop.clock.step_back(2 * Duration::from_secs(86_400));
    assert_eq!(shop.read("bob", AVAILABLE, 9), []);
    shop.clock.advance(SECOND);
    assert_eq!(ids(&shop.read("bob", AVAILABLE, 9)), [1]);
    shop.clock.advance(20 * SECOND);
    assert_eq!(ids(&shop.read("bob", AVAILABLE, 9)), [2], "its lease is over");
}

#[test]
fn a_release_is_not_counted_and_a_term_ends_it() {
    let mut shop = Shop::new(Policy::recommended(), &[("f", "1")]);
    let given = shop.read("ann", GroupSource::New, 1).remove(0);
    assert_eq!(shop.settle(&given, Settlement::Release { delay: Some(SECOND) }), Settled::Done);
    shop.clock.advance(SECOND);
    shop.again(false);
    let given = shop.read("ann", READY, 1).remove(0);
    assert_eq!((given.deliveries, given.failures), (1, 0));
    let term = Settlement::Term { class: b"decode".to_vec(), reason: vec![b'x'; 5_000] };
    assert_eq!(shop.settle(&given, term), Settled::DeadLettered);
    let letter = shop.letters().remove(0);
    assert_eq!((letter.failures, letter.last_failure.reason.len()), (1, Failure::REASON_MAX));
    let long = Settlement::Release { delay: Some(Policy::DELAY_MAX + SECOND) };
    let settle = Settle { id: EntryId::new(1, 0), token: None, settlement: long };
    let refused = shop.space().settle(b"s", b"g", &[settle]).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Invalid(_)));
}

/// Poison that kills its handlers never reports a failure.
#[test]
fn what_is_given_out_too_often_is_a_dead_letter_whoever_asks() {
    let policy = Policy { deliveries_max: 2, ..Policy::recommended() };
    let mut shop = Shop::new(policy, &[("f", "1"), ("f", "2"), ("f", "3"), ("f", "4"), ("f", "5")]);
    shop.read("ann", GroupSource::New, 9);
    let again = GroupSource::History { after: EntryId::MIN };
    assert_eq!(shop.read("ann", again, 9).len(), 5);
    shop.again(true);
    assert_eq!(ids(&shop.read("ann", again, 1)), [], "the first, and those behind it as well");
    assert_eq!(shop.letters().len(), 5);
    assert_eq!(shop.letters()[0].last_failure.class, Failure::DELIVERIES);
    assert_eq!(shop.letters()[0].first_failure, None);
    assert_eq!(shop.states(), []);
}

#[test]
fn raw_commands_obey_the_policy() {
    let policy = Policy { deliveries_max: 1, ..Policy::recommended() };
    let shop = Shop::new(policy, &[("f", "1"), ("f", "2"), ("f", "3")]);
    let given = shop.read("ann", GroupSource::New, 9);
    assert_eq!(shop.settle(&given[2], nak(Some(SECOND))), Settled::Done);
    let engine = shop.engine.as_ref().unwrap();
    let key = KeyRef { ns: NamespaceNo(0), name: b"s" };
    let one = [EntryId::new(1, 0)];
    let claim = weir_engine::Claim {
        group: b"g",
        consumer: b"bob",
        idle_min: 0,
        ids: &one,
        time: None,
        deliveries: None,
        force: false,
        just_ids: false,
        last_id: None,
    };
    assert_eq!(engine.turn().claim(key, &claim).unwrap(), []);
    let auto = weir_engine::AutoClaim {
        group: b"g",
        consumer: b"bob",
        idle_min: 0,
        start: EntryId::MIN,
        count: 10,
        just_ids: false,
    };
    assert_eq!(engine.turn().auto_claim(key, &auto).unwrap().entries, []);
    assert_eq!(shop.letters().iter().map(|letter| letter.entry_id.ms).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(shop.states().len(), 1, "what is delayed is nobody's before its time");
}

#[test]
fn dead_letters_go_back_to_their_group_and_to_no_other() {
    for with_snapshot in [false, true] {
        let policy = Policy { failures_max: 1, ..Policy::recommended() };
        let mut shop = Shop::new(policy, &[("n", "1"), ("n", "2"), ("n", "3")]);
        let other = CreateGroup { origin: GroupOrigin::End, policy: Policy::recommended() };
        shop.space().create_group(b"s", b"other", &other).unwrap();
        for given in shop.read("ann", GroupSource::New, 9) {
            assert_eq!(shop.settle(&given, nak(None)), Settled::DeadLettered);
        }
        shop.space().delete_entries(b"s", &[EntryId::new(2, 0)]).unwrap();
        shop.again(with_snapshot);
        let only = |value: &str| DeadLetterFilter {
            conditions: vec![Condition {
                field: FieldName::Exact(b"n".to_vec()),
                test: ConditionTest::Equals(value.into()),
            }],
            ..DeadLetterFilter::default()
        };
        let redrive = |filter, dry_run| Redrive { filter, count: 100, dry_run };
        let would = shop.space().redrive(b"s", b"g", &redrive(only("3"), true)).unwrap();
        assert_eq!((would.entry_ids.len(), would.left, shop.letters().len()), (1, 2, 3));
        let did = shop.space().redrive(b"s", b"g", &redrive(only("3"), false)).unwrap();
        assert_eq!(did, would);
        shop.again(with_snapshot);
        let given = shop.read("bob", AVAILABLE, 9).remove(0);
        assert_eq!((given.entry.id.ms, given.deliveries, given.failures, given.redrives), (3, 1, 0, 1));
        assert_eq!(shop.space().group_info(b"s", b"other").unwrap().unwrap().pending, 0);
        let all = shop.space().redrive(b"s", b"g", &redrive(DeadLetterFilter::default(), false)).unwrap();
        assert_eq!((all.gone, all.left), (vec![EntryId::new(2, 0)], 1));
        let purge = weir_core::Purge { filter: only("2"), count: 9, dry_run: false };
        assert_eq!(shop.space().purge_dead_letters(b"s", b"g", &purge).unwrap(), 1);
        assert_eq!(shop.letters(), []);
    }
}

/// Where handlers failed as fast as letters were redriven, a redrive had no end.
#[test]
fn a_redrive_leaves_alone_what_comes_while_it_goes_on() {
    const COUNT: u64 = 600;
    let policy = Policy { failures_max: 1, ..Policy::recommended() };
    let shop = Shop::new(policy, &[]);
    (1..=COUNT).for_each(|ms| shop.add(ms, "f", "v"));
    let fail_all = |source| {
        let given = shop.read("ann", source, COUNT);
        let nak =
            |given: &Delivery| Settle { id: given.entry.id, token: Some(given.token), settlement: nak(None) };
        shop.space().settle(b"s", b"g", &given.iter().map(nak).collect::<Vec<_>>()).unwrap();
        given.len() as u64
    };
    assert_eq!(fail_all(GroupSource::New), COUNT);
    let key = KeyRef { ns: NamespaceNo(0), name: b"s" };
    let all = Redrive { filter: DeadLetterFilter::default(), count: u64::MAX, dry_run: false };
    let (mut done, mut failed_again) = (weir_engine::LettersDone::default(), 0);
    let redriven = shop.engine.as_ref().unwrap().ask(|turn| {
        let redriven = turn.redrive(key, b"g", &all, &mut done);
        if redriven.is_err() && failed_again == 0 {
            turn.submit();
            let given = turn.read_group_from(&weir_engine::ReadSource {
                ns: key.ns,
                stream: key.name.into(),
                group: b"g".as_slice().into(),
                consumer: b"ann".as_slice().into(),
                source: AVAILABLE,
                count: COUNT,
                while_paused: false,
            })?;
            for stream in given.streams {
                let weir_engine::Entries::Given(given) = stream.entries else { panic!("it asked by source") };
                let nak = |given: &weir_engine::Given| Settle {
                    id: given.entry.id,
                    token: Some(given.token),
                    settlement: nak(None),
                };
                failed_again = given.len() as u64;
                turn.settle(key, b"g", &given.iter().map(nak).collect::<Vec<_>>())?;
            }
        }
        redriven
    });
    let redriven = redriven.unwrap();
    assert!(failed_again > 0, "it takes more than one turn");
    assert_eq!((redriven.entry_ids.len() as u64, redriven.left), (COUNT, failed_again));
}

/// A batch was refused for want of a place for dead letters though none of it became one.
#[test]
fn many_first_failures_in_one_batch_need_no_place_for_dead_letters() {
    let shop = Shop::new(Policy::recommended(), &[("f", "v"); 20]);
    let engine = shop.engine.as_ref().unwrap();
    let letters = weir_core::dead_letters_of(b"s", b"g").unwrap();
    let in_the_way = KeyRef { ns: NamespaceNo(0), name: &letters };
    engine.turn().set_text(in_the_way, b"a string", false, "set").unwrap();
    let given = shop.read("ann", GroupSource::New, 20);
    let settle = |id| Settle { id, token: None, settlement: nak(None) };
    let batch: Vec<Settle> = given.iter().map(|given| settle(given.entry.id)).collect();
    assert_eq!(shop.space().settle(b"s", b"g", &batch).unwrap(), [Settled::Done; 20]);
    // The same entry ten times in a batch does become one.
    let again = vec![settle(given[0].entry.id); 9];
    let refused = shop.space().settle(b"s", b"g", &again).unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::WrongType);
    engine.turn().remove_key(in_the_way).unwrap();
    assert_eq!(shop.space().settle(b"s", b"g", &again).unwrap()[8], Settled::DeadLettered);
}

/// In the place of what was buried came others, and were given out whatever they counted.
#[test]
fn raw_commands_give_nothing_out_too_often_in_the_place_of_dead_letters() {
    let policy = Policy { deliveries_max: 1, ..Policy::recommended() };
    let shop = Shop::new(policy, &[("f", "1"), ("f", "2"), ("f", "3")]);
    assert_eq!(shop.read("ann", GroupSource::New, 9).len(), 3);
    let auto = weir_engine::AutoClaim {
        group: b"g",
        consumer: b"bob",
        idle_min: 0,
        start: EntryId::MIN,
        count: 1,
        just_ids: false,
    };
    let key = KeyRef { ns: NamespaceNo(0), name: b"s" };
    assert_eq!(shop.engine.as_ref().unwrap().turn().auto_claim(key, &auto).unwrap().entries, []);
    assert_eq!((shop.letters().len(), shop.states().len()), (3, 0));
}

/// A claiming read left such a row where it was and hid it from all others: it held its key for ever.
#[test]
fn a_claiming_read_of_redis_drops_rows_without_entries() {
    let shop = Shop::new(keyed(), &[("k", "a"), ("k", "a")]);
    assert_eq!(ids(&shop.read("ann", GroupSource::New, 9)), [1]);
    shop.space().delete_entries(b"s", &[EntryId::new(1, 0)]).unwrap();
    let claiming = |idle_min| weir_engine::ReadGroup {
        ns: NamespaceNo(0),
        group: b"g".as_slice().into(),
        consumer: b"bob".as_slice().into(),
        streams: vec![(b"s".as_slice().into(), weir_engine::GroupReadFrom::New)],
        limits: weir_engine::ReadLimits::default(),
        noack: false,
        claim_idle_min: Some(idle_min),
    };
    let engine = shop.engine.as_ref().unwrap();
    assert_eq!(engine.ask(|turn| turn.read_group(&claiming(60_000))).unwrap().streams.len(), 0);
    assert_eq!(shop.states().len(), 2, "it is too young");
    shop.clock.advance(60 * SECOND);
    engine.ask(|turn| turn.read_group(&claiming(60_000))).unwrap();
    assert!(shop.states().iter().all(|(id, _)| *id == 2), "{:?}", shop.states());
}

/// Behind many rows without entries, some that could be had were left out.
#[test]
fn a_claim_looks_at_all_it_names() {
    const COUNT: u64 = 300;
    let shop = Shop::new(Policy::recommended(), &[("f", "v"); COUNT as usize]);
    let ids_of = |range: std::ops::RangeInclusive<u64>| -> Vec<EntryId> {
        range.map(|ms| EntryId::new(ms, 0)).collect()
    };
    assert_eq!(shop.read("ann", GroupSource::New, COUNT).len() as u64, COUNT);
    shop.space().delete_entries(b"s", &ids_of(2..=COUNT - 1)).unwrap();
    let claim = Claim {
        group: b"g".to_vec(),
        consumer: b"bob".to_vec(),
        idle_min: Duration::ZERO,
        ids: ids_of(1..=COUNT),
    };
    assert_eq!(ids(&shop.space().claim(b"s", &claim).unwrap()), [1, COUNT]);
    assert_eq!(shop.states().len(), 2);
}

#[test]
fn a_dead_letter_stream_belongs_to_one_group() {
    let mine = Policy { dead_letter: Some(b"dead".to_vec()), ..Policy::recommended() };
    let mut shop = Shop::new(mine.clone(), &[("f", "1")]);
    let taken = |shop: &Shop, group: &[u8], name: &[u8]| {
        let policy = Policy { dead_letter: Some(name.to_vec()), ..Policy::recommended() };
        let made = CreateGroup { origin: GroupOrigin::End, policy };
        let answer = shop.space().create_group(b"s", group, &made);
        answer.is_err_and(|error| *error.kind() == ErrorKind::DeadLetterTaken)
    };
    assert!(taken(&shop, b"h", b"dead") && taken(&shop, b"h", b"s") && taken(&shop, b"h", b"{s}:dead:g"));
    shop.again(true);
    assert!(taken(&shop, b"h", b"dead"));
    shop.space().append(b"log", &[(b"f", b"v")], &AppendOptions::default()).unwrap();
    assert!(taken(&shop, b"h", b"log"), "it has a purpose of its own");
    let given = shop.read("ann", GroupSource::New, 1).remove(0);
    let term = Settlement::Term { class: b"c".to_vec(), reason: b"r".to_vec() };
    assert_eq!(shop.settle(&given, term), Settled::DeadLettered);
    shop.space().set_policy(b"s", b"g", Policy::recommended()).unwrap();
    assert!(taken(&shop, b"h", b"dead"), "its letters are in there");
    shop.space().set_policy(b"s", b"g", mine).unwrap();
    assert_eq!(shop.letters().len(), 1);
    shop.space().delete_group(b"s", b"g").unwrap();
    shop.space().delete_stream(b"dead").unwrap();
    assert!(!taken(&shop, b"h", b"dead"));
}

#[test]
fn a_paused_group_gives_nothing_until_its_time() {
    let mut shop = Shop::new(Policy::recommended(), &[("f", "1"), ("f", "2")]);
    let held = shop.read("ann", GroupSource::New, 1).remove(0);
    shop.space().pause(b"s", b"g", Some(5 * SECOND)).unwrap();
    shop.again(true);
    for source in [GroupSource::New, AVAILABLE, GroupSource::History { after: EntryId::MIN }] {
        assert_eq!(shop.read("ann", source, 9), []);
    }
    let mut probe = read("bob", GroupSource::New, 1);
    probe.while_paused = true;
    assert_eq!(ids(&shop.space().read_group(b"s", &probe).unwrap()), [2]);
    assert_eq!(shop.settle(&held, Settlement::Ack), Settled::Done);
    shop.add(3, "f", "3");
    let (space, engine) = (shop.space(), shop.engine.clone().unwrap());
    let waits = ReadGroup { wait: Some(Duration::MAX), ..read("ann", GroupSource::New, 1) };
    let mut task = Task::pending(Deliveries::read_group(&space, b"s", waits));
    shop.clock.advance(5 * SECOND);
    engine.background_step().unwrap();
    assert_eq!(ids(&task.answer().unwrap()), [3]);
    shop.space().pause(b"s", b"g", None).unwrap();
    shop.clock.advance(1_000_000 * SECOND);
    assert_eq!(shop.read("ann", AVAILABLE, 9), []);
    shop.space().resume(b"s", b"g").unwrap();
    assert_eq!(shop.read("ann", AVAILABLE, 9).len(), 2);
}

/// Who waits is served when something is ready, when a delay is over and when a lease is over, and though others that
/// waited before went away.
#[test]
fn a_waiting_read_ends_when_something_may_be_had() {
    let shop = Shop::new(Policy::recommended(), &[("f", "1")]);
    let (space, engine) = (shop.space(), shop.engine.clone().unwrap());
    let waits = |consumer, source| ReadGroup { wait: Some(Duration::MAX), ..read(consumer, source, 1) };
    let wait =
        |consumer, source| Task::pending(Deliveries::read_group(&space, b"s", waits(consumer, source)));
    let held = shop.read("ann", GroupSource::New, 1).remove(0);
    let gone = wait("gone", AVAILABLE);
    let mut task = wait("bob", AVAILABLE);
    assert_eq!(shop.settle(&held, nak(Some(5 * SECOND))), Settled::Done);
    drop(gone);
    shop.clock.advance(5 * SECOND);
    engine.background_step().unwrap();
    let held = task.answer().unwrap().remove(0);
    let mut task = wait("cid", READY);
    shop.clock.advance(30 * SECOND);
    engine.background_step().unwrap();
    let held = (held, task.answer().unwrap().remove(0)).1;
    let mut task = wait("dan", GroupSource::Reclaimed { idle_min: Some(1_000 * SECOND) });
    assert_eq!(shop.settle(&held, Settlement::Release { delay: None }), Settled::Done);
    assert_eq!(ids(&task.answer().unwrap()), [1]);
    assert_eq!(engine.turn().waiting_counts(), (0, 0));
}

pub(crate) fn keyed() -> Policy {
    let backoff = Backoff::List(vec![10 * SECOND]);
    Policy { key: Some(b"k".to_vec()), backoff, ..Policy::recommended() }
}

#[test]
fn a_key_has_one_entry_out_at_a_time_in_order() {
    for with_snapshot in [false, true] {
        let entries = [("k", "a"), ("k", "a"), ("k", "b"), ("k", "a"), ("x", "-"), ("x", "-")];
        let mut shop = Shop::new(keyed(), &entries);
        let given = shop.read("ann", GroupSource::New, 9);
        assert_eq!(ids(&given), [1, 3, 5, 6]);
        shop.again(with_snapshot);
        assert_eq!(shop.states()[1], (2, PendingState::Waiting));
        // A failing key parks itself, and a crashed reader's lease runs out, without anybody overtaking.
        assert_eq!(shop.settle(&given[0], nak(None)), Settled::Done);
        assert_eq!(shop.settle(&given[1], Settlement::Ack), Settled::Done);
        shop.add(7, "k", "b");
        shop.again(with_snapshot);
        assert_eq!(ids(&shop.read("bob", AVAILABLE, 9)), [7]);
        shop.clock.advance(10 * SECOND);
        let first = shop.read("bob", AVAILABLE, 9).remove(0);
        assert_eq!(first.entry.id.ms, 1);
        shop.clock.advance(30 * SECOND);
        let crashed = GroupSource::Reclaimed { idle_min: Some(30 * SECOND) };
        let first = shop.read("cid", crashed, 1).remove(0);
        assert_eq!(first.entry.id.ms, 1);
        assert_eq!(shop.settle(&first, Settlement::Ack), Settled::Done);
        shop.again(with_snapshot);
        assert_eq!(shop.states()[0], (2, PendingState::Ready));
        let second = shop.read("cid", READY, 1).remove(0);
        assert_eq!((second.entry.id.ms, second.deliveries), (2, 1));
        let term = Settlement::Term { class: b"c".to_vec(), reason: b"r".to_vec() };
        assert_eq!(shop.settle(&second, term), Settled::DeadLettered);
        let fourth = shop.read("cid", READY, 1).remove(0);
        assert_eq!(fourth.entry.id.ms, 4);
        // Redriven, the second waits behind the one that is out now.
        let all = Redrive { filter: DeadLetterFilter::default(), count: 9, dry_run: false };
        assert_eq!(shop.space().redrive(b"s", b"g", &all).unwrap().entry_ids, [second.entry.id]);
        assert_eq!(shop.states()[0], (2, PendingState::Waiting));
        shop.again(with_snapshot);
        assert_eq!(shop.settle(&fourth, Settlement::Ack), Settled::Done);
        assert_eq!(ids(&shop.read("cid", READY, 1)), [2]);
    }
}

/// The Redis command that acknowledges frees a key, too, and wakes who waits for it.
#[test]
fn an_xack_lets_the_next_of_a_key_go() {
    let shop = Shop::new(keyed(), &[("k", "a"), ("k", "a")]);
    assert_eq!(shop.read("ann", GroupSource::New, 9).len(), 1);
    let (space, engine) = (shop.space(), shop.engine.clone().unwrap());
    let waits = ReadGroup { wait: Some(Duration::MAX), ..read("bob", AVAILABLE, 1) };
    let mut task = Task::pending(Deliveries::read_group(&space, b"s", waits));
    let key = KeyRef { ns: NamespaceNo(0), name: b"s" };
    assert_eq!(engine.turn().ack(key, b"g", &[EntryId::new(1, 0)]).unwrap(), 1);
    assert_eq!(ids(&task.answer().unwrap()), [2]);
}

/// An entry has to be written before its fields can be looked at.
#[test]
fn a_waiting_read_of_a_group_that_chooses_sees_what_is_appended() {
    let filter = Filter {
        conditions: vec![Condition {
            field: FieldName::Type,
            test: ConditionTest::Prefix(b"order.".to_vec()),
        }],
    };
    let shop = Shop::new(Policy { filter: Some(filter), ..keyed() }, &[("type", "invoice.sent")]);
    let (space, engine) = (shop.space(), shop.engine.clone().unwrap());
    let waits = ReadGroup { wait: Some(Duration::MAX), ..read("ann", GroupSource::New, 9) };
    let mut task = Task::pending(Deliveries::read_group(&space, b"s", waits));
    shop.add(2, "type", "invoice.paid");
    assert!(task.poll().is_pending());
    shop.add(3, "type", "order.placed");
    assert_eq!(ids(&task.answer().unwrap()), [3]);
    let info = shop.space().group_info(b"s", b"g").unwrap().unwrap();
    assert_eq!((info.filtered, info.pending, info.last_delivered_id.ms), (2, 1, 3));
    assert_eq!(engine.turn().waiting_counts(), (0, 0));
}

#[test]
fn another_key_lets_go_what_waited() {
    let mut shop = Shop::new(keyed(), &[("k", "a"), ("k", "a"), ("k", "a")]);
    assert_eq!(ids(&shop.read("ann", GroupSource::New, 9)), [1]);
    shop.space().set_policy(b"s", b"g", Policy::recommended()).unwrap();
    shop.again(true);
    assert_eq!(ids(&shop.read("bob", READY, 9)), [2, 3]);
}

#[test]
fn a_group_is_moved_and_a_preview_changes_nothing() {
    let mut shop = Shop::new(Policy::recommended(), &[("f", "1"), ("f", "2"), ("f", "3"), ("f", "4")]);
    let given = shop.read("ann", GroupSource::New, 3);
    let seek = |shop: &Shop, to, dry_run| shop.space().seek(b"s", b"g", Seek { to, dry_run }).unwrap();
    let to = SeekTo::After(EntryId::new(1, 0));
    let would = seek(&shop, to, true);
    assert_eq!((would.from.ms, would.to.ms, would.dropped), (3, 1, 2));
    assert_eq!(shop.states().len(), 3);
    assert_eq!(seek(&shop, to, false), would);
    shop.again(false);
    assert_eq!(shop.settle(&given[2], Settlement::Ack), Settled::NotPending);
    assert_eq!(shop.settle(&given[0], Settlement::Ack), Settled::Done);
    let again = shop.read("ann", GroupSource::New, 1).remove(0);
    assert_eq!(again.entry.id.ms, 2);
    assert_eq!(shop.settle_with(again.entry.id, Some(given[1].token), Settlement::Ack), Settled::Stale);
    assert_eq!(seek(&shop, SeekTo::Skip(1), false).to.ms, 3);
    assert_eq!(ids(&shop.read("ann", GroupSource::New, 9)), [4]);
    assert_eq!(seek(&shop, SeekTo::Start, false).dropped, 2);
    assert_eq!(shop.read("ann", GroupSource::New, 9).len(), 4);
    let (now, end) = (shop.clock.now(), EntryId::new(4, 0));
    assert_eq!(seek(&shop, SeekTo::Time(now), true).to, EntryId::new(0, u64::MAX));
    assert_eq!(seek(&shop, SeekTo::Time(Timestamp(now.0 + 1)), true).to, end);
    assert_eq!(seek(&shop, SeekTo::End, true).to, end);
}

#[test]
fn entries_are_taken_over_by_name_and_by_age() {
    let mut shop = Shop::new(Policy::recommended(), &[("f", "1"), ("f", "2"), ("f", "3"), ("f", "4")]);
    let given = shop.read("ann", GroupSource::New, 9);
    assert_eq!(shop.settle(&given[3], Settlement::Release { delay: None }), Settled::Done);
    shop.space().delete_entries(b"s", &[EntryId::new(2, 0)]).unwrap();
    let (group, consumer) = (b"g".to_vec(), b"bob".to_vec());
    let ids_of = |ms: &[u64]| ms.iter().map(|ms| EntryId::new(*ms, 0)).collect::<Vec<_>>();
    let claim = Claim {
        group: group.clone(),
        consumer: consumer.clone(),
        idle_min: SECOND,
        ids: ids_of(&[4, 1, 4, 9]),
    };
    assert_eq!(ids(&shop.space().claim(b"s", &claim).unwrap()), [4], "the first is too young");
    shop.clock.advance(SECOND);
    shop.again(true);
    let auto = AutoClaim { group, consumer, idle_min: SECOND, start: EntryId::MIN, count: 2 };
    let taken = shop.space().auto_claim(b"s", &auto).unwrap();
    assert_eq!(
        (ids(&taken.deliveries), taken.deleted, taken.cursor),
        (vec![1, 3], ids_of(&[2]), EntryId::new(4, 0))
    );
    assert_eq!(shop.space().pending_summary(b"s", b"g").unwrap().consumers, [(b"bob".to_vec(), 3)]);
}

#[test]
fn rows_come_back_as_they_were_elsewhere() {
    let mut shop = Shop::new(keyed(), &[("k", "a"), ("k", "b"), ("k", "b"), ("k", "c")]);
    shop.space().seek(b"s", b"g", Seek { to: SeekTo::End, dry_run: false }).unwrap();
    let row = |ms, consumer: Option<&str>, delay| RestoredRow {
        id: EntryId::new(ms, 0),
        consumer: consumer.map(|name| name.as_bytes().to_vec()),
        idle: 7 * SECOND,
        deliveries: 3,
        failures: 2,
        delay,
    };
    let rows =
        [row(1, Some("ann"), None), row(2, None, Some(SECOND)), row(3, None, None), row(9, None, None)];
    assert_eq!(shop.space().restore_pending(b"s", b"g", &rows).unwrap(), 3);
    shop.again(true);
    let listed = shop.space().pending(b"s", b"g", &everything()).unwrap();
    assert_eq!((listed[0].idle, listed[0].deliveries, listed[0].failures), (7 * SECOND, 3, 2));
    assert_eq!(listed[2].state, PendingState::Waiting, "behind the one with its key");
    let old = PendingQuery { idle_min: Some(7 * SECOND), ..everything() };
    assert_eq!(shop.space().pending(b"s", b"g", &old).unwrap().len(), 1);
    shop.clock.advance(SECOND);
    let given = shop.read("bob", READY, 9).remove(0);
    assert_eq!((given.entry.id.ms, given.deliveries, given.failures), (2, 4, 2));
}

#[test]
fn a_removed_consumer_hands_back_or_drops() {
    for (fate, left) in [(PendingFate::HandBack, vec![1, 2]), (PendingFate::Drop, vec![])] {
        let mut shop = Shop::new(Policy::recommended(), &[("f", "1"), ("f", "2")]);
        assert_eq!(shop.read("ann", GroupSource::New, 9).len(), 2);
        assert_eq!(shop.space().delete_consumer(b"s", b"g", b"ann", fate).unwrap(), 2);
        shop.again(false);
        let given = shop.read("bob", AVAILABLE, 9);
        assert_eq!(ids(&given), left);
        assert!(given.iter().all(|delivery| delivery.deliveries == 2), "deliveries stay counted");
        assert_eq!(shop.space().delete_consumer(b"s", b"g", b"none", fate).unwrap(), 0);
    }
}

#[test]
fn a_group_is_made_once() {
    let shop = Shop::new(Policy::recommended(), &[("f", "1")]);
    let made = |origin| {
        let policy = Policy { failures_max: 3, ..Policy::recommended() };
        shop.space().create_group(b"s", b"g", &CreateGroup { origin, policy })
    };
    assert_eq!(made(GroupOrigin::Beginning).unwrap(), weir_core::Created::Existing);
    assert_eq!(*made(GroupOrigin::End).unwrap_err().kind(), ErrorKind::GroupExists);
    let info = shop.space().group_info(b"s", b"g").unwrap().unwrap();
    assert_eq!(info.policy, Some(Policy::recommended()), "its policy was left as it is");
}

#[test]
fn a_group_without_policy_keeps_what_fails() {
    let shop = Shop::new(Policy::recommended(), &[("f", "1")]);
    let engine = shop.engine.as_ref().unwrap();
    let key = KeyRef { ns: NamespaceNo(0), name: b"s" };
    let start = weir_engine::GroupStart::After(EntryId::MIN);
    engine.turn().group_create(key, b"raw", start, None, false).unwrap();
    let raw = ReadGroup { group: b"raw".to_vec(), ..read("ann", GroupSource::New, 1) };
    let given = shop.space().read_group(b"s", &raw).unwrap().remove(0);
    assert_eq!(given.lease_until, Timestamp(u64::MAX));
    let settle = |settlement| {
        let settle = Settle { id: EntryId::new(1, 0), token: None, settlement };
        shop.space().settle(b"s", b"raw", &[settle]).unwrap()[0]
    };
    for _ in 0..30 {
        assert_eq!(settle(nak(None)), Settled::Done);
    }
    let again = ReadGroup { source: READY, ..raw };
    let given = shop.space().read_group(b"s", &again).unwrap().remove(0);
    assert_eq!((given.failures, given.deliveries), (30, 2));
    assert_eq!(settle(Settlement::Term { class: b"c".to_vec(), reason: b"r".to_vec() }), Settled::Done);
    assert_eq!(settle(Settlement::Ack), Settled::NotPending);
}
