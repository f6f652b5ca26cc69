//! What a namespace consists of: streams, their entries and groups, the groups' rows.

use std::collections::{BTreeMap, VecDeque};

use weir_core::{
    Entry, EntryId, Error, Failure, Fields, GroupOrigin, PendingState, Policy, Retention, Timestamp, Token,
    first_value,
};

use super::time::Now;

/// Everything in one namespace.
#[derive(Debug, Default, Clone)]
pub(super) struct Space {
    pub(super) streams: BTreeMap<Vec<u8>, Stream>,
    /// Entries ever appended to any stream.
    pub(super) appended: u64,
    pub(super) last_append: Timestamp,
    pub(super) tokens: u64,
    /// Counts what may help somebody who waits.
    pub(super) changes: u64,
    pub(super) now: Now,
    /// When the ages of all streams were last looked at.
    pub(super) ages_seen: Timestamp,
    /// Whether it is as on a Redis: nobody counts positions, and the time part of an ID is when it was appended.
    pub(super) is_plain: bool,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Stream {
    pub(super) entries: BTreeMap<EntryId, Stored>,
    pub(super) added: u64,
    pub(super) last_id: EntryId,
    pub(super) producers: BTreeMap<Vec<u8>, Appends>,
    pub(super) groups: BTreeMap<Vec<u8>, Group>,
    pub(super) retention: Option<Retention>,
    /// How many of the alerts of [`super::retention`] stand since nothing was held.
    pub(super) alerts: usize,
}

/// What one producer appended lately.
#[derive(Debug, Default, Clone)]
pub(super) struct Appends {
    pub(super) ids: BTreeMap<Vec<u8>, EntryId>,
    /// The same in the order they came.
    pub(super) order: VecDeque<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// Whether readers are told its positions.
    pub(super) is_counted: bool,
    pub(super) position: u64,
    pub(super) global_position: u64,
    pub(super) appended_at: Timestamp,
    pub(super) fields: Fields,
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) origin: GroupOrigin,
    pub(super) last_delivered: EntryId,
    pub(super) policy: Policy,
    pub(super) rows: BTreeMap<EntryId, Row>,
    /// Consumers and when each asked last.
    pub(super) consumers: BTreeMap<Vec<u8>, Timestamp>,
    /// Paused until then, [`FOREVER`] included; a time that is over is no pause.
    pub(super) paused_until: Timestamp,
    pub(super) filtered: u64,
    pub(super) stale: u64,
    /// When entries were settled for good, over the last minute.
    pub(super) drained: VecDeque<Timestamp>,
}

/// Later than everything.
pub(super) const FOREVER: Timestamp = Timestamp(u64::MAX);

/// A row of a pending list.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) deliveries: u64,
    pub(super) failures: u64,
    pub(super) first_failure: Option<Failure>,
    pub(super) last_failure: Option<Failure>,
    pub(super) redrives: u32,
    /// The value that orders it; `None` when it is behind nothing.
    pub(super) lane: Option<Vec<u8>>,
}

/// Where a row is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Held {
        consumer: Vec<u8>,
        since: Timestamp,
        token: Token,
    },
    /// Nobody has it; nobody is given it before this time.
    Free {
        from: Timestamp,
    },
    Waiting,
}

impl Space {
    pub(super) fn stream(&self, name: &[u8]) -> Option<&Stream> {
        self.streams.get(name)
    }

    pub(super) fn group(&self, stream: &[u8], group: &[u8]) -> Result<(&Stream, &Group), Error> {
        let found = self.streams.get(stream).and_then(|found| Some((found, found.groups.get(group)?)));
        found.ok_or_else(|| Error::no_such_group(stream, group))
    }

    pub(super) fn group_mut(&mut self, stream: &[u8], group: &[u8]) -> Result<&mut Group, Error> {
        let found = self.streams.get_mut(stream).and_then(|found| found.groups.get_mut(group));
        found.ok_or_else(|| Error::no_such_group(stream, group))
    }

