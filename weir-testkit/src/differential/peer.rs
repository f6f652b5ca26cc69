//! Whom the commands go to: a server behind TCP, or the model.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use weir_core::{Clock, SystemClock};

use crate::model::{Flavour, Session};
use crate::{Protocol, Value};

/// Without a byte for this long, a peer is given up.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Bytes that fit into a socket's buffers, so that writing them cannot wait for our reading.
const WRITE_UNREAD_MAX: usize = 32 * 1024;

/// One side of the comparison.
pub trait Peer {
    /// What reports call it.
    fn name(&self) -> &str;

    /// Begins anew: a fresh connection, no keys, the given protocol.
    ///
    /// # Errors
    /// When the peer cannot be reached.
    fn reset(&mut self, protocol: Protocol) -> io::Result<()>;

    /// Carries the commands out in order and answers each.
    ///
    /// # Errors
    /// When the peer goes away, is silent for ten seconds, or answers what is not RESP.
    fn run(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<Vec<Value>>;
}

/// A RESP server.
#[derive(Debug)]
pub struct TcpPeer {
    name: String,
    address: SocketAddr,
    connection: Option<TcpStream>,
}

impl TcpPeer {
    /// The server at `address`, to be called `name`.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self { name: name.into(), address, connection: None }
    }

    /// Opens a fresh connection that speaks `protocol`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn connect(&mut self, protocol: Protocol) -> io::Result<()> {
        let connection = TcpStream::connect(self.address)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(SILENCE_MAX))?;
        connection.set_write_timeout(Some(SILENCE_MAX))?;
        self.connection = Some(connection);
        self.demand(&[b"HELLO", if protocol == Protocol::Resp3 { b"3" } else { b"2" }])
    }

    /// Sends a command that must not fail.
    fn demand(&mut self, words: &[&[u8]]) -> io::Result<()> {
        let replies = self.run(&[words.iter().map(|word| word.to_vec()).collect()])?;
        match replies.as_slice() {
            [Value::Error(text)] => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
            _ => Ok(()),
        }
    }

    fn connection(&mut self) -> io::Result<&mut TcpStream> {
        self.connection
            .as_mut()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "reset comes first"))
    }
}

impl Peer for TcpPeer {
    fn name(&self) -> &str {
        &self.name
    }

    fn reset(&mut self, protocol: Protocol) -> io::Result<()> {
        self.connect(protocol)?;
        self.demand(&[b"FLUSHALL"])
    }

    fn run(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<Vec<Value>> {
        let request = encode(commands);
        let connection = self.connection()?;
        if request.len() <= WRITE_UNREAD_MAX {
            connection.write_all(&request)?;
            return read_replies(connection, commands.len());
        }
        let mut writer = connection.try_clone()?;
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || writer.write_all(&request));
            let replies = read_replies(connection, commands.len());
            writing.join().expect("writing bytes does not panic")?;
            replies
        })
    }
}

fn encode(commands: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for words in commands {
        bytes.extend(format!("*{}\r\n", words.len()).into_bytes());
        for word in words {
            bytes.extend(format!("${}\r\n", word.len()).into_bytes());
            bytes.extend(word);
            bytes.extend(b"\r\n");
        }
    }
    bytes
}

fn read_replies(connection: &mut TcpStream, count: usize) -> io::Result<Vec<Value>> {
    let mut replies = Vec::with_capacity(count);
    let mut unread = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    while replies.len() < count {
        let read = connection.read(&mut chunk)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        unread.extend(&chunk[..read]);
        let mut at = 0;
        while replies.len() < count
            && let Some((value, taken)) = Value::decode(&unread[at..]).map_err(io::Error::other)?
        {
            replies.push(value);
            at += taken;
        }
        unread.drain(..at);
    }
    if unread.is_empty() { Ok(replies) } else { Err(io::Error::other("more replies than commands")) }
}

/// The naive model, with the time of this machine.
#[derive(Debug)]
pub struct ModelPeer {
    flavour: Flavour,
    protocol: Protocol,
    session: Session,
    clock: SystemClock,
}

impl ModelPeer {
    /// An empty model.
    #[must_use]
    pub fn new(flavour: Flavour) -> Self {
        Self { flavour, protocol: Protocol::Resp2, session: Session::new(flavour), clock: SystemClock::new() }
    }
}

impl Peer for ModelPeer {
    fn name(&self) -> &str {
        match self.flavour {
            Flavour::Redis70 => "model of 7.0",
            Flavour::Latest => "model of the latest",
        }
    }

    fn reset(&mut self, protocol: Protocol) -> io::Result<()> {
        self.protocol = protocol;
        self.session = Session::new(self.flavour);
        Ok(())
    }

    fn run(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<Vec<Value>> {
        let now = self.clock.now().0;
        Ok(commands.iter().map(|words| self.session.execute(now, words).over(self.protocol)).collect())
    }
}
