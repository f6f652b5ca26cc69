//! Connections for reads that wait, one for each.
//!
//! Invariants:
//! * A connection in the pool has no request on it.
//! * A read whose future is dropped takes its connection with it: closing it is what tells the server.
//! * At most so many reads wait at a time; more are refused.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::Cmd;
use redis::aio::MultiplexedConnection;
use tokio::sync::Semaphore;
use weir_core::{Error, ErrorKind};
use weir_wire::Value;

use super::Options;
use super::answer::{error, value};
use super::link::Link;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Readers {
    idle: Mutex<Vec<MultiplexedConnection>>,
    places: Semaphore,
    options: Options,
}

impl Readers {
    pub(super) fn new(options: Options) -> Self {
        let places = Semaphore::new(options.waiting_max.min(Semaphore::MAX_PERMITS));
        Self { idle: Mutex::default(), places, options }
    }

    /// Asks what the server may take as long as `wait` to answer, and whatever an answer may take otherwise.
    ///
    /// The first connection may have broken while it lay there; then a new one is asked, if asking twice does no harm.
    pub(super) async fn ask(
        &self,
        link: &Link,
        command: &Cmd,
        wait: Duration,
        is_repeatable: bool,
    ) -> Result<Value, Error> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Error::new(ErrorKind::LimitReached(
                "reads that wait on one connection (waiting_max)",
            )));
        };
        let (mut connection, is_new) = match self.take() {
            Some(connection) => (connection, false),
            None => (link.connect().await?, true),
        };
        let timeout = wait.saturating_add(self.options.response_timeout);
        connection.set_response_timeout(timeout);
        let mut answer = connection.send_packed_command(command).await;
        if !is_new && is_repeatable && answer.as_ref().is_err_and(|failed| failed.code().is_none()) {
            connection = link.connect().await?;
            connection.set_response_timeout(timeout);
            answer = connection.send_packed_command(command).await;
        }
        // A refusal is an answer, too; after anything else the connection is of no use.
        match answer {
            Ok(raw) => {
                self.give_back(connection);
                value(raw).accepted()
            }
            Err(failed) => {
                if failed.code().is_some() {
                    self.give_back(connection);
                }
                Err(error(failed))
            }
        }
    }

    fn take(&self) -> Option<MultiplexedConnection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, connection: MultiplexedConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.options.idle_readers_max {
            idle.push(connection);
        }
    }
}
