//! Giving entries to consumers.

use std::time::Duration;

use weir_core::{
    AutoClaim, AutoClaimed, BoxFuture, Claim, DeadLetterPage, DeadLetterQuery, Deliveries, Delivery, EntryId,
    Error, ErrorKind, Failure, GroupSource, PendingQuery, PendingRow, PendingState, PendingSummary, Purge,
    ReadGroup, Redrive, Redriven, RestoredRow, Settle, Settled, Timestamp,
};

use super::space::{FOREVER, Group, Place, Row, Space};
use super::waiting::Look;
use super::{NaiveBroker, check_names, millis};

/// Rows of one group that wait for an earlier entry with their key, at most; a read looks no further then.
const WAITING_ROWS_MAX: usize = 100_000;

impl Deliveries for NaiveBroker {
    fn read_group<'a>(&'a self, stream: &'a [u8], options: ReadGroup) -> BoxFuture<'a, Vec<Delivery>> {
        Box::pin(async move {
            check_names(&[&options.consumer])?;
            if options.wait.is_some() && matches!(options.source, GroupSource::History { .. }) {
                return Err(Error::new(ErrorKind::Invalid("a history read does not wait")));
            }
            let wait = options.wait.filter(|_| options.count > 0);
            self.look_until(wait, |space| space.read_group(stream, &options)).await
        })
    }

    fn settle<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        settlements: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Settled>> {
        self.later(move |space| space.settle(stream, group, settlements))
    }

    fn claim<'a>(&'a self, stream: &'a [u8], options: Claim) -> BoxFuture<'a, Vec<Delivery>> {
        self.later(move |space| space.claim(stream, &options))
    }

    fn auto_claim<'a>(&'a self, stream: &'a [u8], options: AutoClaim) -> BoxFuture<'a, AutoClaimed> {
        self.later(move |space| space.auto_claim(stream, &options))
    }

    fn pending_summary<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, PendingSummary> {
        self.later(move |space| {
            let (_, group) = space.group(stream, group)?;
            let held = group.consumers.keys().map(|name| (name.clone(), group.held_by(name).len() as u64));
            Ok(PendingSummary {
                count: group.rows.len() as u64,
                bounds: group.rows.keys().next().copied().zip(group.rows.keys().next_back().copied()),
                consumers: held.filter(|(_, held)| *held > 0).collect(),
            })
        })
    }

    fn pending<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        query: PendingQuery,
    ) -> BoxFuture<'a, Vec<PendingRow>> {
        self.later(move |space| {
            let now = space.now.steady;
            let (_, group) = space.group(stream, group)?;
            let is_meant = |(id, row): &(&EntryId, &Row)| {
                (query.start..=query.end).contains(*id)
                    && query.consumer.as_ref().is_none_or(|by| row.consumer() == Some(by))
                    && query.idle_min.is_none_or(|least| row.idle(now) >= Some(millis(least)))
            };
            let count = usize::try_from(query.count).unwrap_or(usize::MAX);
            Ok(group.rows.iter().filter(is_meant).take(count).map(|(id, row)| shown(*id, row, now)).collect())
        })
    }

    fn restore_pending<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        rows: &'a [RestoredRow],
    ) -> BoxFuture<'a, u64> {
        self.later(move |space| space.restore(stream, group, rows))
    }

    fn dead_letters<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        query: DeadLetterQuery,
    ) -> BoxFuture<'a, DeadLetterPage> {
        self.later(move |space| space.letters_page(stream, group, &query))
    }

    fn redrive<'a>(&'a self, stream: &'a [u8], group: &'a [u8], options: Redrive) -> BoxFuture<'a, Redriven> {
        self.later(move |space| space.redrive(stream, group, &options))
    }

    fn purge_dead_letters<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        options: Purge,
    ) -> BoxFuture<'a, u64> {
        self.later(move |space| space.purge(stream, group, &options))
    }
}

fn shown(id: EntryId, row: &Row, now: Timestamp) -> PendingRow {
    PendingRow {
        id,
        consumer: row.consumer().cloned(),
        state: row.state(now),
        idle: Duration::from_millis(row.idle(now).unwrap_or(0)),
        deliveries: row.deliveries,
        failures: row.failures,
        last_failure: row.last_failure.clone(),
    }
}

/// Who is given entries: stream, group, consumer.
type Who<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// What came of trying to give an entry to somebody.
enum Given {
    Delivery(Box<Delivery>),
    /// The entry is gone, and its row now is, too.
    Dropped,
    Buried,
}

