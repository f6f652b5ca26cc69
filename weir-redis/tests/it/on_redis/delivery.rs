//! Delivery: reading as a group, settling, failing, taking over, dead letters, lanes.

use std::time::Duration;

use tokio::time::timeout;
use weir_core::{
    AppendOptions, AutoClaim, Backoff, Claim, Condition, ConditionTest, CreateGroup, DeadLetterFilter,
    DeadLetterQuery, Deliveries, Delivery, EntryId, FieldName, Filter, GroupOrigin, GroupSource, Groups,
    PendingQuery, PendingState, Policy, ReadGroup, Redrive, RestoredRow, Retention, Seek, SeekTo, Settle,
    Settled, Settlement, Streams, TrimTo, Trimmed,
};
use weir_redis::{Options, RedisBroker};

use super::redis_server::Redis;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn id(ms: u64) -> EntryId {
    EntryId::new(ms, 0)
}

fn from(source: GroupSource, consumer: &str) -> ReadGroup {
    ReadGroup {
        group: b"g".to_vec(),
        consumer: consumer.into(),
        source,
        count: 100,
        wait: None,
        while_paused: false,
    }
}

fn settle(delivery: &Delivery, settlement: Settlement) -> Settle {
    Settle { id: delivery.entry.id, token: Some(delivery.token), settlement }
}

fn nak(delay: Option<Duration>) -> Settlement {
    Settlement::Nak { delay, class: b"timeout".to_vec(), reason: b"it took too long".to_vec() }
}

fn ids(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.entry.id.ms).collect()
}

async fn group(redis: &Redis, policy: Policy) -> RedisBroker {
    let broker = redis.broker().await;
    broker.create_group(b"s", b"g", CreateGroup { origin: GroupOrigin::Beginning, policy }).await.unwrap();
    broker
}

async fn append(broker: &RedisBroker, ms: u64, fields: &[(&[u8], &[u8])]) {
    let options = AppendOptions { id: Some(id(ms)), ..AppendOptions::default() };
    broker.append(b"s", fields, options).await.unwrap();
}

#[tokio::test]
async fn an_entry_is_read_and_acknowledged_once() {
    let redis = Redis::start();
    let broker = group(&redis, Policy::recommended()).await;
    for ms in 1..=3 {
        append(&broker, ms, &[(b"a", b"1")]).await;
    }
    let given = broker.read_group(b"s", from(GroupSource::New, "c")).await.unwrap();
    assert_eq!(ids(&given), [1, 2, 3]);
    assert_eq!((given[0].deliveries, given[0].failures, given[0].redrives), (1, 0, 0));
    let acks: Vec<_> = given.iter().map(|given| settle(given, Settlement::Ack)).collect();
    assert_eq!(broker.settle(b"s", b"g", &acks).await.unwrap(), [Settled::Done; 3]);
    assert_eq!(broker.settle(b"s", b"g", &acks).await.unwrap(), [Settled::NotPending; 3]);
    assert_eq!(broker.pending_summary(b"s", b"g").await.unwrap().count, 0);
    assert!(broker.lag(b"s", b"g").await.unwrap().drained_per_s > 0.0);
}

#[tokio::test]
async fn whoever_takes_an_entry_over_fences_the_one_before() {
    let redis = Redis::start();
    let broker = group(&redis, Policy::recommended()).await;
    append(&broker, 1, &[(b"a", b"1")]).await;
    let first = broker.read_group(b"s", from(GroupSource::New, "c")).await.unwrap();
    let reclaimed = GroupSource::Reclaimed { idle_min: NOW };
    let second = broker.read_group(b"s", from(reclaimed, "d")).await.unwrap();
    assert_eq!((ids(&second), second[0].deliveries), (vec![1], 2));
    let history = GroupSource::History { after: EntryId::MIN };
    let third = broker.read_group(b"s", from(history, "d")).await.unwrap();
    for stale in [&first[0], &second[0]] {
        for settlement in [Settlement::Ack, nak(None), Settlement::Extend] {
            let settled = broker.settle(b"s", b"g", &[settle(stale, settlement)]).await.unwrap();
            assert_eq!(settled, [Settled::Stale]);
        }
    }
    // A client that knows no tokens takes it: who had it finds out.
    let mut client = redis.client().await;
    let _: redis::Value =
        redis::cmd("XCLAIM").arg(&["s", "g", "foreign", "0", "1-0"]).query_async(&mut client).await.unwrap();
    let settled = broker.settle(b"s", b"g", &[settle(&third[0], Settlement::Ack)]).await.unwrap();
    assert_eq!(settled, [Settled::Stale]);
    let unfenced = Settle { id: id(1), token: None, settlement: Settlement::Ack };
    assert_eq!(broker.settle(b"s", b"g", &[unfenced]).await.unwrap(), [Settled::Done]);
}

