//! The verbs of `Streams`.

use std::borrow::Cow;

use weir_core::{
    AppendOptions, Appended, BatchOptions, BoxFuture, Broker, Entry, EntryId, Error, ErrorKind, Expected,
    Head, ListStreams, LostEntry, LostPage, LostQuery, NewEntry, Producer, ReadFrom, ReadOptions, Retention,
    StreamInfo, StreamPage, TrimTo, Trimmed,
};

use crate::entry::{entry, read_entry};
use crate::limits::{BATCH_ENTRIES_MAX, COUNT_DEFAULT, FIELDS_MAX, IDS_MAX};
use crate::number::parse_id;
use crate::value::{MapWriter, malformed};
use crate::words::invalid;
use crate::{Command, Effect, Sink, Value, Verb, Words};

/// Names and values that are borrowed.
type Pairs<'a> = Cow<'a, [(&'a [u8], &'a [u8])]>;

/// `WEIR.ADD`: [`weir_core::Streams::append`].
#[derive(Debug, Clone)]
pub struct AppendEntry<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// Names and values.
    pub fields: Pairs<'a>,
    /// How it is appended.
    pub options: AppendOptions,
}

impl<'a> Verb<'a> for AppendEntry<'a> {
    type Reply = Appended;

    const COMMAND: Command = Command {
        name: "weir.add",
        arity: -3,
        effect: Effect::Writes,
        syntax: "key [PRODUCER producer append-id] [EXPECTED <NONE | version>] <* | id> field value [field value ...]",
        summary: "appends an entry, once if its producer repeats it, and only to the version of the stream that is \
                  expected; answers its ID, and whether it was there already",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        if let Some(producer) = &self.options.producer {
            out.token("PRODUCER");
            out.word(&producer.name);
            out.word(&producer.append_id);
        }
        encode_expected(self.options.expected, out);
        encode_new_id(self.options.id, out);
        encode_pairs(&self.fields, out);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let stream = words.word()?;
        let mut options = AppendOptions::default();
        loop {
            if words.takes("PRODUCER") {
                options.producer = Some(Producer { name: words.owned()?, append_id: words.owned()? });
            } else if words.takes("EXPECTED") {
                options.expected = decode_expected(words)?;
            } else {
                break;
            }
        }
        options.id = decode_new_id(words)?;
        if !words.len().is_multiple_of(2) {
            return Err(invalid("a field has a name and a value"));
        }
        let fields = decode_pairs(words, words.len() / 2)?;
        Ok(Self { stream, fields, options })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Appended> {
        broker.append(self.stream, &self.fields, self.options.clone())
    }

    /// With a producer a repeated append is recognised.
    fn is_repeatable(&self) -> bool {
        self.options.producer.is_some()
    }

    fn reply(reply: Appended) -> Value {
        appended(reply)
    }

    fn read_reply(&self, value: Value) -> Result<Appended, Error> {
        read_appended(value)
    }
}

/// One entry of [`AppendBatch`].
#[derive(Debug, Clone)]
pub struct BatchEntry<'a> {
    /// Names and values.
    pub fields: Pairs<'a>,
    /// See [`NewEntry::id`].
    pub id: Option<EntryId>,
    /// See [`NewEntry::append_id`].
    pub append_id: Option<&'a [u8]>,
}

impl<'a> BatchEntry<'a> {
    /// The same, borrowed.
    #[must_use]
    pub fn of(entry: &NewEntry<'a>) -> Self {
        Self { fields: Cow::Borrowed(entry.fields), id: entry.id, append_id: entry.append_id }
    }

    /// As the traits take it.
    #[must_use]
    pub fn as_new(&self) -> NewEntry<'_> {
        NewEntry { fields: &self.fields, id: self.id, append_id: self.append_id }
    }
}

/// `WEIR.ADDBATCH`: [`weir_core::Streams::append_batch`].
#[derive(Debug, Clone)]
pub struct AppendBatch<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The entries.
    pub entries: Vec<BatchEntry<'a>>,
    /// How they are appended.
    pub options: BatchOptions,
}

