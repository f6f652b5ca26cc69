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

    /// Ends the thread, after one more flush for those that wait. Whoever asks later flushes for itself.
    pub(crate) fn close(&self) {
        self.queue.lock().expect("no panic under this lock").closed = true;
        self.work.notify_all();
    }

    /// Resolves when the log is durable up to `head`.
    pub(crate) fn durable(self: &Arc<Self>, head: Lsn) -> Durable {
        Durable { flusher: self.clone(), head }
    }

    /// Has the log brought to `head` as safely as `level` says, and wakes whoever asks when it is there or has failed.
    pub(crate) fn want(self: &Arc<Self>, head: Lsn, level: Level, waker: &Waker) {
        let mut queue = self.queue.lock().expect("no panic under this lock");
        queue.waiting.push((head, level, waker.clone()));
        queue.wanted = Some(safer(queue.wanted.unwrap_or(level), level));
        if !queue.running && !queue.closed {
            let own = Arc::downgrade(self);
            let thread = std::thread::Builder::new().name("weir-flush".into()).spawn(move || run(&own));
            queue.running = thread.is_ok();
        }
        let has_thread = queue.running && !queue.closed;
        drop(queue);
        if has_thread {
            self.work.notify_one();
        } else {
            // Without a thread the flush happens right here, late but not never.
            self.flush(level);
        }
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
        let (wanted, closed) = (queue.wanted.take(), queue.closed);
        drop(queue);
        if let Some(level) = wanted {
            flusher.flush(level);
        }
        if closed {
            return;
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use crate::Engine;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// A flusher of an engine that has something to flush.
    fn flusher() -> (Engine, Arc<Flusher>, Lsn) {
        let options = crate::Options { background: false, ..crate::Options::default() };
        let engine = Engine::memory_with(Arc::new(weir_core::SystemClock::new()), options);
        let mut turn = engine.turn();
        let key = crate::KeyRef { ns: crate::NamespaceNo(0), name: b"s" };
        turn.group_create(key, b"g", crate::GroupStart::End, None, true).expect("there is room");
        let head = turn.head();
        drop(turn);
        let flusher = engine.flusher().clone();
        (engine, flusher, head)
    }

    #[test]
    fn what_was_wanted_before_the_end_is_flushed_at_the_end() {
        let (_engine, flusher, head) = flusher();
        // Nobody starts a thread: this test is it.
        flusher.queue.lock().expect("no panic under this lock").running = true;
        let woken = Arc::new(Woken::default());
        flusher.want(head, Level::Durable, &woken.clone().into());
        flusher.close();
        run(&Arc::downgrade(&flusher));
        assert!(woken.0.load(Ordering::SeqCst));
        assert!(flusher.log.durable() >= head);
    }

    #[test]
    fn whoever_wants_a_flush_after_the_end_is_woken() {
        let (_engine, flusher, head) = flusher();
        flusher.close();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let mut durable = pin!(flusher.durable(head));
        assert!(durable.as_mut().poll(&mut context).is_pending());
        assert!(woken.0.load(Ordering::SeqCst));
        assert!(durable.as_mut().poll(&mut context).is_ready());
    }
}
