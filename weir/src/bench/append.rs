//! Writing entries: XADD requests, built once and sent again and again.
//!
//! What changes from request to request is digits of a fixed width, written over in place: of the stream's name
//! where there are many streams, of the entry ID where it must be known later.

use anyhow::{Result, bail};
use weir_resp::{Proto, Writer, command, push_command_header};

use super::board::Board;
use super::drive::{Next, Script};
use super::random::Random;

/// The name of the one stream, and what the names of many begin with.
pub(super) const STREAM: &str = "weir-bench:stream";
/// Digits of a stream's number in its name.
const STREAM_DIGITS: usize = 10;
/// Entry IDs that must be known later are `ms-0`, with `ms` counting up from here.
const FIRST_MS: u64 = 1_000_000_000_000;
const MS_DIGITS: usize = 13;

/// Which stream an entry goes to.
#[derive(Debug, Clone)]
pub(super) enum Streams {
    /// The one.
    One,
    /// One of so many, in turn over all connections.
    InTurn(u64),
    /// One of so many, at random.
    Random(u64, Random),
}

/// How entries get their IDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// By the server.
    Auto,
    /// Counting up; only for a single connection.
    Counted,
}

/// Writes entries in batches.
#[derive(Debug)]
pub(super) struct Append {
    request: Vec<u8>,
    /// Where in the request the digits of the stream's number begin.
    stream_at: usize,
    /// Where in the request the digits of the ID's time begin.
    id_at: usize,
    streams: Streams,
    ids: Ids,
    pipeline: u64,
    /// Requests that the outgoing bytes hold.
    built: u64,
    /// The number of the next counted ID.
    next_id: u64,
}

impl Append {
    /// A writer of `pipeline` entries at a time, each with one field of `value_bytes`.
    pub(super) fn new(pipeline: u64, value_bytes: usize, streams: Streams, ids: Ids) -> Self {
        let (mut request, name) = (Vec::new(), stream_name(&streams, 0));
        push_command_header(&mut request, 5);
        let mut words = Writer::new(&mut request, Proto::Resp2);
        words.bulk("XADD");
        words.bulk(&name);
        let stream_at = words.position() - "\r\n".len() - STREAM_DIGITS.min(name.len());
        let id_at = words.position() + "$15\r\n".len();
        match ids {
            Ids::Auto => words.bulk("*"),
            Ids::Counted => words.entry_id(FIRST_MS, 0),
        }
        words.bulk("data");
        words.bulk(value(value_bytes));
        Self { request, stream_at, id_at, streams, ids, pipeline, built: 0, next_id: 0 }
    }

    /// Puts `count` requests into `out`.
    pub(super) fn build(&mut self, out: &mut Vec<u8>, count: u64, board: &mut Board) {
        if self.built != count {
            *out = self.request.repeat(usize::try_from(count).expect("a batch fits into memory"));
            self.built = count;
        }
        if matches!(self.streams, Streams::One) && self.ids == Ids::Auto {
            return;
        }
        for request in out.chunks_exact_mut(self.request.len()) {
            match &mut self.streams {
                Streams::One => {}
                Streams::InTurn(streams) => {
                    let number = board.turn() % *streams;
                    write_digits(&mut request[self.stream_at..][..STREAM_DIGITS], number);
                }
                Streams::Random(streams, random) => {
                    let number = random.below(*streams);
                    write_digits(&mut request[self.stream_at..][..STREAM_DIGITS], number);
                }
            }
            if self.ids == Ids::Counted {
                write_digits(&mut request[self.id_at..][..MS_DIGITS], FIRST_MS + self.next_id);
                self.next_id += 1;
            }
        }
    }
}

impl Script for Append {
    #[inline]
    fn next(&mut self, out: &mut Vec<u8>, board: &mut Board) -> Next {
        match board.take(self.pipeline) {
            0 => Next::End,
            count => {
                self.build(out, count, board);
                Next::Send(count)
            }
        }
    }

