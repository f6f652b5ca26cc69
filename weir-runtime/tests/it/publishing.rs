//! The publisher: once each, in order, over outages, restarts and damage.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use weir_core::{BoxFuture, ErrorKind, GroupOrigin, Policy, ReadFrom, ReadOptions, Streams};
use weir_runtime::publisher::{
    FILE_APPENDS_MAX, OutboxLimits, OutboxRow, OutboxTable, TransactionOutbox, partition_of,
};
use weir_runtime::{Consumer, Context, Outcome, Published, Publisher, Shutdown, TraceParent};

use crate::world::{Journal, Running, STREAM, World, number};

const S: Duration = Duration::from_secs(1);

impl World {
    /// The values of `n` in a stream, in order.
    async fn values(&self, stream: &str) -> Vec<u32> {
        let options =
            ReadOptions { from: ReadFrom::Start, to: None, backward: false, count: 1_000_000, wait: None };
        let entries = self.broker.read(stream.as_bytes(), options).await.unwrap();
        let value =
            |entry: &weir_core::Entry| weir_core::first_value(&entry.fields, b"n").map(<[u8]>::to_vec);
        entries
            .iter()
            .map(|entry| String::from_utf8(value(entry).unwrap()).unwrap().parse().unwrap())
            .collect()
    }

    fn publisher(&self) -> weir_runtime::publisher::Builder {
        Publisher::builder(self.shared()).name("web-1").time(self.time.clone())
    }
}

async fn publish(publisher: &Publisher, n: u32) -> Result<Published, weir_core::Error> {
    publisher.append(STREAM, &[(b"n", n.to_string().as_bytes())]).await
}

/// An append is sent again until it is answered; one that was taken though the answer was lost is not doubled.
#[tokio::test(start_paused = true)]
async fn an_outage_neither_loses_nor_doubles() {
    let world = World::new();
    let publisher = world.publisher().open().await.unwrap();
    assert!(matches!(publish(&publisher, 0).await.unwrap(), Published::Appended(_)));
    world.broker.fail_with(ErrorKind::Unavailable);
    let waiting: Vec<_> = (1..200)
        .map(|n| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publish(&publisher, n).await })
        })
        .collect();
    tokio::time::sleep(S * 20).await;
    world.broker.recover();
    for task in waiting {
        assert!(matches!(task.await.unwrap().unwrap(), Published::Appended(_)));
    }
    assert!(world.values(STREAM).await.into_iter().eq(0..200));
    for _ in 0..2 {
        publisher.append_as(STREAM, "event-77", &[(b"n", b"200")]).await.unwrap();
    }
    assert_eq!(world.values(STREAM).await.len(), 201, "the caller's own ID is known, too");
    world.broker.fail_with(ErrorKind::Unavailable);
    let error = publish(&publisher, 999).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable, "the patience is over: {error}");
}

/// What can never be taken is an error of its own append, and of no other in its batch.
#[tokio::test(start_paused = true)]
async fn one_bad_append_spoils_no_batch() {
    let world = World::new();
    let publisher = world.publisher().open().await.unwrap();
    let good = publish(&publisher, 0);
    let bad = publisher.append(STREAM, &[]);
    let other = publish(&publisher, 1);
    let (good, bad, other) = tokio::join!(good, bad, other);
    assert!(good.is_ok() && other.is_ok());
    assert!(matches!(bad.unwrap_err().kind(), ErrorKind::Invalid(_)));
    assert!(world.values(STREAM).await.into_iter().eq(0..2));
}

/// While the broker is away appends are safe on disk, survive the process, and keep their order.
#[tokio::test(start_paused = true)]
async fn the_outbox_survives_the_process() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let publisher = world.publisher().outbox(folder.path()).open().await.unwrap();
    publish(&publisher, 0).await.unwrap();
    world.broker.fail_with(ErrorKind::Unavailable);
    for n in 1..50 {
        assert_eq!(publish(&publisher, n).await.unwrap(), Published::Queued);
    }
    let again = world.publisher().outbox(folder.path()).open().await;
    assert_eq!(*again.unwrap_err().kind(), ErrorKind::InUse);
    // The process dies: nothing is flushed, nothing is closed.
    drop(publisher);
    let publisher = reopened(&world, folder.path()).await;
    for n in 50..60 {
        assert_eq!(publish(&publisher, n).await.unwrap(), Published::Queued, "behind what waits already");
    }
    world.broker.recover();
    world.until(async || world.values(STREAM).await.len() == 60).await;
    assert!(world.values(STREAM).await.into_iter().eq(0..60));
    world.until(async || matches!(publish(&publisher, 60).await, Ok(Published::Appended(_)))).await;
    assert_eq!(publisher.close(S).await.unwrap().queued, 0);
    assert_eq!(*publish(&publisher, 61).await.unwrap_err().kind(), ErrorKind::Closed);
    let values = world.values(STREAM).await;
    assert!(values.is_sorted() && values[..60].iter().copied().eq(0..60));
}

