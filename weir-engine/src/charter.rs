//! What a group was told beyond what Redis knows: its origin, its policy, whether it is paused; and what it counts.
//!
//! A group without any of it has no charter, so that a plain Redis group stays as small as it is.
//!
//! Invariant: the generations of [`Charter::resets`] grow with their IDs, and no generation is given out twice.

use weir_core::{EntryId, GroupOrigin, Policy};

/// Places at which the group was set back that are told apart; beyond that, all tokens given out before are stale.
const RESETS_MAX: usize = 1_000;

/// A pause that nothing but a resume ends.
pub(crate) const WITHOUT_END: u64 = u64::MAX;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Charter {
    /// Where it was made to start; `None` when `XGROUP CREATE` made it.
    pub(crate) origin: Option<GroupOrigin>,
    pub(crate) policy: Option<Box<Policy>>,
    /// Nothing is given out before, in milliseconds of steady time; 0 = not paused, [`WITHOUT_END`].
    pub(crate) paused_until: u64,
    /// Entries that the filter passed over, ever.
    pub(crate) filtered: u64,
    /// Settlements refused because of their token, ever.
    pub(crate) stale: u64,
    /// Rows that came to be for entries that may have had one before are told from those by a generation.
    pub(crate) generation: u32,
    /// From above which IDs rows are of which generation; below the first they are of generation 0.
    pub(crate) resets: Vec<(EntryId, u32)>,
}

impl Charter {
    pub(crate) fn is_paused(&self, now: u64) -> bool {
        self.paused_until > now
    }

    /// Entries above an ID come again: their rows are of a new generation.
    pub(crate) fn reset(&mut self, above: EntryId) {
        self.generation += 1;
        while self.resets.last().is_some_and(|(from, _)| *from >= above) {
            self.resets.pop();
        }
        if self.resets.len() >= RESETS_MAX {
            self.resets.clear();
            self.resets.push((EntryId::MIN, self.generation));
            return;
        }
        self.resets.push((above, self.generation));
    }

    /// The generation of a row that was given out in its turn.
    pub(crate) fn generation_of(&self, id: EntryId) -> u32 {
        let above = self.resets.partition_point(|(from, _)| *from < id);
        above.checked_sub(1).map_or(0, |nth| self.resets[nth].1)
    }

    /// Whether what a snapshot said of it fits together.
    pub(crate) fn is_sound(&self) -> bool {
        let resets = self.resets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1);
        resets && self.resets.len() <= RESETS_MAX && self.resets.iter().all(|(_, g)| *g <= self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId::new(ms, 0)
    }

    #[test]
    fn what_comes_again_is_of_a_new_generation_and_the_rest_is_not() {
        let mut charter = Charter::default();
        charter.reset(id(5));
        charter.reset(id(9));
        assert_eq!([5, 6, 9, 10].map(|ms| charter.generation_of(id(ms))), [0, 1, 1, 2]);
        charter.reset(id(3));
        assert_eq!([3, 4, 6, 10].map(|ms| charter.generation_of(id(ms))), [0, 3, 3, 3]);
        assert!(charter.is_sound());
    }

    #[test]
    fn resets_are_bounded() {
        let mut charter = Charter::default();
        for ms in 0..3 * RESETS_MAX as u64 {
            let before = charter.generation_of(id(ms + 1));
            charter.reset(id(ms));
            assert!(charter.generation_of(id(ms + 1)) > before);
            assert!(charter.is_sound());
        }
    }
}