#[tokio::test]
async fn failures_wait_as_the_policy_says_and_end_as_dead_letters() {
    let redis = Redis::start();
    let delays = vec![Duration::from_millis(40), Duration::from_millis(80)];
    let broker = group(&redis, Policy::delayed(delays)).await;
    append(&broker, 1, &[(b"a", b"1"), (b"a", b"2")]).await;
    let mut read = ReadGroup { wait: Some(Duration::from_secs(20)), ..from(GroupSource::New, "c") };
    read.source = GroupSource::Available { idle_min: None };
    for failures in 0..2 {
        let given = broker.read_group(b"s", read.clone()).await.unwrap();
        assert_eq!((given[0].deliveries, given[0].failures), (failures + 1, failures));
        assert_eq!(
            broker.settle(b"s", b"g", &[settle(&given[0], nak(None))]).await.unwrap(),
            [Settled::Done]
        );
        let again = broker.settle(b"s", b"g", &[settle(&given[0], Settlement::Ack)]).await.unwrap();
        assert_eq!(again, [Settled::Stale]);
    }
    let given = broker.read_group(b"s", read.clone()).await.unwrap();
    assert_eq!(given[0].last_failure.as_ref().unwrap().class, b"timeout");
    let settled = broker.settle(b"s", b"g", &[settle(&given[0], nak(None))]).await.unwrap();
    assert_eq!(settled, [Settled::DeadLettered]);
    let query = DeadLetterQuery { filter: DeadLetterFilter::default(), after: EntryId::MIN, count: 10 };
    let page = broker.dead_letters(b"s", b"g", query.clone()).await.unwrap();
    let letter = &page.letters[0];
    assert_eq!((letter.entry_id, letter.deliveries, letter.failures), (id(1), 3, 3));
    assert_eq!(letter.fields, given[0].entry.fields);
    assert_eq!(letter.consumer.as_deref(), Some(b"c".as_slice()));
    let lag = broker.lag(b"s", b"g").await.unwrap();
    assert_eq!((lag.dead, lag.total()), (1, 0));

    let redrive = Redrive { filter: DeadLetterFilter::default(), count: 10, dry_run: true };
    let dry = broker.redrive(b"s", b"g", redrive.clone()).await.unwrap();
    assert_eq!((dry.entry_ids, dry.left), (vec![id(1)], 0));
    let done = broker.redrive(b"s", b"g", Redrive { dry_run: false, ..redrive }).await.unwrap();
    assert_eq!((done.entry_ids, done.left), (vec![id(1)], 0));
    let given = broker.read_group(b"s", read).await.unwrap();
    assert_eq!((given[0].deliveries, given[0].failures, given[0].redrives), (1, 0, 1));
    assert!(broker.dead_letters(b"s", b"g", query).await.unwrap().letters.is_empty());
}

