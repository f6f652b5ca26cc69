//! Walking through a reply without copying it: for readers that know what shape they expect.

use crate::number::{LengthLine, length_line, parse_i64};
use crate::reply::ReplyError;
use crate::scan::skip_reply;

/// A place in the bytes of a complete reply.
///
/// Every method reads one value and moves behind it. What is not of the expected type is
/// [`ReplyError::Unexpected`]; bytes that end too early are [`ReplyError::Truncated`].
///
/// ```
/// use weir_resp::ReplyCursor;
///
/// let mut entry = ReplyCursor::new(b"*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n");
/// assert_eq!(entry.aggregate(), Ok(Some(2)));
/// assert_eq!(entry.text(), Ok(Some(&b"1-1"[..])));
/// entry.skip().unwrap();
/// assert!(entry.is_at_end());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ReplyCursor<'a> {
    rest: &'a [u8],
}

impl<'a> ReplyCursor<'a> {
    /// A cursor at the front of `reply`.
    #[must_use]
    pub fn new(reply: &'a [u8]) -> Self {
        Self { rest: reply }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Enters an array, set, push or map: the number of values inside (two for each pair of a map), or `None`
    /// for a null.
    ///
    /// # Errors
    /// See [`ReplyCursor`].
    pub fn aggregate(&mut self) -> Result<Option<usize>, ReplyError> {
        match self.kind()? {
            b'_' => self.null(),
            b'*' | b'~' | b'>' => self.length(),
            b'%' => self.length()?.map(|pairs| pairs.checked_mul(2).ok_or(ReplyError::BadLength)).transpose(),
            _ => Err(ReplyError::Unexpected),
        }
    }

    /// Reads a bulk or simple string, or `None` for a null.
    ///
    /// # Errors
    /// See [`ReplyCursor`].
    pub fn text(&mut self) -> Result<Option<&'a [u8]>, ReplyError> {
        match self.kind()? {
            b'_' => self.null(),
            b'+' => Ok(Some(self.line()?)),
            b'$' => {
                let Some(length) = self.length()? else { return Ok(None) };
                let text = self.rest.get(..length).ok_or(ReplyError::Truncated)?;
                self.rest = self.rest.get(length + 2..).ok_or(ReplyError::Truncated)?;
                Ok(Some(text))
            }
            _ => Err(ReplyError::Unexpected),
        }
    }

    /// Reads an integer.
    ///
    /// # Errors
    /// See [`ReplyCursor`].
    pub fn int(&mut self) -> Result<i64, ReplyError> {
        match self.kind()? {
            b':' => parse_i64(self.line()?).ok_or(ReplyError::BadValue),
            _ => Err(ReplyError::Unexpected),
        }
    }

    /// Passes one whole value, whatever its type, and gives its bytes.
    ///
    /// # Errors
    /// See [`ReplyCursor`].
    pub fn skip(&mut self) -> Result<&'a [u8], ReplyError> {
        let end = skip_reply(self.rest)?.ok_or(ReplyError::Truncated)?;
        let (skipped, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(skipped)
    }

    fn kind(&self) -> Result<u8, ReplyError> {
        self.rest.first().copied().ok_or(ReplyError::Truncated)
    }

    fn null<T>(&mut self) -> Result<Option<T>, ReplyError> {
        if self.line()?.is_empty() { Ok(None) } else { Err(ReplyError::BadValue) }
    }

    /// Passes the type byte and the length line; `None` for -1.
    fn length(&mut self) -> Result<Option<usize>, ReplyError> {
        match length_line(self.rest, 1, 0) {
            LengthLine::Value { value, next } => {
                self.rest = &self.rest[next..];
                if value == -1 {
                    Ok(None)
                } else {
                    usize::try_from(value).map(Some).map_err(|_| ReplyError::BadLength)
                }
            }
            LengthLine::Bad { .. } => Err(ReplyError::BadLength),
            LengthLine::Partial => Err(ReplyError::Truncated),
        }
    }

    /// The line behind the type byte.
    fn line(&mut self) -> Result<&'a [u8], ReplyError> {
        let end = memchr::memchr(b'\n', self.rest).ok_or(ReplyError::Truncated)?;
        let line = &self.rest[1..end];
        self.rest = &self.rest[end + 1..];
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_protocols_are_walked_alike() {
        for hit in ["*1 *2 $1 s *1 *2 $3 5-0 *2 $1 a $1 1 ", "%1 $1 s *1 *2 $3 5-0 *2 $1 a $1 1 "] {
            let reply = hit.replace(' ', "\r\n");
            let mut cursor = ReplyCursor::new(reply.as_bytes());
            let outer = cursor.aggregate().unwrap().unwrap();
            if reply.starts_with('*') {
                assert_eq!((outer, cursor.aggregate()), (1, Ok(Some(2))));
            } else {
                assert_eq!(outer, 2);
            }
            assert_eq!(cursor.text(), Ok(Some(&b"s"[..])));
            assert_eq!(cursor.aggregate(), Ok(Some(1)));
            assert_eq!(cursor.aggregate(), Ok(Some(2)));
            assert_eq!(cursor.skip(), Ok(&b"$3\r\n5-0\r\n"[..]));
            assert_eq!(cursor.skip(), Ok("*2 $1 a $1 1 ".replace(' ', "\r\n").as_bytes()));
            assert!(cursor.is_at_end());
        }
    }

    #[test]
    fn surprises_are_errors() {
        assert_eq!(ReplyCursor::new(b"").int(), Err(ReplyError::Truncated));
        assert_eq!(ReplyCursor::new(b"$5\r\nab").text(), Err(ReplyError::Truncated));
        assert_eq!(ReplyCursor::new(b":1\r\n").text(), Err(ReplyError::Unexpected));
        assert_eq!(ReplyCursor::new(b"$-2\r\n").text(), Err(ReplyError::BadLength));
        assert_eq!(ReplyCursor::new(b"*9223372036854775807\r\n").skip(), Err(ReplyError::BadLength));
        assert_eq!(ReplyCursor::new(b"$9223372036854775807\r\n").text(), Err(ReplyError::Truncated));
        assert_eq!(ReplyCursor::new(b"*-1\r\n").aggregate(), Ok(None));
        assert_eq!(ReplyCursor::new(b"_\r\n").aggregate(), Ok(None));
        assert_eq!(ReplyCursor::new(b"$-1\r\n").text(), Ok(None));
    }
}
