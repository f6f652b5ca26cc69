//! Which broker a command talks to, and how a command runs and ends.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Error, Result};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use weir_connect::{Options, Target};
use weir_core::{Broker, ErrorKind};

use crate::exit::{interrupted, refused, usage};

/// Where a command looks when it is told nothing: at the server that `weir serve` starts without options.
pub(crate) const URL: &str = "weir://127.0.0.1:6379";

/// Which broker.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Reach {
    /// The broker: weir://HOST:PORT, file:DIR, redis://HOST:PORT, rediss://…, redis+cluster://…, redis+sentinel://…, memory:
    #[arg(long, value_name = "URL", env = "WEIR_URL", default_value = URL, help_heading = "Broker")]
    pub(crate) url: String,
    /// The broker's password, where the URL has none
    #[arg(long, value_name = "SECRET", env = "WEIR_TOKEN", hide_env_values = true, help_heading = "Broker")]
    pub(crate) token: Option<String>,
    /// Certificates to trust instead of the usual ones, in PEM, for TLS
    #[arg(long, value_name = "FILE", env = "WEIR_TLS_CA", help_heading = "Broker")]
    pub(crate) tls_ca: Option<PathBuf>,
}

/// Whether a folder that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    Made,
    Needed,
}

impl Reach {
    /// The broker of this command.
    pub(crate) async fn open(&self, folder: Folder) -> Result<Arc<dyn Broker>> {
        open(&self.url, self.token.clone(), self.tls_ca.as_deref(), folder).await
    }
}

/// The broker behind a URL.
///
/// # Errors
/// Says what to do about it.
pub(crate) async fn open(
    url: &str,
    token: Option<String>,
    tls_ca: Option<&Path>,
    folder: Folder,
) -> Result<Arc<dyn Broker>> {
    if let (Folder::Needed, Target::Folder(path)) = (folder, Target::of(url)?) {
        is_there(&path)?;
    }
    let root_certificates =
        match tls_ca {
            Some(file) => Some(std::fs::read(file).map_err(|error| {
                usage(format!("{} cannot be read: {error}; see --tls-ca", file.display()))
            })?),
            None => None,
        };
    let options = Options { token, root_certificates };
    let opened = weir_connect::open_with(url, &options).await;
    opened.map_err(|error| match error.kind() {
        ErrorKind::Unavailable => Error::from(error).context(format!(
            "no broker answers at {url}; start one with `weir serve`, or say where it is with --url or WEIR_URL"
        )),
        _ => Error::from(error).context(format!("the broker at {url} cannot be opened")),
    })
}

fn is_there(folder: &Path) -> Result<()> {
    match folder.is_dir() {
        true => Ok(()),
        false => Err(refused(format!("there is no folder {}; see --url", folder.display()))),
    }
}

/// Runs a command to its end, or until SIGINT or SIGTERM.
pub(crate) fn run<W>(work: W) -> Result<()>
where
    W: Future<Output = Result<()>>,
{
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            ended = work => ended,
            _ = interrupt.recv() => Err(interrupted()),
            _ = terminate.recv() => Err(interrupted()),
        }
    });
    // What still waits for a broker is not waited for.
    runtime.shutdown_background();
    ended
}

/// Where tasks run.
pub(crate) fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("no threads can be started")
}
