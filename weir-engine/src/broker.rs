//! A namespace of the engine as programs hold it, and how it asks: synchronously here, [`crate::tasks`] for tasks.
//!
//! What it asks is in `streams_face.rs` and `groups_face.rs`, each verb for threads and for tasks. The synchronous calls
//! are the fast path: lock, ask, let go, wait for the log in this thread.
//!
//! Every call answers only what the log holds as durably as the engine was told to be.

use std::sync::Arc;
use std::time::Duration;

use weir_core::{Entry, EntryId, Error, ErrorKind, FieldRefs, Fields};
use weir_log::Lsn;

use crate::api::{Entries, EntryRef, Halt, KeyRef, NamespaceNo, ReadOutcome};
use crate::core::Core;
use crate::engine::{AlarmId, Engine, EntryFields};
use crate::mailbox::{Answer, Mailbox};
use crate::waiting::{WaiterId, Wanted};

/// One namespace of an [`Engine`]. Cheap to clone; clones are the same namespace.
#[derive(Debug, Clone)]
pub struct Namespace {
    pub(crate) engine: Engine,
    pub(crate) ns: NamespaceNo,
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

    pub(crate) fn settled<T>(&self, asked: Asked<T>) -> Result<T, Error> {
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
    pub(crate) fn about<T, Q>(&self, stream: &[u8], mut ask: Q) -> impl Question<T> + use<T, Q>
    where
        Q: FnMut(&mut Core, KeyRef<'_>) -> Result<T, Halt> + Send,
    {
        let (ns, name) = (self.ns, Box::<[u8]>::from(stream));
        move |core: &mut Core| ask(core, KeyRef { ns, name: &name })
    }

    /// A question about one group. Where it is refused because of the group, the error names it.
    pub(crate) fn about_group<T, Q>(
        &self,
        stream: &[u8],
        group: &[u8],
        mut ask: Q,
    ) -> impl Question<T> + use<T, Q>
    where
        Q: FnMut(&mut Core, KeyRef<'_>, &[u8]) -> Result<T, Halt> + Send,
    {
        let group = Box::<[u8]>::from(group);
        self.about(stream, move |core, key| {
            ask(core, key, &group).map_err(|halt| match halt {
                Halt::Error(error) => Halt::Error(named(error, key.name, &group)),
                halt => halt,
            })
        })
    }

    /// Reads; when there is nothing and the caller would wait, leaves a waiting read behind.
    pub(crate) fn reading(&self, mut wanted: Wanted, waits: bool) -> impl Question<Answered> + use<> {
        let engine = self.engine.clone();
        move |core: &mut Core| {
            if let Wanted::Read(read) = &mut wanted {
                core.pin_ends(read)?;
            }
            let (outcome, count) = match &wanted {
                Wanted::Read(read) => (core.read(read)?, read.limits.count),
                Wanted::Group(read) => (core.read_group(read)?, read.limits.count),
                Wanted::Source(read) => (core.read_group_from(read)?, Some(read.count)),
            };
            // Who wants none would wait for ever.
            if !outcome.streams.is_empty() || !waits || count == Some(0) {
                return Ok(Answered::Now(outcome));
            }
            let mailbox = Arc::new(Mailbox::default());
            let waiter = core.wait_in(wanted.clone(), outcome.retry_at, mailbox.clone())?;
            Ok(Answered::Later(Waiting { engine: engine.clone(), waiter, mailbox, alarm: None }))
        }
    }

    pub(crate) fn wait_for(&self, wanted: Wanted, wait: Option<Duration>) -> Result<Vec<Entry>, Error> {
        self.entries(&refs(self.outcome_of(wanted, wait)?))
    }

    pub(crate) fn outcome_of(&self, wanted: Wanted, wait: Option<Duration>) -> Result<ReadOutcome, Error> {
        let asked = self.ask(self.reading(wanted, wait.is_some()))?;
        let (outcome, head) = match asked.answer {
            Answered::Now(outcome) => (outcome, asked.head),
            Answered::Later(waiting) => {
                let answer = waiting.mailbox.wait(wait.unwrap_or_default());
                waiting.end(answer)?
            }
        };
        self.engine.commit(head)?;
        Ok(outcome)
    }
}

/// A first answer: entries, or a promise.
pub(crate) enum Answered {
    Now(ReadOutcome),
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
    pub(crate) fn end(self, answer: Option<Answer>) -> Result<(ReadOutcome, Lsn), Error> {
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
            None => Ok((ReadOutcome::default(), head)),
            Some(Ok(outcome)) => Ok((outcome, head)),
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

/// An error that a group is the cause of, with its name.
pub(crate) fn named(error: Error, stream: &[u8], group: &[u8]) -> Error {
    let about_it =
        matches!(error.kind(), ErrorKind::NoSuchGroup | ErrorKind::GroupExists | ErrorKind::DeadLetterTaken);
    if !about_it || error.context().is_some() {
        return error;
    }
    let [stream, group] = [stream, group].map(String::from_utf8_lossy);
    error.with_context(format!("group {group:?} of stream {stream:?}"))
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
        position: Some(found.position()),
        global_position: Some(found.global_position()),
        appended_at: weir_core::Timestamp(found.appended_at()),
        fields,
    }
}

pub(crate) fn refs(outcome: ReadOutcome) -> Vec<EntryRef> {
    let given = outcome.streams.into_iter().flat_map(|stream| match stream.entries {
        Entries::Plain(refs) => refs,
        Entries::Claimed(given) => given.into_iter().map(|delivery| delivery.entry).collect(),
        Entries::Given(given) => given.into_iter().map(|given| given.entry).collect(),
    });
    given.collect()
}
