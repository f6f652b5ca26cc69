//! A small broker interface for programs that move over from a local stream broker: the same verbs, the same defaults,
//! replies that forgive (no error where a stream or group is missing), and any JSON value as the data of a message.
//!
//! | here | there |
//! |---|---|
//! | [`Simple::create_group`] … [`Simple::scan_streams`] | `createGroup` … `scanStreams`; the rest is called the same |
//! | `None` for a count or a start | the default of the argument |
//! | `block_ms`: `Some(0)` does not wait, `None` waits for ever | the same: `0`, `null`. (`BLOCK 0` of Redis is the opposite.) |
//!
//! What is different, for good: a group has a policy. An entry that was given out 20 times and never acknowledged becomes
//! a dead letter; and the automatic trimming to [`Simple::MAX_STREAM_LENGTH`] never takes what a group has not
//! acknowledged.
//!
//! A message is stored as one field `data`, the JSON text, and is read back as it was; of an object whose `type` is a
//! text that is a field as well, so that filters see it. An entry that others have written is an object of its fields.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value};
use weir_core::{
    AppendOptions, Broker, Claim, CreateGroup, Entry, EntryId, Error, ErrorKind, GroupInfo, GroupOrigin,
    GroupSource, ListStreams, PendingFate, PendingQuery, PendingRow, PendingState, Policy, ReadFrom,
    ReadGroup, ReadOptions, Retention, Settle, Settled, Settlement, TrimTo,
};

use crate::Time;

/// A message of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamMessage {
    /// Its ID.
    pub id: String,
    /// What it says.
    pub data: Value,
    /// When it was added, in seconds since 1970.
    pub timestamp: f64,
    /// How often it was given out; only where it was claimed.
    pub delivery_count: Option<u64>,
}

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerInfo {
    /// Its name.
    pub name: String,
    /// Messages it holds.
    pub pending: u64,
    /// When it last asked for messages, in seconds since 1970.
    pub last_activity: f64,
}

/// A group of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerGroupInfo {
    /// Its name.
    pub name: String,
    /// Its consumers, by name.
    pub consumers: Vec<ConsumerInfo>,
    /// The last ID it was given.
    pub last_delivered_id: String,
    /// Messages that were given out and not acknowledged.
    pub total_pending: u64,
    /// Messages it was not given yet.
    pub lag: u64,
}

/// The interface. See the [module](self).
pub struct Simple {
    broker: Arc<dyn Broker>,
    time: Time,
    max_stream_length: Option<u64>,
    /// Streams whose length is known to be limited; the newest so many.
    limited: Mutex<HashSet<Vec<u8>>>,
}

/// Names that [`Simple::limited`] remembers.
const LIMITED_MAX: usize = 10_000;
/// Rows and streams that are listed at a time.
const PAGE: u64 = 1_000;
/// Longer than anything is idle.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

impl Simple {
    /// How long a stream gets unless it has a retention of its own.
    pub const MAX_STREAM_LENGTH: u64 = 10_000;

