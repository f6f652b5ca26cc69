//! The verbs of `Deliveries` that give entries out and list what is pending.

use std::borrow::Cow;
use std::time::Duration;

use weir_core::{
    AutoClaim, AutoClaimed, BoxFuture, Broker, Claim, Delivery, EntryId, Error, ErrorKind, GroupSource,
    PendingQuery, PendingRow, PendingState, PendingSummary, ReadGroup, RestoredRow,
};

use crate::entry::{delivery, failure, read_deliveries, read_failure};
use crate::group::of_group;
use crate::limits::{COUNT_DEFAULT, IDS_MAX, ROWS_MAX};
use crate::value::malformed;
use crate::{Command, Effect, Sink, Value, Verb, Words};

/// `WEIR.READGROUP`: [`weir_core::Deliveries::read_group`].
#[derive(Debug, Clone)]
pub struct ReadAsGroup<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// Who reads what.
    pub options: ReadGroup,
}

impl<'a> Verb<'a> for ReadAsGroup<'a> {
    type Reply = Vec<Delivery>;

    const COMMAND: Command = Command {
        name: "weir.readgroup",
        arity: -4,
        effect: Effect::Writes,
        waits: true,
        syntax: "key group consumer [NEW | RECLAIMED [IDLE min-idle-time] | AVAILABLE [IDLE min-idle-time] | \
                 HISTORY [AFTER id]] [COUNT count] [BLOCK milliseconds] [WHILEPAUSED]",
        summary: "gives a consumer entries of a group: what is new, what is ready or was held too long, both, or what it \
                  holds itself; answers of each its ID, its fields, and the numbers of its delivery, the token first",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(&self.options.group);
        out.word(&self.options.consumer);
        match self.options.source {
            GroupSource::New => out.token("NEW"),
            GroupSource::Reclaimed { idle_min } => {
                out.token("RECLAIMED");
                out.option_millis("IDLE", idle_min);
            }
            GroupSource::Available { idle_min } => {
                out.token("AVAILABLE");
                out.option_millis("IDLE", idle_min);
            }
            GroupSource::History { after } => {
                out.token("HISTORY");
                out.token("AFTER");
                out.id(after);
            }
        }
        out.option_u64("COUNT", Some(self.options.count));
        if let Some(wait) = self.options.wait {
            out.token("BLOCK");
            out.wait(wait);
        }
        out.flag("WHILEPAUSED", self.options.while_paused);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let stream = words.word()?;
        let mut options = ReadGroup {
            group: words.owned()?,
            consumer: words.owned()?,
            source: GroupSource::New,
            count: COUNT_DEFAULT,
            wait: None,
            while_paused: false,
        };
        while !words.is_empty() {
            if let Some(source) = decode_source(words)? {
                options.source = source;
            } else if words.takes("COUNT") {
                options.count = words.u64()?;
            } else if words.takes("BLOCK") {
                options.wait = Some(words.wait()?);
            } else if words.takes("WHILEPAUSED") {
                options.while_paused = true;
            } else {
                return Err(words.unexpected());
            }
        }
        Ok(Self { stream, options })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Vec<Delivery>> {
        broker.read_group(self.stream, self.options.clone())
    }

    fn reply(reply: Vec<Delivery>) -> Value {
        Value::array(reply, delivery)
    }

    fn read_reply(&self, value: Value) -> Result<Vec<Delivery>, Error> {
        read_deliveries(value)
    }
}

fn decode_source(words: &mut Words<'_, '_>) -> Result<Option<GroupSource>, Error> {
    Ok(Some(if words.takes("NEW") {
        GroupSource::New
    } else if words.takes("RECLAIMED") {
        GroupSource::Reclaimed { idle_min: decode_idle(words)? }
    } else if words.takes("AVAILABLE") {
        GroupSource::Available { idle_min: decode_idle(words)? }
    } else if words.takes("HISTORY") {
        GroupSource::History { after: if words.takes("AFTER") { words.id()? } else { EntryId::MIN } }
    } else {
        return Ok(None);
    }))
}

fn decode_idle(words: &mut Words<'_, '_>) -> Result<Option<Duration>, Error> {
    if words.takes("IDLE") { words.millis().map(Some) } else { Ok(None) }
}

/// `WEIR.CLAIM`: [`weir_core::Deliveries::claim`].
#[derive(Debug, Clone)]
pub struct ClaimEntries<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// Who takes what.
    pub options: Claim,
}

