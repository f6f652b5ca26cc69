//! How far groups are behind: always numbers, always counted.

use std::time::Duration;

use weir_core::{EntryId, ErrorKind, Lag, dead_letters_of};

use crate::api::{Halt, KeyRef};
use crate::block::Located;
use crate::core::{Core, Found};
use crate::group::Group;
use crate::record::GroupRef;
use crate::stream::Stream;

/// Milliseconds that are counted together.
const BUCKET_MS: u64 = 5_000;
/// Buckets of a minute.
const BUCKETS: usize = 12;
/// Pending rows up to this number are looked through for the oldest; where there are more, they are put in order once.
const LOOKED_THROUGH_MAX: usize = 4_096;

/// How much happened lately, over about a minute. In memory only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rate {
    /// The number of the latest bucket: time / [`BUCKET_MS`].
    latest: u64,
    counts: [u32; BUCKETS],
}

impl Rate {
    /// Counts what happened at a time, in milliseconds. Time that goes back is taken as the latest there was.
    #[inline]
    pub(crate) fn add(&mut self, at: u64, count: u64) {
        let bucket = at / BUCKET_MS;
        if bucket > self.latest {
            self.move_to(bucket);
        }
        let own = &mut self.counts[self.latest as usize % BUCKETS];
        *own = own.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn move_to(&mut self, bucket: u64) {
        let passed = (bucket - self.latest).min(BUCKETS as u64);
        for nth in 0..passed {
            self.counts[(bucket - nth) as usize % BUCKETS] = 0;
        }
        self.latest = bucket;
    }

    /// How much happens per second.
    pub(crate) fn per_second(mut self, now: u64) -> f64 {
        if now / BUCKET_MS > self.latest {
            self.move_to(now / BUCKET_MS);
        }
        let count: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let per_second = count as f64 * 1_000.0 / (BUCKETS as u64 * BUCKET_MS) as f64;
        per_second
    }
}

impl Stream {
    /// How many live entries have an ID above one, counted from the nearer end.
    pub(crate) fn count_above(
        &self,
        source: &impl crate::stream::BlockSource,
        id: weir_core::EntryId,
    ) -> Result<u64, crate::api::Cold> {
        let Some(next) = id.next().filter(|_| id < self.last_id) else { return Ok(0) };
        if id < self.first_id {
            return Ok(self.len);
        }
        let mut up = self.blocks_from(weir_core::EntryId::MIN);
        let mut down = self.blocks_down(weir_core::EntryId::MAX);
        loop {
            // The block that holds the place is the last one to be looked at from either end.
            if down.next().is_none_or(|block| block.first <= id) {
                return self.count_above_down(source, id);
            }
            if up.next().is_none_or(|block| block.first > id) {
                return Ok(self.len - self.count_below(source, next, u64::MAX)?);
            }
        }
    }
}

impl Core {
    /// How far behind a group is.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchGroup`], [`ErrorKind::WrongType`].
    pub fn lag(&mut self, key: KeyRef<'_>, name: &[u8]) -> Result<Lag, Halt> {
        let (found, at) = self.find_group(key, name)?;
        let dead = self.dead_letters_len(key, found, at)?;
        let filtered = self.group(found, at).policy().is_some_and(|policy| policy.filter.is_some());
        if filtered {
            self.judge(found, at, u64::MAX)?;
        }
        let now = self.steady().0;
        self.group_mut(found, at).pending.ripen(now);
        let oldest_held = self.oldest_held(found, at);
        let (group, stream) = (self.group(found, at), self.stream(found));
        let open = match self.matching_count(found, at).filter(|_| filtered) {
            Some(count) => count,
            None => stream.count_above(&self.blocks, group.last_id)?,
        };
        let pending = &group.pending;
        let (ready, delayed, waiting) = (pending.ready_len(), pending.delayed_len(), pending.waiting_len());
        let held = pending.len() - ready - delayed - waiting;
        let oldest = self.oldest_undelivered(found, group, filtered)?;
        let now = self.append_time(found);
        let millis = |since: u64, now: u64| Duration::from_millis(now.saturating_sub(since));
        let arrivals = match group.matching.as_deref().filter(|_| filtered) {
            Some(matching) => matching.arrivals,
            None => stream.groups.as_ref().map_or_else(Rate::default, |groups| groups.arrivals),
        };
        let mut lag = Lag {
            undelivered: open + waiting as u64,
            pending: held as u64,
            ready: ready as u64,
            delayed: delayed as u64,
            dead,
            oldest_undelivered: oldest.map(|since| millis(since, now)),
            oldest_pending: oldest_held.map(|since| millis(since, self.steady().0)),
            arrivals_per_s: arrivals.per_second(now),
            drained_per_s: group.drained.per_second(self.steady().0),
            eta: None,
            exact: true,
        };
        lag.eta = Lag::eta_at(lag.total(), lag.arrivals_per_s, lag.drained_per_s);
        Ok(lag)
    }

