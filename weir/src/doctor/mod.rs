//! `weir doctor`: whether this machine and these settings let weir serve well; each finding with its remedy. With the name
//! of a stream: what is in the way of its groups.
//!
//! It looks and measures, and leaves nothing behind: the file it measures flushes with is removed again, and a data
//! folder that is not there is not made. Of a stream and its groups it changes nothing.

mod addresses;
mod disk;
mod findings;
mod group;
mod machine;
mod owner;
mod stream;

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use weir_core::SystemClock;

use self::findings::{Findings, Severity};
use crate::consumer_side::reach::{self, Folder, URL};
use crate::output::{Table, Tone, print_json, print_line, print_table};
use crate::settings::{Given, Settings, Written};

/// What `weir doctor` can be told: a stream, or the flags of `weir serve`; and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Examine this stream and its groups instead of this machine
    stream: Option<String>,
    /// Only this group of it
    group: Option<String>,
    /// The broker that has the stream
    #[arg(long, value_name = "URL", env = "WEIR_URL", default_value = URL, help_heading = "Broker")]
    url: String,
    /// Certificates to trust instead of the usual ones, in PEM, when the broker speaks TLS
    #[arg(long, value_name = "FILE", env = "WEIR_TLS_CA", help_heading = "Broker")]
    tls_ca: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Examines everything, prints what it found; a problem makes the command fail.
pub(crate) fn run(args: &Args) -> Result<()> {
    let settings = Settings::of(&Written::from_process(&args.given)?)?;
    let mut findings = Findings::default();
    if let Some(stream) = &args.stream {
        let broker = reach::open(&args.url, settings.token.clone(), args.tls_ca.as_deref(), Folder::Needed);
        reach::run(stream::examine(&args.url, broker, stream, args.group.as_deref(), &mut findings))?;
        return report(args, &findings, "the stream and its groups need attention: see the problems above");
    }
    let clock = SystemClock::new();
    machine::versions(&mut findings);
    addresses::examine(&settings, &mut findings);
    disk::examine(&settings, &clock, &mut findings);
    machine::examine(&settings, &mut findings);
    machine::environment(std::env::vars().map(|(name, _)| name), &mut findings);
    report(args, &findings, "weir would not serve well here: see the problems above")
}

fn report(args: &Args, findings: &Findings, problem: &'static str) -> Result<()> {
    if args.json {
        print_json(findings)?;
    } else {
        print(findings)?;
    }
    match findings.worst() {
        Severity::Problem => Err(anyhow!(problem)),
        _ => Ok(()),
    }
}

fn print(findings: &Findings) -> Result<()> {
    let mut table = Table::new(&["", "what", "found"]);
    for finding in findings.iter() {
        let tone = match finding.severity {
            Severity::Ok => Tone::Good,
            Severity::Note => Tone::Plain,
            Severity::Warning => Tone::Warn,
            Severity::Problem => Tone::Bad,
        };
        let cells =
            [(tone, finding.severity.word()), (Tone::Plain, finding.what), (Tone::Plain, &*finding.found)];
        table.toned_row(&cells);
    }
    print_table(&table)?;
    for finding in findings.iter() {
        if let Some(remedy) = &finding.remedy {
            print_line(&format!("{}: {}: {remedy}", finding.severity.word(), finding.what))?;
        }
    }
    Ok(())
}
