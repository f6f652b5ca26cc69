//! Appends that wait on disk while the broker is away.
//!
//! A folder of files `00000000000000000001.box`, `…2.box`, each a row of frames, and `sent`, which says how far the
//! oldest file was sent. A file that was sent goes.
//!
//! ```text
//! frame: length u32 LE │ CRC-32C of the body u32 LE │ body
//! body:  producer │ append ID │ stream │ name │ value │ name │ value …
//! text:  length u32 LE │ bytes
//! sent:  number of the file u64 LE │ byte offset u64 LE │ CRC-32C of both u32 LE
//! ```
//!
//! Invariants:
//! * What [`Outbox::put`] has accepted is flushed to the disk.
//! * Frames are sent in their order; a file has at most [`FILE_APPENDS_MAX`] of them.
//! * A frame that is not whole at the end of the newest file was never accepted, and is cut off. Anywhere else it is
//!   damage, and the outbox does not open.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use weir_core::{Error, ErrorKind};

use super::Append;

/// So many appends are in a file: fewer than an engine remembers of a producer, so that a file that is sent twice is
/// recognised.
pub const FILE_APPENDS_MAX: usize = 5_000;
/// A file is closed at this size, too.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// No body is longer: the longest entry there is, and some.
const BODY_MAX: usize = 128 << 20;
const HEAD: usize = 8;

/// How much an outbox holds; more is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Bytes on disk.
    pub bytes: u64,
    /// Appends.
    pub appends: u64,
}

impl Default for OutboxLimits {
    /// 256 MiB, and a million appends.
    fn default() -> Self {
        Self { bytes: 256 << 20, appends: 1_000_000 }
    }
}

/// An append as it was stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) producer: Vec<u8>,
    pub(super) append: Append,
}

/// The folder. Its calls wait for the disk: see [`aside`].
#[derive(Debug)]
pub(super) struct Outbox {
    folder: PathBuf,
    limits: OutboxLimits,
    /// The files, oldest first; the last one is written to.
    files: Vec<Part>,
    /// How far the oldest file was sent.
    sent: u64,
    /// Appends behind that.
    queued: u64,
    /// Lengths of the frames that [`Self::oldest`] gave last.
    given: Vec<u64>,
    newest: Option<File>,
    /// The next file. Numbers are never used again, so that `sent` never speaks of another file.
    next: u64,
    /// Keeps others out.
    _lock: File,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    number: u64,
    bytes: u64,
    appends: u64,
}

/// Does something that waits for the disk on a thread of its own.
pub(super) async fn aside<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(act).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that ends cancels it, and then nothing goes on here either.
            Err(_) => std::future::pending().await,
        },
    }
}

