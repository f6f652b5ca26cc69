//! A connection that many share and that is made anew when it breaks.
//!
//! ```text
//!   none ──connect──► open ──breaks──► none, not before a pause
//!     ▲                                  │
//!     └───────── the pause is over ──────┘
//! ```
//!
//! The pause doubles with every failed attempt and begins anew once one succeeds. While it lasts, nobody tries.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd};
use tokio::time::Instant;
use weir_core::{Error, ErrorKind};
use weir_wire::Value;

use super::Options;
use super::answer::{error, is_broken, value};

/// The first pause after a failed attempt.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// See the [module](self).
pub(super) struct Link {
    client: Client,
    shown: String,
    options: Options,
    state: Mutex<State>,
    /// Who makes the connection; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    open: Option<MultiplexedConnection>,
    /// Which connection it is, so that nobody closes a newer one than the one that failed.
    generation: u64,
    /// Attempts that failed since the last that did not.
    failed: u32,
    not_before: Option<Instant>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("to", &self.shown).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(client: Client, shown: String, options: Options) -> Self {
        let (state, connecting) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { client, shown, options, state, connecting }
    }

    /// Asks, once or, if that does no harm, twice: the first may find that the connection broke while nobody asked.
    pub(super) async fn ask(&self, command: &Cmd, is_repeatable: bool) -> Result<Value, Error> {
        match self.ask_once(command).await {
            Err(error) if is_repeatable && is_broken(&error) => self.ask_once(command).await,
            answer => answer,
        }
    }

    async fn ask_once(&self, command: &Cmd) -> Result<Value, Error> {
        let (mut connection, generation) = self.connection().await?;
        let answer =
            connection.send_packed_command(command).await.map_err(|failed| self.about(error(failed)));
        if answer.as_ref().is_err_and(is_broken) {
            self.forget(generation);
        }
        answer.map(value)?.accepted()
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Error> {
        if let Some(open) = self.open() {
            return Ok(open);
        }
        let _mine = self.connecting.lock().await;
        // Whoever had the lock before may have connected, or failed to.
        if let Some(open) = self.open() {
            return Ok(open);
        }
        if self.state().not_before.is_some_and(|at| Instant::now() < at) {
            let error =
                Error::new(ErrorKind::Unavailable).with_context(format!("{}; trying again soon", self.shown));
            return Err(error);
        }
        let made = self.connect().await;
        let mut state = self.state();
        match made {
            Ok(connection) => {
                let generation = state.generation + 1;
                *state = State { open: Some(connection.clone()), generation, ..State::default() };
                Ok((connection, generation))
            }
            Err(error) => {
                state.not_before = Some(Instant::now() + self.pause(state.failed));
                state.failed = state.failed.saturating_add(1);
                Err(error)
            }
        }
    }

    /// A new connection that nobody else has.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, Error> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.response_timeout));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await;
        made.map_err(|failed| self.about(error(failed)))
    }

    fn pause(&self, failed: u32) -> Duration {
        let longest = self.options.reconnect_pause_max;
        PAUSE_MIN.saturating_mul(1 << failed.min(16)).min(longest)
    }

    fn about(&self, error: Error) -> Error {
        if error.context().is_some() { error } else { error.with_context(self.shown.clone()) }
    }

    fn open(&self) -> Option<(MultiplexedConnection, u64)> {
        let state = self.state();
        state.open.clone().map(|connection| (connection, state.generation))
    }

    fn forget(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation {
            state.open = None;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
