//! The `weir` program: command line, configuration, wiring, signals; and nothing else.

mod backend;
mod bench;
mod check;
mod config;
mod consumer_side;
mod doctor;
mod exit;
mod files;
mod folder;
mod health;
mod listen;
mod logging;
mod manual;
mod output;
mod probe;
mod serve;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::consumer_side::{
    consume, copy, dlq, group, groups, lag, pending, publish, seek, stream, streams, tail, top,
};

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
    /// Append entries to a stream
    Publish(publish::Args),
    /// Print entries of a stream, and those that are appended
    Tail(tail::Args),
    /// List streams
    Streams(streams::Args),
    /// Say how much of a stream is kept, trim it, end it
    #[command(subcommand)]
    Stream(stream::StreamCommand),
    /// List groups of consumers, or show one
    Groups(groups::Args),
    /// Make a group, give it a policy, pause it, end it
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// List what a group was given and has not settled
    Pending(pending::Args),
    /// Show how far behind groups are
    Lag(lag::Args),
    /// Watch all groups, live over the whole screen
    Top(top::Args),
    /// Move a group, after showing what that would do
    Seek(seek::Args),
    /// List, show, hand back and remove dead letters
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// Run a program for each entry that a group is given
    Consume(consume::Args),
    /// Copy streams with their groups from one broker to another
    Copy(copy::Args),
    /// Measure a RESP server, or two against each other
    Bench(bench::BenchArgs),
    /// Verify a data folder, and mend it with --repair
    Check(check::Args),
    /// Examine this machine and the settings, or a stream and its groups, with a remedy for each finding
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
    /// Write manual pages into a folder
    Man {
        /// The folder; it is made when it is not there
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !exit::is_quiet(&error) {
                output::tell(&format!("weir: {error:#}"));
            }
            exit::code(&error)
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Publish(args) => publish::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Streams(args) => streams::run(&args),
        Command::Stream(command) => stream::run(&command),
        Command::Groups(args) => groups::run(&args),
        Command::Group(command) => group::run(&command),
        Command::Pending(args) => pending::run(&args),
        Command::Lag(args) => lag::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Seek(args) => seek::run(&args),
        Command::Dlq(command) => dlq::run(&command),
        Command::Consume(args) => consume::run(&args),
        Command::Copy(args) => copy::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Config(command) => config::run(&command),
        Command::Completions { shell } => completions(shell),
        Command::Man { folder } => manual::write(&Cli::command(), &folder),
    }
}

fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
    output::print_line(String::from_utf8_lossy(&script).trim_end())
}
