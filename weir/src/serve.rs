//! `weir serve`: an engine on a data folder, and the doors to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use weir_core::{Clock, SystemClock};
use weir_engine::Engine;
use weir_server::http::{Facts, HttpServer};
use weir_server::resp::{Config, Listener, Server, Stopper};
use weir_server::{DoorStats, Identity, Limits};

use crate::exit::usage;
use crate::settings::{DataDir, Given, Settings, Written};
use crate::{backend, files, folder, listen, logging};

/// What `weir serve` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    given: Given,
}

/// With less than so many bytes for the buffers of all clients nobody could be served.
const BUFFERS_MIN: usize = 32 << 20;

/// What was opened, and where; all of it is closed by its owner.
struct Doors {
    resp: Vec<Listener>,
    /// Of the addresses for Redis clients: `redis`, or `rediss` where they speak TLS.
    scheme: &'static str,
    resp_address: Option<SocketAddr>,
    unix_socket: Option<SocketFile>,
    http: Option<std::net::TcpListener>,
    http_address: Option<SocketAddr>,
}

/// The file of a Unix socket, which goes with this value: nobody answers behind it any more.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor replaces it if it stays.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(args: &Args) -> Result<()> {
    let written = Written::from_process(&args.given)?;
    let settings = Settings::of(&written)?;
    settings.check()?;
    logging::start(settings.log_format, &settings.log)?;
    if let Some(file) = &written.file {
        tracing::info!(file = %file.display(), "settings read");
    }
    if let Some(url) = &settings.backend {
        return backend::run(&settings, url);
    }
    // Addresses first: a taken one is found before a large folder is opened.
    let doors = Doors::open(&settings)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let engine = folder::open(&settings, &clock)?;
    let served = serve(&settings, doors, &engine, clock);
    let closed = engine.close().context("the data folder could not be closed cleanly");
    served.and(closed)
}

impl Doors {
    fn open(settings: &Settings) -> Result<Self> {
        let resp_socket = settings.resp.map(|address| listen::tcp("resp", address)).transpose()?;
        let http = settings.http.map(|address| listen::tcp("http", address)).transpose()?;
        let address = |listener: &std::net::TcpListener| listener.local_addr();
        let resp_address = resp_socket.as_ref().map(address).transpose()?;
        let http_address = http.as_ref().map(address).transpose()?;
        let mut resp = Vec::new();
        let identity = identity(settings)?;
        let scheme = if identity.is_some() { "rediss" } else { "redis" };
        if let Some(socket) = resp_socket {
            resp.push(match identity {
                Some(identity) => Listener::tls(socket, identity)?,
                None => Listener::tcp(socket)?,
            });
        }
        let mut unix_socket = None;
        if let Some(path) = &settings.unix_socket {
            let socket = listen::unix(path)?;
            unix_socket = Some(SocketFile(path.clone()));
            resp.push(Listener::unix(socket)?);
        }
        Ok(Self { resp, scheme, resp_address, unix_socket, http, http_address })
    }

    /// The addresses, one a line, as the LOCK file tells them to other programs.
    fn lines(&self) -> String {
        let mut lines = String::new();
        if let Some(address) = self.resp_address {
            lines.push_str(&format!("resp {}://{address}\n", self.scheme));
        }
        if let Some(SocketFile(path)) = &self.unix_socket {
            lines.push_str(&format!("unix {}\n", path.display()));
        }
        if let Some(address) = self.http_address {
            lines.push_str(&format!("http http://{address}\n"));
        }
        lines
    }
}

/// What is shown to clients that speak TLS, if they are to.
fn identity(settings: &Settings) -> Result<Option<Identity>> {
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(certificates), Some(key)) => {
            let identity = Identity::from_files(certificates, key);
            let refuse = |error: weir_core::Error| {
                usage(format!("{:#}; see --tls-cert and --tls-key", anyhow!(error)))
            };
            identity.map(Some).map_err(refuse)
        }
        _ => Ok(None),
    }
}

/// What clients may cost. Their buffers get half of the memory; the rest is for the index, the cache and the newest
/// entries.
fn limits(settings: &Settings) -> Limits {
    let half = usize::try_from(settings.memory / 2).unwrap_or(usize::MAX).max(BUFFERS_MIN);
    let default = Limits::default();
    // The buffer of a request grows by doubling.
    let request_bytes =
        u32::try_from(half / 2).map_or(default.request_bytes, |most| most.min(default.request_bytes));
    Limits { clients: files::clients(settings.clients), buffers_bytes: half, request_bytes, ..default }
}

fn serve(settings: &Settings, doors: Doors, engine: &Engine, clock: Arc<dyn Clock>) -> Result<()> {
    announce(&settings.dir, &doors, engine);
    let stats = Arc::new(DoorStats::default());
    let facts =
        Facts::new(engine.clone(), stats.clone(), env!("CARGO_PKG_VERSION"), settings.token.as_deref());
    let facts = Arc::new(facts);
    let config = Config {
        limits: limits(settings),
        password: settings.token.clone(),
        dir: settings.dir.to_string(),
        stats,
        ..Config::default()
    };
    let server = Server::new(doors.resp, engine.clone(), clock, config)?;
    let http = doors.http.map(|listener| HttpServer::start(listener, facts.clone())).transpose()?;
    let ran = run_until_signalled(server, &facts);
    if let Some(http) = http {
        http.stop();
    }
    ran
}

fn run_until_signalled(server: Server, facts: &Arc<Facts>) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let handle = signals.handle();
    let (stopper, facts) = (server.stopper(), facts.clone());
    let watcher = std::thread::Builder::new()
        .name("weir-signals".into())
        .spawn(move || watch(&mut signals, &stopper, &facts))?;
    let ran = server.run().context("the server stopped");
    handle.close();
    watcher.join().map_err(|_| anyhow!("the signal thread panicked"))?;
    ran
}

fn watch(signals: &mut Signals, stopper: &Stopper, facts: &Facts) {
    let mut asked = false;
    for signal in signals {
        if asked && signal == SIGINT {
            // Whoever asks twice does not want to wait. What was acknowledged is in the log all the same.
            tracing::warn!("interrupted");
            std::process::exit(130);
        }
        asked = true;
        tracing::info!(signal, "stopping");
        facts.stopping();
        stopper.stop();
    }
}

#[expect(clippy::print_stdout, reason = "scripts read the addresses from here")]
fn announce(dir: &DataDir, doors: &Doors, engine: &Engine) {
    let lines = doors.lines();
    if let Err(error) = engine.announce(&lines) {
        tracing::warn!(%error, "the LOCK file could not be given this server's addresses");
    }
    println!("weir {} serves Redis Streams clients", env!("CARGO_PKG_VERSION"));
    for (door, address) in lines.lines().filter_map(|line| line.split_once(' ')) {
        println!("  {door}  {address}");
    }
    println!("  data  {}", folder::shown(dir));
}
