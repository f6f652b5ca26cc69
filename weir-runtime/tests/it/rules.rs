//! The rules of the runtime, R1 to R15, one test or more each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tower::Layer;
use weir_core::{
    CreateGroup, Deliveries, ErrorKind, GroupOrigin, GroupSource, Groups, PendingState, Policy, Settle,
    Settled, Settlement, Streams,
};
use weir_runtime::{
    Batch, Bisect, Context, HandlerError, Item, KillSwitchSettings, MarkStore, MemoryMarks, Outcome,
    Outcomes, Sink, Stage, StreamState, TraceParent, class,
};

use crate::world::{GROUP, Journal, Running, STREAM, World, number};

const S: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn delays(seconds: &[u64]) -> Policy {
    Policy::delayed(seconds.iter().map(|seconds| Duration::from_secs(*seconds)).collect())
}

/// Handler runs are (immediate + 1) × (delayed + 1), and the delays lie between the deliveries.
#[tokio::test(start_paused = true)]
async fn r01_two_level_retry() {
    let world = World::new();
    world.numbers(0..1).await;
    let runs = Journal::new();
    let (journal, time) = (runs.clone(), world.time.clone());
    let handler = move |context: Context| {
        journal.write((time.elapsed().as_secs(), context.attempt()));
        async { Outcome::retry("never") }
    };
    let consumer = world.consumer().policy(delays(&[10, 20, 30])).immediate(5).handler(handler);
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || world.dead().await.len() == 1).await;
    running.stop().await;
    assert_eq!(runs.read().len(), 24, "(5 + 1) × (3 + 1)");
    let seconds: Vec<_> = runs.read().iter().step_by(6).map(|(second, _)| *second).collect();
    assert_eq!(seconds, [0, 10, 30, 60]);
    assert!(runs.read().iter().map(|(_, attempt)| *attempt).eq(1..=24));
    assert_eq!(world.dead().await[0].failures, 4, "the broker counts deliveries that failed, not runs");
}

/// Failures are counted by the broker: however many consumers come and go, there are failures_max failed deliveries.
#[tokio::test(start_paused = true)]
async fn r02_counters_live_in_the_broker() {
    let world = World::new();
    world.numbers(0..1).await;
    let runs = Arc::new(AtomicU32::new(0));
    for instance in 0..6 {
        let counter = Arc::clone(&runs);
        let handler = move |_: Context| {
            counter.fetch_add(1, Ordering::SeqCst);
            async { Outcome::retry("never") }
        };
        let consumer =
            world.consumer().policy(delays(&[1, 1, 1])).consumer(format!("c{instance}")).handler(handler);
        let running = Running::begin(|shutdown| consumer.run(shutdown));
        let before = runs.load(Ordering::SeqCst);
        world.until(async || runs.load(Ordering::SeqCst) > before || world.dead().await.len() == 1).await;
        if instance % 2 == 0 {
            world.until(async || world.pending().await.iter().all(|row| row.consumer.is_none())).await;
            running.kill().await;
        } else {
            running.stop().await;
        }
    }
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    assert_eq!(world.dead().await.len(), 1);
}

/// 1 s × 2.0, at most 60 s: 1, 2, 4, 8, 16, 32, 60, 60 s.
#[tokio::test(start_paused = true)]
async fn r03_backoff_unit_vector() {
    let world = World::new();
    world.numbers(0..1).await;
    let runs = Journal::new();
    let (journal, time) = (runs.clone(), world.time.clone());
    let handler = move |_: Context| {
        journal.write(time.elapsed().as_secs());
        async { Outcome::retry("never") }
    };
    let policy = Policy { failures_max: 9, ..Policy::recommended() };
    let running = Running::begin(|shutdown| world.consumer().policy(policy).handler(handler).run(shutdown));
    world.until(async || world.dead().await.len() == 1).await;
    running.stop().await;
    let waits: Vec<_> = runs.read().windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
}

