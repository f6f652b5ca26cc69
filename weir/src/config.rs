//! `weir config show`: each setting, its value, and where that comes from.

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;

use crate::output::{Table, print_json, print_line, print_table};
use crate::settings::{Given, Settings, Source, Value, Written};

/// What `weir config` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every setting, its value and where it comes from
    Show(ShowArgs),
}

/// What `weir config show` can be told: the flags of `weir serve`, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    given: Given,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    config_file: Option<String>,
    settings: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    value: Option<String>,
    source: String,
    env: &'static str,
    help: &'static str,
}

/// Prints the settings as `weir serve` would take them, and says when it would not.
pub(crate) fn run(command: &ConfigCommand) -> Result<()> {
    let ConfigCommand::Show(args) = command;
    let written = Written::from_process(&args.given)?;
    let file = written.file.as_ref().map(|path| path.display().to_string());
    let rows: Vec<Row> = written.values.iter().map(row).collect();
    if args.json {
        print_json(&Shown { config_file: file, settings: rows })?;
    } else {
        print_rows(&rows, file.as_deref())?;
    }
    Settings::of(&written)?.check()
}

fn row(value: &Value) -> Row {
    let setting = value.setting;
    let shown = value.text.clone().filter(|text| !text.is_empty());
    let shown = shown.map(|text| if setting.is_secret { "(set, not shown)".into() } else { text });
    Row {
        name: setting.name,
        value: shown,
        source: match value.source {
            Source::Environment => setting.env.to_owned(),
            Source::Flag => format!("--{}", setting.name),
            other => other.to_string(),
        },
        env: setting.env,
        help: setting.help,
    }
}

fn print_rows(rows: &[Row], file: Option<&str>) -> Result<()> {
    let mut table = Table::new(&["setting", "value", "from"]);
    for row in rows {
        let value = row.value.as_deref().unwrap_or("-");
        let from = if row.source == "file" { file.unwrap_or("file") } else { &row.source };
        table.row(&[row.name, value, from]);
    }
    print_table(&table)?;
    match file {
        Some(file) => print_line(&format!("settings were read from {file}")),
        None => print_line("no weir.toml was read"),
    }
}
