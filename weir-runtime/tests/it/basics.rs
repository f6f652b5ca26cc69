//! The working path: outcomes, retries, dead letters, shutdown.

use std::time::Duration;

use weir_core::{Groups, Policy};
use weir_runtime::{Context, Outcome};

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
