//! The verbs of [`Streams`] for a namespace of the engine: for threads, and for tasks.

use weir_core::{
    AppendOptions, Appended, BatchOptions, BoxFuture, Entry, EntryId, Error, ErrorKind, FieldRefs, Fields,
    Head, ListStreams, LostEntry, LostPage, LostQuery, NewEntry, ReadFrom, ReadOptions, Retention,
    StreamInfo, StreamPage, Streams, Timestamp, TrimTo, Trimmed, first_value,
};

use crate::api::{self, EntryRef, KeyRef, NewId, Read, ReadLimits};
use crate::appending::BatchEntry;
use crate::broker::{Namespace, Question, flat};
use crate::core::Core;
use crate::entries::Terms;
use crate::listing::Listing;
use crate::places::ReadStream;
use crate::waiting::Wanted;

/// Lost entries read at once.
const LOST_AT_ONCE: u64 = 256;
/// Lost entries looked at for one page.
const LOST_LOOKED_MAX: usize = 16_384;
/// Names are listed by another thread where there are more slots of keys than this.
const LISTED_HERE_MAX: u32 = 8_192;

impl Namespace {
    // ---- questions ---------------------------------------------------------------------------------------------

    /// The only questions that borrow: appends are many, their fields may be large, and they rarely wait for more
    /// than room in the log.
    fn appending<'q>(
        &self,
        stream: &'q [u8],
        fields: &'q [&'q [u8]],
        options: &'q AppendOptions,
    ) -> impl Question<Appended> + use<'q> {
        let key = KeyRef { ns: self.ns, name: stream };
        let producer = options.producer.as_ref();
        let terms = Terms { expected: options.expected, remembers: producer.is_some() };
        let id = options.id.map_or(NewId::Auto, NewId::Exact);
        let entry = BatchEntry { id, fields, append_id: producer.map(|given| &*given.append_id) };
        let producer = producer.map(|given| &*given.name);
        move |core: &mut Core| Ok(core.append_batch(key, &[entry], producer, &terms)?[0])
    }

    fn appending_all<'q>(
        &self,
        stream: &'q [u8],
        entries: &'q [BatchEntry<'q>],
        options: &'q BatchOptions,
    ) -> impl Question<Vec<Appended>> + use<'q> {
        let key = KeyRef { ns: self.ns, name: stream };
        let producer = options.producer.as_deref();
        let terms = Terms { expected: options.expected, remembers: producer.is_some() };
        move |core: &mut Core| core.append_batch(key, entries, producer, &terms)
    }

    fn ending(&self, stream: &[u8]) -> impl Question<Option<Head>> + use<> {
        self.about(stream, |core, key| core.head_of(key))
    }

    fn summing_up(&self, stream: &[u8]) -> impl Question<Option<StreamInfo>> + use<> {
        self.about(stream, |core, key| core.counts_of(key))
    }

    fn deleting(&self, stream: &[u8], ids: &[EntryId]) -> impl Question<u64> + use<> {
        let ids = ids.to_vec();
        self.about(stream, move |core, key| core.delete(key, &ids))
    }

    fn removing(&self, stream: &[u8]) -> impl Question<bool> + use<> {
        self.about(stream, |core, key| core.delete_stream(key))
    }

    fn trimming(&self, stream: &[u8], to: TrimTo) -> impl Question<Trimmed> + use<> {
        self.about(stream, move |core, key| core.trim_to(key, to))
    }

    fn limiting(&self, stream: &[u8], retention: Option<Retention>) -> impl Question<()> + use<> {
        self.about(stream, move |core, key| core.set_retention(key, retention))
    }

    fn showing_limits(&self, stream: &[u8]) -> impl Question<Option<Retention>> + use<> {
        self.about(stream, |core, key| core.retention(key))
    }

    fn showing_lost(&self, stream: &[u8], after: EntryId) -> impl Question<Vec<EntryRef>> + use<> {
        self.about(stream, move |core, key| core.lost_list(key, after, LOST_AT_ONCE))
    }

    fn ranging(&self, stream: &[u8], options: &ReadOptions) -> impl Question<Vec<EntryRef>> + use<> {
        let ReadOptions { from, to, backward, count, wait: _ } = *options;
        let read = ReadStream { from, to, backward, count };
        self.about(stream, move |core, key| core.read_stream(key, &read))
    }

    /// What a read waits for; `None` when it does not wait.
    fn awaited(&self, stream: &[u8], options: &ReadOptions) -> Result<Option<Wanted>, Error> {
        if options.wait.is_none() {
            return Ok(None);
        }
        if options.backward || options.to.is_some() {
            return Err(ErrorKind::Invalid("a read that waits goes forward and has no end").into());
        }
        let from = match options.from {
            ReadFrom::Start => api::ReadFrom::After(EntryId::MIN),
            ReadFrom::End => api::ReadFrom::End,
            ReadFrom::Id(id) => api::ReadFrom::After(id.previous().unwrap_or(EntryId::MIN)),
            ReadFrom::After(id) => api::ReadFrom::After(id),
            ReadFrom::Position(pos) => api::ReadFrom::Position(pos),
            ReadFrom::Time(at) => api::ReadFrom::Time(at.0),
        };
        Ok(Some(Wanted::Read(Read {
            ns: self.ns,
            streams: vec![(stream.into(), from)],
            limits: ReadLimits { count: Some(options.count), ..ReadLimits::default() },
        })))
    }

    // ---- synchronous calls -------------------------------------------------------------------------------------

    /// Appends an entry and answers its ID. See [`Streams::append`].
    ///
    /// # Errors
    /// As [`Streams::append`].
    pub fn append(
        &self,
        stream: &[u8],
        fields: FieldRefs<'_>,
        options: &AppendOptions,
    ) -> Result<Appended, Error> {
        check_producer(options)?;
        let fields = flat(fields)?;
        self.settled(self.ask(self.appending(stream, &fields, options))?)
    }

    /// Appends several entries, all or none. See [`Streams::append_batch`].
    ///
    /// # Errors
    /// As [`Streams::append_batch`].
    pub fn append_batch(
        &self,
        stream: &[u8],
        entries: &[NewEntry<'_>],
        options: &BatchOptions,
    ) -> Result<Vec<Appended>, Error> {
        let fields = flat_all(entries, options)?;
        let entries = batch(entries, &fields);
        self.settled(self.ask(self.appending_all(stream, &entries, options))?)
    }

    /// Reads entries. See [`Streams::read`].
    ///
    /// # Errors
    /// As [`Streams::read`].
    pub fn read(&self, stream: &[u8], options: &ReadOptions) -> Result<Vec<Entry>, Error> {
        match self.awaited(stream, options)? {
            Some(wanted) => self.wait_for(wanted, options.wait),
            None => {
                let refs = self.settled(self.ask(self.ranging(stream, options))?)?;
                self.entries(&refs)
            }
        }
    }

    /// The end of a stream. See [`Streams::head`].
    ///
    /// # Errors
    /// As [`Streams::head`].
    pub fn head(&self, stream: &[u8]) -> Result<Option<Head>, Error> {
        self.settled(self.ask(self.ending(stream))?)
    }

    /// Counters of a stream. See [`Streams::stream_info`].
    ///
    /// # Errors
    /// As [`Streams::stream_info`].
    pub fn stream_info(&self, stream: &[u8]) -> Result<Option<StreamInfo>, Error> {
        self.settled(self.ask(self.summing_up(stream))?)
    }

    /// Names of streams, a page at a time. See [`Streams::list_streams`].
    ///
    /// # Errors
    /// As [`Streams::list_streams`].
    pub fn list_streams(&self, options: ListStreams) -> Result<StreamPage, Error> {
        let mut listing = Listing::new(self.ns, options);
        loop {
            let asked = self.ask(|core: &mut Core| listing.step(core))?;
            if asked.answer.is_some() {
                let page = self.settled(asked)?;
                return Ok(page.expect("looked at just above"));
            }
        }
    }

    /// Removes entries; answers how many there were. See [`Streams::delete_entries`].
    ///
    /// # Errors
    /// As [`Streams::delete_entries`].
    pub fn delete_entries(&self, stream: &[u8], ids: &[EntryId]) -> Result<u64, Error> {
        self.settled(self.ask(self.deleting(stream, ids))?)
    }

    /// Removes a stream with its groups. See [`Streams::delete_stream`].
    ///
    /// # Errors
    /// As [`Streams::delete_stream`].
    pub fn delete_stream(&self, stream: &[u8]) -> Result<bool, Error> {
        self.settled(self.ask(self.removing(stream))?)
    }

    /// Removes the oldest entries. See [`Streams::trim`].
    ///
    /// # Errors
    /// As [`Streams::trim`].
    pub fn trim(&self, stream: &[u8], to: TrimTo) -> Result<Trimmed, Error> {
        self.settled(self.ask(self.trimming(stream, to))?)
    }

    /// Says how much of a stream is kept. See [`Streams::set_retention`].
    ///
    /// # Errors
    /// As [`Streams::set_retention`].
    pub fn set_retention(&self, stream: &[u8], retention: Option<Retention>) -> Result<(), Error> {
        self.settled(self.ask(self.limiting(stream, retention))?)
    }

    /// How much of a stream is kept. See [`Streams::retention`].
    ///
    /// # Errors
    /// As [`Streams::retention`].
    pub fn retention(&self, stream: &[u8]) -> Result<Option<Retention>, Error> {
        self.settled(self.ask(self.showing_limits(stream))?)
    }

    /// Entries that were lost. See [`Streams::lost`].
    ///
    /// # Errors
    /// As [`Streams::lost`].
    pub fn lost(&self, stream: &[u8], query: LostQuery) -> Result<LostPage, Error> {
        let mut page = Losses::new(query);
        while let Some(after) = page.next() {
            let refs = self.settled(self.ask(self.showing_lost(stream, after))?)?;
            page.take(&refs, self.entries(&refs)?);
        }
        Ok(page.end())
    }
}

