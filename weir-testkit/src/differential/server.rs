//! Server processes that tests start, await and stop.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a server may take to accept connections.
const START_MAX: Duration = Duration::from_secs(20);
const START_POLL: Duration = Duration::from_millis(10);

/// A server process; killed, by its process ID, when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts `command` and waits until `address` accepts connections.
    ///
    /// # Errors
    /// When the program cannot be started, ends by itself, or does not listen within 20 seconds.
    pub fn start(command: &mut Command, address: SocketAddr) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
        let mut server = Self { child, address };
        let polls = START_MAX.as_millis() / START_POLL.as_millis();
        for _ in 0..polls {
            if TcpStream::connect(address).is_ok() {
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!("the server ended before it listened: {status}")));
            }
            std::thread::sleep(START_POLL);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing listens on {address}")))
    }

    /// Starts `redis-server` on a free port, without persistence.
    ///
    /// # Errors
    /// As [`Server::start`]; when there is no `redis-server`, the error says how to get it.
    pub fn redis() -> io::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
        command.arg(std::env::temp_dir()).arg("--port").arg(port.to_string());
        Self::start(&mut command, SocketAddr::from(([127, 0, 0, 1], port))).map_err(|error| {
            let remedy = "install redis-server 7.0, for example with `apt-get install redis-server`";
            io::Error::new(error.kind(), format!("redis-server: {error}; {remedy}"))
        })
    }

    /// Ends the process at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of the loopback interface that nobody listens on just now.
///
/// # Errors
/// When no port can be bound.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
