//! A few threads that wait for the disk in the place of tasks, so that nothing blocks inside a `poll`.
//!
//! The server's reactor has threads of its own for what it waits for (`weir-server/src/resp/readers.rs`): those know its
//! clients and their answers and hand the bytes back to it, these know neither clients nor answers, and an embedded
//! engine has these alone.
//!
//! Threads are started when there is more to do than threads that do nothing, and end after a while without work.
//!
//! Invariant: a task has at most one job here. Never knows what a job does.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use weir_core::{Error, ErrorKind};

/// Threads at most. Disks serve several requests at once; more than a few would gain nothing.
const THREADS_MAX: usize = 4;
/// Jobs that wait for a thread, at most.
const JOBS_MAX: usize = 65_536;
/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that have nothing to do.
    idle: usize,
    closed: bool,
}

/// The threads and their jobs.
#[derive(Default)]
pub(crate) struct Pool {
    queue: Mutex<Queue>,
    work: Condvar,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// Has a thread of the pool do something that takes its time. Not done at all when nobody awaits it any more.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`], [`ErrorKind::LimitReached`].
    pub(crate) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Promise<T>, Error> {
        let slot = Arc::new(Slot::default());
        let giver = Giver(slot.clone());
        self.push(Box::new(move || {
            if Arc::strong_count(&giver.0) > 1 {
                giver.give(work());
            }
        }))?;
        Ok(Promise(slot))
    }

    /// As [`Pool::run`], for what nobody awaits.
    ///
    /// # Errors
    /// As [`Pool::run`].
    pub(crate) fn run_unawaited(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        self.push(Box::new(work))
    }

    fn push(self: &Arc<Self>, job: Job) -> Result<(), Error> {
        let mut queue = self.queue.lock().expect("no panic under this lock");
        if queue.closed {
            return Err(ErrorKind::Closed.into());
        }
        if queue.jobs.len() >= JOBS_MAX {
            return Err(ErrorKind::LimitReached("tasks that wait for the disk").into());
        }
        if queue.jobs.len() >= queue.idle && queue.threads < THREADS_MAX {
            let own = self.clone();
            let thread = std::thread::Builder::new().name("weir-disk".into()).spawn(move || own.serve());
            queue.threads += usize::from(thread.is_ok());
        }
        if queue.threads == 0 {
            // Without a thread it is done right here, late but not never.
            drop(queue);
            job();
            return Ok(());
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    /// Takes no more jobs; those it has are done.
    pub(crate) fn close(&self) {
        self.queue.lock().expect("no panic under this lock").closed = true;
        self.work.notify_all();
    }

    fn serve(&self) {
        let mut queue = self.queue.lock().expect("no panic under this lock");
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                // Who awaits a job that panicked hears that there will be no answer.
                drop(catch_unwind(AssertUnwindSafe(job)));
                queue = self.queue.lock().expect("no panic under this lock");
                continue;
            }
            if queue.closed {
                break;
            }
            queue.idle += 1;
            let waited = self.work.wait_timeout(queue, IDLE).expect("no panic under this lock");
            queue = waited.0;
            queue.idle -= 1;
            if waited.1.timed_out() && queue.jobs.is_empty() {
                break;
            }
        }
        queue.threads -= 1;
    }
}

struct Slot<T>(Mutex<Answer<T>>);

struct Answer<T> {
    given: Option<T>,
    /// Whoever would give it is gone.
    over: bool,
    waker: Option<Waker>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(Answer { given: None, over: false, waker: None }))
    }
}

/// Gives the answer, or at least an end.
struct Giver<T>(Arc<Slot<T>>);

impl<T> Giver<T> {
    fn give(&self, answer: T) {
        self.0.0.lock().expect("no panic under this lock").given = Some(answer);
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let mut answer = self.0.0.lock().expect("no panic under this lock");
        answer.over = true;
        let waker = answer.waker.take();
        drop(answer);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Resolves with what a job gave, with [`ErrorKind::Closed`] when it ended without.
pub(crate) struct Promise<T>(Arc<Slot<T>>);

impl<T> Future for Promise<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut answer = self.0.0.lock().expect("no panic under this lock");
        if !answer.over {
            answer.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(answer.given.take().ok_or_else(|| ErrorKind::Closed.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn poll<T>(promise: &mut Promise<T>) -> Poll<Result<T, Error>> {
        Pin::new(promise).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Blocks all threads of a pool until what it answers is dropped.
    fn occupy(pool: &Arc<Pool>) -> (mpsc::Sender<()>, Vec<Promise<()>>) {
        let (hold, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let promises = (0..THREADS_MAX).map(|_| {
            let held = held.clone();
            // It ends when the sender is dropped.
            let wait = move || {
                held.lock().expect("nobody panics with it").recv().ok();
            };
            pool.run(wait).expect("the pool is open")
        });
        (hold, promises.collect())
    }

    #[test]
    fn there_are_so_many_threads_at_most_and_an_abandoned_job_is_not_done() {
        let pool = Arc::new(Pool::default());
        let (hold, occupied) = occupy(&pool);
        let (tell, told) = mpsc::channel();
        let job = |n: u32| {
            let tell = tell.clone();
            pool.run(move || tell.send(n).expect("the receiver is there")).expect("the pool is open")
        };
        let (abandoned, mut wanted) = (job(1), job(2));
        drop(abandoned);
        assert!(poll(&mut wanted).is_pending(), "all threads are busy");
        assert_eq!(pool.queue.lock().expect("nobody panicked").threads, THREADS_MAX);
        drop(hold);
        assert_eq!(told.recv(), Ok(2));
        drop(occupied);
    }

    #[test]
    fn a_closed_pool_ends_what_it_has_and_takes_no_more() {
        let pool = Arc::new(Pool::default());
        let (hold, _occupied) = occupy(&pool);
        let (tell, told) = mpsc::channel();
        let last = pool.run(move || tell.send(()).expect("the receiver is there")).expect("the pool is open");
        pool.close();
        assert!(pool.run(|| ()).is_err());
        drop(hold);
        assert_eq!(told.recv(), Ok(()));
        drop(last);
    }

    #[test]
    fn who_awaits_a_job_that_panicked_hears_of_it() {
        let pool = Arc::new(Pool::default());
        let (tell, told) = mpsc::channel::<()>();
        let mut promise = pool.run(move || {
            let _held = tell;
            std::panic::panic_any(());
        });
        let promise = promise.as_mut().expect("the pool is open");
        assert!(told.recv().is_err());
        while poll(promise).is_pending() {
            std::thread::yield_now();
        }
    }
}
