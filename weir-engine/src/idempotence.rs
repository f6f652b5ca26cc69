//! Idempotent producers: which IDs a producer has used lately, and which entries they became.
//!
//! Kept per stream and producer, first in first out, bounded by [`IdempotenceLimits`]. What has expired is not found
//! any more. It goes when its producer next adds an entry; a producer whose IDs have all expired goes when anybody
//! adds an entry to the stream, a few at once. So a stream to which nothing is added keeps what it has.
//!
//! Invariant: what is kept follows from the records alone, and a snapshot holds all of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use weir_core::{EntryId, ErrorKind};

use crate::api::Halt;
use crate::core::{Core, Found};
use crate::record::IdempotenceLimits;

/// Producers that an entry makes a stream forget, at most. It can bring one, so they grow less in any case.
const FORGOTTEN_AT_ONCE: usize = 2;

impl Default for IdempotenceLimits {
    /// 100 seconds and 100 IDs, as Redis.
    fn default() -> Self {
        Self { duration_s: 100, ids_max: 100 }
    }
}

impl IdempotenceLimits {
    fn expired(self, since: u64, now: u64) -> bool {
        since <= now.saturating_sub(self.duration_s.saturating_mul(1_000))
    }
}

/// An entry that an idempotent ID became.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: EntryId,
    /// From when on its time is counted: the time part of its ID, as Redis does, or when it was appended. In
    /// milliseconds since the Unix epoch.
    pub(crate) since: u64,
}

impl From<EntryId> for Known {
    /// As Redis does it.
    fn from(id: EntryId) -> Self {
        Self { id, since: id.ms }
    }
}

#[derive(Debug, Clone, Default)]
struct Producer {
    order: VecDeque<Box<[u8]>>,
    ids: HashMap<Box<[u8]>, Known>,
    /// When the latest of them began.
    newest: u64,
}

impl Producer {
    fn remember(&mut self, iid: &[u8], known: Known, ids_max: u64) {
        let replaced = self.ids.insert(iid.into(), known);
        if replaced.is_some() {
            // It had expired and was not removed yet.
            self.order.retain(|known| **known != *iid);
        }
        self.order.push_back(iid.into());
        self.newest = self.newest.max(known.since);
        self.forgot(replaced);
        while self.order.len() as u64 > ids_max {
            self.forget_first();
        }
    }

    fn forget_expired(&mut self, limits: IdempotenceLimits, now: u64) {
        while self.order.front().is_some_and(|first| limits.expired(self.ids[first].since, now)) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let known = self.order.pop_front().and_then(|iid| self.ids.remove(&iid));
        self.forgot(known);
    }

    /// Keeps the latest right, after one went.
    fn forgot(&mut self, known: Option<Known>) {
        if known.is_some_and(|known| known.since == self.newest) {
            self.newest = self.latest().unwrap_or_default();
        }
    }

    fn latest(&self) -> Option<u64> {
        self.ids.values().map(|known| known.since).max()
    }
}

/// The idempotent IDs of one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Idempotence {
    producers: BTreeMap<Arc<[u8]>, Producer>,
    /// The same, those first that have added nothing for longest.
    by_newest: BTreeSet<(u64, Arc<[u8]>)>,
    /// How many IDs were ever remembered.
    pub(crate) added: u64,
    /// How many appends were answered from memory. Not durable by itself.
    pub(crate) duplicates: u64,
}

impl Idempotence {
    pub(crate) fn with_counters(added: u64, duplicates: u64) -> Self {
        Self { added, duplicates, ..Self::default() }
    }

    pub(crate) fn find(
        &self,
        producer: &[u8],
        iid: &[u8],
        limits: IdempotenceLimits,
        now: u64,
    ) -> Option<EntryId> {
        let known = self.producers.get(producer)?.ids.get(iid)?;
        (!limits.expired(known.since, now)).then_some(known.id)
    }

    /// Remembers what became of an append.
    pub(crate) fn add(
        &mut self,
        producer: &[u8],
        iid: &[u8],
        known: Known,
        limits: IdempotenceLimits,
        now: u64,
    ) {
        self.added += 1;
        self.change(producer, |own| {
            own.forget_expired(limits, now);
            own.remember(iid, known, limits.ids_max);
        });
    }

