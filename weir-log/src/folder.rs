//! What lies in the log's folder: names, and what to make of them at an open.
//!
//! ```text
//! seg/0000000000000007.seg       segment 7
//! seg/0000000000000007.g0001     segment 7, rewritten once without its dead records
//! seg/0000000000000007.holes     which ranges of segment 7 were given back
//! seg/0000000000000003.spare     a dead segment, kept for reuse
//! seg/clean                      how the log ended, when it was closed in order
//! seg/….new                      being made; worth nothing after a crash
//! ```

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::compact::Index;
use crate::disk::{Disk, DiskFile, Open, read_full};
use crate::frame::{u32_at, u64_at};
use crate::holes;
use crate::log::Log;
use crate::lsn::{Geometry, page_down};
use crate::segment::{Header, HeaderError, Layout, Segment};
use crate::{LogOptions, Lsn, OpenError};

/// The folder of the segments.
pub(crate) const SEGMENTS: &str = "seg";
/// Says how the log ended.
pub(crate) const CLEAN: &str = "seg/clean";

pub(crate) fn segment_path(no: u64) -> String {
    format!("{SEGMENTS}/{no:016x}.seg")
}

pub(crate) fn compacted_path(no: u64, generation: u32) -> String {
    format!("{SEGMENTS}/{no:016x}.g{generation:04x}")
}

pub(crate) fn holes_path(no: u64) -> String {
    format!("{SEGMENTS}/{no:016x}.holes")
}

pub(crate) fn spare_path(no: u64) -> String {
    format!("{SEGMENTS}/{no:016x}.spare")
}

pub(crate) fn new_path(no: u64) -> String {
    format!("{SEGMENTS}/{no:016x}.new")
}

/// What a name in the folder stands for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A segment's file, of this generation.
    Segment(u64, u32),
    Holes(u64),
    Spare,
    Clean,
    /// Left by a crash.
    Unfinished,
    /// None of ours.
    Other,
}

impl Kind {
    pub(crate) fn of(name: &str) -> Self {
        let Some((stem, suffix)) = name.rsplit_once('.') else {
            return if name == "clean" { Self::Clean } else { Self::Other };
        };
        let no = (stem.len() == 16).then(|| u64::from_str_radix(stem, 16).ok()).flatten();
        match (no, suffix) {
            (_, "new") => Self::Unfinished,
            (Some(no), "seg") => Self::Segment(no, 0),
            (Some(no), "holes") => Self::Holes(no),
            (Some(_), "spare") => Self::Spare,
            (Some(no), _) => match suffix.strip_prefix('g').map(|hex| u32::from_str_radix(hex, 16)) {
                Some(Ok(generation)) if generation > 0 => Self::Segment(no, generation),
                _ => Self::Other,
            },
            (None, _) => Self::Other,
        }
    }
}

/// The names in the folder, sorted.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The newest generation of each segment.
    pub(crate) segments: BTreeMap<u64, u32>,
    pub(crate) holes: Vec<u64>,
    pub(crate) spares: Vec<String>,
    pub(crate) clean: bool,
    /// Left by a crash: unfinished files, and older generations of segments.
    pub(crate) leftovers: Vec<String>,
}

impl Names {
    pub(crate) fn list(disk: &dyn Disk) -> io::Result<Self> {
        let mut names = Self::default();
        let mut found = disk.list(SEGMENTS)?;
        found.sort();
        for name in found {
            let path = format!("{SEGMENTS}/{name}");
            match Kind::of(&name) {
                Kind::Segment(no, generation) => {
                    let known = names.segments.get(&no).copied();
                    let newest = known.map_or(generation, |known| known.max(generation));
                    if let Some(known) = known {
                        names.leftovers.push(path_of(no, known.min(generation)));
                    }
                    names.segments.insert(no, newest);
                }
                Kind::Holes(no) => names.holes.push(no),
                Kind::Spare => names.spares.push(path),
                Kind::Clean => names.clean = true,
                Kind::Unfinished => names.leftovers.push(path),
                Kind::Other => {}
            }
        }
        Ok(names)
    }
}

/// The file of a segment of this generation.
pub(crate) fn path_of(no: u64, generation: u32) -> String {
    if generation == 0 { segment_path(no) } else { compacted_path(no, generation) }
}

