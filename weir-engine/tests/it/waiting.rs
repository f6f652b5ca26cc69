//! Reads that wait: who is woken, in which order, and who is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use weir_core::{BoxFuture, EntryId, ErrorKind, FieldRefs, ManualClock, Timestamp};
use weir_core::{
    CreateGroup, Deliveries, GroupOrigin, GroupSource, Groups, Policy, ReadFrom, ReadOptions, Settle,
    Settled, Settlement, Streams,
};
use weir_engine::{
    Append, Cold, Engine, Entries, Fsync, GroupReadFrom, GroupStart, Halt, Nack, NackMode, Namespace, NewId,
    Options, ReadGroup, ReadLimits, Served,
};
use weir_log::faulty::FaultyDisk;

use crate::script::{TestClock, small};
use crate::streams::{NS, add, key};

const LONG: Duration = Duration::from_secs(30);

fn group_read(count: u64) -> ReadGroup {
    ReadGroup {
        ns: NS,
        group: b"g".as_slice().into(),
        consumer: b"ann".as_slice().into(),
        streams: vec![(b"s".as_slice().into(), GroupReadFrom::New)],
        limits: ReadLimits { count: Some(count), ..ReadLimits::default() },
        noack: false,
        claim_idle_min: None,
    }
}

fn ids(served: &Served) -> Vec<u64> {
    let outcome = served.result.as_ref().expect("the group is there");
    let Entries::Plain(refs) = &outcome.streams[0].entries else { panic!("no claim was asked for") };
    refs.iter().map(|entry| entry.id.ms).collect()
}

#[test]
fn ten_thousand_waiting_readers_are_served_in_order_by_ten_thousand_appends() {
    let engine = Engine::memory();
    engine.turn().group_create(key("s"), b"g", GroupStart::End, None, true).unwrap();
    for token in 0..10_000 {
        engine.turn().wait_group(group_read(1), token).unwrap();
    }
    for n in 1..=10_000 {
        add(&engine, "s", n, "x");
    }
    let served = engine.turn().take_served();
    let got: Vec<(u64, Vec<u64>)> = served.iter().map(|one| (one.token, ids(one))).collect();
    let want: Vec<(u64, Vec<u64>)> = (0..10_000).map(|n| (n, vec![n + 1])).collect();
    assert_eq!(got, want);
    assert_eq!(engine.turn().waiting_counts(), (0, 0));
}

#[test]
fn one_append_of_a_transaction_serves_as_many_as_it_has_entries_for() {
    let engine = Engine::memory();
    engine.turn().group_create(key("s"), b"g", GroupStart::End, None, true).unwrap();
    for token in 0..3 {
        engine.turn().wait_group(group_read(1), token).unwrap();
    }
    let mut turn = engine.turn();
    turn.begin();
    for ms in 1..=2 {
        let id = NewId::Exact(EntryId::new(ms, 1));
        let fields: [&[u8]; 2] = [b"f", b"v"];
        let request = Append { id, fields: &fields, create: false, trim: None, producer: None };
        turn.append(key("s"), &request).unwrap();
        turn.serve_waiters();
    }
    assert!(turn.take_served().is_empty(), "nobody is served before the end of a transaction");
    turn.end();
    drop(turn);
    let served = engine.turn().take_served();
    assert_eq!(
        served.iter().map(|one| (one.token, ids(one))).collect::<Vec<_>>(),
        [(0, vec![1]), (1, vec![2])]
    );
    assert_eq!(engine.turn().waiting_counts(), (1, 1));
}

#[test]
fn a_waiting_group_read_learns_that_its_group_is_gone() {
    for destroy in [true, false] {
        let engine = Engine::memory();
        engine.turn().group_create(key("s"), b"g", GroupStart::End, None, true).unwrap();
        engine.turn().wait_group(group_read(1), 7).unwrap();
        if destroy {
            engine.turn().group_destroy(key("s"), b"g").unwrap();
        } else {
            engine.turn().remove_key(key("s")).unwrap();
        }
        let served = engine.turn().take_served();
        assert_eq!(served[0].result.as_ref().unwrap_err(), &ErrorKind::NoSuchGroup);
    }
}

/// A group with one pending row, and reads that wait in it, with the idle time each would claim at.
fn waiting_to_claim(claims: &[Option<u64>]) -> (Engine, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
    let engine = Engine::memory_with(clock.clone(), manual());
    engine.turn().group_create(key("s"), b"g", GroupStart::End, None, true).unwrap();
    add(&engine, "s", 1, "x");
    let other = ReadGroup { consumer: b"bob".as_slice().into(), ..group_read(1) };
    assert_eq!(engine.turn().read_group(&other).unwrap().streams.len(), 1);
    for (token, claim_idle_min) in (0..).zip(claims) {
        let read = ReadGroup { claim_idle_min: *claim_idle_min, ..group_read(1) };
        engine.turn().wait_group(read, token).unwrap();
    }
    (engine, clock)
}