/// A single delay above 24 h is refused: in a policy by an error, from a handler by taking the policy's instead.
#[tokio::test(start_paused = true)]
async fn r04_delays_are_capped() {
    let world = World::new();
    let long = world.consumer().policy(delays(&[25 * 3_600])).handler(async |_: Context| Outcome::Done);
    assert!(matches!(long.build().unwrap_err().kind(), ErrorKind::Invalid(_)));
    world.numbers(0..2).await;
    let seen = Journal::new();
    let (journal, time) = (seen.clone(), world.time.clone());
    let handler = move |context: Context| {
        journal.write((number(&context), time.elapsed().as_secs()));
        let again = journal.read().iter().filter(|(n, _)| *n == number(&context)).count() > 1;
        async move {
            match number(&context) {
                _ if again => Outcome::Done,
                0 => Outcome::retry_after(DAY + S, "much later"),
                _ => Outcome::snooze(DAY * 2),
            }
        }
    };
    let consumer = world.consumer().policy(delays(&[7])).handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || seen.read().len() == 3).await;
    assert_eq!(seen.read()[2], (0, 7), "the policy's delay");
    tokio::time::sleep(DAY).await;
    world.until(async || seen.read().len() == 4).await;
    assert_eq!(seen.read()[3].1, DAY.as_secs(), "a snooze is cut to a day");
    assert_eq!(handle.totals().delays_refused, 2);
    running.stop().await;
}

/// Age is limited apart from the number of failures, and another class of failure may begin anew.
#[tokio::test(start_paused = true)]
async fn r04_age_and_another_class() {
    let world = World::new();
    world.numbers(0..1).await;
    let policy =
        Policy { retry_for_max: Some(Duration::from_secs(100)), failures_max: 1_000, ..delays(&[30]) };
    let runs = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&runs);
    let handler = move |_: Context| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Outcome::retry("never") }
    };
    let running = Running::begin(|shutdown| world.consumer().policy(policy).handler(handler).run(shutdown));
    world.until(async || world.dead().await.len() == 1).await;
    running.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 5, "at 0, 30, 60, 90 and 120 s");

    let world = World::new();
    world.numbers(0..1).await;
    let policy = Policy { failures_max: 2, reset_on_class: true, ..delays(&[1]) };
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        journal.write(context.failures());
        let class = if journal.read().len() == 1 { "network" } else { "database" };
        async move { Outcome::retry_as(class, "no") }
    };
    let running = Running::begin(|shutdown| world.consumer().policy(policy).handler(handler).run(shutdown));
    world.until(async || world.dead().await.len() == 1).await;
    running.stop().await;
    assert_eq!(seen.read(), [0, 1, 1], "the second class counts from 1");
}

/// Decoding, conversion and validation are not tried again, whoever says retry; other classes are.
#[tokio::test(start_paused = true)]
async fn r05_fatal_classes_go_straight_to_the_dead_letters() {
    let world = World::new();
    world.numbers(0..5).await;
    let runs = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&runs);
    let handler = move |context: Context| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            match number(&context) {
                0 => Outcome::from(serde_json::from_str::<u8>("x").map(drop)),
                1 => Outcome::from("x".parse::<u8>().map(drop)),
                2 => Outcome::retry_as(class::VALIDATION, "says retry, but is of a fatal class"),
                3 => Outcome::from(HandlerError::fatal("business", "never")),
                _ => Outcome::from(HandlerError::retryable("network", "later")),
            }
        }
    };
    let consumer = world.consumer().policy(delays(&[1])).immediate(1).handler(handler);
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || world.dead().await.len() == 5).await;
    running.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 4 + 4, "four at the first run, the last after (1 + 1) × (1 + 1)");
    let classes: Vec<_> = world.dead().await.into_iter().map(|letter| letter.last_failure.class).collect();
    assert_eq!(
        classes,
        ["decoding", "conversion", "validation", "business", "network"].map(|c| c.as_bytes().to_vec())
    );
}

