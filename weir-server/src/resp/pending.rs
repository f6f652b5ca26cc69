//! Answers that are rendered piece by piece, as the client takes them.
//!
//! A long answer is a list of places in the log until its turn comes, so that a client who asks for a million entries
//! and reads none costs 24 bytes for each, and one who reads them never waits for all to be fetched.
//!
//! Invariants:
//! * The pieces of one client render to exactly the bytes its replies would render to one after the other.
//! * A piece has about [`FETCHED_MAX`] bytes, or one entry if that is longer.

use std::collections::VecDeque;

use weir_core::Error;
use weir_engine::{Delivery, Entries, EntryRef, Given};
use weir_resp::Proto;

use super::render::{FETCHED_MAX, Fault, Rendered, Renderer, Source, render};
use super::reply::{Reply, StreamsReply};

/// Answers of more entries than this are rendered in pieces, and those of more bytes than [`FETCHED_MAX`].
const WHOLE_MAX: usize = 64;
/// Entries asked for with the first piece. Later ones grow while entries are small.
const FIRST_STEP: usize = 8;
const STEP_MAX: usize = 1_024;

/// Replies of one client that are not rendered yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pieces: VecDeque<(Proto, Piece)>,
    /// Entries and values in there, about.
    weight: usize,
    /// Heap bytes they take, about.
    heap_bytes: usize,
}

#[derive(Debug)]
enum Piece {
    Reply(Reply),
    Entries(Run<EntryRef>),
    Deliveries(Run<Delivery>),
    Given(Run<Given>),
}

/// Entries of which some are rendered.
#[derive(Debug)]
struct Run<T> {
    entries: Vec<T>,
    next: usize,
    /// How many to render at once.
    step: usize,
}

impl<T> Run<T> {
    fn new(entries: Vec<T>) -> Self {
        Self { entries, next: 0, step: FIRST_STEP }
    }

    /// Those to render next.
    fn part(&self) -> &[T] {
        &self.entries[self.next..self.entries.len().min(self.next + self.step)]
    }

    fn is_over(&self) -> bool {
        self.next == self.entries.len()
    }

