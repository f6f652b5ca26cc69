//! Writing replies (servers) and commands (clients) into a byte vector.
//!
//! What RESP2 and RESP3 say differently is decided here and nowhere else: a reply is written once, in the
//! words of RESP3, and comes out in the protocol of the connection.
//!
//! Never checks that an aggregate gets as many elements as its header announced; that is the caller's part.

use std::io::Write as _;

use crate::ProtocolError;

/// The protocol version a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proto {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// Bytes the longest `type + i64 + CR LF` takes.
const HEADER_MAX: usize = 24;
const CRLF: &[u8] = b"\r\n";

/// Writes replies to the end of `out`.
///
/// ```
/// use weir_resp::{Proto, Writer};
///
/// let mut out = Vec::new();
/// let mut reply = Writer::new(&mut out, Proto::Resp3);
/// reply.map(1);
/// reply.bulk(b"lag");
/// reply.null();
/// assert_eq!(out, b"%1\r\n$3\r\nlag\r\n_\r\n");
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    proto: Proto,
}

/// The place of an array's header that waits for its number of elements; see [`Writer::array_later`].
#[derive(Debug)]
#[must_use = "without Writer::finish_array the array stays empty"]
pub struct DeferredArray {
    at: usize,
}

impl<'a> Writer<'a> {
    /// A writer for a connection that speaks `proto`.
    #[inline]
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>, proto: Proto) -> Self {
        Self { out, proto }
    }

    /// The protocol this writer speaks.
    #[inline]
    #[must_use]
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// Bytes in the vector so far, whoever wrote them.
    #[inline]
    #[must_use]
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Takes back everything written since [`Writer::position`] gave `position`.
    pub fn rewind(&mut self, position: usize) {
        self.out.truncate(position);
    }

    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. Line ends inside it become blanks.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error with its code word: `error(b"ERR syntax error")`. Line ends inside it become blanks.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// The answer to a request that cannot be read, `-ERR Protocol error: …`.
    pub fn protocol_error(&mut self, error: ProtocolError) {
        self.out.extend_from_slice(b"-ERR ");
        error.append_text(self.out);
        self.out.extend_from_slice(CRLF);
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        push_number(self.out, b':', value);
    }

    /// An integer from a count. RESP integers are signed: beyond `i64::MAX` the count is cut to it.
    #[inline]
    pub fn count(&mut self, value: u64) {
        self.int(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.out.reserve(HEADER_MAX + bytes.len() + CRLF.len());
        push_length(self.out, b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(CRLF);
    }

    /// A number as a bulk string, as in the summary of XPENDING or in `HELLO`.
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value));
    }

    /// An entry ID, `ms-seq`, as a bulk string.
    #[inline]
    pub fn entry_id(&mut self, ms: u64, seq: u64) {
        let (mut ms_digits, mut seq_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (ms, seq) = (ms_digits.format(ms).as_bytes(), seq_digits.format(seq).as_bytes());
        self.out.reserve(HEADER_MAX + ms.len() + seq.len() + 3);
        push_length(self.out, b'$', ms.len() + 1 + seq.len());
        self.out.extend_from_slice(ms);
        self.out.push(b'-');
        self.out.extend_from_slice(seq);
        self.out.extend_from_slice(CRLF);
    }

    /// No value where there could be one: `$-1`, `_`.
    #[inline]
    pub fn null(&mut self) {
        let text: &[u8] = if self.proto == Proto::Resp3 { b"_\r\n" } else { b"$-1\r\n" };
        self.out.extend_from_slice(text);
    }

    /// No array where there could be one: `*-1`, `_`.
    #[inline]
    pub fn null_array(&mut self) {
        let text: &[u8] = if self.proto == Proto::Resp3 { b"_\r\n" } else { b"*-1\r\n" };
        self.out.extend_from_slice(text);
    }

    /// The header of an array; `len` elements follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        push_length(self.out, b'*', len);
    }

    /// The header of a map; `pairs` keys, each followed by its value, follow. RESP2: a flat array.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        match self.proto {
            Proto::Resp2 => push_length(self.out, b'*', pairs * 2),
            Proto::Resp3 => push_length(self.out, b'%', pairs),
        }
    }

    /// The header of a set; `len` elements follow. RESP2: an array.
    #[inline]
    pub fn set(&mut self, len: usize) {
        push_length(self.out, if self.proto == Proto::Resp3 { b'~' } else { b'*' }, len);
    }

    /// The header of a message nobody asked for; `len` elements follow. RESP2: an array.
    #[inline]
    pub fn push(&mut self, len: usize) {
        push_length(self.out, if self.proto == Proto::Resp3 { b'>' } else { b'*' }, len);
    }

    /// The header of an array whose number of elements is known only after they are written.
    pub fn array_later(&mut self) -> DeferredArray {
        let at = self.out.len();
        self.array(0);
        DeferredArray { at }
    }

    /// Settles the number of elements written since `array_later`. Costs a move of them when there are ten or more.
    ///
    /// # Panics
    /// When what was written since `array_later` has been taken back by [`Writer::rewind`].
    pub fn finish_array(&mut self, array: DeferredArray, len: usize) {
        let mut header = Vec::with_capacity(HEADER_MAX);
        push_length(&mut header, b'*', len);
        self.out.splice(array.at..array.at + b"*0\r\n".len(), header);
    }

    /// Text for people, as INFO gives: verbatim `txt` in RESP3, bulk in RESP2.
    pub fn verbatim(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => {
                push_length(self.out, b'=', text.len() + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(CRLF);
            }
        }
    }

    /// A floating point number: `,1.5` or a bulk string. Infinities are `inf` and `-inf`, no number is `nan`.
    pub fn double(&mut self, value: f64) {
        let mut text = Vec::with_capacity(HEADER_MAX);
        format_double(&mut text, value);
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => self.line(b',', &text),
        }
    }

    /// A truth value: `#t` and `#f`, or `:1` and `:0`.
    pub fn bool(&mut self, value: bool) {
        let text: &[u8] = match (self.proto, value) {
            (Proto::Resp3, true) => b"#t\r\n",
            (Proto::Resp3, false) => b"#f\r\n",
            (Proto::Resp2, true) => b":1\r\n",
            (Proto::Resp2, false) => b":0\r\n",
        };
        self.out.extend_from_slice(text);
    }

    /// Bytes that already are RESP.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(kind);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        if memchr::memchr2(b'\r', b'\n', text).is_some() {
            for byte in &mut self.out[start..] {
                if matches!(byte, b'\r' | b'\n') {
                    *byte = b' ';
                }
            }
        }
        self.out.extend_from_slice(CRLF);
    }
}