#[tokio::test]
async fn an_entry_that_is_given_out_too_often_becomes_a_dead_letter() {
    let redis = Redis::start();
    let broker = group(&redis, Policy { deliveries_max: 2, ..Policy::recommended() }).await;
    append(&broker, 1, &[(b"a", b"1")]).await;
    broker.read_group(b"s", from(GroupSource::New, "c")).await.unwrap();
    let history = GroupSource::History { after: EntryId::MIN };
    assert_eq!(broker.read_group(b"s", from(history, "c")).await.unwrap()[0].deliveries, 2);
    assert!(broker.read_group(b"s", from(history, "c")).await.unwrap().is_empty());
    let query = DeadLetterQuery { filter: DeadLetterFilter::default(), after: EntryId::MIN, count: 1 };
    let page = broker.dead_letters(b"s", b"g", query).await.unwrap();
    assert_eq!(page.letters[0].last_failure.class, b"max-deliveries");
    assert_eq!((page.letters[0].failures, page.letters[0].first_failure.clone()), (0, None));
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn a_released_entry_comes_again_uncounted_lowest_first() {
    let redis = Redis::start();
    let broker = group(&redis, Policy::recommended()).await;
    for ms in [9, 10, 1_000] {
        append(&broker, ms, &[(b"a", b"1")]).await;
    }
    let given = broker.read_group(b"s", from(GroupSource::New, "c")).await.unwrap();
    let released: Vec<_> =
        given.iter().rev().map(|given| settle(given, Settlement::Release { delay: None })).collect();
    assert_eq!(broker.settle(b"s", b"g", &released).await.unwrap(), [Settled::Done; 3]);
    let query =
        PendingQuery { consumer: None, idle_min: None, start: EntryId::MIN, end: EntryId::MAX, count: 10 };
    let rows = broker.pending(b"s", b"g", query.clone()).await.unwrap();
    assert!(rows.iter().all(|row| row.state == PendingState::Ready && row.consumer.is_none()));
    assert_eq!(rows.iter().map(|row| row.deliveries).collect::<Vec<_>>(), [0, 0, 0]);
    let available = GroupSource::Available { idle_min: None };
    let again = broker.read_group(b"s", ReadGroup { count: 2, ..from(available, "d") }).await.unwrap();
    assert_eq!((ids(&again), again[0].deliveries), (vec![9, 10], 1));
    let claim = Claim {
        group: b"g".to_vec(),
        consumer: b"e".to_vec(),
        idle_min: Duration::ZERO,
        ids: vec![id(1_000), id(9), id(77)],
    };
    assert_eq!(ids(&broker.claim(b"s", claim).await.unwrap()), [9, 1_000]);
    let auto = AutoClaim {
        group: b"g".to_vec(),
        consumer: b"f".to_vec(),
        idle_min: Duration::ZERO,
        start: EntryId::MIN,
        count: 2,
    };
    broker.delete_entries(b"s", &[id(9)]).await.unwrap();
    let taken = broker.auto_claim(b"s", auto).await.unwrap();
    assert_eq!(
        (ids(&taken.deliveries), taken.deleted, taken.cursor),
        (vec![10, 1_000], vec![id(9)], EntryId::MIN)
    );
    assert_eq!(broker.pending(b"s", b"g", query).await.unwrap().len(), 2);
}

#[tokio::test]
async fn of_a_key_one_entry_is_in_flight_at_a_time() {
    let redis = Redis::start();
    let backoff = Backoff::List(vec![Duration::ZERO]);
    let policy = Policy { key: Some(b"k".to_vec()), backoff, ..Policy::recommended() };
    let broker = group(&redis, policy).await;
    for (ms, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "b")] {
        append(&broker, ms, &[(b"k", key.as_bytes())]).await;
    }
    append(&broker, 6, &[(b"other", b"1")]).await;
    let given = broker.read_group(b"s", from(GroupSource::New, "c")).await.unwrap();
    assert_eq!(ids(&given), [1, 3, 6]);
    let lag = broker.lag(b"s", b"g").await.unwrap();
    assert_eq!((lag.undelivered, lag.pending), (3, 3));
    let available = GroupSource::Available { idle_min: None };
    broker.settle(b"s", b"g", &[settle(&given[0], nak(None))]).await.unwrap();
    let again = broker.read_group(b"s", from(available, "c")).await.unwrap();
    assert_eq!(ids(&again), [1], "the failing one comes before those behind it");
    broker.settle(b"s", b"g", &[settle(&again[0], Settlement::Ack)]).await.unwrap();
    let next = broker.read_group(b"s", from(available, "c")).await.unwrap();
    assert_eq!((ids(&next), next[0].deliveries), (vec![2], 1));
    let both = [settle(&next[0], Settlement::Ack), settle(&given[1], Settlement::Ack)];
    broker.settle(b"s", b"g", &both).await.unwrap();
    assert_eq!(ids(&broker.read_group(b"s", from(available, "c")).await.unwrap()), [4, 5]);
}

