//! Appending entries so that each is there once, whatever happens on the way.
//!
//! * Every append has an ID of its own. It is sent again until the broker has answered; what the broker has already it
//!   does not add twice.
//! * What is appended to a stream through one publisher, one call after the other, stands there in that order. (Of
//!   calls that run at the same time, nobody knows which comes first.)
//! * With an [outbox](Builder::outbox) an append is done as soon as it is safe on this machine's disk while the broker is
//!   away, also over a restart of the process; everything behind it waits there, too, so that the order is kept.
//! * Appends go to the broker many at a time: while one batch is on its way the next one gathers.
//!
//! An engine knows the last 10 000 appends of a producer to a stream, for an hour at least. One batch at most is not
//! answered for at any time, and an outbox is cut into files of fewer appends than that; so after a crash what is sent
//! again is known, unless the process stays away for more than that hour after the broker took an append and before
//! this was noted.

mod outbox;
mod partitioned;
mod sender;
mod transaction;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use weir_core::{Appended, Broker, Error, ErrorKind, FieldRefs, Fields};

pub use outbox::{FILE_APPENDS_MAX, OutboxLimits};
pub use partitioned::{PARTITIONS_MAX, Partitioned, partition_of};
pub use transaction::{OutboxRow, OutboxTable, TransactionOutbox};

use crate::trace::draw;
use crate::{Time, TraceParent, consumer_name};
use outbox::Outbox;
use sender::Sender;

/// So many appends wait to be sent; further ones wait for their turn.
pub const QUEUE_MAX: usize = 10_000;

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is in its stream.
    Appended(Appended),
    /// It is in the outbox, and goes to its stream when the broker is back.
    Queued,
}

/// What is left when a publisher was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Appends that wait in the outbox for the next time.
    pub queued: u64,
}

/// An append on its way.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) stream: Vec<u8>,
    pub(crate) append_id: Vec<u8>,
    pub(crate) fields: Fields,
}

/// What the sender is asked.
#[derive(Debug)]
pub(crate) enum Request {
    Append(Append, oneshot::Sender<Result<Published, Error>>),
    /// Sends everything, for so long at most.
    Close(Duration, oneshot::Sender<Result<Flushed, Error>>),
}

/// Appends entries to streams. Clones share it. See the [module](self).
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

struct Inner {
    requests: mpsc::Sender<Request>,
    name: Vec<u8>,
    /// What append IDs of this process begin with.
    epoch: u64,
    appends: AtomicU64,
    /// Ends with the last clone.
    _sender: Owned,
    time: Time,
    closing: Mutex<()>,
    /// When a close wants everything to be over, by the steady clock.
    hurry: watch::Sender<Option<Duration>>,
}

