//! Streams on a Redis: appends and trims are scripts, reads are plain commands.

use std::time::Duration;

use redis::Value;
use weir_core::{
    AppendOptions, Appended, BatchOptions, BoxFuture, Entry, EntryId, Error, ErrorKind, Expected, FieldRefs,
    Head, ListStreams, LostEntry, LostPage, LostQuery, NewEntry, ReadFrom, ReadOptions, Retention,
    StreamInfo, StreamPage, Streams, Timestamp, TrimTo, Trimmed, first_value, is_side_stream, lost_of,
    slot_name,
};

use crate::link::{Lane, Patience, Repeat};
use crate::policy::{countable, millis};
use crate::reply::{self, Row, unexpected};
use crate::request::{self, Request};
use crate::{RedisBroker, side_prefix};

/// The most entries of one batch.
const BATCH_MAX: usize = 10_000;
/// The most names and values of one entry that a script can append.
const TEXTS_MAX: usize = 7_500;
/// The longest a plain read waits at the server before it asks anew, so that a dead connection is noticed.
const SLICE: Duration = Duration::from_secs(5);
/// How many keys a page of names looks at.
const SCAN_COUNT: u64 = 1_000;

impl Streams for RedisBroker {
    fn append<'a>(
        &'a self,
        stream: &'a [u8],
        fields: FieldRefs<'a>,
        options: AppendOptions,
    ) -> BoxFuture<'a, Appended> {
        Box::pin(async move {
            let append_id = options.producer.as_ref().map(|producer| producer.append_id.clone());
            let entry = NewEntry { fields, id: options.id, append_id: append_id.as_deref() };
            let batch = BatchOptions {
                producer: options.producer.map(|producer| producer.name),
                expected: options.expected,
            };
            let appended = self.append_entries(stream, &[entry], batch).await?;
            appended.into_iter().next().ok_or_else(|| unexpected("the ID of the entry"))
        })
    }

    fn append_batch<'a>(
        &'a self,
        stream: &'a [u8],
        entries: &'a [NewEntry<'a>],
        options: BatchOptions,
    ) -> BoxFuture<'a, Vec<Appended>> {
        Box::pin(self.append_entries(stream, entries, options))
    }

    fn read<'a>(&'a self, stream: &'a [u8], options: ReadOptions) -> BoxFuture<'a, Vec<Entry>> {
        Box::pin(self.read_entries(stream, options))
    }

    fn head<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<Head>> {
        Box::pin(async move {
            let info = self.stream_info(stream).await?;
            Ok(info.map(|info| Head { last_id: info.last_id, version: info.entries_added.checked_sub(1) }))
        })
    }

    fn stream_info<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<StreamInfo>> {
        Box::pin(async move {
            let request = Request::command("XINFO").arg("STREAM").arg(stream);
            match self.ask(stream, &request).await {
                Ok(value) => parse_info(value).map(Some),
                Err(error) if *error.kind() == ErrorKind::NoSuchGroup => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn list_streams(&self, options: ListStreams) -> BoxFuture<'_, StreamPage> {
        Box::pin(self.scan_streams(options))
    }

    fn delete_stream<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let lost = lost_of(stream).unwrap_or_default();
            let request = self.stream_script(&request::DELETE_STREAM, stream).arg(lost);
            let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
            Ok(reply::int(value) == Some(1))
        })
    }

    fn delete_entries<'a>(&'a self, stream: &'a [u8], ids: &'a [EntryId]) -> BoxFuture<'a, u64> {
        Box::pin(async move {
            let mut removed = 0;
            for ids in ids.chunks(BATCH_MAX) {
                let mut request = Request::command("XDEL").arg(stream);
                ids.iter().for_each(|id| request.push(id.to_string()));
                let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
                removed += reply::uint(value).unwrap_or(0);
            }
            Ok(removed)
        })
    }

    fn trim<'a>(&'a self, stream: &'a [u8], to: TrimTo) -> BoxFuture<'a, Trimmed> {
        Box::pin(async move {
            let (kind, value) = match to {
                TrimTo::Length(length) => ("length", countable(length).to_string()),
                TrimTo::MinId(id) => ("min", id.to_string()),
                TrimTo::Bytes(bytes) => ("bytes", bytes.to_string()),
                TrimTo::Time(time) => ("min", EntryId::new(time.0, 0).to_string()),
            };
            let request = self.stream_script(&request::TRIM, stream).arg(kind).arg(value);
            let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
            let mut row = Row::new(value);
            let removed = row.take("how many were removed", reply::uint)?;
            Ok(Trimmed { removed, held: row.take("how many are held", reply::uint)? })
        })
    }

    fn set_retention<'a>(&'a self, stream: &'a [u8], retention: Option<Retention>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let kept = if retention.is_some() { "1" } else { "" };
            let Retention { length, bytes, age, hold } = retention.unwrap_or_default();
            if age.is_some_and(|age| age.as_millis() == 0) {
                return Err(
                    ErrorKind::Invalid("the age of a retention must be at least a millisecond").into()
                );
            }
            let text = |limit: Option<u64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
            let request = Request::script(&request::SET_RETENTION, stream)
                .arg(side_prefix(stream)?)
                .arg("")
                .arg(slot_name(stream)?)
                .arg(text(length))
                .arg(text(bytes))
                .arg(text(age.map(millis)))
                .arg(text(hold))
                .arg(kept);
            self.ask(stream, &request).await.map(drop)
        })
    }

    fn retention<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Option<Retention>> {
        Box::pin(async move {
            let there = self.stream_info(stream).await?;
            let (Some(_), Ok(prefix)) = (there, side_prefix(stream)) else { return Ok(None) };
            let key = [&prefix, b"stream".as_slice()].concat();
            let request = Request::command("HMGET").arg(key).arg(&["length", "bytes", "age", "hold", "kept"]);
            let mut row = Row::new(self.ask(stream, &request).await?);
            let mut limit = || reply::uint(row.value());
            let (length, bytes) = (limit(), limit());
            let (age, hold, kept) = (limit().map(Duration::from_millis), limit(), limit());
            Ok(kept.map(|_| Retention { length, bytes, age, hold }))
        })
    }

    fn lost<'a>(&'a self, stream: &'a [u8], query: LostQuery) -> BoxFuture<'a, LostPage> {
        Box::pin(self.lost_entries(stream, query))
    }
}