/// What can be said about a log before it is opened.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Size of its segments in bytes.
    pub segment_bytes: u64,
    /// Whether it still goes from the first record ever appended to its end: from the first segment on none was taken
    /// away, rewritten or given holes. What a repair has cut off the end does not count.
    pub whole: bool,
}

impl Log {
    /// What the folder `seg` of `disk` holds; None when it has no segments. Changes nothing but makes the folder.
    pub fn look<E>(disk: &dyn Disk) -> Result<Option<Found>, OpenError<E>> {
        disk.create_dir(SEGMENTS).map_err(disk_error(format!("making {SEGMENTS}")))?;
        let names = Names::list(disk).map_err(disk_error(format!("listing {SEGMENTS}")))?;
        let Some((no, generation)) = names.segments.iter().next() else { return Ok(None) };
        let first = SegmentFile::open(disk, *no, *generation, Open::Read)?;
        let untouched = |(nth, (no, generation)): (u64, (&u64, &u32))| nth == *no && *generation == 0;
        let mut whole = (0..).zip(&names.segments).all(untouched);
        for no in names.holes.iter().filter(|no| names.segments.get(no) == Some(&0)) {
            whole = whole && is_only_cut(disk, *no)?;
        }
        Ok(Some(Found { segment_bytes: first.header.segment_bytes, whole }))
    }
}

/// Whether the list of holes of a plain segment holds only what a repair has cut off.
fn is_only_cut<E>(disk: &dyn Disk, no: u64) -> Result<bool, OpenError<E>> {
    let salt = SegmentFile::open(disk, no, 0, Open::Read)?.header.salt;
    let path = holes_path(no);
    let bytes = read_small(disk, &path).map_err(disk_error(format!("reading {path}")))?;
    Ok(holes::decode(&bytes, salt).is_some_and(|holes| holes::is_only_cut(&holes)))
}

/// The segments of the folder, lowest first, and what else matters at an open.
#[derive(Debug)]
pub(crate) struct Inventory {
    pub(crate) log_id: u128,
    pub(crate) geometry: Geometry,
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) spares: Vec<String>,
    /// Where the log ended when it was closed in order; nothing was written since.
    pub(crate) clean: Option<u64>,
}

pub(crate) fn disk_error<E>(what: String) -> impl FnOnce(io::Error) -> OpenError<E> {
    move |source| OpenError::Disk { what, source }
}

impl Inventory {
    /// Opens what is there, tidies up what a crash left, and makes the folder if there is none.
    pub(crate) fn take<E>(
        disk: &dyn Disk,
        options: &LogOptions,
        salts: &mut dyn FnMut() -> u64,
    ) -> Result<Self, OpenError<E>> {
        let made = disk.create_dir(SEGMENTS).and_then(|()| disk.sync_dir(""));
        made.map_err(disk_error(format!("making {SEGMENTS}")))?;
        let mut names = Names::list(disk).map_err(disk_error(format!("listing {SEGMENTS}")))?;
        let surplus = names.spares.split_off(options.spares_max.min(names.spares.len()));
        let orphans =
            names.holes.iter().filter(|no| names.segments.get(no) != Some(&0)).map(|no| holes_path(*no));
        for path in names.leftovers.iter().cloned().chain(surplus).chain(orphans) {
            disk.remove(&path).map_err(disk_error(format!("removing {path}")))?;
        }
        let mut files = Vec::new();
        for (no, generation) in &names.segments {
            files.push(SegmentFile::open(disk, *no, *generation, Open::Write)?);
        }
        let first = files.first().map(|file| file.header);
        let log_id =
            first.map_or_else(|| u128::from(salts()) << 64 | u128::from(salts()), |first| first.log_id);
        let segment_bytes = first.map_or(options.segment_bytes, |first| first.segment_bytes);
        let geometry = Geometry::new(segment_bytes);
        let mut segments = BTreeMap::new();
        for file in files {
            if (file.header.log_id, file.header.segment_bytes) != (log_id, segment_bytes) {
                return Err(OpenError::Foreign { file: file.path, what: "belongs to another log".into() });
            }
            let has_holes = names.holes.contains(&file.header.no);
            segments.insert(file.header.no, Arc::new(file.into_segment(disk, geometry, has_holes)?));
        }
        let clean = if names.clean { read_clean(disk, log_id)? } else { None };
        Ok(Self { log_id, geometry, segments, spares: names.spares, clean })
    }
}

