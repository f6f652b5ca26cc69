//! A folder of the operating system.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, DiskLock, Open};

/// A folder of the operating system.
#[derive(Clone, Debug)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// The folder `root`, made on first use.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }
}

/// The folders that get a new name in them when `path` is made, innermost first.
fn missing_in(path: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        // A single name stands in the working folder.
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    };
    path.ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .filter_map(parent)
        .collect()
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        let changed = missing_in(&path);
        std::fs::create_dir_all(&path)?;
        // The outermost last: what is durable hangs on something durable.
        changed.iter().try_for_each(|folder| File::open(folder)?.sync_all())
    }

    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match how {
            Open::Read => options.read(true),
            Open::Write => options.read(true).write(true),
            Open::Create => options.read(true).write(true).create(true).truncate(true),
        };
        Ok(Arc::new(RealFile(options.open(self.path(path))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path(dir))? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir))?.sync_all()
    }

    fn lock(&self, path: &str, contents: &str) -> io::Result<Box<dyn DiskLock>> {
        let path = self.path(path);
        // Not emptied before the lock is ours: until then the contents belong to whoever holds it.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        let lock = RealLock(file);
        lock.rewrite(contents)?;
        Ok(Box::new(lock))
    }

    fn available(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        // A file system that does not tell its size tells nothing about its space either.
        if stat.f_blocks == 0 {
            return Ok(u64::MAX);
        }
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn zero_fill_pays(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }

    #[cfg(target_os = "linux")]
    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let parts = &mut [io::IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.0, parts, at, rustix::io::ReadWriteFlags::NOWAIT) {
            // File systems that cannot tell: read, and perhaps wait.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.0.read_at(buf, at),
            other => Ok(other?),
        }
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, at: u64, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), at, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            other => Ok(other?),
        }
    }

    #[cfg(target_os = "linux")]
    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        use rustix::fs::FallocateFlags;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.0, flags, at, len)?)
    }

    /// Elsewhere the space stays in use until the file goes.
    #[cfg(not(target_os = "linux"))]
    fn punch(&self, _at: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.0, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => Ok(Some(data.max(at))),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            // File systems that cannot tell: everything may be data.
            Err(_) => Ok(Some(at)),
        }
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.blocks() * 512)
    }
}

/// Unlocked by closing the file.
#[derive(Debug)]
struct RealLock(File);

impl DiskLock for RealLock {
    fn rewrite(&self, contents: &str) -> io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(contents.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_that_gets_a_new_name_is_flushed() {
        let root = std::env::temp_dir().join(format!("weir-real-disk-{}", std::process::id()));
        std::fs::create_dir_all(&root).expect("there is a folder for temporary files");
        let (a, b) = (root.join("a"), root.join("a/b"));
        assert_eq!(missing_in(&b.join("")), [a.clone(), root.clone()]);
        RealDisk::new(&b).create_dir("").expect("the folder can be made");
        assert!(b.is_dir());
        assert_eq!(missing_in(&b), [] as [PathBuf; 0]);
        assert_eq!(missing_in(&b.join("seg")), [b]);
        assert_eq!(missing_in(Path::new("no such folder here")), [Path::new(".")]);
        std::fs::remove_dir_all(&root).expect("it is ours");
    }
}
