//! A broker for one story, and the program that is pointed at it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::redis::Redis;
use crate::weir::{Weir, weir_in};

/// A broker, and a folder to run commands in.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) folder: TempDir,
    /// It lives as long as the story.
    _server: Server,
}

#[expect(dead_code, reason = "servers end when they are dropped")]
enum Server {
    None,
    Weir(Weir),
    Redis(Redis),
}

impl Place {
    /// A folder that no server holds.
    pub(crate) fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        Self { url: format!("file:{}", data.display()), folder, _server: Server::None }
    }

    /// A weir server.
    pub(crate) fn server() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let weir = Weir::start(folder.path(), &["--dir", "data"]);
        Self { url: format!("weir://{}", weir.resp()), folder, _server: Server::Weir(weir) }
    }

    /// A Redis.
    pub(crate) fn redis() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redis = Redis::start_on_a_port();
        Self { url: redis.tcp_url(), folder, _server: Server::Redis(redis) }
    }

    /// The program with these arguments, pointed at this broker.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = weir_in(self.folder.path(), args);
        command.env("WEIR_URL", &self.url).env("WEIR_CONSUMER", "worker-1").stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn weir(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        Ran::of(args, output)
    }

    /// The same, with something to read.
    pub(crate) fn weir_given(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran::of(args, process.wait_with_output().unwrap())
    }

    /// Starts it; it is killed with what is answered.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut process = self.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Running { process, lines }
    }

    /// What it prints as JSON, an object a line. It has to succeed.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let ran = self.weir(&[args, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// How far behind a group is.
    pub(crate) fn lag(&self, stream: &str, group: &str) -> Value {
        self.json(&["lag", stream, group]).pop().expect("there is a group")
    }

    /// Asks until something is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..400 {
            if is_so(self) {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        panic!("never came to be: {what}");
    }
}

/// A command that has ended.
#[derive(Debug)]
#[expect(dead_code, reason = "what was run is shown when a test fails")]
pub(crate) struct Ran {
    args: String,
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(args: &[&str], output: std::process::Output) -> Self {
        Self {
            args: args.join(" "),
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It succeeded; answers what it printed.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// It ended with this code, and said this on standard error.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, words: &str) -> String {
        assert!(
            self.code == Some(code) && self.err.contains(words),
            "wanted {code} and {words:?}: {self:#?}"
        );
        self.out
    }
}

/// A command that runs.
pub(crate) struct Running {
    pub(crate) process: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended");
        line.trim_end().to_owned()
    }

    /// Sends it a signal and waits for its end; answers its exit code.
    pub(crate) fn end_with(mut self, signal: rustix::process::Signal) -> Option<i32> {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), signal).unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Tells a story on every engine.
#[track_caller]
pub(crate) fn everywhere(story: impl Fn(&Place)) {
    for place in std::iter::once(Place::folder()).chain(servers()) {
        // Shown when the story fails.
        eprintln!("on {}", place.url);
        story(&place);
    }
}

/// The engines that several commands use at the same time.
pub(crate) fn servers() -> Vec<Place> {
    vec![Place::server(), Place::redis()]
}