impl Space {
    fn read_group(&mut self, stream: &[u8], options: &ReadGroup) -> Result<Look<Delivery>, Error> {
        let ReadGroup { group, consumer, source, count, wait: _, while_paused } = options;
        let now = self.now.steady;
        let of = self.group_mut(stream, group)?;
        of.consumers.insert(consumer.clone(), now);
        if of.is_paused(now) && !while_paused {
            return Ok(Look { found: Vec::new(), due: Some(of.paused_until) });
        }
        let who: Who<'_> = (stream, group, consumer);
        let mut found = Vec::new();
        match source {
            GroupSource::New => self.give_new(who, *count, &mut found)?,
            GroupSource::Reclaimed { idle_min } => self.give_reclaimed(who, *idle_min, *count, &mut found)?,
            GroupSource::Available { idle_min } => {
                self.give_reclaimed(who, *idle_min, *count, &mut found)?;
                self.give_new(who, *count, &mut found)?;
            }
            GroupSource::History { after } => {
                for id in self.group(stream, group)?.1.held_by(consumer) {
                    if id > *after && (found.len() as u64) < *count {
                        self.give_to(who, id, &mut found)?;
                    }
                }
            }
        }
        let due = self.group(stream, group)?.1.due(*source, now);
        Ok(Look { found, due })
    }

    /// Gives what is ready, then what is held for long enough. What becomes ready meanwhile comes with the next read.
    fn give_reclaimed(
        &mut self,
        who: Who<'_>,
        idle_min: Option<Duration>,
        count: u64,
        found: &mut Vec<Delivery>,
    ) -> Result<(), Error> {
        let now = self.now.steady;
        let (_, of) = self.group(who.0, who.1)?;
        let idle_min = millis(idle_min.unwrap_or(of.policy.lease));
        let ready = of.rows.iter().filter(|(_, row)| row.state(now) == PendingState::Ready);
        let idle = of.rows.iter().filter(|(_, row)| row.idle(now) >= Some(idle_min));
        let ids: Vec<_> = ready.chain(idle).map(|(id, _)| *id).collect();
        for id in ids {
            if (found.len() as u64) < count {
                self.give_to(who, id, found)?;
            }
        }
        Ok(())
    }

    /// Gives what nobody was given yet, in order; what is behind an earlier entry with its key waits from now on.
    fn give_new(&mut self, who: Who<'_>, count: u64, found: &mut Vec<Delivery>) -> Result<(), Error> {
        let (stream, group, _) = who;
        while (found.len() as u64) < count {
            let (facts, of) = self.group(stream, group)?;
            let Some((id, stored)) = facts.entries.iter().find(|(id, _)| **id > of.last_delivered) else {
                break;
            };
            let (id, sees, lane) = (*id, of.sees(&stored.fields), of.lane_of(&stored.fields));
            let is_busy = of.is_busy(lane.as_ref());
            if sees && is_busy && of.rows.values().filter(|row| row.is_waiting()).count() >= WAITING_ROWS_MAX
            {
                break;
            }
            let of = self.group_mut(stream, group)?;
            of.last_delivered = id;
            if !sees {
                of.filtered += 1;
                continue;
            }
            of.rows.insert(id, Row::new(if is_busy { Place::Waiting } else { Place::READY }, lane));
            if !is_busy {
                self.give_to(who, id, found)?;
            }
        }
        Ok(())
    }

    fn give_to(&mut self, who: Who<'_>, id: EntryId, found: &mut Vec<Delivery>) -> Result<(), Error> {
        if let Given::Delivery(delivery) = self.give(who, id)? {
            found.push(*delivery);
        }
        Ok(())
    }

    /// Gives a pending entry to a consumer, unless it is gone or was given out too often.
    fn give(&mut self, (stream, group, consumer): Who<'_>, id: EntryId) -> Result<Given, Error> {
        let now = self.now.steady;
        let (facts, of) = self.group(stream, group)?;
        let entry = facts.entry(id);
        let deliveries = of.rows.get(&id).map_or(0, |row| row.deliveries);
        let is_too_often = deliveries >= u64::from(of.policy.deliveries_max);
        self.changes += 1;
        let Some(entry) = entry else {
            self.group_mut(stream, group)?.take_off(id);
            return Ok(Given::Dropped);
        };
        if is_too_often {
            let (class, reason) = (Failure::DELIVERIES.to_vec(), Failure::DELIVERIES_REASON.to_vec());
            self.bury(stream, group, id, Failure { class, reason, at: now });
            return Ok(Given::Buried);
        }
        let token = self.next_token();
        let of = self.group_mut(stream, group)?;
        let lease_until = Timestamp(now.0.saturating_add(millis(of.policy.lease)));
        let row = of.rows.get_mut(&id).expect("only pending entries are given");
        row.deliveries += 1;
        row.place = Place::Held { consumer: consumer.to_vec(), since: now, token };
        Ok(Given::Delivery(Box::new(Delivery {
            entry,
            token,
            deliveries: row.deliveries,
            failures: row.failures,
            first_failure: row.first_failure.clone(),
            last_failure: row.last_failure.clone(),
            lease_until,
            redrives: row.redrives,
        })))
    }

