//! Finding the end of a reply without reading it.
//!
//! One counter of replies still to come replaces a stack: an aggregate of n elements owes n more. So nesting
//! costs nothing here, and a scan that stopped in mid-reply goes on where it was.

use crate::number::{LengthLine, length_line};
use crate::reply::ReplyError;
use memchr::memchr;

/// Elements one aggregate may announce to the scanner; a hostile count is noticed before the counter overflows.
const ANNOUNCED_MAX: i64 = u32::MAX as i64;

/// Finds the end of a reply that arrives in pieces; every byte is looked at about once.
#[derive(Debug, Clone)]
pub struct ReplyScanner {
    position: usize,
    pending: u64,
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplyScanner {
    /// A scanner at the start of a reply.
    #[must_use]
    pub const fn new() -> Self {
        Self { position: 0, pending: 1 }
    }

    /// The length in bytes of the reply at the front of `buffer`, or `None` when it is not complete: call again
    /// with a buffer that begins with the same bytes. After a length it stands at the start of a reply again.
    ///
    /// RESP3 attributes count as part of the reply they precede.
    ///
    /// # Errors
    /// When the bytes are no RESP.
    #[inline]
    pub fn advance(&mut self, buffer: &[u8]) -> Result<Option<usize>, ReplyError> {
        while self.pending > 0 {
            let Some(kind) = buffer.get(self.position) else {
                return Ok(None);
            };
            let next = match kind {
                b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => line_end(buffer, self.position + 1),
                b'$' | b'=' | b'!' => bulk_end(buffer, self.position + 1)?,
                b'*' | b'~' | b'>' | b'%' | b'|' => self.aggregate(*kind, buffer)?,
                other => return Err(ReplyError::UnknownType(*other)),
            };
            let Some(next) = next else {
                return Ok(None);
            };
            self.position = next;
            self.pending -= u64::from(*kind != b'|');
        }
        let length = self.position;
        *self = Self::new();
        Ok(Some(length))
    }

    /// Reads an aggregate's header and owes its elements.
    #[inline]
    fn aggregate(&mut self, kind: u8, buffer: &[u8]) -> Result<Option<usize>, ReplyError> {
        let (count, next) = match length_line(buffer, self.position + 1, 0) {
            LengthLine::Value { value, next } => (value, next),
            LengthLine::Bad { .. } => return Err(ReplyError::BadLength),
            LengthLine::Partial => return Ok(None),
        };
        let null = kind == b'*' && count == -1;
        if !null && !(0..=ANNOUNCED_MAX).contains(&count) {
            return Err(ReplyError::BadLength);
        }
        let per_element = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
        let owed = count.max(0).unsigned_abs() * per_element;
        self.pending = self.pending.checked_add(owed).ok_or(ReplyError::BadLength)?;
        Ok(Some(next))
    }
}

/// The length in bytes of the reply at the front of `buffer`; `None` when it is not complete.
///
/// # Errors
/// When the bytes are no RESP.
#[inline]
pub fn skip_reply(buffer: &[u8]) -> Result<Option<usize>, ReplyError> {
    ReplyScanner::new().advance(buffer)
}

/// The offset behind the line that starts at `start`.
fn line_end(buffer: &[u8], start: usize) -> Option<usize> {
    let end = start + memchr(b'\n', buffer.get(start..)?)?;
    Some(end + 1)
}

/// The offset behind the bulk string whose length line starts at `start`.
#[inline]
fn bulk_end(buffer: &[u8], start: usize) -> Result<Option<usize>, ReplyError> {
    match length_line(buffer, start, 0) {
        LengthLine::Value { value: -1, next } => Ok(Some(next)),
        LengthLine::Value { value, next } => {
            let length = usize::try_from(value).map_err(|_| ReplyError::BadLength)?;
            let end =
                next.checked_add(length).and_then(|end| end.checked_add(2)).ok_or(ReplyError::BadLength)?;
            Ok((end <= buffer.len()).then_some(end))
        }
        LengthLine::Bad { .. } => Err(ReplyError::BadLength),
        LengthLine::Partial => Ok(None),
    }
}
