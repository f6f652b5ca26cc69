//! Answers that wait for the log, round by round, while the rounds after them are executed.
//!
//! A round that has to be flushed to disk leaves the waiting to a thread of the engine's: other clients' commands are
//! read and executed meanwhile, and their flush begins when the first has ended. What need only be written, to the
//! system's memory, is written at once: handing that over gains nothing.
//!
//! Invariants:
//! * Answers leave in the order of their rounds, so nobody sees what may be lost, and each client gets its own in order.
//! * What is held is bounded by [`ANSWERS_MAX`] and [`BYTES_MAX`], and what their commands appended by [`UNWRITTEN_MAX`];
//!   beyond them the next round waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Wake, Waker as TaskWaker};
use std::time::Duration;

use mio::Waker;
use weir_engine::{Engine, Mark};

use super::client::ClientNo;
use super::door::Outgoing;
use super::spin::Crowd;

/// Answers held at most, in all rounds together.
const ANSWERS_MAX: usize = 65_536;
/// Bytes of texts in them.
const BYTES_MAX: usize = 64 << 20;
/// Bytes of records that may wait to be written while rounds are held: a disk that is slower than the clients makes
/// them wait, and does not fill the memory.
const UNWRITTEN_MAX: u64 = 16 << 20;

/// A round that is executed and not answered.
#[derive(Debug)]
pub(crate) struct HeldRound {
    pub(crate) mark: Mark,
    pub(crate) answers: Vec<Outgoing>,
    /// Bytes of texts in them.
    pub(crate) bytes: usize,
    /// When it began to wait, on the clock's monotonic scale.
    pub(crate) since: Duration,
}

/// Rounds whose answers wait.
#[derive(Debug)]
pub(crate) struct Held {
    rounds: VecDeque<HeldRound>,
    /// Answers in them, and bytes of texts in these.
    count: usize,
    bytes: usize,
    /// An empty list to reuse.
    spare: Vec<Outgoing>,
    waker: TaskWaker,
}

/// Wakes the reactor's poll.
struct Bell(Arc<Waker>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // A waker fails only when the poll is gone, and then nobody waits for it.
        drop(self.0.wake());
    }
}

impl Held {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        let waker = TaskWaker::from(Arc::new(Bell(waker)));
        Self { rounds: VecDeque::new(), count: 0, bytes: 0, spare: Vec::new(), waker }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rounds.is_empty()
    }

    /// Whether a round should be held instead of waited for: others are held, or the wait is long and there are others
    /// to serve meanwhile. A single client has nothing to gain from it.
    pub(crate) fn should_hold(&self, engine: &Engine, mark: Mark, crowd: Crowd) -> bool {
        let is_full = self.count > ANSWERS_MAX || self.bytes > BYTES_MAX;
        if is_full || engine.unwritten_bytes() > UNWRITTEN_MAX {
            return false;
        }
        !self.is_empty() || (mark.is_durable() && crowd == Crowd::Several && !engine.is_settled(mark))
    }

    /// Holds a round; answers an empty list for the answers of the next.
    pub(crate) fn hold(&mut self, engine: &Engine, round: HeldRound) -> Vec<Outgoing> {
        let mark = round.mark;
        self.count += round.answers.len();
        self.bytes += round.bytes;
        self.rounds.push_back(round);
        engine.reach_soon(mark, &self.waker);
        std::mem::take(&mut self.spare)
    }

    /// Has a mark reached by the thread that flushes, which wakes the reactor when it is.
    pub(crate) fn want(&self, engine: &Engine, mark: Mark) {
        engine.reach_soon(mark, &self.waker);
    }

    /// The oldest round, when it need not wait any longer.
    pub(crate) fn take_settled(&mut self, engine: &Engine) -> Option<HeldRound> {
        if !engine.is_settled(self.rounds.front()?.mark) {
            return None;
        }
        self.take_first()
    }

    /// The oldest round.
    pub(crate) fn take_first(&mut self) -> Option<HeldRound> {
        let first = self.rounds.pop_front()?;
        self.count -= first.answers.len();
        self.bytes -= first.bytes;
        Some(first)
    }

    /// Takes a list back to reuse it.
    pub(crate) fn give_back(&mut self, list: Vec<Outgoing>) {
        debug_assert!(list.is_empty(), "its answers have left");
        self.spare = list;
    }

    /// A client has gone: its place may be given to another, which must not get its answers.
    pub(crate) fn forget(&mut self, who: ClientNo) {
        for round in &mut self.rounds {
            let before = round.answers.len();
            round.answers.retain(|outgoing| outgoing.to != who);
            self.count -= before - round.answers.len();
        }
    }
}