    #[inline]
    fn reply(&mut self, reply: &[u8], board: &mut Board) -> Result<()> {
        expect(reply, b'$')?;
        board.operations += 1;
        Ok(())
    }
}

/// Deletes all streams of a run, however many there are.
#[derive(Debug)]
pub(super) struct Delete {
    streams: Streams,
    /// The number of the first stream not deleted yet.
    next: u64,
    end: u64,
}

impl Delete {
    /// Streams named in one DEL.
    const NAMES_PER_COMMAND: u64 = 500;

    /// A deleter of everything `streams` may have written.
    pub(super) fn new(streams: Streams) -> Self {
        let end = match streams {
            Streams::One => 1,
            Streams::InTurn(number) | Streams::Random(number, _) => number,
        };
        Self { streams, next: 0, end }
    }
}

impl Script for Delete {
    fn next(&mut self, out: &mut Vec<u8>, _: &mut Board) -> Next {
        let numbers = self.next..self.end.min(self.next + Self::NAMES_PER_COMMAND);
        if numbers.is_empty() {
            return Next::End;
        }
        self.next = numbers.end;
        let names: Vec<String> = numbers.map(|number| stream_name(&self.streams, number)).collect();
        out.clear();
        command(out, std::iter::once("DEL").chain(names.iter().map(String::as_str)).collect::<Vec<_>>());
        Next::Send(1)
    }

    fn reply(&mut self, reply: &[u8], _: &mut Board) -> Result<()> {
        expect(reply, b':')
    }
}

/// Asks for ranges from random places of a stream written with [`Ids::Counted`].
#[derive(Debug)]
pub(super) struct Ranges {
    request: Vec<u8>,
    id_at: usize,
    pipeline: u64,
    built: u64,
    /// Places a range can start at.
    places: u64,
    random: Random,
}

impl Ranges {
    /// Ranges of `count` entries out of `prepared`, `pipeline` at a time.
    pub(super) fn new(pipeline: u64, prepared: u64, count: u64, random: Random) -> Self {
        let mut request = Vec::new();
        push_command_header(&mut request, 6);
        let mut words = Writer::new(&mut request, Proto::Resp2);
        words.bulk("XRANGE");
        words.bulk(STREAM);
        let id_at = words.position() + "$15\r\n".len();
        words.entry_id(FIRST_MS, 0);
        words.bulk("+");
        words.bulk("COUNT");
        words.bulk(count.to_string());
        Self { request, id_at, pipeline, built: 0, places: prepared.saturating_sub(count) + 1, random }
    }
}

impl Script for Ranges {
    fn next(&mut self, out: &mut Vec<u8>, board: &mut Board) -> Next {
        let count = board.take(self.pipeline);
        if count == 0 {
            return Next::End;
        }
        if self.built != count {
            *out = self.request.repeat(usize::try_from(count).expect("a batch fits into memory"));
            self.built = count;
        }
        for request in out.chunks_exact_mut(self.request.len()) {
            write_digits(&mut request[self.id_at..][..MS_DIGITS], FIRST_MS + self.random.below(self.places));
        }
        Next::Send(count)
    }

    fn reply(&mut self, reply: &[u8], board: &mut Board) -> Result<()> {
        expect(reply, b'*')?;
        board.operations += 1;
        Ok(())
    }
}

/// The name of stream `number`.
fn stream_name(streams: &Streams, number: u64) -> String {
    match streams {
        Streams::One => STREAM.to_owned(),
        Streams::InTurn(_) | Streams::Random(..) => format!("{STREAM}:{number:0STREAM_DIGITS$}"),
    }
}

/// Letters that do not repeat soon, so that nothing gains by compressing them.
fn value(bytes: usize) -> Vec<u8> {
    let mut random = Random::new(7);
    (0..bytes).map(|_| b'a' + u8::try_from(random.below(26)).expect("a letter")).collect()
}

