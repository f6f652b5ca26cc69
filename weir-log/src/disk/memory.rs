//! A disk in memory: sparse files, cheap to fill, shared by its clones.
//!
//! With a quota it refuses writes as a full disk does (`ENOSPC`), counting whole 64 KiB chunks.
//! Never blocks on anything but its own locks; nothing on it outlives the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use super::{Disk, DiskFile, DiskLock, Open};

/// A disk in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<Names>,
    space: Arc<Space>,
}

#[derive(Debug, Default)]
struct Names {
    files: BTreeMap<String, Arc<MemoryFile>>,
    folders: BTreeSet<String>,
    locked: BTreeSet<String>,
}

/// Chunks in use, and how many there may be (0: no limit).
#[derive(Debug, Default)]
struct Space {
    used: AtomicU64,
    quota: AtomicU64,
}

const CHUNK: usize = 64 << 10;

impl MemoryDisk {
    /// An empty disk without a quota.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the disk to so many bytes, in whole 64 KiB; None lifts the limit. Behaves as a real disk that fills up:
    /// with a quota, space is reserved by filling it ahead.
    pub fn set_quota(&self, bytes: Option<u64>) {
        let chunks = bytes.map_or(0, |bytes| (bytes / CHUNK as u64).max(1));
        self.shared.space.quota.store(chunks, Ordering::Relaxed);
    }

    /// Every file with its contents.
    pub(crate) fn files(&self) -> io::Result<Vec<(String, Vec<u8>)>> {
        let files: Vec<_> =
            self.names().files.iter().map(|(path, file)| (path.clone(), Arc::clone(file))).collect();
        let mut contents = Vec::new();
        for (path, file) in files {
            let mut bytes = vec![0; file.len()? as usize];
            let n = file.read_at(&mut bytes, 0)?;
            bytes.truncate(n);
            contents.push((path, bytes));
        }
        Ok(contents)
    }

    fn names(&self) -> std::sync::MutexGuard<'_, Names> {
        self.shared.names.lock().expect("no panic under this lock")
    }
}

fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {path:?}"))
}

impl Disk for MemoryDisk {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.names().folders.insert(path.to_owned());
        Ok(())
    }

    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut names = self.names();
        if how == Open::Create {
            let space = &self.shared.space;
            let file = names.files.entry(path.to_owned()).or_insert_with(|| Arc::new(MemoryFile::new(space)));
            file.set_len(0)?;
            return Ok(Arc::clone(file) as Arc<dyn DiskFile>);
        }
        let file = names.files.get(path).ok_or_else(|| not_found(path))?;
        Ok(Arc::clone(file) as Arc<dyn DiskFile>)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.names();
        let file = names.files.remove(from).ok_or_else(|| not_found(from))?;
        names.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.names().files.remove(path).map(drop).ok_or_else(|| not_found(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let names = self.names();
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let mut found = BTreeSet::new();
        for path in names.files.keys().chain(&names.folders) {
            if let Some(rest) = path.strip_prefix(&prefix).filter(|rest| !rest.is_empty()) {
                found.extend(rest.split('/').next().map(str::to_owned));
            }
        }
        Ok(found.into_iter().collect())
    }

    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &str, contents: &str) -> io::Result<Box<dyn DiskLock>> {
        if !self.names().locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let lock = MemoryLock { disk: self.clone(), path: path.to_owned() };
        lock.rewrite(contents)?;
        Ok(Box::new(lock))
    }

    fn available(&self) -> io::Result<u64> {
        let space = &self.shared.space;
        match space.quota.load(Ordering::Relaxed) {
            0 => Ok(u64::MAX),
            quota => Ok(quota.saturating_sub(space.used.load(Ordering::Relaxed)) * CHUNK as u64),
        }
    }

    fn zero_fill_pays(&self) -> bool {
        self.shared.space.quota.load(Ordering::Relaxed) != 0
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: MemoryDisk,
    path: String,
}

