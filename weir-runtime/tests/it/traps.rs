//! Traps of hand-written consumers, S1 to S20. Each test first does it the way that is found in the wild, and shows what
//! goes wrong; then it does it with this crate, and shows that it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_core::{
    AutoClaim, CreateGroup, Created, Deliveries, Delivery, EntryId, ErrorKind, GroupOrigin, GroupSource,
    Groups, PendingState, Policy, ReadFrom, ReadOptions, Settle, Settlement, Streams, TrimTo,
};
use weir_runtime::simple::Simple;
use weir_runtime::{Context, Mark, MarkStore, MemoryMarks, Outcome, TransactionMarks};

use crate::world::{GROUP, Journal, Running, STREAM, World, number};

const S: Duration = Duration::from_secs(1);
const NEW: GroupSource = GroupSource::New;
const HISTORY: GroupSource = GroupSource::History { after: EntryId::MIN };

/// What is pending for ever in these tests stays so for this long.
const LONG: Duration = Duration::from_secs(3_600);

impl World {
    /// `XACK`: whoever holds it.
    async fn ack(&self, deliveries: &[Delivery]) {
        let settles: Vec<_> = deliveries
            .iter()
            .map(|delivery| Settle { id: delivery.entry.id, token: None, settlement: Settlement::Ack })
            .collect();
        self.broker.settle(STREAM.as_bytes(), GROUP.as_bytes(), &settles).await.unwrap();
    }
}

fn value(delivery: &Delivery, name: &str) -> String {
    let value = weir_core::first_value(&delivery.entry.fields, name.as_bytes()).unwrap();
    String::from_utf8_lossy(value).into_owned()
}

/// A handler that writes down numbers.
fn writing(journal: &Journal<u32>) -> impl weir_runtime::Handler {
    let journal = journal.clone();
    move |context: Context| {
        journal.write(number(&context));
        async { Outcome::Done }
    }
}

/// `XACK` stood inside `if (interesting)`. What was not interesting stayed pending for ever.
#[tokio::test(start_paused = true)]
async fn s01_what_is_not_interesting_is_acknowledged() {
    let world = World::new();
    world.create(Policy::recommended()).await;
    world.numbers(0..10).await;
    let batch = world.read_as("worker", NEW, 100).await;
    for delivery in batch.iter().filter(|delivery| value(delivery, "n") == "3") {
        world.ack(std::slice::from_ref(delivery)).await;
    }
    tokio::time::sleep(LONG).await;
    assert_eq!(world.pending().await.len(), 9, "nine uninteresting ones are redelivered without end");

    let handler = async |context: Context| if number(&context) == 3 { Outcome::Done } else { Outcome::Skip };
    let consumer = world.consumer().handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.drained().await;
    assert_eq!(handle.totals().skipped, 9);
    running.stop().await;
}

/// The lag was taken from place 7 of the flat reply of `XINFO GROUPS`, where the last-delivered ID stands.
#[tokio::test(start_paused = true)]
async fn s02_the_lag_has_a_name() {
    let world = World::new();
    world.create(Policy::recommended()).await;
    world.numbers(0..10).await;
    let last = world.read_as("worker", NEW, 4).await.pop().unwrap().entry.id.to_string();
    let reply = [
        "name",
        GROUP,
        "consumers",
        "1",
        "pending",
        "4",
        "last-delivered-id",
        &last,
        "entries-read",
        "4",
        "lag",
        "6",
    ];
    assert!(
        reply[7].parse::<u64>().is_err(),
        "place 7 is no number: comparing it with a threshold is never true"
    );

    let lag = world.lag().await;
    assert_eq!((lag.undelivered, lag.pending, lag.total()), (6, 4, 10));
    world.broker.delete_stream(STREAM.as_bytes()).await.unwrap();
    world.create(Policy::recommended()).await;
    assert_eq!(world.lag().await.total(), 0, "always a number");
}

