//! The policy of a group: how often it tries, how long it waits, what it sees, in which order.

use std::time::Duration;

use super::Fields;
#[cfg(doc)]
use super::{Lag, Retention, Settlement, Streams};
use crate::{EntryId, Error, ErrorKind};

/// Names under which the envelope families keep the type of an event, in the order they are looked for.
pub const TYPE_FIELDS: [&[u8]; 4] = [b"type", b"eventType", b"event_type", b"event"];

/// Names under which the envelope families keep the tenant, in the order they are looked for.
pub const TENANT_FIELDS: [&[u8]; 6] =
    [b"tenant", b"tenantId", b"tenant_id", b"brand", b"brandId", b"brand_id"];

/// What a group does with failures, and what it is given. Stored with the group and enforced by the engine whenever it
/// gives an entry to somebody, whoever reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// So many reported failures make an entry a dead letter; at least 1.
    pub failures_max: u32,
    /// An entry that was given out so often and never settled becomes a dead letter instead of being given out once
    /// more; at least 1. This is what ends an entry that kills its handlers' process.
    pub deliveries_max: u32,
    /// How long a failed entry waits.
    pub backoff: Backoff,
    /// How long a consumer may hold an entry before others may take it; more than zero.
    pub lease: Duration,
    /// Where dead letters go; `None` = [`crate::dead_letters_of`]. It belongs to this group alone. On a Redis cluster it
    /// has to be in the stream's hash slot.
    pub dead_letter: Option<Vec<u8>>,
    /// The field whose value orders delivery: of the entries with the same value at most one is given out at a time,
    /// in order of their IDs. An entry without the field is ordered after nothing.
    pub key: Option<Vec<u8>>,
    /// What the group sees. Whatever does not match is passed over and counted; it is never pending and no lag.
    pub filter: Option<Filter>,
    /// Whether retention and trims wait for this group to acknowledge. See [`Retention::hold`].
    pub required: bool,
    /// A failure that comes so long after the first one of the same entry makes it a dead letter; `None` = no such
    /// limit.
    pub retry_for_max: Option<Duration>,
    /// Whether a failure of another class than the last one counts from 1 again.
    pub reset_on_class: bool,
}

impl Policy {
    /// The longest single delay: 24 hours.
    pub const DELAY_MAX: Duration = Duration::from_secs(24 * 3_600);

    /// What weir recommends: 10 failures, 20 deliveries, waits of 1 s, 2 s, 4 s … 60 s, a lease of 30 s, no order, no
    /// filter, not required.
    #[must_use]
    pub fn recommended() -> Self {
        Self {
            failures_max: 10,
            deliveries_max: 20,
            backoff: Backoff::recommended(),
            lease: Duration::from_secs(30),
            dead_letter: None,
            key: None,
            filter: None,
            required: false,
            retry_for_max: None,
            reset_on_class: false,
        }
    }

    /// Retries after these delays and no more: one failure more than there are delays makes a dead letter.
    #[must_use]
    pub fn delayed(delays: Vec<Duration>) -> Self {
        let failures_max = u32::try_from(delays.len()).unwrap_or(u32::MAX).saturating_add(1);
        let backoff = if delays.is_empty() { Backoff::recommended() } else { Backoff::List(delays) };
        Self { failures_max, backoff, ..Self::recommended() }
    }

    /// Whether it can be kept.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming what cannot.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |what| Err(Error::new(ErrorKind::Invalid(what)));
        if self.failures_max == 0 {
            return refuse("failures_max must be at least 1");
        }
        if self.deliveries_max == 0 {
            return refuse("deliveries_max must be at least 1");
        }
        if self.lease.as_millis() == 0 {
            return refuse("the lease must be at least a millisecond");
        }
        if self.dead_letter.as_ref().is_some_and(Vec::is_empty) {
            return refuse("the dead-letter stream needs a name");
        }
        if self.key.as_ref().is_some_and(Vec::is_empty) {
            return refuse("the key needs the name of a field");
        }
        if self.filter.as_ref().is_some_and(|filter| filter.conditions.is_empty()) {
            return refuse("a filter needs at least one condition; leave it out to see everything");
        }
        self.backoff.check()
    }
}