/// The read that drops the row of an entry that is gone is not given what waited for its key; the one after it is, and
/// who waits reads again at once, however rarely it looks otherwise.
#[tokio::test]
async fn a_waiting_read_is_given_what_its_first_look_let_go() {
    let redis = Redis::start();
    let policy = Policy { key: Some(b"k".to_vec()), ..Policy::recommended() };
    group(&redis, policy).await;
    let options = Options { tick: Duration::from_secs(3_600), ..Options::default() };
    let broker = weir_redis::connect(&redis.url(), options).await.unwrap();
    for ms in 1..=2 {
        append(&broker, ms, &[(b"k", b"x")]).await;
    }
    let given = broker.read_group(b"s", from(GroupSource::New, "c")).await.unwrap();
    let released = settle(&given[0], Settlement::Release { delay: None });
    broker.settle(b"s", b"g", &[released]).await.unwrap();
    broker.delete_entries(b"s", &[id(1)]).await.unwrap();
    let available = from(GroupSource::Available { idle_min: None }, "c");
    let waiting = ReadGroup { wait: Some(Duration::from_secs(3_600)), ..available };
    let given = timeout(Duration::from_secs(60), broker.read_group(b"s", waiting)).await;
    assert_eq!(ids(&given.expect("it looks again at once").unwrap()), [2]);
}

#[tokio::test]
async fn what_a_filter_does_not_let_through_is_passed_over() {
    let redis = Redis::start();
    let test = ConditionTest::Prefix(b"order.".to_vec());
    let filter = Filter { conditions: vec![Condition { field: FieldName::Type, test }] };
    let broker = group(&redis, Policy { filter: Some(filter), ..Policy::recommended() }).await;
    for ms in 1..=400 {
        let kind: &[u8] = if ms % 100 == 0 { b"order.placed" } else { b"invoice" };
        append(&broker, ms, &[(b"eventType", kind)]).await;
    }
    assert_eq!(broker.lag(b"s", b"g").await.unwrap().undelivered, 4);
    let given = broker.read_group(b"s", ReadGroup { count: 3, ..from(GroupSource::New, "c") }).await.unwrap();
    assert_eq!(ids(&given), [100, 200, 300]);
    let info = broker.group_info(b"s", b"g").await.unwrap().unwrap();
    assert_eq!((info.filtered, info.pending, info.last_delivered_id), (297, 3, id(300)));
}

#[tokio::test]
async fn a_required_group_holds_what_it_has_not_acknowledged() {
    let redis = Redis::start();
    let broker = group(&redis, Policy { required: true, ..Policy::recommended() }).await;
    for ms in 1..=4 {
        append(&broker, ms, &[(b"a", b"1")]).await;
    }
    let given = broker.read_group(b"s", ReadGroup { count: 2, ..from(GroupSource::New, "c") }).await.unwrap();
    broker.settle(b"s", b"g", &[settle(&given[0], Settlement::Ack)]).await.unwrap();
    assert_eq!(broker.trim(b"s", TrimTo::Length(1)).await.unwrap(), Trimmed { removed: 1, held: 2 });
    let limits = Retention { length: Some(1), hold: Some(2), ..Retention::default() };
    broker.set_retention(b"s", Some(limits)).await.unwrap();
    append(&broker, 5, &[(b"a", b"1")]).await;
    append(&broker, 6, &[(b"a", b"1")]).await;
    let query = weir_core::LostQuery { group: None, after: None, count: 10 };
    let lost = broker.lost(b"s", query).await.unwrap().entries;
    let lost: Vec<_> = lost.iter().map(|lost| (lost.id.ms, lost.was_pending)).collect();
    assert_eq!(lost, [(2, true), (3, false)]);
    assert_eq!(broker.pending_summary(b"s", b"g").await.unwrap().count, 0);
    let everything = weir_core::ReadOptions {
        from: weir_core::ReadFrom::Start,
        to: None,
        backward: false,
        count: 10,
        wait: None,
    };
    let alerts = broker.read(b"{s}:alerts", everything).await.unwrap();
    let levels: Vec<_> =
        alerts.iter().map(|alert| weir_core::first_value(&alert.fields, b"level").unwrap()).collect();
    assert_eq!(levels, [b"0".as_slice(), b"50", b"80", b"100"]);
}