/// A retry was an entry that was added again, and then the old one was acknowledged: two steps. A crash between them
/// doubles the work; in the other order it loses it.
#[tokio::test(start_paused = true)]
async fn s03_a_retry_is_one_step() {
    let (copy_first, ack_first) = (World::new(), World::new());
    for (world, acks_first) in [(&copy_first, false), (&ack_first, true)] {
        world.create(Policy::recommended()).await;
        world.numbers(0..1).await;
        let given = world.read_as("worker", NEW, 1).await;
        // The process dies between the two steps, whichever comes first.
        if acks_first {
            world.ack(&given).await;
        } else {
            world.numbers(0..1).await;
        }
        tokio::time::sleep(S * 60).await;
    }
    let left = async |world: &World| {
        world.read_as("other", GroupSource::Available { idle_min: None }, 9).await.len()
    };
    assert_eq!((left(&copy_first).await, left(&ack_first).await), (2, 0), "doubled, and lost");

    let world = World::new();
    world.numbers(0..1).await;
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        journal.write(context.failures());
        async move { if context.failures() == 0 { Outcome::retry("no") } else { Outcome::Done } }
    };
    let running = Running::begin(|shutdown| world.consumer().handler(handler.clone()).run(shutdown));
    world.until(async || world.lag().await.delayed == 1).await;
    running.kill().await;
    let running = Running::begin(|shutdown| world.consumer().handler(handler).run(shutdown));
    world.drained().await;
    running.stop().await;
    assert_eq!(seen.read(), [0, 1]);
    assert_eq!(world.broker.stream_info(STREAM.as_bytes()).await.unwrap().unwrap().length, 1);
}

/// The consumer's name was made of the time and a random number at every start, so that "pending first" read the list
/// of a name that never had anything, and dead names piled up.
#[tokio::test(start_paused = true)]
async fn s04_the_name_is_stable_and_the_dead_are_swept() {
    let world = World::new();
    world.create(Policy::recommended()).await;
    world.numbers(0..3).await;
    for start in 0..3 {
        let name = format!("consumer-{start}-x7f3a");
        assert!(world.read_as(&name, HISTORY, 10).await.is_empty(), "a fresh name has no history");
        world.read_as(&name, NEW, 1).await;
        // It dies with one entry in hand.
    }
    let consumers = async || world.broker.consumers(STREAM.as_bytes(), GROUP.as_bytes()).await.unwrap().len();
    assert_eq!((world.pending().await.len(), consumers().await), (3, 3), "nobody ever reads these again");

    let seen = Journal::new();
    let running = Running::begin(|shutdown| world.consumer().handler(writing(&seen)).run(shutdown));
    world.drained().await;
    assert_eq!(seen.read(), [0, 1, 2], "what the dead held is taken over when its lease is over");
    world.until(async || consumers().await == 1).await;
    running.kill().await;

    world.numbers(3..4).await;
    let held = world.read_as("ann", NEW, 1).await;
    assert_eq!(held.len(), 1, "ann dies with it");
    let began = world.time.elapsed();
    let running = Running::begin(|shutdown| world.consumer().handler(writing(&seen)).run(shutdown));
    world.until(async || seen.read().len() == 4).await;
    assert!(
        world.time.elapsed() - began < S,
        "under the same name it is found at once, without waiting for the lease"
    );
    running.stop().await;
}

/// History was read from 0 in every turn, ten at a time: ten failing heads filled the window for ever.
#[tokio::test(start_paused = true)]
async fn s05_failing_entries_do_not_starve_the_others() {
    let world = World::new();
    world.create(Policy { deliveries_max: u32::MAX, ..Policy::recommended() }).await;
    world.numbers(0..15).await;
    world.read_as("worker", NEW, 15).await;
    let mut handled = BTreeSet::new();
    for _turn in 0..50 {
        for delivery in world.read_as("worker", HISTORY, 10).await {
            let n: u32 = value(&delivery, "n").parse().unwrap();
            if n >= 10 {
                handled.insert(n);
                world.ack(&[delivery]).await;
            }
        }
    }
    assert!(handled.is_empty(), "the five good ones are behind the window, turn after turn");

    let world = World::new();
    world.numbers(0..15).await;
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        journal.write(number(&context));
        async move { if number(&context) < 10 { Outcome::retry("always") } else { Outcome::Done } }
    };
    let running = Running::begin(|shutdown| {
        world.consumer().policy(Policy::delayed(vec![S; 2])).handler(handler).run(shutdown)
    });
    world.drained().await;
    running.stop().await;
    assert!(seen.read()[..15].iter().copied().eq(0..15), "each once before any comes again");
    assert_eq!(world.dead().await.len(), 10);
}

