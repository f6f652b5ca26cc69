//! A disk that fails on demand, for tests: power cuts, I/O errors, a full disk, damage.
//!
//! What a power cut leaves follows what disks and file systems promise, and nothing more:
//! * Bytes written since the last flush of a file survive sector by sector (512 bytes), each on its own: kept, lost,
//!   as an earlier version, or torn in the middle. So does a new length.
//! * Names survive as an ordered prefix of what was done in their folder since it was last flushed.
//! * A failed flush drops what it should have flushed: later flushes succeed without it, and until then the file
//!   reads as if it were there.
//!
//! Operations that change something are counted from 0; faults are set by that number. Locks do not survive a cut.
//! Keeps everything in memory, each file twice; made for short runs over small segments.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::{Disk, DiskFile, DiskLock, MemoryDisk, Open};

const SECTOR: usize = 512;
/// Space is counted in blocks, as small as those of a small file system: half a page may fit where a whole one does
/// not.
const BLOCK: u64 = 1024;
/// So many versions of a sector between two flushes are remembered.
const VERSIONS_MAX: usize = 6;

/// A disk that fails on demand. Clones share it.
#[derive(Clone)]
pub struct FaultyDisk {
    world: Arc<Mutex<World>>,
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyDisk").finish_non_exhaustive()
    }
}

/// What an operation fails with.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// `EIO`. A write may have landed in part; a flush has dropped what it should have flushed.
    Io,
    /// `ENOSPC`. A write may have landed in part.
    Full,
}

/// What a power cut leaves of what was not flushed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// Everything, as when only the process was killed.
    Everything,
    /// Each sector and name as chance will have it.
    Random(u64),
}

#[derive(Debug, Default)]
struct World {
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since their folder was flushed, in order.
    pending_names: Vec<NameChange>,
    folders: BTreeSet<String>,
    locked: BTreeSet<String>,
    operations: u64,
    trace: Vec<String>,
    off_at: Option<u64>,
    failures: BTreeMap<u64, Failure>,
    quota: Option<u64>,
    short_reads: bool,
    sync_time: Duration,
}

/// One file's contents, independent of its name.
#[derive(Debug, Default)]
struct Node {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Versions of each sector written since the last flush, oldest first.
    pending: BTreeMap<usize, Vec<[u8; SECTOR]>>,
    /// Blocks that take space.
    blocks: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
struct NameChange {
    folder: String,
    removed: Option<String>,
    added: Option<(String, u64)>,
}

impl Default for FaultyDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self { world: Arc::default() }
    }

    /// A disk with the files of `image`, all of them durable.
    ///
    /// # Panics
    /// When `image` cannot be read, which a memory disk always can.
    pub fn over(image: &MemoryDisk) -> Self {
        let mut world = World::default();
        for (path, contents) in image.files().expect("memory is readable") {
            let blocks = (0..contents.len() as u64).step_by(BLOCK as usize).map(|at| at / BLOCK).collect();
            let node =
                Node { current: contents.clone(), durable: contents, pending: BTreeMap::new(), blocks };
            let id = world.add_node(node);
            world.names.insert(path.clone(), id);
            world.durable_names.insert(path, id);
        }
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// How many operations that change something were asked for so far.
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Each of them in words, for a failing test's message.
    pub fn trace(&self) -> Vec<String> {
        self.world().trace.clone()
    }

    /// Cuts the power at the operation with this number: it may have happened, and its caller never hears.
    pub fn cut_at(&self, operation: u64) {
        self.world().off_at = Some(operation);
    }

    /// Lets one operation fail.
    pub fn fail_at(&self, operation: u64, failure: Failure) {
        self.world().failures.insert(operation, failure);
    }

    /// Limits the disk to so many bytes, in whole blocks of 1 KiB; None lifts the limit.
    pub fn set_quota(&self, bytes: Option<u64>) {
        self.world().quota = bytes;
    }

    /// Bytes in use, as the quota counts them.
    pub fn used(&self) -> u64 {
        self.world().used()
    }

    /// Lets every read return less than it was asked for.
    pub fn set_short_reads(&self, on: bool) {
        self.world().short_reads = on;
    }

    /// Lets every flush of a file take so long.
    pub fn set_sync_time(&self, time: Duration) {
        self.world().sync_time = time;
    }

    /// Turns one bit of a file over, durably.
    ///
    /// # Panics
    /// When there is no such file or byte.
    pub fn flip_bit(&self, path: &str, byte: usize, bit: u32) {
        let mut world = self.world();
        let id = world.names[path];
        let node = world.nodes.get_mut(&id).expect("names have nodes");
        node.current[byte] ^= 1 << bit;
        if let Some(durable) = node.durable.get_mut(byte) {
            *durable = node.current[byte];
        }
    }

    /// What is found when the power comes back. The disk itself is left as it is, so many outcomes can be looked at.
    ///
    /// # Panics
    /// Never: a memory disk without a quota takes everything.
    pub fn after_crash(&self, keep: Keep) -> MemoryDisk {
        let world = self.world();
        let mut chance = Chance(match keep {
            Keep::Random(seed) => seed,
            _ => 0,
        });
        let image = MemoryDisk::new();
        for (path, id) in world.surviving_names(keep, &mut chance) {
            let contents = world.nodes[&id].surviving(keep, &mut chance);
            let file = image.open(&path, Open::Create).expect("memory takes every file");
            file.write_at(&contents, 0).expect("memory takes every byte");
        }
        image
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no panic under this lock")
    }
}

