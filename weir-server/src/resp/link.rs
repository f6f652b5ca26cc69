//! A client's socket and buffers.
//!
//! ```text
//!  input   |executed|decoded, in the batch|received|free|
//!          0      start               decoded     end   len
//! ```
//! Invariants:
//! * `start ≤ decoded ≤ end ≤ input.len()`, and between two batches `start == decoded`.
//! * A connection with nothing to execute and nothing to send holds no buffer.

use std::io::{self, Read, Write};

use weir_core::Error;
use weir_engine::Engine;
use weir_resp::{Args, Decoder, Limits, Progress, Proto};

use super::pending::{Pending, is_long};
use super::pool::{CHUNK, Pool};
use super::render::{Rendered, Source, render};
use super::reply::Reply;
use super::socket::Socket;

/// What a read of the socket brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Bytes, and perhaps there are more.
    More(usize),
    /// Bytes, and no more for now.
    All(usize),
    /// The peer has closed or is gone.
    Closed,
    /// The buffer is full; some of it has to be executed first.
    Full,
}

/// What a sending came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) bytes: usize,
    /// Whether the socket took everything and there is more to render.
    pub(crate) is_unfinished: bool,
    /// Whether the disk has to be waited for before more can be rendered.
    pub(crate) is_cold: bool,
}

/// How often one client's answers are rendered and sent before others have their turn.
const SENDS: usize = 4;

/// A client's socket and buffers.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Socket,
    input: Vec<u8>,
    start: usize,
    decoded: usize,
    end: usize,
    /// The least length of input that can complete the request at its end.
    need: usize,
    decoder: Decoder,
    /// Arguments of a request that stopped in the middle.
    args: Args,
    output: Vec<u8>,
    sent: usize,
    /// Answers that are not rendered yet.
    pending: Pending,
    /// Whether the first part of them is with a thread that waits for the disk.
    is_away: bool,
    /// What was last told of the memory held.
    accounted: usize,
    /// Whether it stands in the list of readable connections.
    pub(crate) in_readable: bool,
    /// Whether it stands in the queue of those with requests to execute.
    pub(crate) in_queue: bool,
    /// Whether it stands in the list of those with answers to send.
    pub(crate) in_sending: bool,
    /// Whether the system said that the peer sends no more; there may be bytes before the end.
    pub(crate) is_ending: bool,
    /// Whether the end was read.
    pub(crate) is_finished: bool,
}