#[tokio::test]
async fn rows_are_restored_as_they_were_elsewhere() {
    let redis = Redis::start();
    let broker = group(&redis, Policy::recommended()).await;
    for ms in 1..=3 {
        append(&broker, ms, &[(b"a", b"1")]).await;
    }
    let row = |ms, consumer: Option<&str>, delay| RestoredRow {
        id: id(ms),
        consumer: consumer.map(Into::into),
        idle: Duration::from_secs(60),
        deliveries: 7,
        failures: 2,
        delay,
    };
    let hour = Some(Duration::from_secs(3_600));
    let rows = [row(1, Some("c"), None), row(2, None, None), row(3, None, hour), row(4, None, None)];
    assert_eq!(broker.restore_pending(b"s", b"g", &rows).await.unwrap(), 0, "it was given none of them yet");
    broker.seek(b"s", b"g", Seek { to: SeekTo::End, dry_run: false }).await.unwrap();
    assert_eq!(broker.restore_pending(b"s", b"g", &rows).await.unwrap(), 3);
    let lag = broker.lag(b"s", b"g").await.unwrap();
    assert_eq!((lag.pending, lag.ready, lag.delayed), (1, 1, 1));
    assert!(lag.oldest_pending.unwrap() >= Duration::from_secs(60));
    let reclaimed = GroupSource::Reclaimed { idle_min: None };
    let given = broker.read_group(b"s", from(reclaimed, "d")).await.unwrap();
    assert_eq!((ids(&given), given[0].deliveries, given[0].failures), (vec![2, 1], 8, 2));
}

#[tokio::test]
async fn an_entry_too_large_for_a_script_becomes_a_dead_letter_and_keeps_nobody_waiting() {
    let redis = Redis::start();
    let broker = group(&redis, Policy { deliveries_max: 1, ..Policy::recommended() }).await;
    let mut client = redis.client().await;
    let mut large = redis::cmd("XADD");
    large.arg("s").arg("1-0");
    (0..6_000).for_each(|n| {
        large.arg(n).arg("x");
    });
    let _: String = large.query_async(&mut client).await.unwrap();
    append(&broker, 2, &[(b"a", b"1")]).await;
    let one = ReadGroup { count: 1, ..from(GroupSource::New, "c") };
    assert_eq!(ids(&broker.read_group(b"s", one).await.unwrap()), [1]);
    let available = GroupSource::Available { idle_min: NOW };
    assert_eq!(ids(&broker.read_group(b"s", from(available, "d")).await.unwrap()), [2]);
    let query = DeadLetterQuery { filter: DeadLetterFilter::default(), after: EntryId::MIN, count: 10 };
    let letters = broker.dead_letters(b"s", b"g", query).await.unwrap().letters;
    assert_eq!((letters.len(), letters[0].entry_id, letters[0].fields.len()), (1, id(1), 3_750));
    let options = Redrive { filter: DeadLetterFilter::default(), count: 10, dry_run: false };
    assert_eq!(broker.redrive(b"s", b"g", options).await.unwrap().entry_ids, [id(1)]);
    let again = broker.read_group(b"s", from(GroupSource::Reclaimed { idle_min: None }, "d")).await.unwrap();
    assert_eq!(again[0].entry.fields.len(), 6_000, "it is given whole again");
}

#[tokio::test]
async fn what_is_held_too_long_is_found_beside_much_that_waits_for_its_key() {
    let redis = Redis::start();
    let broker = group(&redis, Policy { key: Some(b"k".to_vec()), ..Policy::recommended() }).await;
    for ms in 1..=700 {
        // The first of each key is given out, and all others wait for it.
        let key = if ms % 2 == 0 { b"even".as_slice() } else { b"odd" };
        append(&broker, ms, &[(b"k", key)]).await;
    }
    append(&broker, 701, &[(b"a", b"1")]).await;
    let one = |consumer| ReadGroup { count: 1, ..from(GroupSource::New, consumer) };
    let held = [one("c"), one("d"), one("c")].map(|read| broker.read_group(b"s", read));
    let mut given = Vec::new();
    for read in held {
        given.extend(ids(&read.await.unwrap()));
    }
    assert_eq!(given, [1, 2, 701]);
    let reclaimed = |count| ReadGroup { count, ..from(GroupSource::Reclaimed { idle_min: NOW }, "e") };
    assert_eq!(ids(&broker.read_group(b"s", reclaimed(2)).await.unwrap()), [1, 2]);
    assert_eq!(ids(&broker.read_group(b"s", reclaimed(9)).await.unwrap()), [1, 2, 701]);
    let young = GroupSource::Reclaimed { idle_min: Some(Duration::from_secs(3_600)) };
    assert!(broker.read_group(b"s", from(young, "e")).await.unwrap().is_empty());
}