/// Random enough for choosing what a crash leaves.
struct Chance(u64);

impl Chance {
    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % bound as u64) as usize
    }
}

/// What is to happen to an operation.
enum Fate {
    Done,
    /// Happens, perhaps, and then fails.
    Fails(io::Error),
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {path:?}"))
}

fn folder_of(path: &str) -> String {
    path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned()
}

impl World {
    fn add_node(&mut self, node: Node) -> u64 {
        self.next_node += 1;
        self.nodes.insert(self.next_node, node);
        self.next_node
    }

    fn used(&self) -> u64 {
        self.nodes.values().map(|node| node.blocks.len() as u64 * BLOCK).sum()
    }

    fn is_off(&self) -> bool {
        self.off_at.is_some_and(|at| self.operations > at)
    }

    /// Counts an operation and says what becomes of it; an error when nothing happens any more.
    fn operation(&mut self, what: impl FnOnce() -> String) -> io::Result<Fate> {
        if self.is_off() {
            return Err(off());
        }
        let number = self.operations;
        self.operations += 1;
        self.trace.push(format!("{number}: {}", what()));
        if self.off_at == Some(number) {
            return Ok(Fate::Fails(off()));
        }
        Ok(match self.failures.get(&number) {
            None => Fate::Done,
            Some(Failure::Io) => Fate::Fails(io::Error::from_raw_os_error(5)),
            Some(Failure::Full) => Fate::Fails(io::ErrorKind::StorageFull.into()),
        })
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
        self.forget_unnamed();
    }

    /// Space of files without a name is free; open handles of theirs are not modelled beyond that.
    fn forget_unnamed(&mut self) {
        let named: BTreeSet<_> = self.names.values().collect();
        for (id, node) in &mut self.nodes {
            if !named.contains(id) {
                node.blocks.clear();
            }
        }
    }

    fn surviving_names(&self, keep: Keep, chance: &mut Chance) -> BTreeMap<String, u64> {
        match keep {
            Keep::Nothing => self.durable_names.clone(),
            Keep::Everything => self.names.clone(),
            Keep::Random(_) => {
                let mut names = self.durable_names.clone();
                let folders: BTreeSet<_> = self.pending_names.iter().map(|change| &change.folder).collect();
                for folder in folders {
                    let changes: Vec<_> = self.pending_names.iter().filter(|c| c.folder == *folder).collect();
                    for change in &changes[..chance.below(changes.len() + 1)] {
                        change.apply(&mut names);
                    }
                }
                names
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        if let Some(path) = &self.removed {
            names.remove(path);
        }
        if let Some((path, id)) = &self.added {
            names.insert(path.clone(), *id);
        }
    }
}

impl Node {
    fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        self.current[at..end].copy_from_slice(bytes);
        self.touch(at, end);
    }

    /// Remembers a version of each sector of a range.
    fn touch(&mut self, at: usize, end: usize) {
        for sector in at / SECTOR..end.div_ceil(SECTOR) {
            let version = sector_of(&self.current, sector);
            let versions = self.pending.entry(sector).or_default();
            if versions.len() == VERSIONS_MAX {
                versions.remove(0);
            }
            versions.push(version);
        }
    }

    fn set_len(&mut self, len: usize) {
        let before = self.current.len();
        self.current.resize(len, 0);
        if len < before {
            self.touch(len, before);
            self.blocks.retain(|block| block * BLOCK < len as u64);
        }
    }

    /// Grows to `end` without writing: like any new length, this one may be lost until the next flush.
    fn grow(&mut self, end: usize) {
        let len = self.current.len().max(end);
        self.current.resize(len, 0);
    }

    fn punch(&mut self, at: usize, end: usize) {
        let end = end.min(self.current.len());
        if at < end {
            self.current[at..end].fill(0);
            self.touch(at, end);
        }
        self.blocks.retain(|block| block * BLOCK < at as u64 || (block + 1) * BLOCK > end as u64);
    }

    fn sync(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.durable.resize(self.current.len(), 0);
        for (sector, versions) in pending {
            put_sector(&mut self.durable, sector, versions.last().expect("never empty"));
        }
    }

    fn surviving(&self, keep: Keep, chance: &mut Chance) -> Vec<u8> {
        match keep {
            Keep::Nothing => return self.durable.clone(),
            Keep::Everything => return self.current.clone(),
            Keep::Random(_) => {}
        }
        let (low, high) =
            (self.durable.len().min(self.current.len()), self.durable.len().max(self.current.len()));
        let len = match chance.below(4) {
            0 => self.durable.len(),
            1 => low + chance.below(high - low + 1) / SECTOR * SECTOR,
            _ => self.current.len(),
        };
        let mut contents = self.durable.clone();
        contents.resize(len, 0);
        for (sector, versions) in &self.pending {
            let version = &versions[chance.below(versions.len())];
            match chance.below(8) {
                0..=2 => {}
                3..=6 => put_sector(&mut contents, *sector, version),
                _ => {
                    let mut torn = sector_of(&contents, *sector);
                    let bytes = chance.below(SECTOR);
                    torn[..bytes].copy_from_slice(&version[..bytes]);
                    put_sector(&mut contents, *sector, &torn);
                }
            }
        }
        contents
    }
}

/// A sector, zero where the file ends before it does.
fn sector_of(contents: &[u8], sector: usize) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let from = (sector * SECTOR).min(contents.len());
    let part = &contents[from..contents.len().min(from + SECTOR)];
    bytes[..part.len()].copy_from_slice(part);
    bytes
}