fn manual() -> Options {
    Options { background: false, ..Options::default() }
}

fn hand_back(engine: &Engine) {
    let ids = [EntryId::new(1, 1)];
    let request = Nack { group: b"g", mode: NackMode::Fail, ids: &ids, deliveries: None, force: false };
    assert_eq!(engine.turn().nack(key("s"), &request).unwrap(), 1);
}

fn tokens(engine: &Engine) -> Vec<u64> {
    engine.turn().take_served().iter().map(|served| served.token).collect()
}

#[test]
fn a_row_that_is_handed_back_reaches_a_claiming_read_behind_plain_ones() {
    let hour = Some(3_600_000);
    let (engine, _) = waiting_to_claim(&[None, None, hour, None, hour]);
    hand_back(&engine);
    assert_eq!(tokens(&engine), [2]);
    add(&engine, "s", 2, "x");
    assert_eq!(tokens(&engine), [0], "who came first gets what is new");
    assert_eq!(engine.turn().waiting_counts().0, 3);
}

#[test]
fn a_claiming_read_is_asked_when_one_that_wants_more_idle_rows_got_nothing() {
    let (engine, clock) = waiting_to_claim(&[Some(60_000), None, Some(60_000), Some(90_000), Some(5_000)]);
    clock.advance(Duration::from_secs(10));
    // Something happens to the stream: waiting reads look at it. The row is idle for ten seconds.
    engine.turn().group_create(key("s"), b"h", GroupStart::End, None, false).unwrap();
    assert!(engine.turn().group_destroy(key("s"), b"h").unwrap());
    assert_eq!(tokens(&engine), [4]);
}

fn namespace() -> (Engine, Namespace) {
    let engine = Engine::memory();
    let namespace = engine.namespace("default").expect("it is there from the start");
    (engine, namespace)
}

const FIELDS: FieldRefs<'_> = &[(b"type", b"placed")];

fn reader(wait: Option<Duration>) -> weir_core::ReadGroup {
    weir_core::ReadGroup {
        group: b"g".to_vec(),
        consumer: b"ann".to_vec(),
        source: GroupSource::New,
        count: 10,
        wait,
        while_paused: false,
    }
}

/// A group that begins with the first entry.
pub(crate) fn from_beginning() -> CreateGroup {
    CreateGroup { origin: GroupOrigin::Beginning, policy: Policy::recommended() }
}

/// One entry above an ID, or a wait for it.
pub(crate) fn above(id: EntryId, wait: Option<Duration>) -> ReadOptions {
    ReadOptions { from: ReadFrom::After(id), to: None, backward: false, count: 1, wait }
}

#[test]
fn a_thread_waits_for_an_entry_of_another_thread() {
    let (engine, orders) = namespace();
    orders.create_group(b"orders", b"g", &from_beginning()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| orders.read_group(b"orders", &reader(Some(LONG))).unwrap());
        while engine.turn().waiting_counts().0 == 0 {
            std::thread::yield_now();
        }
        let id = orders.append(b"orders", FIELDS, &weir_core::AppendOptions::default()).unwrap();
        let given = waiting.join().unwrap();
        let entry = &given[0].entry;
        assert_eq!((entry.id, entry.position, entry.global_position), (id.id, Some(0), Some(1)));
        assert_eq!(entry.fields, [(b"type".to_vec(), b"placed".to_vec())]);
    });
    let group = &orders.groups(b"orders").unwrap()[0];
    assert_eq!(
        (group.pending, group.last_delivered_id),
        (1, orders.stream_info(b"orders").unwrap().unwrap().last_id)
    );
    assert_eq!(orders.read_group(b"orders", &reader(None)).unwrap(), []);
}

#[test]
fn a_task_waits_and_a_task_that_is_dropped_waits_no_longer() {
    let (engine, orders) = namespace();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        Groups::create_group(&orders, b"orders", b"g", from_beginning()).await.unwrap();
        let broker: Arc<dyn weir_core::Broker> = Arc::new(orders.clone());
        let other = broker.clone();
        let task = tokio::spawn(async move { other.read_group(b"orders", reader(Some(LONG))).await });
        while engine.turn().waiting_counts().0 == 0 {
            tokio::task::yield_now().await;
        }
        let id = broker.append(b"orders", FIELDS, weir_core::AppendOptions::default()).await.unwrap();
        let id = id.id;
        assert_eq!(task.await.unwrap().unwrap()[0].entry.id, id);
        let timed = broker.read(b"orders", above(id, Some(Duration::from_millis(5)))).await.unwrap();
        assert_eq!(timed, []);
        let abandoned =
            tokio::time::timeout(Duration::from_millis(5), broker.read(b"orders", above(id, Some(LONG))));
        assert!(abandoned.await.is_err());
        assert_eq!(engine.turn().waiting_counts(), (0, 0));
        let done = |id| Settle { id, token: None, settlement: Settlement::Ack };
        let settled = broker.settle(b"orders", b"g", &[done(id), done(EntryId::MAX)]).await.unwrap();
        assert_eq!(settled, [Settled::Done, Settled::NotPending]);
        assert_eq!(Streams::read(&*broker, b"none", everything()).await.unwrap(), []);
    });
}

