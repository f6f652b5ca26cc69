//! Rates: so many entries per time, for one consumer or shared by a whole group.
//!
//! A consumer asks before it reads, and reads no more than it was granted; so nothing waits in its hands.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_core::{
    AppendOptions, Broker, Error, ErrorKind, Expected, ReadFrom, ReadOptions, Retention, first_value,
    slot_name,
};

use crate::time::Time;

/// At most `count` entries in any span of `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Entries; at least 1.
    pub count: u64,
    /// In this time; more than zero.
    pub per: Duration,
}

/// What was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// So many, at least one.
    Entries(u64),
    /// None for so long.
    Wait(Duration),
}

/// A rate within this process.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// Grants that still count, oldest first. Not many more than [`PARTS`].
    granted: Mutex<Vec<Granted>>,
}

/// Grants that were close together. They count until the last of them does not.
#[derive(Debug)]
struct Granted {
    first: Duration,
    last: Duration,
    count: u64,
}

/// Grants within such a part of the time are kept as one.
const PARTS: u32 = 64;

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, granted: Mutex::new(Vec::new()) }
    }

    fn granted(&self) -> std::sync::MutexGuard<'_, Vec<Granted>> {
        self.granted.lock().expect("nothing panics under this lock")
    }

    /// Grants up to `wanted`, at least one, or says how long there is none.
    pub(crate) fn take(&self, now: Duration, wanted: u64) -> Grant {
        let mut granted = self.granted();
        granted.retain(|grant| grant.last + self.rate.per > now);
        let spent: u64 = granted.iter().map(|grant| grant.count).sum();
        let free = self.rate.count.saturating_sub(spent).min(wanted);
        if free == 0 {
            let first = granted.first().map_or(now, |grant| grant.last);
            return Grant::Wait((first + self.rate.per).saturating_sub(now));
        }
        let part = self.rate.per / PARTS;
        match granted.last_mut().filter(|grant| now.saturating_sub(grant.first) < part) {
            Some(grant) => {
                grant.last = grant.last.max(now);
                grant.count += free;
            }
            None => granted.push(Granted { first: now, last: now, count: free }),
        }
        Grant::Entries(free)
    }

    /// Grants all of `wanted` (or the whole rate, when more is wanted than that), or says how long to wait.
    pub(crate) fn take_all(&self, now: Duration, wanted: u64) -> Result<(), Duration> {
        let wanted = wanted.min(self.rate.count);
        match self.take(now, wanted) {
            Grant::Entries(granted) if granted == wanted => Ok(()),
            Grant::Entries(granted) => {
                self.give_back(granted);
                let first = self.granted().first().map_or(now, |grant| grant.last);
                Err((first + self.rate.per).saturating_sub(now).max(Duration::from_micros(1)))
            }
            Grant::Wait(wait) => Err(wait),
        }
    }

    /// Takes back what was granted last and not used.
    pub(crate) fn give_back(&self, mut unused: u64) {
        let mut granted = self.granted();
        while let Some(grant) = granted.last_mut().filter(|_| unused > 0) {
            let back = unused.min(grant.count);
            grant.count -= back;
            unused -= back;
            if grant.count == 0 {
                granted.pop();
            }
        }
    }
}

/// A rate that all consumers of a group share, by way of the broker: each grant is an entry in the stream
/// `{stream}:rate:group`, appended only if nobody else appended meanwhile. The time is the broker's.
///
/// Wants a broker that keeps versions (any but a Redis that foreign clients write to). What was granted and not used
/// stays spent.
pub(crate) struct Shared {
    broker: Arc<dyn Broker>,
    stream: Vec<u8>,
    rate: Rate,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl Shared {
    const COUNT: &'static [u8] = b"count";
    /// Grants are looked at so many at a time.
    const PAGE: u64 = 1_000;
    /// How long one waits who was outrun.
    const OUTRUN: Duration = Duration::from_millis(2);

    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        stream: &[u8],
        group: &[u8],
        rate: Rate,
    ) -> Result<Self, Error> {
        let stream = [&slot_name(stream)?, &b":rate:"[..], group].concat();
        Ok(Self { broker, stream, rate })
    }

