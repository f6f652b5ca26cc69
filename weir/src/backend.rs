//! `weir serve --backend`: the RESP door on a Redis instead of a data folder.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use redis::{ConnectionAddr, IntoConnectionInfo};
use tokio::signal::unix::{SignalKind, signal};
use weir_server::Limits;
use weir_server::proxy::{self, Config};

use crate::exit::usage;
use crate::settings::Settings;
use crate::{files, listen};

/// Threads that serve clients; what takes time is done by the Redis.
const THREADS: usize = 2;

/// The Redis behind the door.
#[derive(Debug, PartialEq, Eq)]
struct Upstream {
    /// `HOST:PORT`
    address: String,
    user: String,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When the Redis cannot be reached, an address is taken, or a setting has no meaning here.
pub(crate) fn run(settings: &Settings, url: &str) -> Result<()> {
    let upstream = Upstream::of(url)?;
    let address = check(settings)?;
    let listener = listen::tcp("resp", address)?;
    let address = listener.local_addr()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(THREADS).thread_name("weir-proxy").enable_all().build()?;
    runtime.block_on(async {
        let reached = weir_connect::open_admin(url).await;
        let admin = reached.with_context(|| format!("the Redis at {} cannot be used", upstream.address))?;
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        announce(address, &upstream);
        let limits = Limits { clients: files::clients(settings.clients) / 2, ..Limits::default() };
        let config = Config { upstream: upstream.address, admin, user: upstream.user, limits };
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
        };
        proxy::serve(listener, config, stop).await.context("the server stopped")
    })
}

/// The address to serve on; what only an engine of its own can do is refused.
fn check(settings: &Settings) -> Result<SocketAddr> {
    let refused = [
        (settings.token.is_some(), "token", "the Redis knows its users and their passwords"),
        (settings.unix_socket.is_some(), "unix-socket", "clients are served over TCP"),
        (settings.tls_cert.is_some(), "tls-cert", "clients are served without TLS"),
    ];
    for (is_given, setting, why) in refused {
        if is_given {
            return Err(usage(format!("--{setting} has no meaning with --backend: {why}; leave it out")));
        }
    }
    settings.resp.ok_or_else(|| usage("there is no address for Redis clients; give --resp"))
}

impl Upstream {
    fn of(url: &str) -> Result<Self> {
        let refuse = || {
            usage(
                "--backend wants one Redis without TLS, redis://[user:password@]host[:port]: its own commands pass through",
            )
        };
        if !url.starts_with("redis://") {
            return Err(refuse());
        }
        // What the library says may have the password in it.
        let info = url.into_connection_info().map_err(|_| refuse())?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err(refuse()) };
        if info.redis_settings().db() != 0 {
            return Err(usage(
                "--backend serves the database 0, where clients begin: WEIR.* commands in another one would not see \
                 their streams; leave the database out of the URL",
            ));
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let user = info.redis_settings().username().unwrap_or("default").to_owned();
        Ok(Self { address: format!("{host}:{port}"), user })
    }
}

#[expect(clippy::print_stdout, reason = "scripts read the addresses from here")]
fn announce(address: SocketAddr, upstream: &Upstream) {
    println!("weir {} serves Redis Streams clients", env!("CARGO_PKG_VERSION"));
    println!("  resp  redis://{address}");
    println!("  data  in the Redis at {}", upstream.address);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_redis_is_named_and_nothing_else() {
        for (url, address, user) in [
            ("redis://h", "h:6379", "default"),
            ("redis://ann:pw@127.0.0.1:7/0", "127.0.0.1:7", "ann"),
            ("redis://:pw@[::1]:7", "[::1]:7", "default"),
        ] {
            let wanted = Upstream { address: address.into(), user: user.into() };
            assert_eq!(Upstream::of(url).unwrap(), wanted, "{url}");
        }
        for url in ["rediss://h", "redis+cluster://h:1,i:2", "weir://h", "h:6379", "redis://:secret@h:port"] {
            let error = format!("{:#}", Upstream::of(url).unwrap_err());
            assert!(error.contains("--backend wants") && !error.contains("secret"), "{error}");
        }
        let error = format!("{:#}", Upstream::of("redis://:secret@h:7/2").unwrap_err());
        assert!(error.contains("database 0") && !error.contains("secret"), "{error}");
    }
}
