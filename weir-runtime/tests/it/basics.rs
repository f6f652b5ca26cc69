//! The working path: outcomes, retries, dead letters, shutdown.

use std::time::Duration;

use weir_core::{Groups, Policy, Streams};
use weir_runtime::{BrokerMarks, Context, Outcome};

use crate::world::{GROUP, Journal, Running, STREAM, World, number};

#[tokio::test(start_paused = true)]
async fn entries_are_handled_in_order_and_settled_by_their_outcomes() {
    let world = World::new();
    world.numbers(0..6).await;
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        let journal = journal.clone();
        async move {
            journal.write((number(&context), context.attempt()));
            match (number(&context), context.failures()) {
                (1, 0) => Outcome::retry("not now"),
                (2, _) => Outcome::Skip,
                (3, _) => Outcome::dead("validation", "never"),
                (4, _)
                    if context.deliveries() == 1 && context.failures() == 0 && journal.read().len() < 6 =>
                {
                    Outcome::snooze(Duration::from_secs(5))
                }
                _ => Outcome::Done,
            }
        }
    };
    let consumer = world.consumer().handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || seen.read().len() >= 6).await;
    world.drained().await;
    assert_eq!(seen.read(), [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (1, 2), (4, 1)]);
    let dead = world.dead().await;
    assert_eq!(dead.len(), 1);
    assert_eq!((&*dead[0].last_failure.class, dead[0].failures), (&b"validation"[..], 1));
    let totals = handle.totals();
    assert_eq!((totals.done, totals.skipped, totals.retried, totals.snoozed, totals.dead), (4, 1, 1, 1, 1));
    running.stop().await;
    assert!(world.broker.consumers(STREAM.as_bytes(), GROUP.as_bytes()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_hands_back_what_is_held_uncounted() {
    let world = World::new();
    world.numbers(0..5).await;
    let handler = async |context: Context| {
        if number(&context) == 1 {
            std::future::pending::<()>().await;
        }
        Outcome::Done
    };
    let running = Running::begin(|shutdown| {
        world.consumer().handler(handler).grace(Duration::from_secs(3)).run(shutdown)
    });
    world.until(async || world.pending().await.len() == 4).await;
    running.stop().await;
    let rows = world.pending().await;
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!((row.state, row.deliveries, row.failures), (weir_core::PendingState::Ready, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn four_handlers_run_at_a_time_and_in_the_order_of_their_keys() {
    let world = World::new();
    for n in 0..40 {
        world.append(STREAM, &[("n", &n.to_string()), ("key", &(n % 5).to_string())]).await;
    }
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        let journal = journal.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(u64::from(number(&context) * 37 % 11))).await;
            journal.write((context.text("key").unwrap().into_owned(), number(&context)));
            Outcome::Done
        }
    };
    let policy = Policy { key: Some(b"key".to_vec()), ..Policy::recommended() };
    let running = Running::begin(|shutdown| {
        world.consumer().policy(policy).handler(handler).concurrency(4).run(shutdown)
    });
    world.until(async || seen.read().len() == 40).await;
    world.drained().await;
    running.stop().await;
    for key in 0..5 {
        let of_key: Vec<_> =
            seen.read().into_iter().filter(|(k, _)| *k == key.to_string()).map(|(_, n)| n).collect();
        assert_eq!(of_key, (0..8).map(|i| i * 5 + key).collect::<Vec<_>>());
    }
}

/// What others have marked is known, and what was done here is known to others; the marks are in the broker.
#[tokio::test(start_paused = true)]
async fn marks_in_the_broker_are_shared() {
    let world = World::new();
    let handled = Journal::new();
    for (start, name) in ["ann", "bob"].into_iter().enumerate() {
        for n in 0..3 + start {
            world.append(STREAM, &[("n", &n.to_string()), ("event", &format!("e{n}"))]).await;
        }
        let marks = BrokerMarks::new(world.shared(), GROUP, 100).unwrap();
        let journal = handled.clone();
        let handler = move |context: Context| {
            journal.write(number(&context));
            async { Outcome::Done }
        };
        let consumer = world.consumer().consumer(name).dedup(marks).dedup_by("event").handler(handler);
        let running = Running::begin(|shutdown| consumer.run(shutdown));
        world.until(async || handled.read().len() == 3 + start).await;
        world.drained().await;
        running.stop().await;
    }
    assert_eq!(handled.read(), [0, 1, 2, 3], "the second time only what is new");
}

/// Without lanes in the broker the order of a field's values is kept within the process.
#[tokio::test(start_paused = true)]
async fn order_by_keeps_the_order_in_this_process() {
    let in_order = async |is_ordered: bool| {
        let world = World::new();
        for n in 0..40_u32 {
            world.append(STREAM, &[("n", &n.to_string()), ("key", &(n % 3).to_string())]).await;
        }
        let seen = Journal::new();
        let journal = seen.clone();
        let handler = move |context: Context| {
            let journal = journal.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(u64::from(number(&context) * 37 % 23))).await;
                journal.write((number(&context) % 3, number(&context)));
                Outcome::Done
            }
        };
        let consumer = world.consumer().concurrency(6);
        let consumer = if is_ordered { consumer.order_by("key") } else { consumer };
        let running = Running::begin(|shutdown| consumer.handler(handler).run(shutdown));
        world.until(async || seen.read().len() == 40).await;
        running.stop().await;
        (0..3).all(|key| seen.read().into_iter().filter(|(of, _)| *of == key).is_sorted())
    };
    assert!(!in_order(false).await && in_order(true).await);
}

/// A group that was removed under a running consumer is made again, and the consumer goes on.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_removed_is_made_again() {
    let world = World::new();
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        journal.write(number(&context));
        async { Outcome::Done }
    };
    let running = Running::begin(|shutdown| world.consumer().handler(handler).run(shutdown));
    world.numbers(0..1).await;
    world.until(async || seen.read() == [0]).await;
    world.drained().await;
    world.broker.delete_stream(STREAM.as_bytes()).await.unwrap();
    world.numbers(1..2).await;
    world.until(async || seen.read() == [0, 1]).await;
    running.stop().await;
}
