//! A `weir serve` for one test, on free ports.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use weir_resp::{Reply, ReplyLimits, Value, command, decode_reply};

/// A running server; it is killed with this value.
pub(crate) struct Weir {
    process: Child,
    stdout: BufReader<std::process::ChildStdout>,
    /// What it printed, up to the line with its data folder.
    pub(crate) banner: String,
}

/// The `weir` program with arguments, in a folder and with no settings from outside.
pub(crate) fn weir_in(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEIR_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).env("WEIR_LOG", "error").args(args);
    command
}

impl Weir {
    /// Starts a server and waits until it says where it serves.
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        let ports = ["serve", "--resp", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let mut process =
            weir_in(folder, &[&ports, args].concat()).stdout(Stdio::piped()).spawn().expect("weir starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("piped"));
        let mut banner = String::new();
        while !banner.contains("\n  data  ") {
            let read = stdout.read_line(&mut banner).unwrap();
            assert!(read > 0, "weir ended early: {banner}");
        }
        Self { process, stdout, banner }
    }

    /// What the banner says behind a word.
    pub(crate) fn line(&self, word: &str) -> &str {
        let found = self.banner.lines().find_map(|line| line.trim().strip_prefix(word));
        found.unwrap_or_else(|| panic!("no {word} in {}", self.banner)).trim()
    }

    /// Its address for Redis clients.
    pub(crate) fn resp(&self) -> &str {
        self.line("resp").strip_prefix("redis://").unwrap()
    }

    /// Its address for HTTP clients.
    pub(crate) fn http(&self) -> &str {
        self.line("http").strip_prefix("http://").unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// One command, one reply.
    pub(crate) fn call(&self, words: &[&str]) -> Value {
        let mut stream = TcpStream::connect(self.resp()).unwrap();
        let mut request = Vec::new();
        command(&mut request, words);
        stream.write_all(&request).unwrap();
        let (mut received, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            if let Reply::Complete { value, .. } = decode_reply(&received, &ReplyLimits::DEFAULT).unwrap() {
                return value;
            }
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "weir closed the connection");
            received.extend_from_slice(&piece[..read]);
        }
    }

    /// The answer to a request for a page, head included.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to end, and waits for it; answers also what it printed after its banner.
    pub(crate) fn terminate(self) -> (ExitStatus, String) {
        self.end_with(Signal::TERM)
    }

    /// As [`Weir::terminate`], with a signal of choice.
    pub(crate) fn end_with(mut self, signal: Signal) -> (ExitStatus, String) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.process.wait().unwrap(), rest)
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
