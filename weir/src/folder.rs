//! Opening the data folder, and who holds it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use weir_core::{Clock, ErrorKind};
use weir_engine::{Engine, Options};
use weir_log::{Disk, RealDisk};

use crate::exit::refused;
use crate::settings::{DataDir, Settings};

/// The file that names the process that holds a folder.
const LOCK: &str = "LOCK";

/// What a server wrote into the LOCK file of its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: Option<u32>,
    /// The doors it serves: `resp`, `unix` or `http`, and where.
    pub(crate) doors: Vec<(String, String)>,
}

impl Holder {
    /// What the LOCK file of a folder says, whether or not its writer still lives; `None` without such a file.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        Some(Self::parse(&std::fs::read_to_string(folder.join(LOCK)).ok()?))
    }

    fn parse(text: &str) -> Self {
        let mut holder = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match name {
                "pid" => holder.pid = value.parse().ok(),
                _ => holder.doors.push((name.into(), value.into())),
            }
        }
        holder
    }

    /// Where it serves Redis clients.
    pub(crate) fn resp(&self) -> Option<&str> {
        self.door("resp")
    }

    /// Where its HTTP door is.
    pub(crate) fn http(&self) -> Option<&str> {
        self.door("http")
    }

    fn door(&self, wanted: &str) -> Option<&str> {
        self.doors.iter().find(|(name, _)| name == wanted).map(|(_, value)| &**value)
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("a process")?,
        }
        match self.resp() {
            Some(address) => write!(f, ", which serves {address}"),
            None => Ok(()),
        }
    }
}

/// A folder that is kept from servers for as long as this lives. Says nothing in the LOCK file and makes none.
#[derive(Debug)]
pub(crate) struct Hold {
    _lock: Option<File>,
}

impl Hold {
    /// Takes the lock of a folder; `None` when a process has it open.
    ///
    /// # Errors
    /// When the lock file is there and cannot be opened.
    pub(crate) fn take(folder: &Path) -> io::Result<Option<Self>> {
        let file = match File::options().read(true).write(true).open(folder.join(LOCK)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Self { _lock: None })),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _lock: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Opens the engine on what the settings name.
///
/// # Errors
/// Says what to do about it.
pub(crate) fn open(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Engine> {
    let options = options(settings);
    let DataDir::Folder(path) = &settings.dir else {
        return Ok(Engine::memory_with(clock.clone(), options));
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(path));
    Engine::open(disk, clock.clone(), options).map_err(|error| {
        let cannot = format!("the data folder {} cannot be opened", path.display());
        match error.kind() {
            ErrorKind::InUse => {
                let holder = Holder::of(path).unwrap_or_default();
                refused(format!("{cannot}: {holder} holds it; stop that one or give another --dir"))
            }
            ErrorKind::DiskFull => {
                refused(format!("{cannot}: the disk is full; make room in its file system"))
            }
            ErrorKind::Corrupt => {
                refused(format!("{cannot}: {error}; `weir check {}` says more", path.display()))
            }
            _ => anyhow!(error).context(format!("{cannot}: is it a folder that this user may write to?")),
        }
    })
}

fn options(settings: &Settings) -> Options {
    let bytes = |part: u64| usize::try_from(part).unwrap_or(usize::MAX);
    let mut options = Options { fsync: settings.fsync, ..Options::default() };
    options.block_cache_bytes = bytes(settings.memory / 64);
    options.log.ring_bytes = bytes(settings.memory / 64);
    options
}

/// A folder as people want to see it.
pub(crate) fn shown(dir: &DataDir) -> String {
    match dir {
        DataDir::Memory => "in memory, gone when the server stops".into(),
        DataDir::Folder(path) => absolute(path).display().to_string(),
    }
}

/// A path from the root, when that can be told.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_tells_who_and_where() {
        let holder = Holder::parse("pid 71\nresp redis://127.0.0.1:6379\nhttp http://127.0.0.1:8080\n");
        assert_eq!(holder.pid, Some(71));
        assert_eq!(holder.to_string(), "process 71, which serves redis://127.0.0.1:6379");
        assert_eq!(holder.doors[1], ("http".into(), "http://127.0.0.1:8080".into()));
        assert_eq!(Holder::parse("").to_string(), "a process");
        assert_eq!(Holder::parse("pid 9\n").to_string(), "process 9");
    }
}
