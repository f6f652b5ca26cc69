//! Where a server is, and talking to it one command at a time.
//!
//! The control connection prepares and asks; it blocks and is never used while something is measured.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use weir_resp::{Reply, ReplyLimits, Value, command, decode_reply};

/// How long a single command may take; deleting a stream of a hundred million entries is slow.
const REPLY_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PORT_DEFAULT: u16 = 6379;

/// A server's address, taken from its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) place: Place,
    user: Option<String>,
    password: Option<String>,
    db: Option<u32>,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix { path: String },
}

impl Address {
    /// Reads `redis://[user:password@]host[:port][/db]`, `unix://[user:password@]/path`, or plain `host:port`.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
        let (credentials, rest) = rest.rsplit_once('@').map_or((None, rest), |(who, rest)| (Some(who), rest));
        let (user, password) =
            credentials.map(|who| who.split_once(':').unwrap_or(("", who))).unwrap_or_default();
        let text = |part: &str| if part.is_empty() { Ok(None) } else { percent_decode(part).map(Some) };
        let (place, db) = match scheme {
            "unix" => (Place::Unix { path: rest.to_owned() }, ""),
            "redis" => {
                let (place, db) = rest.split_once('/').unwrap_or((rest, ""));
                (tcp_place(place).with_context(|| format!("{url:?} is no address of a server"))?, db)
            }
            "rediss" => bail!("weir bench does not speak TLS; name the server's plain port"),
            other => bail!("{other}:// is no scheme of a RESP server; use redis:// or unix://"),
        };
        Ok(Self {
            place,
            user: text(user)?,
            password: text(password)?,
            db: if db.is_empty() {
                None
            } else {
                Some(db.parse().context("the database in a URL is a number")?)
            },
        })
    }

    /// Whether the server runs on this machine, so that its process can be looked at.
    pub(super) fn is_local(&self) -> bool {
        match &self.place {
            Place::Unix { .. } => true,
            Place::Tcp { host, .. } => {
                host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
        }
    }

    /// The commands every connection starts with.
    pub(super) fn greeting(&self) -> Vec<Vec<String>> {
        let mut greeting = Vec::new();
        if let Some(password) = &self.password {
            let user = self.user.iter().cloned();
            greeting.push(std::iter::once("AUTH".to_owned()).chain(user).chain([password.clone()]).collect());
        }
        if let Some(db) = self.db {
            greeting.push(vec!["SELECT".to_owned(), db.to_string()]);
        }
        greeting
    }

    /// Connects and blocks until the server accepted the greeting.
    pub(super) fn connect(&self) -> Result<Stream> {
        self.connect_from(None)
    }

    /// As [`Address::connect`], from this address of the machine, where the server is on loopback by IPv4.
    pub(super) fn connect_from(&self, source: Option<Ipv4Addr>) -> Result<Stream> {
        let stream = self.place.connect(source);
        let mut stream = stream.with_context(|| format!("cannot reach {self}; is the server running?"))?;
        let mut buffer = Vec::new();
        for words in self.greeting() {
            let reply = call(&mut stream, &mut buffer, &words)?;
            if let Some(error) = reply.as_error() {
                bail!("{self} refuses {}: {}", words[0], String::from_utf8_lossy(error));
            }
        }
        Ok(stream)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix { path } => write!(f, "unix://{path}"),
            Place::Tcp { host, port } if host.contains(':') => write!(f, "redis://[{host}]:{port}"),
            Place::Tcp { host, port } => write!(f, "redis://{host}:{port}"),
        }
    }
}

/// A connected socket that still blocks.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Place {
    fn connect(&self, source: Option<Ipv4Addr>) -> Result<Stream> {
        match self {
            Self::Tcp { host, port } => {
                let mut last = None;
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match connect_tcp(address, source) {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
                            return Ok(Stream::Tcp(stream));
                        }
                        Err(error) => last = Some(error),
                    }
                }
                Err(last.map_or_else(|| anyhow::anyhow!("the name has no address"), Into::into))
            }
            #[cfg(unix)]
            Self::Unix { path } => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
                Ok(Stream::Unix(stream))
            }
            #[cfg(not(unix))]
            Self::Unix { .. } => bail!("there are no Unix sockets on this system"),
        }
    }
}

#[cfg(unix)]
fn connect_tcp(to: SocketAddr, source: Option<Ipv4Addr>) -> std::io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

    let from = source.filter(|_| to.is_ipv4() && to.ip().is_loopback());
    let Some(from) = from else { return TcpStream::connect_timeout(&to, CONNECT_TIMEOUT) };
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::from((from, 0)))?;
    connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

