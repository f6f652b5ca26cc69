//! What commands print on standard output. A reader that went away (`weir … | head`) is no error.

use std::io::{ErrorKind, Write as _};

use anyhow::{Context, Result};
use comfy_table::presets;
use serde::Serialize;

/// A table with a head, for people.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(head.iter().copied());
        Self(table)
    }

    pub(crate) fn row(&mut self, cells: &[&str]) {
        self.0.add_row(cells.iter().copied());
    }
}

/// Prints a table.
pub(crate) fn print_table(table: &Table) -> Result<()> {
    print_line(&table.0.to_string())
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print_line(&serde_json::to_string(value).context("what was found cannot be written as JSON")?)
}

/// Prints a line.
pub(crate) fn print_line(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output cannot be written")
        }
        _ => Ok(()),
    }
}
