//! `weir health`: asks a running server how it is; made for container health checks and scripts.

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::exit::usage;
use crate::output::print_line;
use crate::probe;
use crate::settings::{Given, Settings, Written};

/// What `weir health` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the server's HTTP door is [default: the address that `weir serve` would take]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The server's token, when it has one [env: WEIR_TOKEN]
    #[arg(long, value_name = "SECRET", hide_env_values = true)]
    token: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints how the server is; fails when it does not serve.
pub(crate) fn run(args: &Args) -> Result<()> {
    let settings = Settings::of(&Written::from_process(&Given::default())?)?;
    let address = match &args.url {
        None => settings.http,
        Some(url) => {
            let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
            crate::settings::address(host).map_err(|reason| usage(format!("{url}: {reason}")))?
        }
    };
    let address = address.ok_or_else(|| usage("the server has no HTTP door (http = none); give --url"))?;
    let token = args.token.as_deref().or(settings.token.as_deref());
    let page = probe::get(address, "/health", token)
        .with_context(|| format!("nothing answers at http://{address}; is the server running?"))?;
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
