//! `weir man`: a manual page for each command, made from the same declarations as `--help`.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;

use crate::output::print_line;

/// Writes `weir.1`, `weir-serve.1`, `weir-dlq-list.1` and so on into a folder.
///
/// # Errors
/// When the folder cannot be made or written to.
pub(crate) fn write(command: &Command, folder: &Path) -> Result<()> {
    let cannot = || format!("manual pages cannot be written to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    clap_mangen::generate_to(command.clone(), folder).with_context(cannot)?;
    print_line(&format!("manual pages are in {0}; `man -l {0}/weir.1` shows the first", folder.display()))
}
