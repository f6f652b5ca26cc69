//! One server and the connections to it: one for commands, one for settling, one for each read that waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, ProtocolVersion, RedisError, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use weir_core::Error;

use super::too_many_readers;
use crate::failure::{Fate, fate_of, refused, unavailable};
use crate::options::Options;
use crate::request::Request;
use crate::tls::choose_cryptography;

/// Which connection a request goes over: settling never queues behind reads and appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Commands,
    Settling,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Node {
    info: ConnectionInfo,
    client: Client,
    /// For a server that does not know `HELLO`.
    client_resp2: Client,
    options: Options,
    commands: tokio::sync::Mutex<Slot>,
    settling: tokio::sync::Mutex<Slot>,
    readers: Arc<Semaphore>,
    idle_readers: Mutex<Vec<MultiplexedConnection>>,
    address: String,
}

/// A connection, or when to try again to make one.
#[derive(Debug, Default)]
struct Slot {
    connection: Option<MultiplexedConnection>,
    /// How many connections there were; tells a lost one from the one made since.
    generation: u64,
    failures: u32,
    retry_at: Option<Instant>,
}

/// A connection that many use.
struct Shared {
    connection: MultiplexedConnection,
    generation: u64,
}

/// An attempt that did not succeed.
pub(crate) enum Miss {
    /// There was no connection: nothing was sent.
    Unsent(RedisError),
    /// It was sent; what failed says whether it was done.
    Sent(RedisError),
}

impl Miss {
    pub(crate) fn into_error(self) -> RedisError {
        match self {
            Self::Unsent(error) | Self::Sent(error) => error,
        }
    }
}

impl Node {
    pub(crate) fn new(info: ConnectionInfo, options: &Options) -> Result<Self, RedisError> {
        let plain = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let client_resp2 = client(info.clone().set_redis_settings(plain), options)?;
        Ok(Self {
            address: info.addr().to_string(),
            client: client(info.clone(), options)?,
            client_resp2,
            info,
            options: options.clone(),
            commands: tokio::sync::Mutex::default(),
            settling: tokio::sync::Mutex::default(),
            readers: Arc::new(Semaphore::new(options.blocked_readers_max)),
            idle_readers: Mutex::default(),
        })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The shared connection, made when there is none. After a failure nobody tries again before a while.
    async fn connection(&self, lane: Lane) -> Result<Shared, RedisError> {
        let mut slot = self.slot(lane).lock().await;
        if let Some(connection) = &slot.connection {
            return Ok(Shared { connection: connection.clone(), generation: slot.generation });
        }
        if slot.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(RedisError::from((ErrorKind::Io, "the server could not be reached a moment ago")));
        }
        match self.connect(Some(self.options.response_timeout)).await {
            Ok(connection) => {
                let generation = slot.generation + 1;
                *slot = Slot { connection: Some(connection.clone()), generation, ..Slot::default() };
                Ok(Shared { connection, generation })
            }
            Err(error) => {
                let wait = self.options.backoff_first * 2_u32.saturating_pow(slot.failures.min(16));
                slot.failures += 1;
                slot.retry_at = Some(Instant::now() + wait.min(self.options.backoff_max));
                Err(error)
            }
        }
    }

    /// The connection does not answer; the next request makes another one.
    async fn drop_connection(&self, lane: Lane, lost: &Shared) {
        let mut slot = self.slot(lane).lock().await;
        if slot.generation == lost.generation {
            slot.connection = None;
        }
    }

    /// Sends a request over a shared connection, which is made anew next time when it is lost.
    pub(crate) async fn ask(&self, lane: Lane, request: &Request, is_asking: bool) -> Result<Value, Miss> {
        let mut shared = self.connection(lane).await.map_err(Miss::Unsent)?;
        match send(&mut shared.connection, request, is_asking).await {
            Ok(value) => Ok(value),
            Err(error) => {
                if fate_of(&error) == Fate::Unknown {
                    self.drop_connection(lane, &shared).await;
                }
                Err(Miss::Sent(error))
            }
        }
    }

