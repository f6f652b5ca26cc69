//! Requests, as a server reads them: arrays of bulk strings, or inline lines.
//!
//! The decoder works on the bytes received so far and remembers how far it came. It is told nothing about
//! sockets: whoever owns the read buffer calls it after each read.
//!
//! Invariants:
//! * A byte is looked at once (a length line at most twice), in however many pieces the request arrives.
//! * Memory grows with bytes received, never with a count that a peer merely announces.

use memchr::memchr;

use crate::ProtocolError;
use crate::args::Args;
use crate::inline;
use crate::number::{LengthLine, length_line};

/// Arguments an unauthenticated client may send.
const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
/// Bytes one argument of an unauthenticated client may have.
const UNAUTHENTICATED_BULK_MAX: i64 = 16 * 1024;

/// What a request may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one request, the command's name included. Default 1 048 576.
    pub args_max: u32,
    /// Bytes of one argument. Default 512 MiB.
    pub bulk_max: u32,
    /// Bytes of an inline request or of a length line, without the line end; at least 32. Default 64 KiB.
    pub inline_max: u32,
    /// Bytes of one whole request, framing included. Default 1 GiB.
    pub request_max: u32,
    /// Whether the stricter limits for strangers hold as well. Default [`Peer::Authenticated`].
    pub peer: Peer,
}

impl Limits {
    /// The defaults named at each field.
    pub const DEFAULT: Self = Self {
        args_max: 1024 * 1024,
        bulk_max: 512 * 1024 * 1024,
        inline_max: 64 * 1024,
        request_max: 1024 * 1024 * 1024,
        peer: Peer::Authenticated,
    };

    /// The same limits for a client that still has to authenticate.
    #[must_use]
    pub const fn unauthenticated(self) -> Self {
        Self { peer: Peer::Unauthenticated, ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether a client has yet to show who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It has, or need not.
    Authenticated,
    /// It must: ten arguments of 16 KiB are enough for that.
    Unauthenticated,
}

/// How far [`Decoder::decode`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// `args` holds a request that took `consumed` bytes from the front of the buffer.
    Complete {
        /// Bytes of the request.
        consumed: usize,
    },
    /// More bytes are needed. Call again with a buffer that begins with the same bytes.
    Incomplete {
        /// Calling again is useless before the buffer has this many bytes, those it has now included.
        need_at_least: usize,
    },
    /// Nothing to execute: an empty line, `*0` or a negative count. Skip `consumed` bytes.
    Empty {
        /// Bytes to skip.
        consumed: usize,
    },
    /// The command is called `POST` or `Host:`: a browser was tricked into talking to this port.
    /// Close the connection without an answer.
    HttpRequest,
    /// Answer the error and close the connection.
    Error(ProtocolError),
}

/// Reads the requests of one connection, one after the other.
///
/// ```
/// use weir_resp::{Args, Decoder, Limits, Progress};
///
/// let (mut decoder, mut args) = (Decoder::new(), Args::new());
/// let buffer = b"*2\r\n$4\r\nXLEN\r\n$1\r\ns\r\nPING\r\n";
/// let progress = decoder.decode(buffer, &mut args, &Limits::DEFAULT);
/// assert_eq!(progress, Progress::Complete { consumed: 21 });
/// assert_eq!(&args.of(buffer)[0], b"XLEN");
///
/// decoder.decode(&buffer[21..], &mut args, &Limits::DEFAULT);
/// assert_eq!(&args.of(&buffer[21..])[0], b"PING");
/// ```
///
/// After [`Progress::Incomplete`] the next call needs the same `Args` and a buffer whose first bytes are the
/// same (it may have moved). After every other outcome the decoder stands at the start of a request again.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Arguments of the current request still to come; 0 before its header was read.
    args_left: u32,
    /// The length of the argument at `position`, once its length line was read.
    bulk: Option<u32>,
    /// Offset of the first byte not yet understood.
    position: usize,
    /// No line end stands between `position` and this offset.
    scanned: usize,
}

impl Decoder {
    /// A decoder at the start of a request.
    #[must_use]
    pub const fn new() -> Self {
        Self { args_left: 0, bulk: None, position: 0, scanned: 0 }
    }

