//! One segment: a file with a header of one page and records behind it.
//!
//! A file gets its final name only after its header is durable, so a file with a final name and a bad header is
//! damage and never the trace of a crash.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crate::LogError;
use crate::compact::Index;
use crate::disk::{Disk, DiskFile, Open, read_full};
use crate::error::is_full;
use crate::folder;
use crate::frame::{u32_at, u64_at};
use crate::holes;
use crate::log::Fault;
use crate::lsn::{Geometry, PAGE, PAGE_LEN, page_down};

const MAGIC: &[u8; 8] = b"weir-log";
const FORMAT: u32 = 1;
const HEADER_LEN: usize = 128;
/// Where the header stands once more: a bad sector must not cost the salt, and with it the whole segment.
const HEADER_COPY: usize = 2048;

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

/// The first 128 bytes of a segment file, and once more at 2048; the rest of the page is zero.
///
/// ```text
///  0 magic "weir-log"      8 u32 format = 1     12 u32 generation    16 u128 log id
/// 32 u64 segment number   40 u64 segment size   48 u64 salt
/// 56 u64 end of records   64 u32 index entries  68 u32 CRC-32C of the index   (compacted segments, else zero)
/// 72 zeroes              124 u32 CRC-32C of bytes 0–123
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) log_id: u128,
    pub(crate) no: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) salt: u64,
    /// 0: frames stand at their addresses. From 1: compacted.
    pub(crate) generation: u32,
    /// Where in a compacted file the records end and the index begins.
    pub(crate) data_end: u64,
    pub(crate) index_entries: u32,
    pub(crate) index_crc: u32,
}

impl Header {
    /// Of a segment whose frames stand at their addresses.
    pub(crate) fn plain(log_id: u128, no: u64, segment_bytes: u64, salt: u64) -> Self {
        Self { log_id, no, segment_bytes, salt, generation: 0, data_end: 0, index_entries: 0, index_crc: 0 }
    }

    pub(crate) fn encode(&self) -> Box<[u8]> {
        let mut page = vec![0; PAGE_LEN];
        page[..8].copy_from_slice(MAGIC);
        page[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        page[12..16].copy_from_slice(&self.generation.to_le_bytes());
        page[16..32].copy_from_slice(&self.log_id.to_le_bytes());
        page[32..40].copy_from_slice(&self.no.to_le_bytes());
        page[40..48].copy_from_slice(&self.segment_bytes.to_le_bytes());
        page[48..56].copy_from_slice(&self.salt.to_le_bytes());
        page[56..64].copy_from_slice(&self.data_end.to_le_bytes());
        page[64..68].copy_from_slice(&self.index_entries.to_le_bytes());
        page[68..72].copy_from_slice(&self.index_crc.to_le_bytes());
        let crc = crc32c::crc32c(&page[..HEADER_LEN - 4]);
        page[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
        page.copy_within(..HEADER_LEN, HEADER_COPY);
        page.into()
    }

    fn decode(page: &[u8]) -> Result<Self, HeaderError> {
        if page.len() < HEADER_LEN {
            return Err(HeaderError::Bad("it is shorter than a segment's header"));
        }
        if &page[..8] != MAGIC {
            return Err(HeaderError::Bad("it does not begin as a segment does"));
        }
        if crc32c::crc32c(&page[..HEADER_LEN - 4]) != u32_at(page, HEADER_LEN - 4) {
            return Err(HeaderError::Bad("its header has a wrong checksum"));
        }
        if u32_at(page, 8) != FORMAT {
            return Err(HeaderError::Foreign("has a format that this version does not know"));
        }
        Ok(Self {
            generation: u32_at(page, 12),
            log_id: u128::from_le_bytes(page[16..32].try_into().expect("sixteen bytes")),
            no: u64_at(page, 32),
            segment_bytes: u64_at(page, 40),
            salt: u64_at(page, 48),
            data_end: u64_at(page, 56),
            index_entries: u32_at(page, 64),
            index_crc: u32_at(page, 68),
        })
    }

    /// Reads the header, or else its copy.
    pub(crate) fn read(file: &dyn DiskFile) -> io::Result<Result<Self, HeaderError>> {
        let mut page = [0; PAGE_LEN];
        let n = read_full(file, &mut page, 0)?;
        let first = Self::decode(&page[..n]);
        if matches!(first, Err(HeaderError::Bad(_))) && n > HEADER_COPY {
            return Ok(Self::decode(&page[HEADER_COPY..n]).or(first));
        }
        Ok(first)
    }
}

/// Why a header is of no use. Both say in words what is wrong.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Damaged.
    Bad(&'static str),
    /// Whole, but not for us.
    Foreign(&'static str),
}

/// One open segment file.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) no: u64,
    /// Address of the first byte of its header.
    pub(crate) base: u64,
    pub(crate) salt: u64,
    pub(crate) generation: u32,
    pub(crate) path: String,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) layout: Layout,
    /// Bytes from the beginning of the file that are really allocated.
    filled: AtomicU64,
    /// Held while the file is flushed: the system tells of a failure once, and everybody has to hear of it.
    flushing: Mutex<()>,
    /// Held while zeroes are written and while the writer goes beyond `filled`, so that zeroes never land on records.
    fill: Mutex<()>,
}

/// Where the frames of a segment stand.
#[derive(Debug)]
pub(crate) enum Layout {
    /// At their addresses, but for the holes: dead ranges whose space was given back.
    Plain {
        /// Whether there are any: nearly never, and then readers need no lock.
        holed: AtomicBool,
        /// In order, disjoint, from frame to frame.
        holes: RwLock<Arc<[Range<u64>]>>,
    },
    /// One behind the other, each with its address in front.
    Compacted(Index),
}

impl Segment {
    /// A segment whose frames stand at their addresses; `filled` bytes of its file are allocated.
    pub(crate) fn plain(
        geometry: Geometry,
        header: &Header,
        path: String,
        file: Arc<dyn DiskFile>,
        filled: u64,
    ) -> Self {
        let layout = Layout::Plain { holed: AtomicBool::new(false), holes: RwLock::new(Arc::new([])) };
        Self { filled: AtomicU64::new(filled), ..Self::with_layout(geometry, header, path, file, layout) }
    }