impl<'a> Verb<'a> for ClaimEntries<'a> {
    type Reply = Vec<Delivery>;

    const COMMAND: Command = Command {
        name: "weir.claim",
        arity: -5,
        effect: Effect::Writes,
        syntax: "key group consumer min-idle-time [id ...]",
        summary: "gives a consumer pending entries by their IDs, if they are ready or were held for so long; answers as \
                  WEIR.READGROUP",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(&self.options.group);
        out.word(&self.options.consumer);
        out.millis(self.options.idle_min);
        self.options.ids.iter().for_each(|id| out.id(*id));
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let stream = words.word()?;
        let (group, consumer, idle_min) = (words.owned()?, words.owned()?, words.millis()?);
        Ok(Self { stream, options: Claim { group, consumer, idle_min, ids: words.ids(IDS_MAX)? } })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Vec<Delivery>> {
        broker.claim(self.stream, self.options.clone())
    }

    fn reply(reply: Vec<Delivery>) -> Value {
        Value::array(reply, delivery)
    }

    fn read_reply(&self, value: Value) -> Result<Vec<Delivery>, Error> {
        read_deliveries(value)
    }
}

/// `WEIR.AUTOCLAIM`: [`weir_core::Deliveries::auto_claim`].
#[derive(Debug, Clone)]
pub struct AutoClaimEntries<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// Who takes what.
    pub options: AutoClaim,
}

impl<'a> Verb<'a> for AutoClaimEntries<'a> {
    type Reply = AutoClaimed;

    const COMMAND: Command = Command {
        name: "weir.autoclaim",
        arity: -6,
        effect: Effect::Writes,
        syntax: "key group consumer min-idle-time start [COUNT count]",
        summary: "gives a consumer pending entries that are ready or were held for so long; answers where to go on, the \
                  entries as WEIR.READGROUP, and the IDs of rows whose entries are gone",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(&self.options.group);
        out.word(&self.options.consumer);
        out.millis(self.options.idle_min);
        out.id(self.options.start);
        out.option_u64("COUNT", Some(self.options.count));
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let stream = words.word()?;
        let (group, consumer, idle_min) = (words.owned()?, words.owned()?, words.millis()?);
        let start = words.id()?;
        let count = if words.takes("COUNT") { words.u64()? } else { COUNT_DEFAULT };
        words.end()?;
        Ok(Self { stream, options: AutoClaim { group, consumer, idle_min, start, count } })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, AutoClaimed> {
        broker.auto_claim(self.stream, self.options.clone())
    }

    fn reply(reply: AutoClaimed) -> Value {
        Value::Array(vec![
            Value::id(reply.cursor),
            Value::array(reply.deliveries, delivery),
            Value::array(reply.deleted, Value::id),
        ])
    }

    fn read_reply(&self, value: Value) -> Result<AutoClaimed, Error> {
        let [cursor, deliveries, deleted] = value.into_tuple()?;
        Ok(AutoClaimed {
            deliveries: read_deliveries(deliveries)?,
            cursor: cursor.into_id()?,
            deleted: deleted.into_list(Value::into_id)?,
        })
    }
}

of_group! {
    /// `WEIR.PENDING SUMMARY`: [`weir_core::Deliveries::pending_summary`].
    PendingSummaryOf, PendingSummary, pending_summary,
    Command {
        name: "weir.pending|summary",
        arity: 4,
        syntax: "key group",
        summary: "what a group has pending: how many rows, the lowest and the highest ID, and how many each consumer \
                  holds",
        ..Command::BASE
    },
    summary,
    read_summary
}

fn summary(summary: PendingSummary) -> Value {
    Value::Array(vec![
        Value::count(summary.count),
        Value::option(summary.bounds.map(|(lowest, _)| lowest), Value::id),
        Value::option(summary.bounds.map(|(_, highest)| highest), Value::id),
        Value::array(summary.consumers, |(name, held)| {
            Value::Array(vec![Value::Bulk(name), Value::count(held)])
        }),
    ])
}

fn read_summary(value: Value) -> Result<PendingSummary, Error> {
    let [count, lowest, highest, consumers] = value.into_tuple()?;
    let (lowest, highest) = (lowest.into_option(Value::into_id)?, highest.into_option(Value::into_id)?);
    let consumers = consumers.into_list(|value| {
        let [name, held] = value.into_tuple()?;
        Ok((name.into_bytes()?, held.into_u64()?))
    })?;
    Ok(PendingSummary { count: count.into_u64()?, bounds: lowest.zip(highest), consumers })
}

/// `WEIR.PENDING PAGE`: [`weir_core::Deliveries::pending`].
#[derive(Debug, Clone)]
pub struct PendingRows<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group.
    pub group: &'a [u8],
    /// Which rows.
    pub query: PendingQuery,
}

