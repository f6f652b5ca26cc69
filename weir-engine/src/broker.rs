//! A namespace of the engine as programs use it: synchronous calls, and the broker traits for tasks.
//!
//! The synchronous calls are the fast path: lock, ask, let go, wait for the log in this thread. The trait's futures do
//! the same, except that a flush they have to wait for is done by another thread, for all tasks at once.
//!
//! Every call answers only what the log holds as durably as the engine was told to be.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use weir_core::{
    AppendOptions, BoxFuture, Entry, EntryId, Error, ErrorKind, Fields, GroupOrigin, GroupReadOptions,
    GroupSummary, Groups, RangeOptions, StreamSummary, Streams,
};
use weir_log::{Level, Lsn};

use crate::api::{
    Append, Appended, AutoClaim, Entries, EntryRef, GroupReadFrom, GroupStart, Halt, KeyRef, NamespaceNo,
    NewId, Producer, Range, Read, ReadFrom, ReadGroup, ReadLimits, ReadOutcome,
};
use crate::engine::{AlarmId, Engine, Turn};
use crate::mailbox::{Answer, Mailbox};
use crate::waiting::{WaiterId, Wanted};

/// One namespace of an [`Engine`]. Cheap to clone; clones are the same namespace.
#[derive(Debug, Clone)]
pub struct Namespace {
    engine: Engine,
    ns: NamespaceNo,
}

/// What was asked, and how far the log has to be before the answer may leave.
struct Asked<T> {
    answer: T,
    head: Lsn,
}

impl Engine {
    /// A namespace by its name: `default`, or `db1` … `db15`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when there is none of that name.
    pub fn namespace(&self, name: &str) -> Result<Namespace, Error> {
        let ns = self.turn().namespace(name.as_bytes());
        let ns = ns.ok_or_else(|| {
            Error::new(ErrorKind::Invalid("no such namespace"))
                .with_context(format!("{name:?}; there are default and db1 to db15"))
        })?;
        Ok(Namespace { engine: self.clone(), ns })
    }
}

