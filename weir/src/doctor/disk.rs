//! The data folder and the disk under it: rights, space, and how long a flush takes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_core::Clock;
use weir_engine::Fsync;

use super::findings::{Findings, Severity};
use crate::folder::{Hold, Holder, absolute};
use crate::settings::{DataDir, Settings};

/// What a new folder takes: the segment in use and the one prepared behind it.
const SPACE_NEEDED: u64 = 2 * (256 << 20);
/// Less than this is soon full.
const SPACE_WANTED: u64 = 4 << 30;
/// Flushes that are measured, and for how long at most.
const FLUSHES: usize = 200;
const FLUSHES_TIME: Duration = Duration::from_secs(2);
/// A flush reaches no disk in less time than this.
const FLUSH_MIN: Duration = Duration::from_micros(15);
/// A slower flush holds everybody up.
const FLUSH_SLOW: Duration = Duration::from_millis(50);
/// Each flush follows a write of so many bytes.
const WRITE: usize = 4096;
/// File systems in memory, by the number the system gives them.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

pub(super) fn examine(settings: &Settings, clock: &dyn Clock, findings: &mut Findings) {
    let DataDir::Folder(folder) = &settings.dir else {
        return findings.ok("data folder", "in memory: gone when the server stops");
    };
    let folder = absolute(folder);
    held(&folder, findings);
    let Some(place) = existing(&folder) else {
        let found = format!("{} has no parent that exists", folder.display());
        return findings.say(Severity::Problem, "data folder", found, "give another --dir");
    };
    let probe = place.join(format!(".weir-doctor-{}", std::process::id()));
    let flushes = measure(&probe, clock);
    // Nothing is left behind, whatever happened.
    drop(fs::remove_file(&probe));
    let shown = folder.display();
    match &flushes {
        Err(error) => {
            let found = format!("{shown} cannot be written to: {error}");
            let user = rustix::process::geteuid().as_raw();
            let remedy = format!("let user {user} write there, or give another --dir");
            findings.say(Severity::Problem, "data folder", found, remedy);
        }
        Ok(_) if place == folder => findings.ok("data folder", format!("{shown} can be written to")),
        Ok(_) => findings.ok("data folder", format!("{shown} will be made")),
    }
    space(&place, folder.join("seg").is_dir(), findings);
    if let Ok(flushes) = flushes {
        flush_time(&place, flushes, settings.fsync, findings);
    }
    time(&folder, clock, findings);
}

fn held(folder: &Path, findings: &mut Findings) {
    match Hold::take(folder) {
        Ok(Some(_)) => {}
        Ok(None) => {
            let holder = Holder::of(folder).unwrap_or_default();
            let found = format!("{} is held by {holder}", folder.display());
            let remedy = "nothing to do if that is your server; a second one needs another --dir";
            findings.say(Severity::Note, "folder lock", found, remedy);
        }
        Err(error) => {
            let found = format!("the LOCK file cannot be opened: {error}");
            findings.say(Severity::Problem, "folder lock", found, "let this user read and write the folder");
        }
    }
}

/// The folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|path| path.is_dir()).map(Path::to_owned)
}

/// How long flushes took, shortest first. As the log does, it flushes space that was written before.
fn measure(path: &Path, clock: &dyn Clock) -> io::Result<Vec<Duration>> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    file.write_all_at(&vec![0; FLUSHES * WRITE], 0)?;
    file.sync_all()?;
    let (began, mut flushes) = (clock.elapsed(), Vec::new());
    for no in 0..FLUSHES {
        file.write_all_at(&[1; WRITE], (no * WRITE) as u64)?;
        let before = clock.elapsed();
        file.sync_data()?;
        let after = clock.elapsed();
        flushes.push(after.saturating_sub(before));
        if after.saturating_sub(began) > FLUSHES_TIME {
            break;
        }
    }
    flushes.sort();
    Ok(flushes)
}

fn flush_time(place: &Path, flushes: Vec<Duration>, fsync: Fsync, findings: &mut Findings) {
    let at = |part: usize| flushes.get((flushes.len() - 1) * part / 100).copied().unwrap_or_default();
    let (usual, late) = (at(50), at(99));
    let figures = format!("p50 {}, p99 {} over {} flushes", shown(usual), shown(late), flushes.len());
    let in_memory =
        rustix::fs::statfs(place).is_ok_and(|stat| IN_MEMORY.contains(&i64::from(stat.f_type as u32)));
    if in_memory {
        let remedy = "what is there is gone after a restart of the machine; give a --dir on a disk";
        return findings.say(
            Severity::Warning,
            "flush time",
            format!("{figures}, on a file system in memory"),
            remedy,
        );
    }
    if usual < FLUSH_MIN {
        let remedy = "no disk is that fast: a flush may not reach it, and a power cut may take what was flushed; \
                      look for a write cache without a battery, or a virtual disk that ignores flushes";
        return findings.say(Severity::Warning, "flush time", figures, remedy);
    }
    if late > FLUSH_SLOW {
        let remedy = match fsync {
            Fsync::Always => "every answer waits for a flush: take a faster disk, or --fsync everysec",
            _ => "with `everysec` this is bearable; `always` would wait for it at every answer",
        };
        return findings.say(Severity::Warning, "flush time", figures, remedy);
    }
    findings.ok("flush time", figures);
}

