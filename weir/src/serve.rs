//! `weir serve`: an engine on a data folder, and the doors to it.

use std::io::IsTerminal as _;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use weir_core::{Clock, ErrorKind, SystemClock};
use weir_engine::{Engine, Fsync, Options};
use weir_log::{Disk, RealDisk};
use weir_server::Limits;
use weir_server::resp::{Config, Listener, Server};

/// The data folder that stands for memory.
const MEMORY: &str = "memory:";

/// What `weir serve` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Data folder, or `memory:` for nothing on disk.
    #[arg(long, env = "WEIR_DIR", default_value = "weir-data")]
    dir: String,
    /// Address for Redis clients.
    #[arg(long, env = "WEIR_RESP", default_value = "127.0.0.1:6379")]
    resp: String,
    /// Path of a Unix socket for Redis clients, in addition.
    #[arg(long, env = "WEIR_UNIX_SOCKET")]
    unix_socket: Option<PathBuf>,
    /// When answers may leave: `always` = when on disk, `everysec` and `no` = when handed to the system.
    #[arg(long, env = "WEIR_FSYNC", value_enum, default_value_t = FsyncArg::Everysec)]
    fsync: FsyncArg,
    /// Password that clients have to give.
    #[arg(long, env = "WEIR_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Serve other machines without a token.
    #[arg(long, env = "WEIR_INSECURE")]
    insecure: bool,
    /// How log lines look.
    #[arg(long, env = "WEIR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FsyncArg {
    Always,
    Everysec,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(args: Args) -> Result<()> {
    start_logging(args.log_format);
    let address = resolve(&args.resp)?;
    if !address.ip().is_loopback() && args.token.is_none() && !args.insecure {
        bail!(
            "{address} can be reached from other machines and there is no token; \
             give --token, or --insecure if that is meant"
        );
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let engine = open_engine(&args, &clock)?;
    let served = serve(&args, address, &engine, clock);
    let closed = engine.close().context("the data folder could not be closed cleanly");
    served.and(closed)
}

fn serve(args: &Args, address: SocketAddr, engine: &Engine, clock: Arc<dyn Clock>) -> Result<()> {
    let listener = TcpListener::bind(address).map_err(|error| bind_error(address, error))?;
    let address = listener.local_addr()?;
    let mut listeners = vec![Listener::tcp(listener)?];
    if let Some(path) = &args.unix_socket {
        listeners.push(Listener::unix(bind_unix(path)?)?);
    }
    let config = Config {
        limits: Limits::default(),
        password: args.token.clone(),
        dir: args.dir.clone(),
        ..Config::default()
    };
    let server = Server::new(listeners, engine.clone(), clock, config)?;
    let stopper = server.stopper();
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let handle = signals.handle();
    let watcher = std::thread::Builder::new().name("weir-signals".into()).spawn(move || {
        for signal in &mut signals {
            tracing::info!(signal, "stopping");
            stopper.stop();
        }
    })?;
    announce(args, address, engine);
    let ran = server.run().context("the server stopped");
    handle.close();
    watcher.join().map_err(|_| anyhow!("the signal thread panicked"))?;
    if let Some(path) = &args.unix_socket {
        // The file is of no use any more; a successor replaces it if it stays.
        drop(std::fs::remove_file(path));
    }
    ran
}

#[expect(clippy::print_stdout, reason = "scripts read the address from here")]
fn announce(args: &Args, address: SocketAddr, engine: &Engine) {
    println!("weir {} serves Redis Streams clients", env!("CARGO_PKG_VERSION"));
    println!("  resp  redis://{address}");
    if let Some(path) = &args.unix_socket {
        println!("  unix  {}", path.display());
    }
    println!("  data  {}", shown_dir(&args.dir));
    if let Err(error) = engine.announce(&format!("resp {address}\n")) {
        tracing::warn!(%error, "the LOCK file could not be given this server's address");
    }
}

fn shown_dir(dir: &str) -> String {
    if dir == MEMORY {
        return "in memory, gone when the server stops".into();
    }
    std::path::absolute(dir).map_or_else(|_| dir.into(), |path| path.display().to_string())
}

fn open_engine(args: &Args, clock: &Arc<dyn Clock>) -> Result<Engine> {
    let fsync = match args.fsync {
        FsyncArg::Always => Fsync::Always,
        FsyncArg::Everysec => Fsync::EverySecond,
        FsyncArg::No => Fsync::No,
    };
    let options = Options { fsync, ..Options::default() };
    if args.dir == MEMORY {
        return Ok(Engine::memory_with(clock.clone(), options));
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&args.dir));
    Engine::open(disk, clock.clone(), options).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::InUse => "another server holds it; stop that one or give another --dir",
            ErrorKind::Corrupt => "run `weir check` on it",
            _ => "is it a folder that this user may write to?",
        };
        anyhow!(error).context(format!("the data folder {} cannot be opened: {remedy}", args.dir))
    })
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let with_host = if address.starts_with(':') { format!("127.0.0.1{address}") } else { address.to_owned() };
    if let Ok(port) = address.parse::<u16>() {
        return Ok(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port));
    }
    with_host
        .to_socket_addrs()
        .with_context(|| format!("{address} is no address; write host:port"))?
        .next()
        .with_context(|| format!("{address} stands for no address"))
}

fn bind_error(address: SocketAddr, error: std::io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program listens there (a Redis?); stop it or give another --resp, for example --resp \
             127.0.0.1:6380"
        }
        std::io::ErrorKind::PermissionDenied => "this user may not; ports below 1024 need more rights",
        _ => "give another --resp",
    };
    anyhow!(error).context(format!("cannot listen on {address}: {remedy}"))
}

fn bind_unix(path: &Path) -> Result<std::os::unix::net::UnixListener> {
    use std::os::unix::net::{UnixListener, UnixStream};
    if path.exists() {
        if UnixStream::connect(path).is_ok() {
            bail!("another program listens on {}; stop it or give another --unix-socket", path.display());
        }
        // Left behind by a server that was killed.
        std::fs::remove_file(path).with_context(|| format!("removing the old socket {}", path.display()))?;
    }
    UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))
}

fn start_logging(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WEIR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => lines.with_target(false).init(),
        LogFormat::Json => lines.json().init(),
    }
}
