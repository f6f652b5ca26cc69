//! The verbs of `Deliveries` about dead letters.

use weir_core::{
    BoxFuture, Broker, DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetterQuery, EntryId, Error, Purge,
    Redrive, Redriven,
};

use crate::entry::{failure, fields, read_failure, read_fields};
use crate::limits::{COUNT_DEFAULT, IDS_MAX};
use crate::policy::{decode_conditions, encode_conditions};
use crate::value::MapWriter;
use crate::{Command, Effect, Sink, Value, Verb, Words};

/// The arguments of a filter, as a manual shows them.
macro_rules! filter_syntax {
    () => {
        "[IDS count id [id ...]] [CLASS class] [CONTAINS text] [FILTER numconditions condition ...] [REDRIVES max]"
    };
}

/// `WEIR.DLQ LIST`: [`weir_core::Deliveries::dead_letters`].
#[derive(Debug, Clone)]
pub struct DeadLetters<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group that failed.
    pub group: &'a [u8],
    /// Which.
    pub query: DeadLetterQuery,
}

impl<'a> Verb<'a> for DeadLetters<'a> {
    type Reply = DeadLetterPage;

    const COMMAND: Command = Command {
        name: "weir.dlq|list",
        arity: -4,
        syntax: concat!("key group ", filter_syntax!(), " [AFTER id] [COUNT count]"),
        summary: "where to go on, and the dead letters of a group, the oldest first: each a copy of the entry and what \
                  became of it",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        encode_filter(&self.query.filter, out);
        out.token("AFTER");
        out.id(self.query.after);
        out.option_u64("COUNT", Some(self.query.count));
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group) = (words.word()?, words.word()?);
        let mut query = DeadLetterQuery {
            filter: DeadLetterFilter::default(),
            after: EntryId::MIN,
            count: COUNT_DEFAULT,
        };
        while !words.is_empty() {
            if words.takes("AFTER") {
                query.after = words.id()?;
            } else if words.takes("COUNT") {
                query.count = words.u64()?;
            } else {
                decode_filter(words, &mut query.filter)?;
            }
        }
        Ok(Self { stream, group, query })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, DeadLetterPage> {
        broker.dead_letters(self.stream, self.group, self.query.clone())
    }

    fn reply(reply: DeadLetterPage) -> Value {
        Value::Array(vec![Value::option(reply.next, Value::id), Value::array(reply.letters, letter)])
    }

    fn read_reply(&self, value: Value) -> Result<DeadLetterPage, Error> {
        let [next, letters] = value.into_tuple()?;
        Ok(DeadLetterPage {
            letters: letters.into_list(read_letter)?,
            next: next.into_option(Value::into_id)?,
        })
    }
}

/// `WEIR.DLQ PEEK`: one dead letter, by the ID of its entry.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetterPeek<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group that failed.
    pub group: &'a [u8],
    /// The entry, by the ID in its stream.
    pub entry_id: EntryId,
}

impl<'a> Verb<'a> for DeadLetterPeek<'a> {
    type Reply = Option<DeadLetter>;

    const COMMAND: Command = Command {
        name: "weir.dlq|peek",
        arity: 5,
        syntax: "key group id",
        summary: "the oldest dead letter of an entry, by the ID that the entry has in its stream; a null when there is \
                  none",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        out.id(self.entry_id);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group, entry_id) = (words.word()?, words.word()?, words.id()?);
        words.end()?;
        Ok(Self { stream, group, entry_id })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Option<DeadLetter>> {
        Box::pin(async move {
            let filter = DeadLetterFilter { entry_ids: vec![self.entry_id], ..DeadLetterFilter::default() };
            let mut after = EntryId::MIN;
            loop {
                let query = DeadLetterQuery { filter: filter.clone(), after, count: 1 };
                let page = broker.dead_letters(self.stream, self.group, query).await?;
                match (page.letters.into_iter().next(), page.next) {
                    (None, Some(next)) => after = next,
                    (found, _) => return Ok(found),
                }
            }
        })
    }

    fn reply(reply: Option<DeadLetter>) -> Value {
        Value::option(reply, letter)
    }

    fn read_reply(&self, value: Value) -> Result<Option<DeadLetter>, Error> {
        value.into_option(read_letter)
    }
}

/// `WEIR.DLQ REDRIVE`: [`weir_core::Deliveries::redrive`].
#[derive(Debug, Clone)]
pub struct RedriveDeadLetters<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group that failed.
    pub group: &'a [u8],
    /// Which.
    pub options: Redrive,
}

impl<'a> Verb<'a> for RedriveDeadLetters<'a> {
    type Reply = Redriven;

    const COMMAND: Command = Command {
        name: "weir.dlq|redrive",
        arity: -4,
        effect: Effect::Writes,
        syntax: concat!("key group ", filter_syntax!(), " [COUNT count] [DRYRUN]"),
        summary: "hands dead letters back to the group that failed, and to no other; answers the IDs of the entries, \
                  those of entries that are gone, and how many dead letters are left",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        encode_chosen(&self.options.filter, self.options.count, self.options.dry_run, out);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group) = (words.word()?, words.word()?);
        let (filter, count, dry_run) = decode_chosen(words)?;
        Ok(Self { stream, group, options: Redrive { filter, count, dry_run } })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, Redriven> {
        broker.redrive(self.stream, self.group, self.options.clone())
    }

    fn reply(reply: Redriven) -> Value {
        Value::Array(vec![
            Value::array(reply.entry_ids, Value::id),
            Value::array(reply.gone, Value::id),
            Value::count(reply.left),
        ])
    }

    fn read_reply(&self, value: Value) -> Result<Redriven, Error> {
        let [entry_ids, gone, left] = value.into_tuple()?;
        Ok(Redriven {
            entry_ids: entry_ids.into_list(Value::into_id)?,
            gone: gone.into_list(Value::into_id)?,
            left: left.into_u64()?,
        })
    }
}