/// Opens an outbox whose owner is just going.
async fn reopened(world: &World, folder: &Path) -> Publisher {
    for _ in 0..1_000 {
        if let Ok(publisher) = world.publisher().outbox(folder).open().await {
            return publisher;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the outbox is never free");
}

/// A file of the outbox that was sent, and whose sending was not noted before the end, is sent again and not doubled.
#[tokio::test(start_paused = true)]
async fn what_was_sent_and_not_noted_is_recognised() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    world.broker.fail_with(ErrorKind::Unavailable);
    let publisher = world.publisher().outbox(folder.path()).open().await.unwrap();
    let all = FILE_APPENDS_MAX as u32 + 700;
    let numbers: Vec<u32> = (0..all).collect();
    // So few at a time that a task is never asked to let others have their turn, which would mix up the calls.
    for some in numbers.chunks(50) {
        let results = futures_util::future::join_all(some.iter().map(|n| publish(&publisher, *n))).await;
        assert!(results.into_iter().all(|result| result.unwrap() == Published::Queued));
    }
    let files = || fs::read_dir(folder.path()).unwrap().map(|item| item.unwrap().path());
    let boxes = files().filter(|path| path.extension().is_some_and(|end| end == "box")).count();
    assert_eq!(boxes, 2, "more than one file");
    for path in files() {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    world.broker.recover();
    world.until(async || world.values(STREAM).await.len() == all as usize).await;
    assert_eq!(publisher.close(S).await.unwrap().queued, 0);
    // The machine comes back with the folder as it was before.
    let publisher = world.publisher().outbox(copy.path()).open().await.unwrap();
    publish(&publisher, all).await.unwrap();
    assert_eq!(publisher.close(S * 10).await.unwrap().queued, 0);
    let values = world.values(STREAM).await;
    let first_wrong = values.iter().zip(0..).position(|(value, n)| *value != n);
    assert_eq!((values.len(), first_wrong), (all as usize + 1, None), "each once, in order");
}

/// An append that was half written when the process died was never accepted, and is cut off; damage before the end is
/// told.
#[tokio::test(start_paused = true)]
async fn a_torn_end_is_cut_off_and_damage_is_told() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    world.broker.fail_with(ErrorKind::Unavailable);
    let publisher = world.publisher().outbox(folder.path()).open().await.unwrap();
    for n in 0..3 {
        publish(&publisher, n).await.unwrap();
    }
    drop(publisher);
    let file = fs::read_dir(folder.path())
        .unwrap()
        .map(|item| item.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "box"))
        .unwrap();
    let whole = fs::read(&file).unwrap();
    for torn in 1..whole.len() / 3 {
        fs::write(&file, &whole[..whole.len() - torn]).unwrap();
        drop(reopened(&world, folder.path()).await);
        let kept = fs::read(&file).unwrap();
        assert!(
            whole.starts_with(&kept) && kept.len() * 3 == whole.len() * 2,
            "the last frame goes, {torn} bytes torn"
        );
    }
    fs::write(&file, &whole).unwrap();
    let publisher = reopened(&world, folder.path()).await;
    publish(&publisher, 3).await.unwrap(); // In a file of its own.
    drop(publisher);
    let mut damaged = whole.clone();
    damaged[20] ^= 1;
    fs::write(&file, &damaged).unwrap();
    let error = loop {
        match world.publisher().outbox(folder.path()).open().await {
            Err(error) if *error.kind() == ErrorKind::InUse => tokio::time::sleep(S).await,
            Err(error) => break error,
            Ok(_) => panic!("damage goes unnoticed"),
        }
    };
    assert_eq!(*error.kind(), ErrorKind::Corrupt, "{error}");
    fs::write(&file, &whole).unwrap();
    world.broker.recover();
    let publisher = reopened(&world, folder.path()).await;
    assert_eq!(publisher.close(S * 10).await.unwrap().queued, 0);
    assert!(world.values(STREAM).await.into_iter().eq(0..4));
    fs::OpenOptions::new().append(true).open(folder.path().join("sent")).unwrap().write_all(b"junk").unwrap();
    drop(reopened(&world, folder.path()).await);
}

