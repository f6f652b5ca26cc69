//! Turning replies into bytes, after the flush of their turn.
//!
//! Entries are fetched from the log here: their bytes are written by now, and the engine's lock is free.
//!
//! Invariant: one rendering fetches [`FETCHED_MAX`] bytes of entries at most, and the entry that passes that mark.

use std::ops::ControlFlow;

use weir_core::{Error, Failure, Timestamp};
use weir_engine::{Delivery, Engine, Entries, EntryFields, EntryRef, Given, StreamEntries};
use weir_resp::{Proto, Writer};
use weir_wire::{DeliveryNumbers, EntryNumbers};

use super::errors;
use super::reply::{Reply, StreamsReply};

/// Bytes of entries after which a rendering ends.
pub(crate) const FETCHED_MAX: usize = 64 * 1024;

/// Where the fields of entries come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) engine: &'a Engine,
    /// Whether the disk may be waited for. The reactor never does.
    pub(crate) may_wait: bool,
}

/// Why entries could not be rendered.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The disk would have to be waited for.
    Cold,
    /// They are more than one rendering may fetch.
    Long,
    /// They cannot be fetched.
    Failed(Error),
}

/// How far a rendering came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rendered {
    /// As far as was wanted.
    Done,
    /// To where the disk would have to be waited for.
    Cold,
    /// Not to the end: it has to be rendered in pieces.
    Long,
}

/// Writes a reply to the end of `out`; an error reply instead where its entries cannot be fetched, and nothing where
/// the disk would have to be waited for or it is too long.
pub(crate) fn render(reply: &Reply, proto: Proto, source: Source<'_>, out: &mut Vec<u8>) -> Rendered {
    let start = out.len();
    match Renderer::new(out, proto, source).reply(reply) {
        Ok(()) => return Rendered::Done,
        Err(Fault::Cold) => {
            out.truncate(start);
            return Rendered::Cold;
        }
        Err(Fault::Long) => {
            out.truncate(start);
            return Rendered::Long;
        }
        Err(Fault::Failed(error)) => {
            out.truncate(start);
            Writer::new(out, proto).error(errors::text(&error));
        }
    }
    Rendered::Done
}

/// Writes replies and their parts.
pub(crate) struct Renderer<'a> {
    pub(crate) writer: Writer<'a>,
    pub(crate) source: Source<'a>,
    /// Bytes of entries that may still be fetched; the last entry may be longer.
    left: usize,
}

