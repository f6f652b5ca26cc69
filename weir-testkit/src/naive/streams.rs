//! Appending to streams and reading them.

use weir_core::{
    AppendOptions, Appended, BatchOptions, BoxFuture, Entry, EntryId, Error, ErrorKind, Expected, FieldRefs,
    Head, ListStreams, LostPage, LostQuery, NewEntry, ReadFrom, ReadOptions, Retention, StreamInfo,
    StreamPage, Streams, Timestamp, TrimTo, Trimmed, glob, is_side_stream, lost_of,
};

use super::space::{Appends, Space, Stored, Stream};
use super::waiting::Look;
use super::{NaiveBroker, check_names};

/// Entries of a batch, at most.
const BATCH_MAX: usize = 10_000;
/// Appends of a producer that are remembered, at most.
const REMEMBERED_MAX: usize = 10_000;
/// Fields of an entry, at most.
const FIELDS_MAX: usize = 65_536;
/// Bytes of an entry's names and values, at most.
const ENTRY_BYTES_MAX: usize = 64 << 20;

impl Streams for NaiveBroker {
    fn append<'a>(
        &'a self,
        stream: &'a [u8],
        fields: FieldRefs<'a>,
        options: AppendOptions,
    ) -> BoxFuture<'a, Appended> {
        self.later(move |space| {
            let AppendOptions { id, producer, expected } = options;
            let (producer, append_id) = producer.map(|by| (by.name, by.append_id)).unzip();
            let entry = NewEntry { fields, id, append_id: append_id.as_deref() };
            let appended = space.append_all(stream, &[entry], producer.as_deref(), expected)?;
            Ok(appended[0])
        })
    }

    fn append_batch<'a>(
        &'a self,
        stream: &'a [u8],
        entries: &'a [NewEntry<'a>],
        options: BatchOptions,
    ) -> BoxFuture<'a, Vec<Appended>> {
        self.later(move |space| {
            space.append_all(stream, entries, options.producer.as_deref(), options.expected)
        })
    }

    fn read<'a>(&'a self, stream: &'a [u8], options: ReadOptions) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            check_names(&[stream])?;
            if options.wait.is_some() && (options.backward || options.to.is_some()) {
                return Err(Error::new(ErrorKind::Invalid("a read that waits goes forward and has no end")));
            }
            let wait = options.wait.filter(|_| options.count > 0);
            // The end is where it was when the read began, not where it is when somebody appends.
            let mut options = options;
            self.look_until(wait, |space| {
                if space.is_plain && matches!(options.from, ReadFrom::Position(_)) {
                    return Err(ErrorKind::Unsupported("nobody counts positions here").into());
                }
                if options.from == ReadFrom::End && !options.backward {
                    options.from = ReadFrom::After(space.stream(stream).map_or(EntryId::MIN, |s| s.last_id));
                }
                Ok(Look { found: space.read(stream, &options), due: None })
            })
            .await
        })
    }

    fn head<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<Head>> {
        self.later(move |space| {
            let head = |stream: &Stream| Head { last_id: stream.last_id, version: stream.version() };
            Ok(space.stream(stream).map(head))
        })
    }

    fn stream_info<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<StreamInfo>> {
        self.later(move |space| {
            Ok(space.stream(stream).map(|stream| StreamInfo {
                length: stream.entries.len() as u64,
                last_id: stream.last_id,
                entries_added: stream.added,
                first_id: stream.entries.keys().next().copied(),
                groups: stream.groups.len() as u64,
            }))
        })
    }

    fn list_streams(&self, options: ListStreams) -> BoxFuture<'_, StreamPage> {
        self.later(move |space| {
            let is_meant = |name: &&Vec<u8>| {
                options.after.as_ref().is_none_or(|after| *name > after)
                    && glob::matches(&options.pattern, name)
                    && (options.with_side_streams || !is_side_stream(name))
            };
            let mut names: Vec<_> = space.streams.keys().filter(is_meant).cloned().collect();
            let count = usize::try_from(options.count.max(1)).unwrap_or(usize::MAX);
            let is_all = names.len() <= count;
            names.truncate(count);
            let next = if is_all { None } else { names.last().cloned() };
            Ok(StreamPage { names, next })
        })
    }

    fn delete_stream<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, bool> {
        self.later(move |space| {
            let there_was = space.streams.remove(stream).is_some();
            if there_was {
                if let Ok(lost) = lost_of(stream) {
                    space.streams.remove(&lost);
                }
                space.changes += 1;
            }
            Ok(there_was)
        })
    }

    fn delete_entries<'a>(&'a self, stream: &'a [u8], ids: &'a [EntryId]) -> BoxFuture<'a, u64> {
        self.later(move |space| {
            let Some(stream) = space.streams.get_mut(stream) else { return Ok(0) };
            Ok(ids.iter().filter(|id| stream.entries.remove(id).is_some()).count() as u64)
        })
    }

    fn trim<'a>(&'a self, stream: &'a [u8], to: TrimTo) -> BoxFuture<'a, Trimmed> {
        self.later(move |space| Ok(space.trim(stream, to)))
    }

    fn set_retention<'a>(&'a self, stream: &'a [u8], retention: Option<Retention>) -> BoxFuture<'a, ()> {
        self.later(move |space| space.set_retention(stream, retention))
    }

    fn retention<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<Retention>> {
        self.later(move |space| Ok(space.stream(stream).and_then(|stream| stream.retention)))
    }

    fn lost<'a>(&'a self, stream: &'a [u8], query: LostQuery) -> BoxFuture<'a, LostPage> {
        self.later(move |space| Ok(space.lost(stream, &query)))
    }
}