impl RedisBroker {
    /// Sends what may be sent twice.
    pub(crate) async fn ask(&self, stream: &[u8], request: &Request) -> Result<Value, Error> {
        self.link().call(stream, Lane::Commands, request, Repeat::Harmless).await
    }

    /// A script about a stream; of one that nothing can be kept beside, it looks at the stream alone.
    fn stream_script(&self, script: &'static std::sync::LazyLock<request::Script>, stream: &[u8]) -> Request {
        Request::script(script, stream).arg(side_prefix(stream).unwrap_or_default()).arg("")
    }

    async fn append_entries(
        &self,
        stream: &[u8],
        entries: &[NewEntry<'_>],
        options: BatchOptions,
    ) -> Result<Vec<Appended>, Error> {
        check_entries(entries, options.producer.as_deref())?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let prefix = if options.producer.is_some() {
            side_prefix(stream)?
        } else {
            side_prefix(stream).unwrap_or_default()
        };
        let expected = match options.expected {
            Expected::Any => String::new(),
            Expected::NoEntries => "-".to_owned(),
            Expected::Version(version) => version.to_string(),
        };
        let mut request = Request::script(&request::APPEND, stream)
            .arg(prefix)
            .arg("")
            .arg(expected)
            .arg(options.producer.as_deref().unwrap_or_default())
            .arg(entries.len());
        for entry in entries {
            request.push(entry.id.map_or_else(|| "*".to_owned(), |id| id.to_string()));
            request.push(entry.append_id.unwrap_or_default());
            request.push(entry.fields.len() * 2);
            for (name, value) in entry.fields {
                request.push(*name);
                request.push(*value);
            }
        }
        // Without a producer nobody could tell a second append from the first.
        let repeat = if options.producer.is_some() { Repeat::Harmless } else { Repeat::Never };
        let value = self.link().call(stream, Lane::Commands, &request, repeat).await?;
        reply::array(value)
            .into_iter()
            .map(|value| {
                let mut row = Row::new(value);
                let id = row.take("the ID of an entry", reply::id)?;
                Ok(Appended { id, is_duplicate: row.take("0 or 1", reply::int)? == 1 })
            })
            .collect()
    }

    async fn read_entries(&self, stream: &[u8], options: ReadOptions) -> Result<Vec<Entry>, Error> {
        if options.wait.is_some() && (options.backward || options.to.is_some()) {
            return Err(ErrorKind::Invalid("a read that waits goes forward and has no end").into());
        }
        let Some((from, is_inclusive)) = self.start_of(stream, &options).await? else {
            return Ok(Vec::new());
        };
        if options.count == 0 {
            return Ok(Vec::new());
        }
        let bound = if is_inclusive { from.to_string() } else { format!("({from}") };
        let to = options.to.map(|to| to.to_string());
        let (name, last) = if options.backward { ("XREVRANGE", "-") } else { ("XRANGE", "+") };
        let mut request = Request::command(name).arg(stream).arg(bound).arg(to.as_deref().unwrap_or(last));
        request = request.arg("COUNT").arg(options.count.min(i64::MAX as u64));
        let found = reply::entries(self.ask(stream, &request).await?)?;
        match options.wait {
            Some(wait) if found.is_empty() => {
                let above = if is_inclusive { from.previous().unwrap_or(EntryId::MIN) } else { from };
                self.await_entries(stream, above, options.count, wait).await
            }
            _ => Ok(found),
        }
    }

    /// The first ID that is read, and whether it is itself; `None` when there is nothing to read.
    async fn start_of(&self, stream: &[u8], options: &ReadOptions) -> Result<Option<(EntryId, bool)>, Error> {
        Ok(match options.from {
            ReadFrom::Position(_) => {
                return Err(ErrorKind::Unsupported("a Redis that others write to counts no positions").into());
            }
            ReadFrom::Start => (!options.backward).then_some((EntryId::MIN, true)),
            ReadFrom::End if options.backward => Some((EntryId::MAX, true)),
            ReadFrom::End => {
                let last = self.head(stream).await?.map_or(EntryId::MIN, |head| head.last_id);
                (last != EntryId::MAX).then_some((last, false))
            }
            ReadFrom::Id(id) => Some((id, true)),
            ReadFrom::After(id) => {
                let edge = if options.backward { EntryId::MIN } else { EntryId::MAX };
                (id != edge).then_some((id, false))
            }
            ReadFrom::Time(time) => {
                Some((EntryId::new(time.0, if options.backward { u64::MAX } else { 0 }), true))
            }
        })
    }

    async fn await_entries(
        &self,
        stream: &[u8],
        above: EntryId,
        count: u64,
        wait: Duration,
    ) -> Result<Vec<Entry>, Error> {
        let patience = Patience::new(wait);
        let above = above.to_string();
        let mut waiting = self.link().waiting(stream);
        while let Some(slice) = patience.left(SLICE) {
            let value = waiting.wait(&above, count.min(i64::MAX as u64), slice).await?;
            let found = reply::stream_entries(value)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// Pages go through the nodes one after the other. A step of a scan gives as many names as it likes; those that
    /// the page has no room for are told first on the next one.
    async fn scan_streams(&self, options: ListStreams) -> Result<StreamPage, Error> {
        let mut at = match &options.after {
            None => ScanPlace { node: 0, cursor: "0".to_owned(), left: Vec::new() },
            Some(after) => ScanPlace::parse(after)
                .ok_or(ErrorKind::Invalid("this is not where a page of streams ended; begin anew"))?,
        };
        let nodes = self.link().masters().await?;
        let count = usize::try_from(options.count.max(1)).unwrap_or(usize::MAX);
        let mut names = std::mem::take(&mut at.left);
        while names.len() < count
            && let Some(node) = nodes.get(at.node)
        {
            let request = Request::command("SCAN")
                .arg(&at.cursor)
                .arg("MATCH")
                .arg(&options.pattern)
                .arg("COUNT")
                .arg(SCAN_COUNT)
                .arg("TYPE")
                .arg("stream");
            let mut page = Row::new(self.link().call_node(node, &request).await?);
            at.cursor = page.take("a cursor", reply::text)?;
            at.node += usize::from(at.cursor == "0");
            let found = reply::array(page.value()).into_iter().filter_map(reply::bytes);
            names.extend(found.filter(|name| options.with_side_streams || !is_side_stream(name)));
        }
        at.left = names.split_off(names.len().min(count));
        let is_end = at.left.is_empty() && at.node >= nodes.len();
        Ok(StreamPage { names, next: (!is_end).then(|| at.text()) })
    }

    async fn lost_entries(&self, stream: &[u8], query: LostQuery) -> Result<LostPage, Error> {
        const LOOK: usize = 1_000;
        let mut page = LostPage { entries: Vec::new(), next: None };
        let Ok(lost) = lost_of(stream) else { return Ok(page) };
        if self.stream_info(stream).await?.is_none() {
            return Ok(page);
        }
        let mut after = query.after.unwrap_or(EntryId::MIN);
        loop {
            let request = Request::command("XRANGE").arg(&lost).arg(format!("({after}")).arg("+");
            let found = reply::entries(self.ask(stream, &request.arg("COUNT").arg(LOOK)).await?)?;
            let is_last = found.len() < LOOK;
            for entry in found {
                if page.entries.len() as u64 == query.count {
                    page.next = Some(after);
                    return Ok(page);
                }
                after = entry.id;
                let lost = parse_lost(&entry);
                page.entries.extend(
                    lost.filter(|lost| query.group.as_ref().is_none_or(|group| *group == lost.group)),
                );
            }
            if is_last {
                return Ok(page);
            }
        }
    }
}

fn check_entries(entries: &[NewEntry<'_>], producer: Option<&[u8]>) -> Result<(), Error> {
    if entries.len() > BATCH_MAX {
        return Err(ErrorKind::LimitReached("entries of a batch (10000)").into());
    }
    if producer.is_some_and(<[u8]>::is_empty) {
        return Err(ErrorKind::Invalid("a producer needs a name").into());
    }
    for entry in entries {
        if entry.fields.is_empty() {
            return Err(ErrorKind::Invalid("an entry needs at least one field").into());
        }
        if entry.fields.len() * 2 > TEXTS_MAX {
            return Err(Error::new(ErrorKind::EntryTooLarge)
                .with_context(format!("on a Redis an entry has at most {} fields", TEXTS_MAX / 2)));
        }
        match entry.append_id {
            Some(_) if producer.is_none() => {
                return Err(ErrorKind::Invalid("an append ID needs a producer").into());
            }
            Some(b"") => return Err(ErrorKind::Invalid("an append ID must not be empty").into()),
            None if producer.is_some() => {
                return Err(ErrorKind::Invalid("with a producer every entry needs an append ID").into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn parse_info(value: Value) -> Result<StreamInfo, Error> {
    let mut info =
        StreamInfo { length: 0, last_id: EntryId::MIN, entries_added: 0, first_id: None, groups: 0 };
    for (name, value) in reply::pairs(value) {
        match &name[..] {
            b"length" => info.length = reply::uint(value).ok_or_else(|| unexpected("a length"))?,
            b"last-generated-id" => {
                info.last_id = reply::id(value).ok_or_else(|| unexpected("the last ID"))?
            }
            b"entries-added" => info.entries_added = reply::uint(value).unwrap_or(0),
            b"groups" => info.groups = reply::uint(value).unwrap_or(0),
            b"first-entry" => info.first_id = reply::array(value).into_iter().next().and_then(reply::id),
            _ => {}
        }
    }
    Ok(info)
}

/// Where a page of names ended.
struct ScanPlace {
    /// Number of the node, by address.
    node: usize,
    cursor: String,
    /// Names that were found and not told yet.
    left: Vec<Vec<u8>>,
}

impl ScanPlace {
    /// Node, cursor and the names, each as length, colon, bytes.
    fn text(&self) -> Vec<u8> {
        let mut text = format!("{}:{}:", self.node, self.cursor).into_bytes();
        for name in &self.left {
            text.extend_from_slice(format!("{}:", name.len()).as_bytes());
            text.extend_from_slice(name);
        }
        text
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let number = |text: &mut &[u8]| {
            let colon = text.iter().position(|byte| *byte == b':')?;
            let number: u64 = std::str::from_utf8(&text[..colon]).ok()?.parse().ok()?;
            *text = &text[colon + 1..];
            Some(number)
        };
        let mut rest = text;
        let node = usize::try_from(number(&mut rest)?).ok()?;
        let cursor = number(&mut rest)?.to_string();
        let mut left = Vec::new();
        while !rest.is_empty() {
            let length = usize::try_from(number(&mut rest)?).ok()?;
            let (name, others) = rest.split_at_checked(length)?;
            left.push(name.to_vec());
            rest = others;
        }
        Some(Self { node, cursor, left })
    }
}

fn parse_lost(entry: &Entry) -> Option<LostEntry> {
    let text = |name: &[u8]| std::str::from_utf8(first_value(&entry.fields, name)?).ok();
    Some(LostEntry {
        group: first_value(&entry.fields, b"group")?.to_vec(),
        id: text(b"id")?.parse().ok()?,
        was_pending: text(b"was")? == "pending",
        at: Timestamp(text(b"at")?.parse().ok()?),
    })
}
