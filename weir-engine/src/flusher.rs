//! Durability for tasks and event loops: one thread flushes for all that await it, nobody else blocks.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use weir_core::Error;
use weir_log::{Level, Log, Lsn};

use crate::engine::log_error;

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(Lsn, Level, Waker)>,
    /// The most that somebody asked for since the last flush began.
    wanted: Option<Level>,
    running: bool,
    closed: bool,
}

/// The thread that flushes, started when it is first needed, and who waits for it.
#[derive(Debug)]
pub(crate) struct Flusher {
    log: Arc<Log>,
    queue: Mutex<Queue>,
    work: Condvar,
}

impl Flusher {
    pub(crate) fn new(log: Arc<Log>) -> Arc<Self> {
        Arc::new(Self { log, queue: Mutex::default(), work: Condvar::new() })
    }

    /// Resolves when the log is durable up to `head`.
    pub(crate) fn durable(self: &Arc<Self>, head: Lsn) -> Durable {
        Durable { flusher: self.clone(), head }
    }

    pub(crate) fn close(&self) {
        self.queue.lock().expect("no panic under this lock").closed = true;
        self.work.notify_all();
    }

    /// Has the log brought to `head` as safely as `level` says, and wakes whoever asks when it is there or has failed.
    pub(crate) fn want(self: &Arc<Self>, head: Lsn, level: Level, waker: &Waker) {
        let mut queue = self.queue.lock().expect("no panic under this lock");
        queue.waiting.push((head, level, waker.clone()));
        queue.wanted = Some(safer(queue.wanted.unwrap_or(level), level));
        if !queue.running {
            let own = Arc::downgrade(self);
            let thread = std::thread::Builder::new().name("weir-flush".into()).spawn(move || run(&own));
            queue.running = thread.is_ok();
            if thread.is_err() {
                // Without a thread the flush happens right here, late but not never.
                drop(queue);
                self.flush(level);
                return;
            }
        }
        drop(queue);
        self.work.notify_one();
    }

    /// One flush, and one batch of wake-ups for all it served.
    fn flush(&self, level: Level) {
        let flushed = self.log.flush_submitted(level);
        let mut queue = self.queue.lock().expect("no panic under this lock");
        let (done, rest) = std::mem::take(&mut queue.waiting)
            .into_iter()
            .partition(|(head, level, _)| flushed.is_err() || *head <= self.log.reached(*level));
        queue.waiting = rest;
        drop(queue);
        let done: Vec<(Lsn, Level, Waker)> = done;
        done.into_iter().for_each(|(.., waker)| waker.wake());
    }
}

fn run(flusher: &Weak<Flusher>) {
    while let Some(flusher) = flusher.upgrade() {
        let queue = flusher.queue.lock().expect("no panic under this lock");
        let idle = std::time::Duration::from_millis(200);
        let waited =
            flusher.work.wait_timeout_while(queue, idle, |queue| queue.wanted.is_none() && !queue.closed);
        let mut queue = waited.expect("no panic under this lock").0;
        if queue.closed {
            return;
        }
        let wanted = queue.wanted.take();
        drop(queue);
        if let Some(level) = wanted {
            flusher.flush(level);
        }
    }
}

/// The one of the two that includes the other.
fn safer(one: Level, other: Level) -> Level {
    if one == Level::Durable { one } else { other }
}

/// Resolves when the log is durable far enough, or has failed.
#[derive(Debug)]
pub(crate) struct Durable {
    flusher: Arc<Flusher>,
    head: Lsn,
}

impl Future for Durable {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.flusher.log.durable() >= self.head {
            return Poll::Ready(Ok(()));
        }
        if self.flusher.log.check().is_err() {
            // Says what the first failure was; it writes nothing any more.
            return Poll::Ready(self.flusher.log.commit(self.head, Level::Durable).map_err(log_error));
        }
        self.flusher.want(self.head, Level::Durable, context.waker());
        Poll::Pending
    }
}
