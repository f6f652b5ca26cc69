//! A namespace of the engine as programs use it: synchronous calls. [`crate::tasks`] has the same for tasks.
//!
//! The synchronous calls are the fast path: lock, ask, let go, wait for the log in this thread.
//!
//! Every call answers only what the log holds as durably as the engine was told to be.

use std::sync::Arc;
use std::time::Duration;

use weir_core::{
    AppendOptions, AutoClaimOptions, Entry, EntryId, Error, ErrorKind, FieldRefs, Fields, GroupOrigin,
    GroupReadOptions, GroupSummary, HistoryOptions, RangeOptions, StreamSummary,
};
use weir_log::Lsn;

use crate::api::{
    Append, Appended, AutoClaim, AutoClaimed, Entries, EntryRef, GroupReadFrom, GroupStart, Halt, KeyRef,
    NamespaceNo, NewId, Producer, Range, Read, ReadFrom, ReadGroup, ReadLimits, ReadOutcome,
};
use crate::core::Core;
use crate::engine::{AlarmId, Engine, EntryFields};
use crate::mailbox::{Answer, Mailbox};
use crate::waiting::{WaiterId, Wanted};

/// One namespace of an [`Engine`]. Cheap to clone; clones are the same namespace.
#[derive(Debug, Clone)]
pub struct Namespace {
    pub(crate) engine: Engine,
    ns: NamespaceNo,
}

/// What was asked, and how far the log has to be before the answer may leave.
pub(crate) struct Asked<T> {
    pub(crate) answer: T,
    pub(crate) head: Lsn,
}

/// What is asked under the lock, as often as it takes. Most own what they ask with, so that another thread may go on
/// asking.
pub(crate) trait Question<T>: FnMut(&mut Core) -> Result<T, Halt> + Send {}

