//! How many entries are read at a time: as many as are handled in a short while, so that a fast handler has few reads
//! and a slow one keeps nothing from others.

use std::time::Duration;

use weir_core::Delivery;

/// A lot that was handled faster is followed by a larger one.
const FAST: Duration = Duration::from_millis(10);
/// A lot that took longer is followed by a smaller one.
const SLOW: Duration = Duration::from_millis(50);
/// The first lot.
const FIRST: u64 = 16;

/// The pace of one subscription.
#[derive(Debug)]
pub(crate) struct Pace {
    count: u64,
    least: u64,
    most: u64,
    /// One at a time: something in the last lot may have killed a process.
    is_careful: bool,
}

impl Pace {
    /// At least as many as run at a time.
    pub(crate) fn new(concurrency: usize, most: u64) -> Self {
        let least = (concurrency as u64).max(1);
        let most = most.max(least);
        Self { count: FIRST.clamp(least, most), least, most, is_careful: false }
    }

    /// Whether what was read last may have killed a process.
    pub(crate) fn is_careful(&self) -> bool {
        self.is_careful
    }

    pub(crate) fn count(&self) -> u64 {
        if self.is_careful { 1 } else { self.count }
    }

    /// A lot of so many was handled in this time.
    pub(crate) fn handled(&mut self, len: usize, took: Duration) {
        let was_full = len as u64 >= self.count;
        if took < FAST && was_full {
            self.count = (self.count * 2).min(self.most);
        } else if took > SLOW {
            self.count = (self.count / 2).max(self.least);
        }
    }

    /// Looks at what was read, and says how many of it to keep. An entry that was given out repeatedly without a word
    /// may be what killed those who had it. It is handled alone, so that it takes no neighbours along on its way to
    /// [`weir_core::Policy::deliveries_max`]; they are handed back.
    pub(crate) fn admit(&mut self, deliveries: &mut Vec<Delivery>) -> Vec<Delivery> {
        let first = deliveries.iter().position(is_suspect);
        self.is_careful = first.is_some();
        match first {
            Some(first) if deliveries.len() > 1 => {
                let suspect = deliveries.swap_remove(first);
                std::mem::replace(deliveries, vec![suspect])
            }
            _ => Vec::new(),
        }
    }
}

/// Whether at least two earlier deliveries ended without a word.
fn is_suspect(delivery: &Delivery) -> bool {
    delivery.deliveries.saturating_sub(1).saturating_sub(delivery.failures) >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_handler_gets_more_a_slow_one_less() {
        let mut pace = Pace::new(2, 100);
        pace.handled(16, Duration::from_millis(1));
        pace.handled(32, Duration::from_millis(1));
        pace.handled(64, Duration::from_millis(1));
        assert_eq!(pace.count(), 100);
        pace.handled(3, Duration::from_millis(1));
        (0..10).for_each(|_| pace.handled(100, Duration::from_secs(1)));
        assert_eq!(pace.count(), 2);
    }
}