impl<'a> Verb<'a> for AppendBatch<'a> {
    type Reply = Vec<Appended>;

    const COMMAND: Command = Command {
        name: "weir.addbatch",
        arity: -3,
        effect: Effect::Writes,
        syntax: "key [PRODUCER producer] [EXPECTED <NONE | version>] ENTRIES \
                 [<* | id> [APPENDID append-id] FIELDS numfields field value [field value ...] ...]",
        summary: "appends several entries, all of them or none; answers of each its ID and whether it was there already",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.option_word("PRODUCER", self.options.producer.as_deref());
        encode_expected(self.options.expected, out);
        out.token("ENTRIES");
        for entry in &self.entries {
            encode_new_id(entry.id, out);
            out.option_word("APPENDID", entry.append_id);
            out.token("FIELDS");
            out.u64(entry.fields.len() as u64);
            encode_pairs(&entry.fields, out);
        }
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let stream = words.word()?;
        let mut options = BatchOptions::default();
        while !words.takes("ENTRIES") {
            if words.takes("PRODUCER") {
                options.producer = Some(words.owned()?);
            } else if words.takes("EXPECTED") {
                options.expected = decode_expected(words)?;
            } else {
                return Err(words.unexpected());
            }
        }
        let mut entries = Vec::new();
        while !words.is_empty() {
            if entries.len() == BATCH_ENTRIES_MAX {
                return Err(ErrorKind::LimitReached("entries in one batch").into());
            }
            let id = decode_new_id(words)?;
            let append_id = if words.takes("APPENDID") { Some(words.word()?) } else { None };
            if !words.takes("FIELDS") {
                return Err(words.unexpected());
            }
            let count = words.count(2, FIELDS_MAX)?;
            entries.push(BatchEntry { fields: decode_pairs(words, count)?, id, append_id });
        }
        Ok(Self { stream, entries, options })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Vec<Appended>> {
        Box::pin(async move {
            let entries: Vec<NewEntry<'_>> = self.entries.iter().map(BatchEntry::as_new).collect();
            broker.append_batch(self.stream, &entries, self.options.clone()).await
        })
    }

    /// As [`AppendEntry`].
    fn is_repeatable(&self) -> bool {
        self.options.producer.is_some()
    }

    fn reply(reply: Vec<Appended>) -> Value {
        Value::array(reply, appended)
    }

    fn read_reply(&self, value: Value) -> Result<Vec<Appended>, Error> {
        value.into_list(read_appended)
    }
}

/// `WEIR.READ`: [`weir_core::Streams::read`].
#[derive(Debug, Clone)]
pub struct ReadStream<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// Which entries.
    pub options: ReadOptions,
}

impl<'a> Verb<'a> for ReadStream<'a> {
    type Reply = Vec<Entry>;

    const COMMAND: Command = Command {
        name: "weir.read",
        arity: -2,
        waits: true,
        syntax: "key [START | END | ID id | AFTER id | POSITION position | TIME unix-time-milliseconds] [TO id] \
                 [BACKWARD] [COUNT count] [BLOCK milliseconds]",
        summary: "reads entries of a stream in either direction, by ID, position or time, and waits for the first if \
                  asked to; answers of each its ID, its fields, and when and where it was appended",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        match self.options.from {
            ReadFrom::Start => out.token("START"),
            ReadFrom::End => out.token("END"),
            ReadFrom::Id(id) => {
                out.token("ID");
                out.id(id);
            }
            ReadFrom::After(id) => {
                out.token("AFTER");
                out.id(id);
            }
            ReadFrom::Position(position) => out.option_u64("POSITION", Some(position)),
            ReadFrom::Time(time) => out.option_u64("TIME", Some(time.0)),
        }
        if let Some(to) = self.options.to {
            out.token("TO");
            out.id(to);
        }
        out.flag("BACKWARD", self.options.backward);
        out.option_u64("COUNT", Some(self.options.count));
        if let Some(wait) = self.options.wait {
            out.token("BLOCK");
            out.wait(wait);
        }
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let stream = words.word()?;
        let mut options = ReadOptions {
            from: ReadFrom::Start,
            to: None,
            backward: false,
            count: COUNT_DEFAULT,
            wait: None,
        };
        while !words.is_empty() {
            if let Some(from) = decode_from(words)? {
                options.from = from;
            } else if words.takes("TO") {
                options.to = Some(words.id()?);
            } else if words.takes("BACKWARD") {
                options.backward = true;
            } else if words.takes("COUNT") {
                options.count = words.u64()?;
            } else if words.takes("BLOCK") {
                options.wait = Some(words.wait()?);
            } else {
                return Err(words.unexpected());
            }
        }
        Ok(Self { stream, options })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Vec<Entry>> {
        broker.read(self.stream, self.options)
    }

    fn reply(reply: Vec<Entry>) -> Value {
        Value::array(reply, entry)
    }

    fn read_reply(&self, value: Value) -> Result<Vec<Entry>, Error> {
        value.into_list(read_entry)
    }
}