impl<T, Q: FnMut(&mut Core) -> Result<T, Halt> + Send> Question<T> for Q {}

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
    /// Asks, and notes how far the log has to be.
    pub(crate) fn ask<T>(&self, mut question: impl Question<T>) -> Result<Asked<T>, Error> {
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

    pub(crate) fn entries(&self, refs: &[EntryRef]) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::with_capacity(refs.len());
        self.engine.fetch(refs, &mut |nth, found| entries.push(entry(refs[nth].id, &found)))?;
        Ok(entries)
    }

    // ---- questions ---------------------------------------------------------------------------------------------

    /// A question about one stream.
    fn about<T, Q>(&self, stream: &[u8], mut ask: Q) -> impl Question<T> + use<T, Q>
    where
        Q: FnMut(&mut Core, KeyRef<'_>) -> Result<T, Halt> + Send,
    {
        let (ns, name) = (self.ns, Box::<[u8]>::from(stream));
        move |core: &mut Core| ask(core, KeyRef { ns, name: &name })
    }

    /// The only question that borrows: appends are many, their fields may be large, and they rarely wait for more
    /// than room in the log.
    pub(crate) fn appending<'q>(
        &self,
        stream: &'q [u8],
        fields: &'q [&'q [u8]],
        options: &'q AppendOptions,
    ) -> impl Question<EntryId> + use<'q> {
        let key = KeyRef { ns: self.ns, name: stream };
        let producer = options.producer.as_ref().map(|(id, iid)| Producer { id, iid: Some(iid) });
        let id = options.id.map_or(NewId::Auto, NewId::Exact);
        move |core: &mut Core| {
            let request = Append { id, fields, create: true, trim: None, producer };
            match core.append(key, &request)? {
                Appended::Added { id, .. } | Appended::Duplicate(id) => Ok(id),
                Appended::NoStream => unreachable!("a missing stream is made"),
            }
        }
    }

    pub(crate) fn ranging(
        &self,
        stream: &[u8],
        options: RangeOptions,
    ) -> impl Question<Vec<EntryRef>> + use<> {
        let RangeOptions { start, end, count, reverse } = options;
        let range = Range { start, end, count: Some(count), reverse };
        self.about(stream, move |core, key| Ok(core.range(key, &range)?.unwrap_or_default()))
    }

    pub(crate) fn summing_up(&self, stream: &[u8]) -> impl Question<Option<StreamSummary>> + use<> {
        self.about(stream, |core, key| match core.stream_info(key) {
            Ok(info) => Ok(Some(StreamSummary {
                length: info.length,
                last_id: info.last_id,
                entries_added: info.entries_added,
                groups: info.groups,
            })),
            Err(Halt::Error(error)) if *error.kind() == ErrorKind::NoSuchStream => Ok(None),
            Err(halt) => Err(halt),
        })
    }

    pub(crate) fn deleting(&self, stream: &[u8], ids: &[EntryId]) -> impl Question<u64> + use<> {
        let ids = ids.to_vec();
        self.about(stream, move |core, key| core.delete(key, &ids))
    }

    pub(crate) fn removing(&self, stream: &[u8]) -> impl Question<bool> + use<> {
        self.about(stream, |core, key| core.remove_key(key))
    }

    pub(crate) fn making_group(
        &self,
        stream: &[u8],
        group: &[u8],
        origin: GroupOrigin,
    ) -> impl Question<()> + use<> {
        let group = group.to_vec();
        self.about(stream, move |core, key| core.group_create(key, &group, start(origin), None, true))
    }

    pub(crate) fn acknowledging(
        &self,
        stream: &[u8],
        group: &[u8],
        ids: &[EntryId],
    ) -> impl Question<u64> + use<> {
        let (group, ids) = (group.to_vec(), ids.to_vec());
        self.about(stream, move |core, key| core.ack(key, &group, &ids))
    }

    pub(crate) fn claiming(
        &self,
        stream: &[u8],
        options: AutoClaimOptions,
    ) -> impl Question<AutoClaimed> + use<> {
        self.about(stream, move |core, key| {
            let request = AutoClaim {
                group: &options.group,
                consumer: &options.consumer,
                idle_min: u64::try_from(options.idle_min.as_millis()).unwrap_or(u64::MAX),
                start: options.start,
                count: options.count,
                just_ids: false,
            };
            core.auto_claim(key, &request)
        })
    }

    pub(crate) fn counting_groups(&self, stream: &[u8]) -> impl Question<Vec<GroupSummary>> + use<> {
        self.about(stream, |core, key| core.exact_groups(key))
    }

    pub(crate) fn plain(&self, stream: &[u8], after: EntryId, count: u64) -> Wanted {
        Wanted::Read(Read {
            ns: self.ns,
            streams: vec![(stream.into(), ReadFrom::After(after))],
            limits: ReadLimits { count: Some(count), ..ReadLimits::default() },
        })
    }

    pub(crate) fn unread(&self, stream: &[u8], options: &GroupReadOptions) -> Wanted {
        let GroupReadOptions { group, consumer, count, wait: _ } = options;
        self.grouped(stream, (group, consumer), GroupReadFrom::New, *count)
    }

    pub(crate) fn history(&self, stream: &[u8], options: &HistoryOptions) -> Wanted {
        let HistoryOptions { group, consumer, after, count } = options;
        self.grouped(stream, (group, consumer), GroupReadFrom::History(*after), *count)
    }

    fn grouped(&self, stream: &[u8], who: (&[u8], &[u8]), from: GroupReadFrom, count: u64) -> Wanted {
        Wanted::Group(ReadGroup {
            ns: self.ns,
            group: who.0.into(),
            consumer: who.1.into(),
            streams: vec![(stream.into(), from)],
            limits: ReadLimits { count: Some(count), ..ReadLimits::default() },
            noack: false,
            claim_idle_min: None,
        })
    }

    /// Reads; when there is nothing and the caller would wait, leaves a waiting read behind.
    pub(crate) fn reading(&self, wanted: Wanted, waits: bool) -> impl Question<Answered> + use<> {
        let engine = self.engine.clone();
        move |core: &mut Core| {
            let (outcome, count) = match &wanted {
                Wanted::Read(read) => (core.read(read)?, read.limits.count),
                Wanted::Group(read) => (core.read_group(read)?, read.limits.count),
            };
            // Who wants none would wait for ever.
            if !outcome.streams.is_empty() || !waits || count == Some(0) {
                return Ok(Answered::Now(refs(outcome)));
            }
            let mailbox = Arc::new(Mailbox::default());
            let waiter = core.wait_in(wanted.clone(), mailbox.clone())?;
            Ok(Answered::Later(Waiting { engine: engine.clone(), waiter, mailbox, alarm: None }))
        }
    }

    fn wait_for(&self, wanted: Wanted, wait: Option<Duration>) -> Result<Vec<Entry>, Error> {
        let asked = self.ask(self.reading(wanted, wait.is_some()))?;
        let (refs, head) = match asked.answer {
            Answered::Now(refs) => (refs, asked.head),
            Answered::Later(waiting) => {
                let answer = waiting.mailbox.wait(wait.unwrap_or_default());
                waiting.end(answer)?
            }
        };
        self.engine.commit(head)?;
        self.entries(&refs)
    }

    // ---- synchronous calls -------------------------------------------------------------------------------------

    /// Appends an entry and answers its ID. See [`Streams::append`](weir_core::Streams::append).
    ///
    /// # Errors
    /// As [`Streams::append`](weir_core::Streams::append).
    pub fn append(
        &self,
        stream: &[u8],
        fields: FieldRefs<'_>,
        options: &AppendOptions,
    ) -> Result<EntryId, Error> {
        let fields = flat(fields)?;
        self.settled(self.ask(self.appending(stream, &fields, options))?)
    }

    /// Reads entries between two IDs. See [`Streams::range`](weir_core::Streams::range).
    ///
    /// # Errors
    /// As [`Streams::range`](weir_core::Streams::range).
    pub fn range(&self, stream: &[u8], options: RangeOptions) -> Result<Vec<Entry>, Error> {
        let refs = self.settled(self.ask(self.ranging(stream, options))?)?;
        self.entries(&refs)
    }

    /// Reads up to `count` entries above `after`, waiting for the first. See [`Streams::read`](weir_core::Streams::read).
    ///
    /// # Errors
    /// As [`Streams::read`](weir_core::Streams::read).
    pub fn read(
        &self,
        stream: &[u8],
        after: EntryId,
        count: u64,
        wait: Option<Duration>,
    ) -> Result<Vec<Entry>, Error> {
        self.wait_for(self.plain(stream, after, count), wait)
    }

    /// Counters of a stream. See [`Streams::stream_summary`](weir_core::Streams::stream_summary).
    ///
    /// # Errors
    /// As [`Streams::stream_summary`](weir_core::Streams::stream_summary).
    pub fn stream_summary(&self, stream: &[u8]) -> Result<Option<StreamSummary>, Error> {
        self.settled(self.ask(self.summing_up(stream))?)
    }

    /// Removes entries; answers how many there were. See [`Streams::delete_entries`](weir_core::Streams::delete_entries).
    ///
    /// # Errors
    /// As [`Streams::delete_entries`](weir_core::Streams::delete_entries).
    pub fn delete_entries(&self, stream: &[u8], ids: &[EntryId]) -> Result<u64, Error> {
        self.settled(self.ask(self.deleting(stream, ids))?)
    }

    /// Removes a stream with its groups. See [`Streams::delete_stream`](weir_core::Streams::delete_stream).
    ///
    /// # Errors
    /// As [`Streams::delete_stream`](weir_core::Streams::delete_stream).
    pub fn delete_stream(&self, stream: &[u8]) -> Result<bool, Error> {
        self.settled(self.ask(self.removing(stream))?)
    }

    /// Makes a group. See [`Groups::create_group`](weir_core::Groups::create_group).
    ///
    /// # Errors
    /// As [`Groups::create_group`](weir_core::Groups::create_group).
    pub fn create_group(&self, stream: &[u8], group: &[u8], origin: GroupOrigin) -> Result<(), Error> {
        self.settled(self.ask(self.making_group(stream, group, origin))?)
    }

    /// Delivers new entries to a consumer. See [`Groups::read_group`](weir_core::Groups::read_group).
    ///
    /// # Errors
    /// As [`Groups::read_group`](weir_core::Groups::read_group).
    pub fn read_group(&self, stream: &[u8], options: &GroupReadOptions) -> Result<Vec<Entry>, Error> {
        self.wait_for(self.unread(stream, options), options.wait)
    }

    /// A consumer's own pending entries. See [`Groups::read_history`](weir_core::Groups::read_history).
    ///
    /// # Errors
    /// As [`Groups::read_history`](weir_core::Groups::read_history).
    pub fn read_history(&self, stream: &[u8], options: &HistoryOptions) -> Result<Vec<Entry>, Error> {
        self.wait_for(self.history(stream, options), None)
    }

    /// Takes entries off the pending list. See [`Groups::acknowledge`](weir_core::Groups::acknowledge).
    ///
    /// # Errors
    /// As [`Groups::acknowledge`](weir_core::Groups::acknowledge).
    pub fn acknowledge(&self, stream: &[u8], group: &[u8], ids: &[EntryId]) -> Result<u64, Error> {
        self.settled(self.ask(self.acknowledging(stream, group, ids))?)
    }

    /// Takes over entries that others have held for long enough. See [`Groups::auto_claim`](weir_core::Groups::auto_claim).
    ///
    /// # Errors
    /// As [`Groups::auto_claim`](weir_core::Groups::auto_claim).
    pub fn auto_claim(
        &self,
        stream: &[u8],
        options: &AutoClaimOptions,
    ) -> Result<(Vec<Entry>, EntryId), Error> {
        let claimed = self.settled(self.ask(self.claiming(stream, options.clone()))?)?;
        Ok((self.entries(&claimed.entries)?, claimed.cursor))
    }

    /// The groups of a stream. See [`Groups::group_summaries`](weir_core::Groups::group_summaries).
    ///
    /// # Errors
    /// As [`Groups::group_summaries`](weir_core::Groups::group_summaries).
    pub fn group_summaries(&self, stream: &[u8]) -> Result<Vec<GroupSummary>, Error> {
        self.settled(self.ask(self.counting_groups(stream))?)
    }
}

