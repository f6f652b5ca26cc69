//! A non-blocking connection: bytes out, whole replies in.
//!
//! Built for cheap operations: one write for a whole batch, one read for all replies that are there, and replies
//! are found by their ends, not decoded.

use std::io::{ErrorKind, Read, Write};
use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};
use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use weir_resp::ReplyScanner;

use super::target::{Address, Stream};

/// Bytes the read buffer begins with.
const INCOMING_INITIAL: usize = 16 * 1024;
/// Bytes of unread replies a connection may hold.
const INCOMING_MAX: usize = 1024 * 1024 * 1024;

/// One connection of the load generator.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    /// What is being sent; may be kept and sent again.
    outgoing: Vec<u8>,
    sent: usize,
    /// Bytes received stand in `start..filled`.
    incoming: Vec<u8>,
    start: usize,
    filled: usize,
    scanner: ReplyScanner,
}

impl Connection {
    /// Connects, greets, and registers with an event loop.
    pub(super) fn open(address: &Address, registry: &Registry, token: Token) -> Result<Self> {
        let mut socket = Socket::new(address.connect()?)?;
        socket.register(registry, token)?;
        Ok(Self {
            socket,
            outgoing: Vec::new(),
            sent: 0,
            incoming: vec![0; INCOMING_INITIAL],
            start: 0,
            filled: 0,
            scanner: ReplyScanner::new(),
        })
    }

    /// The bytes of the batch before, to be replaced, changed or kept. Only between batches.
    pub(super) fn outgoing(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.is_sent(), "a batch on its way stays as it is");
        &mut self.outgoing
    }

    /// Whether everything is handed to the kernel.
    pub(super) fn is_sent(&self) -> bool {
        self.sent >= self.outgoing.len()
    }

    /// Begins to send what [`Connection::outgoing`] holds.
    pub(super) fn send(&mut self) -> Result<()> {
        self.sent = 0;
        self.flush()
    }

    /// Goes on sending; call it when the socket became writable.
    pub(super) fn flush(&mut self) -> Result<()> {
        while !self.is_sent() {
            match self.socket.write(&self.outgoing[self.sent..]) {
                Ok(0) => bail!("the server takes no more bytes"),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot send to the server"),
            }
        }
        Ok(())
    }

    /// Reads all that is there; call it when the socket became readable.
    pub(super) fn receive(&mut self) -> Result<()> {
        loop {
            self.make_room()?;
            let room = self.incoming.len() - self.filled;
            match self.socket.read(&mut self.incoming[self.filled..]) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(read) => {
                    self.filled += read;
                    // Less than there was room for: the socket is drained, and the next byte is a new event.
                    if read < room {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read from the server"),
            }
        }
    }

    /// The next whole reply among what was received; [`Connection::reply`] gives its bytes.
    pub(super) fn next_reply(&mut self) -> Result<Option<Range<usize>>> {
        if self.start == self.filled {
            (self.start, self.filled) = (0, 0);
            return Ok(None);
        }
        let end = self.scanner.advance(&self.incoming[self.start..self.filled])?;
        Ok(end.map(|length| {
            let start = self.start;
            self.start += length;
            start..self.start
        }))
    }

    /// Whether every byte received belongs to a reply that was found.
    pub(super) fn is_drained(&self) -> bool {
        self.start == self.filled
    }

    /// The bytes of a reply just found.
    pub(super) fn reply(&self, range: Range<usize>) -> &[u8] {
        &self.incoming[range]
    }

    fn make_room(&mut self) -> Result<()> {
        if self.filled < self.incoming.len() {
            return Ok(());
        }
        if self.start > 0 {
            self.incoming.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        } else {
            ensure!(
                self.filled < INCOMING_MAX,
                "a reply is larger than {INCOMING_MAX} bytes; use a smaller --count"
            );
            self.incoming.resize(self.filled * 2, 0);
        }
        Ok(())
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    fn new(stream: Stream) -> Result<Self> {
        Ok(match stream {
            Stream::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                Self::Tcp(TcpStream::from_std(stream))
            }
            #[cfg(unix)]
            Stream::Unix(stream) => {
                stream.set_nonblocking(true)?;
                Self::Unix(UnixStream::from_std(stream))
            }
        })
    }

    fn register(&mut self, registry: &Registry, token: Token) -> std::io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interest),
            #[cfg(unix)]
            Self::Unix(stream) => stream.register(registry, token, interest),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.write(bytes),
        }
    }
}