impl Streams for Namespace {
    fn append<'a>(
        &'a self,
        stream: &'a [u8],
        fields: FieldRefs<'a>,
        options: AppendOptions,
    ) -> BoxFuture<'a, Appended> {
        Box::pin(async move {
            check_producer(&options)?;
            let fields = flat(fields)?;
            self.ask_here(self.appending(stream, &fields, &options)).await
        })
    }

    fn append_batch<'a>(
        &'a self,
        stream: &'a [u8],
        entries: &'a [NewEntry<'a>],
        options: BatchOptions,
    ) -> BoxFuture<'a, Vec<Appended>> {
        Box::pin(async move {
            let fields = flat_all(entries, &options)?;
            let entries = batch(entries, &fields);
            self.ask_here(self.appending_all(stream, &entries, &options)).await
        })
    }

    fn read<'a>(&'a self, stream: &'a [u8], options: ReadOptions) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            match self.awaited(stream, &options)? {
                Some(wanted) => self.read_aside(wanted, options.wait).await,
                None => self.fetch_aside(self.answer(self.ranging(stream, &options)).await?).await,
            }
        })
    }

    fn head<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<Head>> {
        Box::pin(self.answer(self.ending(stream)))
    }

    fn stream_info<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<StreamInfo>> {
        Box::pin(self.answer(self.summing_up(stream)))
    }

    fn list_streams(&self, options: ListStreams) -> BoxFuture<'_, StreamPage> {
        Box::pin(async move {
            let is_short = self.ask_here(|core: &mut Core| Ok(core.slots() <= LISTED_HERE_MAX)).await?;
            let own = self.clone();
            if is_short {
                return own.list_here(options).await;
            }
            self.engine.pool().run(move || own.list_streams(options))?.await?
        })
    }

    fn delete_stream<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(self.answer(self.removing(stream)))
    }

    fn delete_entries<'a>(&'a self, stream: &'a [u8], ids: &'a [EntryId]) -> BoxFuture<'a, u64> {
        Box::pin(self.answer(self.deleting(stream, ids)))
    }

    fn trim<'a>(&'a self, stream: &'a [u8], to: TrimTo) -> BoxFuture<'a, Trimmed> {
        Box::pin(self.answer(self.trimming(stream, to)))
    }

    fn set_retention<'a>(&'a self, stream: &'a [u8], retention: Option<Retention>) -> BoxFuture<'a, ()> {
        Box::pin(self.answer(self.limiting(stream, retention)))
    }

    fn retention<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<Retention>> {
        Box::pin(self.answer(self.showing_limits(stream)))
    }

    fn lost<'a>(&'a self, stream: &'a [u8], query: LostQuery) -> BoxFuture<'a, LostPage> {
        Box::pin(async move {
            let mut page = Losses::new(query);
            while let Some(after) = page.next() {
                let refs = self.answer(self.showing_lost(stream, after)).await?;
                page.take(&refs, self.fetch_aside(refs.clone()).await?);
            }
            Ok(page.end())
        })
    }
}

