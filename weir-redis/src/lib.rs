//! A broker on a Redis or a Valkey (one server, one that sentinels watch, or a cluster), or on a weir server ([`server`]).
//!
//! [`connect`] gives a [`RedisBroker`]. Whatever has to happen in one moment is a script on the server (`scripts/`);
//! docs/redis-engine.md draws the keys that are kept beside a stream, and says what other clients of the same Redis can
//! still break.
//!
//! Always: all keys of a stream are in its hash slot; time is the server's; nothing whose answer was lost is sent again
//! unless a second time does no harm. Never: a decision by the version a server tells.

mod admin;
mod capabilities;
mod deliveries;
mod failure;
mod groups;
mod letters;
mod link;
mod opened;
mod options;
mod policy;
mod reply;
mod request;
pub mod server;
mod streams;
mod target;
mod tls;
mod token;

use std::sync::Arc;

use std::future::Future;

use weir_core::{BoxFuture, Error, slot_name};

pub use capabilities::Capabilities;
use link::Link;
pub use opened::{Opened, is_weir_server, open};
pub use options::Options;
use target::Target;

/// Connects to the servers behind a URL and looks at what they can.
///
/// `redis://[user:password@]host[:port][/database]`, the same with `rediss` for TLS, `unix:///path`,
/// `redis+cluster://host:port,host:port`, `redis+sentinel://host:port,host:port/master-name`. RESP3 is spoken unless
/// `?protocol=2` is appended. A Valkey is named the same way.
///
/// # Errors
/// [`ErrorKind::Invalid`](weir_core::ErrorKind::Invalid) for a URL that cannot be read,
/// [`ErrorKind::Unavailable`](weir_core::ErrorKind::Unavailable) when nobody answers within
/// [`Options::retry_for`], [`ErrorKind::Denied`](weir_core::ErrorKind::Denied) for a wrong password.
pub async fn connect(url: &str, options: Options) -> Result<RedisBroker, Error> {
    let link = Link::new(Target::parse(url)?, options);
    let capabilities = capabilities::probe(&link).await?;
    Ok(RedisBroker { inner: Arc::new(Inner { link, capabilities }) })
}

/// A broker on a Redis. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub struct RedisBroker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Link,
    capabilities: Capabilities,
}

impl RedisBroker {
    /// What the servers can beyond what is needed.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.inner.capabilities
    }

    fn link(&self) -> &Link {
        &self.inner.link
    }
}

/// What the names of the keys beside a stream begin with.
///
/// # Errors
/// As [`slot_name`].
fn side_prefix(stream: &[u8]) -> Result<Vec<u8>, Error> {
    Ok([&slot_name(stream)?, b":weir:".as_slice()].concat())
}

/// The same call; when the group is missing or exists already, its error names it.
fn about_group<'a, T>(
    stream: &'a [u8],
    group: &'a [u8],
    call: impl Future<Output = Result<T, Error>> + Send + 'a,
) -> BoxFuture<'a, T> {
    Box::pin(async move { call.await.map_err(|error| error.about_group(stream, group)) })
}