pub(crate) fn everything() -> ReadOptions {
    ReadOptions { from: ReadFrom::Start, to: None, backward: false, count: 100, wait: None }
}

#[test]
fn tasks_that_want_durability_share_flushes() {
    let disk = weir_log::MemoryDisk::new();
    let options =
        weir_engine::Options { fsync: weir_engine::Fsync::Always, ..weir_engine::Options::default() };
    let clock = Arc::new(weir_core::SystemClock::new());
    let engine = Engine::open(Arc::new(disk), clock, options).unwrap();
    let orders = engine.namespace("default").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let before = engine.log_stats().flushes;
    runtime.block_on(async {
        let tasks: Vec<_> = (0..500)
            .map(|_| {
                let orders = orders.clone();
                let append = async move {
                    Streams::append(&orders, b"orders", FIELDS, weir_core::AppendOptions::default()).await
                };
                tokio::spawn(append)
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
    let flushes = engine.log_stats().flushes - before;
    assert!(flushes < 400, "500 appends took {flushes} flushes");
    assert_eq!(orders.read(b"orders", &ReadOptions { count: 1_000, ..everything() }).unwrap().len(), 500);
}

/// Where preparing space lagged behind, a waiting group read was told that the disk had failed.
#[test]
fn a_waiting_group_read_outlasts_a_log_without_room() {
    let disk = Arc::new(FaultyDisk::new());
    let engine = Engine::open(disk, TestClock::new(), small(Fsync::Always)).unwrap();
    engine.turn().group_create(key("s"), b"g", GroupStart::End, None, true).unwrap();
    engine.turn().wait_group(group_read(1), 7).unwrap();
    let fields: [&[u8]; 2] = [b"f", &[b'v'; 500]];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
    let mut turn = engine.turn();
    turn.begin();
    // A transaction goes on until there is no room at all.
    let refused = (0..100_000).find_map(|_| turn.append(key("s"), &request).err());
    assert!(matches!(refused, Some(Halt::Cold(Cold::Room(_)))), "{refused:?}");
    drop(turn);
    let served = engine.turn().take_served();
    assert_eq!(served.len(), 1);
    assert_eq!((served[0].token, ids(&served[0]).len()), (7, 1));
    assert_eq!(engine.turn().pending_summary(key("s"), b"g").unwrap().count, 1);
}

/// Counts how often a task was woken.
#[derive(Default)]
pub(crate) struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task that is polled by hand.
pub(crate) struct Task<'a, T> {
    pub(crate) future: BoxFuture<'a, T>,
    pub(crate) woken: Arc<Woken>,
}

impl<'a, T> Task<'a, T> {
    /// Begins it; it is not ready at once.
    pub(crate) fn pending(future: BoxFuture<'a, T>) -> Self {
        let mut task = Self { future, woken: Arc::default() };
        assert!(task.poll().is_pending());
        task
    }

    pub(crate) fn poll(&mut self) -> Poll<Result<T, weir_core::Error>> {
        self.future.as_mut().poll(&mut Context::from_waker(&self.woken.clone().into()))
    }

    /// Its answer, after others have done what it waits for.
    pub(crate) fn finish(&mut self) -> Result<T, ErrorKind> {
        loop {
            let before = self.woken.0.load(Ordering::SeqCst);
            if let Poll::Ready(answer) = self.poll() {
                return answer.map_err(|error| error.kind().clone());
            }
            while self.woken.0.load(Ordering::SeqCst) == before {
                std::thread::yield_now();
            }
        }
    }

    /// Its answer, after it was woken.
    pub(crate) fn answer(&mut self) -> Result<T, ErrorKind> {
        assert!(self.woken.0.load(Ordering::SeqCst) > 0, "nobody woke it");
        match self.poll() {
            Poll::Ready(answer) => answer.map_err(|error| error.kind().clone()),
            Poll::Pending => panic!("it was woken for nothing"),
        }
    }
}

fn by_hand() -> (Engine, Namespace, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
    let engine = Engine::memory_with(clock.clone(), manual());
    let namespace = engine.namespace("default").unwrap();
    (engine, namespace, clock)
}

#[test]
fn a_task_may_wait_for_ever() {
    let (engine, orders, clock) = by_hand();
    let mut task = Task::pending(Streams::read(&orders, b"orders", above(EntryId::MIN, Some(Duration::MAX))));
    clock.advance(Duration::from_secs(1_000_000));
    engine.background_step().unwrap();
    assert!(task.poll().is_pending());
    orders.append(b"orders", FIELDS, &weir_core::AppendOptions::default()).unwrap();
    assert_eq!(task.answer().unwrap().len(), 1);
    drop(Task::pending(Streams::read(&orders, b"none", above(EntryId::MIN, Some(Duration::MAX)))));
    assert_eq!(engine.turn().waiting_counts(), (0, 0));
}

#[test]
fn tasks_whose_time_is_up_at_once_are_all_woken() {
    let (engine, orders, clock) = by_hand();
    let read = |seconds| {
        let wait = Some(Duration::from_secs(seconds));
        Task::pending(Streams::read(&orders, b"orders", above(EntryId::MIN, wait)))
    };
    let (mut late, mut one, mut other) = (read(100), read(5), read(5));
    clock.advance(Duration::from_secs(5));
    engine.background_step().unwrap();
    assert_eq!(one.answer().unwrap(), []);
    assert_eq!(other.answer().unwrap(), []);
    assert!(late.poll().is_pending());
    drop(late);
    assert_eq!(engine.turn().waiting_counts(), (0, 0));
}

fn is_closed<T: std::fmt::Debug>(answer: Result<T, weir_core::Error>) -> bool {
    *answer.unwrap_err().kind() == ErrorKind::Closed
}

#[test]
fn closing_answers_whoever_waits() {
    let (engine, orders, _) = by_hand();
    orders.create_group(b"orders", b"g", &from_beginning()).unwrap();
    let mut task = Task::pending(Deliveries::read_group(&orders, b"orders", reader(Some(LONG))));
    engine.turn().group_create(key("s"), b"g", GroupStart::End, None, true).unwrap();
    engine.turn().wait_group(group_read(1), 7).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| orders.read(b"orders", &above(EntryId::MIN, Some(Duration::MAX))));
        while engine.turn().waiting_counts().0 < 3 {
            std::thread::yield_now();
        }
        engine.close().unwrap();
        assert!(is_closed(thread.join().unwrap()));
    });
    assert_eq!(task.answer().unwrap_err(), ErrorKind::Closed);
    let served = engine.turn().take_served();
    assert_eq!((served[0].token, served[0].result.as_ref().unwrap_err()), (7, &ErrorKind::Closed));
}

