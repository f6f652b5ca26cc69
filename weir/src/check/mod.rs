//! `weir check`: whether everything in a data folder is there, readable and consistent; and mending what can be.
//!
//! Looking changes nothing in the folder: the engine is opened over it, on a disk that keeps its changes in memory.
//! Mending ([`repair`]) cuts the log where an open stops, and keeps a copy of what it cuts.

mod overlay;
mod repair;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use weir_core::{Clock, ErrorKind, SystemClock};
use weir_engine::{Engine, Options, check_folder};
use weir_log::{Disk, RealDisk};

use self::overlay::Overlay;
use self::report::Report;
use crate::exit::{refused, usage};
use crate::folder::{self, Hold};
use crate::output::print_json;

/// What `weir check` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data folder
    dir: PathBuf,
    /// Cut what keeps the folder from opening, and move it into a folder of its own
    #[arg(long)]
    repair: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks a folder, mends it when told to, and prints what was found; damage that is left makes the command fail.
pub(crate) fn run(args: &Args) -> Result<()> {
    let dir = &args.dir;
    if !dir.join("seg").is_dir() {
        return Err(usage(format!("{} is no data folder of weir: it has no folder `seg`", dir.display())));
    }
    let _hold = Hold::take(dir)?.ok_or_else(|| {
        let holder = folder::Holder::of(dir).unwrap_or_default();
        refused(format!("{} is held by {holder}; stop it first", dir.display()))
    })?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut report = look(&disk, &clock, dir)?;
    if args.repair && !report.opens {
        let repaired = repair::repair(&*disk, &report, &*clock)?;
        report = look(&disk, &clock, dir)?;
        report.repaired = Some(repaired);
    }
    if args.json {
        print_json(&report)?;
    } else {
        report.print()?;
    }
    match report.is_damaged() {
        false => Ok(()),
        true => Err(anyhow!("{} is damaged", dir.display())),
    }
}

fn look(disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>, dir: &Path) -> Result<Report> {
    let cannot = || format!("{} cannot be read", dir.display());
    let overlay: Arc<dyn Disk> = Arc::new(Overlay::new(disk.clone()));
    let folder = check_folder(&*overlay).with_context(cannot)?;
    let mut report = Report::new(&folder::absolute(dir), folder);
    // Without work of its own an engine keeps everything it reads small: nothing is reclaimed, no snapshot written.
    let options = Options { background: false, ..Options::default() };
    match Engine::open(overlay, clock.clone(), options) {
        Ok(engine) => report.verified(engine.verify().with_context(cannot)?),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt) => report.does_not_open(&error),
        Err(error) => return Err(error).with_context(cannot),
    }
    Ok(report)
}
