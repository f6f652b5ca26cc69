//! Opens a broker by its URL: in memory, in a folder, on a weir server, on a Redis.
//!
//! Programs and the command line use this one door, so that only the URL says which engine is behind it.
//!
//! | URL | what answers | feature |
//! |---|---|---|
//! | `memory:` | an engine in this process, empty at every opening | `embedded` |
//! | `file:DIR` | an engine on the folder, in this process; or the server that holds the folder | `embedded`, `redis` |
//! | `weir://HOST:PORT`, `weirs://…` with TLS | a weir server, through its `WEIR.*` commands | `redis` |
//! | `redis://HOST:PORT/DB`, `rediss://…` with TLS | a Redis or Valkey | `redis` |
//! | `redis+cluster://HOST:PORT,HOST:PORT` | a Redis cluster | `redis` |
//! | `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE` | the Redis that sentinels call its master | `redis` |
//!
//! User and password stand before the host: `weir://:TOKEN@HOST:PORT`.

mod url;

use std::sync::Arc;

use weir_core::{Admin, Broker, Error, ErrorKind};

pub use url::{SCHEMES, Target};

/// What is not in the URL.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The password for a server whose URL has none, and for the server that holds a folder.
    pub token: Option<String>,
}

/// Opens the broker behind a URL.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a URL that cannot be read, naming the schemes there are; [`ErrorKind::Unsupported`] when
/// the engine was not compiled in, naming the feature; else what the engine answers.
pub async fn open(url: &str) -> Result<Arc<dyn Broker>, Error> {
    open_with(url, &Options::default()).await
}

/// As [`open`], with what is not in the URL.
///
/// # Errors
/// As [`open`].
pub async fn open_with(url: &str, options: &Options) -> Result<Arc<dyn Broker>, Error> {
    match Target::of(url)? {
        #[cfg(feature = "redis")]
        Target::Weir(url) => Ok(weir_server(&url, options).await?.broker()),
        target => Err(not_compiled_in(&target)),
    }
}

/// Opens what an administrator sees behind a URL: all namespaces.
///
/// # Errors
/// As [`open`].
pub async fn open_admin(url: &str) -> Result<Arc<dyn Admin>, Error> {
    open_admin_with(url, &Options::default()).await
}

/// As [`open_admin`], with what is not in the URL.
///
/// # Errors
/// As [`open`].
pub async fn open_admin_with(url: &str, options: &Options) -> Result<Arc<dyn Admin>, Error> {
    match Target::of(url)? {
        #[cfg(feature = "redis")]
        Target::Weir(url) => Ok(Arc::new(weir_server(&url, options).await?)),
        target => Err(not_compiled_in(&target)),
    }
}

#[cfg(feature = "redis")]
async fn weir_server(url: &str, options: &Options) -> Result<weir_redis::server::Server, Error> {
    let token = options.token.clone();
    let options = weir_redis::server::Options { token, ..weir_redis::server::Options::default() };
    weir_redis::server::connect_with(url, options).await
}

fn not_compiled_in(target: &Target) -> Error {
    let feature = match target {
        Target::Memory | Target::Folder(_) => "embedded",
        Target::Weir(_) | Target::Redis(_) => "redis",
    };
    Error::new(ErrorKind::Unsupported("its engine was not compiled in"))
        .with_context(format!("build weir-connect with the feature {feature:?}"))
}
