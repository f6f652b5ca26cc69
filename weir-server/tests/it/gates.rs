//! A disk in memory whose flushes can be held up, let through one by one, and made to fail.

use std::io;
use std::sync::{Arc, Condvar, Mutex};

use weir_log::{Disk, DiskFile, DiskLock, MemoryDisk, Open};

/// What has to be passed before something is done.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_shut: bool,
    /// How many may pass although it is shut.
    permits: u32,
    /// How many stand before it.
    waiting: u32,
    fails: bool,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    pub(crate) fn shut(&self) {
        self.change(|state| state.is_shut = true);
    }

    pub(crate) fn open(&self) {
        self.change(|state| state.is_shut = false);
    }

    /// Lets one pass.
    pub(crate) fn let_one_pass(&self) {
        self.change(|state| state.permits += 1);
    }

    /// Whoever passes from now on fails.
    pub(crate) fn fail(&self) {
        self.change(|state| state.fails = true);
    }

    /// Waits until somebody stands before it and nobody may pass.
    pub(crate) fn until_reached(&self) {
        let is_free = |state: &mut State| state.waiting == 0 || state.permits > 0;
        drop(self.changed.wait_while(self.state.lock().unwrap(), is_free).unwrap());
    }

    fn pass(&self) -> io::Result<()> {
        self.change(|state| state.waiting += 1);
        let is_shut = |state: &mut State| state.is_shut && state.permits == 0;
        let mut state = self.changed.wait_while(self.state.lock().unwrap(), is_shut).unwrap();
        state.waiting -= 1;
        if state.is_shut {
            state.permits -= 1;
        }
        let fails = state.fails;
        drop(state);
        self.changed.notify_all();
        if fails { Err(io::Error::other("the gate is broken")) } else { Ok(()) }
    }
}

/// The disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct GatedDisk {
    disk: Arc<MemoryDisk>,
    pub(crate) flushes: Arc<Gate>,
}

impl GatedDisk {
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn DiskFile>,
    disk: GatedDisk,
}

impl Disk for GatedDisk {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, how)?;
        Ok(Arc::new(GatedFile { file, disk: self.clone() }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
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

impl DiskFile for GatedFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }
    fn read_at_cached(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at_cached(buf, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.flushes.pass()?;
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        self.file.punch(at, len)
    }
}
