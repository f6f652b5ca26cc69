//! Log lines of the program, on standard error.

use std::io::IsTerminal as _;

use anyhow::Result;
use tracing_subscriber::EnvFilter;

use crate::exit::usage;
use crate::settings::LogFormat;

/// Starts writing log lines that pass the filter.
///
/// # Errors
/// When the filter makes no sense.
pub(crate) fn start(format: LogFormat, filter: &str) -> Result<()> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| usage(format!("log = {filter:?}: {error}; try info")))?;
    let colours = std::io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => lines.with_target(false).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