/// What becomes of one entry of a batch.
enum Plan {
    Repeated(EntryId),
    Added(EntryId),
}

impl Space {
    /// Appends entries, all or none.
    fn append_all(
        &mut self,
        name: &[u8],
        entries: &[NewEntry<'_>],
        producer: Option<&[u8]>,
        expected: Expected,
    ) -> Result<Vec<Appended>, Error> {
        check_names(&[name, producer.unwrap_or_default()])?;
        let plans = self.plan(name, entries, producer, expected)?;
        let mut appended = Vec::with_capacity(plans.len());
        for (entry, plan) in entries.iter().zip(plans) {
            appended.push(match plan {
                Plan::Repeated(id) => Appended { id, is_duplicate: true },
                Plan::Added(id) => {
                    self.add(name, id, entry.fields);
                    if let (Some(producer), Some(append_id)) = (producer, entry.append_id) {
                        self.remember(name, producer, append_id, id);
                    }
                    Appended { id, is_duplicate: false }
                }
            });
        }
        if appended.iter().any(|one: &Appended| !one.is_duplicate) {
            self.enforce_retention(name);
        }
        Ok(appended)
    }

    /// Decides the IDs of a batch and whether it may be appended; changes nothing.
    fn plan(
        &self,
        name: &[u8],
        entries: &[NewEntry<'_>],
        producer: Option<&[u8]>,
        expected: Expected,
    ) -> Result<Vec<Plan>, Error> {
        check_batch(entries, producer)?;
        let none = Stream::default();
        let stream = self.stream(name).unwrap_or(&none);
        let known = producer.and_then(|producer| stream.producers.get(producer));
        let mut in_batch: Vec<(&[u8], EntryId)> = Vec::new();
        let mut plans = Vec::with_capacity(entries.len());
        let mut last = stream.last_id;
        for entry in entries {
            let earlier = entry.append_id.and_then(|append_id| {
                let before = known.and_then(|known| known.ids.get(append_id)).copied();
                before.or_else(|| in_batch.iter().find(|(other, _)| *other == append_id).map(|(_, id)| *id))
            });
            if let Some(id) = earlier {
                plans.push(Plan::Repeated(id));
                continue;
            }
            check_expected(stream, expected)?;
            last = self.new_id(last, entry.id)?;
            in_batch.extend(entry.append_id.map(|append_id| (append_id, last)));
            plans.push(Plan::Added(last));
        }
        Ok(plans)
    }

    fn new_id(&self, last: EntryId, asked: Option<EntryId>) -> Result<EntryId, Error> {
        let wall = EntryId::new(self.now.wall.0, 0);
        match asked {
            Some(EntryId::MIN) => Err(ErrorKind::IdZero.into()),
            _ if last == EntryId::MAX => Err(ErrorKind::StreamExhausted.into()),
            Some(id) if id <= last => Err(ErrorKind::IdNotGreater { last }.into()),
            Some(id) => Ok(id),
            None if wall > last => Ok(wall),
            None => Ok(last.next().expect("the greatest ID was looked for")),
        }
    }

    /// Adds an entry to a stream, which is made when there is none.
    pub(super) fn add(&mut self, name: &[u8], id: EntryId, fields: FieldRefs<'_>) {
        self.appended += 1;
        self.last_append = self.last_append.max(self.now.wall);
        let stream = self.streams.entry(name.to_vec()).or_default();
        let fields = fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let (position, global_position) = (stream.added, self.appended);
        let appended_at = if self.is_plain { Timestamp(id.ms) } else { self.last_append };
        let is_counted = !self.is_plain;
        let stored = Stored { is_counted, position, global_position, appended_at, fields };
        stream.entries.insert(id, stored);
        stream.added += 1;
        stream.last_id = id;
        self.changes += 1;
    }

    /// Adds an entry of the broker's own. There is none when the stream has given out its last ID.
    pub(super) fn add_own(&mut self, name: &[u8], fields: FieldRefs<'_>) {
        let last = self.stream(name).map_or(EntryId::MIN, |stream| stream.last_id);
        if let Ok(id) = self.new_id(last, None) {
            self.add(name, id, fields);
            self.enforce_retention(name);
        }
    }

    fn remember(&mut self, name: &[u8], producer: &[u8], append_id: &[u8], id: EntryId) {
        let stream = self.streams.get_mut(name).expect("an entry was just added to it");
        let Appends { ids, order } = stream.producers.entry(producer.to_vec()).or_default();
        if order.len() == REMEMBERED_MAX
            && let Some(oldest) = order.pop_front()
        {
            ids.remove(&oldest);
        }
        ids.insert(append_id.to_vec(), id);
        order.push_back(append_id.to_vec());
    }

    fn read(&self, name: &[u8], options: &ReadOptions) -> Vec<Entry> {
        let Some(stream) = self.stream(name) else { return Vec::new() };
        let count = usize::try_from(options.count).unwrap_or(usize::MAX);
        let all = stream.entries.iter().filter(|(id, stored)| is_in(**id, stored, options));
        let entry = |(id, stored): (&EntryId, &Stored)| stored.entry(*id);
        if options.backward {
            all.rev().take(count).map(entry).collect()
        } else {
            all.take(count).map(entry).collect()
        }
    }
}

impl Stream {
    fn version(&self) -> Option<u64> {
        self.added.checked_sub(1)
    }
}

fn check_batch(entries: &[NewEntry<'_>], producer: Option<&[u8]>) -> Result<(), Error> {
    let invalid = |what| Err(Error::new(ErrorKind::Invalid(what)));
    if entries.len() > BATCH_MAX {
        return Err(Error::new(ErrorKind::LimitReached("a batch has at most 10000 entries")));
    }
    if producer.is_some_and(<[u8]>::is_empty) {
        return invalid("a producer needs a name");
    }
    for entry in entries {
        if entry.append_id.is_some() != producer.is_some() {
            return invalid("a producer and the append IDs of all entries go together");
        }
        if entry.append_id.is_some_and(<[u8]>::is_empty) {
            return invalid("an append ID is not empty");
        }
        if entry.fields.is_empty() {
            return invalid("an entry needs at least one field");
        }
        let bytes: usize = entry.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if entry.fields.len() > FIELDS_MAX || bytes > ENTRY_BYTES_MAX {
            return Err(ErrorKind::EntryTooLarge.into());
        }
    }
    Ok(())
}

fn check_expected(stream: &Stream, expected: Expected) -> Result<(), Error> {
    let actual = stream.version();
    let is_met = match expected {
        Expected::Any => true,
        Expected::NoEntries => actual.is_none(),
        Expected::Version(version) => actual == Some(version),
    };
    if is_met { Ok(()) } else { Err(ErrorKind::VersionMismatch { actual }.into()) }
}

fn is_in(id: EntryId, stored: &Stored, options: &ReadOptions) -> bool {
    let ReadOptions { from, to, backward, .. } = *options;
    let at = |time: Timestamp| stored.appended_at.cmp(&time);
    // How the entry lies to where reading starts, seen in reading direction.
    let seen = |order: std::cmp::Ordering| if backward { order.reverse() } else { order };
    let has_begun = match from {
        ReadFrom::Start => !backward,
        ReadFrom::End => backward,
        ReadFrom::Id(start) => seen(id.cmp(&start)).is_ge(),
        ReadFrom::After(start) => seen(id.cmp(&start)).is_gt(),
        ReadFrom::Position(start) => seen(stored.position.cmp(&start)).is_ge(),
        ReadFrom::Time(start) => seen(at(start)).is_ge(),
    };
    has_begun && to.is_none_or(|to| seen(id.cmp(&to)).is_le())
}
