//! What took longer than a threshold: commands, flushes, expiry; the last times of each.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Samples kept of each event.
const SAMPLES_MAX: usize = 160;

/// A kind of thing that may take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A command that should take constant or logarithmic time.
    FastCommand,
    /// Another command.
    Command,
    /// Bringing the turn's records to where the policy demands.
    Flush,
}

impl Event {
    pub(crate) const ALL: [Self; 3] = [Self::FastCommand, Self::Command, Self::Flush];

    /// The name that Redis gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FastCommand => "fast-command",
            Self::Command => "command",
            Self::Flush => "aof-fsync-always",
        }
    }

    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|event| name.eq_ignore_ascii_case(event.name().as_bytes()))
    }
}

/// One time that something took long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// In seconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) millis: u64,
}

/// What is known of one event.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) samples: VecDeque<Sample>,
    /// The longest since it was reset.
    pub(crate) millis_max: u64,
}

/// The latency monitor.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// What takes as many milliseconds is noted; 0 = nothing is.
    pub(crate) threshold: u64,
    events: BTreeMap<Event, History>,
}

impl Latency {
    /// Notes how long something took, if that is long. Within a second only the longest counts.
    #[inline]
    pub(crate) fn note(&mut self, event: Event, took: Duration, at: impl FnOnce() -> u64) {
        if self.threshold == 0 || took < Duration::from_millis(self.threshold) {
            return;
        }
        let (at, millis) = (at(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let history = self.events.entry(event).or_default();
        history.millis_max = history.millis_max.max(millis);
        match history.samples.back_mut() {
            Some(last) if last.at == at => last.millis = last.millis.max(millis),
            _ => {
                if history.samples.len() == SAMPLES_MAX {
                    history.samples.pop_front();
                }
                history.samples.push_back(Sample { at, millis });
            }
        }
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = (Event, &History)> {
        self.events.iter().map(|(event, history)| (*event, history))
    }

    pub(crate) fn history(&self, event: Event) -> Option<&History> {
        self.events.get(&event)
    }

    /// Forgets an event; `false` when nothing was known of it.
    pub(crate) fn forget(&mut self, event: Event) -> bool {
        self.events.remove(&event).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_long_is_noted_and_not_without_end() {
        let mut latency = Latency { threshold: 10, ..Latency::default() };
        let millis = Duration::from_millis;
        latency.note(Event::Command, millis(9), || 1);
        assert_eq!(latency.events().count(), 0);
        latency.note(Event::Command, millis(20), || 1);
        latency.note(Event::Command, millis(12), || 1);
        assert_eq!(latency.history(Event::Command).unwrap().samples.len(), 1);
        (2..1_000).for_each(|at| latency.note(Event::Command, millis(10), || at));
        let history = latency.history(Event::Command).unwrap();
        assert_eq!((history.samples.len(), history.millis_max), (SAMPLES_MAX, 20));
        assert!(latency.forget(Event::Command) && !latency.forget(Event::Command));
    }
}