    /// Bounds the stream of grants; to be called once before [`Self::take`].
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        let retention = Retention { age: Some(self.rate.per * 2), ..Retention::default() };
        self.broker.set_retention(&self.stream, Some(retention)).await
    }

    pub(crate) async fn take(&self, wanted: u64) -> Result<Grant, Error> {
        let version = self.broker.head(&self.stream).await?.and_then(|head| head.version);
        let (granted, newest) = self.granted().await?;
        let expected = version.map_or(Expected::NoEntries, Expected::Version);
        // The window ends when the next grant would be written, and only the broker knows when that is. So a grant that
        // was written is looked at again: its own time decides what had been granted before it.
        let window = u64::try_from(self.rate.per.as_millis()).unwrap_or(u64::MAX);
        let since = newest.saturating_sub(window);
        let spent: u64 = granted.iter().filter(|(at, _)| *at > since).map(|(_, count)| count).sum();
        let free = self.rate.count.saturating_sub(spent).min(wanted);
        if free == 0 {
            return self.probe(&granted, window, expected).await;
        }
        self.grant(free, expected).await
    }

    async fn grant(&self, free: u64, expected: Expected) -> Result<Grant, Error> {
        let count = free.to_string();
        let fields = [(Self::COUNT, count.as_bytes())];
        let options = AppendOptions { expected, ..AppendOptions::default() };
        match self.broker.append(&self.stream, &fields, options).await {
            Ok(_) => Ok(Grant::Entries(free)),
            Err(error) if matches!(error.kind(), ErrorKind::VersionMismatch { .. }) => {
                Ok(Grant::Wait(Self::OUTRUN))
            }
            Err(error) => Err(error),
        }
    }

    /// Nothing is free as of the newest grant. Time has passed since, and an entry that grants nothing tells how much.
    async fn probe(&self, granted: &[(u64, u64)], window: u64, expected: Expected) -> Result<Grant, Error> {
        if !matches!(self.grant(0, expected).await?, Grant::Entries(_)) {
            return Ok(Grant::Wait(Self::OUTRUN));
        }
        let (_, now) = self.granted().await?;
        let first = granted.iter().find(|(at, count)| *count > 0 && at + window > now);
        let wait = first.map_or(0, |(at, _)| at + window - now);
        Ok(Grant::Wait(Duration::from_millis(wait)))
    }

    /// All grants that are kept: when and how many; and when the newest was written.
    async fn granted(&self) -> Result<(Vec<(u64, u64)>, u64), Error> {
        let (mut all, mut from) = (Vec::new(), ReadFrom::Start);
        loop {
            let options = ReadOptions { from, to: None, backward: false, count: Self::PAGE, wait: None };
            let entries = self.broker.read(&self.stream, options).await?;
            all.extend(entries.iter().map(|entry| {
                let count =
                    first_value(&entry.fields, Self::COUNT).and_then(|count| std::str::from_utf8(count).ok());
                (entry.appended_at.0, count.and_then(|count| count.parse().ok()).unwrap_or(0))
            }));
            match entries.last() {
                Some(last) if entries.len() as u64 == Self::PAGE => from = ReadFrom::After(last.id),
                _ => break,
            }
        }
        let newest = all.last().map_or(0, |(at, _)| *at);
        Ok((all, newest))
    }
}

/// Who may read how much: a bucket of this process, or one that the group shares.
#[derive(Debug, Clone)]
pub(crate) enum Limiter {
    Own(Arc<Bucket>),
    Shared(Arc<Shared>),
}

impl Limiter {
    pub(crate) async fn take(&self, time: &Time, wanted: u64) -> Result<Grant, Error> {
        match self {
            Self::Own(bucket) => Ok(bucket.take(time.elapsed(), wanted)),
            Self::Shared(shared) => shared.take(wanted).await,
        }
    }

    pub(crate) fn give_back(&self, unused: u64) {
        if let Self::Own(bucket) = self {
            bucket.give_back(unused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_span_of_time_sees_more_than_the_rate() {
        let bucket = Bucket::new(Rate { count: 3, per: Duration::from_secs(1) });
        let at = Duration::from_millis;
        assert_eq!(bucket.take(at(0), 2), Grant::Entries(2));
        assert_eq!(bucket.take(at(400), 5), Grant::Entries(1));
        assert_eq!(bucket.take(at(500), 1), Grant::Wait(at(500)));
        assert_eq!(bucket.take(at(1_000), 5), Grant::Entries(2));
        bucket.give_back(1);
        assert_eq!(bucket.take_all(at(1_100), 2), Err(at(300)), "one is free, two are wanted");
        assert_eq!(bucket.take_all(at(1_400), 2), Ok(()));
    }

    #[test]
    fn many_grants_are_few_numbers() {
        let bucket = Bucket::new(Rate { count: 100_000, per: Duration::from_secs(1) });
        for micros in 0..300_000 {
            let taken = bucket.take(Duration::from_micros(micros * 10), 1);
            assert!(bucket.granted().len() <= PARTS as usize + 2, "{taken:?}");
        }
    }
}