    /// The interface over a broker.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self {
            broker,
            time: Time::system(),
            max_stream_length: Some(Self::MAX_STREAM_LENGTH),
            limited: Mutex::default(),
        }
    }

    /// Another length; `None` = streams are not trimmed.
    #[must_use]
    pub fn max_stream_length(mut self, length: Option<u64>) -> Self {
        self.max_stream_length = length;
        self
    }

    /// Where the time comes from; for tests.
    #[must_use]
    pub fn time(mut self, time: Time) -> Self {
        self.time = time;
        self
    }

    /// Adds a message; its ID. A missing stream is made.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn xadd(&self, stream: &str, data: Value) -> Result<String, Error> {
        let text = data.to_string();
        let mut fields: Vec<(&[u8], &[u8])> = vec![(b"data", text.as_bytes())];
        if let Some(Value::String(kind)) = data.get("type") {
            fields.insert(0, (b"type", kind.as_bytes()));
        }
        // First the limit: an error behind the append would have the message added again.
        self.limit(stream.as_bytes()).await?;
        let appended = self.broker.append(stream.as_bytes(), &fields, AppendOptions::default()).await?;
        Ok(appended.id.to_string())
    }

    /// Makes a group that starts at an ID: `0` = with the first message, `$` (the default) = with what comes from now
    /// on. A group that exists stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is no ID; what the broker answers.
    pub async fn create_group(&self, stream: &str, group: &str, start_id: Option<&str>) -> Result<(), Error> {
        let origin = match start_id.unwrap_or("$") {
            "$" => GroupOrigin::End,
            "0" | "0-0" => GroupOrigin::Beginning,
            id => GroupOrigin::After(parse(id)?),
        };
        let policy = Policy { required: true, ..Policy::recommended() };
        let created =
            self.broker.create_group(stream.as_bytes(), group.as_bytes(), CreateGroup { origin, policy });
        match created.await {
            Err(error) if *error.kind() == ErrorKind::GroupExists => {
                tracing::warn!(stream, group, "the group exists and stays as it is");
                Ok(())
            }
            created => created.map(drop),
        }
    }

    /// Ends a group; a missing one is no error.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn delete_group(&self, stream: &str, group: &str) -> Result<(), Error> {
        forgiving(self.broker.delete_group(stream.as_bytes(), group.as_bytes()).await.map(drop))
    }

    /// Removes a consumer; how many messages it held. Nobody is given those again.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn delete_consumer(&self, stream: &str, group: &str, consumer: &str) -> Result<u64, Error> {
        let (stream, group, consumer) = (stream.as_bytes(), group.as_bytes(), consumer.as_bytes());
        forgiving(self.broker.delete_consumer(stream, group, consumer, PendingFate::Drop).await)
    }

    /// Gives a consumer messages, one unless said otherwise. `block_ms`: `Some(0)` does not wait, `None` waits for ever.
    /// Without the stream or the group there are none, at once.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn xreadgroup(
        &self,
        group: &str,
        consumer: &str,
        stream: &str,
        count: Option<u64>,
        block_ms: Option<u64>,
    ) -> Result<Vec<StreamMessage>, Error> {
        let wait = match block_ms {
            Some(0) => None,
            Some(millis) => Some(Duration::from_millis(millis)),
            None => Some(Duration::MAX),
        };
        let read = ReadGroup {
            group: group.as_bytes().to_vec(),
            consumer: consumer.as_bytes().to_vec(),
            // What was redriven or handed back comes again; what others hold is for `xautoclaim`.
            source: GroupSource::Available { idle_min: Some(NEVER) },
            count: count.unwrap_or(1),
            wait,
            while_paused: false,
        };
        let deliveries = forgiving(self.broker.read_group(stream.as_bytes(), read).await)?;
        Ok(deliveries.iter().map(|delivery| message(&delivery.entry)).collect())
    }

    /// Acknowledges messages; how many were pending.
    ///
    /// # Errors
    /// What the broker answers. What is no ID is not pending.
    pub async fn xack(&self, stream: &str, group: &str, ids: &[&str]) -> Result<u64, Error> {
        let ids = ids.iter().filter_map(|id| parse(id).ok());
        let settles: Vec<_> = ids.map(|id| Settle { id, token: None, settlement: Settlement::Ack }).collect();
        let settled = forgiving(self.broker.settle(stream.as_bytes(), group.as_bytes(), &settles).await)?;
        Ok(settled.into_iter().filter(|settled| *settled == Settled::Done).count() as u64)
    }

    /// The messages that a group, or one consumer of it, has pending; without those that are no longer in the stream.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn xpending(
        &self,
        stream: &str,
        group: &str,
        consumer: Option<&str>,
    ) -> Result<Vec<StreamMessage>, Error> {
        let rows = self.rows(stream, group, consumer, None).await?;
        let mut messages = Vec::new();
        for row in rows.iter().filter(|row| row.state != PendingState::Waiting) {
            messages.extend(self.entry(stream, row.id).await?.as_ref().map(message));
        }
        Ok(messages)
    }

    /// Takes over messages that *other* consumers have held for so long; one unless said otherwise.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn xautoclaim(
        &self,
        stream: &str,
        group: &str,
        consumer: &str,
        min_idle_ms: u64,
        count: Option<u64>,
    ) -> Result<Vec<StreamMessage>, Error> {
        let idle_min = Duration::from_millis(min_idle_ms);
        let rows = self.rows(stream, group, None, Some(idle_min)).await?;
        let of_others =
            rows.iter().filter(|row| row.consumer.as_deref().is_some_and(|name| name != consumer.as_bytes()));
        let wanted = usize::try_from(count.unwrap_or(1)).unwrap_or(usize::MAX);
        let ids: Vec<_> = of_others.map(|row| row.id).take(wanted).collect();
        let (group, consumer) = (group.as_bytes().to_vec(), consumer.as_bytes().to_vec());
        let claim = Claim { group, consumer, idle_min, ids };
        let deliveries = forgiving(self.broker.claim(stream.as_bytes(), claim).await)?;
        let claimed = deliveries.iter().map(|delivery| StreamMessage {
            delivery_count: Some(delivery.deliveries),
            ..message(&delivery.entry)
        });
        Ok(claimed.collect())
    }

    /// Messages in a stream.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn xlen(&self, stream: &str) -> Result<u64, Error> {
        Ok(self.broker.stream_info(stream.as_bytes()).await?.map_or(0, |info| info.length))
    }

    /// Removes the oldest messages beyond so many, but none that a group has not acknowledged; how many went.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn xtrim(&self, stream: &str, max_len: u64) -> Result<u64, Error> {
        Ok(self.broker.trim(stream.as_bytes(), TrimTo::Length(max_len)).await?.removed)
    }

    /// The groups of a stream.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn get_group_info(&self, stream: &str) -> Result<Vec<ConsumerGroupInfo>, Error> {
        let mut groups = Vec::new();
        for info in self.broker.groups(stream.as_bytes()).await? {
            groups.extend(self.described(stream, info).await?);
        }
        Ok(groups)
    }

    /// One group of a stream, if there is one.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn get_stream_group_info(
        &self,
        stream: &str,
        group: &str,
    ) -> Result<Option<ConsumerGroupInfo>, Error> {
        match forgiving(self.broker.group_info(stream.as_bytes(), group.as_bytes()).await)? {
            Some(info) => self.described(stream, info).await,
            None => Ok(None),
        }
    }

    /// Messages from one ID to another, both included; `-` and `+` are the ends.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is no ID; what the broker answers.
    pub async fn xrange(
        &self,
        stream: &str,
        min: &str,
        max: &str,
        count: Option<u64>,
    ) -> Result<Vec<StreamMessage>, Error> {
        let from = if min == "-" { ReadFrom::Start } else { ReadFrom::Id(parse(min)?) };
        let to = match max {
            "+" => None,
            id => Some(EntryId::parse(id.as_bytes(), u64::MAX).map_err(|_| no_id(id))?),
        };
        let count = count.unwrap_or(u64::MAX);
        let options = ReadOptions { from, to, backward: false, count, wait: None };
        Ok(self.broker.read(stream.as_bytes(), options).await?.iter().map(message).collect())
    }

    /// Removes messages; how many there were.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn xdel(&self, stream: &str, ids: &[&str]) -> Result<u64, Error> {
        let ids: Vec<_> = ids.iter().filter_map(|id| parse(id).ok()).collect();
        self.broker.delete_entries(stream.as_bytes(), &ids).await
    }

    /// Streams whose names match; `*` stands for anything, every other sign for itself.
    ///
    /// # Errors
    /// What the broker answers.
    pub async fn scan_streams(&self, pattern: &str) -> Result<Vec<String>, Error> {
        let mut glob = Vec::new();
        for byte in pattern.bytes() {
            if b"?[]\\".contains(&byte) {
                glob.push(b'\\');
            }
            glob.push(byte);
        }
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let options = ListStreams { pattern: glob.clone(), after, count: PAGE, with_side_streams: false };
            let page = self.broker.list_streams(options).await?;
            names.extend(page.names.iter().map(|name| String::from_utf8_lossy(name).into_owned()));
            after = page.next;
            if after.is_none() {
                names.sort();
                names.dedup();
                return Ok(names);
            }
        }
    }

    /// Sees to it that a stream has a limit.
    async fn limit(&self, stream: &[u8]) -> Result<(), Error> {
        let Some(length) = self.max_stream_length else { return Ok(()) };
        if self.limited().contains(stream) {
            return Ok(());
        }
        if self.broker.retention(stream).await?.is_none() {
            let retention = Retention { length: Some(length), ..Retention::default() };
            self.broker.set_retention(stream, Some(retention)).await?;
        }
        let mut limited = self.limited();
        if limited.len() >= LIMITED_MAX {
            limited.clear();
        }
        limited.insert(stream.to_vec());
        Ok(())
    }

    fn limited(&self) -> std::sync::MutexGuard<'_, HashSet<Vec<u8>>> {
        self.limited.lock().expect("nothing panics under this lock")
    }

    /// All rows of a group or one consumer.
    async fn rows(
        &self,
        stream: &str,
        group: &str,
        consumer: Option<&str>,
        idle_min: Option<Duration>,
    ) -> Result<Vec<PendingRow>, Error> {
        let consumer = consumer.map(|name| name.as_bytes().to_vec());
        let (mut rows, mut start) = (Vec::new(), EntryId::MIN);
        loop {
            let query =
                PendingQuery { consumer: consumer.clone(), idle_min, start, end: EntryId::MAX, count: PAGE };
            let page = forgiving(self.broker.pending(stream.as_bytes(), group.as_bytes(), query).await)?;
            let next = page.last().and_then(|row| row.id.next()).filter(|_| page.len() as u64 == PAGE);
            rows.extend(page);
            match next {
                Some(next) => start = next,
                None => return Ok(rows),
            }
        }
    }

    async fn entry(&self, stream: &str, id: EntryId) -> Result<Option<Entry>, Error> {
        let options =
            ReadOptions { from: ReadFrom::Id(id), to: Some(id), backward: false, count: 1, wait: None };
        Ok(self.broker.read(stream.as_bytes(), options).await?.pop())
    }

    /// A group with its consumers; `None` when it has gone meanwhile.
    async fn described(&self, stream: &str, info: GroupInfo) -> Result<Option<ConsumerGroupInfo>, Error> {
        let consumers = self.broker.consumers(stream.as_bytes(), &info.name).await;
        let lag = self.broker.lag(stream.as_bytes(), &info.name).await;
        let (consumers, lag) = match (consumers, lag) {
            (Ok(consumers), Ok(lag)) => (consumers, lag),
            (Err(error), _) | (_, Err(error)) if *error.kind() == ErrorKind::NoSuchGroup => return Ok(None),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let now = seconds(self.time.now().0);
        let consumers = consumers.into_iter().map(|consumer| ConsumerInfo {
            name: String::from_utf8_lossy(&consumer.name).into_owned(),
            pending: consumer.pending,
            last_activity: now - consumer.idle.as_secs_f64(),
        });
        Ok(Some(ConsumerGroupInfo {
            name: String::from_utf8_lossy(&info.name).into_owned(),
            consumers: consumers.collect(),
            last_delivered_id: info.last_delivered_id.to_string(),
            total_pending: info.pending,
            lag: lag.undelivered,
        }))
    }
}

