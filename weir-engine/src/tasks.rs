//! A namespace of the engine for tasks: the broker traits.
//!
//! A task asks under the lock like a thread does; what has to wait for the disk is left to other threads: flushes to
//! the flusher, which does one for all that await it, reading and making room to a small pool. Only handing bytes to
//! the system happens right here, and that does not wait for the disk.
//!
//! Invariant: nothing blocks inside a `poll`.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use weir_core::{Entry, Error};
use weir_log::Level;

use crate::ahead::Ahead;
use crate::api::{EntryRef, Halt, ReadOutcome};
use crate::broker::{Answered, Asked, Namespace, Question, Waiting, entry, refs};
use crate::mailbox::Answer;
use crate::waiting::Wanted;

impl Namespace {
    /// Asks once, and waits for nothing but the lock.
    fn ask_once<T>(&self, question: &mut impl Question<T>, ahead: &mut Ahead) -> Result<Asked<T>, Halt> {
        let mut turn = self.engine.short_turn();
        turn.check_open()?;
        turn.lend(std::mem::take(ahead));
        let answer = question(&mut turn);
        *ahead = turn.take_back();
        Ok(Asked { answer: answer?, head: turn.head() })
    }

    /// Asks; when the disk has to be waited for, another thread does that and goes on asking.
    async fn ask_aside<T: Send + 'static>(
        &self,
        mut question: impl Question<T> + 'static,
    ) -> Result<Asked<T>, Error> {
        match self.ask_once(&mut question, &mut Ahead::default()) {
            Ok(asked) => Ok(asked),
            Err(Halt::Error(error)) => Err(error),
            Err(Halt::Cold(_)) => {
                let own = self.clone();
                self.engine.pool().run(move || own.ask(question))?.await?
            }
        }
    }

    /// As [`Namespace::ask_aside`], for a question that borrows: it is asked here, and only what is cold is read
    /// elsewhere.
    pub(crate) async fn ask_here<T>(&self, mut question: impl Question<T>) -> Result<T, Error> {
        let mut ahead = Ahead::default();
        loop {
            let cold = match self.ask_once(&mut question, &mut ahead) {
                Ok(asked) => return self.await_log(asked).await,
                Err(Halt::Error(error)) => return Err(error),
                Err(Halt::Cold(cold)) => cold,
            };
            let engine = self.engine.clone();
            let warm = move || engine.warm(cold, &mut ahead).map(|()| ahead);
            ahead = self.engine.pool().run(warm)?.await??;
        }
    }

    pub(crate) async fn await_log<T>(&self, asked: Asked<T>) -> Result<T, Error> {
        match self.engine.level() {
            Level::Written => self.engine.commit(asked.head)?,
            Level::Durable => self.engine.flusher().durable(asked.head).await?,
        }
        Ok(asked.answer)
    }

    pub(crate) async fn answer<T: Send + 'static>(
        &self,
        question: impl Question<T> + 'static,
    ) -> Result<T, Error> {
        self.await_log(self.ask_aside(question).await?).await
    }

    pub(crate) async fn fetch_aside(&self, mut refs: Vec<EntryRef>) -> Result<Vec<Entry>, Error> {
        let (mut entries, mut seen) = (Vec::with_capacity(refs.len()), 0);
        let is_all = self.engine.fetch_while(&refs, false, &mut |nth, found| {
            entries.push(entry(refs[nth].id, &found));
            seen = nth + 1;
            ControlFlow::Continue(())
        })?;
        if !is_all {
            refs.drain(..seen);
            let own = self.clone();
            entries.extend(self.engine.pool().run(move || own.entries(&refs))?.await??);
        }
        Ok(entries)
    }

    pub(crate) async fn read_aside(
        &self,
        wanted: Wanted,
        wait: Option<Duration>,
    ) -> Result<Vec<Entry>, Error> {
        self.fetch_aside(refs(self.outcome_aside(wanted, wait).await?)).await
    }

    pub(crate) async fn outcome_aside(
        &self,
        wanted: Wanted,
        wait: Option<Duration>,
    ) -> Result<ReadOutcome, Error> {
        let asked = self.ask_aside(self.reading(wanted, wait.is_some())).await?;
        let (outcome, head) = match asked.answer {
            Answered::Now(outcome) => (outcome, asked.head),
            Answered::Later(mut waiting) => {
                waiting.limit(wait.unwrap_or_default());
                let answer = Answering(&waiting).await;
                waiting.end(answer)?
            }
        };
        self.await_log(Asked { answer: outcome, head }).await
    }
}

/// Resolves with the answer, or with nothing when the time is up.
struct Answering<'a>(&'a Waiting);

impl Future for Answering<'_> {
    type Output = Option<Answer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.mailbox.poll(context.waker()) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if self.0.is_over() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use weir_core::{AppendOptions, EntryId, ReadFrom, ReadOptions, Streams};

    use crate::Engine;

    use super::*;

    #[test]
    fn a_wait_that_ended_leaves_no_alarm() {
        let engine = Engine::memory();
        let orders = engine.namespace("default").expect("it is there from the start");
        let mut context = Context::from_waker(Waker::noop());
        let wait = Some(Duration::from_secs(3_600));
        let from = ReadFrom::After(EntryId::MIN);
        let options = ReadOptions { from, to: None, backward: false, count: 1, wait };
        let mut served = Streams::read(&orders, b"orders", options);
        let mut dropped = Streams::read(&orders, b"none", options);
        assert!(served.as_mut().poll(&mut context).is_pending());
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        assert_eq!(engine.alarms_set(), 2);
        orders
            .append(b"orders", &[(b"type", b"placed")], &AppendOptions::default())
            .expect("appends are accepted");
        assert!(served.as_mut().poll(&mut context).is_ready());
        drop(dropped);
        assert_eq!(engine.alarms_set(), 0);
    }
}
