//! What the log asks of a disk: a real one, one in memory, and (in `faulty`) one that fails on demand.
//!
//! Paths are relative to the data folder and separated by `/`. Files are read and written at positions, never
//! mapped, so an I/O error is an `Err` and not a signal.

mod memory;
mod real;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use memory::MemoryDisk;
pub use real::RealDisk;

/// How to open a file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Open {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file; an existing one is emptied.
    Create,
}

/// A folder on something that keeps bytes.
pub trait Disk: Send + Sync + Debug {
    /// Makes a folder with its parents; one that exists is fine.
    fn create_dir(&self, path: &str) -> io::Result<()>;
    /// Opens a file.
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file, replacing what has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Handles that are open stay usable.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Names of the files and folders directly in `dir`, in no particular order.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Takes an exclusive advisory lock and writes `contents` into its file, where others can read them.
    /// Held until dropped; [`io::ErrorKind::WouldBlock`] when somebody else holds it.
    fn lock(&self, path: &str, contents: &str) -> io::Result<Box<dyn DiskLock>>;
    /// Bytes that can still be written.
    fn available(&self) -> io::Result<u64>;
    /// Whether space is only certain, and flushes cheap, after zeroes were written into it.
    fn zero_fill_pays(&self) -> bool;
}

/// An open file.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes at `at`; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// Reads only what needs no waiting for the disk; [`io::ErrorKind::WouldBlock`] for the rest.
    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.read_at(buf, at)
    }
    /// Writes all of `bytes` at `at`, growing the file as needed.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or grows (with zeroes) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Takes space for a range behind the end without writing it; it reads as zeroes. The file grows.
    /// [`io::ErrorKind::Unsupported`] where that cannot be had; then zeroes have to be written.
    fn allocate(&self, _at: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Gives the space of a range back, as far as the system can. Nobody reads there any more. The length stays.
    fn punch(&self, at: u64, len: u64) -> io::Result<()>;
    /// Bytes the file takes on the disk.
    fn allocated(&self) -> io::Result<u64> {
        self.len()
    }
    /// The first position at or behind `at` that may hold anything but zeroes; `None` when there is none.
    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        Ok(Some(at))
    }
}

/// A lock on a folder, held until dropped.
pub trait DiskLock: Send + Sync + Debug {
    /// Replaces what others read in the lock's file.
    fn rewrite(&self, contents: &str) -> io::Result<()>;
}

/// Fills `buf` from `at`; returns how much there was before the end of the file. Goes on after an interruption.
pub fn read_full(file: &dyn DiskFile, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