impl Namespace {
    async fn list_here(&self, options: ListStreams) -> Result<StreamPage, Error> {
        let mut listing = Listing::new(self.ns, options);
        loop {
            if let Some(page) = self.ask_here(|core: &mut Core| listing.step(core)).await? {
                return Ok(page);
            }
        }
    }
}

/// A page of lost entries that is being read.
struct Losses {
    query: LostQuery,
    found: Vec<(EntryId, LostEntry)>,
    /// Where to go on, until the list is at its end.
    after: Option<EntryId>,
    looked: usize,
}

impl Losses {
    fn new(query: LostQuery) -> Self {
        let after = Some(query.after.unwrap_or(EntryId::MIN));
        Self { query, found: Vec::new(), after, looked: 0 }
    }

    /// Above which entry to read on; `None` when the page is full or the list at its end.
    fn next(&self) -> Option<EntryId> {
        // One more than wanted tells whether there are more.
        self.after.filter(|_| self.found.len() as u64 <= self.query.count && self.looked < LOST_LOOKED_MAX)
    }

    fn take(&mut self, refs: &[EntryRef], entries: Vec<Entry>) {
        self.looked += refs.len();
        let is_last = (refs.len() as u64) < LOST_AT_ONCE;
        self.after = refs.last().map(|last| last.id).filter(|_| !is_last);
        let group = self.query.group.as_deref();
        let lost = entries.into_iter().filter_map(|entry| Some((entry.id, lost_entry(&entry.fields)?)));
        self.found.extend(lost.filter(|(_, lost)| group.is_none_or(|group| group == lost.group)));
    }

