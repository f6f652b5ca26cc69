//! Sequences that once parted two brokers, shortened, on all of them.

use std::time::Duration;

use weir_core::{Backoff, Condition, ConditionTest, Expected, FieldName, Filter, Policy};
use weir_testkit::differential::Server;
use weir_testkit::properties::op::{
    DeadLetterRef, Fate, FieldList, GroupNo, IdRef, Op, Origin, PolicyRef, Restored, Source, TokenRef,
};
use weir_testkit::properties::{RunOptions, replay};

use crate::properties::{embedded, model, redis, runtime};

const GROUP: GroupNo = (0, 0);

fn check(ops: Vec<Op>) {
    let (runtime, server) = (runtime(), Server::redis().unwrap());
    let mut contenders = vec![model(), embedded(), redis(&runtime, &server)];
    let options = RunOptions { prefix: "parted".into(), positions: false, ..RunOptions::default() };
    let replayed = runtime.block_on(replay(&mut contenders, &options, &ops));
    if let Err(difference) = replayed {
        panic!("{difference}");
    }
}

fn group(policy: Policy) -> Op {
    group_from(Origin::Beginning, policy)
}

fn group_from(origin: Origin, policy: Policy) -> Op {
    let policy = PolicyRef { policy, dead_letter: DeadLetterRef::Default };
    Op::CreateGroup { group: GROUP, origin, policy }
}

/// Entries 1-0, 2-0 … with these fields.
fn batch(entries: &[FieldList]) -> Op {
    let numbered = entries.iter().zip(1..);
    let entries = numbered.map(|(fields, ms)| (Some(IdRef::Small(ms, 0)), None, fields.clone())).collect();
    Op::Batch { stream: 0, entries, producer: None, expected: Expected::Any }
}

fn read(count: u64) -> Op {
    Op::ReadGroup { group: GROUP, consumer: 0, source: Source::New, count, while_paused: false }
}

fn any(id: u64, fate: Fate) -> (IdRef, TokenRef, Fate) {
    (IdRef::Small(id, 0), TokenRef::None, fate)
}

#[test]
fn an_entry_is_acknowledged_once_in_a_batch_whatever_the_order() {
    let entry = || vec![("type", "placed")];
    check(vec![
        group(Policy::recommended()),
        batch(&[entry(), entry(), entry()]),
        read(3),
        Op::Settle { group: GROUP, each: [3, 1, 3].map(|id| any(id, Fate::Ack)).to_vec() },
        Op::Look,
    ]);
}

#[test]
fn lag_knows_how_old_what_waits_is_though_the_first_that_waits_was_deleted() {
    let entry = || vec![("key", "x")];
    check(vec![
        group(Policy { key: Some(b"key".to_vec()), ..Policy::recommended() }),
        batch(&[entry(), entry(), entry()]),
        read(3),
        Op::DeleteEntries { stream: 0, ids: vec![IdRef::Small(2, 0)] },
        Op::Look,
    ]);
}

#[test]
fn what_waits_behind_an_entry_that_is_gone_comes_with_the_next_read() {
    let entry = || vec![("key", "x")];
    let policy = Policy { key: Some(b"key".to_vec()), ..Policy::recommended() };
    let available = || Op::ReadGroup {
        group: GROUP,
        consumer: 0,
        source: Source::Available(Some(Duration::from_secs(3_600))),
        count: 5,
        while_paused: false,
    };
    check(vec![
        group(Policy { backoff: Backoff::List(vec![Duration::ZERO]), ..policy }),
        batch(&[entry(), entry()]),
        read(2),
        Op::Settle { group: GROUP, each: vec![any(1, Fate::Release(None))] },
        Op::DeleteEntries { stream: 0, ids: vec![IdRef::Small(1, 0)] },
        available(),
        available(),
        Op::Look,
    ]);
}

#[test]
fn a_filtered_group_beyond_the_end_of_its_stream_does_not_lag_behind_what_it_will_not_be_given() {
    let placed = Condition { field: FieldName::Type, test: ConditionTest::Equals(b"placed".to_vec()) };
    let filter = Some(Filter { conditions: vec![placed] });
    check(vec![
        group_from(Origin::After(IdRef::Small(9, 0)), Policy { filter, ..Policy::recommended() }),
        Op::Look,
        batch(&[vec![("type", "placed")], vec![("type", "paid")]]),
        Op::Look,
        read(5),
        Op::Look,
    ]);
}

#[test]
fn a_repeated_batch_does_not_spend_what_a_policy_let_go() {
    let entry = || vec![("type", "placed")];
    let repeated = || Op::Append {
        stream: 0,
        entry: (None, Some("1"), entry()),
        producer: Some("p"),
        expected: Expected::Any,
    };
    let retention = weir_core::Retention { length: Some(1), ..Default::default() };
    let policy = PolicyRef { policy: Policy::recommended(), dead_letter: DeadLetterRef::Default };
    check(vec![
        group(Policy { required: true, ..Policy::recommended() }),
        Op::SetRetention { stream: 0, retention: Some(retention) },
        batch(&[entry(), entry()]),
        repeated(),
        Op::SetPolicy { group: GROUP, policy },
        repeated(),
        Op::Look,
    ]);
}

#[test]
fn a_repeated_append_is_answered_as_the_first_though_its_id_cannot_be() {
    let append = |id| Op::Append {
        stream: 0,
        entry: (Some(id), Some("1"), vec![("type", "placed")]),
        producer: Some("p"),
        expected: Expected::Any,
    };
    check(vec![append(IdRef::Small(1, 0)), append(IdRef::Min), append(IdRef::Small(1, 0)), Op::Look]);
}

#[test]
fn what_becomes_ready_since_a_row_was_dropped_is_not_taken_over_by_the_same_claim() {
    let entry = || vec![("key", "x")];
    let policy = Policy { key: Some(b"key".to_vec()), ..Policy::recommended() };
    let ids = || vec![IdRef::Small(1, 0), IdRef::Small(2, 0)];
    let claim = || Op::Claim { group: GROUP, consumer: 1, idle_min: Duration::ZERO, ids: ids() };
    let auto_claim =
        || Op::AutoClaim { group: GROUP, consumer: 1, idle_min: Duration::ZERO, start: IdRef::Min, count: 5 };
    for take_over in [claim(), auto_claim()] {
        check(vec![
            group(policy.clone()),
            batch(&[entry(), entry()]),
            read(2),
            Op::DeleteEntries { stream: 0, ids: vec![IdRef::Small(1, 0)] },
            take_over.clone(),
            Op::Look,
            take_over,
            Op::Look,
        ]);
    }
}

#[test]
fn what_waits_and_is_handed_back_counts_a_delivery_less() {
    let entry = || vec![("key", "x")];
    let policy = Policy { key: Some(b"key".to_vec()), ..Policy::recommended() };
    let restored =
        |id| Restored { id: IdRef::Small(id, 0), consumer: None, deliveries: 2, failures: 2, delay: None };
    let hand_back =
        || Op::Settle { group: GROUP, each: [2, 3].map(|id| any(id, Fate::Release(None))).to_vec() };
    check(vec![
        group(policy),
        batch(&[entry(), entry(), entry()]),
        read(3),
        Op::Restore { group: GROUP, rows: vec![restored(2), restored(3)] },
        hand_back(),
        Op::Look,
        Op::DeleteEntries { stream: 0, ids: vec![IdRef::Small(3, 0)] },
        hand_back(),
        Op::Look,
        Op::Settle { group: GROUP, each: vec![any(1, Fate::Ack)] },
        Op::Look,
    ]);
}