/// One sample made the group at the end, another at the beginning, and both ignored that it existed: what had been
/// written before was lost, or not, by who came first.
#[tokio::test(start_paused = true)]
async fn s06_the_origin_is_said_and_must_agree() {
    let world = World::new();
    world.numbers(0..5).await;
    let make = async |origin| {
        let options = CreateGroup { origin, policy: Policy::recommended() };
        world.broker.create_group(STREAM.as_bytes(), GROUP.as_bytes(), options).await
    };
    assert_eq!(make(GroupOrigin::End).await.unwrap(), Created::New);
    drop(make(GroupOrigin::Beginning).await); // "already exists, continue"
    assert!(world.read_as("worker", NEW, 10).await.is_empty(), "five entries are lost without a word");

    let consumer = world.consumer().handler(async |_: Context| Outcome::Done);
    let error = Running::begin(|shutdown| consumer.run(shutdown)).ended().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::GroupExists, "{error}");
    let silent = weir_runtime::Consumer::builder(world.shared()).stream(STREAM).group("fresh");
    let silent = silent.time(world.time.clone()).handler(async |_: Context| Outcome::Done);
    let error = Running::begin(|shutdown| silent.run(shutdown)).ended().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NoSuchGroup, "without an origin nothing is made: {error}");
}

/// The head was the first entry of a read from the start: the oldest one. The lag soon was negative, so always healthy.
#[tokio::test(start_paused = true)]
async fn s07_the_head_is_the_newest() {
    let world = World::new();
    world.create(Policy::recommended()).await;
    world.numbers(0..2_000).await;
    let given = world.read_as("worker", NEW, 500).await;
    world.ack(&given).await;
    let options = ReadOptions { from: ReadFrom::Start, to: None, backward: false, count: 1, wait: None };
    let latest = world.broker.read(STREAM.as_bytes(), options).await.unwrap().pop().unwrap();
    let own = given.last().unwrap().entry.position.unwrap();
    assert!(
        (latest.position.unwrap() as i64) - (own as i64) < 0,
        "1500 behind, and the difference is negative"
    );

    let head = world.broker.head(STREAM.as_bytes()).await.unwrap().unwrap();
    assert_eq!(head.version, Some(1_999));
    assert_eq!(world.lag().await.total(), 1_500);
}

/// Rescaling ran the old and the new size side by side, each with checkpoints of its own: both delivered everything.
///
/// This is shown as far as groups and lanes go: members join and leave without sizes or checkpoints of their own. (For
/// readers of categories by member and size there are no generations in this crate.)
#[tokio::test(start_paused = true)]
async fn s08_members_join_and_leave_without_doubling() {
    let world = World::new();
    for n in 0..200 {
        world.append(STREAM, &[("n", &n.to_string()), ("key", &(n % 10).to_string())]).await;
    }
    let mut delivered = BTreeMap::new();
    for size in [2_u32, 4] {
        for member in 0..size {
            let mine = (0..200_u32).filter(|n| (n % 10) % size == member);
            mine.for_each(|n| *delivered.entry(n).or_insert(0) += 1);
        }
    }
    assert!(delivered.values().all(|times| *times == 2), "two hash spaces, everything twice");

    let seen = Journal::new();
    let consumer = |name: &str| {
        let journal = seen.clone();
        let handler = move |context: Context| {
            let journal = journal.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                journal.write((context.text("key").unwrap().into_owned(), number(&context)));
                Outcome::Done
            }
        };
        let policy = Policy { key: Some(b"key".to_vec()), ..Policy::recommended() };
        let consumer = world.consumer().consumer(name).policy(policy).handler(handler);
        Running::begin(|shutdown| consumer.run(shutdown))
    };
    let old = [consumer("a"), consumer("b")];
    world.until(async || seen.read().len() > 40).await;
    let new = [consumer("c"), consumer("d"), consumer("e"), consumer("f")];
    world.until(async || seen.read().len() > 80).await;
    for running in old {
        running.stop().await;
    }
    world.drained().await;
    for running in new {
        running.stop().await;
    }
    assert_eq!(seen.read().len(), 200, "each once");
    for key in 0..10 {
        let of_key: Vec<_> =
            seen.read().into_iter().filter(|(k, _)| *k == key.to_string()).map(|(_, n)| n).collect();
        assert!(of_key.is_sorted(), "in order: {of_key:?}");
    }
}