impl Outbox {
    pub(super) fn open(folder: &Path, limits: OutboxLimits) -> Result<Self, Error> {
        let refuse = |error| io(folder, error);
        std::fs::create_dir_all(folder).map_err(refuse)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"));
        let lock = lock.map_err(refuse)?;
        if lock.try_lock().is_err() {
            return Err(Error::new(ErrorKind::InUse).with_context(format!("the outbox {}", folder.display())));
        }
        let mut numbers = Vec::new();
        for item in std::fs::read_dir(folder).map_err(refuse)? {
            let name = item.map_err(refuse)?.file_name();
            let number: Option<u64> =
                name.to_str().and_then(|name| name.strip_suffix(".box")).and_then(|name| name.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        let noted = std::fs::read(folder.join("sent")).ok().and_then(|bytes| read_sent(&bytes));
        let next = noted.map_or(0, |(number, _)| number).max(numbers.last().copied().unwrap_or(0)) + 1;
        let (folder, files, given) = (folder.to_owned(), Vec::new(), Vec::new());
        let mut outbox =
            Self { folder, limits, files, sent: 0, queued: 0, given, newest: None, next, _lock: lock };
        for (at, number) in numbers.iter().enumerate() {
            outbox.look(*number, at + 1 == numbers.len())?;
        }
        outbox.skip_sent(noted)?;
        Ok(outbox)
    }

    /// Appends that wait.
    pub(super) fn queued(&self) -> u64 {
        self.queued
    }

    /// Stores appends; those that are accepted are on the disk when this ends.
    pub(super) fn put(&mut self, producer: &[u8], appends: &[Append]) -> Vec<Result<(), Error>> {
        let flushed = self.files.last().copied();
        let mut results: Vec<_> = appends.iter().map(|append| self.put_one(producer, append)).collect();
        if let Err(error) = self.flush() {
            self.cut(flushed);
            let context = error.to_string();
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(Error::new(ErrorKind::Io).with_context(context.clone()));
            }
        }
        results
    }

    /// The oldest appends, at most so many; they stay until [`Self::forget`].
    pub(super) fn oldest(&mut self, count: usize) -> Result<Vec<Stored>, Error> {
        self.given.clear();
        let mut oldest = Vec::new();
        let Some(part) = self.files.first().copied() else { return Ok(oldest) };
        let mut file = File::open(self.path(part.number)).map_err(|error| io(&self.folder, error))?;
        file.seek(SeekFrom::Start(self.sent)).map_err(|error| io(&self.folder, error))?;
        let mut offset = self.sent;
        while oldest.len() < count && offset < part.bytes {
            let body = read_frame(&mut file, part.bytes - offset);
            let Some(body) = body.map_err(|error| io(&self.folder, error))? else {
                return Err(self.damaged(part.number, offset));
            };
            oldest.push(decode(&body).ok_or_else(|| self.damaged(part.number, offset))?);
            let length = (HEAD + body.len()) as u64;
            self.given.push(length);
            offset += length;
        }
        Ok(oldest)
    }

    /// Forgets the first so many that [`Self::oldest`] gave. That this is not yet on the disk when the machine stops
    /// does no harm: they are sent again then, and recognised.
    pub(super) fn forget(&mut self, count: usize) {
        let given = std::mem::take(&mut self.given);
        let count = count.min(given.len());
        self.sent += given[..count].iter().sum::<u64>();
        self.queued -= count as u64;
        let noted = self.note_sent();
        if let Err(error) = noted.and_then(|()| self.drop_sent()) {
            tracing::warn!(%error, "the outbox could not note what was sent; it is sent again at the next start");
        }
    }

    fn put_one(&mut self, producer: &[u8], append: &Append) -> Result<(), Error> {
        let body = encode(producer, append);
        let length = (HEAD + body.len()) as u64;
        let bytes: u64 = self.files.iter().map(|part| part.bytes).sum();
        if self.queued >= self.limits.appends || bytes + length > self.limits.bytes || body.len() > BODY_MAX {
            return Err(Error::new(ErrorKind::LimitReached(
                "the outbox is full; wait until the broker is back",
            )));
        }
        let is_full = self
            .files
            .last()
            .is_none_or(|part| part.appends >= FILE_APPENDS_MAX as u64 || part.bytes >= FILE_BYTES_MAX);
        if is_full || self.newest.is_none() {
            self.begin_file()?;
        }
        let (Some(file), Some(part)) = (&mut self.newest, self.files.last_mut()) else {
            return Err(Error::new(ErrorKind::Io).with_context("the outbox has no file"));
        };
        let mut frame = Vec::with_capacity(HEAD + body.len());
        frame.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        frame.extend_from_slice(&body);
        if let Err(error) = file.write_all(&frame) {
            // Half a frame must not stand before a whole one.
            let restored =
                file.set_len(part.bytes).and_then(|()| file.seek(SeekFrom::Start(part.bytes)).map(drop));
            if restored.is_err() {
                self.newest = None;
            }
            return Err(io(&self.folder, error));
        }
        part.bytes += length;
        part.appends += 1;
        self.queued += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        match &self.newest {
            Some(file) => file.sync_data().map_err(|error| io(&self.folder, error)),
            None => Ok(()),
        }
    }

    /// Takes back what could not be flushed, and writes to this file no more: nobody knows what of it the disk has, and
    /// what is accepted later must not stand behind a hole.
    fn cut(&mut self, flushed: Option<Part>) {
        let (Some(file), Some(part)) = (self.newest.take(), self.files.last_mut()) else { return };
        let flushed = flushed.filter(|flushed| flushed.number == part.number);
        let (bytes, appends) = flushed.map_or((0, 0), |flushed| (flushed.bytes, flushed.appends));
        if file.set_len(bytes).is_ok() {
            self.queued -= part.appends - appends;
            (part.bytes, part.appends) = (bytes, appends);
        }
    }

    fn begin_file(&mut self) -> Result<(), Error> {
        // What is in the file before has to be safe, too: nobody flushes it later.
        self.flush()?;
        let number = self.next;
        self.next += 1;
        let file = OpenOptions::new().create_new(true).write(true).open(self.path(number));
        self.newest = Some(file.map_err(|error| io(&self.folder, error))?);
        self.files.push(Part { number, bytes: 0, appends: 0 });
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(|error| io(&self.folder, error))
    }

    /// Looks through a file that was there before.
    fn look(&mut self, number: u64, is_newest: bool) -> Result<(), Error> {
        let path = self.path(number);
        let mut file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|error| io(&path, error))?;
        let length = file.metadata().map_err(|error| io(&path, error))?.len();
        let mut part = Part { number, bytes: 0, appends: 0 };
        while part.bytes < length {
            match read_frame(&mut file, length - part.bytes).map_err(|error| io(&path, error))? {
                Some(body) if decode(&body).is_some() => {
                    part.bytes += (HEAD + body.len()) as u64;
                    part.appends += 1;
                }
                _ if is_newest => {
                    tracing::warn!(
                        bytes = length - part.bytes,
                        "the end of the outbox was never finished; it is cut off"
                    );
                    file.set_len(part.bytes).map_err(|error| io(&path, error))?;
                    break;
                }
                _ => return Err(self.damaged(number, part.bytes)),
            }
        }
        self.queued += part.appends;
        self.files.push(part);
        Ok(())
    }