    /// Whether it stands at the start of a request, with nothing kept in `Args`.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.args_left == 0 && self.scanned == 0
    }

    /// Reads the request at the front of `buffer` as far as it is there.
    #[inline]
    pub fn decode(&mut self, buffer: &[u8], args: &mut Args, limits: &Limits) -> Progress {
        let progress = self.advance(buffer, args, limits);
        match progress {
            Progress::Incomplete { .. } => {}
            Progress::Complete { .. } if is_http(args, buffer) => {
                *self = Self::new();
                return Progress::HttpRequest;
            }
            _ => *self = Self::new(),
        }
        progress
    }

    #[inline]
    fn advance(&mut self, buffer: &[u8], args: &mut Args, limits: &Limits) -> Progress {
        if self.args_left == 0 {
            args.clear();
            match buffer.first() {
                None => return Progress::Incomplete { need_at_least: 1 },
                Some(b'*') => {}
                Some(_) => return self.inline(buffer, args, limits),
            }
            if let Some(outcome) = self.header(buffer, limits) {
                return outcome;
            }
        }
        self.arguments(buffer, args, limits)
    }

    /// Reads `*n`; `None` when arguments follow.
    #[inline]
    fn header(&mut self, buffer: &[u8], limits: &Limits) -> Option<Progress> {
        let (count, next) = match self.length(buffer, limits) {
            Ok(Some(read)) => read,
            Ok(None) => return Some(self.wait_for_line(buffer)),
            Err(LineError::TooLong) => return Some(Progress::Error(ProtocolError::TooBigMultibulkCount)),
            Err(LineError::NoNumber) => return Some(Progress::Error(ProtocolError::InvalidMultibulkLength)),
        };
        if count <= 0 {
            return Some(Progress::Empty { consumed: next });
        }
        if count > i64::from(limits.args_max) {
            return Some(Progress::Error(ProtocolError::InvalidMultibulkLength));
        }
        if count > UNAUTHENTICATED_ARGS_MAX && limits.peer == Peer::Unauthenticated {
            return Some(Progress::Error(ProtocolError::UnauthenticatedMultibulkLength));
        }
        self.args_left = u32::try_from(count).expect("compared with a u32 above");
        self.move_to(next);
        None
    }

    #[inline]
    fn arguments(&mut self, buffer: &[u8], args: &mut Args, limits: &Limits) -> Progress {
        while self.args_left > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => match self.bulk_length(buffer, limits) {
                    Ok(Some(length)) => length,
                    Ok(None) => return self.wait_for_line(buffer),
                    Err(error) => return Progress::Error(error),
                },
            } as usize;
            let end = self.position + length;
            // What stands where CR LF belongs is skipped without a look, as Redis does.
            if end + 2 > limits.request_max as usize {
                return Progress::Error(ProtocolError::TooBigRequest);
            }
            if end + 2 > buffer.len() {
                return Progress::Incomplete { need_at_least: end + 2 };
            }
            args.push(self.position, end);
            self.args_left -= 1;
            self.bulk = None;
            self.move_to(end + 2);
        }
        Progress::Complete { consumed: self.position }
    }

    /// Reads `$n`; `None` when the line is not complete.
    #[inline]
    fn bulk_length(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<u32>, ProtocolError> {
        let read = match self.length(buffer, limits) {
            Ok(Some(read)) => Ok(read),
            Ok(None) => return Ok(None),
            Err(LineError::TooLong) => return Err(ProtocolError::TooBigBulkCount),
            Err(LineError::NoNumber) => Err(ProtocolError::InvalidBulkLength),
        };
        if buffer[self.position] != b'$' {
            return Err(ProtocolError::ExpectedDollar(buffer[self.position]));
        }
        let (length, next) = read?;
        if length < 0 || length > i64::from(limits.bulk_max) {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if length > UNAUTHENTICATED_BULK_MAX && limits.peer == Peer::Unauthenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        let length = u32::try_from(length).expect("compared with a u32 above");
        self.bulk = Some(length);
        self.move_to(next);
        Ok(Some(length))
    }

    /// Reads a type byte and a number: the number and the offset behind the line.
    #[inline]
    fn length(&self, buffer: &[u8], limits: &Limits) -> Result<Option<(i64, usize)>, LineError> {
        let line_max = limits.inline_max as usize;
        match length_line(buffer, self.position + 1, self.scanned) {
            LengthLine::Value { value, next } => Ok(Some((value, next))),
            LengthLine::Bad { end } if end - self.position > line_max => Err(LineError::TooLong),
            LengthLine::Bad { .. } => Err(LineError::NoNumber),
            LengthLine::Partial => {
                // A final CR that still waits for its LF is no part of the line.
                let ended = usize::from(buffer.last() == Some(&b'\r'));
                let length = buffer.len().saturating_sub(self.position + ended);
                if length > line_max { Err(LineError::TooLong) } else { Ok(None) }
            }
        }
    }

    fn inline(&mut self, buffer: &[u8], args: &mut Args, limits: &Limits) -> Progress {
        let line_max = limits.inline_max as usize;
        let Some(found) = memchr(b'\n', &buffer[self.scanned.min(buffer.len())..]) else {
            if buffer.len() > line_max {
                return Progress::Error(ProtocolError::TooBigInline);
            }
            self.scanned = buffer.len();
            return Progress::Incomplete { need_at_least: buffer.len() + 1 };
        };
        let end = self.scanned + found;
        if end > line_max {
            return Progress::Error(ProtocolError::TooBigInline);
        }
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        match inline::split(line, args) {
            Err(error) => Progress::Error(error),
            Ok(()) if args.is_empty() => Progress::Empty { consumed: end + 1 },
            Ok(()) => Progress::Complete { consumed: end + 1 },
        }
    }

    fn wait_for_line(&mut self, buffer: &[u8]) -> Progress {
        // A CR at the very end is looked at again, together with what follows it.
        let ended = usize::from(buffer.last() == Some(&b'\r'));
        self.scanned = buffer.len() - ended;
        Progress::Incomplete { need_at_least: buffer.len() + 1 }
    }

    fn move_to(&mut self, position: usize) {
        self.position = position;
        self.scanned = position;
    }
}

/// Why a length line gives no number.
enum LineError {
    TooLong,
    NoNumber,
}

#[inline]
fn is_http(args: &Args, buffer: &[u8]) -> bool {
    args.of(buffer).get(0).is_some_and(|name| match name.len() {
        4 => name.eq_ignore_ascii_case(b"POST"),
        5 => name.eq_ignore_ascii_case(b"Host:"),
        _ => false,
    })
}
