//! Threads that wait for the disk, so that the reactor never does.
//!
//! A client whose command needs a part of the index that is not in memory, a whole key or a snapshot, or whose answer
//! needs entries that are not in memory, is put aside; one of these threads does what has to be waited for; then the
//! client goes on. Threads are started when there is something to wait for.
//!
//! The engine's own pool (`weir-engine/src/pool.rs`) serves tasks of embedders and knows nothing of clients; what these
//! threads do ends in bytes for a client and wakes the reactor.
//!
//! Invariant: a client has at most one task here, so tasks are bounded by clients.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use mio::Waker;
use weir_core::Error;
use weir_engine::{Ahead, Cold, Engine};

use super::call::{Fetched, Fetching, Outside};
use super::client::ClientNo;
use super::pending::Pending;
use super::render::{Rendered, Source};

/// Threads at most. Disks serve several requests at once; more than a few would gain nothing.
const THREADS_MAX: usize = 4;
/// Bytes rendered in one task; enough to make the hand-over cheap beside the disk.
const TASK_BYTES: usize = 256 * 1024;

/// Something to wait for.
#[derive(Debug)]
pub(crate) enum Task {
    /// A part of the index has to be read before a command can be executed; with what was read for it before.
    Warm(Cold, Ahead),
    /// The entries of a key have to be fetched; with what was read for the command before.
    Fetch(Box<Fetching>, Ahead),
    /// Something takes its time: a snapshot, a flush.
    Outside(Outside),
    /// The beginning of an answer has to be fetched.
    Render(Pending),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All that was read for the command.
    Warmed(Result<Ahead, Error>),
    Fetched(Result<(Box<Fetched>, Ahead), Error>),
    Done(Result<(), Error>),
    /// Bytes, and what is left to render.
    Rendered(Result<(Vec<u8>, Pending), Error>),
}

/// For whom a task is done: the client's place and its ID, since the place may have been given away meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ForClient {
    pub(crate) no: ClientNo,
    pub(crate) id: u64,
}

/// The threads and their tasks.
#[derive(Debug)]
pub(crate) struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Tasks whose outcome was not taken yet.
    outstanding: usize,
}

#[derive(Debug)]
struct Shared {
    engine: Engine,
    waker: Arc<Waker>,
    tasks: Mutex<Tasks>,
    ready: Condvar,
    done: Mutex<Vec<(ForClient, Outcome)>>,
}

#[derive(Debug, Default)]
struct Tasks {
    queue: VecDeque<(ForClient, Task)>,
    /// Snapshots, which may take seconds. One at a time is written, so that the others need not wait for them.
    slow: VecDeque<(ForClient, Task)>,
    is_slow: bool,
    is_closing: bool,
}

impl Tasks {
    fn has_next(&self) -> bool {
        !self.queue.is_empty() || (!self.is_slow && !self.slow.is_empty())
    }

    fn next(&mut self) -> Option<(ForClient, Task)> {
        if self.is_slow || self.slow.is_empty() {
            return self.queue.pop_front();
        }
        self.is_slow = true;
        self.slow.pop_front()
    }
}

impl Readers {
    pub(crate) fn new(engine: Engine, waker: Arc<Waker>) -> Self {
        let shared =
            Shared { engine, waker, tasks: Mutex::default(), ready: Condvar::new(), done: Mutex::default() };
        Self { shared: Arc::new(shared), threads: Vec::new(), outstanding: 0 }
    }

    /// Hands a task over.
    pub(crate) fn submit(&mut self, whose: ForClient, task: Task) {
        self.outstanding += 1;
        if self.outstanding > self.threads.len() && self.threads.len() < THREADS_MAX {
            self.start_thread();
        }
        let mut tasks = self.shared.tasks.lock().expect(UNPOISONED);
        match task {
            Task::Outside(Outside::Snapshot) => tasks.slow.push_back((whose, task)),
            _ => tasks.queue.push_back((whose, task)),
        }
        drop(tasks);
        self.shared.ready.notify_one();
    }

    fn start_thread(&mut self) {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name("weir-reader".into()).spawn(move || shared.work());
        match thread {
            Ok(thread) => self.threads.push(thread),
            // With one thread the tasks get done, if slowly.
            Err(error) if !self.threads.is_empty() => tracing::warn!(%error, "no further reading thread"),
            Err(error) => panic!("a thread that waits for the disk cannot be started: {error}"),
        }
    }

    /// What was done since this was last asked.
    pub(crate) fn take_done(&mut self) -> Vec<(ForClient, Outcome)> {
        if self.outstanding == 0 {
            return Vec::new();
        }
        let done = std::mem::take(&mut *self.shared.done.lock().expect(UNPOISONED));
        self.outstanding -= done.len();
        done
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding == 0
    }
}

const UNPOISONED: &str = "no panic under this lock";

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.tasks.lock().expect(UNPOISONED).is_closing = true;
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to wait for.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some((whose, task)) = self.next() {
            let outcome = match task {
                Task::Warm(cold, mut ahead) => {
                    Outcome::Warmed(self.engine.warm(cold, &mut ahead).map(|()| ahead))
                }
                Task::Fetch(fetching, ahead) => {
                    let fetched = fetching.complete(&self.engine);
                    Outcome::Fetched(fetched.map(|fetched| (Box::new(fetched), ahead)))
                }
                Task::Outside(what) => {
                    let done = what.perform(&self.engine);
                    if what == Outside::Snapshot {
                        self.tasks.lock().expect(UNPOISONED).is_slow = false;
                        self.ready.notify_one();
                    }
                    Outcome::Done(done)
                }
                Task::Render(pending) => Outcome::Rendered(self.render(pending)),
            };
            self.done.lock().expect(UNPOISONED).push((whose, outcome));
            // It fails only when the reactor is gone, and with it everybody who waits.
            drop(self.waker.wake());
        }
    }

    fn next(&self) -> Option<(ForClient, Task)> {
        let tasks = self.tasks.lock().expect(UNPOISONED);
        let idle = |tasks: &mut Tasks| !tasks.has_next() && !tasks.is_closing;
        let mut tasks = self.ready.wait_while(tasks, idle).expect(UNPOISONED);
        if tasks.is_closing { None } else { tasks.next() }
    }

    fn render(&self, mut pending: Pending) -> Result<(Vec<u8>, Pending), Error> {
        let mut bytes = Vec::new();
        let source = Source { engine: &self.engine, may_wait: true };
        let rendered = pending.render(source, &mut bytes, TASK_BYTES)?;
        debug_assert_eq!(rendered, Rendered::Done, "who may wait finds nothing cold");
        Ok((bytes, pending))
    }
}