impl Namespace {
    fn key<'a>(&self, name: &'a [u8]) -> KeyRef<'a> {
        KeyRef { ns: self.ns, name }
    }

    /// Asks, and notes how far the log has to be.
    fn ask<T>(&self, mut question: impl FnMut(&mut Turn<'_>) -> Result<T, Halt>) -> Result<Asked<T>, Error> {
        self.engine.ask(|turn| {
            turn.check_open()?;
            let answer = question(turn)?;
            Ok(Asked { answer, head: turn.head() })
        })
    }

    fn settled<T>(&self, asked: Asked<T>) -> Result<T, Error> {
        self.engine.commit(asked.head)?;
        Ok(asked.answer)
    }

    async fn settle<T>(&self, asked: Asked<T>) -> Result<T, Error> {
        match self.engine.level() {
            // Handing bytes to the system does not wait for the disk.
            Level::Written => self.engine.commit(asked.head)?,
            Level::Durable => self.engine.flusher().durable(asked.head).await?,
        }
        Ok(asked.answer)
    }

    fn entries(&self, refs: &[EntryRef]) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::with_capacity(refs.len());
        self.engine.fetch(refs, &mut |nth, found| {
            let mut fields: Fields = Vec::with_capacity(found.len() / 2);
            let mut name = None;
            found.for_each(|bytes| match name.take() {
                None => name = Some(bytes.to_vec()),
                Some(name) => fields.push((name, bytes.to_vec())),
            });
            entries.push(Entry {
                id: refs[nth].id,
                position: found.position(),
                global_position: found.global_position(),
                appended_at: weir_core::Timestamp(found.appended_at()),
                fields,
            });
        })?;
        Ok(entries)
    }

    // ---- questions ---------------------------------------------------------------------------------------------

    fn ask_append(
        &self,
        stream: &[u8],
        fields: &Fields,
        options: &AppendOptions,
    ) -> Result<Asked<EntryId>, Error> {
        if fields.is_empty() {
            return Err(ErrorKind::Invalid("an entry needs at least one field").into());
        }
        let flat: Vec<&[u8]> = fields.iter().flat_map(|(name, value)| [&**name, &**value]).collect();
        let producer = options.producer.as_ref().map(|(id, iid)| Producer { id, iid: Some(iid) });
        let id = options.id.map_or(NewId::Auto, NewId::Exact);
        let request = Append { id, fields: &flat, create: true, trim: None, producer };
        let asked = self.ask(|turn| turn.append(self.key(stream), &request))?;
        let answer = match asked.answer {
            Appended::Added { id, .. } | Appended::Duplicate(id) => id,
            Appended::NoStream => unreachable!("a missing stream is made"),
        };
        Ok(Asked { answer, head: asked.head })
    }

    fn ask_range(&self, stream: &[u8], options: RangeOptions) -> Result<Asked<Vec<EntryRef>>, Error> {
        let RangeOptions { start, end, count, reverse } = options;
        let range = Range { start, end, count: Some(count), reverse };
        self.ask(|turn| Ok(turn.range(self.key(stream), &range)?.unwrap_or_default()))
    }

    fn plain(&self, stream: &[u8], after: EntryId, count: u64) -> Wanted {
        Wanted::Read(Read {
            ns: self.ns,
            streams: vec![(stream.into(), ReadFrom::After(after))],
            limits: ReadLimits { count: Some(count), ..ReadLimits::default() },
        })
    }

    fn grouped(&self, stream: &[u8], options: &GroupReadOptions, from: GroupReadFrom) -> Wanted {
        Wanted::Group(ReadGroup {
            ns: self.ns,
            group: options.group.as_slice().into(),
            consumer: options.consumer.as_slice().into(),
            streams: vec![(stream.into(), from)],
            limits: ReadLimits { count: Some(options.count), ..ReadLimits::default() },
            noack: false,
            claim_idle_min: None,
        })
    }

    /// Asks; when there is nothing and the caller would wait, leaves a waiting read behind.
    fn ask_or_wait(&self, wanted: &Wanted, wait: bool) -> Result<Asked<Answered>, Error> {
        self.ask(|turn| {
            let outcome = match wanted {
                Wanted::Read(read) => turn.read(read)?,
                Wanted::Group(read) => turn.read_group(read)?,
            };
            if !outcome.streams.is_empty() || !wait {
                return Ok(Answered::Now(refs(outcome)));
            }
            let mailbox = Arc::new(Mailbox::default());
            let waiter = turn.wait_in(wanted.clone(), mailbox.clone())?;
            Ok(Answered::Later(waiter, mailbox))
        })
    }

    fn wait_for(&self, wanted: &Wanted, wait: Option<Duration>) -> Result<Vec<Entry>, Error> {
        let asked = self.ask_or_wait(wanted, wait.is_some())?;
        let head = asked.head;
        let (refs, head) = match asked.answer {
            Answered::Now(refs) => (refs, head),
            Answered::Later(waiter, mailbox) => {
                let answer = mailbox.wait(wait.unwrap_or_default());
                self.after_wait(waiter, &mailbox, answer)?
            }
        };
        self.engine.commit(head)?;
        self.entries(&refs)
    }

    /// The outcome of a wait: an answer, or nothing when its time was up first.
    fn after_wait(
        &self,
        waiter: WaiterId,
        mailbox: &Mailbox,
        answer: Option<Answer>,
    ) -> Result<(Vec<EntryRef>, Lsn), Error> {
        let mut turn = self.engine.turn();
        let answer = match answer {
            Some(answer) => Some(answer),
            None if turn.cancel(waiter) => None,
            // It was served between the end of the wait and the lock.
            None => mailbox.take(),
        };
        let head = turn.head();
        drop(turn);
        match answer {
            None => Ok((Vec::new(), head)),
            Some(Ok(outcome)) => Ok((refs(outcome), head)),
            Some(Err(kind)) => Err(kind.into()),
        }
    }

    // ---- synchronous calls -------------------------------------------------------------------------------------

    /// Appends an entry and answers its ID. See [`Streams::append`].
    ///
    /// # Errors
    /// As [`Streams::append`].
    pub fn append(&self, stream: &[u8], fields: &Fields, options: &AppendOptions) -> Result<EntryId, Error> {
        self.settled(self.ask_append(stream, fields, options)?)
    }

    /// Reads entries between two IDs. See [`Streams::range`].
    ///
    /// # Errors
    /// As [`Streams::range`].
    pub fn range(&self, stream: &[u8], options: RangeOptions) -> Result<Vec<Entry>, Error> {
        let refs = self.settled(self.ask_range(stream, options)?)?;
        self.entries(&refs)
    }

    /// Reads up to `count` entries above `after`, waiting for the first. See [`Streams::read`].
    ///
    /// # Errors
    /// As [`Streams::read`].
    pub fn read(
        &self,
        stream: &[u8],
        after: EntryId,
        count: u64,
        wait: Option<Duration>,
    ) -> Result<Vec<Entry>, Error> {
        self.wait_for(&self.plain(stream, after, count), wait)
    }

    /// Makes a group. See [`Groups::create_group`].
    ///
    /// # Errors
    /// As [`Groups::create_group`].
    pub fn create_group(&self, stream: &[u8], group: &[u8], origin: GroupOrigin) -> Result<(), Error> {
        let key = self.key(stream);
        self.settled(self.ask(|turn| turn.group_create(key, group, start(origin), None, true))?)
    }

    /// Delivers new entries to a consumer. See [`Groups::read_group`].
    ///
    /// # Errors
    /// As [`Groups::read_group`].
    pub fn read_group(&self, stream: &[u8], options: &GroupReadOptions) -> Result<Vec<Entry>, Error> {
        self.wait_for(&self.grouped(stream, options, GroupReadFrom::New), options.wait)
    }

    /// Takes entries off the pending list. See [`Groups::acknowledge`].
    ///
    /// # Errors
    /// As [`Groups::acknowledge`].
    pub fn acknowledge(&self, stream: &[u8], group: &[u8], ids: &[EntryId]) -> Result<u64, Error> {
        self.settled(self.ask(|turn| turn.ack(self.key(stream), group, ids))?)
    }

    /// The groups of a stream. See [`Groups::group_summaries`].
    ///
    /// # Errors
    /// As [`Groups::group_summaries`].
    pub fn group_summaries(&self, stream: &[u8]) -> Result<Vec<GroupSummary>, Error> {
        self.settled(self.ask(|turn| turn.exact_groups(self.key(stream)))?)
    }

    // ---- for tasks ---------------------------------------------------------------------------------------------

    async fn wait_for_async(&self, wanted: Wanted, wait: Option<Duration>) -> Result<Vec<Entry>, Error> {
        let asked = self.ask_or_wait(&wanted, wait.is_some())?;
        let head = asked.head;
        let (refs, head) = match asked.answer {
            Answered::Now(refs) => (refs, head),
            Answered::Later(waiter, mailbox) => {
                // From here on it is cancelled when this future is dropped.
                let mut waiting = Waiting { namespace: self, waiter, mailbox, alarm: None };
                // Who waits longer than time goes on waits without end.
                let until = self.engine.clock().elapsed().checked_add(wait.unwrap_or_default());
                waiting.alarm = until.map(|until| self.engine.alarm(until, &waiting.mailbox));
                let answer = Answering(&waiting).await;
                self.after_wait(waiter, &waiting.mailbox, answer)?
            }
        };
        let refs = self.settle(Asked { answer: refs, head }).await?;
        self.entries(&refs)
    }
}

