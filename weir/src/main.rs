//! The `weir` program: command line, configuration, wiring, signals; and nothing else.

mod bench;
mod check;
mod config;
mod doctor;
mod exit;
mod files;
mod folder;
mod health;
mod listen;
mod logging;
mod output;
mod probe;
mod serve;
mod settings;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// A durable stream broker that serves every Redis Streams client.
#[derive(Debug, Parser)]
#[command(name = "weir", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Redis Streams clients from a data folder
    Serve(serve::Args),
    /// Measure a RESP server, or two against each other
    Bench(bench::BenchArgs),
    /// Verify a data folder, and mend it with --repair
    Check(check::Args),
    /// Examine this machine and the settings, with a remedy for each finding
    Doctor(doctor::Args),
    /// Ask a running server how it is
    Health(health::Args),
    /// Show the settings and where each comes from
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a script that completes weir's commands in a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            exit::code(&error)
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Config(command) => config::run(&command),
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
    output::print_line(String::from_utf8_lossy(&script).trim_end())
}
