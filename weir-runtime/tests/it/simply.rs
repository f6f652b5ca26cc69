//! The simple interface: its five stories, its defaults, its forgiving replies, and data that comes back as it was.

use std::time::Duration;

use serde_json::{Value, json};
use weir_runtime::simple::Simple;

use crate::world::World;

fn simple(world: &World) -> Simple {
    Simple::new(world.shared()).time(world.time.clone())
}

#[tokio::test(start_paused = true)]
async fn story_1_two_messages_have_two_ids() {
    let world = World::new();
    let broker = simple(&world);
    let first =
        broker.xadd("notifications", json!({"type": "email", "to": "user@example.com"})).await.unwrap();
    let second =
        broker.xadd("notifications", json!({"type": "sms", "message": "Your code is 1234"})).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(broker.xlen("notifications").await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn story_2_a_group_shares_its_messages() {
    let world = World::new();
    let broker = simple(&world);
    for n in 1..=3 {
        broker.xadd("tasks", json!({"task": n})).await.unwrap();
    }
    broker.create_group("tasks", "workers", Some("0")).await.unwrap();
    let one = broker.xreadgroup("workers", "consumer1", "tasks", Some(2), Some(0)).await.unwrap();
    let two = broker.xreadgroup("workers", "consumer2", "tasks", Some(2), Some(0)).await.unwrap();
    assert_eq!((one.len(), two.len()), (2, 1));
    assert_eq!(two[0].data, json!({"task": 3}));
}

#[tokio::test(start_paused = true)]
async fn story_3_what_is_acknowledged_is_not_pending() {
    let world = World::new();
    let broker = simple(&world);
    broker.create_group("tasks", "workers", Some("0")).await.unwrap();
    broker.xadd("tasks", json!("do it")).await.unwrap();
    let message = broker.xreadgroup("workers", "consumer1", "tasks", None, Some(0)).await.unwrap().remove(0);
    assert_eq!(broker.xpending("tasks", "workers", None).await.unwrap(), std::slice::from_ref(&message));
    assert_eq!(broker.xack("tasks", "workers", &[&message.id]).await.unwrap(), 1);
    assert!(broker.xpending("tasks", "workers", Some("consumer1")).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn story_4_stale_messages_are_claimed() {
    let world = World::new();
    let broker = simple(&world);
    broker.create_group("tasks", "workers", Some("0")).await.unwrap();
    for n in 1..=2 {
        broker.xadd("tasks", json!({"task": n})).await.unwrap();
    }
    broker.xreadgroup("workers", "consumer1", "tasks", Some(2), Some(0)).await.unwrap();
    assert!(broker.xautoclaim("tasks", "workers", "consumer2", 100, Some(10)).await.unwrap().is_empty());
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(
        broker.xautoclaim("tasks", "workers", "consumer1", 100, Some(10)).await.unwrap().is_empty(),
        "its own"
    );
    let claimed = broker.xautoclaim("tasks", "workers", "consumer2", 100, Some(10)).await.unwrap();
    assert_eq!(claimed.iter().map(|message| message.delivery_count).collect::<Vec<_>>(), [Some(2), Some(2)]);
    let ids: Vec<_> = claimed.iter().map(|message| &*message.id).collect();
    assert_eq!(broker.xack("tasks", "workers", &ids).await.unwrap(), 2);
    assert!(broker.xpending("tasks", "workers", None).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn story_5_a_trim_leaves_the_newest() {
    let world = World::new();
    let broker = simple(&world);
    for n in 0..10 {
        broker.xadd("logs", json!({"n": n})).await.unwrap();
    }
    assert_eq!(broker.xtrim("logs", 5).await.unwrap(), 5);
    assert_eq!(broker.xlen("logs").await.unwrap(), 5);
    assert_eq!(broker.xrange("logs", "-", "+", None).await.unwrap()[0].data, json!({"n": 5}));
}

#[tokio::test(start_paused = true)]
async fn data_comes_back_as_it_was() {
    let world = World::new();
    let broker = simple(&world);
    let values = [
        json!({"type": "job", "data": {"deep": [1, 2.5, {"null": null}], "text": "Zoë 🚀"}, "createdAt": 1_764_842_400_000_u64}),
        json!({"type": 7, "a": "5", "b": 5, "c": true, "d": "true", "e": {}}),
        json!([1, "two", [3.0e-7, -0.1]]),
        json!(u64::MAX),
        json!(0.1 + 0.2),
        json!("only text"),
        Value::Null,
        json!({}),
    ];
    for value in &values {
        broker.xadd("s", value.clone()).await.unwrap();
    }
    let read = broker.xrange("s", "-", "+", None).await.unwrap();
    assert_eq!(read.into_iter().map(|message| message.data).collect::<Vec<_>>(), values);
    world.append("s", &[("eventType", "x"), ("data", "{\"a\":1}"), ("n", "5")]).await;
    let foreign = broker.xrange("s", "-", "+", None).await.unwrap().pop().unwrap();
    assert_eq!(
        foreign.data,
        json!({"eventType": "x", "data": "{\"a\":1}", "n": "5"}),
        "of others, all fields as text"
    );
}

#[tokio::test(start_paused = true)]
async fn replies_forgive_and_arguments_have_defaults() {
    let world = World::new();
    let broker = simple(&world);
    assert!(broker.xreadgroup("g", "c", "missing", None, None).await.unwrap().is_empty(), "at once, too");
    assert_eq!(broker.xack("missing", "g", &["1-1", "no id"]).await.unwrap(), 0);
    assert!(broker.xpending("missing", "g", None).await.unwrap().is_empty());
    assert!(broker.xautoclaim("missing", "g", "c", 0, None).await.unwrap().is_empty());
    assert_eq!(broker.delete_consumer("missing", "g", "c").await.unwrap(), 0);
    broker.delete_group("missing", "g").await.unwrap();
    assert!(broker.get_group_info("missing").await.unwrap().is_empty());
    assert_eq!(broker.get_stream_group_info("missing", "g").await.unwrap(), None);
    assert_eq!((broker.xlen("missing").await.unwrap(), broker.xtrim("missing", 1).await.unwrap()), (0, 0));

    broker.xadd("events", json!(1)).await.unwrap();
    broker.create_group("events", "late", None).await.unwrap();
    broker.create_group("events", "late", Some("0")).await.unwrap();
    let late = async || broker.xreadgroup("late", "c", "events", None, Some(0)).await.unwrap();
    assert!(late().await.is_empty(), "by default only what is new, and a second creation changes nothing");
    let id = broker.xadd("events", json!(2)).await.unwrap();
    broker.xadd("events", json!(3)).await.unwrap();
    assert_eq!(late().await.len(), 1, "one by default");
    let info = broker.get_stream_group_info("events", "late").await.unwrap().unwrap();
    assert_eq!((info.last_delivered_id, info.total_pending, info.lag), (id.clone(), 1, 1));
    assert_eq!((&*info.consumers[0].name, info.consumers[0].pending), ("c", 1));
    assert_eq!(broker.delete_consumer("events", "late", "c").await.unwrap(), 1);
    assert_eq!(broker.xdel("events", &[&id]).await.unwrap(), 1);
    for stream in ["mail.dlq", "jobs.dlq", "jobs"] {
        broker.xadd(stream, json!(0)).await.unwrap();
    }
    assert_eq!(broker.scan_streams("*.dlq").await.unwrap(), ["jobs.dlq", "mail.dlq"]);
    assert_eq!(broker.scan_streams("jobs*").await.unwrap(), ["jobs", "jobs.dlq"]);
}

/// The promised automatic trimming happens, and takes nothing that a group has not acknowledged.
#[tokio::test(start_paused = true)]
async fn streams_are_bounded_behind_their_groups() {
    let world = World::new();
    let broker = simple(&world).max_stream_length(Some(100));
    for n in 0..150 {
        broker.xadd("free", json!(n)).await.unwrap();
    }
    assert_eq!(broker.xlen("free").await.unwrap(), 100);
    broker.create_group("held", "slow", Some("0")).await.unwrap();
    for n in 0..150 {
        broker.xadd("held", json!(n)).await.unwrap();
    }
    assert_eq!(broker.xlen("held").await.unwrap(), 150);
}
