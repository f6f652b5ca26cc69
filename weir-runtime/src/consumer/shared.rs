//! What all parts of a consumer share: its settings, the broker, its counters and what it tells of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use weir_core::{Broker, EntryId, Error, GroupOrigin, Policy};

use super::status::StreamState;
use super::{KillSwitch, Scope};
use crate::metrics::{Metrics, add};
use crate::{Rate, Time};

/// How a consumer reads and runs; all of it is explained at [`super::Builder`].
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) group: Vec<u8>,
    pub(crate) consumer: Vec<u8>,
    pub(crate) origin: Option<GroupOrigin>,
    pub(crate) policy: Option<Policy>,
    pub(crate) adopts: bool,
    pub(crate) concurrency: usize,
    pub(crate) immediate: u32,
    pub(crate) order_by: Option<Vec<u8>>,
    pub(crate) max_lease: Duration,
    pub(crate) stuck_after: Duration,
    pub(crate) hold_max: Duration,
    pub(crate) prefetch_max: u64,
    pub(crate) batch_max: u64,
    pub(crate) fatal_classes: Vec<String>,
    pub(crate) rate: Option<(Rate, bool)>,
}

pub(crate) struct Shared {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) settings: Settings,
    pub(crate) time: Time,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) switch: Option<Arc<KillSwitch>>,
    pub(crate) pause: Pause,
    board: Mutex<Board>,
}

/// What is told of each stream.
#[derive(Debug, Default)]
struct Board {
    streams: BTreeMap<Vec<u8>, Told>,
    health: Option<SocketAddr>,
}

/// What is told of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) state: StreamState,
    pub(crate) last_error: Option<String>,
    pub(crate) last_stuck: Option<EntryId>,
}

impl Shared {
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        settings: Settings,
        time: Time,
        switch: Option<Arc<KillSwitch>>,
    ) -> Self {
        let (metrics, pause, board) = (Arc::default(), Pause::default(), Mutex::default());
        Self { broker, settings, time, metrics, switch, pause, board }
    }

    pub(crate) fn is_fatal(&self, class: &str) -> bool {
        self.settings.fatal_classes.iter().any(|fatal| fatal == class)
    }

    pub(crate) fn is_switched_off(&self) -> bool {
        self.switch.as_ref().is_some_and(|switch| switch.is_open())
    }

    /// Counts a delay that is too long; `false`.
    pub(crate) fn refuse_delay(&self) -> bool {
        add(&self.metrics.delays_refused, 1);
        tracing::warn!("a handler asked for a delay above the longest one");
        false
    }

    pub(crate) fn note_error(&self, scope: &Scope, error: &Error) {
        add(&self.metrics.errors, 1);
        let stream = String::from_utf8_lossy(&scope.stream);
        tracing::warn!(%stream, %error, "the broker refuses");
        self.tell(&scope.stream, |told| told.last_error = Some(error.to_string()));
    }

    pub(crate) fn note_stuck(&self, scope: &Scope, id: EntryId) {
        add(&self.metrics.stuck, 1);
        let stream = String::from_utf8_lossy(&scope.stream);
        tracing::error!(%stream, %id, "a handler blocks its thread");
        self.tell(&scope.stream, |told| told.last_stuck = Some(id));
    }

    pub(crate) fn note_state(&self, scope: &Scope, state: StreamState) {
        self.tell(&scope.stream, |told| told.state = state);
    }

    pub(crate) fn note_health(&self, address: SocketAddr) {
        self.board().health = Some(address);
    }

    pub(crate) fn health_address(&self) -> Option<SocketAddr> {
        self.board().health
    }

    fn tell(&self, stream: &[u8], what: impl FnOnce(&mut Told)) {
        let mut board = self.board();
        let fresh = || Told { state: StreamState::Starting, last_error: None, last_stuck: None };
        what(board.streams.entry(stream.to_vec()).or_insert_with(fresh));
    }

    pub(crate) fn told(&self) -> BTreeMap<Vec<u8>, Told> {
        self.board().streams.clone()
    }

    fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().expect("nothing panics under this lock")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Whether the consumer itself is paused; a paused group is the broker's matter.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    is_on: AtomicBool,
    changed: Notify,
}

impl Pause {
    pub(crate) fn set(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Waits until it is as said.
    pub(crate) async fn becomes(&self, is_on: bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.is_on() == is_on {
                return;
            }
            changed.await;
        }
    }
}
