//! Groups: making them, moving them, looking at them.

use std::time::Duration;

use weir_core::{
    AppendOptions, CreateGroup, Created, Deliveries, EntryId, ErrorKind, GroupOrigin, GroupSource, Groups,
    PendingFate, Policy, ReadGroup, Seek, SeekTo, Settle, Settled, Settlement, Streams,
};

use super::redis_server::Redis;

fn id(ms: u64) -> EntryId {
    EntryId::new(ms, 0)
}

fn beginning() -> CreateGroup {
    CreateGroup { origin: GroupOrigin::Beginning, policy: Policy::recommended() }
}

fn new(count: u64) -> ReadGroup {
    ReadGroup {
        group: b"g".to_vec(),
        consumer: b"c".to_vec(),
        source: GroupSource::New,
        count,
        wait: None,
        while_paused: false,
    }
}

async fn fill(broker: &dyn Streams, n: u64) {
    for ms in 1..=n {
        let options = AppendOptions { id: Some(id(ms)), ..AppendOptions::default() };
        broker.append(b"s", &[(b"a", b"1")], options).await.unwrap();
    }
}

#[tokio::test]
async fn a_group_is_made_once() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    assert_eq!(broker.create_group(b"s", b"g", beginning()).await.unwrap(), Created::New);
    assert_eq!(broker.create_group(b"s", b"g", beginning()).await.unwrap(), Created::Existing);
    let other = CreateGroup { origin: GroupOrigin::End, ..beginning() };
    assert_eq!(*broker.create_group(b"s", b"g", other).await.unwrap_err().kind(), ErrorKind::GroupExists);
    let info = broker.group_info(b"s", b"g").await.unwrap().unwrap();
    assert_eq!(info.origin, Some(GroupOrigin::Beginning));
    assert_eq!(info.policy, Some(Policy::recommended()));
    assert_eq!((info.pending, info.consumers, info.paused), (0, 0, false));
    assert!(broker.delete_group(b"s", b"g").await.unwrap());
    assert!(!broker.delete_group(b"s", b"g").await.unwrap());
    assert_eq!(broker.group_info(b"s", b"g").await.unwrap(), None);
    assert_eq!(*broker.lag(b"s", b"g").await.unwrap_err().kind(), ErrorKind::NoSuchGroup);
    assert_eq!(*broker.read_group(b"t", new(1)).await.unwrap_err().kind(), ErrorKind::NoSuchGroup);
}

#[tokio::test]
async fn groups_of_a_stream_that_nothing_can_be_kept_beside_are_listed_without_looking_elsewhere() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let mut client = redis.client().await;
    let _: () = redis::cmd("XGROUP")
        .arg(&["CREATE", "a}b", "g", "0", "MKSTREAM"])
        .query_async(&mut client)
        .await
        .unwrap();
    // Somebody else's key, of whatever name.
    let _: () = redis::cmd("SET").arg(&["group:g", "theirs"]).query_async(&mut client).await.unwrap();
    let groups = broker.groups(b"a}b").await.unwrap();
    assert_eq!(groups.iter().map(|group| &*group.name).collect::<Vec<_>>(), [b"g"]);
    assert_eq!(groups[0].policy, None);
}

#[tokio::test]
async fn a_dead_letter_stream_belongs_to_one_group() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    let to = |dead: &str| Policy { dead_letter: Some(dead.into()), ..Policy::recommended() };
    let made = |policy| CreateGroup { policy, ..beginning() };
    broker.create_group(b"s", b"g", made(to("dead"))).await.unwrap();
    for taken in ["dead", "s"] {
        let error = broker.create_group(b"s", b"h", made(to(taken))).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::DeadLetterTaken, "{taken}");
    }
    broker.set_policy(b"s", b"g", to("elsewhere")).await.unwrap();
    broker.create_group(b"s", b"h", made(to("dead"))).await.unwrap();
}