    fn claim(&mut self, stream: &[u8], options: &Claim) -> Result<Vec<Delivery>, Error> {
        let Claim { group, consumer, idle_min, ids } = options;
        check_names(&[consumer])?;
        let now = self.now.steady;
        let of = self.group_mut(stream, group)?;
        of.consumers.insert(consumer.clone(), now);
        let mut ids: Vec<_> = ids.iter().copied().filter(|id| of.may_claim(*id, *idle_min, now)).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut found = Vec::new();
        for id in ids {
            self.give_to((stream, group, consumer), id, &mut found)?;
        }
        Ok(found)
    }

    fn auto_claim(&mut self, stream: &[u8], options: &AutoClaim) -> Result<AutoClaimed, Error> {
        let AutoClaim { group, consumer, idle_min, start, count } = options;
        check_names(&[consumer])?;
        let now = self.now.steady;
        let of = self.group_mut(stream, group)?;
        of.consumers.insert(consumer.clone(), now);
        let mut claimed = AutoClaimed { deliveries: Vec::new(), cursor: EntryId::MIN, deleted: Vec::new() };
        if of.is_paused(now) {
            return Ok(claimed);
        }
        let rows: Vec<_> =
            of.rows.range(*start..).map(|(id, _)| (*id, of.may_claim(*id, *idle_min, now))).collect();
        for (id, may_have) in rows {
            if claimed.deliveries.len() as u64 >= *count {
                claimed.cursor = id;
                break;
            }
            if !may_have {
                continue;
            }
            match self.give((stream, group, consumer), id)? {
                Given::Delivery(delivery) => claimed.deliveries.push(*delivery),
                Given::Dropped => claimed.deleted.push(id),
                Given::Buried => {}
            }
        }
        Ok(claimed)
    }

    fn restore(&mut self, stream: &[u8], group: &[u8], rows: &[RestoredRow]) -> Result<u64, Error> {
        let now = self.now.steady;
        self.group(stream, group)?;
        let mut restored = 0;
        for row in rows {
            let token = self.next_token();
            let (facts, of) = self.group(stream, group)?;
            let Some(entry) = facts.entry(row.id).filter(|_| row.id <= of.last_delivered) else { continue };
            let lane = of.lane_of(&entry.fields);
            let from = Timestamp(row.delay.map_or(0, |delay| now.0.saturating_add(millis(delay))));
            let place = match &row.consumer {
                Some(consumer) => {
                    let since = Timestamp(now.0.saturating_sub(millis(row.idle)));
                    Place::Held { consumer: consumer.clone(), since, token }
                }
                None => Place::Free { from },
            };
            let (deliveries, failures) = (row.deliveries, row.failures);
            let of = self.group_mut(stream, group)?;
            if let Some(consumer) = &row.consumer {
                of.consumers.entry(consumer.clone()).or_insert(now);
            }
            of.put(row.id, Row { deliveries, failures, ..Row::new(place, lane) });
            restored += 1;
        }
        self.changes += 1;
        Ok(restored)
    }
}

impl Group {
    /// Whether a claim may take a row: somebody has held it for long enough, or it is ready.
    fn may_claim(&self, id: EntryId, idle_min: Duration, now: Timestamp) -> bool {
        let Some(row) = self.rows.get(&id).filter(|_| !self.is_paused(now)) else { return false };
        row.state(now) == PendingState::Ready || row.idle(now) >= Some(millis(idle_min))
    }

    /// When a read of this kind may find something though nothing changes.
    fn due(&self, source: GroupSource, now: Timestamp) -> Option<Timestamp> {
        let idle_min = match source {
            GroupSource::New | GroupSource::History { .. } => return None,
            GroupSource::Reclaimed { idle_min } | GroupSource::Available { idle_min } => {
                millis(idle_min.unwrap_or(self.policy.lease))
            }
        };
        let times = self.rows.values().filter_map(|row| match &row.place {
            Place::Held { since, .. } => Some(Timestamp(since.0.saturating_add(idle_min))),
            Place::Free { from } => Some(*from.max(&now)),
            Place::Waiting => None,
        });
        times.min().filter(|due| *due < FOREVER)
    }
}
