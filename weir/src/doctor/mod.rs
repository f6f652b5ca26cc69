//! `weir doctor`: whether this machine and these settings let weir serve well; each finding with its remedy.
//!
//! It looks and measures, and leaves nothing behind: the file it measures flushes with is removed again, and a data
//! folder that is not there is not made.

mod addresses;
mod disk;
mod findings;
mod machine;
mod owner;

use anyhow::{Result, anyhow};
use weir_core::SystemClock;

use self::findings::{Findings, Severity};
use crate::output::{Table, print_json, print_line, print_table};
use crate::settings::{Given, Settings, Written};

/// What `weir doctor` can be told: the flags of `weir serve`, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    given: Given,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Examines everything, prints what it found; a problem makes the command fail.
pub(crate) fn run(args: &Args) -> Result<()> {
    let settings = Settings::of(&Written::from_process(&args.given)?)?;
    let clock = SystemClock::new();
    let mut findings = Findings::default();
    machine::versions(&mut findings);
    addresses::examine(&settings, &mut findings);
    disk::examine(&settings, &clock, &mut findings);
    machine::examine(&settings, &mut findings);
    machine::environment(std::env::vars().map(|(name, _)| name), &mut findings);
    if args.json {
        print_json(&findings)?;
    } else {
        print(&findings)?;
    }
    match findings.worst() {
        Severity::Problem => Err(anyhow!("weir would not serve well here: see the problems above")),
        _ => Ok(()),
    }
}

fn print(findings: &Findings) -> Result<()> {
    let mut table = Table::new(&["", "what", "found"]);
    for finding in findings.iter() {
        table.row(&[finding.severity.word(), finding.what, &finding.found]);
    }
    print_table(&table)?;
    for finding in findings.iter() {
        if let Some(remedy) = &finding.remedy {
            print_line(&format!("{}: {}: {remedy}", finding.severity.word(), finding.what))?;
        }
    }
    Ok(())
}