/// Writes as much of a sector as the file is long.
fn put_sector(contents: &mut [u8], sector: usize, bytes: &[u8; SECTOR]) {
    let from = (sector * SECTOR).min(contents.len());
    let to = contents.len().min(from + SECTOR);
    contents[from..to].copy_from_slice(&bytes[..to - from]);
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        let mut world = self.world();
        if world.is_off() {
            return Err(off());
        }
        // Folders are made once per life of a disk; nobody depends on losing one.
        world.folders.insert(path.to_owned());
        Ok(())
    }

    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        if world.is_off() {
            return Err(off());
        }
        let known = world.names.get(path).copied();
        let node = match (known, how) {
            (Some(node), Open::Read | Open::Write) => node,
            (None, Open::Read | Open::Write) => return Err(not_found(path)),
            (Some(node), Open::Create) => {
                let fate = world.operation(|| format!("empty {path}"))?;
                world.nodes.get_mut(&node).expect("names have nodes").set_len(0);
                fate.into_result()?;
                node
            }
            (None, Open::Create) => {
                let fate = world.operation(|| format!("create {path}"))?;
                let node = world.add_node(Node::default());
                let added = Some((path.to_owned(), node));
                world.change_name(NameChange { folder: folder_of(path), removed: None, added });
                fate.into_result()?;
                node
            }
        };
        Ok(Arc::new(FaultyFile { disk: self.clone(), node, path: path.to_owned() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let fate = world.operation(|| format!("rename {from} to {to}"))?;
        let id = *world.names.get(from).ok_or_else(|| not_found(from))?;
        assert_eq!(folder_of(from), folder_of(to), "names change within a folder only");
        let change = NameChange {
            folder: folder_of(to),
            removed: Some(from.to_owned()),
            added: Some((to.to_owned(), id)),
        };
        if fate.is_done_or_cut(&world) {
            world.change_name(change);
        }
        fate.into_result()
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut world = self.world();
        let fate = world.operation(|| format!("remove {path}"))?;
        if !world.names.contains_key(path) {
            return Err(not_found(path));
        }
        if fate.is_done_or_cut(&world) {
            world.change_name(NameChange {
                folder: folder_of(path),
                removed: Some(path.to_owned()),
                added: None,
            });
        }
        fate.into_result()
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let world = self.world();
        if world.is_off() {
            return Err(off());
        }
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let inside = world.names.keys().chain(&world.folders).filter_map(|path| path.strip_prefix(&prefix));
        let names: BTreeSet<_> =
            inside.filter(|rest| !rest.is_empty()).filter_map(|rest| rest.split('/').next()).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut world = self.world();
        let fate = world.operation(|| format!("flush folder {dir:?}"))?;
        if matches!(fate, Fate::Done) {
            let pending = std::mem::take(&mut world.pending_names);
            for change in pending {
                if change.folder == dir {
                    change.apply(&mut world.durable_names);
                } else {
                    world.pending_names.push(change);
                }
            }
        }
        fate.into_result()
    }

    fn lock(&self, path: &str, contents: &str) -> io::Result<Box<dyn DiskLock>> {
        if !self.world().locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let lock = FaultyLock { disk: self.clone(), path: path.to_owned() };
        lock.rewrite(contents)?;
        Ok(Box::new(lock))
    }

    fn available(&self) -> io::Result<u64> {
        let world = self.world();
        Ok(world.quota.map_or(u64::MAX, |quota| quota.saturating_sub(world.used())))
    }

    fn zero_fill_pays(&self) -> bool {
        true
    }
}

impl Fate {
    fn into_result(self) -> io::Result<()> {
        match self {
            Self::Done => Ok(()),
            Self::Fails(error) => Err(error),
        }
    }

    /// An operation that the power cut meets may have happened; one that fails has not.
    fn is_done_or_cut(&self, world: &World) -> bool {
        matches!(self, Self::Done) || world.is_off()
    }
}

#[derive(Debug)]
struct FaultyLock {
    disk: FaultyDisk,
    path: String,
}

impl DiskLock for FaultyLock {
    fn rewrite(&self, contents: &str) -> io::Result<()> {
        self.disk.open(&self.path, Open::Create)?.write_at(contents.as_bytes(), 0)
    }
}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        self.disk.world().locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    node: u64,
    path: String,
}

