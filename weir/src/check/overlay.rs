//! A disk that keeps in memory whatever is changed on it, over one that stays as it is.
//!
//! An engine that is opened on it does all that an open does (cutting tails, preparing space, noting itself) and the
//! folder underneath never learns of it. Made to look, not to work: what is written stays in memory.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use weir_log::{Disk, DiskFile, DiskLock, Open};

const PAGE: u64 = 4096;

/// A disk whose changes stay in memory.
#[derive(Debug)]
pub(super) struct Overlay {
    base: Arc<dyn Disk>,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    /// Files that were opened or made here.
    files: BTreeMap<String, Arc<OverlayFile>>,
    /// Files of the base that are gone here.
    gone: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Overlay {
    pub(super) fn new(base: Arc<dyn Disk>) -> Self {
        Self { base, names: Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().expect("no panic under this lock")
    }

    fn existing(&self, names: &mut Names, path: &str) -> io::Result<Arc<OverlayFile>> {
        if names.gone.contains(path) {
            return Err(ErrorKind::NotFound.into());
        }
        match names.files.entry(path.to_owned()) {
            Entry::Occupied(file) => Ok(file.get().clone()),
            Entry::Vacant(place) => {
                let file = Arc::new(OverlayFile::over(self.base.open(path, Open::Read)?)?);
                Ok(place.insert(file).clone())
            }
        }
    }
}

impl Disk for Overlay {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.names().folders.insert(path.to_owned());
        Ok(())
    }

    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut names = self.names();
        if how == Open::Create {
            let file = Arc::new(OverlayFile::default());
            names.gone.remove(path);
            names.files.insert(path.to_owned(), file.clone());
            return Ok(file);
        }
        Ok(self.existing(&mut names, path)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.names();
        let file = self.existing(&mut names, from)?;
        names.files.remove(from);
        names.gone.insert(from.to_owned());
        names.gone.remove(to);
        names.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut names = self.names();
        self.existing(&mut names, path)?;
        names.files.remove(path);
        names.gone.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let names = self.names();
        let mut found: BTreeSet<String> = match self.base.list(dir) {
            Ok(found) => found.into_iter().collect(),
            Err(error) if error.kind() == ErrorKind::NotFound && names.folders.contains(dir) => {
                BTreeSet::new()
            }
            Err(error) => return Err(error),
        };
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let direct = |path: &str| {
            let name = path.strip_prefix(&prefix)?;
            (!name.contains('/')).then(|| name.to_owned())
        };
        found.extend(names.files.keys().filter_map(|path| direct(path)));
        for name in names.gone.iter().filter_map(|path| direct(path)) {
            found.remove(&name);
        }
        Ok(found.into_iter().collect())
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &str, _: &str) -> io::Result<Box<dyn DiskLock>> {
        Ok(Box::new(NoLock))
    }

    fn available(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn zero_fill_pays(&self) -> bool {
        false
    }
}

/// The folder is held by whoever made the overlay.
#[derive(Debug)]
struct NoLock;

impl DiskLock for NoLock {
    fn rewrite(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Default)]
struct OverlayFile {
    base: Option<Arc<dyn DiskFile>>,
    state: Mutex<Changes>,
}

/// What differs from the file underneath.
#[derive(Debug, Default)]
struct Changes {
    len: u64,
    /// Up to here the file underneath shows through.
    base_len: u64,
    /// Whole pages; `None` is all zeroes.
    pages: BTreeMap<u64, Option<Box<[u8]>>>,
}

impl OverlayFile {
    fn over(base: Arc<dyn DiskFile>) -> io::Result<Self> {
        let len = base.len()?;
        let state = Mutex::new(Changes { len, base_len: len, pages: BTreeMap::new() });
        Ok(Self { base: Some(base), state })
    }

    fn state(&self) -> MutexGuard<'_, Changes> {
        self.state.lock().expect("no panic under this lock")
    }

    /// Reads within one page.
    fn read_in_page(&self, state: &Changes, buf: &mut [u8], at: u64) -> io::Result<()> {
        if let Some(page) = state.pages.get(&(at / PAGE)) {
            let from = (at % PAGE) as usize;
            match page {
                Some(page) => buf.copy_from_slice(&page[from..from + buf.len()]),
                None => buf.fill(0),
            }
            return Ok(());
        }
        let there = state.base_len.saturating_sub(at).min(buf.len() as u64) as usize;
        let (shown, behind) = buf.split_at_mut(there);
        behind.fill(0);
        let Some(base) = &self.base else { return Ok(()) };
        let mut done = 0;
        while done < shown.len() {
            match base.read_at(&mut shown[done..], at + done as u64)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        Ok(())
    }

    fn write_in_page(&self, state: &mut Changes, bytes: &[u8], at: u64) -> io::Result<()> {
        let no = at / PAGE;
        let is_zero = bytes.iter().all(|byte| *byte == 0);
        if is_zero && bytes.len() as u64 == PAGE {
            state.pages.insert(no, None);
            return Ok(());
        }
        let mut page = vec![0; PAGE as usize].into_boxed_slice();
        self.read_in_page(state, &mut page, no * PAGE)?;
        let from = (at % PAGE) as usize;
        page[from..from + bytes.len()].copy_from_slice(bytes);
        state.pages.insert(no, Some(page));
        Ok(())
    }
}

/// The parts of a range that lie in one page each: where each begins, and which bytes of a buffer it is.
fn pieces(at: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let here = at + done as u64;
        let piece = ((PAGE - here % PAGE) as usize).min(len - done);
        done += piece;
        (piece > 0).then(|| (here, done - piece..done))
    })
}

