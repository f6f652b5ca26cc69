//! A disk that tells after every operation, before its caller hears of it: where a power cut may come.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_log::faulty::FaultyDisk;
use weir_log::{Disk, DiskFile, DiskLock, Open};

pub(crate) type Tell = Arc<dyn Fn() + Send + Sync>;

/// A planted fault: one flush reports success and does nothing.
#[derive(Debug)]
pub(crate) struct Skip {
    of_folder: bool,
    /// Flushes until then.
    left: AtomicU64,
}

impl Skip {
    /// The flush of a segment's file with this number, from 1.
    pub(crate) fn flush_of_a_segment(nth: u64) -> Self {
        Self { of_folder: false, left: AtomicU64::new(nth) }
    }

    /// The flush of the segments' folder with this number, from 1.
    pub(crate) fn flush_of_the_segments_folder(nth: u64) -> Self {
        Self { of_folder: true, left: AtomicU64::new(nth) }
    }

    fn is_now(&self, of_folder: bool) -> bool {
        of_folder == self.of_folder && self.left.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// A failing disk, watched.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) disk: FaultyDisk,
    pub(crate) tell: Tell,
    pub(crate) skip: Option<Arc<Skip>>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.disk.fmt(f)
    }
}

impl Watched {
    fn told<T>(&self, result: io::Result<T>) -> io::Result<T> {
        (self.tell)();
        result
    }

    fn skips(&self, of_folder: bool) -> bool {
        self.skip.as_ref().is_some_and(|skip| skip.is_now(of_folder))
    }
}

fn is_segment(path: &str) -> bool {
    path.starts_with("seg/")
}

impl Disk for Watched {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, how)?;
        if how == Open::Create {
            (self.tell)();
        }
        Ok(Arc::new(WatchedFile { file, disk: self.clone(), is_segment: is_segment(path) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.told(self.disk.rename(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.told(self.disk.remove(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        if dir == "seg" && self.skips(true) {
            return self.told(Ok(()));
        }
        self.told(self.disk.sync_dir(dir))
    }

    fn lock(&self, path: &str, contents: &str) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path, contents)
    }

    fn available(&self) -> io::Result<u64> {
        self.disk.available()
    }

    fn zero_fill_pays(&self) -> bool {
        self.disk.zero_fill_pays()
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn DiskFile>,
    disk: Watched,
    is_segment: bool,
}

impl DiskFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.disk.told(self.file.write_at(bytes, at))
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is_segment && self.disk.skips(false) {
            return self.disk.told(Ok(()));
        }
        self.disk.told(self.file.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.told(self.file.set_len(len))
    }

    fn allocate(&self, at: u64, len: u64) -> io::Result<()> {
        self.disk.told(self.file.allocate(at, len))
    }

    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        self.disk.told(self.file.punch(at, len))
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }
}