impl<'a> Renderer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, proto: Proto, source: Source<'a>) -> Self {
        Self { writer: Writer::new(out, proto), source, left: FETCHED_MAX }
    }

    fn reply(&mut self, reply: &Reply) -> Result<(), Fault> {
        let writer = &mut self.writer;
        match reply {
            Reply::Ok => writer.ok(),
            Reply::Simple(text) => writer.simple(text),
            Reply::Line(text) => writer.simple(text),
            Reply::Int(value) => writer.int(*value),
            Reply::Id(id) => writer.entry_id(id.ms, id.seq),
            Reply::Text(text) => writer.bulk(text),
            Reply::Bulk(bytes) => writer.bulk(bytes),
            Reply::BulkInt(value) => writer.bulk_int(*value),
            Reply::Double(value) => writer.double(*value),
            Reply::Null => writer.null(),
            Reply::NullArray => writer.null_array(),
            Reply::Error(text) => writer.error(text),
            Reply::Verbatim(text) => writer.verbatim(&**text),
            Reply::Array(items) => {
                writer.array(items.len());
                return self.all(items);
            }
            Reply::Map(items) => {
                writer.map(items.len() / 2);
                return self.all(items);
            }
            Reply::Set(items) => {
                writer.set(items.len());
                return self.all(items);
            }
            Reply::Ids(ids) => {
                writer.array(ids.len());
                ids.iter().for_each(|id| writer.entry_id(id.ms, id.seq));
            }
            Reply::Entries(entries) => return self.entries(entries),
            Reply::Given(given) => {
                writer.array(given.len());
                return all_of(given.len(), self.bare_given(given)?);
            }
            Reply::Entry(entry) => return self.all_entries(std::slice::from_ref(entry)),
            Reply::Streams(streams) => return self.streams(streams),
            Reply::Raw(bytes) => writer.raw(bytes),
            Reply::Shared(bytes) => writer.raw(bytes),
            Reply::In(proto, reply) => return self.in_protocol(*proto, reply),
            Reply::Nothing => {}
        }
        Ok(())
    }

    fn all(&mut self, items: &[Reply]) -> Result<(), Fault> {
        items.iter().try_for_each(|item| self.reply(item))
    }

    fn in_protocol(&mut self, proto: Proto, reply: &Reply) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        Renderer::new(&mut bytes, proto, self.source).reply(reply)?;
        self.writer.raw(&bytes);
        Ok(())
    }

    fn streams(&mut self, streams: &StreamsReply) -> Result<(), Fault> {
        self.streams_head(streams.outcome.streams.len());
        for StreamEntries { stream, entries } in &streams.outcome.streams {
            let name = streams.request.stream_name(*stream);
            match entries {
                Entries::Plain(entries) => {
                    self.stream_head(name, entries.len());
                    self.all_entries(entries)?;
                }
                Entries::Given(given) => {
                    let entries: Vec<EntryRef> = given.iter().map(|given| given.entry).collect();
                    self.stream_head(name, entries.len());
                    self.all_entries(&entries)?;
                }
                Entries::Claimed(deliveries) => {
                    self.stream_head(name, deliveries.len());
                    all_of(deliveries.len(), self.bare_deliveries(deliveries)?)?;
                }
            }
        }
        Ok(())
    }

    /// What stands before the streams of a read.
    pub(crate) fn streams_head(&mut self, streams: usize) {
        match self.writer.proto() {
            Proto::Resp2 => self.writer.array(streams),
            Proto::Resp3 => self.writer.map(streams),
        }
    }

    /// What stands before the entries of one stream of a read.
    pub(crate) fn stream_head(&mut self, name: &[u8], entries: usize) {
        if self.writer.proto() == Proto::Resp2 {
            self.writer.array(2);
        }
        self.writer.bulk(name);
        self.writer.array(entries);
    }

    fn entries(&mut self, entries: &[EntryRef]) -> Result<(), Fault> {
        self.writer.array(entries.len());
        self.all_entries(entries)
    }

    fn all_entries(&mut self, entries: &[EntryRef]) -> Result<(), Fault> {
        all_of(entries.len(), self.bare_entries(entries)?)
    }

    /// Entries without the head of an array around them, as many as may be fetched; how many these are.
    pub(crate) fn bare_entries(&mut self, entries: &[EntryRef]) -> Result<usize, Fault> {
        self.tailed_entries(entries, |_| 0, |_, _, _| {})
    }

    /// Entries with what is known of earlier deliveries: `[id, fields, idle, deliveries]`.
    pub(crate) fn bare_deliveries(&mut self, deliveries: &[Delivery]) -> Result<usize, Fault> {
        let entries: Vec<EntryRef> = deliveries.iter().map(|delivery| delivery.entry).collect();
        self.tailed_entries(
            &entries,
            |_| 2,
            |writer, index, _| {
                let delivery = &deliveries[index];
                writer.count(delivery.idle);
                writer.int(delivery.deliveries);
            },
        )
    }

    /// Deliveries as `weir-wire` has them; an entry that is gone has no fields.
    pub(crate) fn bare_given(&mut self, given: &[Given]) -> Result<usize, Fault> {
        let entries: Vec<EntryRef> = given.iter().map(|given| given.entry).collect();
        let more = |index: usize| if given[index].failed.is_some() { 3 } else { 1 };
        let mut text = Vec::new();
        self.tailed_entries(&entries, more, |writer, index, fields| {
            text.clear();
            delivery_numbers(&given[index]).write(&entry_numbers(fields), &mut text);
            writer.bulk(&text);
            if let Some((first, last)) = given[index].failed.as_deref() {
                failure(writer, first);
                failure(writer, last);
            }
        })
    }

    /// Entries one behind the other, each an array of its ID, its fields and `more` values that `tail` writes.
    fn tailed_entries(
        &mut self,
        entries: &[EntryRef],
        more: impl Fn(usize) -> usize,
        mut tail: impl FnMut(&mut Writer<'_>, usize, Option<&EntryFields<'_>>),
    ) -> Result<usize, Fault> {
        if self.left == 0 {
            return Ok(0);
        }
        let (writer, left) = (&mut self.writer, &mut self.left);
        let mut next = 0;
        let head = |writer: &mut Writer<'_>, index: usize| {
            writer.array(2 + more(index));
            writer.entry_id(entries[index].id.ms, entries[index].id.seq);
        };
        let gone = |writer: &mut Writer<'_>, index: usize| {
            head(writer, index);
            writer.null_array();
        };
        let mut visit = |index: usize, fields: EntryFields<'_>| {
            while next < index {
                gone(writer, next);
                tail(writer, next, None);
                next += 1;
            }
            head(writer, index);
            writer.array(fields.len());
            fields.for_each(|field| {
                *left = left.saturating_sub(field.len());
                writer.bulk(field);
            });
            tail(writer, index, Some(&fields));
            next = index + 1;
            if *left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let Source { engine, may_wait } = self.source;
        if !engine.fetch_while(entries, may_wait, &mut visit).map_err(Fault::Failed)? {
            return Err(Fault::Cold);
        }
        while next < entries.len() && *left > 0 {
            gone(writer, next);
            tail(writer, next, None);
            next += 1;
        }
        Ok(next)
    }
}

/// What is to be rendered in one go is rendered wholly or not at all.
fn all_of(wanted: usize, rendered: usize) -> Result<(), Fault> {
    if rendered == wanted { Ok(()) } else { Err(Fault::Long) }
}

fn delivery_numbers(given: &Given) -> DeliveryNumbers {
    let Given { token, deliveries, failures, redrives, lease_until, .. } = *given;
    DeliveryNumbers { token, deliveries, failures, redrives, lease_until }
}

fn entry_numbers(fields: Option<&EntryFields<'_>>) -> EntryNumbers {
    EntryNumbers {
        appended_at: Timestamp(fields.map_or(0, EntryFields::appended_at)),
        position: fields.map(EntryFields::position),
        global_position: fields.map(EntryFields::global_position),
    }
}

/// `[class, reason, at]`
fn failure(writer: &mut Writer<'_>, failure: &Failure) {
    writer.array(3);
    writer.bulk(&failure.class);
    writer.bulk(&failure.reason);
    writer.count(failure.at.0);
}
