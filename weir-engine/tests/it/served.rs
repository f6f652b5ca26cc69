//! Reads that wait are served whatever it is that makes something ready, and none takes the lock for long.

use std::time::Duration;

use weir_core::{
    Condition, ConditionTest, Deliveries, Delivery, EntryId, FieldName, Filter, GroupSource, Policy,
    ReadGroup, Retention, Seek, SeekTo,
};
use weir_engine::{Engine, GroupReadFrom, KeyRef, NamespaceNo, ReadLimits, References, Trim, TrimBound};

use crate::deliveries::{SECOND, Shop, ids, keyed, read};
use crate::waiting::Task;

const KEY: KeyRef<'_> = KeyRef { ns: NamespaceNo(0), name: b"s" };

/// Who waited before the pause knew nothing of its end, and what came meanwhile lay there.
#[test]
fn a_read_that_waited_before_a_pause_is_served_after_it() {
    let shop = Shop::new(Policy::recommended(), &[]);
    let (space, engine) = (shop.space(), shop.engine.clone().unwrap());
    let wait = |consumer| {
        let waits = ReadGroup { wait: Some(Duration::MAX), ..read(consumer, GroupSource::New, 1) };
        Task::pending(Deliveries::read_group(&space, b"s", waits))
    };
    let (gone, mut task) = (wait("gone"), wait("ann"));
    shop.space().pause(b"s", b"g", Some(5 * SECOND)).unwrap();
    shop.add(1, "f", "1");
    drop(gone);
    engine.background_step().unwrap();
    assert!(task.poll().is_pending());
    shop.clock.advance(5 * SECOND);
    engine.background_step().unwrap();
    assert_eq!(ids(&task.answer().unwrap()), [1]);
}

/// Has `ann` hold the first of two entries with one key, and `bob` wait for the other; `let_go` ends the first one's row.
fn freed_by(policy: Policy, let_go: impl FnOnce(&Shop, &Engine)) {
    let shop = Shop::new(policy, &[("k", "a")]);
    shop.clock.advance(SECOND);
    shop.add(2, "k", "a");
    assert_eq!(ids(&shop.read("ann", GroupSource::New, 9)), [1]);
    let (space, engine) = (shop.space(), shop.engine.clone().unwrap());
    let source = GroupSource::Available { idle_min: Some(1_000_000 * SECOND) };
    let waits = ReadGroup { wait: Some(Duration::MAX), ..read("bob", source, 1) };
    let mut task = Task::pending(Deliveries::read_group(&space, b"s", waits));
    let_go(&shop, &engine);
    let given: Vec<Delivery> = task.answer().unwrap();
    assert_eq!(ids(&given), [2]);
}

#[test]
fn a_dead_letter_that_a_redis_command_makes_frees_its_key() {
    freed_by(Policy { deliveries_max: 1, ..keyed() }, |_, engine| {
        let history = weir_engine::ReadGroup {
            ns: KEY.ns,
            group: b"g".as_slice().into(),
            consumer: b"ann".as_slice().into(),
            streams: vec![(KEY.name.into(), GroupReadFrom::History(EntryId::MIN))],
            limits: ReadLimits::default(),
            noack: false,
            claim_idle_min: None,
        };
        engine.ask(|turn| turn.read_group(&history)).unwrap();
    });
}

#[test]
fn a_consumer_that_goes_with_its_rows_frees_their_keys() {
    freed_by(keyed(), |_, engine| {
        assert_eq!(engine.turn().consumer_delete(KEY, b"g", b"ann").unwrap(), 1);
    });
}

#[test]
fn an_entry_that_goes_with_its_rows_frees_their_key() {
    freed_by(keyed(), |_, engine| {
        engine.turn().delete_with(KEY, &[EntryId::new(1, 0)], References::Delete).unwrap();
    });
    freed_by(keyed(), |_, engine| {
        let bound = TrimBound::MinId(EntryId::new(2, 0));
        let trim = Trim { bound, approximate: false, limit: 0, references: References::Delete };
        assert_eq!(engine.turn().trim(KEY, &trim).unwrap(), 1);
    });
}

#[test]
fn an_entry_that_is_lost_frees_its_key() {
    freed_by(Policy { required: true, ..keyed() }, |shop, engine| {
        let age = Some(2 * SECOND);
        let retention = Retention { age, hold: Some(0), ..Retention::default() };
        shop.space().set_retention(b"s", Some(retention)).unwrap();
        shop.clock.advance(SECOND + Duration::from_millis(500));
        engine.ask(|turn| turn.keep_retention(KEY)).unwrap();
    });
}

/// A waiting read of a group that was set back looked through the whole backlog under the lock.
#[test]
fn a_waiting_read_looks_at_a_long_backlog_in_slices() {
    const BACKLOG: u64 = 5_000;
    let condition = Condition { field: FieldName::Type, test: ConditionTest::Equals(b"rare".to_vec()) };
    let filter = Some(Filter { conditions: vec![condition] });
    let shop = Shop::new(Policy { filter, ..Policy::recommended() }, &[]);
    (1..=BACKLOG).for_each(|ms| shop.add(ms, "type", "usual"));
    let (space, engine) = (shop.space(), shop.engine.clone().unwrap());
    let end = Seek { to: SeekTo::End, dry_run: false };
    space.seek(b"s", b"g", end).unwrap();
    let waits = ReadGroup { wait: Some(Duration::MAX), ..read("ann", GroupSource::New, 1) };
    let mut task = Task::pending(Deliveries::read_group(&space, b"s", waits));
    let mut turn = engine.turn();
    turn.seek(KEY, b"g", &Seek { to: SeekTo::Start, dry_run: false }).unwrap();
    turn.serve_waiters();
    let seen = turn.group_state(KEY, b"g").unwrap().unwrap().filtered;
    assert!((1..=BACKLOG / 2).contains(&seen), "{seen} at once");
    drop(turn);
    let info = space.group_info(b"s", b"g").unwrap().unwrap();
    assert_eq!((info.filtered, info.last_delivered_id.ms), (BACKLOG, BACKLOG));
    shop.add(BACKLOG + 1, "type", "rare");
    assert_eq!(ids(&task.answer().unwrap()), [BACKLOG + 1]);
}
