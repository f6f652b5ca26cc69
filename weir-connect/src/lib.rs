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

#[cfg(feature = "embedded")]
mod embedded;
#[cfg(feature = "embedded")]
mod holder;
mod url;

use std::sync::Arc;

use weir_core::{Admin, Broker, Error, ErrorKind};

pub use url::{SCHEMES, Target};

/// What is not in the URL.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The password for a server whose URL has none, and for the server that holds a folder.
    pub token: Option<String>,
    /// Certificates that are trusted instead of the usual ones, in PEM. Only with TLS.
    pub root_certificates: Option<Vec<u8>>,
}

/// Opens the broker behind a URL. A folder that is not there is made. Needs a tokio runtime for everything that is behind
/// a network.
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
    Ok(reach(&Target::of(url)?, options).await?.0)
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
    Ok(reach(&Target::of(url)?, options).await?.1)
}

/// An engine: the namespace that the URL names, and all of them.
type Reached = (Arc<dyn Broker>, Arc<dyn Admin>);

async fn reach(target: &Target, options: &Options) -> Result<Reached, Error> {
    match target {
        #[cfg(feature = "embedded")]
        Target::Memory => {
            let engine = embedded::memory();
            Ok((engine.home()?, engine))
        }
        #[cfg(feature = "embedded")]
        Target::Folder(folder) => match embedded::folder(folder) {
            Err(error) if *error.kind() == ErrorKind::InUse => weir(&holder::url(folder)?, options).await,
            opened => {
                let engine = opened?;
                Ok((engine.home()?, engine))
            }
        },
        #[cfg(not(feature = "embedded"))]
        Target::Memory | Target::Folder(_) => Err(not_compiled_in("embedded")),
        Target::Weir(url) => weir(url, options).await,
        Target::Redis(url) => redis(url, options).await,
    }
}

#[cfg(feature = "redis")]
async fn weir(url: &str, options: &Options) -> Result<Reached, Error> {
    let options = weir_redis::server::Options {
        token: options.token.clone(),
        root_certificates: options.root_certificates.clone(),
        ..weir_redis::server::Options::default()
    };
    let server = weir_redis::server::connect_with(url, options).await?;
    Ok((server.broker(), Arc::new(server)))
}

#[cfg(not(feature = "redis"))]
#[expect(clippy::unused_async, reason = "the same door as with the feature")]
async fn weir(_url: &str, _options: &Options) -> Result<Reached, Error> {
    Err(not_compiled_in("redis"))
}

#[cfg(feature = "redis")]
async fn redis(url: &str, options: &Options) -> Result<Reached, Error> {
    let options = weir_redis::Options {
        password: options.token.clone(),
        tls_roots: options.root_certificates.clone(),
        ..weir_redis::Options::default()
    };
    let opened = weir_redis::open(url, options).await?;
    Ok((opened.broker(), opened.admin()))
}

#[cfg(not(feature = "redis"))]
#[expect(clippy::unused_async, reason = "the same door as with the feature")]
async fn redis(_url: &str, _options: &Options) -> Result<Reached, Error> {
    Err(not_compiled_in("redis"))
}

#[cfg(not(all(feature = "embedded", feature = "redis")))]
fn not_compiled_in(feature: &str) -> Error {
    Error::new(ErrorKind::Unsupported("its engine was not compiled in"))
        .with_context(format!("build weir-connect with the feature {feature:?}"))
}