    fn end(mut self) -> LostPage {
        let count = usize::try_from(self.query.count).unwrap_or(usize::MAX);
        let next = if self.found.len() > count {
            self.found.truncate(count);
            let before = self.query.after.unwrap_or(EntryId::MIN);
            Some(self.found.last().map_or(before, |(id, _)| *id))
        } else {
            self.after
        };
        LostPage { entries: self.found.into_iter().map(|(_, lost)| lost).collect(), next }
    }
}

/// What an entry of a stream of lost entries says; `None` when it says something else.
#[must_use]
pub fn lost_entry(fields: &Fields) -> Option<LostEntry> {
    let number = |name: &[u8]| std::str::from_utf8(first_value(fields, name)?).ok()?.parse().ok();
    Some(LostEntry {
        group: first_value(fields, b"group")?.to_vec(),
        id: EntryId::parse(first_value(fields, b"id")?, 0).ok()?,
        was_pending: first_value(fields, b"was")? == b"pending",
        at: Timestamp(number(b"at")?),
    })
}

fn check_producer(options: &AppendOptions) -> Result<(), Error> {
    match &options.producer {
        Some(by) if by.name.is_empty() => Err(ErrorKind::Invalid("a producer needs a name").into()),
        Some(by) if by.append_id.is_empty() => Err(ErrorKind::Invalid("an append ID is not empty").into()),
        _ => Ok(()),
    }
}

/// Names and values of each entry in turn.
fn flat_all<'e>(entries: &'e [NewEntry<'e>], options: &BatchOptions) -> Result<Vec<Vec<&'e [u8]>>, Error> {
    if options.producer.as_ref().is_some_and(Vec::is_empty) {
        return Err(ErrorKind::Invalid("a producer needs a name").into());
    }
    if entries.iter().any(|entry| entry.append_id.is_some_and(<[u8]>::is_empty)) {
        return Err(ErrorKind::Invalid("an append ID is not empty").into());
    }
    entries.iter().map(|entry| flat(entry.fields)).collect()
}

fn batch<'e>(entries: &'e [NewEntry<'e>], fields: &'e [Vec<&'e [u8]>]) -> Vec<BatchEntry<'e>> {
    let each = entries.iter().zip(fields).map(|(entry, fields)| BatchEntry {
        id: entry.id.map_or(NewId::Auto, NewId::Exact),
        fields,
        append_id: entry.append_id,
    });
    each.collect()
}