fn decode_from(words: &mut Words<'_, '_>) -> Result<Option<ReadFrom>, Error> {
    Ok(Some(if words.takes("START") {
        ReadFrom::Start
    } else if words.takes("END") {
        ReadFrom::End
    } else if words.takes("ID") {
        ReadFrom::Id(words.id()?)
    } else if words.takes("AFTER") {
        ReadFrom::After(words.id()?)
    } else if words.takes("POSITION") {
        ReadFrom::Position(words.u64()?)
    } else if words.takes("TIME") {
        ReadFrom::Time(words.time()?)
    } else {
        return Ok(None);
    }))
}

/// A verb whose only argument is a stream.
macro_rules! of_stream {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name<'a> {
            /// The stream.
            pub stream: &'a [u8],
        }

        impl<'a> $name<'a> {
            fn decode_stream(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
                let stream = words.word()?;
                words.end()?;
                Ok(Self { stream })
            }
        }
    };
}

of_stream! {
    /// `WEIR.HEAD`: [`weir_core::Streams::head`].
    HeadOf
}

impl<'a> Verb<'a> for HeadOf<'a> {
    type Reply = Option<Head>;

    const COMMAND: Command = Command {
        name: "weir.head",
        arity: 2,
        summary: "the last ID of a stream and its version, which is the position of the last entry",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        Self::decode_stream(words)
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Option<Head>> {
        broker.head(self.stream)
    }

    fn reply(reply: Option<Head>) -> Value {
        Value::option(reply, |head| {
            Value::Array(vec![Value::id(head.last_id), Value::option(head.version, Value::count)])
        })
    }

    fn read_reply(&self, value: Value) -> Result<Option<Head>, Error> {
        value.into_option(|value| {
            let [last_id, version] = value.into_tuple()?;
            Ok(Head { last_id: last_id.into_id()?, version: version.into_option(Value::into_u64)? })
        })
    }
}

of_stream! {
    /// `WEIR.INFO`: [`weir_core::Streams::stream_info`].
    InfoOf
}

impl<'a> Verb<'a> for InfoOf<'a> {
    type Reply = Option<StreamInfo>;

    const COMMAND: Command = Command {
        name: "weir.info",
        arity: 2,
        summary: "counters of a stream: length, last-id, entries-added, first-id, groups",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        Self::decode_stream(words)
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Option<StreamInfo>> {
        broker.stream_info(self.stream)
    }

    fn reply(reply: Option<StreamInfo>) -> Value {
        Value::option(reply, |info| {
            MapWriter::default()
                .put("length", Value::count(info.length))
                .put("last-id", Value::id(info.last_id))
                .put("entries-added", Value::count(info.entries_added))
                .put("first-id", Value::option(info.first_id, Value::id))
                .put("groups", Value::count(info.groups))
                .done()
        })
    }

    fn read_reply(&self, value: Value) -> Result<Option<StreamInfo>, Error> {
        value.into_option(|value| {
            let mut map = value.into_map()?;
            Ok(StreamInfo {
                length: map.take("length").into_u64()?,
                last_id: map.take("last-id").into_id()?,
                entries_added: map.take("entries-added").into_u64()?,
                first_id: map.take("first-id").into_option(Value::into_id)?,
                groups: map.take("groups").into_u64()?,
            })
        })
    }
}

/// `WEIR.STREAMS`: [`weir_core::Streams::list_streams`].
#[derive(Debug, Clone)]
pub struct ListStreamNames {
    /// Which.
    pub options: ListStreams,
}

impl<'a> Verb<'a> for ListStreamNames {
    type Reply = StreamPage;

