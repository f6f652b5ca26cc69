//! The RESP door on a Redis: its own commands pass through byte for byte, `WEIR.*` are carried out by the broker traits.
//!
//! ```text
//!   client ──► requests ──────────── everything else ─────────────► Redis
//!      ▲           │ WEIR.*                                            │
//!      │           └──► markers to Redis, broker of the namespace      │
//!      └──────────────────────────── replies ◄─────────────────────────┘
//! ```
//!
//! Each client has a connection of its own to the Redis, so that transactions, subscriptions, blocking reads and logging in
//! are the Redis' affair. Before a `WEIR.*` command is carried out, the Redis is asked who the client is and in which
//! database, between two markers (names of commands that nobody has, answered with an error by every Redis in every
//! state). The first marker also says that everything asked before is answered; so replies leave in order.
//!
//! Invariants:
//! * What is not `WEIR.*` reaches the Redis unchanged, and so do its replies the client.
//! * Only who has logged in as the user that the broker itself uses may use `WEIR.*`: rights of other users are the
//!   Redis' to check, and it does not see these commands.
//! * Within MULTI, `WEIR.*` goes to the Redis, which refuses it and the transaction with it.
//! * A client costs two connections and buffers of a bounded size.
//!
//! Never looks into a reply except for its own markers.

mod marker;
mod replies;
mod requests;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use weir_core::Admin;

use crate::Limits;

/// What the door stands on.
#[derive(Clone)]
pub struct Config {
    /// The Redis, as `HOST:PORT`.
    pub upstream: String,
    /// The traits on the same Redis.
    pub admin: Arc<dyn Admin>,
    /// As whom the traits have logged in.
    pub user: String,
    /// What clients may cost: [`Limits::clients`] and [`Limits::request_bytes`] count.
    pub limits: Limits,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("upstream", &self.upstream)
            .field("user", &self.user)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// How long the Redis may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long to wait after the system refused to accept a connection, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What the requests of a client may tell its replies that these have not heard yet.
const TOLD_MAX: usize = 8;

/// Serves clients until `stop` resolves; then their connections are closed.
///
/// # Errors
/// When the system refuses to listen.
pub async fn serve(
    listener: std::net::TcpListener,
    config: Config,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(config.limits.clients.min(Semaphore::MAX_PERMITS)));
    let (config, mut clients) = (Arc::new(config), JoinSet::new());
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            Some(_) = clients.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let config = config.clone();
                        clients.spawn(async move {
                            if let Err(error) = client(stream, &config).await {
                                tracing::debug!(%error, "a client was disconnected");
                            }
                            drop(place);
                        });
                    }
                    Err(_) => refuse(stream, b"-ERR max number of clients reached\r\n").await,
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Tells a client why it is not served, as far as it takes that at once.
async fn refuse(mut stream: TcpStream, line: &[u8]) {
    drop(tokio::time::timeout(ACCEPT_PAUSE, stream.write_all(line)).await);
}

/// Serves one client until it or the Redis goes.
async fn client(stream: TcpStream, config: &Config) -> io::Result<()> {
    let upstream = match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(&config.upstream)).await {
        Ok(Ok(upstream)) => upstream,
        failed => {
            refuse(stream, b"-UNAVAILABLE the Redis behind this server cannot be reached\r\n").await;
            return failed.unwrap_or_else(|late| Err(late.into())).map(drop);
        }
    };
    stream.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (from_client, to_client) = stream.into_split();
    let (from_redis, to_redis) = upstream.into_split();
    let (told, heard) = mpsc::channel(TOLD_MAX);
    let requests = requests::Requests::new(from_client, to_redis, told, config);
    tokio::select! {
        asked = requests.run() => asked,
        replied = replies::relay(from_redis, to_client, heard) => replied,
    }
}
