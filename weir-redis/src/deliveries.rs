//! Delivery on a Redis: every verb that changes a row is one script.

use std::time::Duration;

use redis::Value;
use tokio::time::sleep;
use weir_core::{
    AutoClaim, AutoClaimed, BoxFuture, Claim, DeadLetterPage, DeadLetterQuery, Deliveries, Delivery, EntryId,
    Error, ErrorKind, Failure, GroupSource, PendingQuery, PendingRow, PendingState, PendingSummary, Policy,
    Purge, ReadGroup, Redrive, Redriven, RestoredRow, Settle, Settled, Settlement, Timestamp,
};

use crate::groups::{PARKED, check_consumer};
use crate::link::{Lane, Patience, Repeat};
use crate::policy::{countable, millis};
use crate::reply::{self, Row, unexpected};
use crate::request::{self, Request};
use crate::{RedisBroker, about_group, token};

/// The most settlements, claims or restored rows of one script: the server does nothing else meanwhile.
const CHUNK: usize = 500;

impl Deliveries for RedisBroker {
    fn read_group<'a>(&'a self, stream: &'a [u8], options: ReadGroup) -> BoxFuture<'a, Vec<Delivery>> {
        Box::pin(async move {
            let read = self.read_deliveries(stream, &options).await;
            read.map_err(|error| error.about_group(stream, &options.group))
        })
    }

    fn settle<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        settlements: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Settled>> {
        about_group(stream, group, async move {
            settlements.iter().try_for_each(check_settlement)?;
            if settlements.is_empty() {
                self.pending_summary(stream, group).await?;
            }
            let mut settled = Vec::with_capacity(settlements.len());
            for settlements in settlements.chunks(CHUNK) {
                settled.extend(self.settle_chunk(stream, group, settlements).await?);
            }
            Ok(settled)
        })
    }

    fn claim<'a>(&'a self, stream: &'a [u8], options: Claim) -> BoxFuture<'a, Vec<Delivery>> {
        Box::pin(async move {
            let claimed = self.claim_entries(stream, &options).await;
            claimed.map_err(|error| error.about_group(stream, &options.group))
        })
    }

    fn auto_claim<'a>(&'a self, stream: &'a [u8], options: AutoClaim) -> BoxFuture<'a, AutoClaimed> {
        Box::pin(async move {
            let claimed = self.auto_claim_entries(stream, &options).await;
            claimed.map_err(|error| error.about_group(stream, &options.group))
        })
    }

    fn pending_summary<'a>(&'a self, stream: &'a [u8], group: &'a [u8]) -> BoxFuture<'a, PendingSummary> {
        about_group(stream, group, async move {
            let request = self.group_script(&request::SUMMARY, stream, group)?;
            let mut row = Row::new(self.ask(stream, &request).await?);
            let count = row.take("a number of rows", reply::uint)?;
            let (first, last) = (reply::id(row.value()), reply::id(row.value()));
            let mut consumers: Vec<_> = reply::array(row.value())
                .into_iter()
                .filter_map(|pair| {
                    let mut pair = Row::new(pair);
                    Some((reply::bytes(pair.value())?, reply::uint(pair.value())?))
                })
                .filter(|(name, _)| name != PARKED)
                .collect();
            consumers.sort();
            Ok(PendingSummary { count, bounds: first.zip(last), consumers })
        })
    }

    fn pending<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        query: PendingQuery,
    ) -> BoxFuture<'a, Vec<PendingRow>> {
        about_group(stream, group, async move {
            let request = self
                .group_script(&request::PENDING, stream, group)?
                .arg(query.consumer.as_deref().unwrap_or_default())
                .arg(query.idle_min.map(|idle| millis(idle).to_string()).unwrap_or_default())
                .arg(query.start.to_string())
                .arg(query.end.to_string())
                .arg(countable(query.count));
            reply::array(self.ask(stream, &request).await?).into_iter().map(parse_row).collect()
        })
    }

    fn restore_pending<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        rows: &'a [RestoredRow],
    ) -> BoxFuture<'a, u64> {
        about_group(stream, group, async move {
            let mut restored = 0;
            let mut chunks: Vec<&[RestoredRow]> = rows.chunks(CHUNK).collect();
            if chunks.is_empty() {
                chunks.push(&[]);
            }
            for rows in chunks {
                let mut request = self.group_script(&request::RESTORE, stream, group)?;
                for row in rows {
                    if let Some(consumer) = &row.consumer {
                        check_consumer(consumer)?;
                    }
                    request.push(row.id.to_string());
                    request.push(row.consumer.as_deref().unwrap_or_default());
                    request.push(millis(row.idle));
                    request.push(countable(row.deliveries));
                    request.push(countable(row.failures));
                    let delay = row.delay.map(|delay| millis(delay).to_string());
                    request.push(delay.unwrap_or_default());
                }
                restored += reply::uint(self.ask(stream, &request).await?).unwrap_or(0);
            }
            Ok(restored)
        })
    }

    fn dead_letters<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        query: DeadLetterQuery,
    ) -> BoxFuture<'a, DeadLetterPage> {
        about_group(stream, group, self.list_letters(stream, group, query))
    }

    fn redrive<'a>(&'a self, stream: &'a [u8], group: &'a [u8], options: Redrive) -> BoxFuture<'a, Redriven> {
        about_group(stream, group, self.redrive_letters(stream, group, options))
    }

    fn purge_dead_letters<'a>(
        &'a self,
        stream: &'a [u8],
        group: &'a [u8],
        options: Purge,
    ) -> BoxFuture<'a, u64> {
        about_group(stream, group, self.purge_letters(stream, group, options))
    }
}

