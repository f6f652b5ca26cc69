//! What the tests have in common: a broker, appending to it, a consumer in the background.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use weir_core::{
    AppendOptions, Broker, CreateGroup, DeadLetter, DeadLetterFilter, DeadLetterQuery, Deliveries, Delivery,
    EntryId, Error, GroupOrigin, GroupSource, Groups, Lag, PendingQuery, PendingRow, Policy, ReadGroup,
    Streams,
};
use weir_runtime::{Builder, Consumer, Context, NoHandler, Shutdown, Time, TokioTimer, Trigger};
use weir_testkit::TestBroker;
use weir_testkit::naive::TokioClock;

pub(crate) const STREAM: &str = "orders";
pub(crate) const GROUP: &str = "billing";

/// A broker on tokio's time.
pub(crate) struct World {
    pub(crate) broker: TestBroker,
    pub(crate) time: Time,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { broker: TestBroker::new(), time: Time::new(Arc::new(TokioClock::new()), Arc::new(TokioTimer)) }
    }

    pub(crate) fn shared(&self) -> Arc<dyn Broker> {
        Arc::new(self.broker.clone())
    }

    /// A consumer `ann` of the group, from the beginning.
    pub(crate) fn consumer(&self) -> Builder<NoHandler> {
        Consumer::builder(self.shared())
            .stream(STREAM)
            .group(GROUP)
            .origin(GroupOrigin::Beginning)
            .consumer("ann")
            .time(self.time.clone())
    }

    pub(crate) async fn append(&self, stream: &str, fields: &[(&str, &str)]) -> EntryId {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        self.broker.append(stream.as_bytes(), &fields, AppendOptions::default()).await.unwrap().id
    }

    /// Appends entries `n` = 0, 1, 2 … to the stream.
    pub(crate) async fn numbers(&self, numbers: std::ops::Range<u32>) -> Vec<EntryId> {
        let mut ids = Vec::new();
        for number in numbers {
            ids.push(self.append(STREAM, &[("n", &number.to_string())]).await);
        }
        ids
    }

    pub(crate) async fn create(&self, policy: Policy) {
        let options = CreateGroup { origin: GroupOrigin::Beginning, policy };
        self.broker.create_group(STREAM.as_bytes(), GROUP.as_bytes(), options).await.unwrap();
    }

    /// What another consumer is given of the group, without waiting.
    pub(crate) async fn read_as(&self, consumer: &str, source: GroupSource, count: u64) -> Vec<Delivery> {
        let (group, consumer) = (GROUP.as_bytes().to_vec(), consumer.as_bytes().to_vec());
        let read = ReadGroup { group, consumer, source, count, wait: None, while_paused: false };
        self.broker.read_group(STREAM.as_bytes(), read).await.unwrap()
    }

    /// Waits for the group to be made, and says how far behind it is.
    pub(crate) async fn lag(&self) -> Lag {
        let lag = async || self.broker.lag(STREAM.as_bytes(), GROUP.as_bytes()).await;
        self.until(async || lag().await.is_ok()).await;
        lag().await.unwrap()
    }

    pub(crate) async fn pending(&self) -> Vec<PendingRow> {
        let query = PendingQuery {
            consumer: None,
            idle_min: None,
            start: EntryId::MIN,
            end: EntryId::MAX,
            count: 100_000,
        };
        // Before the group is made it has nothing pending.
        self.broker.pending(STREAM.as_bytes(), GROUP.as_bytes(), query).await.unwrap_or_default()
    }

    pub(crate) async fn dead(&self) -> Vec<DeadLetter> {
        let query =
            DeadLetterQuery { filter: DeadLetterFilter::default(), after: EntryId::MIN, count: 100_000 };
        let page = self.broker.dead_letters(STREAM.as_bytes(), GROUP.as_bytes(), query).await;
        page.map_or_else(|_| Vec::new(), |page| page.letters)
    }

    /// Waits until nothing is left to do for the group.
    pub(crate) async fn drained(&self) {
        self.until(async || {
            self.broker.lag(STREAM.as_bytes(), GROUP.as_bytes()).await.is_ok_and(|lag| lag.total() == 0)
        })
        .await;
    }

    /// Waits until something is so; fails after an hour of virtual time.
    pub(crate) async fn until(&self, is_so: impl AsyncFn() -> bool) {
        for _ in 0..360_000 {
            if is_so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never came to be");
    }
}

/// A consumer that runs.
pub(crate) struct Running {
    pub(crate) trigger: Trigger,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Runs something with a shutdown in the background.
    pub(crate) fn begin<F>(run: impl FnOnce(Shutdown) -> F) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (trigger, shutdown) = Shutdown::new();
        Self { trigger, task: tokio::spawn(run(shutdown)) }
    }

    /// Ends it gracefully.
    pub(crate) async fn stop(self) {
        self.trigger.signal();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it as a crash would: nothing is handed back, nothing settled.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Waits for its own end.
    pub(crate) async fn ended(self) -> Result<(), Error> {
        self.task.await.unwrap()
    }
}

/// A list that handlers write to.
#[derive(Debug)]
pub(crate) struct Journal<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Journal<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Journal<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn write(&self, item: T) {
        self.0.lock().unwrap().push(item);
    }

    pub(crate) fn read(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }
}

/// The number of an entry that [`World::numbers`] appended.
pub(crate) fn number(context: &Context) -> u32 {
    context.text("n").expect("it has one").parse().expect("it is a number")
}