impl Link {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            input: Vec::new(),
            start: 0,
            decoded: 0,
            end: 0,
            need: 0,
            decoder: Decoder::new(),
            args: Args::new(),
            output: Vec::new(),
            sent: 0,
            pending: Pending::default(),
            is_away: false,
            accounted: 0,
            in_readable: false,
            in_queue: false,
            in_sending: false,
            is_ending: false,
            is_finished: false,
        }
    }

    pub(crate) fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    // ---- input -------------------------------------------------------------------------------------------------

    /// Reads from the socket once. Only between batches.
    pub(crate) fn receive(&mut self, pool: &mut Pool, most: usize) -> Received {
        if !self.make_room(pool, most) {
            return Received::Full;
        }
        let mut total = 0;
        loop {
            let room = &mut self.input[self.end..];
            match self.socket.read(room) {
                Ok(0) => return Received::Closed,
                Ok(got) => {
                    let is_full = got == room.len();
                    self.end += got;
                    total += got;
                    if is_full {
                        return Received::More(total);
                    }
                    if self.socket.short_reads_are_complete() {
                        return Received::All(total);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.give_back(pool);
                    return Received::All(total);
                }
                Err(_) => return Received::Closed,
            }
        }
    }

    /// Whether [`Link::receive`] would find room.
    pub(crate) fn can_receive(&self, most: usize) -> bool {
        let is_growing = self.input.len() < most || self.need > self.end;
        is_growing || self.end < self.input.len() || self.pays_to_move()
    }

    /// Whether so much was executed that moving the rest costs no more than receiving it did.
    fn pays_to_move(&self) -> bool {
        self.start > 0 && self.start >= self.input.len() / 2
    }

    /// Makes room for more input; `false` when so much is waiting that some has to be executed first.
    fn make_room(&mut self, pool: &mut Pool, most: usize) -> bool {
        if self.input.is_empty() {
            self.input = pool.take_input();
        }
        let is_short = self.input.len() - self.end < CHUNK / 2;
        let is_in_the_way = is_short && (self.pays_to_move() || self.need > self.end);
        if self.start > 0 && (self.start == self.end || is_in_the_way) {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.decoded -= self.start;
            self.need = self.need.saturating_sub(self.start);
            self.start = 0;
        }
        if self.end < self.input.len() {
            return true;
        }
        // A single request may be larger than what may wait; the decoder bounds it.
        if !self.can_receive(most) {
            return false;
        }
        // Grown by what has come, not by what was announced.
        self.input.resize(self.input.len() * 2, 0);
        true
    }

    /// Gives the buffer back when there is nothing in it.
    pub(crate) fn give_back(&mut self, pool: &mut Pool) {
        if self.start == self.end && !self.input.is_empty() {
            (self.start, self.decoded, self.end, self.need) = (0, 0, 0, 0);
            pool.give_input(std::mem::take(&mut self.input));
        }
    }

    /// Whether there may be a whole request among the bytes that were not decoded.
    pub(crate) fn can_decode(&self) -> bool {
        self.decoded < self.end && self.end >= self.need
    }

    /// Decodes the next request: where its bytes are, behind [`Link::input`].
    pub(crate) fn decode(&mut self, args: &mut Args, limits: &Limits) -> (Progress, usize) {
        if !self.decoder.is_idle() {
            std::mem::swap(args, &mut self.args);
        }
        let at = self.decoded;
        let progress = self.decoder.decode(&self.input[at..self.end], args, limits);
        match progress {
            Progress::Complete { consumed } => {
                self.decoded += consumed;
                self.need = 0;
            }
            Progress::Empty { consumed } => {
                self.decoded += consumed;
                if self.start == at {
                    self.start = self.decoded;
                }
            }
            Progress::Incomplete { need_at_least } => {
                std::mem::swap(args, &mut self.args);
                self.need = at + need_at_least;
            }
            Progress::HttpRequest | Progress::Error(_) => {}
        }
        (progress, at)
    }

    /// The bytes from a request on, as [`Link::decode`] said where it is.
    pub(crate) fn input(&self, at: usize) -> &[u8] {
        &self.input[at..self.end]
    }

    /// The requests up to `end` have been executed.
    pub(crate) fn executed(&mut self, end: usize) {
        self.start = end;
    }

    /// Forgets what was decoded and not executed; it is decoded again when the client may go on.
    pub(crate) fn rewind(&mut self) {
        self.decoded = self.start;
        self.need = 0;
        self.decoder = Decoder::new();
        self.args = Args::new();
    }

    // ---- output ------------------------------------------------------------------------------------------------

    /// Appends an answer: its bytes, or the answer itself when it is long or others wait already.
    pub(crate) fn answer(
        &mut self,
        reply: Reply,
        proto: Proto,
        engine: &Engine,
        pool: &mut Pool,
        pause: usize,
    ) {
        let is_next = self.pending.is_empty() && !self.is_away && self.unsent() < pause;
        let source = Source { engine, may_wait: false };
        if is_long(&reply) || !is_next || render(&reply, proto, source, self.output(pool)) != Rendered::Done {
            self.pending.push(proto, reply);
        }
    }

    /// Renders more of the answers that wait, up to about `pause` bytes.
    ///
    /// # Errors
    /// When entries of an answer that has begun cannot be fetched.
    fn render(&mut self, engine: &Engine, pool: &mut Pool, pause: usize) -> Result<Rendered, Error> {
        if self.pending.is_empty() || self.is_away || self.unsent() >= pause {
            return Ok(Rendered::Done);
        }
        let mut pending = std::mem::take(&mut self.pending);
        let most = self.sent + pause;
        let source = Source { engine, may_wait: false };
        let rendered = pending.render(source, self.output(pool), most);
        self.pending = pending;
        rendered
    }

    fn output(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.output.capacity() == 0 {
            self.output = pool.take_output();
        }
        &mut self.output
    }

    /// Bytes that are rendered and that the client has yet to take.
    pub(crate) fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Entries and values of answers that are not rendered yet, about.
    pub(crate) fn pending_weight(&self) -> usize {
        self.pending.weight()
    }

    /// Whether the client has taken all its answers.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsent() == 0 && self.pending.is_empty() && !self.is_away && !self.socket.holds_back()
    }

    /// Whether so little waits for the client that its next command may be executed.
    pub(crate) fn may_answer(&self, pause: usize) -> bool {
        self.pending.is_empty() && !self.is_away && self.unsent() < pause
    }

    /// The first part of its answers, which the disk has to be waited for.
    pub(crate) fn send_away(&mut self) -> Pending {
        self.is_away = true;
        self.pending.take_first()
    }

    /// That part is back: its bytes, and what is left of it.
    pub(crate) fn take_back(&mut self, bytes: &[u8], rest: Pending, pool: &mut Pool) {
        self.is_away = false;
        self.output(pool).extend_from_slice(bytes);
        self.pending.put_back(rest);
    }

    /// Sends what the client takes, rendering more of its answers meanwhile.
    ///
    /// # Errors
    /// When the peer is gone, or the rest of an answer cannot be fetched.
    pub(crate) fn send_some(&mut self, engine: &Engine, pool: &mut Pool, pause: usize) -> io::Result<Sent> {
        let mut sent = Sent { bytes: 0, is_unfinished: false, is_cold: false };
        for _ in 0..SENDS {
            let rendered = self.render(engine, pool, pause).map_err(io::Error::other)?;
            sent.bytes += self.send(pool)?;
            sent.is_cold = rendered == Rendered::Cold;
            sent.is_unfinished =
                self.unsent() == 0 && !self.pending.is_empty() && !self.is_away && !sent.is_cold;
            if !sent.is_unfinished {
                break;
            }
        }
        Ok(sent)
    }

    fn send(&mut self, pool: &mut Pool) -> io::Result<usize> {
        let mut total = 0;
        if let Err(error) = self.socket.flush()
            && error.kind() != io::ErrorKind::WouldBlock
        {
            return Err(error);
        }
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.sent += written;
                    total += written;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.sent == self.output.len() && self.output.capacity() > 0 {
            self.sent = 0;
            pool.give_output(std::mem::take(&mut self.output));
        } else if self.sent >= CHUNK && self.sent * 2 > self.output.len() {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        Ok(total)
    }

    /// Gives up what it holds, for accounting.
    pub(crate) fn release(&mut self, total: &mut usize) {
        *total -= self.accounted;
        self.accounted = 0;
    }

    /// Bytes that it counted for when this was last told.
    pub(crate) fn accounted(&self) -> usize {
        self.accounted
    }

    /// Heap bytes held, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        let buffers = self.input.capacity() + self.output.capacity() + self.args.heap_bytes();
        buffers + self.pending.heap_bytes() + self.socket.heap_bytes()
    }

    /// Tells what changed in the memory held since this was last told; `others` are bytes that its client holds.
    pub(crate) fn account(&mut self, others: usize, total: &mut usize) {
        let held = self.heap_bytes() + others;
        *total = *total - self.accounted + held;
        self.accounted = held;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// However little of a full buffer is executed at a time, what is left is moved once for each half of it.
    #[test]
    fn a_full_buffer_is_not_moved_for_a_little_room() {
        const MOST: usize = 4 * CHUNK;
        let (mut peer, socket) = std::os::unix::net::UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut link = Link::new(Socket::Unix(mio::net::UnixStream::from_std(socket)));
        let mut pool = Pool::default();
        peer.write_all(&[b'x'; 2 * MOST]).unwrap();
        while link.receive(&mut pool, MOST) != Received::Full {}
        assert_eq!((link.end, link.input.len()), (MOST, MOST));
        link.decoded = MOST / 2;
        link.executed(MOST / 4);
        assert!(!link.can_receive(MOST));
        assert_eq!(link.receive(&mut pool, MOST), Received::Full);
        assert_eq!(link.start, MOST / 4, "nothing was moved");
        link.executed(MOST / 2);
        assert!(link.can_receive(MOST));
        assert_eq!(link.receive(&mut pool, MOST), Received::More(MOST / 2));
        assert_eq!((link.start, link.end), (0, MOST));
    }
}