impl RedisBroker {
    /// Asks at once, then whenever something came, is due, or a tick is over. Between, the wait is the server's, and it
    /// ends with the first new entry.
    async fn read_deliveries(&self, stream: &[u8], options: &ReadGroup) -> Result<Vec<Delivery>, Error> {
        check_consumer(&options.consumer)?;
        let is_history = matches!(options.source, GroupSource::History { .. });
        if is_history && options.wait.is_some() {
            return Err(ErrorKind::Invalid("a history read does not wait").into());
        }
        let request = self.read_request(stream, options)?;
        let patience = options.wait.filter(|_| options.count > 0).map(Patience::new);
        let mut waiting = self.link().waiting(stream);
        loop {
            let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
            let read = parse_read(value)?;
            if !read.deliveries.is_empty() {
                return Ok(read.deliveries);
            }
            if read.next == Next::AtOnce {
                continue;
            }
            let most = read.due_in.unwrap_or(Duration::MAX).min(self.link().options().tick);
            let Some(slice) = patience.and_then(|patience| patience.left(most)) else {
                return Ok(Vec::new());
            };
            if read.next == Next::ReadAgain {
                continue;
            }
            let awaits_new = !matches!(options.source, GroupSource::Reclaimed { .. });
            match read.last_delivered {
                Some(last) if awaits_new && read.next == Next::WhenSomethingCame => {
                    waiting.wait(&last.to_string(), 1, slice).await?;
                }
                _ => sleep(slice).await,
            }
        }
    }

    async fn claim_entries(&self, stream: &[u8], options: &Claim) -> Result<Vec<Delivery>, Error> {
        check_consumer(&options.consumer)?;
        let mut ids = options.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let mut deliveries = Vec::new();
        let mut chunks: Vec<&[EntryId]> = ids.chunks(CHUNK).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        for ids in chunks {
            let mut request = self.group_script(&request::CLAIM, stream, &options.group)?;
            request = request.arg(&options.consumer).arg(millis(options.idle_min));
            ids.iter().for_each(|id| request.push(id.to_string()));
            let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
            deliveries.extend(parse_deliveries(&mut Row::new(value))?);
        }
        Ok(deliveries)
    }

    async fn auto_claim_entries(&self, stream: &[u8], options: &AutoClaim) -> Result<AutoClaimed, Error> {
        check_consumer(&options.consumer)?;
        let request = self
            .group_script(&request::AUTO_CLAIM, stream, &options.group)?
            .arg(&options.consumer)
            .arg(millis(options.idle_min))
            .arg(options.start.to_string())
            .arg(countable(options.count));
        let value = self.link().call(stream, Lane::Commands, &request, Repeat::Never).await?;
        let mut row = Row::new(value);
        let deliveries = parse_deliveries(&mut row)?;
        let cursor = row.take("a cursor", reply::id)?;
        let deleted = reply::array(row.value()).into_iter().filter_map(reply::id).collect();
        Ok(AutoClaimed { deliveries, cursor, deleted })
    }

