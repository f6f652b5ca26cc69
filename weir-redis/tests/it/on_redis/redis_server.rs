//! Redis servers that tests start on free ports, await, kill and start again.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use weir_redis::{Options, RedisBroker};

/// A `redis-server` with a folder of its own; killed, by its process ID, when dropped.
pub(crate) struct Redis {
    child: Option<Child>,
    port: u16,
    /// Settings that come before the arguments.
    file: Option<String>,
    args: Vec<String>,
    folder: TempDir,
}

impl Redis {
    /// One that keeps nothing.
    pub(crate) fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    /// One that has everything on disk before it answers.
    pub(crate) fn durable() -> Self {
        Self::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(crate) fn with(args: &[&str]) -> Self {
        Self::begin(TempDir::new().unwrap(), None, args)
    }

    /// One with a file of settings in its folder.
    pub(crate) fn with_file(folder: TempDir, file: &str, args: &[&str]) -> Self {
        let file = folder.path().join(file).to_str().unwrap().to_owned();
        Self::begin(folder, Some(file), args)
    }

    fn begin(folder: TempDir, file: Option<String>, args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        let mut redis = Self { child: None, port: free_port(), file, args, folder };
        redis.start_again();
        redis
    }

    /// Starts it on the same port with the same files.
    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(&self.file);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--dir"]);
        command.arg(self.folder.path()).args(&self.args);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        self.child =
            Some(child.expect("install redis-server 7.0, for example with `apt-get install redis-server`"));
        await_port(self.port);
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn broker(&self) -> RedisBroker {
        weir_redis::connect(&self.url(), options()).await.unwrap()
    }

    /// A plain client, as somebody else's program has one. It waits for answers as long as it takes.
    pub(crate) async fn client(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        let patient =
            redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Short waits, for tests.
pub(crate) fn options() -> Options {
    Options { tick: Duration::from_millis(50), ..Options::default() }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until somebody answers there.
pub(crate) fn await_port(port: u16) {
    for _ in 0..2_000 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing listens on port {port}");
}