/// A full outbox refuses, and what it had accepted is safe; what is left at the end stays for the next time.
#[tokio::test(start_paused = true)]
async fn the_outbox_is_bounded() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    world.broker.fail_with(ErrorKind::Unavailable);
    let limits = OutboxLimits { bytes: 1 << 20, appends: 5 };
    let publisher = world.publisher().outbox_limits(limits).outbox(folder.path()).open().await.unwrap();
    for n in 0..5 {
        assert_eq!(publish(&publisher, n).await.unwrap(), Published::Queued);
    }
    assert!(matches!(publish(&publisher, 5).await.unwrap_err().kind(), ErrorKind::LimitReached(_)));
    assert_eq!(publisher.close(S).await.unwrap().queued, 5);
    world.broker.recover();
    let publisher = reopened(&world, folder.path()).await;
    assert_eq!(publisher.close(S * 10).await.unwrap().queued, 0);
    assert!(world.values(STREAM).await.into_iter().eq(0..5));
}

/// Rows that were committed with the user's own changes go to their streams, each once, in order.
#[tokio::test(start_paused = true)]
async fn rows_of_a_transaction_are_relayed() {
    #[derive(Default)]
    struct Table {
        rows: Mutex<Vec<(i64, OutboxRow)>>,
        /// How often removing fails, as if the relay had died before it.
        fails: Mutex<u32>,
    }
    struct Transaction(Vec<OutboxRow>);
    struct Put;
    impl TransactionOutbox<Transaction> for Put {
        type Error = std::convert::Infallible;

        async fn put<'a>(
            &'a self,
            transaction: &'a mut Transaction,
            row: &'a OutboxRow,
        ) -> Result<(), Self::Error> {
            transaction.0.push(row.clone());
            Ok(())
        }
    }
    impl OutboxTable for Table {
        fn oldest(&self, count: usize) -> BoxFuture<'_, Vec<(i64, OutboxRow)>> {
            Box::pin(async move { Ok(self.rows.lock().unwrap().iter().take(count).cloned().collect()) })
        }

        fn remove<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, ()> {
            Box::pin(async move {
                let mut fails = self.fails.lock().unwrap();
                if *fails > 0 {
                    *fails -= 1;
                    return Err(ErrorKind::Unavailable.into());
                }
                self.rows.lock().unwrap().retain(|(number, _)| !numbers.contains(number));
                Ok(())
            })
        }
    }
    let world = World::new();
    let publisher = world.publisher().open().await.unwrap();
    let table = Table { fails: Mutex::new(2), ..Table::default() };
    for n in 0..400_i64 {
        let mut transaction = Transaction(Vec::new());
        let row = publisher.row(STREAM, &[(b"n", n.to_string().as_bytes()), (b"empty", b"")]);
        assert_eq!(OutboxRow::decode_fields(&row.encode_fields()).unwrap(), row.fields);
        let Ok(()) = Put.put(&mut transaction, &row).await;
        if n != 3 {
            // 3 is rolled back.
            table.rows.lock().unwrap().extend(transaction.0.into_iter().map(|row| (n, row)));
        }
    }
    for _ in 0..2 {
        assert!(publisher.relay(&table, S, Shutdown::never()).await.is_err(), "it dies before it removes");
    }
    let shutdown = Shutdown::from(tokio::time::sleep(S * 5));
    publisher.relay(&table, S, shutdown).await.unwrap();
    assert!(world.values(STREAM).await.into_iter().eq((0..400).filter(|n| *n != 3)));
    assert!(table.rows.lock().unwrap().is_empty());

    // The broker is away for longer than the publisher is patient: the rows wait.
    table.rows.lock().unwrap().push((400, publisher.row(STREAM, &[(b"n", b"400")])));
    world.broker.fail_with(ErrorKind::Unavailable);
    let outage = async {
        tokio::time::sleep(S * 300).await;
        world.broker.recover();
    };
    let shutdown = Shutdown::from(tokio::time::sleep(S * 400));
    let (relayed, ()) = tokio::join!(publisher.relay(&table, S, shutdown), outage);
    relayed.unwrap();
    assert_eq!(world.values(STREAM).await.last(), Some(&400));
}