fn shown(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ 0..10_000 => format!("{micros} µs"),
        micros => format!("{} ms", micros / 1_000),
    }
}

fn space(place: &Path, has_log: bool, findings: &mut Findings) {
    let free = match rustix::fs::statvfs(place) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            let found = format!("cannot be asked: {error}");
            return findings.say(Severity::Warning, "free space", found, "look at it by hand: df");
        }
    };
    let found = format!("{} MiB", free >> 20);
    // A folder in use has its two segments already, and needs the next one at some time.
    let needed = if has_log { SPACE_NEEDED / 2 } else { SPACE_NEEDED };
    let remedy =
        format!("make room: a new segment takes 256 MiB, and less than {} MiB is free", needed >> 20);
    match free {
        _ if free < needed => findings.say(Severity::Problem, "free space", found, remedy),
        _ if free < SPACE_WANTED => {
            let remedy = "watch `weir_log_bytes`, and trim streams in time (XADD … MAXLEN ~, XTRIM)";
            findings.say(Severity::Warning, "free space", found, remedy);
        }
        _ => findings.ok("free space", found),
    }
}

/// Whether the clock goes on where it was when the folder was written last.
fn time(folder: &Path, clock: &dyn Clock, findings: &mut Findings) {
    const YEAR_2024: u64 = 1_704_067_200_000;
    const AHEAD_MAX: u64 = 60_000;
    let now = clock.now().0;
    if now < YEAR_2024 {
        let found = format!("{now} ms since 1970: before this program was written");
        return findings.say(Severity::Problem, "clock", found, "set the clock, and keep it right (NTP)");
    }
    let newest = newest_file(&folder.join("seg")).unwrap_or(0);
    if newest > now + AHEAD_MAX {
        let found = format!("{} s behind the newest file of the data folder", (newest - now) / 1_000);
        let remedy = "set the clock: IDs go on from the last one and never back, so until then new entries all \
                      get the time of the last";
        return findings.say(Severity::Warning, "clock", found, remedy);
    }
    findings.ok("clock", "not behind the data folder");
}

/// When the newest file of a folder was written, in milliseconds since 1970.
fn newest_file(folder: &Path) -> Option<u64> {
    let files = fs::read_dir(folder).ok()?.flatten();
    let times = files.filter_map(|file| file.metadata().ok()?.modified().ok());
    let newest = times.filter_map(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).max()?;
    u64::try_from(newest.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use weir_core::{ManualClock, SystemClock};

    use super::*;

    fn of(findings: &Findings, what: &str) -> (Severity, String) {
        let finding = findings.iter().find(|finding| finding.what == what).unwrap();
        (finding.severity, finding.found.clone())
    }

    #[test]
    fn flushes_are_measured_and_sorted() {
        let folder = tempfile::tempdir().unwrap();
        let flushes = measure(&folder.path().join("probe"), &SystemClock::new()).unwrap();
        assert!(!flushes.is_empty() && flushes.is_sorted());
    }

    #[test]
    fn figures_are_judged() {
        let judge = |micros: u64, fsync| {
            let mut findings = Findings::default();
            // A folder that is certainly not in memory.
            flush_time(Path::new("/proc"), vec![Duration::from_micros(micros); 10], fsync, &mut findings);
            of(&findings, "flush time").0
        };
        assert_eq!(judge(2, Fsync::Always), Severity::Warning);
        assert_eq!(judge(120, Fsync::Always), Severity::Ok);
        assert_eq!(judge(80_000, Fsync::EverySecond), Severity::Warning);
    }

    #[test]
    fn a_clock_behind_the_data_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("seg")).unwrap();
        File::create(folder.path().join("seg/0.seg")).unwrap();
        let judge = |now: u64| {
            let mut findings = Findings::default();
            let clock = ManualClock::at(weir_core::Timestamp(now));
            time(folder.path(), &clock, &mut findings);
            of(&findings, "clock").0
        };
        assert_eq!(judge(0), Severity::Problem);
        assert_eq!(judge(1_710_000_000_000), Severity::Warning);
        assert_eq!(judge(SystemClock::new().now().0), Severity::Ok);
    }
}
