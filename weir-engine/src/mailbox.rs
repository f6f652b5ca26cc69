//! Where one waiting read of this process finds its answer: a thread sleeps on it, a task polls it.

use std::sync::{Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use weir_core::ErrorKind;

use crate::api::ReadOutcome;

/// What became of a waiting read.
pub(crate) type Answer = Result<ReadOutcome, ErrorKind>;

#[derive(Debug, Default)]
struct Slot {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    slot: Mutex<Slot>,
    arrived: Condvar,
}

impl Mailbox {
    /// Leaves an answer, and answers who is to be woken for it, once no lock is held: to wake a task may drop it.
    #[must_use]
    pub(crate) fn put(&self, answer: Answer) -> Option<Waker> {
        let mut slot = self.slot.lock().expect("no panic under this lock");
        slot.answer = Some(answer);
        let waker = slot.waker.take();
        drop(slot);
        self.arrived.notify_one();
        waker
    }

    /// Sleeps until an answer arrives; `None` when none does in time.
    pub(crate) fn wait(&self, at_most: Duration) -> Option<Answer> {
        let slot = self.slot.lock().expect("no panic under this lock");
        let waited = self.arrived.wait_timeout_while(slot, at_most, |slot| slot.answer.is_none());
        waited.expect("no panic under this lock").0.answer.take()
    }

    pub(crate) fn take(&self) -> Option<Answer> {
        self.slot.lock().expect("no panic under this lock").answer.take()
    }

    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Answer> {
        let mut slot = self.slot.lock().expect("no panic under this lock");
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                let before = slot.waker.replace(waker.clone());
                drop(slot);
                drop(before);
                Poll::Pending
            }
        }
    }

    /// Wakes whoever polls, without an answer: its time is up.
    pub(crate) fn nudge(&self) {
        let waker = self.slot.lock().expect("no panic under this lock").waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
