//! Lag, counted anew each time.

use std::time::Duration;

use weir_core::{Error, Lag, PendingState};

use super::space::{Group, Space, Stream};

/// Over how many milliseconds rates are taken.
const RATE_MS: u64 = 60_000;

impl Space {
    pub(super) fn lag(&self, stream: &[u8], group: &[u8]) -> Result<Lag, Error> {
        let dead = self.letters(stream, group)?.len() as u64;
        let (facts, of) = self.group(stream, group)?;
        let now = self.now.steady;
        let in_state = |wanted: fn(&PendingState) -> bool| {
            of.rows.values().filter(|row| wanted(&row.state(now))).count() as u64
        };
        let waiting = in_state(|state| *state == PendingState::Waiting);
        let idle = of.rows.values().filter_map(|row| row.idle(now)).max();
        let recent = of.drained.iter().filter(|at| now.millis_since(**at) < RATE_MS).count();
        let mut lag = Lag {
            undelivered: facts.undelivered(of).count() as u64 + waiting,
            pending: in_state(|state| *state == PendingState::InFlight),
            ready: in_state(|state| *state == PendingState::Ready),
            delayed: in_state(|state| matches!(state, PendingState::Delayed { .. })),
            dead,
            oldest_undelivered: self.oldest_undelivered(facts, of),
            oldest_pending: idle.map(Duration::from_millis),
            arrivals_per_s: per_second(self.arrivals(facts, of)),
            drained_per_s: per_second(recent),
            eta: None,
            exact: true,
        };
        lag.eta = Lag::eta_at(lag.total(), lag.arrivals_per_s, lag.drained_per_s);
        Ok(lag)
    }

    fn oldest_undelivered(&self, stream: &Stream, group: &Group) -> Option<Duration> {
        let waiting = group.rows.iter().filter(|(_, row)| row.is_waiting()).map(|(id, _)| *id);
        let open = stream.undelivered(group).chain(waiting).filter_map(|id| stream.entries.get(&id));
        let oldest = open.map(|stored| stored.appended_at).min()?;
        Some(Duration::from_millis(self.append_time().millis_since(oldest)))
    }

    /// Entries that came lately and that the group sees.
    fn arrivals(&self, stream: &Stream, group: &Group) -> usize {
        let now = self.append_time();
        let recent = stream.entries.values().filter(|stored| now.millis_since(stored.appended_at) < RATE_MS);
        recent.filter(|stored| group.sees(&stored.fields)).count()
    }
}

fn per_second(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let count = count as f64;
    count * 1_000.0 / RATE_MS as f64
}
