//! One segment: a file with a header of one page and frames behind it.
//!
//! A file gets its final name only after its header is durable, so a file with a final name and a bad header is
//! damage and never the trace of a crash.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, DiskFile, Open, read_full};
use crate::frame::{u32_at, u64_at};
use crate::lsn::{Geometry, PAGE_LEN};

/// The folder of the segments.
pub(crate) const FOLDER: &str = "seg";

const MAGIC: &[u8; 8] = b"weir-log";
const FORMAT: u32 = 1;
const HEADER_LEN: usize = 64;

/// What [`crate::Log::segments`] says about one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its number.
    pub no: u64,
    /// The first address in it.
    pub first: crate::Lsn,
    /// The address behind it.
    pub end: crate::Lsn,
    /// Bytes it takes on the disk.
    pub bytes_on_disk: u64,
    /// What it is used for.
    pub state: SegmentState,
    /// How often it was rewritten without its dead records.
    pub generation: u32,
}

/// What a segment is used for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Full; nothing is added any more.
    Sealed,
    /// The one that is being written.
    Current,
    /// Ready for when the current one is full.
    Prepared,
}

/// The first 64 bytes of a segment file; the rest of its page is zero.
///
/// ```text
///  0 magic "weir-log"   8 u32 format = 1   12 u32 generation   16 u128 log id
/// 32 u64 segment number   40 u64 segment size   48 u64 salt   56 u32 zero   60 u32 CRC-32C of bytes 0–59
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) log_id: u128,
    pub(crate) no: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) salt: u64,
    /// 0: frames stand at their addresses. From 1: a compacted segment.
    pub(crate) generation: u32,
}

impl Header {
    pub(crate) fn encode(&self) -> Box<[u8]> {
        let mut page = vec![0; PAGE_LEN];
        page[..8].copy_from_slice(MAGIC);
        page[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        page[12..16].copy_from_slice(&self.generation.to_le_bytes());
        page[16..32].copy_from_slice(&self.log_id.to_le_bytes());
        page[32..40].copy_from_slice(&self.no.to_le_bytes());
        page[40..48].copy_from_slice(&self.segment_bytes.to_le_bytes());
        page[48..56].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&page[..60]);
        page[60..64].copy_from_slice(&crc.to_le_bytes());
        page.into()
    }

    /// The error says in words what is wrong.
    pub(crate) fn decode(page: &[u8]) -> Result<Self, HeaderError> {
        if page.len() < HEADER_LEN {
            return Err(HeaderError::Bad("is shorter than a segment's header"));
        }
        if &page[..8] != MAGIC {
            return Err(HeaderError::Bad("does not begin as a segment does"));
        }
        if crc32c::crc32c(&page[..60]) != u32_at(page, 60) {
            return Err(HeaderError::Bad("has a header with a wrong checksum"));
        }
        if u32_at(page, 8) != FORMAT {
            return Err(HeaderError::Foreign("has a format this version does not know"));
        }
        Ok(Self {
            generation: u32_at(page, 12),
            log_id: u128::from_le_bytes(page[16..32].try_into().expect("sixteen bytes")),
            no: u64_at(page, 32),
            segment_bytes: u64_at(page, 40),
            salt: u64_at(page, 48),
        })
    }

    pub(crate) fn read(file: &dyn DiskFile) -> io::Result<Result<Self, HeaderError>> {
        let mut page = [0; HEADER_LEN];
        let n = read_full(file, &mut page, 0)?;
        Ok(Self::decode(&page[..n]))
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Damaged.
    Bad(&'static str),
    /// Whole, but not for us.
    Foreign(&'static str),
}

/// `seg/<no>.seg`.
pub(crate) fn path(no: u64) -> String {
    format!("{FOLDER}/{no:016x}.seg")
}

/// A segment that is being made; worth nothing after a crash.
pub(crate) fn new_path(no: u64) -> String {
    format!("{FOLDER}/{no:016x}.new")
}

/// A dead segment kept for reuse.
pub(crate) fn spare_path(no: u64) -> String {
    format!("{FOLDER}/{no:016x}.spare")
}

/// One open segment file.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) no: u64,
    /// Address of the first byte of its header.
    pub(crate) base: u64,
    pub(crate) salt: u64,
    pub(crate) path: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Bytes from the beginning of the file that are really allocated.
    filled: AtomicU64,
    /// Held while zeroes are written and while the writer goes beyond `filled`, so that zeroes never land on records.
    fill: Mutex<()>,
}

impl Segment {
    pub(crate) fn open(
        geometry: Geometry,
        header: &Header,
        path: String,
        file: Arc<dyn DiskFile>,
        filled: u64,
    ) -> Self {
        let base = geometry.base(header.no);
        let filled = AtomicU64::new(filled);
        Self { no: header.no, base, salt: header.salt, path, file, filled, fill: Mutex::new(()) }
    }

    pub(crate) fn filled(&self) -> u64 {
        self.filled.load(Ordering::Acquire)
    }

    /// The position in the file of the address `at`.
    pub(crate) fn offset(&self, at: u64) -> u64 {
        at - self.base
    }

    /// Writes whole pages of records at `offset`.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if end <= self.filled() {
            return self.file.write_at(bytes, offset);
        }
        let _filling = self.fill.lock().expect("no panic under this lock");
        self.file.write_at(bytes, offset)?;
        self.filled.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    /// Writes zeroes behind what is allocated, up to `limit`; returns how many bytes. `zeroes` is one write.
    pub(crate) fn fill(&self, zeroes: &[u8], limit: u64) -> io::Result<u64> {
        let _filling = self.fill.lock().expect("no panic under this lock");
        let from = self.filled();
        let len = limit.saturating_sub(from).min(zeroes.len() as u64);
        if len > 0 {
            self.file.write_at(&zeroes[..len as usize], from)?;
            self.filled.store(from + len, Ordering::Release);
        }
        Ok(len)
    }
}

/// Makes the file of segment `header.no`, from `spare` if there is one, and gives it its name once its header is
/// durable. Returns it with the number of bytes that are really allocated.
pub(crate) fn create(
    disk: &dyn Disk,
    header: &Header,
    spare: Option<&str>,
) -> io::Result<(Arc<dyn DiskFile>, u64)> {
    let to = path(header.no);
    let from = spare.map_or_else(|| new_path(header.no), str::to_owned);
    let how = if spare.is_some() { Open::Write } else { Open::Create };
    let file = disk.open(&from, how)?;
    let made = (|| {
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        disk.rename(&from, &to)?;
        disk.sync_dir(FOLDER)?;
        file.len()
    })();
    match made {
        Ok(len) => Ok((file, len)),
        Err(error) => {
            if spare.is_none() {
                // Frees what a full disk needs most; if this fails too, the next open removes it.
                drop(disk.remove(&from));
            }
            Err(error)
        }
    }
}