/// Writes `number` with leading zeros over all of `place`.
fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Checks a reply's type; an error of the server ends the run with its text.
#[inline]
pub(super) fn expect(reply: &[u8], kind: u8) -> Result<()> {
    match reply.first() {
        Some(first) if *first == kind => Ok(()),
        _ => unexpected(reply),
    }
}

#[cold]
fn unexpected(reply: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(&reply[..reply.len().min(200)]).into_owned();
    bail!("the server answers: {}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_resp::Limits;
    use weir_resp::fuzz::{Seen, requests_in_pieces};

    fn words(bytes: &[u8]) -> Vec<Vec<String>> {
        let seen = requests_in_pieces(bytes, bytes.len(), &Limits::DEFAULT);
        let text =
            |words: Vec<Vec<u8>>| words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect();
        seen.into_iter()
            .map(|seen| match seen {
                Seen::Request(words) => text(words),
                other => panic!("{other:?} is no request"),
            })
            .collect()
    }

    fn batch(mut append: Append, limit: u64) -> Vec<Vec<String>> {
        let (mut out, mut board) = (Vec::new(), Board::new(Some(limit)));
        assert_eq!(append.next(&mut out, &mut board), Next::Send(limit));
        words(&out)
    }

    #[test]
    fn requests_are_what_redis_expects() {
        let value = String::from_utf8(value(3)).unwrap();
        let one = batch(Append::new(16, 3, Streams::One, Ids::Auto), 2);
        assert_eq!(one, vec![vec!["XADD", "weir-bench:stream", "*", "data", &value]; 2]);
        let counted = batch(Append::new(16, 0, Streams::One, Ids::Counted), 2);
        assert_eq!((counted[0][2].as_str(), counted[1][2].as_str()), ("1000000000000-0", "1000000000001-0"));
        let turns = batch(Append::new(16, 0, Streams::InTurn(2), Ids::Auto), 3);
        let names: Vec<_> = turns.iter().map(|words| words[1].as_str()).collect();
        assert_eq!(
            names,
            ["0000000000", "0000000001", "0000000000"].map(|n| format!("weir-bench:stream:{n}"))
        );
    }

    #[test]
    fn a_shorter_last_batch_has_no_stale_requests() {
        let mut append = Append::new(4, 1, Streams::One, Ids::Auto);
        let (mut out, mut board) = (Vec::new(), Board::new(Some(6)));
        assert_eq!(append.next(&mut out, &mut board), Next::Send(4));
        assert_eq!(append.next(&mut out, &mut board), Next::Send(2));
        assert_eq!(words(&out).len(), 2);
        assert_eq!(append.next(&mut out, &mut board), Next::End);
    }

    #[test]
    fn every_stream_is_deleted_once() {
        let mut delete = Delete::new(Streams::InTurn(1_001));
        let (mut out, mut board, mut names) = (Vec::new(), Board::new(None), Vec::new());
        while delete.next(&mut out, &mut board) == Next::Send(1) {
            names.extend(words(&out)[0][1..].to_vec());
        }
        names.dedup();
        assert_eq!((names.len(), names[1_000].as_str()), (1_001, "weir-bench:stream:0000001000"));
    }

    #[test]
    fn ranges_stay_inside_what_is_prepared() {
        let mut ranges = Ranges::new(100, 50, 20, Random::new(1));
        let (mut out, mut board) = (Vec::new(), Board::new(None));
        assert_eq!(ranges.next(&mut out, &mut board), Next::Send(100));
        let starts: Vec<u64> =
            words(&out).iter().map(|words| words[2].strip_suffix("-0").unwrap().parse().unwrap()).collect();
        assert!(starts.iter().all(|ms| (FIRST_MS..=FIRST_MS + 30).contains(ms)), "{starts:?}");
    }

    #[test]
    fn an_error_of_the_server_is_passed_on() {
        let error = expect(b"-OOM command not allowed\r\n", b'$').unwrap_err();
        assert_eq!(error.to_string(), "the server answers: -OOM command not allowed");
    }
}
