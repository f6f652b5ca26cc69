//! A server in this process, and clients that speak in tables.
//!
//! Commands are written as words, `""` for an empty one. Replies are written with a blank for each CR LF.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use weir_core::{Clock, ManualClock, SystemClock, Timestamp};
use weir_engine::{Engine, Options};
use weir_server::resp::{Config, Listener, Server, Stopper};

/// When manual clocks start.
pub(crate) const START: u64 = 1_000_000;

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    /// A server in memory with the machine's clock.
    pub(crate) fn start() -> Self {
        Self::with(Config::default(), Arc::new(SystemClock::new()))
    }

    /// A server whose time stands at [`START`] until the clock is moved.
    pub(crate) fn with_clock() -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp(START)));
        (Self::with(Config::default(), clock.clone()), clock)
    }

    pub(crate) fn with(config: Config, clock: Arc<dyn Clock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self::listening(address, vec![Listener::tcp(listener).unwrap()], config, clock)
    }

    pub(crate) fn listening(
        address: SocketAddr,
        listeners: Vec<Listener>,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let engine = Engine::memory_with(clock.clone(), Options::default());
        Self::on_engine(engine, address, listeners, config, clock)
    }

    /// A server on an engine of the test's own.
    pub(crate) fn on(engine: Engine) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clock = Arc::new(SystemClock::new());
        let listeners = vec![Listener::tcp(listener).unwrap()];
        Self::on_engine(engine, address, listeners, Config::default(), clock)
    }

    fn on_engine(
        engine: Engine,
        address: SocketAddr,
        listeners: Vec<Listener>,
        config: Config,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let server = Server::new(listeners, engine.clone(), clock, config).unwrap();
        let stopper = server.stopper();
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self { address, engine, stopper, thread: Some(thread) }
    }

    pub(crate) fn client(&self) -> TestClient {
        TestClient::connect(self.address)
    }

    /// A client that speaks RESP3.
    pub(crate) fn client3(&self) -> TestClient {
        let mut client = self.client();
        assert!(client.ask("HELLO 3").starts_with("%7 "));
        client
    }

    /// Waits until a condition holds.
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let clock = SystemClock::new();
        while !holds() {
            assert!(clock.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
            std::thread::yield_now();
        }
    }

    /// Waits until so many reads wait.
    pub(crate) fn until_waiting(&self, count: usize) {
        self.until("reads wait", || self.engine.turn().waiting_counts().0 == count);
    }

    pub(crate) fn stop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

pub(crate) struct TestClient {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

impl TestClient {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// Sends a command without waiting for its reply.
    pub(crate) fn send(&mut self, command: &str) {
        let words: Vec<&str> =
            command.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect();
        let mut bytes = Vec::new();
        weir_resp::command(&mut bytes, words);
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next reply, with a blank for each CR LF.
    pub(crate) fn reply(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.reply_bytes()).replace("\r\n", " ");
        text.strip_suffix(' ').unwrap_or(&text).to_owned()
    }

    fn reply_bytes(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = weir_resp::skip_reply(&self.received).unwrap() {
                let rest = self.received.split_off(end);
                return std::mem::replace(&mut self.received, rest);
            }
            let mut bytes = [0; 16 * 1024];
            let got = self.stream.read(&mut bytes).unwrap();
            assert!(got > 0, "the server closed the connection");
            self.received.extend_from_slice(&bytes[..got]);
        }
    }

    /// Asks with arbitrary bytes for words; the reply as it came.
    pub(crate) fn ask_bytes(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        weir_resp::command(&mut bytes, words);
        self.send_bytes(&bytes);
        self.reply_bytes()
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.send(command);
        self.reply()
    }

    /// Whether the server has closed the connection, all replies having been read.
    pub(crate) fn is_closed(&mut self) -> bool {
        assert!(self.received.is_empty());
        let mut byte = [0];
        matches!(self.stream.read(&mut byte), Ok(0) | Err(_))
    }

    /// Nothing was sent that was not asked for: the next reply is that of a PING.
    pub(crate) fn is_quiet(&mut self) {
        assert_eq!(self.ask("PING"), "+PONG");
    }

    /// Asks each command and compares its reply.
    pub(crate) fn check(&mut self, table: &[(&str, &str)]) {
        for (command, wanted) in table {
            assert_eq!(self.ask(command), *wanted, "{command}");
        }
    }
}

/// Checks a table on a fresh server in memory whose clock stands still.
pub(crate) fn check(table: &[(&str, &str)]) {
    let (server, _) = TestServer::with_clock();
    server.client().check(table);
}

/// As [`check`], in RESP3.
pub(crate) fn check3(table: &[(&str, &str)]) {
    let (server, _) = TestServer::with_clock();
    server.client3().check(table);
}