impl DiskFile for OverlayFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.state();
        let len = state.len.saturating_sub(at).min(buf.len() as u64) as usize;
        for (here, piece) in pieces(at, len) {
            self.read_in_page(&state, &mut buf[piece], here)?;
        }
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.state();
        for (here, piece) in pieces(at, bytes.len()) {
            self.write_in_page(&mut state, &bytes[piece], here)?;
        }
        state.len = state.len.max(at + bytes.len() as u64);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        if len < state.len {
            let rest = len.next_multiple_of(PAGE).min(state.len).saturating_sub(len);
            self.write_in_page(&mut state, &vec![0; rest as usize], len)?;
            state.pages.split_off(&len.div_ceil(PAGE));
            state.base_len = state.base_len.min(len);
        }
        state.len = len;
        Ok(())
    }

    fn allocate(&self, at: u64, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.len = state.len.max(at + len);
        Ok(())
    }

    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        let mut state = self.state();
        let len = len.min(state.len.saturating_sub(at));
        let zeroes = [0; PAGE as usize];
        for (here, piece) in pieces(at, usize::try_from(len).map_err(io::Error::other)?) {
            self.write_in_page(&mut state, &zeroes[..piece.len()], here)?;
        }
        Ok(())
    }

    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        let state = self.state();
        let changed = state.pages.range(at / PAGE..).find(|(_, page)| page.is_some());
        let changed = changed.map(|(no, _)| (no * PAGE).max(at));
        let below = match &self.base {
            Some(base) if at < state.base_len => base.next_data(at)?.filter(|next| *next < state.base_len),
            _ => None,
        };
        Ok(match (changed, below) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        })
    }
}

#[cfg(test)]
mod tests {
    use weir_log::MemoryDisk;

    use super::*;

    fn contents(file: &dyn DiskFile) -> Vec<u8> {
        let mut bytes = vec![7; file.len().unwrap() as usize + 10];
        let read = file.read_at(&mut bytes, 0).unwrap();
        bytes.truncate(read);
        bytes
    }

    /// The same random changes to an overlay and to a disk of its own: they read the same, and the base stays.
    #[test]
    fn changes_read_as_on_a_real_disk_and_never_reach_the_base() {
        let base = MemoryDisk::new();
        let original: Vec<u8> = (0..30_000_u32).map(|n| n.to_le_bytes()[0] | 1).collect();
        base.open("f", Open::Create).unwrap().write_at(&original, 0).unwrap();
        let plain = MemoryDisk::new();
        plain.open("f", Open::Create).unwrap().write_at(&original, 0).unwrap();
        let overlay = Overlay::new(Arc::new(base.clone()));
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let (a, b) = (overlay.open("f", Open::Write).unwrap(), plain.open("f", Open::Write).unwrap());
        for _ in 0..2_000 {
            let (what, at, len) = (random(4), random(40_000), random(9_000));
            let byte = random(3) as u8;
            for file in [&a, &b] {
                match what {
                    0 | 1 => file.write_at(&vec![byte; len as usize], at).unwrap(),
                    2 => file.set_len(at).unwrap(),
                    _ => {
                        let len = len.min(file.len().unwrap().saturating_sub(at));
                        if len > 0 {
                            file.punch(at, len).unwrap();
                        }
                    }
                }
            }
            assert_eq!(contents(&*a), contents(&*b));
            let next = a.next_data(at).unwrap();
            let first = contents(&*b).iter().skip(at as usize).position(|byte| *byte != 0);
            let first = first.map(|n| at + n as u64);
            assert!(first.is_none_or(|first| next.is_some_and(|next| next <= first)), "{next:?} {first:?}");
        }
        assert_eq!(contents(&*base.open("f", Open::Read).unwrap()), original);
    }

    #[test]
    fn names_come_and_go_only_here() {
        let base = MemoryDisk::new();
        base.create_dir("d").unwrap();
        for name in ["d/a", "d/b"] {
            base.open(name, Open::Create).unwrap().write_at(name.as_bytes(), 0).unwrap();
        }
        let overlay = Overlay::new(Arc::new(base.clone()));
        overlay.rename("d/a", "d/c").unwrap();
        overlay.remove("d/b").unwrap();
        overlay.create_dir("e").unwrap();
        overlay.open("e/x", Open::Create).unwrap();
        assert_eq!(overlay.list("d").unwrap(), ["c"]);
        assert_eq!(overlay.list("e").unwrap(), ["x"]);
        assert_eq!(overlay.open("d/a", Open::Read).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(contents(&*overlay.open("d/c", Open::Read).unwrap()), b"d/a");
        assert!(overlay.remove("d/b").is_err());
        let mut there = base.list("d").unwrap();
        there.sort();
        assert_eq!(there, ["a", "b"]);
    }
}