    /// Ties an ID to an entry, without counting it.
    pub(crate) fn tie(&mut self, producer: &[u8], iid: &[u8], id: EntryId, limits: IdempotenceLimits) {
        self.change(producer, |own| own.remember(iid, id.into(), limits.ids_max));
    }

    fn change(&mut self, producer: &[u8], change: impl FnOnce(&mut Producer)) {
        let known = self.producers.get_key_value(producer).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| producer.into());
        let own = self.producers.entry(name.clone()).or_default();
        let before = own.newest;
        change(own);
        let (after, is_empty) = (own.newest, own.order.is_empty());
        if is_empty {
            self.producers.remove(producer);
            self.by_newest.remove(&(before, name));
        } else if before != after || self.by_newest.len() < self.producers.len() {
            self.by_newest.remove(&(before, name.clone()));
            self.by_newest.insert((after, name));
        }
    }

    /// Forgets a few producers whose IDs have all expired.
    pub(crate) fn forget_silent(&mut self, limits: IdempotenceLimits, now: u64) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some((newest, name)) = self.by_newest.first() else { return };
            if !limits.expired(*newest, now) {
                return;
            }
            self.producers.remove(name);
            self.by_newest.pop_first();
        }
    }

    /// Whether a producer may add an ID when a stream has at most so many producers.
    fn has_room(&self, producer: &[u8], limits: IdempotenceLimits, now: u64, producers_max: usize) -> bool {
        self.producers.len() < producers_max
            || self.producers.contains_key(producer)
            || self.by_newest.first().is_some_and(|(newest, _)| limits.expired(*newest, now))
    }

    /// Forgets all IDs; the lifetime counters stay.
    pub(crate) fn clear(&mut self) {
        self.producers.clear();
        self.by_newest.clear();
    }

    /// Producers and IDs that are remembered at `now`.
    pub(crate) fn tracked(&self, limits: IdempotenceLimits, now: u64) -> (u64, u64) {
        self.producers.values().fold((0, 0), |(producers, ids), producer| {
            let live = producer.ids.values().filter(|known| !limits.expired(known.since, now)).count() as u64;
            (producers + u64::from(live > 0), ids + live)
        })
    }

    /// Everything that is remembered, oldest first per producer.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], Known)> {
        self.producers.iter().flat_map(|(name, producer)| {
            producer.order.iter().map(|iid| (&**name, &**iid, producer.ids[iid]))
        })
    }

    /// Whether the tables hold the same producers, and those of each producer the same IDs.
    pub(crate) fn is_sound(&self) -> bool {
        self.producers.len() == self.by_newest.len()
            && self.producers.iter().all(|(name, producer)| {
                self.by_newest.contains(&(producer.newest, name.clone()))
                    && producer.order.len() == producer.ids.len()
                    && producer.order.iter().all(|iid| producer.ids.contains_key(iid))
                    && producer.latest() == Some(producer.newest)
            })
    }

    /// Puts back what [`Idempotence::iter`] gave.
    pub(crate) fn restore(&mut self, producer: &[u8], iid: &[u8], known: Known) {
        self.change(producer, |own| own.remember(iid, known, u64::MAX));
    }
}