/// An outage of ten minutes: the group is paused, one entry is tried now and then; nothing dies, nothing is counted.
#[tokio::test(start_paused = true)]
async fn r06_kill_switch_pauses_never_fails() {
    let world = World::new();
    let ids = world.numbers(0..100).await;
    let (works, runs, done) = (Arc::new(AtomicBool::new(false)), Journal::new(), Journal::new());
    let (is_up, journal, finished, time) =
        (Arc::clone(&works), runs.clone(), done.clone(), world.time.clone());
    let handler = move |context: Context| {
        journal.write(time.elapsed());
        let (is_up, finished) = (Arc::clone(&is_up), finished.clone());
        async move {
            if !is_up.load(Ordering::SeqCst) {
                return Outcome::retry("the database is away");
            }
            finished.write(context.id());
            Outcome::Done
        }
    };
    let switch = KillSwitchSettings::default();
    let consumer =
        world.consumer().policy(delays(&[1, 1])).kill_switch(switch).handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world
        .until(async || {
            world
                .broker
                .group_info(STREAM.as_bytes(), GROUP.as_bytes())
                .await
                .is_ok_and(|info| info.is_some_and(|info| info.paused))
        })
        .await;
    let opened = world.time.elapsed();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(handle.status().await.unwrap().state(), StreamState::SwitchedOff);
    assert!(world.read_as("bob", GroupSource::New, 10).await.is_empty(), "the whole group is paused");
    for row in world.pending().await {
        assert_eq!((row.failures, row.deliveries), (0, 0), "{row:?}");
    }
    assert!(world.dead().await.is_empty());
    let tried = runs.read().into_iter().filter(|at| *at > opened).count();
    assert!((18..=20).contains(&tried), "one every 30 s, not {tried}");
    works.store(true, Ordering::SeqCst);
    world.drained().await;
    running.stop().await;
    assert_eq!(done.read().len(), 100);
    assert_eq!(done.read().into_iter().collect::<std::collections::BTreeSet<_>>(), ids.into_iter().collect());
    assert!(world.dead().await.is_empty());
}

/// A stage that says what it sees.
struct Spy<S>(S, Journal<&'static str>);
struct SpyLayer(Journal<&'static str>);

impl<S> Layer<S> for SpyLayer {
    type Service = Spy<S>;

    fn layer(&self, inner: S) -> Spy<S> {
        Spy(inner, self.0.clone())
    }
}

impl<S: Stage<Context>> Stage<Context> for Spy<S> {
    async fn run(&self, context: Context) -> Outcome {
        self.1.write("layer");
        self.0.run(context).await
    }
}

/// recover → trace → measure → timeout → dedup → validate → breaker → throttle → the user's layers → handler, each pair
/// told apart by what only that order gives.
#[tokio::test(start_paused = true)]
async fn r07_the_layers_stand_in_their_order() {
    let world = World::new();
    let ids = world.numbers(0..6).await;
    let marks = MemoryMarks::new(10);
    for id in [ids[0], ids[1]] {
        marks.mark(&weir_runtime::Mark::of_entry(STREAM.as_bytes(), GROUP.as_bytes(), id)).await.unwrap();
    }
    let seen = Journal::new();
    let journal = seen.clone();
    let validator = move |item: &Item<'_>| match item.field("n").unwrap() {
        b"0" | b"2" => Err("bad number".to_owned()),
        b"3" => panic!("the validator panics"),
        _ => Ok(()),
    };
    let handler = move |context: Context| {
        journal.write(if number(&context) == 4 { "handler 4" } else { "handler 5" });
        async { Outcome::retry("counted") }
    };
    let consumer = world
        .consumer()
        .policy(delays(&[]))
        .dedup(marks)
        .validate(validator)
        .kill_switch(KillSwitchSettings { runs_min: 2, failed_ratio: 1.0, ..Default::default() })
        .throttle(1, Duration::from_secs(3_600))
        .handler(handler)
        .layer(SpyLayer(seen.clone()))
        .build()
        .unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || handle.totals().deferred > 3).await;
    let totals = handle.totals();
    assert_eq!(totals.duplicates, 2, "dedup before validation: 0 is done, though it is not valid");
    assert_eq!(
        totals.panics, 1,
        "recover is outside everything, measure included: it sees the panic of the validator"
    );
    assert_eq!(totals.refused, 1, "2 is refused before breaker and throttle see it");
    assert_eq!(
        seen.read(),
        ["layer", "handler 4"],
        "the throttle is outside the user's layers and lets 4 through, not 5"
    );
    assert_eq!(totals.switched_off, 0, "what the throttle defers is no failure; one failure is too few");
    running.stop().await;
    let dead: Vec<_> = world.dead().await.into_iter().map(|letter| letter.last_failure.class).collect();
    assert_eq!(dead, [&b"validation"[..], b"panic", b"error"]);
}