    /// Goes on behind the entries that were rendered from `start` of `out` on. Answers whether they were cold instead;
    /// then they are still to be rendered.
    fn passed(
        &mut self,
        rendered: Result<usize, Fault>,
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<bool, Error> {
        match rendered {
            Ok(count) => {
                self.next += count;
                // Parts grow while they come out small, and shrink at once when they do not.
                let is_small = out.len() - start < FETCHED_MAX;
                self.step = if is_small { (self.step * 2).min(STEP_MAX) } else { (self.step / 4).max(1) };
                Ok(false)
            }
            Err(Fault::Cold) => {
                out.truncate(start);
                Ok(true)
            }
            Err(Fault::Long) => unreachable!("a part may be rendered up to anywhere"),
            Err(Fault::Failed(error)) => Err(error),
        }
    }
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Entries and values that wait, about.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Heap bytes held, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    pub(crate) fn push(&mut self, proto: Proto, reply: Reply) {
        self.weight += weight(&reply);
        self.heap_bytes += heap_bytes(&reply);
        self.pieces.push_back((proto, Piece::Reply(reply)));
    }

    /// Renders pieces until `out` has `most` bytes, or until the disk would have to be waited for.
    ///
    /// # Errors
    /// When entries cannot be fetched whose answer has begun: there is no way on for this connection.
    pub(crate) fn render(
        &mut self,
        source: Source<'_>,
        out: &mut Vec<u8>,
        most: usize,
    ) -> Result<Rendered, Error> {
        while out.len() < most
            && let Some((proto, piece)) = self.pieces.pop_front()
        {
            let start = out.len();
            let is_cold = match piece {
                Piece::Reply(reply) if is_long(&reply) => {
                    self.open(proto, reply, &mut Renderer::new(out, proto, source));
                    false
                }
                Piece::Reply(reply) => match render(&reply, proto, source, out) {
                    Rendered::Done => false,
                    Rendered::Cold => {
                        self.pieces.push_front((proto, Piece::Reply(reply)));
                        true
                    }
                    Rendered::Long => {
                        self.open(proto, reply, &mut Renderer::new(out, proto, source));
                        false
                    }
                },
                Piece::Entries(mut run) => {
                    let rendered = Renderer::new(out, proto, source).bare_entries(run.part());
                    let is_cold = run.passed(rendered, out, start)?;
                    if !run.is_over() {
                        self.pieces.push_front((proto, Piece::Entries(run)));
                    }
                    is_cold
                }
                Piece::Given(mut run) => {
                    let rendered = Renderer::new(out, proto, source).bare_given(run.part());
                    let is_cold = run.passed(rendered, out, start)?;
                    if !run.is_over() {
                        self.pieces.push_front((proto, Piece::Given(run)));
                    }
                    is_cold
                }
                Piece::Deliveries(mut run) => {
                    let rendered = Renderer::new(out, proto, source).bare_deliveries(run.part());
                    let is_cold = run.passed(rendered, out, start)?;
                    if !run.is_over() {
                        self.pieces.push_front((proto, Piece::Deliveries(run)));
                    }
                    is_cold
                }
            };
            if is_cold {
                return Ok(Rendered::Cold);
            }
        }
        if self.pieces.is_empty() {
            *self = Self::default();
        }
        Ok(Rendered::Done)
    }

    /// Takes the first piece out, for somebody who may wait for the disk.
    pub(crate) fn take_first(&mut self) -> Self {
        Self { pieces: self.pieces.pop_front().into_iter().collect(), weight: 0, heap_bytes: 0 }
    }

    /// Puts back what is left of a piece that was taken out.
    pub(crate) fn put_back(&mut self, rest: Self) {
        for piece in rest.pieces.into_iter().rev() {
            self.pieces.push_front(piece);
        }
        if self.pieces.is_empty() {
            *self = Self::default();
        }
    }

    /// Renders the head of a long reply and puts its parts to the front.
    fn open(&mut self, proto: Proto, reply: Reply, renderer: &mut Renderer<'_>) {
        match reply {
            Reply::Entries(entries) => {
                renderer.writer.array(entries.len());
                self.pieces.push_front((proto, Piece::Entries(Run::new(entries))));
            }
            Reply::Given(given) => {
                renderer.writer.array(given.len());
                self.pieces.push_front((proto, Piece::Given(Run::new(given))));
            }
            Reply::Streams(streams) => self.open_streams(proto, *streams, renderer),
            Reply::In(own, reply) => self.pieces.push_front((own, Piece::Reply(*reply))),
            Reply::Array(items) => {
                renderer.writer.array(items.len());
                self.open_items(proto, items);
            }
            Reply::Map(items) => {
                renderer.writer.map(items.len() / 2);
                self.open_items(proto, items);
            }
            Reply::Set(items) => {
                renderer.writer.set(items.len());
                self.open_items(proto, items);
            }
            other => unreachable!("not a long reply: {other:?}"),
        }
    }

    fn open_items(&mut self, proto: Proto, items: Vec<Reply>) {
        for item in items.into_iter().rev() {
            self.pieces.push_front((proto, Piece::Reply(item)));
        }
    }

    fn open_streams(&mut self, proto: Proto, streams: StreamsReply, renderer: &mut Renderer<'_>) {
        renderer.streams_head(streams.outcome.streams.len());
        for found in streams.outcome.streams.into_iter().rev() {
            let (len, body) = match found.entries {
                Entries::Plain(entries) => (entries.len(), Piece::Entries(Run::new(entries))),
                Entries::Claimed(deliveries) => (deliveries.len(), Piece::Deliveries(Run::new(deliveries))),
                Entries::Given(given) => {
                    let entries: Vec<EntryRef> = given.into_iter().map(|given| given.entry).collect();
                    (entries.len(), Piece::Entries(Run::new(entries)))
                }
            };
            let mut head = Vec::new();
            Renderer::new(&mut head, proto, renderer.source)
                .stream_head(streams.request.stream_name(found.stream), len);
            self.pieces.push_front((proto, body));
            self.pieces.push_front((proto, Piece::Reply(Reply::Raw(head.into()))));
        }
    }
}

/// Whether a reply should not be rendered in one go.
pub(crate) fn is_long(reply: &Reply) -> bool {
    match reply {
        Reply::Entries(entries) => entries.len() > WHOLE_MAX,
        Reply::Given(given) => given.len() > WHOLE_MAX,
        Reply::Streams(_) | Reply::Array(_) | Reply::Map(_) | Reply::Set(_) | Reply::In(..) => {
            weight(reply) > WHOLE_MAX
        }
        _ => false,
    }
}

/// Entries and values in a reply.
pub(crate) fn weight(reply: &Reply) -> usize {
    match reply {
        Reply::Entries(entries) => entries.len(),
        Reply::Given(given) => given.len(),
        Reply::Ids(ids) => ids.len(),
        Reply::Streams(streams) => {
            streams.outcome.streams.iter().map(|stream| stream_weight(&stream.entries)).sum()
        }
        Reply::Array(items) | Reply::Map(items) | Reply::Set(items) => items.iter().map(weight).sum(),
        Reply::In(_, reply) => weight(reply),
        _ => 1,
    }
}

/// Bytes of texts in a reply; entries are places in the log until they are rendered and have none.
pub(crate) fn text_bytes(reply: &Reply) -> usize {
    match reply {
        Reply::Bulk(_) | Reply::Verbatim(_) | Reply::Array(_) | Reply::Map(_) | Reply::Set(_) => {
            heap_bytes(reply)
        }
        _ => 0,
    }
}

/// Heap bytes of a reply, about.
pub(crate) fn heap_bytes(reply: &Reply) -> usize {
    match reply {
        Reply::Bulk(bytes) | Reply::Raw(bytes) => bytes.len(),
        Reply::Shared(bytes) => bytes.len(),
        Reply::Verbatim(text) | Reply::Line(text) => text.len(),
        Reply::Error(text) => text.len(),
        Reply::Array(items) | Reply::Map(items) | Reply::Set(items) => {
            items.len() * size_of::<Reply>() + items.iter().map(heap_bytes).sum::<usize>()
        }
        Reply::In(_, reply) => heap_bytes(reply),
        Reply::Given(given) => given.len() * size_of::<Given>(),
        other => weight(other) * size_of::<EntryRef>(),
    }
}

fn stream_weight(entries: &Entries) -> usize {
    match entries {
        Entries::Plain(entries) => entries.len(),
        Entries::Claimed(deliveries) => deliveries.len(),
        Entries::Given(given) => given.len(),
    }
}
