//! What can be changed and asked of a running engine, beside its data: limits of new nodes, memory of idempotent IDs,
//! counts of lookups, snapshots on demand.
//!
//! Nothing here is durable: the next start takes its options anew.

use std::sync::atomic::Ordering;

use weir_core::Timestamp;

use crate::core::Core;
use crate::engine::Engine;
use crate::node::NodeLimits;

/// How often keys that were to be read existed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lookups {
    /// They did.
    pub hits: u64,
    /// They did not.
    pub misses: u64,
}

/// What a new stream remembers of idempotent IDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotenceDefaults {
    /// For how many seconds.
    pub duration: u64,
    /// How many per producer.
    pub max: u64,
}

impl Core {
    /// When a macro node is full.
    #[must_use]
    pub fn node_limits(&self) -> NodeLimits {
        self.options.nodes
    }

    /// Changes when a macro node is full, for entries to come.
    pub fn set_node_limits(&mut self, limits: NodeLimits) {
        self.options.nodes = limits;
    }

    /// What streams made from now on remember of idempotent IDs.
    #[must_use]
    pub fn idempotence_defaults(&self) -> IdempotenceDefaults {
        IdempotenceDefaults { duration: self.options.idempotence_duration, max: self.options.idempotence_max }
    }

    /// Changes [`Core::idempotence_defaults`].
    pub fn set_idempotence_defaults(&mut self, defaults: IdempotenceDefaults) {
        self.options.idempotence_duration = defaults.duration;
        self.options.idempotence_max = defaults.max;
    }

    /// Whether lookups of keys are counted from now on, as those of a command that reads are.
    #[inline]
    pub fn count_lookups(&mut self, yes: bool) {
        self.counts_lookups = yes;
    }

    /// The lookups that were counted.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        self.lookups
    }

    /// Starts counting lookups and expired keys anew.
    pub fn reset_counts(&mut self) {
        self.lookups = Lookups::default();
        self.expired_keys = 0;
    }

    /// Keys that expiry removed since the engine was opened.
    #[must_use]
    pub fn expired_keys(&self) -> u64 {
        self.expired_keys
    }

    /// When the next key expires; in the past for one that is to be removed by [`Core::expire_due`]. `None` also where
    /// that removes nothing, see [`Core::expire_actively`].
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        if !self.expires_actively {
            return None;
        }
        let spaces = self.state.directory.iter().filter_map(|at| self.state.namespaces.get(*at as usize));
        spaces.filter_map(|space| space.expires.first()).map(|(at, _)| Timestamp(*at)).min()
    }

    /// Whether [`Core::expire_due`] can remove what is due.
    #[must_use]
    pub fn can_expire(&self) -> bool {
        self.check_writable(false).is_ok()
    }
}

impl Engine {
    /// Has the background thread write a snapshot soon; `false` when it was asked already and has not finished.
    #[must_use]
    pub fn request_snapshot(&self) -> bool {
        let asked = !self.shared.snapshot_wanted.swap(true, Ordering::AcqRel);
        self.shared.wake.1.notify_all();
        asked
    }

    /// Whether a snapshot that was asked for is still to be written.
    #[must_use]
    pub fn snapshot_requested(&self) -> bool {
        self.shared.snapshot_wanted.load(Ordering::Acquire)
    }

    /// When the last snapshot since the engine was opened was finished; `None` when there was none.
    #[must_use]
    pub fn snapshot_at(&self) -> Option<Timestamp> {
        Some(self.shared.snapshot_at.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Timestamp)
    }
}
