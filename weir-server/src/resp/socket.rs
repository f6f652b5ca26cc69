//! Where clients come from, and the bytes of one of them: TCP, TLS over it, or a Unix socket.

use std::io::{self, Read, Write};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use rustls::ServerConnection;
use socket2::{SockRef, TcpKeepalive};

use super::client::Peer;
use crate::Identity;

/// How long a peer may be silent before the system asks whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// What a TLS session takes in memory, about: its state, and buffers of which most are empty most of the time.
const TLS_BYTES: usize = 16 * 1024;

/// A bound socket that clients connect to.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Tls(TcpListener, Identity),
    Unix(UnixListener),
}

impl Listener {
    /// Accepts TCP connections.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking.
    pub fn tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(Kind::Tcp(TcpListener::from_std(listener))))
    }

    /// Accepts TCP connections that speak TLS.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking.
    pub fn tls(listener: std::net::TcpListener, identity: Identity) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(Kind::Tls(TcpListener::from_std(listener), identity)))
    }

    /// Accepts connections on a Unix socket.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking.
    pub fn unix(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self(Kind::Unix(UnixListener::from_std(listener))))
    }

    /// Where clients reach it; `None` for a Unix socket.
    pub(crate) fn address(&self) -> Option<std::net::SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) | Kind::Tls(listener, _) => listener.local_addr().ok(),
            Kind::Unix(_) => None,
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.0 {
            Kind::Tcp(listener) | Kind::Tls(listener, _) => {
                registry.register(listener, token, Interest::READABLE)
            }
            Kind::Unix(listener) => registry.register(listener, token, Interest::READABLE),
        }
    }

    pub(crate) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, peer) = accept(listener)?;
                Ok((Socket::Tcp(stream), peer))
            }
            Kind::Tls(listener, identity) => {
                let (stream, peer) = accept(listener)?;
                let socket = TlsSocket::new(stream, identity).map_err(io::Error::other)?;
                Ok((Socket::Tls(Box::new(socket)), peer))
            }
            Kind::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                Ok((Socket::Unix(stream), Peer::Unix))
            }
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<(TcpStream, Peer)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    let local = stream.local_addr()?;
    Ok((stream, Peer::Tcp { peer, local }))
}

/// A client's end.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsSocket>),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        // Edge-triggered, so being told of both costs nothing while nothing changes.
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => registry.register(stream, token, interest),
            Self::Tls(socket) => registry.register(&mut socket.stream, token, interest),
            Self::Unix(stream) => registry.register(stream, token, interest),
        }
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => registry.deregister(stream),
            Self::Tls(socket) => registry.deregister(&mut socket.stream),
            Self::Unix(stream) => registry.deregister(stream),
        }
    }
}

impl Socket {
    /// Whether a read that gave less than asked for has given everything.
    pub(crate) fn short_reads_are_complete(&self) -> bool {
        !matches!(self, Self::Tls(_))
    }

    /// Whether bytes that were written are held back until the peer takes them.
    pub(crate) fn holds_back(&self) -> bool {
        matches!(self, Self::Tls(socket) if socket.session.wants_write())
    }

    /// Tells the peer that this is the end, where the protocol has a word for it; as far as that goes without waiting.
    pub(crate) fn say_goodbye(&mut self) {
        if let Self::Tls(socket) = self {
            socket.session.send_close_notify();
            // A peer that takes nothing, or is gone, learns it from the connection's end.
            drop(socket.send());
        }
    }

    /// Heap bytes held, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        if let Self::Tls(_) = self { TLS_BYTES } else { 0 }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(socket) => socket.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(socket) => socket.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    /// Hands on what is held back. `WouldBlock` when the peer does not take it yet.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(socket) => socket.flush(),
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
        }
    }
}

/// A TCP connection that speaks TLS.
#[derive(Debug)]
pub(crate) struct TlsSocket {
    stream: TcpStream,
    session: ServerConnection,
}

impl TlsSocket {
    fn new(stream: TcpStream, identity: &Identity) -> Result<Self, rustls::Error> {
        Ok(Self { stream, session: ServerConnection::new(identity.config.clone())? })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if self.session.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            let processed = self.session.process_new_packets();
            // Answers of the handshake, and what tells the peer of an error.
            let sent = self.send();
            processed.map_err(io::Error::other)?;
            match sent {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// Takes what its buffer has room for, and sends what the peer takes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.session.writer().write(bytes)?;
        match self.send() {
            Err(error) if taken == 0 || error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ if taken == 0 => self.session.writer().write(bytes),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.stream)?;
        }
        Ok(())
    }
}