/// A trace goes with the entry to the handler and on to what is published from it.
#[tokio::test(start_paused = true)]
async fn r07_the_trace_is_carried() {
    let world = World::new();
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    world.append(STREAM, &[("n", "0"), ("traceparent", text)]).await;
    world.append(STREAM, &[("n", "1")]).await;
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        let journal = journal.clone();
        async move {
            tokio::task::yield_now().await;
            journal.write((TraceParent::current(), context.traceparent()));
            Outcome::Done
        }
    };
    let running = Running::begin(|shutdown| world.consumer().handler(handler).run(shutdown));
    world.until(async || seen.read().len() == 2).await;
    running.stop().await;
    let trace = TraceParent::parse(text.as_bytes());
    assert_eq!(seen.read(), [(trace, trace), (None, None)]);
    assert_eq!(TraceParent::current(), None);
}

/// What takes too long is dropped, with all it holds, and fails with class `timeout`.
#[tokio::test(start_paused = true)]
async fn r08_a_timeout_drops_the_future() {
    let world = World::new();
    world.numbers(0..1).await;
    struct Dropped(Journal<&'static str>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.write("dropped");
        }
    }
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |_: Context| {
        let held = Dropped(journal.clone());
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Outcome::Done
        }
    };
    let consumer = world.consumer().policy(delays(&[])).timeout(S * 3).handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || world.dead().await.len() == 1).await;
    assert_eq!(seen.read(), ["dropped"]);
    assert_eq!(world.dead().await[0].last_failure.class, b"timeout");
    assert_eq!(handle.totals().timeouts, 1);
    running.stop().await;
}

/// A handler that keeps its thread is reported while it does, though nothing can take the thread from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn r08_a_stuck_handler_is_reported() {
    let world = World::new();
    let id = world.numbers(0..1).await[0];
    let (goes_on, waits) = std::sync::mpsc::channel::<()>();
    let waits = Arc::new(std::sync::Mutex::new(waits));
    let handler = move |_: Context| {
        let waits = Arc::clone(&waits);
        async move {
            waits.lock().unwrap().recv().unwrap();
            Outcome::Done
        }
    };
    let consumer = world.consumer().stuck_after(Duration::from_millis(30)).handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || handle.totals().stuck == 1).await;
    let status = handle.status().await.unwrap();
    assert_eq!(status.streams[0].last_stuck, Some(id));
    goes_on.send(()).unwrap();
    world.drained().await;
    assert_eq!(handle.totals().stuck, 1, "it is told once");
    running.stop().await;
}

/// The lease is extended while the handler's future lives, also when it blocks nothing and awaits for minutes.
#[tokio::test(start_paused = true)]
async fn r09_the_lease_is_extended_while_the_handler_lives() {
    let world = World::new();
    world.numbers(0..2).await;
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        let journal = journal.clone();
        async move {
            let first = context.lease_until();
            tokio::time::sleep(Duration::from_secs(300)).await;
            journal.write(context.lease_until().millis_since(first));
            Outcome::Done
        }
    };
    let consumer = world.consumer().handler(handler).concurrency(2).build().unwrap();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    for _ in 0..29 {
        tokio::time::sleep(S * 10).await;
        assert!(world.read_as("bob", GroupSource::Available { idle_min: None }, 10).await.is_empty());
    }
    world.drained().await;
    assert!(seen.read().iter().all(|extended| *extended >= 270_000), "{:?}", seen.read());
    running.stop().await;
}