/// How long a failed entry waits before it is given out again. A pure function of the entry and its failures: asking
/// changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backoff {
    /// The first, second … wait; the last one from then on. Not empty.
    List(Vec<Duration>),
    /// Each wait is the one before times `factor_percent` / 100, up to `max`.
    Exponential {
        /// The first wait.
        first: Duration,
        /// At least 100; 200 doubles.
        factor_percent: u32,
        /// No wait is longer.
        max: Duration,
        /// So much of a wait, at most, is taken off again, differently for each entry and failure, so that what failed
        /// together does not come back together; 0 to 100.
        jitter_percent: u32,
    },
}

impl Backoff {
    /// 1 s, 2 s, 4 s … 60 s, without jitter.
    #[must_use]
    pub fn recommended() -> Self {
        Self::Exponential {
            first: Duration::from_secs(1),
            factor_percent: 200,
            max: Duration::from_secs(60),
            jitter_percent: 0,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |what| Err(Error::new(ErrorKind::Invalid(what)));
        let is_long = |delay: &Duration| *delay > Policy::DELAY_MAX;
        match self {
            Self::List(delays) if delays.is_empty() => refuse("a list of delays needs at least one"),
            Self::List(delays) if delays.len() > 1_000 => refuse("a list of delays has at most 1000"),
            Self::List(delays) if delays.iter().any(is_long) => refuse("a delay is at most 24 hours"),
            Self::Exponential { first, max, .. } if is_long(first) || is_long(max) => {
                refuse("a delay is at most 24 hours")
            }
            Self::Exponential { factor_percent, .. } if !(100..=100_000).contains(factor_percent) => {
                refuse("the factor of a backoff is between 100 and 100000 percent")
            }
            Self::Exponential { jitter_percent, .. } if *jitter_percent > 100 => {
                refuse("the jitter of a backoff is at most 100 percent")
            }
            _ => Ok(()),
        }
    }

    /// How many milliseconds an entry waits after its `failures`-th failure, counted from 1.
    ///
    /// Whole numbers only, below 2⁵³ at every step, so that a script on a Redis computes the same.
    #[must_use]
    pub fn delay_millis(&self, id: EntryId, failures: u32) -> u64 {
        let millis = |delay: &Duration| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        match self {
            Self::List(delays) => {
                let nth = (failures.max(1) as usize).min(delays.len());
                nth.checked_sub(1).map_or(0, |nth| millis(&delays[nth]))
            }
            Self::Exponential { first, factor_percent, max, jitter_percent } => {
                let (mut wait, max) = (millis(first).min(millis(max)), millis(max));
                for _ in 1..failures {
                    if wait == 0 || wait >= max {
                        break;
                    }
                    let next = wait * u64::from(*factor_percent) / 100;
                    if next == wait {
                        break;
                    }
                    wait = next.min(max);
                }
                wait - wait * u64::from(*jitter_percent) * draw(id, failures) / 100_000
            }
        }
    }
}

/// A number below 1000 that an entry and its failures decide.
fn draw(id: EntryId, failures: u32) -> u64 {
    let mixed =
        (id.ms % 1_000_003) * 7_919 + (id.seq % 1_000_003) * 104_729 + u64::from(failures) * 1_299_709;
    mixed % 1_000
}

/// Which entries a group sees: those that meet all conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// At least one.
    pub conditions: Vec<Condition>,
}

/// What a field has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which field. An entry without it does not meet the condition; of several of that name the first counts.
    pub field: FieldName,
    /// What its value has to be.
    pub test: ConditionTest,
}

/// A field by its name, or by what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldName {
    /// This name.
    Exact(Vec<u8>),
    /// The first of [`TYPE_FIELDS`] that the entry has.
    Type,
    /// The first of [`TENANT_FIELDS`] that the entry has.
    Tenant,
}

/// What a value has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionTest {
    /// This.
    Equals(Vec<u8>),
    /// One of these.
    In(Vec<Vec<u8>>),
    /// It begins so.
    Prefix(Vec<u8>),
}

