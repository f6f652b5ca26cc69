//! Many connections at once: what idle ones cost, and whether blocked ones get what they wait for.
//!
//! One server, one run, plain blocking sockets: nothing here measures speed. Connections come from several loopback
//! addresses, since the system has some 28 000 ports for each.

mod blocked;
mod idle;
mod members;

use std::io::Write as _;

use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use weir_core::SystemClock;

use super::plan::Plan;

/// Holds connections that do nothing, and prints what each costs the server.
///
/// # Errors
/// When the server cannot be reached, or does not keep the connections.
pub(super) fn idle(plan: &Plan, clock: &SystemClock) -> Result<()> {
    let report = idle::run(plan, clock)?;
    print(plan, &report, || report.render())
}

/// Blocks readers, serves them, and prints who got what.
///
/// # Errors
/// When the server cannot be reached; after the report, when a reader did not get exactly what it waited for.
pub(super) fn blocked(plan: &Plan, clock: &SystemClock) -> Result<()> {
    let report = blocked::run(plan, clock)?;
    print(plan, &report, || report.render())?;
    ensure!(report.is_right(), "not every reader got exactly what it waited for");
    Ok(())
}

fn print<R: Serialize>(plan: &Plan, report: &R, render: impl FnOnce() -> String) -> Result<()> {
    let text = if plan.json { serde_json::to_string(report)? } else { render() };
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

/// A table with words on the left and figures on the right.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(head);
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