/// `WEIR.DLQ PURGE`: [`weir_core::Deliveries::purge_dead_letters`].
#[derive(Debug, Clone)]
pub struct PurgeDeadLetters<'a> {
    /// The stream.
    pub stream: &'a [u8],
    /// The group that failed.
    pub group: &'a [u8],
    /// Which.
    pub options: Purge,
}

impl<'a> Verb<'a> for PurgeDeadLetters<'a> {
    type Reply = u64;

    const COMMAND: Command = Command {
        name: "weir.dlq|purge",
        arity: -4,
        effect: Effect::Writes,
        syntax: concat!("key group ", filter_syntax!(), " [COUNT count] [DRYRUN]"),
        summary: "removes dead letters for good; answers how many",
        ..Command::BASE
    };

    fn encode(&self, out: &mut dyn Sink) {
        out.word(self.stream);
        out.word(self.group);
        encode_chosen(&self.options.filter, self.options.count, self.options.dry_run, out);
    }

    fn decode(words: &mut Words<'_, 'a>) -> Result<Self, Error> {
        let (stream, group) = (words.word()?, words.word()?);
        let (filter, count, dry_run) = decode_chosen(words)?;
        Ok(Self { stream, group, options: Purge { filter, count, dry_run } })
    }

    fn run<'b>(&'b self, broker: &'b dyn Broker) -> BoxFuture<'b, u64> {
        broker.purge_dead_letters(self.stream, self.group, self.options.clone())
    }

    fn reply(reply: u64) -> Value {
        Value::count(reply)
    }

    fn read_reply(&self, value: Value) -> Result<u64, Error> {
        value.into_u64()
    }
}

fn encode_chosen(filter: &DeadLetterFilter, count: u64, dry_run: bool, out: &mut dyn Sink) {
    encode_filter(filter, out);
    out.option_u64("COUNT", Some(count));
    out.flag("DRYRUN", dry_run);
}

fn decode_chosen(words: &mut Words<'_, '_>) -> Result<(DeadLetterFilter, u64, bool), Error> {
    let (mut filter, mut count, mut dry_run) = (DeadLetterFilter::default(), COUNT_DEFAULT, false);
    while !words.is_empty() {
        if words.takes("COUNT") {
            count = words.u64()?;
        } else if words.takes("DRYRUN") {
            dry_run = true;
        } else {
            decode_filter(words, &mut filter)?;
        }
    }
    Ok((filter, count, dry_run))
}

fn encode_filter(filter: &DeadLetterFilter, out: &mut dyn Sink) {
    if !filter.entry_ids.is_empty() {
        out.option_u64("IDS", Some(filter.entry_ids.len() as u64));
        filter.entry_ids.iter().for_each(|id| out.id(*id));
    }
    out.option_word("CLASS", filter.class.as_deref());
    out.option_word("CONTAINS", filter.reason_contains.as_deref());
    if !filter.conditions.is_empty() {
        out.token("FILTER");
        encode_conditions(&filter.conditions, out);
    }
    out.option_u64("REDRIVES", filter.redrives_max.map(u64::from));
}

/// Reads one option of a filter.
fn decode_filter(words: &mut Words<'_, '_>, filter: &mut DeadLetterFilter) -> Result<(), Error> {
    if words.takes("IDS") {
        let count = words.count(1, IDS_MAX)?;
        filter.entry_ids = (0..count).map(|_| words.id()).collect::<Result<_, _>>()?;
    } else if words.takes("CLASS") {
        filter.class = Some(words.owned()?);
    } else if words.takes("CONTAINS") {
        filter.reason_contains = Some(words.owned()?);
    } else if words.takes("FILTER") {
        filter.conditions = decode_conditions(words)?;
    } else if words.takes("REDRIVES") {
        filter.redrives_max = Some(words.u32()?);
    } else {
        return Err(words.unexpected());
    }
    Ok(())
}

fn letter(letter: DeadLetter) -> Value {
    MapWriter::default()
        .put("id", Value::id(letter.id))
        .put("entry-id", Value::id(letter.entry_id))
        .put("fields", fields(letter.fields))
        .put("consumer", Value::option(letter.consumer, Value::Bulk))
        .put("deliveries", Value::count(letter.deliveries))
        .put("failures", Value::count(letter.failures))
        .put("first-failure", Value::option(letter.first_failure, failure))
        .put("last-failure", failure(letter.last_failure))
        .put("redrives", Value::count(letter.redrives.into()))
        .done()
}

fn read_letter(value: Value) -> Result<DeadLetter, Error> {
    let mut map = value.into_map()?;
    Ok(DeadLetter {
        id: map.take("id").into_id()?,
        entry_id: map.take("entry-id").into_id()?,
        fields: read_fields(map.take("fields"))?,
        consumer: map.take("consumer").into_option(Value::into_bytes)?,
        deliveries: map.take("deliveries").into_u64()?,
        failures: map.take("failures").into_u64()?,
        first_failure: map.take("first-failure").into_option(read_failure)?,
        last_failure: read_failure(map.take("last-failure"))?,
        redrives: map.take("redrives").into_u32()?,
    })
}