/// Beyond max_lease others may have the entry. The late outcome is refused by its token, and counted on both sides.
#[tokio::test(start_paused = true)]
async fn r09_a_late_settlement_is_refused_and_counted() {
    let world = World::new();
    world.numbers(0..1).await;
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        let journal = journal.clone();
        async move {
            context.cancelled().await;
            journal.write("told");
            tokio::time::sleep(Duration::from_secs(45)).await;
            journal.write("late");
            Outcome::Done
        }
    };
    let consumer = world.consumer().max_lease(Duration::from_secs(60)).handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || seen.read() == ["told"]).await;
    let mut taken = Vec::new();
    while taken.is_empty() {
        tokio::time::sleep(S).await;
        taken = world.read_as("bob", GroupSource::Reclaimed { idle_min: None }, 1).await;
    }
    world.until(async || handle.totals().stale == 1).await;
    assert_eq!(seen.read(), ["told", "late"]);
    assert_eq!((handle.totals().lost, handle.totals().stale), (1, 1));
    let info = world.broker.group_info(STREAM.as_bytes(), GROUP.as_bytes()).await.unwrap().unwrap();
    assert!(info.stale_settlements >= 1);
    let own = Settle { id: taken[0].entry.id, token: Some(taken[0].token), settlement: Settlement::Ack };
    let settled = world.broker.settle(STREAM.as_bytes(), GROUP.as_bytes(), &[own]).await.unwrap();
    assert_eq!(settled, [Settled::Done], "the entry is still the new owner's");
    running.stop().await;
}

/// A delayed entry waits in the broker: the consumer holds nothing meanwhile, and another one may handle it.
#[tokio::test(start_paused = true)]
async fn r10_no_delayed_entry_waits_in_a_worker() {
    let world = World::new();
    world.numbers(0..2).await;
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        journal.write(number(&context));
        let is_first = journal.read().len() <= 2;
        async move {
            match (is_first, number(&context)) {
                (true, 0) => Outcome::retry_after(Duration::from_secs(3_600), "in an hour"),
                (true, _) => Outcome::snooze(Duration::from_secs(3_600)),
                (false, _) => Outcome::Done,
            }
        }
    };
    let running = Running::begin(|shutdown| world.consumer().handler(handler).run(shutdown));
    world.until(async || world.lag().await.delayed == 2).await;
    assert!(world.pending().await.iter().all(|row| row.consumer.is_none()));
    tokio::time::sleep(Duration::from_secs(1_800)).await;
    assert_eq!(seen.read().len(), 2, "nothing is redelivered because it waits");
    running.kill().await;
    tokio::time::sleep(Duration::from_secs(1_800)).await;
    let given = world.read_as("bob", GroupSource::Available { idle_min: None }, 10).await;
    assert_eq!(given.iter().map(|delivery| delivery.failures).collect::<Vec<_>>(), [1, 0]);
}

/// Stop reading, grace, drop, hand back, flush, leave; and a second signal does not wait.
#[tokio::test(start_paused = true)]
async fn r11_shutdown() {
    let world = World::new();
    world.numbers(0..30).await;
    let ended = Journal::new();
    let journal = ended.clone();
    let handler = move |context: Context| {
        let journal = journal.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(u64::from(number(&context)) * 10)).await;
            journal.write(number(&context));
            Outcome::Done
        }
    };
    let consumer = world.consumer().handler(handler.clone()).concurrency(4).grace(S * 15);
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || ended.read() == [0]).await;
    let began = world.time.elapsed();
    running.stop().await;
    assert_eq!(world.time.elapsed() - began, S * 15, "the grace, and not longer");
    assert_eq!(ended.read(), [0, 1], "what ends within the grace is done");
    let rows = world.pending().await;
    assert!(
        rows.iter().all(|row| row.state == PendingState::Ready && row.deliveries == 0 && row.failures == 0)
    );
    assert_eq!(world.lag().await.total(), 28);
    assert!(world.broker.consumers(STREAM.as_bytes(), GROUP.as_bytes()).await.unwrap().is_empty());

    let running = Running::begin(|shutdown| world.consumer().handler(handler).run(shutdown));
    world.until(async || world.lag().await.pending > 0).await;
    let began = world.time.elapsed();
    running.trigger.signal();
    tokio::time::sleep(S).await;
    running.trigger.signal();
    running.ended().await.unwrap();
    assert_eq!(world.time.elapsed() - began, S, "the second signal ends it at once");
    assert_eq!((world.lag().await.pending, world.lag().await.total()), (0, 28));
}

