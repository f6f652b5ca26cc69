//! Consumer groups: making them, moving them, looking at them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use weir_core::{
    BoxFuture, ConsumerInfo, CreateGroup, Created, EntryId, Error, ErrorKind, GroupInfo, GroupOrigin, Groups,
    Lag, PendingFate, Policy, Seek, SeekTo, Sought, Timestamp,
};

use super::space::{FOREVER, Group, Place, Space, Stream};
use super::{NaiveBroker, check_names, millis};

impl Groups for NaiveBroker {
    fn create_group<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        options: CreateGroup,
    ) -> BoxFuture<'a, Created> {
        self.later(move |space| space.create_group(stream, group, options))
    }

    fn delete_group<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, bool> {
        self.later(move |space| {
            let Some(stream) = space.streams.get_mut(stream) else {
                return Ok(false);
            };
            space.changes += 1;
            Ok(stream.groups.remove(group).is_some())
        })
    }

    fn groups<'a>(&'a self, stream: &'a [u8]) -> BoxFuture<'a, Vec<GroupInfo>> {
        self.later(move |space| {
            let groups = space.stream(stream).into_iter().flat_map(|stream| &stream.groups);
            Ok(groups.map(|(name, group)| group.info(name, space.now.steady)).collect())
        })
    }

    fn group_info<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Option<GroupInfo>> {
        self.later(move |space| {
            Ok(space.group(stream, group).ok().map(|(_, facts)| facts.info(group, space.now.steady)))
        })
    }

    fn set_policy<'a>(&'a self, stream: &'a [u8], group: &'a [u8], policy: Policy) -> BoxFuture<'a, ()> {
        self.later(move |space| {
            policy.check()?;
            space.group(stream, group)?;
            space.check_letters(stream, group, &policy)?;
            space.group_mut(stream, group)?.adopt(policy);
            space.changes += 1;
            Ok(())
        })
    }

    fn seek<'a>(&'a self, stream: &'a [u8], group: &'a [u8], options: Seek) -> BoxFuture<'a, Sought> {
        self.later(move |space| space.seek(stream, group, options))
    }

    fn pause<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        duration: Option<Duration>,
    ) -> BoxFuture<'a, ()> {
        self.later(move |space| {
            let now = space.now.steady.0;
            let until = duration.map_or(FOREVER, |lasts| Timestamp(now.saturating_add(millis(lasts))));
            space.group_mut(stream, group)?.paused_until = until;
            space.changes += 1;
            Ok(())
        })
    }

    fn resume<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, ()> {
        self.later(move |space| {
            space.group_mut(stream, group)?.paused_until = Timestamp(0);
            space.changes += 1;
            Ok(())
        })
    }

    fn create_consumer<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
    ) -> BoxFuture<'a, bool> {
        self.later(move |space| {
            check_names(&[consumer])?;
            let now = space.now.steady;
            let group = space.group_mut(stream, group)?;
            let is_new = !group.consumers.contains_key(consumer);
            group.consumers.entry(consumer.to_vec()).or_insert(now);
            Ok(is_new)
        })
    }

    fn consumers<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Vec<ConsumerInfo>> {
        self.later(move |space| {
            let (_, group) = space.group(stream, group)?;
            let info = |(name, seen): (&Vec<u8>, &Timestamp)| ConsumerInfo {
                name: name.clone(),
                pending: group.held_by(name).len() as u64,
                idle: Duration::from_millis(space.now.steady.millis_since(*seen)),
            };
            Ok(group.consumers.iter().map(info).collect())
        })
    }

    fn delete_consumer<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        consumer: &'a [u8],
        pending: PendingFate,
    ) -> BoxFuture<'a, u64> {
        self.later(move |space| {
            let group = space.group_mut(stream, group)?;
            group.consumers.remove(consumer);
            let held = group.held_by(consumer);
            for id in &held {
                match pending {
                    PendingFate::HandBack => {
                        group.rows.get_mut(id).expect("it is held").place = Place::READY;
                    }
                    PendingFate::Drop => drop(group.take_off(*id)),
                }
            }
            space.changes += 1;
            Ok(held.len() as u64)
        })
    }

    fn lag<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, Lag> {
        self.later(move |space| space.lag(stream, group))
    }
}

