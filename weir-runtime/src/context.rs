//! What a handler sees: an entry, what is known of its delivery, and whether it shall stop.

use std::borrow::Cow;
use std::sync::Arc;

use weir_core::{Delivery, Entry, EntryId, Failure, Fields, Timestamp, first_value};

use crate::consumer::Lot;
use crate::{Mark, TraceParent};

/// One entry for a [`crate::Handler`].
#[derive(Debug, Clone)]
pub struct Context {
    /// In a box, since it is passed through many hands.
    inner: Box<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    delivery: Delivery,
    lot: Arc<Lot>,
    place: usize,
    run: u32,
}

impl Context {
    pub(crate) fn new(delivery: Delivery, lot: Arc<Lot>, place: usize, run: u32) -> Self {
        Self { inner: Box::new(Inner { delivery, lot, place, run }) }
    }

    /// The entry and what is known of it, as a [`Batch`] gives it.
    #[must_use]
    pub fn item(&self) -> Item<'_> {
        let inner = &*self.inner;
        Item { delivery: &inner.delivery, lot: &inner.lot, place: inner.place, run: inner.run }
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &[u8] {
        &self.inner.lot.scope.stream
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &[u8] {
        &self.inner.lot.scope.group
    }

    /// The entry.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.inner.delivery.entry
    }

    /// The delivery as the broker gave it.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.inner.delivery
    }

    /// The entry's ID.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.entry().id
    }

    /// Names and values.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.entry().fields
    }

    /// The first value under a name.
    #[must_use]
    pub fn field(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        first_value(self.fields(), name.as_ref())
    }

    /// The first value under a name, as text; what is no UTF-8 is replaced.
    #[must_use]
    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<Cow<'_, str>> {
        self.field(name).map(String::from_utf8_lossy)
    }

    /// The entry's fields, to keep.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        self.inner.delivery.entry.fields
    }

    /// See [`Item::deliveries`].
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.item().deliveries()
    }

    /// See [`Item::failures`].
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.item().failures()
    }

    /// See [`Item::attempt`].
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.item().attempt()
    }

    /// See [`Item::first_failure`].
    #[must_use]
    pub fn first_failure(&self) -> Option<&Failure> {
        self.inner.delivery.first_failure.as_ref()
    }

    /// See [`Item::last_failure`].
    #[must_use]
    pub fn last_failure(&self) -> Option<&Failure> {
        self.inner.delivery.last_failure.as_ref()
    }

    /// See [`Item::lease_until`].
    #[must_use]
    pub fn lease_until(&self) -> Timestamp {
        self.item().lease_until()
    }

    /// See [`Item::traceparent`].
    #[must_use]
    pub fn traceparent(&self) -> Option<TraceParent> {
        self.item().traceparent()
    }

    /// See [`Item::mark`].
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.item().mark()
    }

    pub(crate) fn next_run(mut self) -> Self {
        self.inner.run += 1;
        self
    }

    /// Whether the handler works in vain, or shall come to an end: its lease went to somebody else, or the consumer
    /// shuts down.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.lot.is_cancelled(self.inner.place)
    }

    /// Waits until [`Self::is_cancelled`].
    pub async fn cancelled(&self) {
        self.inner.lot.cancelled(self.inner.place).await;
    }
}

/// Several entries of one stream for a [`crate::BatchHandler`], lowest ID first.
#[derive(Debug, Clone)]
pub struct Batch {
    deliveries: Vec<Delivery>,
    /// Where each of them stands in the lot.
    places: Vec<usize>,
    lot: Arc<Lot>,
    run: u32,
}

impl Batch {
    pub(crate) fn new(deliveries: Vec<Delivery>, lot: Arc<Lot>, run: u32) -> Self {
        let places = (0..deliveries.len()).collect();
        Self { deliveries, places, lot, run }
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &[u8] {
        &self.lot.scope.stream
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &[u8] {
        &self.lot.scope.group
    }

    /// How many entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether there is none; no handler is given such a batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// The deliveries as the broker gave them.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// The entries and what is known of each.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let item =
            |(delivery, place): (_, &usize)| Item { delivery, lot: &self.lot, place: *place, run: self.run };
        self.deliveries.iter().zip(&self.places).map(item)
    }

    /// Whether the handler works in vain, or shall come to an end: the lease of an entry went to somebody else, or the
    /// consumer shuts down.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.places.iter().any(|place| self.lot.is_cancelled(*place))
    }

    /// The same without the entries at some places of it, in rising order.
    pub(crate) fn without(self, settled: impl Iterator<Item = usize>) -> Self {
        let mut settled = settled.peekable();
        let Self { deliveries, places, lot, run } = self;
        let left = deliveries.into_iter().zip(places).enumerate();
        let left = left.filter(|(at, _)| settled.next_if_eq(at).is_none()).map(|(_, both)| both);
        let (deliveries, places) = left.unzip();
        Self { deliveries, places, lot, run }
    }

    /// Two batches of it: what stands before `middle`, and the rest.
    #[must_use]
    pub fn split(mut self, middle: usize) -> (Self, Self) {
        let middle = middle.min(self.len());
        let (deliveries, places) = (self.deliveries.split_off(middle), self.places.split_off(middle));
        let right = Self { deliveries, places, lot: Arc::clone(&self.lot), run: self.run };
        (self, right)
    }

    pub(crate) fn next_run(mut self) -> Self {
        self.run += 1;
        self
    }
}

/// An entry of a batch, and what is known of its delivery.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    delivery: &'a Delivery,
    lot: &'a Lot,
    place: usize,
    run: u32,
}

impl<'a> Item<'a> {
    /// The group.
    #[must_use]
    pub fn group(&self) -> &'a [u8] {
        &self.lot.scope.group
    }

    /// The entry.
    #[must_use]
    pub fn entry(&self) -> &'a Entry {
        &self.delivery.entry
    }

    /// The first value under a name.
    #[must_use]
    pub fn field(&self, name: impl AsRef<[u8]>) -> Option<&'a [u8]> {
        first_value(&self.delivery.entry.fields, name.as_ref())
    }

    /// How often the entry was given out and not handed back uncounted, this time included.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.delivery.deliveries
    }

    /// How often a handler reported failure to the broker. Immediate retries are not among them.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.delivery.failures
    }

    /// Which run of a handler this is, counted from 1: the immediate retries of earlier deliveries and of this one
    /// included. Where deliveries ended without a word (a crash), their runs are not known and not counted.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        let runs_each = u64::from(self.lot.scope.immediate) + 1;
        self.delivery.failures.saturating_mul(runs_each) + u64::from(self.run)
    }

    /// The first failure that was reported.
    #[must_use]
    pub fn first_failure(&self) -> Option<&'a Failure> {
        self.delivery.first_failure.as_ref()
    }

    /// The last failure that was reported.
    #[must_use]
    pub fn last_failure(&self) -> Option<&'a Failure> {
        self.delivery.last_failure.as_ref()
    }

    /// When others may take the entry, as far as is known now: it is extended while the handler works.
    #[must_use]
    pub fn lease_until(&self) -> Timestamp {
        self.lot.lease_until(self.place).unwrap_or(self.delivery.lease_until)
    }

    /// The trace that the entry belongs to: its field `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> Option<TraceParent> {
        self.field(TraceParent::FIELD).and_then(TraceParent::parse)
    }

    /// What tells that this entry was handled by this group, for a [`crate::MarkStore`] or for a row that is written in
    /// the same transaction as the effects.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let scope = &self.lot.scope;
        Mark::of_entry(&scope.stream, &scope.group, self.delivery.entry.id)
    }
}