/// One outcome for each entry of a batch; a wrong number of them is a failure of all.
#[tokio::test(start_paused = true)]
async fn r12_batches_have_an_outcome_for_each_entry() {
    let world = World::new();
    world.numbers(0..12).await;
    let sizes = Journal::new();
    let journal = sizes.clone();
    let handler = move |batch: Batch| {
        journal.write(batch.len());
        async move {
            if batch.items().any(|item| item.field("n") == Some(b"11")) {
                return Outcomes::Each(vec![Outcome::Done]);
            }
            let outcome = |item: Item<'_>| match item.field("n").unwrap() {
                b"1" => Outcome::Skip,
                b"2" => Outcome::dead("validation", "bad"),
                b"3" if item.failures() == 0 => Outcome::retry_after(S * 5, "again"),
                _ => Outcome::Done,
            };
            Outcomes::Each(batch.items().map(outcome).collect())
        }
    };
    let consumer = world.consumer().policy(delays(&[1])).batch(5).batch_handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.drained().await;
    running.stop().await;
    assert_eq!(&sizes.read()[..3], [5, 5, 2]);
    let dead: Vec<_> = world.dead().await.into_iter().map(|letter| letter.last_failure.class).collect();
    assert_eq!(dead, [&b"validation"[..], b"batch-outcomes", b"batch-outcomes"]);
    assert_eq!((handle.totals().skipped, handle.totals().done), (1, 8));
}

/// A sink that only knows all or nothing is given halves until the bad entries stand alone.
#[tokio::test(start_paused = true)]
async fn r12_bisect_on_error() {
    struct Table(Journal<u32>, Arc<AtomicU32>);
    impl Sink for Table {
        type Error = HandlerError;

        async fn write(&self, batch: &Batch) -> Result<(), HandlerError> {
            self.1.fetch_add(1, Ordering::SeqCst);
            let numbers: Vec<u32> = batch
                .items()
                .map(|item| String::from_utf8_lossy(item.field("n").unwrap()).parse().unwrap())
                .collect();
            if numbers.iter().any(|n| [5, 40].contains(n)) {
                return Err(HandlerError::fatal("constraint", "a row is refused, nobody says which"));
            }
            numbers.iter().for_each(|n| self.0.write(*n));
            Ok(())
        }
    }
    let world = World::new();
    world.numbers(0..64).await;
    let (rows, writes) = (Journal::new(), Arc::new(AtomicU32::new(0)));
    let sink = Bisect(Table(rows.clone(), Arc::clone(&writes)));
    let running = Running::begin(|shutdown| world.consumer().batch_handler(sink).run(shutdown));
    world.drained().await;
    running.stop().await;
    assert!(
        rows.read().into_iter().eq((0..64).filter(|n| ![5, 40].contains(n))),
        "each other one once, in order"
    );
    assert_eq!(world.dead().await.len(), 2);
    assert!(writes.load(Ordering::SeqCst) <= 1 + 2 * 2 * 6);
}

/// The test kit is for users: a handler runs through a day of retries in a moment, on the broker of the kit.
#[tokio::test(start_paused = true)]
async fn r13_a_day_passes_in_a_moment() {
    let world = World::new();
    world.numbers(0..3).await;
    let handler = async |context: Context| {
        if context.failures() < 24 {
            Outcome::retry_after(Duration::from_secs(3_600), "hourly")
        } else {
            Outcome::Done
        }
    };
    let policy = Policy { failures_max: 100, deliveries_max: 100, ..Policy::recommended() };
    let running = Running::begin(|shutdown| world.consumer().policy(policy).handler(handler).run(shutdown));
    world.broker.fail_with(ErrorKind::Unavailable);
    tokio::time::sleep(S * 60).await;
    world.broker.recover();
    tokio::time::sleep(DAY + S * 120).await;
    world.drained().await;
    assert!(world.dead().await.is_empty());
    running.stop().await;
}

