//! A listener whose connections are counted, and end when their client is silent or does not come to the point.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// HTTP connections at a time. Further ones wait in the system's queue.
pub const CONNECTIONS_MAX: usize = 256;
/// How long a client may send nothing, or take nothing, before it is disconnected.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a client may take for a request, from its first byte to the first of the answer.
pub const REQUEST_MAX: Duration = Duration::from_secs(30);

/// Accepts connections while there are fewer than [`CONNECTIONS_MAX`].
#[derive(Debug)]
pub(super) struct Counted {
    listener: TcpListener,
    places: Arc<Semaphore>,
    request_max: Duration,
}

impl Counted {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), request_max: REQUEST_MAX }
    }
}

impl Listener for Counted {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let end = Box::pin(tokio::time::sleep(SILENCE_MAX));
        let request_max = self.request_max;
        (Connection { stream, end, request_since: None, request_max, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing moves on it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// When it ends unless something happens.
    end: Pin<Box<Sleep>>,
    /// When the request that is being received began.
    request_since: Option<Instant>,
    request_max: Duration,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Passes on what happened, and an error instead of waiting longer than a client may be silent.
    fn watch<T>(&mut self, cx: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            let silent = Instant::now() + SILENCE_MAX;
            let late = self.request_since.map(|since| since + self.request_max);
            self.end.as_mut().reset(late.map_or(silent, |late| late.min(silent)));
            return moved;
        }
        ready!(self.end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let now = Instant::now();
        if self.request_since.is_some_and(|since| since + self.request_max < now) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let moved = Pin::new(&mut self.stream).poll_read(cx, buf);
        if moved.is_ready() {
            self.request_since.get_or_insert(now);
        }
        self.watch(cx, moved)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.request_since = None;
        let moved = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, moved)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.request_since = None;
        let moved = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, moved)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A client, and the server's end of its connection, on which a request must be there at once.
    async fn pair() -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut counted = Counted::new(listener);
        counted.request_max = Duration::ZERO;
        (client, counted.accept().await.0)
    }

    #[tokio::test]
    async fn a_request_byte_by_byte_does_not_last_for_ever() {
        let (mut client, mut connection) = pair().await;
        client.write_all(b"x").await.unwrap();
        connection.read_exact(&mut [0]).await.unwrap();
        // Whether or not there is another byte by then.
        let late = connection.read_exact(&mut [0]).await;
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        client.write_all(b"x").await.unwrap();
        assert!(connection.read_exact(&mut [0]).await.is_err());
    }

    #[tokio::test]
    async fn one_request_after_the_other_may_last() {
        let (mut client, mut connection) = pair().await;
        for _ in 0..10 {
            client.write_all(b"x").await.unwrap();
            connection.read_exact(&mut [0]).await.unwrap();
            connection.write_all(b"answer").await.unwrap();
        }
    }
}
