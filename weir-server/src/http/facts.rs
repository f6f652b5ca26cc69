//! What the handlers look at.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use weir_engine::Engine;

use crate::DoorStats;

/// What the handlers look at. Made by whoever wires the doors together.
pub struct Facts {
    pub(super) engine: Engine,
    pub(super) door: Arc<DoorStats>,
    /// What `/version` answers.
    pub(super) version: &'static str,
    token: Option<[u8; 32]>,
    started: Duration,
    stopping: AtomicBool,
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Facts {
    /// The facts of a server that starts now. With a `token`, `/health` and `/metrics` want it from everyone.
    #[must_use]
    pub fn new(engine: Engine, door: Arc<DoorStats>, version: &'static str, token: Option<&str>) -> Self {
        let started = engine.clock().elapsed();
        let token = token.map(|token| digest(token.as_bytes()));
        Self { engine, door, version, token, started, stopping: AtomicBool::new(false) }
    }

    /// From now on `/readyz` says no: the server takes its leave.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire) || self.door.is_stopping()
    }

    pub(super) fn uptime(&self) -> Duration {
        self.engine.clock().elapsed().saturating_sub(self.started)
    }

    /// Whether somebody with this token, or without one, may know everything.
    pub(super) fn admits(&self, given: Option<&[u8]>) -> bool {
        match (&self.token, given) {
            (None, _) => true,
            (Some(_), None) => false,
            // Of digests, the time a comparison takes tells nothing about the token.
            (Some(wanted), Some(given)) => *wanted == digest(given),
        }
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