    const COMMAND: Command = Command {
        name: "weir.streams",
        arity: -1,
        has_key: false,
        syntax: "[MATCH pattern] [AFTER name] [COUNT count] [SIDE]",
        summary: "names of streams, a page at a time, and where to go on; with SIDE also those of dead letters, lost \
                  entries and alerts",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.option_word("MATCH", Some(&self.options.pattern));
        out.option_word("AFTER", self.options.after.as_deref());
        out.option_u64("COUNT", Some(self.options.count));
        out.flag("SIDE", self.options.with_side_streams);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let mut options = ListStreams {
            pattern: b"*".to_vec(),
            after: None,
            count: COUNT_DEFAULT,
            with_side_streams: false,
        };
        while !words.is_empty() {
            if words.takes("MATCH") {
                options.pattern = words.owned()?;
            } else if words.takes("AFTER") {
                options.after = Some(words.owned()?);
            } else if words.takes("COUNT") {
                options.count = words.u64()?;
            } else if words.takes("SIDE") {
                options.with_side_streams = true;
            } else {
                return Err(words.unexpected());
            }
        }
        Ok(Self { options })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, StreamPage> {
        broker.list_streams(self.options.clone())
    }

    fn reply(reply: StreamPage) -> Value {
        Value::Array(vec![Value::option(reply.next, Value::Bulk), Value::array(reply.names, Value::Bulk)])
    }

    fn read_reply(&self, value: Value) -> Result<StreamPage, Error> {
        let [next, names] = value.into_tuple()?;
        Ok(StreamPage {
            names: names.into_list(Value::into_bytes)?,
            next: next.into_option(Value::into_bytes)?,
        })
    }
}

of_stream! {
    /// `WEIR.DEL`: [`weir_core::Streams::delete_stream`].
    DeleteStream
}

impl<'a> Verb<'a> for DeleteStream<'a> {
    type Reply = bool;

    const COMMAND: Command = Command {
        name: "weir.del",
        arity: 2,
        effect: Effect::Writes,
        summary: "removes a stream with its groups, its retention and its lost entries; its dead letters stay",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        Self::decode_stream(words)
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, bool> {
        broker.delete_stream(self.stream)
    }

    fn reply(reply: bool) -> Value {
        Value::flag(reply)
    }

    fn read_reply(&self, value: Value) -> Result<bool, Error> {
        value.into_flag()
    }
}

/// `WEIR.DELENTRIES`: [`weir_core::Streams::delete_entries`].
#[derive(Debug, Clone)]
pub struct DeleteEntries<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// Which.
    pub ids: Cow<'a, [EntryId]>,
}

impl<'a> Verb<'a> for DeleteEntries<'a> {
    type Reply = u64;

    const COMMAND: Command = Command {
        name: "weir.delentries",
        arity: -2,
        effect: Effect::Writes,
        syntax: "key [id ...]",
        summary: "removes entries from a stream; answers how many there were",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        self.ids.iter().for_each(|id| out.id(*id));
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        Ok(Self { stream: words.word()?, ids: words.ids(IDS_MAX)?.into() })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, u64> {
        broker.delete_entries(self.stream, &self.ids)
    }

    fn reply(reply: u64) -> Value {
        Value::count(reply)
    }

    fn read_reply(&self, value: Value) -> Result<u64, Error> {
        value.into_u64()
    }
}

/// `WEIR.TRIM`: [`weir_core::Streams::trim`].
#[derive(Debug, Clone, Copy)]
pub struct TrimStream<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// What it leaves.
    pub to: TrimTo,
}