/// Everything that is known of a delivery is visible to the handler.
#[tokio::test(start_paused = true)]
async fn r14_the_handler_sees_attempts_counters_errors_and_deadline() {
    let world = World::new();
    world.numbers(0..1).await;
    let seen = Journal::new();
    let (journal, time) = (seen.clone(), world.time.clone());
    let handler = move |context: Context| {
        let text = |failure: Option<&weir_core::Failure>| {
            failure.map(|f| String::from_utf8_lossy(&f.reason).into_owned())
        };
        journal.write((
            (context.attempt(), context.deliveries(), context.failures()),
            (text(context.first_failure()), text(context.last_failure())),
            context.lease_until().millis_since(time.now()),
        ));
        async move {
            match context.failures() {
                2 => Outcome::Done,
                n => Outcome::retry_as("network", format!("failure {n}")),
            }
        }
    };
    let consumer = world.consumer().policy(delays(&[1, 1, 1])).immediate(1).handler(handler);
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.drained().await;
    running.stop().await;
    let (a, b) = (|| Some("failure 0".to_owned()), || Some("failure 1".to_owned()));
    let want = [
        ((1, 1, 0), (None, None), 30_000),
        ((2, 1, 0), (None, None), 30_000),
        ((3, 2, 1), (a(), a()), 30_000),
        ((4, 2, 1), (a(), a()), 30_000),
        ((5, 3, 2), (a(), b()), 30_000),
    ];
    assert_eq!(seen.read(), want);
}

/// A group, a consumer and the streams of a consumer can be paused; a paused group keeps its rows and their counts.
#[tokio::test(start_paused = true)]
async fn r15_pause_and_resume() {
    let world = World::new();
    world.numbers(0..1).await;
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        journal.write((number(&context), context.failures()));
        async move { if context.failures() == 0 { Outcome::retry("once") } else { Outcome::Done } }
    };
    let consumer = world.consumer().policy(delays(&[5])).handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || world.lag().await.delayed == 1).await;
    world.broker.pause(STREAM.as_bytes(), GROUP.as_bytes(), None).await.unwrap();
    tokio::time::sleep(S * 60).await;
    world.numbers(1..2).await;
    let rows = world.pending().await;
    assert_eq!((rows.len(), rows[0].failures, rows[0].deliveries), (1, 1, 1), "rows and counts are kept");
    assert_eq!(seen.read().len(), 1);
    world.broker.resume(STREAM.as_bytes(), GROUP.as_bytes()).await.unwrap();
    world.until(async || seen.read().len() == 3).await;

    handle.pause();
    world.until(async || handle.status().await.unwrap().state() == StreamState::Paused).await;
    world.numbers(2..4).await;
    tokio::time::sleep(S * 60).await;
    assert_eq!((seen.read().len(), world.lag().await.undelivered), (3, 2));
    handle.resume();
    world.drained().await;
    running.stop().await;
    assert_eq!(seen.read().len(), 8);
}

/// What waits in hand behind slow handlers goes to others, also where several run at a time.
#[tokio::test(start_paused = true)]
async fn r15_what_waits_behind_slow_handlers_is_for_others() {
    let world = World::new();
    world.numbers(0..10).await;
    let handler = async |_: Context| {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Outcome::Done
    };
    let running = Running::begin(|shutdown| world.consumer().concurrency(2).handler(handler).run(shutdown));
    world.until(async || world.lag().await.pending > 0).await;
    tokio::time::sleep(S * 2).await;
    let given = world.read_as("bob", GroupSource::Available { idle_min: None }, 100).await;
    assert_eq!(given.len(), 8, "two run, and the others are free");
    assert!(given.iter().all(|delivery| delivery.deliveries == 1), "handed back uncounted");
    running.stop().await;
}

/// A broker that is away when a consumer with a shared rate starts is waited for.
#[tokio::test(start_paused = true)]
async fn a_shared_rate_waits_for_the_broker() {
    let world = World::new();
    world.numbers(0..3).await;
    world.broker.fail_with(ErrorKind::Unavailable);
    let consumer = world.consumer().rate_limit_of_group(10, S).handler(async |_: Context| Outcome::Done);
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    tokio::time::sleep(S * 30).await;
    world.broker.recover();
    world.drained().await;
    running.stop().await;
}