/// A stream was cut to its newest 10 000 whether anybody had read the rest or not.
#[tokio::test(start_paused = true)]
async fn s09_trims_wait_for_required_groups() {
    let handled = async |required: bool| {
        let world = World::new();
        world.create(Policy { required, ..Policy::recommended() }).await;
        world.numbers(0..100).await;
        world.read_as("crashed", NEW, 10).await;
        world.broker.trim(STREAM.as_bytes(), TrimTo::Length(10)).await.unwrap();
        let seen = Journal::new();
        let running = Running::begin(|shutdown| world.consumer().handler(writing(&seen)).run(shutdown));
        world.drained().await;
        running.stop().await;
        seen.read().len()
    };
    assert_eq!(handled(false).await, 10, "ninety are gone, ten of them while somebody had them");
    assert_eq!(handled(true).await, 100);
}

/// `blockMs` 0 meant "do not wait" and null "for ever": the opposite of `BLOCK 0` and no `BLOCK`.
#[tokio::test(start_paused = true)]
async fn s10_waiting_is_an_option_of_a_duration() {
    let world = World::new();
    world.create(Policy::recommended()).await;
    let read = |wait| {
        let broker = world.broker.clone();
        let (group, consumer) = (GROUP.into(), b"worker".to_vec());
        let read = weir_core::ReadGroup { group, consumer, source: NEW, count: 1, wait, while_paused: false };
        async move { broker.read_group(STREAM.as_bytes(), read).await.unwrap().len() }
    };
    // What becomes of 0 when it is passed on as BLOCK 0.
    let passed_on = tokio::time::timeout(LONG, read(Some(Duration::MAX))).await;
    assert!(passed_on.is_err(), "it was to return at once, and hangs");

    assert_eq!(tokio::time::timeout(S, read(None)).await.unwrap(), 0);
    let simple = Simple::new(world.shared()).time(world.time.clone());
    let at_once =
        tokio::time::timeout(S, simple.xreadgroup(GROUP, "w", STREAM, None, Some(0))).await.unwrap();
    assert!(at_once.unwrap().is_empty());
    let for_ever = simple.xreadgroup(GROUP, "w", STREAM, None, None);
    assert!(tokio::time::timeout(LONG, for_ever).await.is_err());
}