impl<'a> Verb<'a> for TrimStream<'a> {
    type Reply = Trimmed;

    const COMMAND: Command = Command {
        name: "weir.trim",
        arity: 4,
        effect: Effect::Writes,
        syntax: "key <LENGTH entries | MINID id | BYTES bytes | TIME unix-time-milliseconds>",
        summary: "removes the oldest entries, but none that a required group has not acknowledged; answers how many it \
                  removed and how many such groups hold",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        match self.to {
            TrimTo::Length(length) => out.option_u64("LENGTH", Some(length)),
            TrimTo::MinId(id) => {
                out.token("MINID");
                out.id(id);
            }
            TrimTo::Bytes(bytes) => out.option_u64("BYTES", Some(bytes)),
            TrimTo::Time(time) => out.option_u64("TIME", Some(time.0)),
        }
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let stream = words.word()?;
        let to = if words.takes("LENGTH") {
            TrimTo::Length(words.u64()?)
        } else if words.takes("MINID") {
            TrimTo::MinId(words.id()?)
        } else if words.takes("BYTES") {
            TrimTo::Bytes(words.u64()?)
        } else if words.takes("TIME") {
            TrimTo::Time(words.time()?)
        } else {
            return Err(words.unexpected());
        };
        words.end()?;
        Ok(Self { stream, to })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Trimmed> {
        broker.trim(self.stream, self.to)
    }

    fn reply(reply: Trimmed) -> Value {
        Value::Array(vec![Value::count(reply.removed), Value::count(reply.held)])
    }

    fn read_reply(&self, value: Value) -> Result<Trimmed, Error> {
        let [removed, held] = value.into_tuple()?;
        Ok(Trimmed { removed: removed.into_u64()?, held: held.into_u64()? })
    }
}

/// `WEIR.RETENTION SET`: [`weir_core::Streams::set_retention`].
#[derive(Debug, Clone, Copy)]
pub struct SetRetention<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// How much is kept.
    pub retention: Option<Retention>,
}

impl<'a> Verb<'a> for SetRetention<'a> {
    type Reply = ();

    const COMMAND: Command = Command {
        name: "weir.retention|set",
        arity: -4,
        effect: Effect::Writes,
        syntax: "key <OFF | LIMITS [LENGTH entries] [BYTES bytes] [AGE milliseconds] [HOLD entries]>",
        summary: "says how much of a stream is kept, and how many entries beyond that for groups that are required",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        let Some(retention) = self.retention else { return out.token("OFF") };
        out.token("LIMITS");
        out.option_u64("LENGTH", retention.length);
        out.option_u64("BYTES", retention.bytes);
        out.option_millis("AGE", retention.age);
        out.option_u64("HOLD", retention.hold);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let stream = words.word()?;
        if words.takes("OFF") {
            words.end()?;
            return Ok(Self { stream, retention: None });
        }
        if !words.takes("LIMITS") {
            return Err(words.unexpected());
        }
        let mut retention = Retention::default();
        while !words.is_empty() {
            if words.takes("LENGTH") {
                retention.length = Some(words.u64()?);
            } else if words.takes("BYTES") {
                retention.bytes = Some(words.u64()?);
            } else if words.takes("AGE") {
                retention.age = Some(words.millis()?);
            } else if words.takes("HOLD") {
                retention.hold = Some(words.u64()?);
            } else {
                return Err(words.unexpected());
            }
        }
        Ok(Self { stream, retention: Some(retention) })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, ()> {
        broker.set_retention(self.stream, self.retention)
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn reply((): ()) -> Value {
        Value::simple("OK")
    }

    fn read_reply(&self, value: Value) -> Result<(), Error> {
        value.into_ok()
    }
}

of_stream! {
    /// `WEIR.RETENTION GET`: [`weir_core::Streams::retention`].
    GetRetention
}

impl<'a> Verb<'a> for GetRetention<'a> {
    type Reply = Option<Retention>;

    const COMMAND: Command = Command {
        name: "weir.retention|get",
        arity: 3,
        summary: "how much of a stream is kept: length, bytes, age, hold; a null when that is everything",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        Self::decode_stream(words)
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Option<Retention>> {
        broker.retention(self.stream)
    }

    fn reply(reply: Option<Retention>) -> Value {
        Value::option(reply, |retention| {
            MapWriter::default()
                .put("length", Value::option(retention.length, Value::count))
                .put("bytes", Value::option(retention.bytes, Value::count))
                .put("age", Value::option(retention.age, Value::millis))
                .put("hold", Value::option(retention.hold, Value::count))
                .done()
        })
    }

    fn read_reply(&self, value: Value) -> Result<Option<Retention>, Error> {
        value.into_option(|value| {
            let mut map = value.into_map()?;
            Ok(Retention {
                length: map.take("length").into_option(Value::into_u64)?,
                bytes: map.take("bytes").into_option(Value::into_u64)?,
                age: map.take("age").into_option(Value::into_millis)?,
                hold: map.take("hold").into_option(Value::into_u64)?,
            })
        })
    }
}

/// `WEIR.LOST`: [`weir_core::Streams::lost`].
#[derive(Debug, Clone)]
pub struct LostEntries<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// Which.
    pub query: LostQuery,
}