impl Core {
    /// Checks the names of an idempotent ID, and that its stream may have another producer if it brings one.
    pub(crate) fn check_producer(
        &self,
        found: Option<Found>,
        producer: &[u8],
        iid: &[u8],
    ) -> Result<(), Halt> {
        self.check_name(producer)?;
        self.check_name(iid)?;
        let Some(stream) = found.map(|found| self.stream(found)) else { return Ok(()) };
        let (limits, most) = (stream.idempotence_limits, self.options.limits.producers);
        let known = stream.idempotence.as_deref();
        if known.is_none_or(|known| known.has_room(producer, limits, self.now.0, most)) {
            return Ok(());
        }
        Err(ErrorKind::LimitReached("producers of a stream (producers)").into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_core::{ManualClock, Timestamp};

    use crate::{Append, Engine, KeyRef, Limits, NamespaceNo, NewId, Options, Producer as By};

    use super::*;

    const KEY: KeyRef<'_> = KeyRef { ns: NamespaceNo(0), name: b"s" };

    fn engine(producers: usize) -> (Engine, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
        let limits = Limits { producers, ..Limits::default() };
        let options = Options { limits, background: false, ..Options::default() };
        (Engine::memory_with(clock.clone(), options), clock)
    }

    fn append(engine: &Engine, producer: Option<&str>) -> Result<(), Halt> {
        let producer = producer.map(|id| By { id: id.as_bytes(), iid: Some(b"1") });
        let fields: [&[u8]; 2] = [b"f", b"v"];
        let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer };
        engine.turn().append(KEY, &request).map(|_| ())
    }

    /// How many producers the stream keeps, and that its tables agree.
    fn kept(engine: &Engine) -> usize {
        let mut turn = engine.turn();
        let found = turn.find_stream(KEY).expect("it is a stream").expect("it is there");
        let idempotence = turn.stream(found).idempotence.as_deref().expect("a producer has added to it");
        assert!(idempotence.is_sound());
        idempotence.producers.len()
    }

    #[test]
    fn silent_producers_are_forgotten_as_the_stream_goes_on() {
        let (engine, clock) = engine(100);
        for n in 0..40 {
            append(&engine, Some(&n.to_string())).expect("there is room");
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(kept(&engine), 40);
        clock.advance(Duration::from_secs(50));
        append(&engine, Some("0")).expect("a duplicate is no error");
        append(&engine, Some("last")).expect("there is room");
        clock.advance(Duration::from_secs(60));
        for _ in 0..20 {
            append(&engine, None).expect("there is room");
        }
        assert_eq!(kept(&engine), 1, "only the last one added within 100 seconds");
        clock.advance(Duration::from_secs(50));
        append(&engine, None).expect("there is room");
        assert_eq!(kept(&engine), 0);
    }

    #[test]
    fn a_stream_has_so_many_producers_at_most() {
        let (engine, clock) = engine(3);
        for name in ["a", "b", "c", "a"] {
            append(&engine, Some(name)).expect("there is room");
        }
        let refused = append(&engine, Some("d"));
        let is_limit = |halt: &Halt| matches!(halt, Halt::Error(error) if matches!(error.kind(), ErrorKind::LimitReached(_)));
        assert!(refused.is_err_and(|halt| is_limit(&halt)));
        append(&engine, None).expect("others are not concerned");
        clock.advance(Duration::from_secs(100));
        append(&engine, Some("d")).expect("the others are silent for long enough");
        assert_eq!(kept(&engine), 2);
    }

    /// The greatest stayed that of the entry it was tied to before, and a check reported damage.
    #[test]
    fn an_expired_id_may_be_tied_to_an_earlier_entry() {
        let limits = IdempotenceLimits { duration_s: 1, ids_max: 100 };
        let mut known = Idempotence::default();
        known.tie(b"p", b"1", EntryId::new(9, 0), limits);
        known.tie(b"p", b"1", EntryId::new(5, 0), limits);
        assert!(known.is_sound());
        known.tie(b"p", b"2", EntryId::new(7, 0), limits);
        known.tie(b"p", b"1", EntryId::new(6, 0), limits);
        assert!(known.is_sound());
        let mut restored = Idempotence::default();
        known.iter().for_each(|(producer, iid, id)| restored.restore(producer, iid, id));
        assert_eq!(restored.by_newest, known.by_newest);
    }

    #[test]
    fn ids_tied_by_hand_count_against_the_limit() {
        let limits = IdempotenceLimits { duration_s: 100, ids_max: 2 };
        let mut known = Idempotence::default();
        for (iid, ms) in [(b"1", 3), (b"2", 1), (b"3", 2)] {
            known.tie(b"p", iid, EntryId::new(ms, 0), limits);
            assert!(known.is_sound());
        }
        let left: Vec<_> = known.iter().map(|(_, iid, _)| iid.to_vec()).collect();
        assert_eq!(left, [b"2".to_vec(), b"3".to_vec()]);
    }
}