/// "Do not acknowledge failures, they are claimed later", without an end.
#[tokio::test(start_paused = true)]
async fn s11_poison_comes_to_an_end() {
    let world = World::new();
    world.create(Policy { deliveries_max: u32::MAX, failures_max: u32::MAX, ..Policy::recommended() }).await;
    world.numbers(0..1).await;
    for round in 1..=1_000 {
        let source = GroupSource::Available { idle_min: Some(Duration::ZERO) };
        assert_eq!(world.read_as("worker", source, 1).await[0].deliveries, round, "again and again");
    }

    // Poison that fails, and poison that kills its process and so never reports a failure.
    let world = World::new();
    world.numbers(0..1).await;
    let running = Running::begin(|shutdown| {
        world.consumer().handler(async |_: Context| Outcome::retry("no")).run(shutdown)
    });
    world.until(async || world.dead().await.len() == 1).await;
    running.stop().await;
    let world = World::new();
    world.numbers(0..40).await;
    let seen = Journal::new();
    for _ in 0..25 {
        let (journal, dies) = (seen.clone(), Arc::new(AtomicBool::new(false)));
        let dying = Arc::clone(&dies);
        let handler = move |context: Context| {
            let (journal, dying) = (journal.clone(), Arc::clone(&dying));
            async move {
                if number(&context) == 20 {
                    dying.store(true, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
                journal.write(number(&context));
                Outcome::Done
            }
        };
        let running = Running::begin(|shutdown| world.consumer().handler(handler).run(shutdown));
        world.until(async || dies.load(Ordering::SeqCst) || world.lag().await.total() == 0).await;
        if dies.load(Ordering::SeqCst) { running.kill().await } else { running.stop().await }
    }
    let dead = world.dead().await;
    assert_eq!(dead.len(), 1, "it takes no neighbours along: {dead:?}");
    assert_eq!((dead[0].deliveries, &*dead[0].last_failure.class), (20, &b"max-deliveries"[..]));
    assert_eq!(seen.read().into_iter().collect::<BTreeSet<_>>().len(), 39);
}

/// The same under a new name at every start, and the process dies before it says another word to the broker.
#[tokio::test(start_paused = true)]
async fn s11_poison_takes_no_neighbours_along_under_any_name() {
    let world = World::new();
    world.numbers(0..10).await;
    let seen = Journal::new();
    for start in 0..60 {
        let (journal, dies) = (seen.clone(), Arc::new(AtomicBool::new(false)));
        let (dying, broker) = (Arc::clone(&dies), world.broker.clone());
        let handler = move |context: Context| {
            let (journal, dying, broker) = (journal.clone(), Arc::clone(&dying), broker.clone());
            async move {
                if number(&context) == 0 {
                    broker.fail_with(ErrorKind::Unavailable);
                    dying.store(true, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
                journal.write(number(&context));
                Outcome::Done
            }
        };
        let consumer = world.consumer().consumer(format!("start-{start}")).handler(handler);
        let running = Running::begin(|shutdown| consumer.run(shutdown));
        let is_done = async || {
            let lag = world.broker.lag(STREAM.as_bytes(), GROUP.as_bytes()).await;
            lag.is_ok_and(|lag| lag.total() == 0)
        };
        world.until(async || dies.load(Ordering::SeqCst) || is_done().await).await;
        running.kill().await;
        world.broker.recover();
    }
    assert_eq!(world.dead().await.len(), 1, "{:?}", world.dead().await);
    assert_eq!(seen.read().into_iter().collect::<BTreeSet<_>>(), (1..10).collect());
}

/// Merges of profiles locked the first ID of each request, so that two requests about the same profile ran at the same
/// time.
///
/// What identities are the same is decided elsewhere; here it is shown that requests with one key never overlap.
#[tokio::test(start_paused = true)]
async fn s12_requests_about_the_same_thing_do_not_overlap() {
    let requests = [["p1", "p2"], ["p2", "p1"], ["p1", "p3"], ["p3", "p2"]];
    let locks: BTreeSet<_> = requests.iter().map(|ids| ids[0]).collect();
    assert!(
        locks.len() > 1,
        "different locks, though all of them touch the same profiles: they run side by side"
    );

    let world = World::new();
    for (n, _) in requests.iter().enumerate() {
        world.append(STREAM, &[("n", &n.to_string()), ("brand", "acme")]).await;
    }
    let (running_now, most, order) =
        (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Journal::new());
    let (now, peak, journal) = (Arc::clone(&running_now), Arc::clone(&most), order.clone());
    let handler = move |context: Context| {
        let (now, peak, journal) = (Arc::clone(&now), Arc::clone(&peak), journal.clone());
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(S).await;
            now.fetch_sub(1, Ordering::SeqCst);
            journal.write(number(&context));
            Outcome::Done
        }
    };
    let policy = Policy { key: Some(b"brand".to_vec()), ..Policy::recommended() };
    let consumers: Vec<_> = ["ann", "bob"]
        .map(|name| {
            world.consumer().consumer(name).policy(policy.clone()).concurrency(4).handler(handler.clone())
        })
        .into_iter()
        .map(|consumer| Running::begin(|shutdown| consumer.run(shutdown)))
        .collect();
    world.drained().await;
    for running in consumers {
        running.stop().await;
    }
    assert_eq!((most.load(Ordering::SeqCst), order.read()), (1, vec![0, 1, 2, 3]));
}

/// One fixed name in all instances, only new entries read, no second start, no empty reply, no error survived.
#[tokio::test(start_paused = true)]
async fn s13_starts_crashes_silence_and_errors_are_survived() {
    let world = World::new();
    world.create(Policy::recommended()).await;
    world.numbers(0..2).await;
    world.read_as("worker-1", NEW, 1).await;
    // It crashed with 0. Started again it reads what is new.
    let after_the_crash: Vec<_> = world.read_as("worker-1", NEW, 10).await;
    assert!(after_the_crash.iter().all(|delivery| value(delivery, "n") != "0"), "0 is never seen again");

    let seen = Journal::new();
    let consumer = || world.consumer().consumer("worker-1").handler(writing(&seen));
    let first = Running::begin(|shutdown| consumer().run(shutdown));
    world.until(async || seen.read() == [0, 1]).await;
    first.kill().await;
    let second = Running::begin(|shutdown| consumer().run(shutdown));
    tokio::time::sleep(LONG).await; // Nothing comes for an hour.
    world.broker.fail_with(ErrorKind::Unavailable);
    tokio::time::sleep(S * 60).await;
    world.broker.recover();
    world.numbers(2..3).await;
    world.until(async || seen.read() == [0, 1, 2]).await;
    second.stop().await;
}

/// The handler swallowed its errors, and the loop acknowledged because it returned.
#[tokio::test(start_paused = true)]
async fn s14_the_outcome_is_a_value() {
    let world = World::new();
    world.create(Policy::recommended()).await;
    world.numbers(0..1).await;
    let process = |_: &Delivery| -> Result<(), String> { Err("no database".into()) };
    let given = world.read_as("worker", NEW, 1).await;
    if let Err(_logged) = process(&given[0]) {}
    world.ack(&given).await;
    assert_eq!(world.lag().await.total(), 0, "acknowledged, though nothing was done");

    let world = World::new();
    world.numbers(0..1).await;
    let handler = async |context: Context| {
        let worked = if context.failures() == 0 { Err(std::io::Error::other("no database")) } else { Ok(()) };
        worked.map_or_else(|error| Outcome::retry(error.to_string()), |()| Outcome::Done)
    };
    let consumer = world.consumer().handler(handler).build().unwrap();
    let handle = consumer.handle();
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    world.until(async || world.lag().await.delayed == 1).await;
    world.drained().await;
    assert_eq!((handle.totals().retried, handle.totals().done), (1, 1));
    running.stop().await;
}

/// Health was the length of the summary of `XPENDING`; "recent" was read from 0.
#[tokio::test(start_paused = true)]
async fn s15_calls_are_typed() {
    let world = World::new();
    world.create(Policy::recommended()).await;
    world.numbers(0..50).await;
    world.read_as("worker", NEW, 30).await;
    let summary = world.broker.pending_summary(STREAM.as_bytes(), GROUP.as_bytes()).await.unwrap();
    let (first, last) = summary.bounds.unwrap();
    let reply = [summary.count.to_string(), first.to_string(), last.to_string(), "[[worker, 30]]".to_owned()];
    assert_eq!(reply.len(), 4, "the length of the reply is 4, whatever is pending");
    let read = async |from, backward| {
        let options = ReadOptions { from, to: None, backward, count: 10, wait: None };
        let entries = world.broker.read(STREAM.as_bytes(), options).await.unwrap();
        entries.iter().map(|entry| entry.position.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(read(ReadFrom::Start, false).await[0], 0, "ten from 0 are the oldest ten");

    assert_eq!(summary.count, 30);
    assert_eq!(read(ReadFrom::End, true).await, (40..50).rev().collect::<Vec<_>>());
}

/// The row "processed" was written before the work: a crash between them lost the entry. Or the IDs were kept in a set
/// that grew without end and died with the process.
#[tokio::test(start_paused = true)]
async fn s16_the_mark_commits_with_the_effect() {
    let marks = MemoryMarks::new(10);
    let mark = Mark::of_entry(STREAM.as_bytes(), GROUP.as_bytes(), EntryId::new(1, 1));
    let mut effects = 0;
    marks.mark(&mark).await.unwrap();
    // Here the process dies. The entry comes again:
    if !marks.is_marked(&mark).await.unwrap() {
        effects += 1;
    }
    assert_eq!(effects, 0, "it is taken for done, and never was");

    /// A database: what is committed, and a transaction that is worth nothing before.
    #[derive(Default)]
    struct Database {
        marks: BTreeSet<String>,
        effects: Vec<u32>,
    }
    struct Transaction {
        marks: Vec<String>,
        effects: Vec<u32>,
        known: BTreeSet<String>,
    }
    struct Marks;
    impl TransactionMarks<Transaction> for Marks {
        type Error = std::convert::Infallible;

        async fn mark<'a>(
            &'a self,
            transaction: &'a mut Transaction,
            mark: &'a Mark,
        ) -> Result<bool, Self::Error> {
            transaction.marks.push(mark.to_string());
            Ok(!transaction.known.contains(mark.as_str()))
        }
    }
    let world = World::new();
    world.numbers(0..20).await;
    let database = Arc::new(Mutex::new(Database::default()));
    let crashes = Arc::new(AtomicU32::new(0));
    while world.broker.lag(STREAM.as_bytes(), GROUP.as_bytes()).await.is_ok_and(|lag| lag.total() > 0)
        || crashes.load(Ordering::SeqCst) == 0
    {
        let (data, count, dies) =
            (Arc::clone(&database), Arc::clone(&crashes), Arc::new(AtomicBool::new(false)));
        let dying = Arc::clone(&dies);
        let handler = move |context: Context| {
            let (data, count, dying) = (Arc::clone(&data), Arc::clone(&count), Arc::clone(&dying));
            async move {
                let known = data.lock().unwrap().marks.clone();
                let mut transaction = Transaction { marks: Vec::new(), effects: Vec::new(), known };
                let Ok(is_new) = Marks.mark(&mut transaction, &context.mark()).await;
                if is_new {
                    transaction.effects.push(number(&context));
                }
                // A crash before the commit, and one behind it, before the acknowledgement.
                let fate = (context.deliveries(), number(&context) % 3);
                let dies_before = fate == (1, 0);
                let dies_after = fate == (1, 1);
                if !dies_before {
                    let mut data = data.lock().unwrap();
                    data.marks.extend(transaction.marks);
                    data.effects.extend(transaction.effects);
                }
                if dies_before || dies_after {
                    count.fetch_add(1, Ordering::SeqCst);
                    dying.store(true, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                }
                Outcome::Done
            }
        };
        let running = Running::begin(|shutdown| world.consumer().prefetch(1).handler(handler).run(shutdown));
        world.until(async || dies.load(Ordering::SeqCst) || world.lag().await.total() == 0).await;
        running.kill().await;
    }
    let mut effects = database.lock().unwrap().effects.clone();
    effects.sort_unstable();
    assert!(effects.into_iter().eq(0..20), "each effect once");
    assert!(crashes.load(Ordering::SeqCst) >= 14);
}

/// Two pokes at the same time fetched from the same shared position.
#[tokio::test(start_paused = true)]
async fn s17_there_is_one_fetch_loop() {
    let world = World::new();
    world.numbers(0..10).await;
    let (position, handled) = (Arc::new(Mutex::new(0_u64)), Journal::new());
    let poked = async || {
        let from = ReadFrom::Position(*position.lock().unwrap());
        let options = ReadOptions { from, to: None, backward: false, count: 10, wait: None };
        let entries = world.broker.read(STREAM.as_bytes(), options).await.unwrap();
        for entry in &entries {
            tokio::time::sleep(Duration::from_millis(1)).await;
            handled.write(entry.position.unwrap());
        }
        *position.lock().unwrap() = entries.last().map_or(0, |entry| entry.position.unwrap() + 1);
    };
    tokio::join!(poked(), poked());
    assert_eq!(handled.read().len(), 20, "the same ten twice");

    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        let journal = journal.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            journal.write(number(&context));
            Outcome::Done
        }
    };
    let running = Running::begin(|shutdown| world.consumer().handler(handler).run(shutdown));
    for n in 10..60 {
        world.numbers(n..n + 1).await; // Each of these wakes the reader.
    }
    world.drained().await;
    running.stop().await;
    assert!(seen.read().into_iter().eq(0..60), "each once, in order");
}

/// A rate was kept by sleeping with the entry in hand, until somebody else took it.
#[tokio::test(start_paused = true)]
async fn s18_a_rate_waits_before_it_reads() {
    let world = World::new();
    world.create(Policy::recommended()).await;
    world.numbers(0..10).await;
    let mut held = world.read_as("limited", NEW, 10).await;
    let mut handled = Vec::new();
    while !held.is_empty() {
        let next = held.remove(0);
        tokio::time::sleep(S * 10).await; // One every ten seconds.
        handled.push(next.entry.id);
        world.ack(&[next]).await;
        let taken = world.read_as("other", GroupSource::Reclaimed { idle_min: None }, 10).await;
        handled.extend(taken.iter().map(|delivery| delivery.entry.id));
    }
    assert!(handled.len() > 10, "others took what it slept with: {} runs for 10 entries", handled.len());

    let world = World::new();
    world.numbers(0..10).await;
    let seen = Journal::new();
    let (journal, time) = (seen.clone(), world.time.clone());
    let handler = move |_: Context| {
        journal.write(time.elapsed().as_secs());
        async { Outcome::Done }
    };
    let running =
        Running::begin(|shutdown| world.consumer().rate_limit(2, S * 20).handler(handler).run(shutdown));
    while seen.read().len() < 10 {
        tokio::time::sleep(S).await;
        assert!(world.pending().await.is_empty(), "nothing waits in its hands");
        assert!(world.read_as("other", GroupSource::Reclaimed { idle_min: None }, 10).await.is_empty());
    }
    running.stop().await;
    assert_eq!(seen.read(), [0, 0, 20, 20, 40, 40, 60, 60, 80, 80]);
}

/// The same rate for all consumers of a group together.
#[tokio::test(start_paused = true)]
async fn s18_a_rate_is_shared_by_the_group() {
    let world = World::new();
    world.numbers(0..24).await;
    let seen = Journal::new();
    let consumers = ["ann", "bob", "cid"].map(|name| {
        let (journal, time) = (seen.clone(), world.time.clone());
        let handler = move |_: Context| {
            journal.write(time.elapsed());
            async { Outcome::Done }
        };
        let consumer = world.consumer().consumer(name).rate_limit_of_group(4, S * 10).handler(handler);
        Running::begin(|shutdown| consumer.run(shutdown))
    });
    // A grant to a consumer that finds nothing is spent, so it may take longer than the rate alone.
    world.drained().await;
    for running in consumers {
        running.stop().await;
    }
    let times = seen.read();
    assert_eq!(times.len(), 24);
    for (nth, time) in times.iter().enumerate().skip(4) {
        assert!(
            *time - times[nth - 4] >= S * 10 - Duration::from_millis(100),
            "five within ten seconds: {times:?}"
        );
    }
}

/// `XAUTOCLAIM` without its cursor looked at the same heads for ever; `XPENDING` without idle time and counts hid poison.
#[tokio::test(start_paused = true)]
async fn s19_a_sweep_has_a_cursor_and_rows_tell_all() {
    let world = World::new();
    world.create(Policy { deliveries_max: 1_000, ..Policy::recommended() }).await;
    let ids = world.numbers(0..10).await;
    world.read_as("dead", NEW, 10).await;
    let sweep = async |start| {
        let (group, consumer) = (GROUP.into(), b"sweeper".to_vec());
        let claim = AutoClaim { group, consumer, idle_min: Duration::ZERO, start, count: 3 };
        world.broker.auto_claim(STREAM.as_bytes(), claim).await.unwrap()
    };
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.extend(sweep(EntryId::MIN).await.deliveries.into_iter().map(|delivery| delivery.entry.id));
    }
    assert_eq!(seen.len(), 3, "without the cursor it never gets on");

    world.broker.delete_entries(STREAM.as_bytes(), &ids[8..9]).await.unwrap();
    let (mut seen, mut deleted, mut start) = (BTreeSet::new(), Vec::new(), EntryId::MIN);
    loop {
        let claimed = sweep(start).await;
        seen.extend(claimed.deliveries.into_iter().map(|delivery| delivery.entry.id));
        deleted.extend(claimed.deleted);
        start = claimed.cursor;
        if start == EntryId::MIN {
            break;
        }
    }
    assert_eq!((seen.len(), deleted), (9, vec![ids[8]]));
    tokio::time::sleep(S * 5).await;
    let row = &world.pending().await[0];
    assert_eq!((row.state, row.consumer.as_deref()), (PendingState::InFlight, Some(&b"sweeper"[..])));
    assert_eq!((row.idle, row.deliveries, row.failures), (S * 5, 22, 0), "20 sweeps without a cursor show");
}

/// "A single instance is recommended": order was a habit of whoever ran it.
#[tokio::test(start_paused = true)]
async fn s20_order_is_kept_by_lanes_not_by_habit() {
    let in_order = async |key: Option<&[u8]>| {
        let world = World::new();
        for n in 0..60_u32 {
            world.append(STREAM, &[("n", &n.to_string()), ("brand", ["a", "b", "c"][n as usize % 3])]).await;
        }
        let policy = Policy { key: key.map(<[u8]>::to_vec), ..Policy::delayed(vec![S; 3]) };
        let seen = Journal::new();
        let workers = ["one", "two"].map(|name| {
            let journal = seen.clone();
            let handler = move |context: Context| {
                let journal = journal.clone();
                async move {
                    let n = number(&context);
                    // Some are slow, and some fail at first.
                    tokio::time::sleep(Duration::from_millis(u64::from(n * 31 % 17))).await;
                    if n.is_multiple_of(7) && context.failures() == 0 {
                        return Outcome::retry("at first");
                    }
                    journal.write((context.text("brand").unwrap().into_owned(), n));
                    Outcome::Done
                }
            };
            let consumer =
                world.consumer().consumer(name).policy(policy.clone()).concurrency(2).handler(handler);
            Running::begin(|shutdown| consumer.run(shutdown))
        });
        world.drained().await;
        for running in workers {
            running.stop().await;
        }
        assert_eq!(seen.read().len(), 60);
        ["a", "b", "c"].iter().all(|brand| {
            let of_brand: Vec<_> =
                seen.read().into_iter().filter(|(of, _)| of == brand).map(|(_, n)| n).collect();
            of_brand.is_sorted()
        })
    };
    assert!(!in_order(None).await, "two workers without lanes mix up the brands' orders");
    assert!(in_order(Some(b"brand")).await);
}