impl fmt::Debug for Simple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simple").field("max_stream_length", &self.max_stream_length).finish_non_exhaustive()
    }
}

/// A missing stream or group has nothing.
fn forgiving<T: Default>(answer: Result<T, Error>) -> Result<T, Error> {
    match answer {
        Err(error) if matches!(error.kind(), ErrorKind::NoSuchGroup | ErrorKind::NoSuchStream) => {
            Ok(T::default())
        }
        answer => answer,
    }
}

fn message(entry: &Entry) -> StreamMessage {
    StreamMessage {
        id: entry.id.to_string(),
        data: own_data(entry).unwrap_or_else(|| object_of(entry)),
        timestamp: seconds(entry.appended_at.0),
        delivery_count: None,
    }
}

/// What [`Simple::xadd`] wrote; `None` when others did, who may have a field `data` beside more.
fn own_data(entry: &Entry) -> Option<Value> {
    let (kind, text) = match &*entry.fields {
        [(data, text)] if data == b"data" => (None, text),
        [(name, kind), (data, text)] if name == b"type" && data == b"data" => (Some(kind), text),
        _ => return None,
    };
    let data: Value = serde_json::from_slice(text).ok()?;
    let is_own = kind.is_none_or(|kind| data["type"].as_str().is_some_and(|text| text.as_bytes() == kind));
    is_own.then_some(data)
}

/// The fields of a foreign entry as an object; of several of one name the first counts.
fn object_of(entry: &Entry) -> Value {
    let mut object = Map::new();
    for (name, value) in &entry.fields {
        let value = || Value::String(String::from_utf8_lossy(value).into_owned());
        object.entry(String::from_utf8_lossy(name)).or_insert_with(value);
    }
    Value::Object(object)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are below 2^53 for a long time")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

fn parse(id: &str) -> Result<EntryId, Error> {
    EntryId::parse(id.as_bytes(), 0).map_err(|_| no_id(id))
}

fn no_id(id: &str) -> Error {
    Error::new(ErrorKind::Invalid("an ID is ms-seq")).with_context(format!("{id:?} is none"))
}
