//! A real `redis-server` for one test, on a Unix socket in a folder of its own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use weir_resp::{Reply, ReplyLimits, Value, command, decode_reply};

/// A running server; it ends with this value.
pub(crate) struct Redis {
    process: Child,
    folder: TempDir,
    password: Option<&'static str>,
    port: u16,
}

impl Redis {
    /// Starts a server with an empty memory and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// The same, for clients that know the password.
    pub(crate) fn start_with(password: Option<&'static str>) -> Self {
        Self::start_at(password, 0)
    }

    /// The same, also on a free port of this machine.
    pub(crate) fn start_on_a_port() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self::start_at(None, free.port())
    }

    fn start_at(password: Option<&'static str>, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Command::new("redis-server");
        server
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
            ])
            .arg(folder.path());
        server.arg("--unixsocket").arg(folder.path().join("redis.sock"));
        if let Some(password) = password {
            server.args(["--requirepass", password]);
        }
        let mut process = server
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts; when it is missing, install it as the README says");
        for _ in 0..500 {
            if UnixStream::connect(folder.path().join("redis.sock")).is_ok() {
                return Self { process, folder, password, port };
            }
            assert!(process.try_wait().unwrap().is_none(), "redis-server ended at once");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        panic!("redis-server does not listen");
    }

    /// The URL of its socket.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.folder.path().join("redis.sock").display())
    }

    /// Its URL on its port.
    pub(crate) fn tcp_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// One command, one reply.
    pub(crate) fn call(&self, words: &[&str]) -> Value {
        let mut stream = UnixStream::connect(self.folder.path().join("redis.sock")).unwrap();
        let mut request = Vec::new();
        if let Some(password) = self.password {
            command(&mut request, ["AUTH", password]);
        }
        command(&mut request, words);
        stream.write_all(&request).unwrap();
        let (mut received, mut piece) = (Vec::new(), [0; 4096]);
        let mut replies_before = usize::from(self.password.is_some());
        loop {
            match decode_reply(&received, &ReplyLimits::DEFAULT).unwrap() {
                Reply::Complete { value, .. } if replies_before == 0 => return value,
                Reply::Complete { consumed, .. } => {
                    replies_before -= 1;
                    received.drain(..consumed);
                }
                Reply::Incomplete => {
                    let read = stream.read(&mut piece).unwrap();
                    assert!(read > 0, "redis-server closed the connection");
                    received.extend_from_slice(&piece[..read]);
                }
            }
        }
    }

    /// The integer a command answers.
    pub(crate) fn int(&self, words: &[&str]) -> i64 {
        self.call(words).as_int().unwrap_or_else(|| panic!("{words:?} gives no integer"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().expect("the process is ours");
        self.process.wait().expect("the process is ours");
    }
}