    /// Finds out how far the oldest file was sent.
    fn skip_sent(&mut self, noted: Option<(u64, u64)>) -> Result<(), Error> {
        let (Some(oldest), Some((number, offset))) = (self.files.first().copied(), noted) else {
            return self.drop_sent();
        };
        if number != oldest.number || offset > oldest.bytes {
            return self.drop_sent();
        }
        let mut file = File::open(self.path(number)).map_err(|error| io(&self.folder, error))?;
        while self.sent < offset {
            let body =
                read_frame(&mut file, oldest.bytes - self.sent).map_err(|error| io(&self.folder, error))?;
            let Some(body) = body else { break };
            self.sent += (HEAD + body.len()) as u64;
            self.queued -= 1;
        }
        self.drop_sent()
    }

    fn note_sent(&self) -> Result<(), Error> {
        let Some(oldest) = self.files.first() else { return Ok(()) };
        let mut bytes = [oldest.number.to_le_bytes(), self.sent.to_le_bytes()].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let (new, path) = (self.folder.join("sent.new"), self.folder.join("sent"));
        let written = std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, &path));
        written.map_err(|error| io(&path, error))
    }

    /// Removes the oldest file once everything in it was sent.
    fn drop_sent(&mut self) -> Result<(), Error> {
        while self.files.first().is_some_and(|oldest| self.sent >= oldest.bytes) {
            let oldest = self.files.remove(0);
            self.sent = 0;
            if self.files.is_empty() {
                self.newest = None;
            }
            std::fs::remove_file(self.path(oldest.number)).map_err(|error| io(&self.folder, error))?;
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}.box"))
    }

    fn damaged(&self, number: u64, offset: u64) -> Error {
        let path = self.path(number);
        Error::new(ErrorKind::Corrupt).with_context(format!(
            "the outbox file {} is damaged at byte {offset}; move it away to go on without what it holds",
            path.display()
        ))
    }
}

/// The next body; `None` when what follows is no whole and good frame.
fn read_frame(file: &mut File, left: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEAD];
    if left < HEAD as u64 {
        return Ok(None);
    }
    file.read_exact(&mut head)?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, sum) = (number(0) as usize, number(4));
    if length > BODY_MAX || length as u64 > left - HEAD as u64 {
        return Ok(None);
    }
    let mut body = vec![0; length];
    file.read_exact(&mut body)?;
    Ok((crc32c::crc32c(&body) == sum).then_some(body))
}

fn read_sent(bytes: &[u8]) -> Option<(u64, u64)> {
    let (numbers, sum) = bytes.split_at_checked(16)?;
    let is_good = sum == crc32c::crc32c(numbers).to_le_bytes();
    let number = |at: usize| Some(u64::from_le_bytes(numbers.get(at..at + 8)?.try_into().ok()?));
    Some((number(0)?, number(8)?)).filter(|_| is_good)
}

fn encode(producer: &[u8], append: &Append) -> Vec<u8> {
    let mut body = Vec::new();
    let mut text = |bytes: &[u8]| {
        body.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(bytes);
    };
    text(producer);
    text(&append.append_id);
    text(&append.stream);
    for (name, value) in &append.fields {
        text(name);
        text(value);
    }
    body
}

fn decode(body: &[u8]) -> Option<Stored> {
    let mut rest = body;
    let mut text = || {
        let (length, behind) = rest.split_at_checked(4)?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let (text, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some((text.to_vec(), behind.is_empty()))
    };
    let ((producer, _), (append_id, _), (stream, mut is_end)) = (text()?, text()?, text()?);
    let mut fields = Vec::new();
    while !is_end {
        let (name, _) = text()?;
        let (value, ends) = text()?;
        fields.push((name, value));
        is_end = ends;
    }
    Some(Stored { producer, append: Append { stream, append_id, fields } })
}

fn io(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io).with_context(format!("the outbox at {}", path.display())).with_source(error)
}