/// A first answer: entries, or a promise.
enum Answered {
    Now(Vec<EntryRef>),
    Later(WaiterId, Arc<Mailbox>),
}

/// A read that waits. Dropped early, it waits no longer.
struct Waiting<'a> {
    namespace: &'a Namespace,
    waiter: WaiterId,
    mailbox: Arc<Mailbox>,
    alarm: Option<AlarmId>,
}

impl Waiting<'_> {
    fn is_over(&self) -> bool {
        self.alarm.is_some_and(|(until, _)| self.namespace.engine.clock().elapsed() >= until)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm {
            self.namespace.engine.silence(alarm);
        }
        self.namespace.engine.turn().cancel(self.waiter);
    }
}

/// Resolves with the answer, or with nothing when the time is up.
struct Answering<'a, 'b>(&'a Waiting<'b>);

impl Future for Answering<'_, '_> {
    type Output = Option<Answer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.mailbox.poll(context.waker()) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if self.0.is_over() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn refs(outcome: ReadOutcome) -> Vec<EntryRef> {
    let given = outcome.streams.into_iter().flat_map(|stream| match stream.entries {
        Entries::Plain(refs) => refs,
        Entries::Claimed(given) => given.into_iter().map(|delivery| delivery.entry).collect(),
    });
    given.collect()
}

fn start(origin: GroupOrigin) -> GroupStart {
    match origin {
        GroupOrigin::Beginning => GroupStart::After(EntryId::MIN),
        GroupOrigin::After(id) => GroupStart::After(id),
        GroupOrigin::End => GroupStart::End,
    }
}

impl Streams for Namespace {
    fn append<'a>(
        &'a self,
        stream: &'a [u8],
        fields: &'a Fields,
        options: AppendOptions,
    ) -> BoxFuture<'a, EntryId> {
        Box::pin(async move { self.settle(self.ask_append(stream, fields, &options)?).await })
    }

    fn range<'a>(&'a self, stream: &'a [u8], options: RangeOptions) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            let refs = self.settle(self.ask_range(stream, options)?).await?;
            self.entries(&refs)
        })
    }

    fn read<'a>(
        &'a self,
        stream: &'a [u8],
        after: EntryId,
        count: u64,
        wait: Option<Duration>,
    ) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(self.wait_for_async(self.plain(stream, after, count), wait))
    }

    fn stream_summary<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<StreamSummary>> {
        Box::pin(async move {
            let asked = self.ask(|turn| match turn.stream_info(self.key(stream)) {
                Ok(info) => Ok(Some(StreamSummary {
                    length: info.length,
                    last_id: info.last_id,
                    entries_added: info.entries_added,
                    groups: info.groups,
                })),
                Err(Halt::Error(error)) if *error.kind() == ErrorKind::NoSuchStream => Ok(None),
                Err(halt) => Err(halt),
            })?;
            self.settle(asked).await
        })
    }

    fn delete_entries<'a>(&'a self, stream: &'a [u8], ids: &'a [EntryId]) -> BoxFuture<'a, u64> {
        Box::pin(async move { self.settle(self.ask(|turn| turn.delete(self.key(stream), ids))?).await })
    }

    fn delete_stream<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.settle(self.ask(|turn| turn.remove_key(self.key(stream)))?).await })
    }
}

