//! What commands did: how often, for how long, with which errors; and how fast it all goes.
//!
//! One look at the clock per command: a command lasts from the end of the one before it, or from the start of the turn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::command::Command;
use crate::DoorCounts;

/// Different first words of errors that are counted; what comes after them is counted as one.
const ERRORS_MAX: usize = 128;
const OTHER_ERRORS: &str = "OTHER";
/// How far apart samples of the rate are, and how many are kept.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
const SAMPLES: usize = 16;

/// What one command did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CommandStat {
    pub(crate) calls: u64,
    pub(crate) time: Duration,
    /// Refused before it ran.
    pub(crate) rejected: u64,
    /// Ran, and answered an error.
    pub(crate) failed: u64,
}

/// What all commands did.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// By the address of the row, which is unique and costs nothing to hash.
    commands: HashMap<usize, (&'static Command, CommandStat), foldhash::fast::FixedState>,
    /// The command counted last, and what of it does not stand in `commands` yet: most commands are like the one before.
    last: Option<(&'static Command, CommandStat)>,
    errors: BTreeMap<Box<[u8]>, u64>,
    samples: VecDeque<(Duration, DoorCounts)>,
}

impl Stats {
    /// What is counted of a command, to be added to.
    pub(crate) fn of(&mut self, command: &'static Command) -> &mut CommandStat {
        if self.last.as_ref().is_none_or(|(last, _)| !std::ptr::eq(*last, command)) {
            self.put_last_away();
        }
        &mut self.last.get_or_insert((command, CommandStat::default())).1
    }

    fn put_last_away(&mut self) {
        let Some((command, more)) = self.last.take() else { return };
        let row = std::ptr::from_ref(command) as usize;
        let stat = &mut self.commands.entry(row).or_insert((command, CommandStat::default())).1;
        stat.calls += more.calls;
        stat.time += more.time;
        stat.rejected += more.rejected;
        stat.failed += more.failed;
    }

    /// Counts an error by its first word.
    pub(crate) fn error(&mut self, text: &[u8]) {
        let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        if let Some(count) = self.errors.get_mut(word) {
            *count += 1;
            return;
        }
        let word = if self.errors.len() < ERRORS_MAX { word } else { OTHER_ERRORS.as_bytes() };
        *self.errors.entry(word.into()).or_default() += 1;
    }

    /// Commands that were called or refused, by name.
    pub(crate) fn commands(&mut self) -> Vec<(&'static Command, CommandStat)> {
        self.put_last_away();
        let mut all: Vec<_> = self.commands.values().copied().collect();
        all.sort_unstable_by_key(|(command, _)| command.name);
        all
    }

    /// First words of errors and how often they were answered.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.errors.iter().map(|(word, count)| (&**word, *count))
    }

    /// Starts counting anew.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Notes the counts of a moment, if the last note is old enough.
    pub(crate) fn sample(&mut self, now: Duration, counts: &DoorCounts) {
        if self.samples.back().is_some_and(|(at, _)| now.saturating_sub(*at) < SAMPLE_EVERY) {
            return;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, *counts));
    }

    /// How much a count grew per second lately.
    pub(crate) fn rate(&self, now: Duration, counts: &DoorCounts, of: fn(&DoorCounts) -> u64) -> f64 {
        let span = SAMPLE_EVERY * SAMPLES as u32;
        let recent = self.samples.iter().find(|(at, _)| now.saturating_sub(*at) <= span);
        let Some((at, before)) = recent.or(self.samples.back()) else { return 0.0 };
        let seconds = now.saturating_sub(*at).as_secs_f64();
        if seconds > 0.0 { of(counts).saturating_sub(of(before)) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_errors_are_bounded() {
        let mut stats = Stats::default();
        (0..1_000).for_each(|nth| stats.error(format!("E{nth} text").as_bytes()));
        stats.error(b"E5 again");
        assert_eq!(stats.errors().count(), ERRORS_MAX + 1);
        assert_eq!(stats.errors().map(|(_, count)| count).sum::<u64>(), 1_001);
        assert_eq!(stats.errors().find(|(word, _)| *word == b"E5").unwrap().1, 2);
    }

    #[test]
    fn the_rate_is_that_of_the_last_moments() {
        let mut stats = Stats::default();
        let counts = |commands| DoorCounts { commands, ..DoorCounts::default() };
        for tenth in 0..50 {
            stats.sample(Duration::from_millis(tenth * 100), &counts(tenth * 10));
        }
        let rate = stats.rate(Duration::from_secs(5), &counts(500), |counts| counts.commands);
        assert!((rate - 100.0).abs() < 1.0, "{rate}");
        assert!(stats.rate(Duration::from_secs(500), &counts(500), |counts| counts.commands) < 1.0);
    }
}