impl Space {
    fn create_group(&mut self, stream: &[u8], group: &[u8], options: CreateGroup) -> Result<Created, Error> {
        check_names(&[stream, group])?;
        let CreateGroup { origin, policy } = options;
        policy.check()?;
        if let Ok((_, existing)) = self.group(stream, group) {
            let is_same = existing.origin == origin;
            let taken = || Error::new(ErrorKind::GroupExists).about_group(stream, group);
            return if is_same { Ok(Created::Existing) } else { Err(taken()) };
        }
        self.check_letters(stream, group, &policy)?;
        let facts = self.streams.entry(stream.to_vec()).or_default();
        let last_delivered = match origin {
            GroupOrigin::Beginning => EntryId::MIN,
            GroupOrigin::After(id) => id,
            GroupOrigin::End => facts.last_id,
        };
        facts.groups.insert(group.to_vec(), Group::new(origin, last_delivered, policy));
        Ok(Created::New)
    }

    fn seek(&mut self, stream: &[u8], group: &[u8], options: Seek) -> Result<Sought, Error> {
        let (facts, of) = self.group(stream, group)?;
        let from = of.last_delivered;
        let to = facts.place_of(options.to, from);
        let dropped: Vec<_> = of.rows.keys().copied().filter(|id| *id > to).collect();
        if !options.dry_run {
            let of = self.group_mut(stream, group)?;
            of.last_delivered = to;
            for id in &dropped {
                of.take_off(*id);
            }
            self.changes += 1;
        }
        Ok(Sought { from, to, dropped: dropped.len() as u64 })
    }
}

impl Stream {
    /// The last-delivered ID that a seek from `from` leads to.
    fn place_of(&self, to: SeekTo, from: EntryId) -> EntryId {
        let before = |first: Option<EntryId>| first.and_then(EntryId::previous).unwrap_or(self.last_id);
        match to {
            SeekTo::Start => EntryId::MIN,
            SeekTo::End => self.last_id,
            SeekTo::After(id) => id.min(self.last_id),
            SeekTo::Time(at) => {
                let first = self.entries.iter().find(|(_, stored)| stored.appended_at >= at);
                before(first.map(|(id, _)| *id))
            }
            SeekTo::Skip(0) => from,
            SeekTo::Skip(count) => {
                let ahead = self.entries.keys().filter(|id| **id > from);
                let nth = usize::try_from(count - 1).unwrap_or(usize::MAX);
                ahead.copied().nth(nth).unwrap_or(self.last_id.max(from))
            }
        }
    }
}

impl Group {
    fn new(origin: GroupOrigin, last_delivered: EntryId, policy: Policy) -> Self {
        Self {
            origin,
            last_delivered,
            policy,
            rows: BTreeMap::new(),
            consumers: BTreeMap::new(),
            paused_until: Timestamp(0),
            filtered: 0,
            stale: 0,
            drained: VecDeque::new(),
        }
    }

    /// Takes another policy. With another key, rows are behind nothing any more.
    fn adopt(&mut self, policy: Policy) {
        if self.policy.key != policy.key {
            for row in self.rows.values_mut() {
                row.lane = None;
                if row.is_waiting() {
                    row.place = Place::READY;
                }
            }
        }
        self.policy = policy;
    }

    pub(super) fn held_by(&self, consumer: &[u8]) -> Vec<EntryId> {
        let held = self.rows.iter().filter(|(_, row)| row.consumer().is_some_and(|by| by == consumer));
        held.map(|(id, _)| *id).collect()
    }

    fn info(&self, name: &[u8], now: Timestamp) -> GroupInfo {
        GroupInfo {
            name: name.to_vec(),
            origin: Some(self.origin),
            last_delivered_id: self.last_delivered,
            pending: self.rows.len() as u64,
            consumers: self.consumers.len() as u64,
            paused: self.is_paused(now),
            filtered: self.filtered,
            stale_settlements: self.stale,
            policy: Some(self.policy.clone()),
        }
    }
}
