//! Calls of the broker traits by clients: the futures behind `WEIR.*` commands.
//!
//! A command that one of these carries out leaves its turn with nothing but a future, which is polled when no turn is
//! held: it takes the engine's lock for itself, as every embedder's does. The client's next command waits for its answer.
//!
//! Invariants:
//! * No future is polled or dropped while a turn is held: it would wait for itself.
//! * A client has at most one, so they are bounded by clients.
//! * What a future answers is as durable as the engine was told to be; it has seen to that itself.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker as TaskWaker};

use mio::Waker;
use weir_core::{Broker, Error};
use weir_engine::{DATABASES, Engine, NamespaceNo};
use weir_wire::Value;

use super::client::ClientNo;
use super::reply::Reply;

/// What becomes an answer.
pub(crate) type Asked = Pin<Box<dyn Future<Output = Value> + Send>>;

/// A call that a command leaves behind.
pub(crate) struct Ask {
    pub(crate) future: Asked,
    /// Heap bytes of its words.
    pub(crate) bytes: usize,
    /// Whether it may wait for entries, so that it ends when its client goes.
    pub(crate) waits: bool,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask").field("bytes", &self.bytes).field("waits", &self.waits).finish_non_exhaustive()
    }
}

/// What a client that waits for its call is charged with, and how it may be ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking {
    pub(crate) bytes: usize,
    pub(crate) waits: bool,
}

/// All calls under way, and the brokers they are carried out by.
pub(crate) struct Asks {
    brokers: Vec<Arc<dyn Broker>>,
    under_way: HashMap<ClientNo, UnderWay>,
    /// Those that are to be polled.
    ready: Arc<Mutex<Vec<(ClientNo, u64)>>>,
    /// Those that nobody wants any more, until they may be dropped.
    ended: Vec<Asked>,
    waker: Arc<Waker>,
    next: u64,
}

struct UnderWay {
    future: Asked,
    serial: u64,
    waits: bool,
    waker: TaskWaker,
}

impl std::fmt::Debug for Asks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asks").field("under_way", &self.under_way.len()).finish_non_exhaustive()
    }
}

/// Notes that a call may go on, and wakes the reactor's poll.
struct Bell {
    who: ClientNo,
    serial: u64,
    ready: Arc<Mutex<Vec<(ClientNo, u64)>>>,
    waker: Arc<Waker>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let is_noted = ready.contains(&(self.who, self.serial));
        if !is_noted {
            ready.push((self.who, self.serial));
        }
        drop(ready);
        // A waker fails only when the poll is gone, and then nobody waits for it.
        drop(self.waker.wake());
    }
}

impl Asks {
    /// # Errors
    /// When the engine is closed already.
    pub(crate) fn new(engine: &Engine, waker: Arc<Waker>) -> Result<Self, Error> {
        let broker = |name: String| engine.namespace(&name).map(|broker| Arc::new(broker) as Arc<dyn Broker>);
        Ok(Self {
            brokers: namespace_names().map(broker).collect::<Result<_, _>>()?,
            under_way: HashMap::new(),
            ready: Arc::default(),
            ended: Vec::new(),
            waker,
            next: 0,
        })
    }

    /// The broker of a namespace.
    pub(crate) fn broker(&self, ns: NamespaceNo) -> Arc<dyn Broker> {
        self.brokers[ns.0 as usize].clone()
    }

    /// Begins a call; it is polled when the turn is over.
    pub(crate) fn begin(&mut self, who: ClientNo, ask: Ask) {
        self.next += 1;
        let serial = self.next;
        let bell = Bell { who, serial, ready: self.ready.clone(), waker: self.waker.clone() };
        let under_way =
            UnderWay { future: ask.future, serial, waits: ask.waits, waker: TaskWaker::from(Arc::new(bell)) };
        self.under_way.insert(who, under_way);
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push((who, serial));
    }

    /// Ends a client's call without an answer; it is dropped when the turn is over.
    pub(crate) fn end(&mut self, who: ClientNo) {
        self.ended.extend(self.under_way.remove(&who).map(|call| call.future));
    }

    /// Whether there are calls that end by themselves.
    pub(crate) fn has_work(&self) -> bool {
        self.under_way.values().any(|call| !call.waits)
    }

    /// Drops the calls that were ended. No turn may be held.
    pub(crate) fn sweep(&mut self) {
        self.ended.clear();
    }

    /// Polls what may go on; answers what has ended. No turn may be held.
    pub(crate) fn poll(&mut self) -> Vec<(ClientNo, Reply)> {
        self.sweep();
        let ready = std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
        let mut answers = Vec::new();
        for (who, serial) in ready {
            let Some(call) = self.under_way.get_mut(&who).filter(|call| call.serial == serial) else {
                continue;
            };
            let mut context = Context::from_waker(&call.waker);
            if let Poll::Ready(value) = call.future.as_mut().poll(&mut context) {
                self.under_way.remove(&who);
                answers.push((who, reply(value)));
            }
        }
        answers
    }
}

/// The names of all namespaces, by the numbers of their databases.
pub(crate) fn namespace_names() -> impl Iterator<Item = String> {
    (0..DATABASES).map(|number| if number == 0 { "default".to_owned() } else { format!("db{number}") })
}

/// A value of the wire as a reply.
pub(crate) fn reply(value: Value) -> Reply {
    let all = |items: Vec<Value>| items.into_iter().map(reply).collect();
    match value {
        Value::Simple(word) if word == "OK" => Reply::Ok,
        Value::Simple(word) => Reply::Line(word.into()),
        Value::Bulk(bytes) => Reply::Bulk(bytes.into()),
        Value::Int(number) => Reply::Int(number),
        Value::Array(items) => Reply::Array(all(items)),
        Value::Map(items) => Reply::Map(all(items)),
        Value::Null => Reply::Null,
        Value::Error(line) => Reply::Error(line.into()),
        Value::Double(number) => Reply::Double(number),
    }
}
