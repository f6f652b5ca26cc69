//! The server goes and comes back: nothing is lost, nothing is done twice, and nobody waits for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use weir_core::{
    AppendOptions, CreateGroup, Deliveries, ErrorKind, GroupOrigin, GroupSource, Groups, Policy, Producer,
    ReadFrom, ReadGroup, ReadOptions, Settle, Settled, Settlement, Streams, first_value,
};
use weir_redis::{Options, RedisBroker};

use super::redis_server::Redis;

const ENTRIES: u64 = 600;
const KILLS: usize = 3;

fn options() -> Options {
    Options { retry_for: Duration::from_secs(20), ..super::redis_server::options() }
}

fn producer(n: u64) -> AppendOptions {
    let producer = Producer { name: b"p".to_vec(), append_id: n.to_string().into_bytes() };
    AppendOptions { producer: Some(producer), ..AppendOptions::default() }
}

/// Kills the server and starts it again whenever so much more was done.
async fn kill_when(redis: &mut Redis, mut done: impl FnMut() -> u64, each: u64) {
    for kill in 1..=KILLS as u64 {
        while done() < kill * each {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        redis.kill();
        redis.start_again();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_with_a_producer_survive_kills_once_each() {
    let mut redis = Redis::durable();
    let broker = weir_redis::connect(&redis.url(), options()).await.unwrap();
    let (told, heard) = tokio::sync::watch::channel(0);
    let appending = tokio::spawn({
        let broker = broker.clone();
        async move {
            for n in 0..ENTRIES {
                let text = n.to_string();
                broker.append(b"s", &[(b"n", text.as_bytes())], producer(n)).await.unwrap();
                told.send_replace(n);
            }
        }
    });
    kill_when(&mut redis, || *heard.borrow(), ENTRIES / 5).await;
    appending.await.unwrap();
    let all = ReadOptions { from: ReadFrom::Start, to: None, backward: false, count: 10_000, wait: None };
    let entries = broker.read(b"s", all).await.unwrap();
    let numbers: Vec<_> = entries
        .iter()
        .map(|entry| {
            String::from_utf8_lossy(first_value(&entry.fields, b"n").unwrap()).parse::<u64>().unwrap()
        })
        .collect();
    assert_eq!(numbers, (0..ENTRIES).collect::<Vec<u64>>(), "each once, in order");
}

async fn filled(redis: &Redis) -> RedisBroker {
    let broker = weir_redis::connect(&redis.url(), options()).await.unwrap();
    let policy = Policy { failures_max: 100, ..Policy::recommended() };
    broker.create_group(b"s", b"g", CreateGroup { origin: GroupOrigin::Beginning, policy }).await.unwrap();
    for n in 0..ENTRIES {
        broker.append(b"s", &[(b"n", b"1")], producer(n)).await.unwrap();
    }
    broker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_survive_kills_and_none_is_lost_or_doubled() {
    let mut redis = Redis::durable();
    let broker = filled(&redis).await;
    let (told, heard) = tokio::sync::watch::channel(0);
    let consuming = tokio::spawn(consume(broker.clone(), told));
    kill_when(&mut redis, || *heard.borrow(), ENTRIES / 5).await;
    let done = consuming.await.unwrap();
    assert_eq!(done.len() as u64, ENTRIES);
    assert!(done.values().all(|times| *times == 1), "an acknowledged entry comes never again");
    let lag = broker.lag(b"s", b"g").await.unwrap();
    assert_eq!((lag.total(), lag.dead), (0, 0));
}

/// Takes its own history first, as every consumer does after an outage, then what is new. How often each entry was
/// acknowledged.
async fn consume(broker: RedisBroker, told: tokio::sync::watch::Sender<u64>) -> BTreeMap<String, u64> {
    let mut done = BTreeMap::new();
    let mut source = GroupSource::New;
    while (done.len() as u64) < ENTRIES {
        let read = ReadGroup {
            group: b"g".to_vec(),
            consumer: b"c".to_vec(),
            source,
            count: 7,
            wait: None,
            while_paused: false,
        };
        let history = GroupSource::History { after: weir_core::EntryId::MIN };
        let Ok(given) = broker.read_group(b"s", read).await else {
            source = history;
            continue;
        };
        source = if given.is_empty() { GroupSource::New } else { source };
        let acks: Vec<_> = given
            .iter()
            .map(|given| Settle { id: given.entry.id, token: Some(given.token), settlement: Settlement::Ack })
            .collect();
        for (ack, settled) in acks.iter().zip(broker.settle(b"s", b"g", &acks).await.unwrap()) {
            assert_eq!(settled, Settled::Done);
            *done.entry(ack.id.to_string()).or_default() += 1;
        }
        told.send_replace(done.len() as u64);
    }
    done
}

#[tokio::test]
async fn while_the_server_is_away_calls_end_in_bounded_time() {
    let mut redis = Redis::start();
    let options = Options { retry_for: Duration::from_millis(300), ..super::redis_server::options() };
    let broker = weir_redis::connect(&redis.url(), options.clone()).await.unwrap();
    let waits = ReadOptions {
        from: ReadFrom::End,
        to: None,
        backward: false,
        count: 1,
        wait: Some(Duration::from_secs(3_600)),
    };
    let waiting = tokio::spawn({
        let broker = broker.clone();
        async move { broker.read(b"s", waits).await.map(drop) }
    });
    redis.kill();
    let begun = Instant::now();
    assert_eq!(*broker.head(b"s").await.unwrap_err().kind(), ErrorKind::Unavailable);
    let append = broker.append(b"s", &[(b"a", b"1")], AppendOptions::default()).await;
    assert_eq!(*append.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(*waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(*weir_redis::connect(&redis.url(), options).await.unwrap_err().kind(), ErrorKind::Unavailable);
    redis.start_again();
    broker.append(b"s", &[(b"a", b"1")], AppendOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_wait_outlasts_a_short_outage() {
    let mut redis = Redis::durable();
    let broker = weir_redis::connect(&redis.url(), options()).await.unwrap();
    let waits = ReadOptions {
        from: ReadFrom::Start,
        to: None,
        backward: false,
        count: 1,
        wait: Some(Duration::from_secs(60)),
    };
    let waiting = tokio::spawn({
        let broker = broker.clone();
        async move { broker.read(b"s", waits).await.unwrap() }
    });
    let mut client = redis.client().await;
    loop {
        let info: String = redis::cmd("INFO").arg("clients").query_async(&mut client).await.unwrap();
        if info.contains("blocked_clients:1") {
            break;
        }
    }
    redis.kill();
    redis.start_again();
    broker.append(b"s", &[(b"a", b"1")], producer(1)).await.unwrap();
    assert_eq!(waiting.await.unwrap().len(), 1);
}
