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

use weir_core::{
    AppendOptions, AutoClaimOptions, BoxFuture, Entry, EntryId, Error, FieldRefs, GroupOrigin,
    GroupReadOptions, GroupSummary, Groups, HistoryOptions, RangeOptions, StreamSummary, Streams,
};
use weir_log::Level;

use crate::ahead::Ahead;
use crate::api::{EntryRef, Halt};
use crate::broker::{Answered, Asked, Namespace, Question, Waiting, entry, flat};
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

    async fn append_aside(
        &self,
        stream: &[u8],
        fields: FieldRefs<'_>,
        options: AppendOptions,
    ) -> Result<EntryId, Error> {
        let fields = flat(fields)?;
        let mut question = self.appending(stream, &fields, &options);
        let mut ahead = Ahead::default();
        loop {
            let cold = match self.ask_once(&mut question, &mut ahead) {
                Ok(asked) => return self.settle(asked).await,
                Err(Halt::Error(error)) => return Err(error),
                Err(Halt::Cold(cold)) => cold,
            };
            let engine = self.engine.clone();
            let warm = move || engine.warm(cold, &mut ahead).map(|()| ahead);
            ahead = self.engine.pool().run(warm)?.await??;
        }
    }

    async fn settle<T>(&self, asked: Asked<T>) -> Result<T, Error> {
        match self.engine.level() {
            Level::Written => self.engine.commit(asked.head)?,
            Level::Durable => self.engine.flusher().durable(asked.head).await?,
        }
        Ok(asked.answer)
    }

    async fn answer<T: Send + 'static>(&self, question: impl Question<T> + 'static) -> Result<T, Error> {
        self.settle(self.ask_aside(question).await?).await
    }

    async fn fetch_aside(&self, mut refs: Vec<EntryRef>) -> Result<Vec<Entry>, Error> {
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

    async fn read_aside(&self, wanted: Wanted, wait: Option<Duration>) -> Result<Vec<Entry>, Error> {
        let asked = self.ask_aside(self.reading(wanted, wait.is_some())).await?;
        let (refs, head) = match asked.answer {
            Answered::Now(refs) => (refs, asked.head),
            Answered::Later(mut waiting) => {
                waiting.limit(wait.unwrap_or_default());
                let answer = Answering(&waiting).await;
                waiting.end(answer)?
            }
        };
        let refs = self.settle(Asked { answer: refs, head }).await?;
        self.fetch_aside(refs).await
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

impl Streams for Namespace {
    fn append<'a>(
        &'a self,
        stream: &'a [u8],
        fields: FieldRefs<'a>,
        options: AppendOptions,
    ) -> BoxFuture<'a, EntryId> {
        Box::pin(self.append_aside(stream, fields, options))
    }

    fn range<'a>(&'a self, stream: &'a [u8], options: RangeOptions) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(async move { self.fetch_aside(self.answer(self.ranging(stream, options)).await?).await })
    }

    fn read<'a>(
        &'a self,
        stream: &'a [u8],
        after: EntryId,
        count: u64,
        wait: Option<Duration>,
    ) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(self.read_aside(self.plain(stream, after, count), wait))
    }

    fn stream_summary<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<StreamSummary>> {
        Box::pin(self.answer(self.summing_up(stream)))
    }

    fn delete_entries<'a>(&'a self, stream: &'a [u8], ids: &'a [EntryId]) -> BoxFuture<'a, u64> {
        Box::pin(self.answer(self.deleting(stream, ids)))
    }

    fn delete_stream<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(self.answer(self.removing(stream)))
    }
}

impl Groups for Namespace {
    fn create_group<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        origin: GroupOrigin,
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.answer(self.making_group(stream, group, origin)))
    }

    fn read_group<'a>(&'a self, stream: &'a [u8], options: GroupReadOptions) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(self.read_aside(self.unread(stream, &options), options.wait))
    }

    fn read_history<'a>(&'a self, stream: &'a [u8], options: HistoryOptions) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(self.read_aside(self.history(stream, &options), None))
    }

    fn acknowledge<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        ids: &'a [EntryId],
    ) -> BoxFuture<'a, u64> {
        Box::pin(self.answer(self.acknowledging(stream, group, ids)))
    }

    fn auto_claim<'a>(
        &'a self,
        stream: &'a [u8],
        options: AutoClaimOptions,
    ) -> BoxFuture<'a, (Vec<Entry>, EntryId)> {
        Box::pin(async move {
            let claimed = self.answer(self.claiming(stream, options)).await?;
            Ok((self.fetch_aside(claimed.entries).await?, claimed.cursor))
        })
    }

    fn group_summaries<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Vec<GroupSummary>> {
        Box::pin(self.answer(self.counting_groups(stream)))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use crate::Engine;

    use super::*;

    #[test]
    fn a_wait_that_ended_leaves_no_alarm() {
        let engine = Engine::memory();
        let orders = engine.namespace("default").expect("it is there from the start");
        let mut context = Context::from_waker(Waker::noop());
        let wait = Some(Duration::from_secs(3_600));
        let mut served = Streams::read(&orders, b"orders", EntryId::MIN, 1, wait);
        let mut dropped = Streams::read(&orders, b"none", EntryId::MIN, 1, wait);
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