/// Writes one command as a client sends it: an array of bulk strings.
///
/// ```
/// let mut out = Vec::new();
/// weir_resp::command(&mut out, ["XLEN", "orders"]);
/// assert_eq!(out, b"*2\r\n$4\r\nXLEN\r\n$6\r\norders\r\n");
/// ```
pub fn command<I>(out: &mut Vec<u8>, words: I)
where
    I: IntoIterator<Item: AsRef<[u8]>, IntoIter: ExactSizeIterator>,
{
    let words = words.into_iter();
    push_command_header(out, words.len());
    let mut writer = Writer::new(out, Proto::Resp2);
    for word in words {
        writer.bulk(word);
    }
}

/// Writes the header of a command of `words` words; each follows through [`Writer::bulk`].
pub fn push_command_header(out: &mut Vec<u8>, words: usize) {
    push_length(out, b'*', words);
}

#[inline]
fn push_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    // Most lengths have one or two digits; building those by hand costs half of the general way.
    let low = (length % 10) as u8 + b'0';
    if length < 10 {
        out.extend_from_slice(&[kind, low, b'\r', b'\n']);
    } else if length < 100 {
        out.extend_from_slice(&[kind, (length / 10) as u8 + b'0', low, b'\r', b'\n']);
    } else {
        push_digits(out, kind, itoa::Buffer::new().format(length));
    }
}

