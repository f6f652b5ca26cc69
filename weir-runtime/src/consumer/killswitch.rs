//! The kill switch: when nearly everything fails, the group is paused instead of the entries being used up.
//!
//! ```text
//!            too many failures            restart_after is over
//!   closed ─────────────────────► open ────────────────────────► half-open: one entry is tried
//!      ▲                            ▲                                │        │
//!      │                            └──────────── it fails ──────────┘        │
//!      └───────────────────────────────────────── it does not ────────────────┘
//! ```
//!
//! While it is not closed nothing is counted: no failure, no delivery.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Outcome;

/// When a kill switch opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KillSwitchSettings {
    /// Runs of the last so long are looked at.
    pub window: Duration,
    /// It does not open on fewer runs in the window.
    pub runs_min: u64,
    /// It opens when this part of them failed, 0 to 1.
    pub failed_ratio: f64,
    /// So long it waits before one entry is tried.
    pub restart_after: Duration,
}

impl Default for KillSwitchSettings {
    /// Of at least 10 runs in a minute nine tenths failed; one is tried every 30 s.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            runs_min: 10,
            failed_ratio: 0.9,
            restart_after: Duration::from_secs(30),
        }
    }
}

/// The switch of one consumer.
#[derive(Debug)]
pub(crate) struct KillSwitch {
    pub(crate) settings: KillSwitchSettings,
    is_open: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open,
    /// One subscription tries an entry; `true` = it was let through.
    HalfOpen(bool),
}

/// Runs in a part of the window.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Which part of time it is.
    number: u64,
    runs: u64,
    failed: u64,
}

/// Parts of the window.
const SLOTS: usize = 16;

impl KillSwitch {
    pub(crate) fn new(settings: KillSwitchSettings) -> Self {
        let state = State { phase: Phase::Closed, slots: [Slot::default(); SLOTS] };
        Self { settings, is_open: AtomicBool::new(false), state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    /// Whether it is anything but closed.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Whether a run may begin: any while it is closed, one while it is half-open.
    pub(crate) fn admits(&self) -> bool {
        if !self.is_open() {
            return true;
        }
        let mut state = self.state();
        match state.phase {
            Phase::Closed => true,
            Phase::HalfOpen(false) => {
                state.phase = Phase::HalfOpen(true);
                true
            }
            Phase::Open | Phase::HalfOpen(true) => false,
        }
    }

    /// Counts what became of a run, while it is closed; opens when there is reason to.
    pub(crate) fn note(&self, now: Duration, outcome: &Outcome) {
        if !(outcome.is_failure() || outcome.is_success()) {
            return;
        }
        let mut state = self.state();
        if state.phase != Phase::Closed {
            return;
        }
        let slot_length = (self.settings.window / SLOTS as u32).max(Duration::from_micros(1));
        let number = u64::try_from(now.as_micros() / slot_length.as_micros()).unwrap_or(u64::MAX);
        let slot = &mut state.slots[(number % SLOTS as u64) as usize];
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        slot.runs += 1;
        slot.failed += u64::from(outcome.is_failure());
        if outcome.is_failure() && self.is_too_much(&state.slots, number) {
            state.phase = Phase::Open;
            self.is_open.store(true, Ordering::Release);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts far below 2^52")]
    fn is_too_much(&self, slots: &[Slot], number: u64) -> bool {
        let lately = slots.iter().filter(|slot| slot.number + SLOTS as u64 > number);
        let (runs, failed) = lately.fold((0, 0), |sum, slot| (sum.0 + slot.runs, sum.1 + slot.failed));
        runs >= self.settings.runs_min.max(1) && failed as f64 >= runs as f64 * self.settings.failed_ratio
    }

    /// Lets one entry be tried, unless it is being done already.
    pub(crate) fn begin_probe(&self) -> bool {
        let mut state = self.state();
        let may = state.phase == Phase::Open;
        if may {
            state.phase = Phase::HalfOpen(false);
        }
        may
    }

    /// Says what the one entry has shown: `true` closes the switch, unless no handler has run.
    pub(crate) fn end_probe(&self, is_well: bool) {
        let mut state = self.state();
        let is_well = is_well && state.phase == Phase::HalfOpen(true);
        state.phase = if is_well { Phase::Closed } else { Phase::Open };
        if is_well {
            state.slots = [Slot::default(); SLOTS];
            self.is_open.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: fn() -> Outcome = || Outcome::retry("no");

    #[test]
    fn it_opens_on_enough_failures_in_the_window_and_lets_one_through() {
        let switch =
            KillSwitch::new(KillSwitchSettings { runs_min: 4, failed_ratio: 0.5, ..Default::default() });
        let at = Duration::from_secs;
        (0..3).for_each(|second| switch.note(at(second), &FAILED()));
        assert!(!switch.is_open(), "three runs are too few");
        (0..3).for_each(|_| switch.note(at(100), &Outcome::Done));
        switch.note(at(100), &FAILED());
        assert!(!switch.is_open(), "the old failures are out of the window");
        (0..2).for_each(|_| switch.note(at(101), &FAILED()));
        assert!(switch.is_open() && !switch.admits());
        assert!(switch.begin_probe() && !switch.begin_probe(), "only one tries");
        assert!(switch.admits() && !switch.admits(), "with one entry");
        switch.end_probe(false);
        assert!(switch.is_open() && switch.begin_probe());
        switch.end_probe(true);
        assert!(switch.is_open() && switch.begin_probe(), "it was done without the handler");
        assert!(switch.admits());
        switch.end_probe(true);
        assert!(!switch.is_open() && switch.admits());
        switch.note(at(102), &FAILED());
        assert!(!switch.is_open(), "it counts from nothing again");
    }

    #[test]
    fn what_says_nothing_of_the_world_is_not_counted() {
        let switch =
            KillSwitch::new(KillSwitchSettings { runs_min: 1, failed_ratio: 0.5, ..Default::default() });
        for outcome in [Outcome::Defer, Outcome::snooze(Duration::ZERO), Outcome::dead("validation", "bad")] {
            switch.note(Duration::ZERO, &outcome);
        }
        assert!(!switch.is_open());
    }
}