impl<'a> Verb<'a> for LostEntries<'a> {
    type Reply = LostPage;

    const COMMAND: Command = Command {
        name: "weir.lost",
        arity: -2,
        syntax: "key [GROUP group] [AFTER id] [COUNT count]",
        summary: "entries that were trimmed before a required group had acknowledged them, and where to go on; of each \
                  the group, its ID, whether it was pending, and when it was trimmed",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.option_word("GROUP", self.query.group.as_deref());
        if let Some(after) = self.query.after {
            out.token("AFTER");
            out.id(after);
        }
        out.option_u64("COUNT", Some(self.query.count));
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let stream = words.word()?;
        let mut query = LostQuery { group: None, after: None, count: COUNT_DEFAULT };
        while !words.is_empty() {
            if words.takes("GROUP") {
                query.group = Some(words.owned()?);
            } else if words.takes("AFTER") {
                query.after = Some(words.id()?);
            } else if words.takes("COUNT") {
                query.count = words.u64()?;
            } else {
                return Err(words.unexpected());
            }
        }
        Ok(Self { stream, query })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, LostPage> {
        broker.lost(self.stream, self.query.clone())
    }

    fn reply(reply: LostPage) -> Value {
        let lost = |entry: LostEntry| {
            Value::Array(vec![
                Value::Bulk(entry.group),
                Value::id(entry.id),
                Value::simple(if entry.was_pending { "pending" } else { "undelivered" }),
                Value::time(entry.at),
            ])
        };
        Value::Array(vec![Value::option(reply.next, Value::id), Value::array(reply.entries, lost)])
    }

    fn read_reply(&self, value: Value) -> Result<LostPage, Error> {
        let [next, entries] = value.into_tuple()?;
        let entries = entries.into_list(|value| {
            let [group, id, was, at] = value.into_tuple()?;
            let was_pending = match &was.into_bytes()?[..] {
                b"pending" => true,
                b"undelivered" => false,
                _ => return Err(malformed("pending or undelivered")),
            };
            Ok(LostEntry { group: group.into_bytes()?, id: id.into_id()?, was_pending, at: at.into_time()? })
        })?;
        Ok(LostPage { entries, next: next.into_option(Value::into_id)? })
    }
}

fn encode_expected(expected: Expected, out: &mut dyn Sink) {
    match expected {
        Expected::Any => {}
        Expected::NoEntries => out.option_word("EXPECTED", Some(b"NONE")),
        Expected::Version(version) => out.option_u64("EXPECTED", Some(version)),
    }
}

fn decode_expected(words: &mut Words<'_, '_>) -> Result<Expected, Error> {
    Ok(if words.takes("NONE") { Expected::NoEntries } else { Expected::Version(words.u64()?) })
}

fn encode_new_id(id: Option<EntryId>, out: &mut dyn Sink) {
    match id {
        Some(id) => out.id(id),
        None => out.token("*"),
    }
}

fn decode_new_id(words: &mut Words<'_, '_>) -> Result<Option<EntryId>, Error> {
    match words.word()? {
        b"*" => Ok(None),
        word => {
            parse_id(word).map(Some).ok_or_else(|| invalid("an entry ID or * is expected before the fields"))
        }
    }
}

fn encode_pairs(pairs: &[(&[u8], &[u8])], out: &mut dyn Sink) {
    for (name, value) in pairs {
        out.word(name);
        out.word(value);
    }
}

fn decode_pairs<'a>(words: &mut Words<'_, 'a>, count: usize) -> Result<Pairs<'a>, Error> {
    if count > FIELDS_MAX {
        return Err(ErrorKind::LimitReached("fields of one entry").into());
    }
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push((words.word()?, words.word()?));
    }
    Ok(pairs.into())
}

fn appended(appended: Appended) -> Value {
    Value::Array(vec![Value::id(appended.id), Value::flag(appended.is_duplicate)])
}

fn read_appended(value: Value) -> Result<Appended, Error> {
    let [id, is_duplicate] = value.into_tuple()?;
    Ok(Appended { id: id.into_id()?, is_duplicate: is_duplicate.into_flag()? })
}