#[cfg(not(unix))]
fn connect_tcp(to: SocketAddr, _: Option<Ipv4Addr>) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&to, CONNECT_TIMEOUT)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A connection for single commands.
#[derive(Debug)]
pub(super) struct Control {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Control {
    /// Connects to `address`.
    pub(super) fn connect(address: &Address) -> Result<Self> {
        Ok(Self { stream: address.connect()?, buffer: Vec::new() })
    }

    /// Sends one command and waits for its reply; an error reply is an error.
    pub(super) fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Value> {
        let value = call(&mut self.stream, &mut self.buffer, words)?;
        if let Some(error) = value.as_error() {
            let name = words.first().map_or(&b""[..], AsRef::as_ref);
            bail!("the server answers {}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(error));
        }
        Ok(value)
    }

    /// The value of one `name:value` line of INFO, if the server has it.
    pub(super) fn info(&mut self, name: &str) -> Option<String> {
        self.info_of(&["INFO"], name)
    }

    /// The same for what INFO CLIENTS counts, which costs the server less.
    pub(super) fn clients(&mut self, name: &str) -> Option<u64> {
        self.info_of(&["INFO", "CLIENTS"], name)?.parse().ok()
    }

    fn info_of(&mut self, words: &[&str], name: &str) -> Option<String> {
        let reply = self.call(words).ok()?;
        let text = String::from_utf8_lossy(reply.as_bytes()?).into_owned();
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    }

    /// The value of one configuration parameter, if the server tells.
    pub(super) fn config(&mut self, name: &str) -> Option<String> {
        let reply = self.call(&["CONFIG", "GET", name]).ok()?;
        Some(String::from_utf8_lossy(reply.as_array()?.get(1)?.as_bytes()?).into_owned())
    }
}

fn call<W: AsRef<[u8]>>(stream: &mut Stream, buffer: &mut Vec<u8>, words: &[W]) -> Result<Value> {
    let mut request = Vec::new();
    command(&mut request, words);
    stream.write_all(&request)?;
    receive(stream, buffer)
}

/// Waits for one reply. What was received behind it stays in `buffer`.
pub(super) fn receive(stream: &mut Stream, buffer: &mut Vec<u8>) -> Result<Value> {
    let mut piece = [0; 16 * 1024];
    loop {
        if let Reply::Complete { value, consumed } = decode_reply(buffer, &ReplyLimits::DEFAULT)? {
            buffer.drain(..consumed);
            return Ok(value);
        }
        let received = stream.read(&mut piece).context("no reply from the server")?;
        if received == 0 {
            bail!("the server closed the connection");
        }
        buffer.extend_from_slice(&piece[..received]);
    }
}

fn tcp_place(text: &str) -> Result<Place> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').context("a bracket is missing")?;
            (host, behind.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let port = port.map_or(Ok(PORT_DEFAULT), str::parse).context("the port is no number")?;
    Ok(Place::Tcp { host: host.to_owned(), port })
}

fn percent_decode(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            bail!("a % in a URL is followed by two hexadecimal digits");
        };
        out.push(u8::try_from(high << 4 | low).expect("two hexadecimal digits are a byte"));
    }
    String::from_utf8(out).context("user and password in a URL are UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Place {
        Place::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn addresses() {
        for (url, place) in [
            ("redis://127.0.0.1:7000", tcp("127.0.0.1", 7000)),
            ("redis://db", tcp("db", 6379)),
            ("db:1", tcp("db", 1)),
            ("redis://[::1]:7000/3", tcp("::1", 7000)),
            ("redis://:7000", tcp("127.0.0.1", 7000)),
            ("unix:///run/weir.sock", Place::Unix { path: "/run/weir.sock".to_owned() }),
        ] {
            assert_eq!(Address::parse(url).unwrap().place, place, "{url}");
        }
        for url in ["http://a", "rediss://a", "redis://a:x", "redis://a/x", "redis://p%zz@a"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_greeting_authenticates_and_selects() {
        let greeting = |url| Address::parse(url).unwrap().greeting();
        assert_eq!(greeting("redis://ann:p%40ss@db:1/2"), [vec!["AUTH", "ann", "p@ss"], vec!["SELECT", "2"]]);
        assert_eq!(greeting("redis://:secret@db"), [vec!["AUTH", "secret"]]);
        assert_eq!(greeting("unix://:secret@/run/weir.sock"), [vec!["AUTH", "secret"]]);
        assert!(greeting("redis://db").is_empty());
    }
}