    fn read_request(&self, stream: &[u8], options: &ReadGroup) -> Result<Request, Error> {
        let idle_text =
            |idle: Option<Duration>| idle.map(|idle| millis(idle).to_string()).unwrap_or_default();
        let (source, idle_min, after) = match options.source {
            GroupSource::New => ("new", String::new(), EntryId::MIN),
            GroupSource::Reclaimed { idle_min } => ("reclaimed", idle_text(idle_min), EntryId::MIN),
            GroupSource::Available { idle_min } => ("available", idle_text(idle_min), EntryId::MIN),
            GroupSource::History { after } => ("history", String::new(), after),
        };
        Ok(self
            .group_script(&request::READ, stream, &options.group)?
            .arg(&options.consumer)
            .arg(source)
            .arg(countable(options.count))
            .arg(idle_min)
            .arg(after.to_string())
            .arg(u8::from(options.while_paused)))
    }

    async fn settle_chunk(
        &self,
        stream: &[u8],
        group: &[u8],
        settlements: &[Settle],
    ) -> Result<Vec<Settled>, Error> {
        let ids = || settlements.iter().map(|settle| settle.id);
        let (lowest, highest) = (ids().min().unwrap_or(EntryId::MIN), ids().max().unwrap_or(EntryId::MAX));
        let mut request = self.group_script(&request::SETTLE, stream, group)?;
        request = request.arg(lowest.to_string()).arg(highest.to_string());
        for settle in settlements {
            push_settlement(&mut request, settle);
        }
        let are_acks =
            settlements.iter().all(|settle| settle.token.is_some() && settle.settlement == Settlement::Ack);
        let answer = self.link().call(stream, Lane::Settling, &request, Repeat::Never).await;
        match answer {
            Ok(value) => parse_settled(value, settlements.len()),
            // What the first attempt may have acknowledged is not pending now; what it has not is acknowledged now.
            Err(error) if are_acks && *error.kind() == ErrorKind::Unavailable => {
                let value = self.link().call(stream, Lane::Settling, &request, Repeat::Harmless).await?;
                let mut settled = parse_settled(value, settlements.len())?;
                let repeated = settled.iter_mut().filter(|settled| **settled == Settled::NotPending);
                repeated.for_each(|settled| *settled = Settled::Done);
                Ok(settled)
            }
            Err(error) => Err(error),
        }
    }
}

fn check_settlement(settle: &Settle) -> Result<(), Error> {
    match settle.settlement {
        Settlement::Nak { delay: Some(delay), .. } | Settlement::Release { delay: Some(delay) }
            if delay > Policy::DELAY_MAX =>
        {
            Err(ErrorKind::Invalid("a delay is at most 24 hours").into())
        }
        _ => Ok(()),
    }
}

fn push_settlement(request: &mut Request, settle: &Settle) {
    let delay_text =
        |delay: &Option<Duration>| delay.map(|delay| millis(delay).to_string()).unwrap_or_default();
    let (kind, delay, class, reason): (_, _, &[u8], &[u8]) = match &settle.settlement {
        Settlement::Ack => ("a", String::new(), b"", b""),
        Settlement::Nak { delay, class, reason } => ("n", delay_text(delay), class, reason),
        Settlement::Release { delay } => ("r", delay_text(delay), b"", b""),
        Settlement::Term { class, reason } => ("t", String::new(), class, reason),
        Settlement::Extend => ("e", String::new(), b"", b""),
    };
    request.push(settle.id.to_string());
    request.push(settle.token.map(token::text).unwrap_or_default());
    request.push(kind);
    request.push(delay);
    request.push(&class[..class.len().min(Failure::CLASS_MAX)]);
    request.push(&reason[..reason.len().min(Failure::REASON_MAX)]);
}

fn parse_settled(value: Value, count: usize) -> Result<Vec<Settled>, Error> {
    let letters = reply::bytes(value).unwrap_or_default();
    let settled = letters.iter().map(|letter| match letter {
        b'd' => Some(Settled::Done),
        b'l' => Some(Settled::DeadLettered),
        b's' => Some(Settled::Stale),
        b'n' => Some(Settled::NotPending),
        _ => None,
    });
    let settled: Option<Vec<_>> = settled.collect();
    settled.filter(|settled| settled.len() == count).ok_or_else(|| unexpected("what was settled"))
}

