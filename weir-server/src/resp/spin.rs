//! Whether to look for the next request for a moment before sleeping.
//!
//! Waking a thread costs more than executing a command, so a client that answers at once is served twice as fast by a
//! server that is still awake. With many clients there is always something to do and looking gains nothing; with a
//! slow client it is a waste. So it is done for one or two clients only, and after a failure ever more rarely.

use std::time::Duration;

use super::client::ClientNo;

/// Rounds that are looked back at.
const ROUNDS: usize = 8;
/// How many rounds pass between two attempts at most.
const SKIP_MAX: u32 = 64;

/// Who was served in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Crowd {
    #[default]
    Nobody,
    One(ClientNo),
    Several,
}

impl Crowd {
    /// This and one more.
    pub(crate) fn and(self, who: ClientNo) -> Self {
        match self {
            Self::Nobody => Self::One(who),
            Self::One(same) if same == who => self,
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

/// Decides how long to look around.
#[derive(Debug)]
pub(crate) struct Spin {
    most: Duration,
    /// Who was served in the last rounds.
    recent: [Crowd; ROUNDS],
    at: usize,
    /// Rounds to pass before the next attempt, and how many that are after the next failure.
    left: u32,
    skip: u32,
}

impl Spin {
    pub(crate) fn new(most: Duration) -> Self {
        Self { most, recent: [Crowd::Nobody; ROUNDS], at: 0, left: 0, skip: 0 }
    }

    /// Notes who was served in a round.
    pub(crate) fn served(&mut self, crowd: Crowd) {
        if crowd == Crowd::Nobody {
            return;
        }
        self.recent[self.at] = crowd;
        self.at = (self.at + 1) % ROUNDS;
    }

    /// How long to look around now.
    pub(crate) fn time(&mut self) -> Duration {
        if self.most.is_zero() || !self.has_few_clients() {
            return Duration::ZERO;
        }
        if self.left > 0 {
            self.left -= 1;
            return Duration::ZERO;
        }
        self.most
    }

    /// Whether looking around brought something.
    pub(crate) fn found(&mut self, something: bool) {
        self.skip = if something { 0 } else { (self.skip * 2 + 1).min(SKIP_MAX) };
        self.left = self.skip;
    }

    fn has_few_clients(&self) -> bool {
        let first = self.recent[0];
        let other = *self.recent.iter().find(|crowd| **crowd != first).unwrap_or(&first);
        let is_one = |crowd: &Crowd| matches!(crowd, Crowd::One(_)) && (*crowd == first || *crowd == other);
        self.recent.iter().all(is_one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(50);

    fn after(clients: &[Option<u32>]) -> Spin {
        let mut spin = Spin::new(MOST);
        clients.iter().for_each(|who| spin.served(who.map_or(Crowd::Several, |no| Crowd::One(ClientNo(no)))));
        spin
    }

    #[test]
    fn only_for_one_or_two_clients() {
        assert_eq!(after(&[]).time(), Duration::ZERO);
        assert_eq!(after(&[Some(7); 8]).time(), MOST);
        let two = [Some(1), Some(2), Some(1), Some(1), Some(2), Some(2), Some(1), Some(2)];
        assert_eq!(after(&two).time(), MOST);
        let three = [Some(1), Some(2), Some(3), Some(1), Some(2), Some(2), Some(1), Some(2)];
        assert_eq!(after(&three).time(), Duration::ZERO);
        let crowd = [Some(1), None, Some(1), Some(1), Some(1), Some(1), Some(1), Some(1)];
        assert_eq!(after(&crowd).time(), Duration::ZERO);
    }

    #[test]
    fn failures_make_it_rare_and_a_success_frequent() {
        let mut spin = after(&[Some(1); 8]);
        let mut attempts = 0;
        for _ in 0..1_000 {
            if !spin.time().is_zero() {
                attempts += 1;
                spin.found(false);
            }
        }
        assert!((10..40).contains(&attempts), "{attempts}");
        while spin.time().is_zero() {}
        spin.found(true);
        assert_eq!(spin.time(), MOST);
    }
}
