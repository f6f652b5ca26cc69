//! One door for both: behind the URL of a Redis there may be a weir server, which is spoken to with its own commands.

use std::sync::Arc;

use redis::Value;
use weir_core::{Admin, Broker, Error, ErrorKind};

use crate::link::{Lane, Link, Repeat};
use crate::request::Request;
use crate::target::{Layout, Target};
use crate::{Options, RedisBroker, connect, server};

/// What was behind a URL.
#[derive(Debug, Clone)]
pub enum Opened {
    /// A Redis or a Valkey.
    Redis(RedisBroker),
    /// A weir server.
    Weir(server::Server),
}

impl Opened {
    /// The broker: of a weir server the one of the namespace whose number the URL names.
    #[must_use]
    pub fn broker(&self) -> Arc<dyn Broker> {
        match self {
            Self::Redis(broker) => Arc::new(broker.clone()),
            Self::Weir(server) => server.broker(),
        }
    }

    /// What an administrator sees.
    #[must_use]
    pub fn admin(&self) -> Arc<dyn Admin> {
        match self {
            Self::Redis(broker) => Arc::new(broker.clone()),
            Self::Weir(server) => Arc::new(server.clone()),
        }
    }
}

/// Opens what is behind the URL of a Redis: a Redis, or a weir server when that is what answers.
///
/// # Errors
/// As [`connect`].
pub async fn open(url: &str, options: Options) -> Result<Opened, Error> {
    if !is_weir_server(url, options.clone()).await? {
        return connect(url, options).await.map(Opened::Redis);
    }
    let server_options = server::Options {
        token: options.password,
        root_certificates: options.tls_roots,
        response_timeout: options.response_timeout,
        connect_timeout: options.connect_timeout,
        reconnect_pause_max: options.backoff_max,
        waiting_max: options.blocked_readers_max,
        idle_readers_max: options.idle_readers_max,
    };
    server::connect_with(&as_weir_url(url), server_options).await.map(Opened::Weir)
}

/// Whether a weir server answers behind the URL of a single Redis: whether it can name its namespaces.
///
/// # Errors
/// As [`connect`].
pub async fn is_weir_server(url: &str, options: Options) -> Result<bool, Error> {
    let target = Target::parse(url)?;
    if !matches!(target.layout, Layout::Standalone) {
        return Ok(false);
    }
    let link = Link::new(target, options);
    match link.call(b"", Lane::Commands, &Request::command("WEIR.NAMESPACES"), Repeat::Harmless).await {
        Ok(Value::Array(_)) => Ok(true),
        Err(error) if *error.kind() == ErrorKind::Unavailable => Err(error),
        // A server that lets the user name no namespaces may still be one, but then nothing else goes either.
        _ => Ok(false),
    }
}

/// The same server by its own scheme.
fn as_weir_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let is_tls = matches!(scheme, "rediss" | "valkeys");
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    format!("{}://{rest}", if is_tls { "weirs" } else { "weir" })
}