/// When to ask again.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    AtOnce,
    /// At once, but that is another read: what this one let go, it is not given itself.
    ReadAgain,
    WhenSomethingCame,
    /// New entries change nothing: the group is paused, or too much waits for busy keys.
    Later,
}

struct Read {
    next: Next,
    due_in: Option<Duration>,
    last_delivered: Option<EntryId>,
    deliveries: Vec<Delivery>,
}

fn parse_read(value: Value) -> Result<Read, Error> {
    let mut row = Row::new(value);
    let next = match &row.take("what comes next", reply::bytes)?[..] {
        b"more" => Next::AtOnce,
        b"next" => Next::ReadAgain,
        b"done" => Next::WhenSomethingCame,
        _ => Next::Later,
    };
    let now = row.take("the time", reply::uint)?;
    let lease = reply::uint(row.value());
    let mark = row.take("a mark", reply::uint)?;
    let due = reply::uint(row.value());
    let due_in = due.map(|due| Duration::from_millis(due.saturating_sub(now).max(1)));
    let last_delivered = reply::id(row.value());
    let deliveries = parse_given(row.value(), now, lease, mark)?;
    Ok(Read { next, due_in, last_delivered, deliveries })
}

/// What the claiming scripts begin their answers with.
fn parse_deliveries(row: &mut Row) -> Result<Vec<Delivery>, Error> {
    let now = row.take("the time", reply::uint)?;
    let lease = reply::uint(row.value());
    let mark = row.take("a mark", reply::uint)?;
    parse_given(row.value(), now, lease, mark)
}

fn parse_given(value: Value, now: u64, lease: Option<u64>, mark: u64) -> Result<Vec<Delivery>, Error> {
    let lease_until = Timestamp(lease.map_or(u64::MAX, |lease| now.saturating_add(lease)));
    let parse = |value| {
        let mut row = Row::new(value);
        let id = row.take("the ID of an entry", reply::id)?;
        let fields = reply::fields(row.value());
        let epoch = row.take("an epoch", reply::uint)?;
        let deliveries = row.take("a number of deliveries", reply::uint)?;
        let failures = parse_failures(row.value());
        Ok(Delivery {
            entry: reply::entry(id, fields),
            token: token::token(epoch, mark, deliveries),
            deliveries,
            failures: failures.count,
            first_failure: failures.first,
            last_failure: failures.last,
            lease_until,
            redrives: failures.redrives,
        })
    };
    reply::array(value).into_iter().map(parse).collect()
}

#[derive(Default)]
struct Failures {
    count: u64,
    redrives: u32,
    first: Option<Failure>,
    last: Option<Failure>,
}

fn parse_failures(value: Value) -> Failures {
    let mut row = Row::new(value);
    let count = reply::uint(row.value()).unwrap_or(0);
    let redrives = reply::uint(row.value()).and_then(|redrives| u32::try_from(redrives).ok()).unwrap_or(0);
    let mut failure = || {
        let (at, class, reason) = (reply::uint(row.value()), row.value(), row.value());
        let text = |value| reply::bytes(value).unwrap_or_default();
        at.map(|at| Failure { class: text(class), reason: text(reason), at: Timestamp(at) })
    };
    let (first, last) = (failure(), failure());
    Failures { count, redrives, first, last }
}

fn parse_row(value: Value) -> Result<PendingRow, Error> {
    let mut row = Row::new(value);
    let id = row.take("the ID of a row", reply::id)?;
    let consumer = row.take("an owner", reply::bytes)?;
    let state = row.take("a state", reply::bytes)?;
    let until = row.take("a time", reply::uint)?;
    let state = match &state[..] {
        b"r" => PendingState::Ready,
        b"d" => PendingState::Delayed { until: Timestamp(until) },
        b"w" => PendingState::Waiting,
        _ => PendingState::InFlight,
    };
    let idle = Duration::from_millis(row.take("an idle time", reply::uint)?);
    let deliveries = row.take("a number of deliveries", reply::uint)?;
    let failures = parse_failures(row.value());
    Ok(PendingRow {
        id,
        consumer: (state == PendingState::InFlight).then_some(consumer),
        state,
        idle,
        deliveries,
        failures: failures.count,
        last_failure: failures.last,
    })
}