/// A segment's file with a header that is in order.
pub(crate) struct SegmentFile {
    pub(crate) header: Header,
    pub(crate) path: String,
    file: Arc<dyn DiskFile>,
}

impl SegmentFile {
    pub(crate) fn open<E>(
        disk: &dyn Disk,
        no: u64,
        generation: u32,
        how: Open,
    ) -> Result<Self, OpenError<E>> {
        let path = path_of(no, generation);
        let file = disk.open(&path, how).map_err(disk_error(format!("opening {path}")))?;
        let header = Header::read(&*file).map_err(disk_error(format!("reading {path}")))?;
        let what = match header {
            Err(HeaderError::Bad(what)) => {
                let (lsn, watermark, what) = (Lsn(0), Lsn(0), what.to_owned());
                return Err(OpenError::Rot { file: path, offset: 0, lsn, watermark, what });
            }
            Err(HeaderError::Foreign(what)) => what,
            Ok(header) if !LogOptions::segment_bytes_valid(header.segment_bytes) => {
                "has an impossible segment size"
            }
            Ok(header) if (header.no, header.generation) != (no, generation) => "stands under a wrong name",
            Ok(header) => return Ok(Self { header, path, file }),
        };
        Err(OpenError::Foreign { file: path, what: what.into() })
    }

    pub(crate) fn into_segment<E>(
        self,
        disk: &dyn Disk,
        geometry: Geometry,
        has_holes: bool,
    ) -> Result<Segment, OpenError<E>> {
        let Self { header, path, file } = self;
        let reading = format!("reading {path}");
        if header.generation > 0 {
            let index = Index::load(&*file, &header).map_err(disk_error(reading))?;
            return Ok(Segment::with_layout(geometry, &header, path, file, Layout::Compacted(index)));
        }
        let len = file.len().map_err(disk_error(reading))?;
        let segment = Segment::plain(geometry, &header, path, file, page_down(len.min(header.segment_bytes)));
        if has_holes {
            let path = holes_path(header.no);
            let bytes = read_small(disk, &path).map_err(disk_error(format!("reading {path}")))?;
            let Some(holes) = holes::decode(&bytes, header.salt) else {
                let (lsn, watermark, what) =
                    (Lsn(segment.base), Lsn(0), "it has a wrong checksum".to_owned());
                return Err(OpenError::Rot { file: path, offset: 0, lsn, watermark, what });
            };
            segment.set_holes(holes.into());
        }
        Ok(segment)
    }
}

/// The whole of a file that is known to be small.
pub(crate) fn read_small(disk: &dyn Disk, path: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let mut bytes = vec![0; file.len()? as usize];
    let n = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// Writes a small file so that it is there whole or not at all, durably.
pub(crate) fn write_small(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{path}.new");
    let file = disk.open(&new, Open::Create)?;
    let written = file.write_at(bytes, 0).and_then(|()| file.sync_data());
    if let Err(error) = written {
        drop(disk.remove(&new));
        return Err(error);
    }
    disk.rename(&new, path)?;
    disk.sync_dir(SEGMENTS)
}

const CLEAN_MAGIC: &[u8; 8] = b"weir-end";

/// `magic | u64 end | u128 log id | u32 CRC-32C`: the log ends at `end`, and nothing stands behind.
pub(crate) fn clean_mark(end: u64, log_id: u128) -> Vec<u8> {
    let mut bytes = CLEAN_MAGIC.to_vec();
    bytes.extend_from_slice(&end.to_le_bytes());
    bytes.extend_from_slice(&log_id.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

pub(crate) fn read_clean<E>(disk: &dyn Disk, log_id: u128) -> Result<Option<u64>, OpenError<E>> {
    let bytes = read_small(disk, CLEAN).map_err(disk_error(format!("reading {CLEAN}")))?;
    // A mark that is not in order only means a longer look.
    let whole = bytes.len() == 36 && crc32c::crc32c(&bytes[..32]) == u32_at(&bytes, 32);
    let end = whole.then(|| u64_at(&bytes, 8));
    Ok(end.filter(|end| clean_mark(*end, log_id) == bytes))
}