impl<'a> Verb<'a> for PendingRows<'a> {
    type Reply = Vec<PendingRow>;

    const COMMAND: Command = Command {
        name: "weir.pending|page",
        arity: -4,
        syntax: "key group [CONSUMER consumer] [IDLE min-idle-time] [START id] [END id] [COUNT count]",
        summary: "rows of the pending list by ID: the ID, the consumer, the state (in-flight, ready, waiting, or until \
                  when it is delayed), idle milliseconds, deliveries, failures, and the last failure",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        out.option_word("CONSUMER", self.query.consumer.as_deref());
        out.option_millis("IDLE", self.query.idle_min);
        out.token("START");
        out.id(self.query.start);
        out.token("END");
        out.id(self.query.end);
        out.option_u64("COUNT", Some(self.query.count));
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group) = (words.word()?, words.word()?);
        let mut query = PendingQuery {
            consumer: None,
            idle_min: None,
            start: EntryId::MIN,
            end: EntryId::MAX,
            count: COUNT_DEFAULT,
        };
        while !words.is_empty() {
            if words.takes("CONSUMER") {
                query.consumer = Some(words.owned()?);
            } else if words.takes("IDLE") {
                query.idle_min = Some(words.millis()?);
            } else if words.takes("START") {
                query.start = words.id()?;
            } else if words.takes("END") {
                query.end = words.id()?;
            } else if words.takes("COUNT") {
                query.count = words.u64()?;
            } else {
                return Err(words.unexpected());
            }
        }
        Ok(Self { stream, group, query })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Vec<PendingRow>> {
        broker.pending(self.stream, self.group, self.query.clone())
    }

    fn reply(reply: Vec<PendingRow>) -> Value {
        Value::array(reply, |row| {
            let state = match row.state {
                PendingState::InFlight => Value::simple("in-flight"),
                PendingState::Ready => Value::simple("ready"),
                PendingState::Waiting => Value::simple("waiting"),
                PendingState::Delayed { until } => Value::time(until),
            };
            Value::Array(vec![
                Value::id(row.id),
                Value::option(row.consumer, Value::Bulk),
                state,
                Value::millis(row.idle),
                Value::count(row.deliveries),
                Value::count(row.failures),
                Value::option(row.last_failure, failure),
            ])
        })
    }

    fn read_reply(&self, value: Value) -> Result<Vec<PendingRow>, Error> {
        value.into_list(|row| {
            let [id, consumer, state, idle, deliveries, failures, last_failure] = row.into_tuple()?;
            Ok(PendingRow {
                id: id.into_id()?,
                consumer: consumer.into_option(Value::into_bytes)?,
                state: read_state(state)?,
                idle: idle.into_millis()?,
                deliveries: deliveries.into_u64()?,
                failures: failures.into_u64()?,
                last_failure: last_failure.into_option(read_failure)?,
            })
        })
    }
}

fn read_state(value: Value) -> Result<PendingState, Error> {
    let Value::Simple(word) = value else {
        return value.into_time().map(|until| PendingState::Delayed { until });
    };
    match &word[..] {
        "in-flight" => Ok(PendingState::InFlight),
        "ready" => Ok(PendingState::Ready),
        "waiting" => Ok(PendingState::Waiting),
        _ => Err(malformed("a state of a pending row")),
    }
}

/// `WEIR.RESTORE`: [`weir_core::Deliveries::restore_pending`].
#[derive(Debug, Clone)]
pub struct RestorePending<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group.
    pub group: &'a [u8],
    /// The rows.
    pub rows: Cow<'a, [RestoredRow]>,
}

impl<'a> Verb<'a> for RestorePending<'a> {
    type Reply = u64;

    const COMMAND: Command = Command {
        name: "weir.restore",
        arity: -3,
        effect: Effect::Writes,
        syntax: "key group [ROW id [CONSUMER consumer] [IDLE milliseconds] [DELIVERIES count] [FAILURES count] \
                 [DELAY milliseconds] ...]",
        summary: "puts rows on the pending list as they were elsewhere; answers how many",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        for row in &*self.rows {
            out.token("ROW");
            out.id(row.id);
            out.option_word("CONSUMER", row.consumer.as_deref());
            out.option_millis("IDLE", Some(row.idle));
            out.option_u64("DELIVERIES", Some(row.deliveries));
            out.option_u64("FAILURES", Some(row.failures));
            out.option_millis("DELAY", row.delay);
        }
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group) = (words.word()?, words.word()?);
        let mut rows = Vec::new();
        while words.takes("ROW") {
            if rows.len() == ROWS_MAX {
                return Err(ErrorKind::LimitReached("rows restored by one command").into());
            }
            rows.push(decode_row(words)?);
        }
        words.end()?;
        Ok(Self { stream, group, rows: rows.into() })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, u64> {
        broker.restore_pending(self.stream, self.group, &self.rows)
    }

    fn reply(reply: u64) -> Value {
        Value::count(reply)
    }

    fn read_reply(&self, value: Value) -> Result<u64, Error> {
        value.into_u64()
    }
}

fn decode_row(words: &mut Words<'_, '_>) -> Result<RestoredRow, Error> {
    let id = words.id()?;
    let mut row =
        RestoredRow { id, consumer: None, idle: Duration::ZERO, deliveries: 1, failures: 0, delay: None };
    loop {
        if words.takes("CONSUMER") {
            row.consumer = Some(words.owned()?);
        } else if words.takes("IDLE") {
            row.idle = words.millis()?;
        } else if words.takes("DELIVERIES") {
            row.deliveries = words.u64()?;
        } else if words.takes("FAILURES") {
            row.failures = words.u64()?;
        } else if words.takes("DELAY") {
            row.delay = Some(words.millis()?);
        } else {
            return Ok(row);
        }
    }
}