    /// A connection of its own for a read that waits.
    pub(crate) async fn reader(self: &Arc<Self>) -> Result<Reader, Error> {
        let permit = Arc::clone(&self.readers).try_acquire_owned().map_err(|_| too_many_readers())?;
        let idle = self.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect(None).await.map_err(unavailable)?,
        };
        Ok(Reader { node: Arc::clone(self), connection: Some(connection), _permit: permit })
    }

    fn slot(&self, lane: Lane) -> &tokio::sync::Mutex<Slot> {
        match lane {
            Lane::Commands => &self.commands,
            Lane::Settling => &self.settling,
        }
    }

    async fn connect(&self, response: Option<Duration>) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(response);
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await;
        match made {
            Err(error) if self.speaks_resp3() && error.kind() == ErrorKind::RESP3NotSupported => {
                self.client_resp2.get_multiplexed_async_connection_with_config(&config).await
            }
            made => made,
        }
    }

    fn speaks_resp3(&self) -> bool {
        self.info.redis_settings().protocol() != ProtocolVersion::RESP2
    }
}

fn client(info: ConnectionInfo, options: &Options) -> Result<Client, RedisError> {
    if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        choose_cryptography();
    }
    match (&options.tls_roots, info.addr()) {
        (Some(roots), redis::ConnectionAddr::TcpTls { .. }) => {
            let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(roots.clone()) };
            Client::build_with_tls(info, certificates)
        }
        _ => Client::open(info),
    }
}

/// Sends a request; a script that the server does not know is sent with its text.
async fn send(
    connection: &mut MultiplexedConnection,
    request: &Request,
    is_asking: bool,
) -> Result<Value, RedisError> {
    if is_asking {
        let text = request.with_text();
        let mut pipe = redis::pipe();
        pipe.cmd("ASKING").ignore().add_command(text.unwrap_or_else(|| request.command_ref().clone()));
        let mut values: Vec<Value> = pipe.query_async(connection).await?;
        return Ok(values.pop().unwrap_or_default());
    }
    match refusals_are_errors(connection.send_packed_command(request.command_ref()).await) {
        Err(error) if error.code() == Some("NOSCRIPT") => match request.with_text() {
            Some(text) => refusals_are_errors(connection.send_packed_command(&text).await),
            None => Err(error),
        },
        answer => answer,
    }
}

/// What the server refused comes as a value.
fn refusals_are_errors(answer: Result<Value, RedisError>) -> Result<Value, RedisError> {
    match answer? {
        refusal @ Value::ServerError(_) => refusal.extract_error(),
        value => Ok(value),
    }
}

/// The connection of a read that waits. Dropped while the server still waits for entries, it is closed.
#[derive(Debug)]
pub(crate) struct Reader {
    node: Arc<Node>,
    connection: Option<MultiplexedConnection>,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// Waits at the server for entries above an ID. `Nil` when none came in time.
    pub(crate) async fn wait(
        &mut self,
        stream: &[u8],
        above: &str,
        count: u64,
        wait: Duration,
    ) -> Result<Value, Error> {
        let Some(mut connection) = self.connection.take() else { return Err(too_many_readers()) };
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(count).arg("BLOCK").arg(millis).arg("STREAMS").arg(stream).arg(above);
        let late = wait + self.node.options.response_timeout;
        let answer = timeout(late, connection.send_packed_command(&command)).await;
        let answer = answer.unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "the answer is late"))));
        let answer = refusals_are_errors(answer);
        match answer {
            Ok(value) => {
                self.connection = Some(connection);
                Ok(value)
            }
            // The slot moved: somebody else is to be asked.
            Err(error) if error.redirect_node().is_some() => Err(unavailable(error)),
            Err(error) if fate_of(&error) == Fate::Refused => {
                self.connection = Some(connection);
                Err(refused(error))
            }
            Err(error) => Err(unavailable(error)),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut idle = self.node.idle_readers.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.node.options.idle_readers_max {
            idle.push(connection);
        }
    }
}