#[inline]
fn push_number(out: &mut Vec<u8>, kind: u8, value: i64) {
    match usize::try_from(value) {
        Ok(length) => push_length(out, kind, length),
        Err(_) => push_digits(out, kind, itoa::Buffer::new().format(value)),
    }
}

fn push_digits(out: &mut Vec<u8>, kind: u8, digits: &str) {
    out.reserve(HEADER_MAX);
    out.push(kind);
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(CRLF);
}

fn format_double(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    let written = if value.is_nan() {
        write!(out, "nan")
    } else if value.is_infinite() || size == 0.0 || (1e-5..1e17).contains(&size) {
        write!(out, "{value}")
    } else {
        write!(out, "{value:e}")
    };
    written.expect("writing to a vector cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Writer<'_>)) -> (String, String) {
        let written = |proto| {
            let mut out = Vec::new();
            write(&mut Writer::new(&mut out, proto));
            String::from_utf8(out).unwrap().replace("\r\n", " ")
        };
        (written(Proto::Resp2), written(Proto::Resp3))
    }

    #[track_caller]
    fn check(write: impl Fn(&mut Writer<'_>), resp2: &str, resp3: &str) {
        assert_eq!(both(write), (resp2.to_owned(), resp3.to_owned()));
    }

    #[test]
    fn the_table_of_both_protocols() {
        check(|w| w.null(), "$-1 ", "_ ");
        check(|w| w.null_array(), "*-1 ", "_ ");
        check(|w| w.map(3), "*6 ", "%3 ");
        check(|w| w.set(2), "*2 ", "~2 ");
        check(|w| w.push(3), "*3 ", ">3 ");
        check(|w| w.verbatim("a:1"), "$3 a:1 ", "=7 txt:a:1 ");
        check(|w| w.bool(true), ":1 ", "#t ");
        check(|w| w.double(1.5), "$3 1.5 ", ",1.5 ");
        check(|w| w.double(f64::INFINITY), "$3 inf ", ",inf ");
        check(|w| w.double(1e300), "$5 1e300 ", ",1e300 ");
        check(|w| w.array(128), "*128 ", "*128 ");
        check(|w| w.entry_id(1_795_191_949_931, 0), "$15 1795191949931-0 ", "$15 1795191949931-0 ");
        check(|w| w.bulk_int(-12), "$3 -12 ", "$3 -12 ");
        check(|w| w.count(u64::MAX), ":9223372036854775807 ", ":9223372036854775807 ");
    }

    #[test]
    fn numbers_of_every_width() {
        for value in [0, 9, 10, 99, 100, 12_345, i64::MAX, -1, -10, i64::MIN] {
            check(|w| w.int(value), &format!(":{value} "), &format!(":{value} "));
        }
    }

    #[test]
    fn a_line_stays_a_line() {
        check(
            |w| w.error("ERR unknown command 'a\r\nb'"),
            "-ERR unknown command 'a  b' ",
            "-ERR unknown command 'a  b' ",
        );
        check(
            |w| w.protocol_error(ProtocolError::ExpectedDollar(b'\r')),
            "-ERR Protocol error: expected '$', got ' ' ",
            "-ERR Protocol error: expected '$', got ' ' ",
        );
    }

    #[test]
    fn an_array_may_learn_its_length_late() {
        for len in [0, 3, 12] {
            let elements = ":1 ".repeat(len);
            let expected = format!("*2 *{len} {elements}:7 ");
            let write = |w: &mut Writer<'_>| {
                w.array(2);
                let array = w.array_later();
                (0..len).for_each(|_| w.int(1));
                w.finish_array(array, len);
                w.int(7);
            };
            check(write, &expected, &expected);
        }
    }
}
