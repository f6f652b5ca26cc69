//! Entry points for fuzzers: bytes in, a panic when an invariant is broken. Not part of the interface.

use crate::{
    Args, Decoder, Limits, Progress, ProtocolError, Reply, ReplyCursor, ReplyLimits, ReplyScanner,
    decode_reply, skip_reply,
};

/// One thing a decoder reported, with copies of the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A request.
    Request(Vec<Vec<u8>>),
    /// Something without effect.
    Empty,
    /// A browser's request; nothing is read behind it.
    Http,
    /// An error; nothing is read behind it.
    Error(ProtocolError),
}

/// Feeds `data` in pieces of `piece` bytes (at least one) and collects what comes out.
///
/// # Panics
/// When the decoder breaks an invariant.
#[must_use]
pub fn requests_in_pieces(data: &[u8], piece: usize, limits: &Limits) -> Vec<Seen> {
    let (mut decoder, mut args, mut seen) = (Decoder::new(), Args::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        let buffer = &data[start..end];
        let consumed = match decoder.decode(buffer, &mut args, limits) {
            Progress::Complete { consumed } => {
                assert!(!args.is_empty(), "a complete request has a name");
                seen.push(Seen::Request(args.of(buffer).iter().map(<[u8]>::to_vec).collect()));
                consumed
            }
            Progress::Empty { consumed } => {
                seen.push(Seen::Empty);
                consumed
            }
            Progress::Incomplete { need_at_least } => {
                assert!(need_at_least > buffer.len(), "incomplete means that more is needed");
                if end == data.len() {
                    return seen;
                }
                end = (end + piece.max(1)).min(data.len());
                continue;
            }
            Progress::HttpRequest => {
                seen.push(Seen::Http);
                return seen;
            }
            Progress::Error(error) => {
                seen.push(Seen::Error(error));
                return seen;
            }
        };
        assert!(
            consumed > 0 && consumed <= buffer.len(),
            "something is consumed, and not more than there is"
        );
        assert!(decoder.is_idle(), "a finished request leaves nothing behind");
        start += consumed;
    }
}

/// Any bytes as requests: in one piece, byte by byte and in sevens the outcome is the same.
///
/// # Panics
/// When it is not.
pub fn requests(data: &[u8]) {
    let small =
        Limits { args_max: 64, bulk_max: 4_096, inline_max: 256, request_max: 8_192, ..Limits::DEFAULT };
    for limits in [Limits::DEFAULT, small, small.unauthenticated()] {
        let whole = requests_in_pieces(data, data.len(), &limits);
        for piece in [1, 7] {
            assert_eq!(requests_in_pieces(data, piece, &limits), whole, "in pieces of {piece}");
        }
    }
}

/// Any bytes as replies: reading and skipping agree, and skipping does not depend on the pieces.
///
/// # Panics
/// When they do not.
pub fn replies(data: &[u8]) {
    let mut scanner = ReplyScanner::new();
    let resumed = (0..=data.len()).map(|end| scanner.advance(&data[..end])).find(|found| *found != Ok(None));
    let skipped = skip_reply(data);
    assert_eq!(resumed.unwrap_or(Ok(None)), skipped, "a scan in pieces ends where a scan at once does");
    if let Ok(Reply::Complete { consumed, .. }) = decode_reply(data, &ReplyLimits::DEFAULT) {
        assert_eq!(skipped, Ok(Some(consumed)), "what can be read can be skipped");
    }
    walk(data);
}

/// Enters every aggregate it meets and passes everything else: it must end.
fn walk(data: &[u8]) {
    let mut cursor = ReplyCursor::new(data);
    while !cursor.is_at_end() {
        let before = cursor.rest().len();
        if cursor.aggregate().is_err() && cursor.text().is_err() && cursor.skip().is_err() {
            return;
        }
        assert!(cursor.rest().len() < before, "reading moves on");
    }
}
