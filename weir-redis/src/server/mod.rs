//! A weir server as an engine: the broker traits over its `WEIR.*` commands.
//!
//! * One connection carries commands, one carries settlements, and every waiting read has one for itself, so that nobody
//!   waits behind somebody who waits.
//! * A waiting read whose future is dropped takes its connection with it, so that the server knows nobody waits any more.
//! * A broken connection is made anew with the next call, after a pause that grows while that fails. Meanwhile everything
//!   answers [`ErrorKind::Unavailable`].
//! * Only what does no more the second time is asked a second time ([`weir_wire::Verb::is_repeatable`]). Of everything
//!   else the caller learns that its answer is missing.
//!
//! Needs a tokio runtime.

mod address;
mod answer;
mod broker;
mod call;
mod link;
mod readers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_core::{Admin, BoxFuture, Broker, Error, ErrorKind};
use weir_wire::Value;

use address::Address;
use broker::Namespace;

/// How a weir server is talked to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The password, where the URL has none.
    pub token: Option<String>,
    /// Certificates that are trusted instead of the usual ones, in PEM. Only with TLS.
    pub root_certificates: Option<Vec<u8>>,
    /// How long an answer may take that does not wait for entries. Default 10 s.
    pub response_timeout: Duration,
    /// How long making a connection may take. Default 5 s.
    pub connect_timeout: Duration,
    /// The longest pause between two attempts to connect. Default 2 s.
    pub reconnect_pause_max: Duration,
    /// Reads that may wait at a time, each on a connection of its own. Default 1 000.
    pub waiting_max: usize,
    /// Connections of waiting reads that are kept for the next ones. Default 16.
    pub idle_readers_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: None,
            root_certificates: None,
            response_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            reconnect_pause_max: Duration::from_secs(2),
            waiting_max: 1_000,
            idle_readers_max: 16,
        }
    }
}

/// Connects to the server behind a URL: `weir://[user[:password]@]host[:port][/database]`, or `weirs://` with TLS.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a URL that cannot be read; [`ErrorKind::Unavailable`] when nobody answers;
/// [`ErrorKind::Denied`] when the server wants another password; [`ErrorKind::Unsupported`] when it is not a weir server.
pub async fn connect(url: &str) -> Result<Server, Error> {
    connect_with(url, Options::default()).await
}

/// As [`connect`], with what is not in the URL.
///
/// # Errors
/// As [`connect`].
pub async fn connect_with(url: &str, options: Options) -> Result<Server, Error> {
    let address = Address::parse(url, &options)?;
    let home = Arc::new(Namespace::new(address.clone(), options.clone())?);
    let names = names(&home).await?;
    let here = address.database;
    let shared = Shared { address, options, names, open: Mutex::new(HashMap::from([(here, home.clone())])) };
    Ok(Server { shared: Arc::new(shared), home })
}

/// A weir server: its namespaces.
#[derive(Debug, Clone)]
pub struct Server {
    shared: Arc<Shared>,
    home: Arc<Namespace>,
}

#[derive(Debug)]
struct Shared {
    address: Address,
    options: Options,
    /// Of its namespaces, by the numbers of their databases.
    names: Vec<String>,
    open: Mutex<HashMap<u32, Arc<Namespace>>>,
}

impl Server {
    /// The namespace that the URL names.
    #[must_use]
    pub fn broker(&self) -> Arc<dyn Broker> {
        self.home.clone()
    }
}

impl Admin for Server {
    fn namespaces(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(names(&self.home))
    }

    fn namespace(&self, name: &str) -> Result<Arc<dyn Broker>, Error> {
        let Some(number) = self.shared.names.iter().position(|known| known == name) else {
            return Err(Error::new(ErrorKind::Invalid("no such namespace")).with_context(format!("{name:?}")));
        };
        let number = u32::try_from(number).expect("a server has a few namespaces");
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(&number) {
            return Ok(known.clone());
        }
        let address = self.shared.address.with_database(number);
        let made = Arc::new(Namespace::new(address, self.shared.options.clone())?);
        open.insert(number, made.clone());
        Ok(made)
    }
}

/// Asks for the names of all namespaces; who cannot say them is no weir server.
async fn names(namespace: &Namespace) -> Result<Vec<String>, Error> {
    let strange =
        || Error::new(ErrorKind::Unsupported("this is not a weir server; use redis:// for a Redis"));
    let Value::Array(items) = namespace.ask(&["WEIR.NAMESPACES"]).await? else { return Err(strange()) };
    let text = |item| match item {
        Value::Bulk(text) => String::from_utf8(text).map_err(|_| strange()),
        _ => Err(strange()),
    };
    items.into_iter().map(text).collect()
}