/// A first answer: entries, or a promise.
pub(crate) enum Answered {
    Now(Vec<EntryRef>),
    Later(Waiting),
}

/// A read that waits. Dropped early, it waits no longer.
pub(crate) struct Waiting {
    engine: Engine,
    waiter: WaiterId,
    pub(crate) mailbox: Arc<Mailbox>,
    alarm: Option<AlarmId>,
}

impl Waiting {
    /// Has it end when so much time has passed.
    pub(crate) fn limit(&mut self, wait: Duration) {
        // Who waits longer than time goes on waits without end.
        let until = self.engine.clock().elapsed().checked_add(wait);
        self.alarm = until.map(|until| self.engine.alarm(until, &self.mailbox));
    }

    pub(crate) fn is_over(&self) -> bool {
        self.alarm.is_some_and(|(until, _)| self.engine.clock().elapsed() >= until)
    }

    /// The outcome: an answer, or nothing when the time was up first.
    pub(crate) fn end(self, answer: Option<Answer>) -> Result<(Vec<EntryRef>, Lsn), Error> {
        let mut turn = self.engine.short_turn();
        let answer = match answer {
            Some(answer) => Some(answer),
            None if turn.cancel(self.waiter) => None,
            // It was served between the end of the wait and the lock.
            None => self.mailbox.take(),
        };
        let head = turn.head();
        drop(turn);
        match answer {
            None => Ok((Vec::new(), head)),
            Some(Ok(outcome)) => Ok((refs(outcome), head)),
            Some(Err(kind)) => Err(kind.into()),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm {
            self.engine.silence(alarm);
        }
        self.engine.short_turn().cancel(self.waiter);
    }
}

/// Names and values in turn.
pub(crate) fn flat<'f>(fields: FieldRefs<'f>) -> Result<Vec<&'f [u8]>, Error> {
    if fields.is_empty() {
        return Err(ErrorKind::Invalid("an entry needs at least one field").into());
    }
    Ok(fields.iter().flat_map(|(name, value)| [*name, *value]).collect())
}

pub(crate) fn entry(id: EntryId, found: &EntryFields<'_>) -> Entry {
    let mut fields: Fields = Vec::with_capacity(found.len() / 2);
    let mut name = None;
    found.for_each(|bytes| match name.take() {
        None => name = Some(bytes.to_vec()),
        Some(name) => fields.push((name, bytes.to_vec())),
    });
    Entry {
        id,
        position: found.position(),
        global_position: found.global_position(),
        appended_at: weir_core::Timestamp(found.appended_at()),
        fields,
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
