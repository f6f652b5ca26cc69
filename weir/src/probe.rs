//! Asking a server one question, with little patience: what answers there, and what does it say?

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use weir_resp::{Reply, ReplyLimits, Value, command, decode_reply};

/// How long a server may take to accept, and to go on with its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// No answer that is asked for here is longer.
const ANSWER_MAX: usize = 4 << 20;

/// A connection to anything that speaks.
trait Talk: Read + Write {}
impl Talk for TcpStream {}
impl Talk for UnixStream {}

/// An open connection to a RESP server.
pub(crate) struct Resp {
    stream: Box<dyn Talk>,
}

impl Resp {
    pub(crate) fn tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: Box::new(connect(address)?) })
    }

    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: Box::new(stream) })
    }

    /// One command, one reply.
    pub(crate) fn call(&mut self, words: &[&str]) -> io::Result<Value> {
        let mut request = Vec::new();
        command(&mut request, words);
        self.stream.write_all(&request)?;
        let (mut received, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match decode_reply(&received, &ReplyLimits::DEFAULT) {
                Ok(Reply::Complete { value, .. }) => return Ok(value),
                Ok(Reply::Incomplete) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            let read = self.stream.read(&mut piece)?;
            if read == 0 || received.len() > ANSWER_MAX {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            received.extend_from_slice(&piece[..read]);
        }
    }

    /// The lines of `INFO` as pairs; empty where it is refused.
    pub(crate) fn info(&mut self) -> Vec<(String, String)> {
        let Ok(reply) = self.call(&["INFO"]) else { return Vec::new() };
        let text = String::from_utf8_lossy(reply.as_bytes().unwrap_or_default()).into_owned();
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Gets a page, with a token when there is one.
pub(crate) fn get(address: SocketAddr, path: &str, token: Option<&str>) -> io::Result<Page> {
    let mut stream = connect(address)?;
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX as u64).read_to_end(&mut answer)?;
    page(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers there is no HTTP server"))
}

/// Takes an answer apart whose end is the end of the connection.
fn page(answer: &str) -> Option<Page> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Page { status, body: body.to_owned() })
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let found = page("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nno\r\n\r\nmore").unwrap();
        assert_eq!((found.status, &*found.body), (503, "no\r\n\r\nmore"));
        assert!(page("-ERR unknown command\r\n\r\n").is_none() && page("").is_none());
    }
}