#[test]
fn a_closed_engine_answers_nothing_any_more() {
    let (engine, orders, _) = by_hand();
    orders.append(b"orders", FIELDS, &weir_core::AppendOptions::default()).unwrap();
    engine.close().unwrap();
    assert!(is_closed(orders.read(b"orders", &everything())));
    assert!(is_closed(orders.read(b"orders", &above(EntryId::MIN, None))));
    assert!(is_closed(orders.append(b"orders", FIELDS, &weir_core::AppendOptions::default())));
    assert!(is_closed(orders.groups(b"orders")));
    assert!(engine.turn().wait_group(group_read(1), 1).is_err());
}

/// A task of an executor: to wake it is to queue it, and the queue may be gone.
struct Queued {
    future: std::sync::Mutex<Option<BoxFuture<'static, Vec<weir_core::Entry>>>>,
    queue: std::sync::mpsc::Sender<Arc<Self>>,
}

impl Wake for Queued {
    fn wake(self: Arc<Self>) {
        let queue = self.queue.clone();
        // What is not sent is dropped here, with its future.
        drop(queue.send(self));
    }
}

/// Leaves a waiting read behind that nothing but its own waker keeps.
fn abandon(space: &Namespace) {
    let (queue, gone) = std::sync::mpsc::channel();
    let own = space.clone();
    let future: BoxFuture<'static, _> =
        Box::pin(async move { Streams::read(&own, b"s", above(EntryId::MIN, Some(LONG))).await });
    let task = Arc::new(Queued { future: Some(future).into(), queue });
    let waker = task.clone().into();
    let mut future = task.future.lock().unwrap();
    assert!(future.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(future);
    drop(gone);
}

/// A task was woken under the engine's lock. When its executor was gone that dropped it, and its read waited for the
/// lock, for ever.
#[test]
fn whoever_is_woken_may_be_dropped_by_it() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let engine = Engine::memory();
        let space = engine.namespace("default").unwrap();
        abandon(&space);
        assert_eq!(engine.turn().waiting_counts(), (1, 1));
        add(&engine, "s", 1, "x");
        assert_eq!(engine.turn().waiting_counts(), (0, 0));
        engine.turn().remove_key(key("s")).unwrap();
        abandon(&space);
        engine.close().unwrap();
        done.send(()).unwrap();
    });
    finished.recv_timeout(LONG).expect("nobody waits for a lock that is held by the same thread");
}
