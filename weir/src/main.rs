//! The `weir` program: command line, configuration, wiring, signals; and nothing else.

mod bench;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A durable stream broker that serves every Redis Streams client.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, arg_required_else_help = true)]
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
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Bench(args) => bench::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}