impl Groups for Namespace {
    fn create_group<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        origin: GroupOrigin,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let key = self.key(stream);
            self.settle(self.ask(|turn| turn.group_create(key, group, start(origin), None, true))?).await
        })
    }

    fn read_group<'a>(&'a self, stream: &'a [u8], options: GroupReadOptions) -> BoxFuture<'a, Vec<Entry>> {
        let wanted = self.grouped(stream, &options, GroupReadFrom::New);
        Box::pin(self.wait_for_async(wanted, options.wait))
    }

    fn read_history<'a>(
        &'a self,
        stream: &'a [u8],
        options: GroupReadOptions,
        after: EntryId,
    ) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(self.wait_for_async(self.grouped(stream, &options, GroupReadFrom::History(after)), None))
    }

    fn acknowledge<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        ids: &'a [EntryId],
    ) -> BoxFuture<'a, u64> {
        Box::pin(async move { self.settle(self.ask(|turn| turn.ack(self.key(stream), group, ids))?).await })
    }

    fn auto_claim<'a>(
        &'a self,
        stream: &'a [u8],
        options: GroupReadOptions,
        idle_min: Duration,
        start: EntryId,
    ) -> BoxFuture<'a, (Vec<Entry>, EntryId)> {
        Box::pin(async move {
            let request = AutoClaim {
                group: &options.group,
                consumer: &options.consumer,
                idle_min: u64::try_from(idle_min.as_millis()).unwrap_or(u64::MAX),
                start,
                count: options.count,
                just_ids: false,
            };
            let claimed = self.settle(self.ask(|turn| turn.auto_claim(self.key(stream), &request))?).await?;
            Ok((self.entries(&claimed.entries)?, claimed.cursor))
        })
    }

    fn group_summaries<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Vec<GroupSummary>> {
        Box::pin(async move { self.settle(self.ask(|turn| turn.exact_groups(self.key(stream)))?).await })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

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
        let placed = vec![(b"type".to_vec(), b"placed".to_vec())];
        orders.append(b"orders", &placed, &AppendOptions::default()).expect("appends are accepted");
        assert!(served.as_mut().poll(&mut context).is_ready());
        drop(dropped);
        assert_eq!(engine.alarms_set(), 0);
    }
}