    /// Counts entries that were settled for good.
    #[inline]
    pub(crate) fn drained(&mut self, found: Found, at: GroupRef, count: u64) {
        if count > 0 {
            let now = self.steady().0;
            self.group_mut(found, at).drained.add(now, count);
        }
    }

    /// The time by which ages are measured: that of an entry that is appended now, in milliseconds since the epoch.
    pub(crate) fn append_time(&self, found: Found) -> u64 {
        let space = self.state.namespaces.get(self.key(found).ns as usize);
        self.now.0.max(space.map_or(0, |space| space.last_at))
    }

    fn dead_letters_len(&mut self, key: KeyRef<'_>, found: Found, at: GroupRef) -> Result<u64, Halt> {
        let group = self.group(found, at);
        let Some(policy) = group.policy() else { return Ok(0) };
        let own = policy.dead_letter.clone().map_or_else(|| dead_letters_of(key.name, &group.name), Ok);
        match own.map(|name| self.len(KeyRef { ns: key.ns, name: &name })) {
            Ok(Ok(len)) => Ok(len),
            Ok(Err(Halt::Cold(cold))) => Err(Halt::Cold(cold)),
            // What stands there is no stream: there are no dead letters in it.
            Ok(Err(Halt::Error(error))) if *error.kind() == ErrorKind::WrongType => Ok(0),
            Ok(Err(halt)) => Err(halt),
            Err(_) => Ok(0),
        }
    }

    /// When the longest held entry was given out, in milliseconds of steady time.
    fn oldest_held(&mut self, found: Found, at: GroupRef) -> Option<u64> {
        let pending = &mut self.group_mut(found, at).pending;
        if pending.len() <= LOOKED_THROUGH_MAX {
            return pending.held().map(|row| row.time).min();
        }
        pending.index_times();
        pending.longest_idle().next().map(|row| row.time)
    }

    /// The first waiting row whose entry is there: rows outlive their entries.
    fn first_waiting_from(
        &self,
        stream: &Stream,
        group: &Group,
        first: EntryId,
    ) -> Result<Option<Located>, Halt> {
        if let Some(entry) = stream.find(&self.blocks, first)? {
            return Ok(Some(entry));
        }
        let rows = group.pending.from(first).take(LOOKED_THROUGH_MAX);
        for row in rows.filter(|row| group.pending.extra(row.id).waiting) {
            if let Some(entry) = stream.find(&self.blocks, row.id)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// When the oldest undelivered entry was appended, in milliseconds since the epoch.
    fn oldest_undelivered(&self, found: Found, group: &Group, filtered: bool) -> Result<Option<u64>, Halt> {
        let stream = self.stream(found);
        let next = match filtered {
            true => self.first_matching(found, group)?,
            false => stream.live_above(&self.blocks, group.last_id)?,
        };
        let waiting = match group.pending.first_waiting() {
            Some(id) => self.first_waiting_from(stream, group, id)?,
            None => None,
        };
        let oldest: Option<Located> = [next, waiting].into_iter().flatten().min_by_key(|entry| entry.pos);
        Ok(oldest.map(|entry| self.appended_at(&entry)).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_after_a_minute() {
        let mut rate = Rate::default();
        for second in 0..120 {
            rate.add(1_000_000 + second * 1_000, 10);
        }
        assert!((rate.per_second(1_119_000) - 10.0).abs() < 1.0, "{rate:?}");
        assert!(rate.per_second(1_150_000) < 6.0);
        assert_eq!(rate.per_second(1_200_000), 0.0);
        rate.add(5, 600);
        assert!(rate.per_second(1_119_000) > 10.0, "time that goes back is the latest there was");
    }
}
