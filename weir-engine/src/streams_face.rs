//! The verbs of [`Streams`] for a namespace of the engine: for threads, and for tasks.

use weir_core::{
    AppendOptions, Appended, BatchOptions, BoxFuture, Entry, EntryId, Error, ErrorKind, Expected, FieldRefs,
    Head, ListStreams, LostPage, LostQuery, NewEntry, ReadFrom, ReadOptions, Retention, StreamInfo,
    StreamPage, Streams, TrimTo, Trimmed,
};

use crate::api::{self, Append, EntryRef, Halt, KeyRef, NewId, Producer, Range, Read, ReadLimits};
use crate::broker::{Namespace, Question, flat};
use crate::core::Core;
use crate::waiting::Wanted;

const NOT_YET: ErrorKind = ErrorKind::Unsupported("not in this build of the embedded engine");

impl Namespace {
    /// The only question that borrows: appends are many, their fields may be large, and they rarely wait for more
    /// than room in the log.
    fn appending<'q>(
        &self,
        stream: &'q [u8],
        fields: &'q [&'q [u8]],
        options: &'q AppendOptions,
    ) -> impl Question<Appended> + use<'q> {
        let key = KeyRef { ns: self.ns, name: stream };
        let producer = options.producer.as_ref();
        let producer = producer.map(|given| Producer { id: &given.name, iid: Some(&given.append_id) });
        let id = options.id.map_or(NewId::Auto, NewId::Exact);
        let expected = options.expected;
        move |core: &mut Core| {
            if expected != Expected::Any {
                return Err(NOT_YET.into());
            }
            let request = Append { id, fields, create: true, trim: None, producer };
            match core.append(key, &request)? {
                api::Appended::Added { id, .. } => Ok(Appended { id, is_duplicate: false }),
                api::Appended::Duplicate(id) => Ok(Appended { id, is_duplicate: true }),
                api::Appended::NoStream => unreachable!("a missing stream is made"),
            }
        }
    }

    fn summing_up(&self, stream: &[u8]) -> impl Question<Option<StreamInfo>> + use<> {
        self.about(stream, |core, key| match core.stream_info(key) {
            Ok(info) => Ok(Some(StreamInfo {
                length: info.length,
                last_id: info.last_id,
                entries_added: info.entries_added,
                first_id: (info.length > 0).then_some(info.first_id),
                groups: info.groups,
            })),
            Err(Halt::Error(error)) if *error.kind() == ErrorKind::NoSuchStream => Ok(None),
            Err(halt) => Err(halt),
        })
    }

    fn deleting(&self, stream: &[u8], ids: &[EntryId]) -> impl Question<u64> + use<> {
        let ids = ids.to_vec();
        self.about(stream, move |core, key| core.delete(key, &ids))
    }

    fn removing(&self, stream: &[u8]) -> impl Question<bool> + use<> {
        self.about(stream, |core, key| core.remove_key(key))
    }

    fn plain(&self, stream: &[u8], options: &ReadOptions) -> Result<Option<Wanted>, Error> {
        let after = match options.from {
            ReadFrom::Start => EntryId::MIN,
            ReadFrom::After(id) => id,
            ReadFrom::Id(id) => match id.previous() {
                Some(id) => id,
                None => EntryId::MIN,
            },
            ReadFrom::End | ReadFrom::Position(_) | ReadFrom::Time(_) => return Err(NOT_YET.into()),
        };
        if options.wait.is_none() || options.backward || options.to.is_some() {
            return Ok(None);
        }
        Ok(Some(Wanted::Read(Read {
            ns: self.ns,
            streams: vec![(stream.into(), api::ReadFrom::After(after))],
            limits: ReadLimits { count: Some(options.count), ..ReadLimits::default() },
        })))
    }

    fn ranging(&self, stream: &[u8], options: &ReadOptions) -> impl Question<Vec<EntryRef>> + use<> {
        let (from, backward) = (options.from, options.backward);
        let bound = match from {
            ReadFrom::Start if backward => None,
            ReadFrom::Start => Some(EntryId::MIN),
            ReadFrom::End if backward => Some(EntryId::MAX),
            ReadFrom::Id(id) => Some(id),
            ReadFrom::After(id) if backward => id.previous(),
            ReadFrom::After(id) => id.next(),
            _ => None,
        };
        let (to, count) = (options.to, options.count);
        self.about(stream, move |core, key| {
            let Some(bound) = bound else { return Ok(Vec::new()) };
            let (start, end) = if backward {
                (to.unwrap_or(EntryId::MIN), bound)
            } else {
                (bound, to.unwrap_or(EntryId::MAX))
            };
            let range = Range { start, end, count: Some(count), reverse: backward };
            Ok(core.range(key, &range)?.unwrap_or_default())
        })
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
        let fields = flat(fields)?;
        self.settled(self.ask(self.appending(stream, &fields, options))?)
    }

    /// Reads entries. See [`Streams::read`].
    ///
    /// # Errors
    /// As [`Streams::read`].
    pub fn read(&self, stream: &[u8], options: &ReadOptions) -> Result<Vec<Entry>, Error> {
        match self.plain(stream, options)? {
            Some(wanted) => self.wait_for(wanted, options.wait),
            None => {
                let refs = self.settled(self.ask(self.ranging(stream, options))?)?;
                self.entries(&refs)
            }
        }
    }

    /// Counters of a stream. See [`Streams::stream_info`].
    ///
    /// # Errors
    /// As [`Streams::stream_info`].
    pub fn stream_info(&self, stream: &[u8]) -> Result<Option<StreamInfo>, Error> {
        self.settled(self.ask(self.summing_up(stream))?)
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
}

impl Streams for Namespace {
    fn append<'a>(
        &'a self,
        stream: &'a [u8],
        fields: FieldRefs<'a>,
        options: AppendOptions,
    ) -> BoxFuture<'a, Appended> {
        Box::pin(async move {
            let fields = flat(fields)?;
            self.ask_here(self.appending(stream, &fields, &options)).await
        })
    }

    fn append_batch<'a>(
        &'a self,
        _: &'a [u8],
        _: &'a [NewEntry<'a>],
        _: BatchOptions,
    ) -> BoxFuture<'a, Vec<Appended>> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn read<'a>(&'a self, stream: &'a [u8], options: ReadOptions) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            match self.plain(stream, &options)? {
                Some(wanted) => self.read_aside(wanted, options.wait).await,
                None => self.fetch_aside(self.answer(self.ranging(stream, &options)).await?).await,
            }
        })
    }

    fn head<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Option<Head>> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn stream_info<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<StreamInfo>> {
        Box::pin(self.answer(self.summing_up(stream)))
    }

    fn list_streams(&self, _: ListStreams) -> BoxFuture<'_, StreamPage> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn delete_stream<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(self.answer(self.removing(stream)))
    }

    fn delete_entries<'a>(&'a self, stream: &'a [u8], ids: &'a [EntryId]) -> BoxFuture<'a, u64> {
        Box::pin(self.answer(self.deleting(stream, ids)))
    }

    fn trim<'a>(&'a self, _: &'a [u8], _: TrimTo) -> BoxFuture<'a, Trimmed> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn set_retention<'a>(&'a self, _: &'a [u8], _: Option<Retention>) -> BoxFuture<'a, ()> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn retention<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Option<Retention>> {
        Box::pin(async { Err(NOT_YET.into()) })
    }

    fn lost<'a>(&'a self, _: &'a [u8], _: LostQuery) -> BoxFuture<'a, LostPage> {
        Box::pin(async { Err(NOT_YET.into()) })
    }
}
