//! Changes that cannot be taken back are shown first and made when the user says so.

use std::io::BufRead as _;

use anyhow::{Context, Result};

use crate::exit::refused;
use crate::output::{is_for_people, tell};

/// Asks on standard error whether to go on. Where nobody can answer, nothing is changed.
///
/// # Errors
/// Refused, unless the answer is yes.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !is_for_people() {
        return Err(refused("nothing was changed; say --yes to do it"));
    }
    tell(&format!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("the answer cannot be read")?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(refused("nothing was changed")),
    }
}