/// The limit of a close is kept, though appends that are tried stand before it; and what is given up is told.
#[tokio::test(start_paused = true)]
async fn a_close_takes_no_longer_than_it_may() {
    let world = World::new();
    let publisher = world.publisher().open().await.unwrap();
    world.broker.fail_with(ErrorKind::Unavailable);
    let waiting: Vec<_> = (0..3)
        .map(|n| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publish(&publisher, n).await })
        })
        .collect();
    tokio::time::sleep(S).await;
    let began = world.time.elapsed();
    let error = publisher.close(S * 2).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(world.time.elapsed() - began <= S * 3, "{:?}", world.time.elapsed() - began);
    for task in waiting {
        assert_eq!(*task.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

/// Those who append without a pause do not keep what waits in the outbox from being sent.
#[tokio::test]
async fn the_outbox_empties_while_others_append() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let publisher = world.publisher().outbox(folder.path()).open().await.unwrap();
    world.broker.fail_with(ErrorKind::Unavailable);
    assert_eq!(publish(&publisher, 0).await.unwrap(), Published::Queued);
    world.broker.recover();
    let arrived = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let (publisher, arrived) = (publisher.clone(), arrived.clone());
            tokio::spawn(async move {
                for _ in 0..1_000 {
                    if arrived.load(std::sync::atomic::Ordering::SeqCst) {
                        return;
                    }
                    if let Published::Appended(_) = publish(&publisher, n).await.unwrap() {
                        arrived.store(true, std::sync::atomic::Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(arrived.load(std::sync::atomic::Ordering::SeqCst), "everything went to the outbox for ever");
}

/// Partitions keep the order per key, and a pattern consumer reads them all.
#[tokio::test(start_paused = true)]
async fn partitions_keep_the_order_of_a_key() {
    let world = World::new();
    let publisher = world.publisher().open().await.unwrap();
    let partitioned = publisher.partitioned("parts", 4, "key").unwrap();
    assert!(publisher.partitioned("parts", 0, "key").is_err());
    let seen = Journal::new();
    let journal = seen.clone();
    let handler = move |context: Context| {
        let journal = journal.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(u64::from(number(&context) * 7 % 5))).await;
            let key = context.text("key").unwrap().into_owned();
            journal.write((context.stream().to_vec(), key, number(&context)));
            Outcome::Done
        }
    };
    let policy = Policy { key: Some(b"key".to_vec()), ..Policy::recommended() };
    let consumer = Consumer::builder(world.shared())
        .pattern("parts-*")
        .group("g")
        .origin(GroupOrigin::End)
        .policy(policy)
        .concurrency(3)
        .time(world.time.clone())
        .handler(handler);
    let running = Running::begin(|shutdown| consumer.run(shutdown));
    tokio::time::sleep(S).await;
    for n in 0..120_u32 {
        let (n, key) = (n.to_string(), format!("k{}", n % 9));
        partitioned.append(&[(b"n", n.as_bytes()), (b"key", key.as_bytes())]).await.unwrap();
    }
    // The streams came to be after the consumer; it finds them, and begins with their first entries.
    world.until(async || seen.read().len() == 120).await;
    running.stop().await;
    for key in 0..9 {
        let key = format!("k{key}");
        let of_key: Vec<_> = seen.read().into_iter().filter(|(_, of, _)| *of == key).collect();
        assert!(
            of_key.iter().all(
                |(stream, ..)| *stream == partitioned.streams()[partition_of(key.as_bytes(), 4) as usize]
            )
        );
        assert!(of_key.iter().map(|(_, _, n)| n).is_sorted());
    }
    let used: std::collections::BTreeSet<_> = seen.read().into_iter().map(|(stream, ..)| stream).collect();
    assert_eq!(used.len(), 4);
}

/// What is published from a handler belongs to the trace of its entry.
#[tokio::test(start_paused = true)]
async fn the_trace_goes_on() {
    let world = World::new();
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    world.append(STREAM, &[("n", "0"), ("traceparent", text)]).await;
    let publisher = world.publisher().open().await.unwrap();
    let handler = move |_: Context| {
        let publisher = publisher.clone();
        async move { publisher.append("next", &[(b"n", b"1")]).await.map(drop) }
    };
    let running = Running::begin(|shutdown| world.consumer().handler(handler).run(shutdown));
    world.drained().await;
    running.stop().await;
    let options = ReadOptions { from: ReadFrom::Start, to: None, backward: false, count: 1, wait: None };
    let entry = world.broker.read(b"next", options).await.unwrap().pop().unwrap();
    let trace = TraceParent::parse(weir_core::first_value(&entry.fields, b"traceparent").unwrap()).unwrap();
    assert_eq!(trace.trace, TraceParent::parse(text.as_bytes()).unwrap().trace);
    assert_ne!(trace.to_string(), text, "under a span of its own");
}