impl Filter {
    /// Whether an entry meets all conditions. `value_of` gives the first value under a name.
    pub fn matches<'v>(&self, value_of: impl Fn(&[u8]) -> Option<&'v [u8]>) -> bool {
        self.conditions.iter().all(|condition| condition.matches(&value_of))
    }

    /// Whether fields meet all conditions.
    #[must_use]
    pub fn matches_fields(&self, fields: &Fields) -> bool {
        self.matches(|name| first_value(fields, name))
    }
}

impl Condition {
    fn matches<'v>(&self, value_of: &impl Fn(&[u8]) -> Option<&'v [u8]>) -> bool {
        let first_of = |names: &[&[u8]]| names.iter().find_map(|name| value_of(name));
        let value = match &self.field {
            FieldName::Exact(name) => value_of(name),
            FieldName::Type => first_of(&TYPE_FIELDS),
            FieldName::Tenant => first_of(&TENANT_FIELDS),
        };
        value.is_some_and(|value| match &self.test {
            ConditionTest::Equals(wanted) => value == wanted,
            ConditionTest::In(wanted) => wanted.iter().any(|wanted| value == wanted),
            ConditionTest::Prefix(wanted) => value.starts_with(wanted),
        })
    }
}

/// The first value under a name; `None` when no field has it.
#[must_use]
pub fn first_value<'f>(fields: &'f Fields, name: &[u8]) -> Option<&'f [u8]> {
    fields.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(backoff: &Backoff, failures: u32) -> u64 {
        backoff.delay_millis(EntryId::new(1, 1), failures) / 1_000
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<_> = (1..=8).map(|n| seconds(&Backoff::recommended(), n)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(&Backoff::recommended(), u32::MAX), 60);
    }

    #[test]
    fn a_list_stays_at_its_last() {
        let list = Backoff::List(vec![Duration::from_secs(5), Duration::from_secs(30)]);
        let waits: Vec<_> = (0..=4).map(|n| seconds(&list, n)).collect();
        assert_eq!(waits, [5, 5, 30, 30, 30]);
    }

    #[test]
    fn jitter_shortens_and_differs() {
        let backoff = Backoff::Exponential {
            first: Duration::from_secs(10),
            factor_percent: 100,
            max: Duration::from_secs(10),
            jitter_percent: 50,
        };
        let waits: Vec<_> = (1..=50).map(|n| backoff.delay_millis(EntryId::new(7, n), 1)).collect();
        assert!(waits.iter().all(|wait| (5_000..=10_000).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }

    #[test]
    fn a_condition_finds_the_type_under_each_of_its_names() {
        let placed = Condition { field: FieldName::Type, test: ConditionTest::Prefix(b"order.".to_vec()) };
        let filter = Filter { conditions: vec![placed] };
        for (name, value, want) in
            [("type", "order.placed", true), ("eventType", "order.paid", true), ("kind", "order.paid", false)]
        {
            let fields: Fields = vec![(name.into(), value.into())];
            assert_eq!(filter.matches_fields(&fields), want, "{name} {value}");
        }
        let fields: Fields = vec![(b"event".into(), b"order.x".into()), (b"type".into(), b"invoice".into())];
        assert!(!filter.matches_fields(&fields), "type comes before event");
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let good = Policy::recommended();
        assert!(good.check().is_ok());
        let day = Duration::from_secs(24 * 3_600);
        for bad in [
            Policy { failures_max: 0, ..good.clone() },
            Policy { deliveries_max: 0, ..good.clone() },
            Policy { lease: Duration::ZERO, ..good.clone() },
            Policy { backoff: Backoff::List(Vec::new()), ..good.clone() },
            Policy { backoff: Backoff::List(vec![day + Duration::from_millis(1)]), ..good.clone() },
            Policy { filter: Some(Filter { conditions: Vec::new() }), ..good.clone() },
        ] {
            assert!(matches!(bad.check().unwrap_err().kind(), ErrorKind::Invalid(_)), "{bad:?}");
        }
    }
}