/// Of consumers with a pattern one may find a stream when it is new, the other when it starts: both go on. A stream that
/// is removed stays so, and is read again when it comes again.
#[tokio::test(start_paused = true)]
async fn streams_of_a_pattern_come_and_go() {
    let world = World::new();
    let seen = Journal::new();
    let journal = seen.clone();
    let consumer = weir_runtime::Consumer::builder(world.shared())
        .pattern("part-*")
        .group(GROUP)
        .origin(GroupOrigin::End)
        .consumer("ann")
        .time(world.time.clone())
        .handler(move |context: Context| {
            journal.write(number(&context));
            async { Outcome::Done }
        });
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    tokio::time::sleep(S).await;
    let options = CreateGroup { origin: GroupOrigin::End, policy: Policy::recommended() };
    world.broker.create_group(b"part-1", GROUP.as_bytes(), options).await.unwrap();
    tokio::time::sleep(S * 30).await;
    world.append("part-1", &[("n", "1")]).await;
    world.until(async || seen.read() == [1]).await;

    world.broker.delete_stream(b"part-1").await.unwrap();
    tokio::time::sleep(S * 60).await;
    assert!(world.broker.stream_info(b"part-1").await.unwrap().is_none(), "nobody made it again");
    world.append("part-1", &[("n", "2")]).await;
    world.until(async || seen.read() == [1, 2]).await;
    running.stop().await;
}

/// An event that stands twice in one batch is handled once.
#[tokio::test(start_paused = true)]
async fn r12_a_batch_has_no_event_twice() {
    let world = World::new();
    for n in 0..6 {
        world.append(STREAM, &[("n", &n.to_string()), ("event", ["a", "b", "a"][n % 3])]).await;
    }
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |batch: Batch| {
        batch.items().for_each(|item| journal.write(item.field("event").unwrap().to_vec()));
        async { Outcomes::All(Outcome::Done) }
    };
    let consumer = world.consumer().dedup(MemoryMarks::new(10)).dedup_by("event").batch_handler(handler);
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.drained().await;
    running.stop().await;
    assert_eq!(seen.read(), [b"a".to_vec(), b"b".to_vec()]);
    let ordered =
        world.consumer().order_by("event").batch_handler(async |_: Batch| Outcomes::All(Outcome::Done));
    assert!(
        matches!(ordered.build().unwrap_err().kind(), ErrorKind::Invalid(_)),
        "no batch keeps that order"
    );
}

/// `/health` and `/metrics` over HTTP, with the names that the seeds' monitors look for.
#[tokio::test]
async fn health_is_served() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new();
    world.numbers(0..3).await;
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let handler = async |context: Context| {
        if number(&context) == 2 { Outcome::snooze(Duration::from_secs(3_600)) } else { Outcome::Done }
    };
    let consumer = world.consumer().health(address).lagging_at(2).handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || world.lag().await.delayed == 1).await;
    let ask = async |path: &str| {
        let mut connection = tokio::net::TcpStream::connect(handle.health_address().unwrap()).await.unwrap();
        connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut reply = String::new();
        connection.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    };
    let (line, body) = ask("/health").await;
    assert_eq!(line, "HTTP/1.1 200 OK");
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&health["status"], &health["healthy"], &health["lag"]),
        (&"healthy".into(), &true.into(), &1.into())
    );
    assert_eq!((&health["consumer"]["member"], &health["consumer"]["size"]), (&0.into(), &1.into()));
    assert_eq!((&health["streamLength"], &health["pendingMessages"]), (&3.into(), &1.into()));
    assert_eq!((&health["consumerGroup"], &health["state"]), (&GROUP.into(), &"running".into()));
    assert!(health["throughput"].is_number() && health["position"].is_string());
    world.append("other", &[("n", "0")]).await;
    world.broker.pause(STREAM.as_bytes(), GROUP.as_bytes(), None).await.unwrap();
    world.numbers(3..5).await;
    let (_, body) = ask("/health?verbose").await;
    assert!(body.contains(r#""status":"lagging""#), "{body}");
    let (_, text) = ask("/metrics").await;
    assert!(text.contains("weir_consumer_done_total{group=\"billing\"} 2\n"), "{text}");
    assert!(text.contains("weir_group_delayed{stream=\"orders\",group=\"billing\"} 1\n"), "{text}");
    assert_eq!(ask("/").await.0, "HTTP/1.1 404 Not Found");
    world.broker.fail_with(ErrorKind::Unavailable);
    let (line, body) = ask("/health").await;
    assert_eq!(line, "HTTP/1.1 503 Service Unavailable");
    assert!(body.contains(r#""healthy":false"#));
    world.broker.recover();
    running.stop().await;
}