impl FaultyFile {
    /// Counts an operation, then lets `change` do to the file what its fate allows.
    fn change(&self, what: &str, change: impl FnOnce(&mut World, &Fate)) -> io::Result<()> {
        let mut world = self.disk.world();
        let fate = world.operation(|| format!("{what} {}", self.path))?;
        change(&mut world, &fate);
        fate.into_result()
    }

    fn look<T>(&self, look: impl FnOnce(&World, &Node) -> T) -> io::Result<T> {
        let world = self.disk.world();
        if world.is_off() {
            return Err(off());
        }
        Ok(look(&world, &world.nodes[&self.node]))
    }
}

impl World {
    fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("nodes are never removed")
    }

    /// How many of `len` bytes at `at` the quota lets in.
    fn take_blocks(&mut self, id: u64, at: u64, len: u64) -> u64 {
        let quota = self.quota.unwrap_or(u64::MAX);
        let mut used = self.used();
        let mut block = at / BLOCK;
        while block * BLOCK < at + len {
            let node = self.node(id);
            if !node.blocks.contains(&block) {
                if used + BLOCK > quota {
                    return (block * BLOCK).saturating_sub(at);
                }
                used += BLOCK;
                node.blocks.insert(block);
            }
            block += 1;
        }
        len
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.look(|world, node| {
            let from = (at as usize).min(node.current.len());
            let mut n = (node.current.len() - from).min(buf.len());
            if world.short_reads && n > 1 {
                n = n.div_ceil(2);
            }
            buf[..n].copy_from_slice(&node.current[from..from + n]);
            n
        })
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut full = false;
        self.change(&format!("write {} at {at} of", bytes.len()), |world, fate| {
            let fits = world.take_blocks(self.node, at, bytes.len() as u64) as usize;
            full = fits < bytes.len();
            let len = match fate {
                Fate::Done => fits,
                Fate::Fails(_) if world.is_off() => fits,
                Fate::Fails(_) => fits / 2,
            };
            world.node(self.node).write(&bytes[..len], at as usize);
        })?;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let time = self.disk.world().sync_time;
        if !time.is_zero() {
            std::thread::sleep(time);
        }
        self.change("flush", |world, fate| {
            let off = world.is_off();
            let node = world.node(self.node);
            match fate {
                Fate::Done => node.sync(),
                Fate::Fails(_) if off => {}
                Fate::Fails(_) => node.pending.clear(),
            }
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.look(|_, node| node.current.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(&format!("set length {len} of"), |world, fate| {
            if fate.is_done_or_cut(world) {
                world.node(self.node).set_len(len as usize);
            }
        })
    }

    /// As a real one may, a full disk takes a part of the range.
    fn allocate(&self, at: u64, len: u64) -> io::Result<()> {
        let mut full = false;
        self.change(&format!("allocate {len} at {at} of"), |world, fate| {
            if fate.is_done_or_cut(world) {
                let fits = world.take_blocks(self.node, at, len);
                full = fits < len;
                world.node(self.node).grow((at + fits) as usize);
            }
        })?;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        self.change(&format!("punch {len} at {at} of"), |world, fate| {
            if fate.is_done_or_cut(world) {
                world.node(self.node).punch(at as usize, (at + len) as usize);
            }
        })
    }

    fn allocated(&self) -> io::Result<u64> {
        self.look(|_, node| node.blocks.len() as u64 * BLOCK)
    }
}
