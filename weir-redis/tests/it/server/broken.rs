//! Connections that break, servers that go, readers that no longer wait.

use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_core::{
    Admin, AppendOptions, Broker, CreateGroup, ErrorKind, GroupOrigin, GroupSource, Policy, Producer,
    ReadFrom, ReadGroup, ReadOptions,
};
use weir_redis::server::{Options, connect, connect_with};

use super::door::Door;

fn reading(wait: Option<Duration>) -> ReadGroup {
    ReadGroup {
        group: b"billing".to_vec(),
        consumer: b"ann".to_vec(),
        source: GroupSource::New,
        count: 10,
        wait,
        while_paused: false,
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

async fn make_group(broker: &dyn Broker) {
    let options = CreateGroup { origin: GroupOrigin::Beginning, policy: Policy::recommended() };
    broker.create_group(b"orders", b"billing", options).await.unwrap();
}

#[tokio::test]
async fn a_reader_whose_future_is_dropped_waits_no_longer_at_the_server() {
    let door = Door::open().await;
    let broker = connect(&door.url()).await.unwrap().broker();
    make_group(&*broker).await;
    let reader = broker.clone();
    let task =
        tokio::spawn(
            async move { reader.read_group(b"orders", reading(Some(Duration::MAX))).await.map(|_| ()) },
        );
    until("the read waits", || door.broker.waiting() == 1).await;
    task.abort();
    until("nobody waits", || door.broker.waiting() == 0).await;
}

#[tokio::test]
async fn commands_and_settlements_go_on_while_a_read_waits() {
    let door = Door::open().await;
    let broker = connect(&door.url()).await.unwrap().broker();
    make_group(&*broker).await;
    let reader = broker.clone();
    let task = tokio::spawn(async move { reader.read_group(b"orders", reading(Some(Duration::MAX))).await });
    until("the read waits", || door.broker.waiting() == 1).await;
    broker.append(b"orders", &[(b"type", b"placed")], AppendOptions::default()).await.unwrap();
    assert_eq!(task.await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn what_may_be_asked_again_survives_a_cut_connection() {
    let door = Door::open().await;
    let broker = connect(&door.url()).await.unwrap().broker();
    let producer = Producer { name: b"p".to_vec(), append_id: b"1".to_vec() };
    let options = AppendOptions { producer: Some(producer), ..AppendOptions::default() };
    let first = broker.append(b"orders", &[(b"a", b"b")], options.clone()).await.unwrap();
    door.cut();
    let again = broker.append(b"orders", &[(b"a", b"b")], options).await.unwrap();
    assert_eq!((again.id, again.is_duplicate), (first.id, true));
    door.cut();
    assert_eq!(broker.stream_info(b"orders").await.unwrap().unwrap().length, 1);
    let read = ReadOptions {
        from: ReadFrom::Start,
        to: None,
        backward: false,
        count: 10,
        wait: Some(Duration::from_secs(1)),
    };
    assert_eq!(broker.read(b"orders", read).await.unwrap().len(), 1);
    door.cut();
    assert_eq!(
        broker.read(b"orders", read).await.unwrap().len(),
        1,
        "on a reader's connection from the pool"
    );
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_found_again() {
    let door = Door::open().await;
    let (address, url) = (door.address, door.url());
    let options = Options { reconnect_pause_max: Duration::from_millis(50), ..Options::default() };
    let broker = connect_with(&url, options).await.unwrap().broker();
    broker.append(b"orders", &[(b"a", b"b")], AppendOptions::default()).await.unwrap();
    drop(door);
    for _ in 0..3 {
        let away = loop {
            // The first may still find the old connection.
            match broker.head(b"orders").await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert_eq!(away.kind(), &ErrorKind::Unavailable);
        assert!(away.is_retryable());
    }
    let refused = broker.read_group(b"orders", reading(Some(Duration::MAX))).await.unwrap_err();
    assert_eq!(refused.kind(), &ErrorKind::Unavailable);
    assert_eq!(connect(&url).await.unwrap_err().kind(), &ErrorKind::Unavailable);
    let _door = Door::open_on(address, weir_testkit::TestBroker::new()).await;
    let found = tokio::time::timeout(Duration::from_secs(20), async {
        while broker.head(b"orders").await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    found.await.expect("it is found again");
}

#[tokio::test]
async fn readers_use_their_connections_again_and_are_limited() {
    let door = Door::open().await;
    let options = Options { waiting_max: 1, ..Options::default() };
    let broker = connect_with(&door.url(), options).await.unwrap().broker();
    make_group(&*broker).await;
    for _ in 0..5 {
        broker.append(b"orders", &[(b"a", b"b")], AppendOptions::default()).await.unwrap();
        let given = broker.read_group(b"orders", reading(Some(Duration::MAX))).await.unwrap();
        assert_eq!(given.len(), 1);
    }
    assert_eq!(door.accepted.load(Ordering::SeqCst), 2, "one for commands, one for the reader");
    let reader = broker.clone();
    let task = tokio::spawn(async move { reader.read_group(b"orders", reading(Some(Duration::MAX))).await });
    until("the read waits", || door.broker.waiting() == 1).await;
    let refused = broker.read_group(b"orders", reading(Some(Duration::MAX))).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::LimitReached(_)), "{refused:?}");
    task.abort();
}

#[tokio::test]
async fn namespaces_are_databases() {
    let door = Door::open().await;
    let server = connect(&format!("{}/3", door.url())).await.unwrap();
    let names = server.namespaces().await.unwrap();
    assert_eq!((names.len(), &*names[0], &*names[15]), (16, "default", "db15"));
    server.broker().append(b"orders", &[(b"a", b"b")], AppendOptions::default()).await.unwrap();
    assert!(server.namespace("db3").unwrap().head(b"orders").await.unwrap().is_some());
    assert!(server.namespace("default").unwrap().head(b"orders").await.unwrap().is_none());
    assert!(matches!(server.namespace("db16").err().unwrap().kind(), ErrorKind::Invalid(_)));
}