    pub(super) fn next_token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }
}

impl Stream {
    pub(super) fn entry(&self, id: EntryId) -> Option<Entry> {
        self.entries.get(&id).map(|stored| stored.entry(id))
    }
}

impl Stored {
    pub(super) fn entry(&self, id: EntryId) -> Entry {
        Entry {
            id,
            position: self.is_counted.then_some(self.position),
            global_position: self.is_counted.then_some(self.global_position),
            appended_at: self.appended_at,
            fields: self.fields.clone(),
        }
    }

    /// Bytes of names and values.
    pub(super) fn bytes(&self) -> u64 {
        self.fields.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum()
    }
}

impl Group {
    /// Whether its filter lets an entry through.
    pub(super) fn sees(&self, fields: &Fields) -> bool {
        self.policy.filter.as_ref().is_none_or(|filter| filter.matches_fields(fields))
    }

    /// The value that orders an entry among others.
    pub(super) fn lane_of(&self, fields: &Fields) -> Option<Vec<u8>> {
        self.policy.key.as_ref().and_then(|key| first_value(fields, key)).map(<[u8]>::to_vec)
    }

    /// Whether an entry with this key is in flight, ready or delayed.
    pub(super) fn is_busy(&self, lane: Option<&Vec<u8>>) -> bool {
        lane.is_some() && self.rows.values().any(|row| row.lane.as_ref() == lane && !row.is_waiting())
    }

    /// Takes a row off the list; the lowest that waits for its key becomes ready.
    pub(super) fn take_off(&mut self, id: EntryId) -> Option<Row> {
        let row = self.rows.remove(&id)?;
        if row.lane.is_some() && !self.is_busy(row.lane.as_ref()) {
            let waiting = self.rows.values_mut().find(|other| other.lane == row.lane);
            if let Some(next) = waiting {
                next.place = Place::READY;
            }
        }
        Some(row)
    }

    /// Puts a row on the list; it waits when nobody holds it and its key is busy.
    pub(super) fn put(&mut self, id: EntryId, mut row: Row) {
        self.take_off(id);
        if matches!(row.place, Place::Free { .. }) && self.is_busy(row.lane.as_ref()) {
            row.place = Place::Waiting;
        }
        self.rows.insert(id, row);
    }

    pub(super) fn is_paused(&self, now: Timestamp) -> bool {
        now < self.paused_until
    }

    /// Notes that an entry was settled for good.
    pub(super) fn drain(&mut self, now: Timestamp) {
        self.drained.retain(|at| now.millis_since(*at) < 60_000);
        self.drained.push_back(now);
    }
}

impl Place {
    pub(super) const READY: Self = Self::Free { from: Timestamp(0) };
}

impl Row {
    /// A row that nothing has happened to yet.
    pub(super) fn new(place: Place, lane: Option<Vec<u8>>) -> Self {
        let (deliveries, failures, redrives) = (0, 0, 0);
        Self { place, deliveries, failures, first_failure: None, last_failure: None, redrives, lane }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.place, Place::Waiting)
    }

    pub(super) fn state(&self, now: Timestamp) -> PendingState {
        match &self.place {
            Place::Held { .. } => PendingState::InFlight,
            Place::Free { from } if now >= *from => PendingState::Ready,
            Place::Free { from } => PendingState::Delayed { until: *from },
            Place::Waiting => PendingState::Waiting,
        }
    }

    pub(super) fn consumer(&self) -> Option<&Vec<u8>> {
        match &self.place {
            Place::Held { consumer, .. } => Some(consumer),
            _ => None,
        }
    }

    /// Milliseconds since it was given out; `None` when nobody holds it.
    pub(super) fn idle(&self, now: Timestamp) -> Option<u64> {
        match &self.place {
            Place::Held { since, .. } => Some(now.millis_since(*since)),
            _ => None,
        }
    }
}
