//! `weir health`: asks a running server how it is; made for container health checks and scripts.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::exit::usage;
use crate::folder::Holder;
use crate::output::print_line;
use crate::probe::{self, Page};
use crate::settings::{self, DataDir, Given, Settings, Written};

/// What `weir health` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the server's HTTP door is [default: what the server that holds the data folder says, or else the address
    /// that `weir serve` would take]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The server's data folder [default: that of `weir serve`] [env: WEIR_DIR]
    #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
    dir: Option<String>,
    /// File with the server's settings [default: weir.toml, when it is there] [env: WEIR_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's token, when it has one [env: WEIR_TOKEN]
    #[arg(long, value_name = "SECRET")]
    token: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints how the server is; fails when it does not serve.
pub(crate) fn run(args: &Args) -> Result<()> {
    let flags = [("dir", &args.dir), ("token", &args.token)];
    let values = flags.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    let settings = Settings::of(&Written::from_process(&Given::of(args.config.clone(), values))?)?;
    let addresses = match &args.url {
        Some(url) => vec![of_url(url)?],
        None => addresses(&settings),
    };
    if addresses.is_empty() {
        return Err(usage("the server has no HTTP door (http = none); give --url"));
    }
    let (address, page) = ask(&addresses, settings.token.as_deref())?;
    if page.status == 401 {
        return Err(anyhow!("http://{address} wants a token; give --token"));
    }
    let health: Value = serde_json::from_str(&page.body)
        .with_context(|| format!("what answers at http://{address} is no weir"))?;
    let status = health["status"].as_str().unwrap_or("unknown");
    if args.json {
        print_line(page.body.trim_end())?;
    } else {
        print_line(&format!("{status}: http://{address}"))?;
        for line in health["remedy"].as_str().into_iter() {
            print_line(&format!("  {line}"))?;
        }
    }
    match page.status {
        200 => Ok(()),
        _ => Err(anyhow!("the server at http://{address} does not serve: {status}")),
    }
}

fn of_url(url: &str) -> Result<SocketAddr> {
    if url.starts_with("https://") {
        return Err(usage(format!("{url}: weir's HTTP door speaks plain HTTP; write http://host:port")));
    }
    let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let address = settings::address(host).ok().flatten();
    address.ok_or_else(|| usage(format!("{url}: that is no address; write http://host:port")))
}

/// Where the server may be: what the last that held the folder has written there, then what it would take by its
/// settings.
fn addresses(settings: &Settings) -> Vec<SocketAddr> {
    let holder = match &settings.dir {
        DataDir::Folder(path) => Holder::of(path),
        DataDir::Memory => None,
    };
    let of_holder = holder.as_ref().and_then(Holder::http).and_then(|url| of_url(url).ok());
    let mut addresses: Vec<_> = of_holder.into_iter().chain(settings.http).collect();
    addresses.dedup();
    addresses
}

/// The page of the first address that answers.
fn ask(addresses: &[SocketAddr], token: Option<&str>) -> Result<(SocketAddr, Page)> {
    let mut failed: Option<io::Error> = None;
    for address in addresses {
        match probe::get(*address, "/health", token) {
            Ok(page) => return Ok((*address, page)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let all: Vec<_> = addresses.iter().map(|address| format!("http://{address}")).collect();
    let nobody = format!(
        "nothing answers at {}; is the server running? If it has another address, give --url, or --dir with its data \
         folder",
        all.join(" or ")
    );
    Err(failed.map_or_else(|| anyhow!("{nobody}"), |error| anyhow!(error).context(nobody.clone())))
}