impl DiskLock for MemoryLock {
    fn rewrite(&self, contents: &str) -> io::Result<()> {
        self.disk.open(&self.path, Open::Create)?.write_at(contents.as_bytes(), 0)
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.names().locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct MemoryFile {
    contents: RwLock<Contents>,
    space: Arc<Space>,
}

/// Chunks that were never written are absent and read as zeroes.
#[derive(Debug, Default)]
struct Contents {
    chunks: Vec<Option<Box<[u8; CHUNK]>>>,
    len: u64,
}

impl MemoryFile {
    fn new(space: &Arc<Space>) -> Self {
        Self { contents: RwLock::default(), space: Arc::clone(space) }
    }

    fn take_chunk(&self) -> io::Result<Box<[u8; CHUNK]>> {
        let quota = self.space.quota.load(Ordering::Relaxed);
        let used = self.space.used.fetch_add(1, Ordering::Relaxed);
        if quota != 0 && used >= quota {
            self.space.used.fetch_sub(1, Ordering::Relaxed);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let chunk = vec![0; CHUNK].into_boxed_slice();
        Ok(chunk.try_into().expect("made with this length"))
    }

    /// Zeroes `[at, at + len)` and gives whole chunks back.
    fn clear(&self, contents: &mut Contents, at: u64, len: u64) {
        let end = (at + len).min(contents.chunks.len() as u64 * CHUNK as u64);
        let mut at = at;
        while at < end {
            let (index, from) = split(at);
            let until = (end - at).min((CHUNK - from) as u64) as usize + from;
            if from == 0 && until == CHUNK {
                if contents.chunks[index].take().is_some() {
                    self.space.used.fetch_sub(1, Ordering::Relaxed);
                }
            } else if let Some(chunk) = &mut contents.chunks[index] {
                chunk[from..until].fill(0);
            }
            at += (until - from) as u64;
        }
    }
}

/// The chunk that holds `at`, and where in it.
fn split(at: u64) -> (usize, usize) {
    ((at / CHUNK as u64) as usize, (at % CHUNK as u64) as usize)
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let contents = self.contents.get_mut().expect("no panic under this lock");
        let used = contents.chunks.iter().flatten().count() as u64;
        self.space.used.fetch_sub(used, Ordering::Relaxed);
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let contents = self.contents.read().expect("no panic under this lock");
        let wanted = contents.len.saturating_sub(at).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < wanted {
            let (index, from) = split(at + done as u64);
            let part = (wanted - done).min(CHUNK - from);
            match contents.chunks.get(index) {
                Some(Some(chunk)) => buf[done..done + part].copy_from_slice(&chunk[from..from + part]),
                _ => buf[done..done + part].fill(0),
            }
            done += part;
        }
        Ok(wanted)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut contents = self.contents.write().expect("no panic under this lock");
        let mut done = 0;
        while done < bytes.len() {
            let (index, from) = split(at + done as u64);
            let part = (bytes.len() - done).min(CHUNK - from);
            if contents.chunks.len() <= index {
                contents.chunks.resize_with(index + 1, || None);
            }
            if contents.chunks[index].is_none() {
                contents.chunks[index] = Some(self.take_chunk()?);
            }
            let chunk = contents.chunks[index].as_mut().expect("filled above");
            chunk[from..from + part].copy_from_slice(&bytes[done..done + part]);
            done += part;
            contents.len = contents.len.max(at + done as u64);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.read().expect("no panic under this lock").len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut contents = self.contents.write().expect("no panic under this lock");
        if len < contents.len {
            let beyond = contents.chunks.len() as u64 * CHUNK as u64;
            self.clear(&mut contents, len, beyond.saturating_sub(len));
        }
        contents.len = len;
        Ok(())
    }

    fn allocate(&self, at: u64, len: u64) -> io::Result<()> {
        let mut contents = self.contents.write().expect("no panic under this lock");
        let end = at + len;
        let chunks = end.div_ceil(CHUNK as u64) as usize;
        if contents.chunks.len() < chunks {
            contents.chunks.resize_with(chunks, || None);
        }
        for index in split(at).0..chunks {
            if contents.chunks[index].is_none() {
                contents.chunks[index] = Some(self.take_chunk()?);
            }
        }
        contents.len = contents.len.max(end);
        Ok(())
    }

    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        let mut contents = self.contents.write().expect("no panic under this lock");
        self.clear(&mut contents, at, len);
        Ok(())
    }

    fn allocated(&self) -> io::Result<u64> {
        let contents = self.contents.read().expect("no panic under this lock");
        Ok((contents.chunks.iter().flatten().count() * CHUNK) as u64)
    }
}