/// A task that ends with its owner.
struct Owned(JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How a publisher works. Everything has a default.
pub struct Builder {
    broker: Arc<dyn Broker>,
    name: Vec<u8>,
    patience: Duration,
    outbox: Option<PathBuf>,
    limits: OutboxLimits,
    time: Time,
}

impl Builder {
    /// What this producer is called; two that run at the same time need different names only if they choose append IDs
    /// themselves. By default [`consumer_name`].
    #[must_use]
    pub fn name(mut self, name: impl AsRef<[u8]>) -> Self {
        self.name = name.as_ref().to_vec();
        self
    }

    /// How long an append without an outbox is tried, once it is its turn, before it is an error; 60 s by default. It may
    /// be in its stream all the same.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Keeps appends in this folder while the broker is away. It is made if it is missing, and belongs to this publisher
    /// alone: one that is in use is refused. What it holds from the last time is sent first.
    #[must_use]
    pub fn outbox(mut self, folder: impl Into<PathBuf>) -> Self {
        self.outbox = Some(folder.into());
        self
    }

    /// How much the outbox holds, if there is one.
    #[must_use]
    pub fn outbox_limits(mut self, limits: OutboxLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Where the time comes from; for tests.
    #[must_use]
    pub fn time(mut self, time: Time) -> Self {
        self.time = time;
        self
    }

    /// Opens the outbox and begins.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::InUse`] or [`ErrorKind::Corrupt`] from the outbox; [`ErrorKind::Invalid`] for an
    /// empty name.
    pub async fn open(self) -> Result<Publisher, Error> {
        let Self { broker, name, patience, outbox, limits, time } = self;
        if name.is_empty() {
            return Err(Error::new(ErrorKind::Invalid("a producer needs a name")));
        }
        let outbox = match outbox {
            Some(folder) => Some(outbox::aside(move || Outbox::open(&folder, limits)).await?),
            None => None,
        };
        let (requests, receiver) = mpsc::channel(QUEUE_MAX);
        let (hurry, hurried) = watch::channel(None);
        let sender = Sender::new(broker, name.clone(), patience, time.clone(), outbox, hurried);
        let sender = Owned(tokio::spawn(sender.run(receiver)));
        let (epoch, appends, closing) = (draw(), AtomicU64::new(0), Mutex::new(()));
        let inner = Inner { requests, name, epoch, appends, _sender: sender, time, closing, hurry };
        Ok(Publisher { inner: Arc::new(inner) })
    }
}

impl Publisher {
    /// Begins to say how a publisher works.
    #[must_use]
    pub fn builder(broker: Arc<dyn Broker>) -> Builder {
        let (name, patience) = (consumer_name().into_bytes(), Duration::from_secs(60));
        Builder {
            broker,
            name,
            patience,
            outbox: None,
            limits: OutboxLimits::default(),
            time: Time::system(),
        }
    }

    /// Appends an entry under an ID of its own. The trace of the handler that this is called from goes along, in the
    /// field `traceparent`, unless there is one.
    ///
    /// Dropped before it ends, the entry may be appended or not.
    ///
    /// # Errors
    /// What [`weir_core::Streams::append`] answers that does not pass by waiting; [`ErrorKind::Unavailable`] and the like
    /// when the patience is over; [`ErrorKind::LimitReached`] when the outbox is full (the entry may be in its stream all
    /// the same); [`ErrorKind::Closed`].
    pub async fn append(&self, stream: impl AsRef<[u8]>, fields: FieldRefs<'_>) -> Result<Published, Error> {
        let id = self.next_id();
        self.append_as(stream, id, fields).await
    }

    /// The same under an ID that the caller chooses, such as an event's own: appended again by a producer of this name,
    /// nothing is added.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn append_as(
        &self,
        stream: impl AsRef<[u8]>,
        id: impl AsRef<[u8]>,
        fields: FieldRefs<'_>,
    ) -> Result<Published, Error> {
        let (stream, append_id) = (stream.as_ref().to_vec(), id.as_ref().to_vec());
        self.enqueue(Append { stream, append_id, fields: traced(fields) })
            .await?
            .await
            .map_err(|_| closed())?
    }

    /// Gives an append its place in the order; the answer comes later.
    async fn enqueue(&self, append: Append) -> Result<oneshot::Receiver<Result<Published, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        self.inner.requests.send(Request::Append(append, reply)).await.map_err(|_| closed())?;
        Ok(answer)
    }

    /// Sends what waits, for so long at most, and ends: later appends are refused. What is left then stays in the outbox
    /// for the next time.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when appends are left and there is no outbox: their callers have errors, too.
    pub async fn close(&self, limit: Duration) -> Result<Flushed, Error> {
        let _alone = self.inner.closing.lock().await;
        // Also for what is before the request: an append that is tried holds up everything behind it.
        self.inner.hurry.send_replace(Some(self.inner.time.elapsed().saturating_add(limit)));
        let (reply, answer) = oneshot::channel();
        self.inner.requests.send(Request::Close(limit, reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Appends to `stream-0` … `stream-(n-1)`, so that the entries with the same value in `key` are in the same one:
    /// see [`Partitioned`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for no partitions, or more than [`PARTITIONS_MAX`].
    pub fn partitioned(
        &self,
        stream: impl AsRef<[u8]>,
        partitions: u32,
        key: impl AsRef<[u8]>,
    ) -> Result<Partitioned, Error> {
        Partitioned::new(self.clone(), stream.as_ref(), partitions, key.as_ref())
    }

    fn next_id(&self) -> Vec<u8> {
        let number = self.inner.appends.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{number}", self.inner.epoch).into_bytes()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("name", &String::from_utf8_lossy(&self.inner.name))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

/// Fields with the current trace.
fn traced(fields: FieldRefs<'_>) -> Fields {
    let mut own: Fields = fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let name = TraceParent::FIELD.as_bytes();
    if let Some(trace) = TraceParent::current().filter(|_| !fields.iter().any(|(field, _)| *field == name)) {
        own.push((name.to_vec(), trace.child().to_string().into_bytes()));
    }
    own
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed).with_context("the publisher was closed")
}