    pub(crate) fn with_layout(
        geometry: Geometry,
        header: &Header,
        path: String,
        file: Arc<dyn DiskFile>,
        layout: Layout,
    ) -> Self {
        let Header { no, salt, generation, segment_bytes, .. } = *header;
        let (filled, fill, flushing) = (AtomicU64::new(segment_bytes), Mutex::new(()), Mutex::new(()));
        Self { no, base: geometry.base(no), salt, generation, path, file, layout, filled, fill, flushing }
    }

    pub(crate) fn filled(&self) -> u64 {
        self.filled.load(Ordering::Acquire)
    }

    /// The position in the file of the address `at`, in a plain segment.
    pub(crate) fn offset(&self, at: u64) -> u64 {
        at - self.base
    }

    /// Dead ranges whose space was given back; None where there are none.
    pub(crate) fn holes(&self) -> Option<Arc<[Range<u64>]>> {
        match &self.layout {
            Layout::Plain { holed, holes } if holed.load(Ordering::Acquire) => {
                Some(Arc::clone(&holes.read().expect("no panic under this lock")))
            }
            _ => None,
        }
    }

    /// Whether what stood at the address `at` was given back.
    pub(crate) fn is_hole(&self, at: u64) -> bool {
        self.holes().is_some_and(|holes| holes::find(&holes, at).is_some())
    }

    pub(crate) fn set_holes(&self, new: Arc<[Range<u64>]>) {
        if let Layout::Plain { holed, holes } = &self.layout {
            let any = !new.is_empty();
            *holes.write().expect("no panic under this lock") = new;
            holed.store(any, Ordering::Release);
        }
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

    /// Flushes the file, and latches a failure. Whoever waited for a flush of somebody else's that failed fails too:
    /// their own would succeed without the bytes that the system has dropped.
    pub(crate) fn sync(&self, fault: &Fault) -> Result<(), LogError> {
        let _flushing = self.flushing.lock().expect("no panic under this lock");
        fault.check()?;
        self.file.sync_data().map_err(|error| fault.latch(format!("flushing {}: {error}", self.path)))
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

    /// Allocates up to `most` bytes behind what is allocated, up to `limit`; returns how many. Where there is not so
    /// much, it takes less: the last pages of a disk are worth having.
    pub(crate) fn allocate(&self, most: u64, limit: u64) -> io::Result<u64> {
        let _filling = self.fill.lock().expect("no panic under this lock");
        let from = self.filled();
        let mut len = limit.saturating_sub(from).min(most);
        while len > 0 {
            match self.file.allocate(from, len) {
                Err(error) if is_full(&error) && len > PAGE => len = page_down(len / 2).max(PAGE),
                allocated => {
                    allocated?;
                    self.filled.store(from + len, Ordering::Release);
                    break;
                }
            }
        }
        Ok(len)
    }

    /// Cuts the file behind `offset`, a border of a page. Only while the log is being opened.
    pub(crate) fn shorten(&self, offset: u64) -> io::Result<()> {
        self.file.set_len(offset)?;
        self.filled.store(offset, Ordering::Release);
        Ok(())
    }
}

/// Makes the file of segment `header.no`, from `spare` if there is one, and gives it its name once its header is
/// durable. Returns it with the number of bytes that are really allocated.
pub(crate) fn create(
    disk: &dyn Disk,
    header: &Header,
    spare: Option<&str>,
) -> io::Result<(Arc<dyn DiskFile>, u64)> {
    let from = spare.map_or_else(|| folder::new_path(header.no), str::to_owned);
    let how = if spare.is_some() { Open::Write } else { Open::Create };
    let file = disk.open(&from, how)?;
    let made = (|| {
        file.write_at(&header.encode(), 0)?;
        file.sync_data()?;
        disk.rename(&from, &folder::segment_path(header.no))?;
        disk.sync_dir(folder::SEGMENTS)?;
        file.len()
    })();
    match made {
        Ok(len) => Ok((file, len.max(PAGE))),
        Err(error) => {
            if spare.is_none() {
                // Frees what a full disk needs most; if this fails too, the next open removes it.
                drop(disk.remove(&from));
            }
            Err(error)
        }
    }
}