#[tokio::test]
async fn a_seek_makes_tokens_above_it_stale_and_keeps_those_below() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    broker.create_group(b"s", b"g", beginning()).await.unwrap();
    fill(&broker, 4).await;
    let before = broker.read_group(b"s", new(4)).await.unwrap();
    let seek = |to, dry_run| Seek { to, dry_run };
    let dry = broker.seek(b"s", b"g", seek(SeekTo::After(id(2)), true)).await.unwrap();
    assert_eq!((dry.from, dry.to, dry.dropped), (id(4), id(2), 2));
    assert_eq!(broker.group_info(b"s", b"g").await.unwrap().unwrap().pending, 4);
    broker.seek(b"s", b"g", seek(SeekTo::After(id(2)), false)).await.unwrap();
    let again = broker.read_group(b"s", new(4)).await.unwrap();
    assert_eq!(again.iter().map(|delivery| delivery.entry.id).collect::<Vec<_>>(), [id(3), id(4)]);
    let settle = |d: &weir_core::Delivery| Settle {
        id: d.entry.id,
        token: Some(d.token),
        settlement: Settlement::Ack,
    };
    let all: Vec<_> = before.iter().map(settle).chain(again.iter().map(settle)).collect();
    let settled = broker.settle(b"s", b"g", &all).await.unwrap();
    use Settled::{Done, Stale};
    assert_eq!(settled, [Done, Done, Stale, Stale, Done, Done]);
    assert_eq!(broker.group_info(b"s", b"g").await.unwrap().unwrap().stale_settlements, 2);
    let skipped = broker.seek(b"s", b"g", seek(SeekTo::Start, false)).await.unwrap();
    assert_eq!((skipped.from, skipped.to), (id(4), EntryId::MIN));
    assert_eq!(broker.seek(b"s", b"g", seek(SeekTo::Skip(3), false)).await.unwrap().to, id(3));
    assert_eq!(broker.lag(b"s", b"g").await.unwrap().undelivered, 1);
}

#[tokio::test]
async fn a_paused_group_gives_nothing() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    broker.create_group(b"s", b"g", beginning()).await.unwrap();
    fill(&broker, 2).await;
    broker.pause(b"s", b"g", None).await.unwrap();
    assert!(broker.group_info(b"s", b"g").await.unwrap().unwrap().paused);
    assert!(broker.read_group(b"s", new(1)).await.unwrap().is_empty());
    let probe = ReadGroup { while_paused: true, ..new(1) };
    assert_eq!(broker.read_group(b"s", probe).await.unwrap().len(), 1);
    broker.pause(b"s", b"g", Some(Duration::from_millis(60))).await.unwrap();
    let waits = ReadGroup { wait: Some(Duration::from_secs(30)), ..new(1) };
    assert_eq!(broker.read_group(b"s", waits).await.unwrap()[0].entry.id, id(2));
    assert!(!broker.group_info(b"s", b"g").await.unwrap().unwrap().paused);
}

#[tokio::test]
async fn a_removed_consumers_entries_are_handed_back_or_dropped() {
    let redis = Redis::start();
    let broker = redis.broker().await;
    broker.create_group(b"s", b"g", beginning()).await.unwrap();
    fill(&broker, 3).await;
    broker.read_group(b"s", new(2)).await.unwrap();
    broker.read_group(b"s", ReadGroup { consumer: b"d".to_vec(), ..new(1) }).await.unwrap();
    assert!(!broker.create_consumer(b"s", b"g", b"d").await.unwrap());
    assert_eq!(broker.delete_consumer(b"s", b"g", b"d", PendingFate::Drop).await.unwrap(), 1);
    assert_eq!(broker.delete_consumer(b"s", b"g", b"c", PendingFate::HandBack).await.unwrap(), 2);
    assert!(broker.consumers(b"s", b"g").await.unwrap().is_empty());
    let lag = broker.lag(b"s", b"g").await.unwrap();
    assert_eq!((lag.ready, lag.pending, lag.undelivered), (2, 0, 0));
    let source = GroupSource::Reclaimed { idle_min: None };
    let again = broker.read_group(b"s", ReadGroup { source, ..new(5) }).await.unwrap();
    assert_eq!(again.iter().map(|delivery| delivery.deliveries).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(broker.consumers(b"s", b"g").await.unwrap()[0].pending, 2);
}
