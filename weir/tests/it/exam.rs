//! One exam for all engines: the same cases, unchanged, on the naive model, the embedded engine, a Redis, a cluster of
//! them, and a weir server. Servers are real processes that are killed and started again.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use weir_testkit::conformance::{Profile, RealTime, Report, RunOptions, Target, model, run};

use crate::weir::weir_in;

/// Cases that all targets have to pass, at least.
const CASES_MIN: usize = 300;

/// The target sits the whole exam.
async fn examined(target: Arc<dyn Target>) -> Report {
    let report = run(target, RunOptions::default()).await;
    assert!(report.failures().is_empty(), "{}: {report}", report.target);
    assert!(report.passed() >= CASES_MIN, "{}: only {} cases", report.target, report.passed());
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_passes() {
    examined(Arc::new(model())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_passes() {
    examined(weir_exam::target("embedded", None).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_passes() {
    let folder = tempfile::tempdir().unwrap();
    let processes = Processes::new(vec![redis(folder.path(), free_address(), false)], folder);
    let url = format!("redis://{}", processes.addresses()[0]);
    examined(processes.target(&url, vec![Profile::Streams]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_redis_passes() {
    let folder = tempfile::tempdir().unwrap();
    let masters = (0..3).map(|nth| {
        let own = folder.path().join(nth.to_string());
        std::fs::create_dir(&own).unwrap();
        redis(&own, free_cluster_address(), true)
    });
    let processes = Processes::new(masters.collect(), folder);
    join(&processes.addresses());
    let addresses: Vec<_> = processes.addresses().iter().map(SocketAddr::to_string).collect();
    let url = format!("redis+cluster://{}", addresses.join(","));
    examined(processes.target(&url, vec![Profile::Streams]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weir_server_passes() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let start = {
        let (folder, address) = (folder.path().to_owned(), address.to_string());
        move || {
            let args =
                ["serve", "--resp", &*address, "--http", "127.0.0.1:0", "--fsync", "always", "--dir", "data"];
            weir_in(&folder, &args)
        }
    };
    let processes = Processes::new(vec![Process::new(address, start)], folder);
    let profiles = vec![Profile::Streams, Profile::Positions];
    examined(processes.target(&format!("weir://{address}"), profiles).await).await;
}

/// Servers that are killed and started again together.
struct Processes {
    all: Arc<Mutex<Vec<Process>>>,
    /// Where they keep what they have; it goes with this value.
    _folder: TempDir,
}

impl Processes {
    fn new(mut all: Vec<Process>, folder: TempDir) -> Self {
        for process in &mut all {
            process.start().unwrap();
        }
        Self { all: Arc::new(Mutex::new(all)), _folder: folder }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.all.lock().unwrap().iter().map(|process| process.address).collect()
    }

    async fn target(&self, url: &str, profiles: Vec<Profile>) -> Arc<dyn Target> {
        let broker = weir_connect::open(url).await.unwrap();
        let all = self.all.clone();
        Arc::new(RealTime::restartable(url, profiles, broker, move || {
            let mut all = all.lock().unwrap();
            all.iter_mut().for_each(Process::kill);
            all.iter_mut().try_for_each(Process::start)
        }))
    }
}

/// A server; it is killed with this value.
struct Process {
    address: SocketAddr,
    command: Box<dyn Fn() -> Command + Send>,
    child: Option<Child>,
}

impl Process {
    fn new(address: SocketAddr, command: impl Fn() -> Command + Send + 'static) -> Self {
        Self { address, command: Box::new(command), child: None }
    }

    /// Starts it and waits until it listens.
    fn start(&mut self) -> Result<(), String> {
        let mut command = (self.command)();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = self.child.insert(child.map_err(|error| format!("{command:?}: {error}"))?);
        for _ in 0..2_000 {
            if std::net::TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("{command:?} ended before it listened: {status}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("{command:?} does not listen on {}", self.address))
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it is gone already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A `redis-server` that has everything on disk before it answers.
fn redis(folder: &Path, address: SocketAddr, in_cluster: bool) -> Process {
    let folder = folder.to_owned();
    Process::new(address, move || {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--port").arg(address.port().to_string()).arg("--dir").arg(&folder);
        if in_cluster {
            command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
        }
        command
    })
}

/// Makes a cluster of masters, and waits until all of them know it.
fn join(masters: &[SocketAddr]) {
    let ask = |address: &SocketAddr, words: &[&str]| {
        let port = address.port().to_string();
        let asked = Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port]).args(words).output();
        String::from_utf8(asked.expect("redis-cli comes with redis-server").stdout).unwrap()
    };
    let mut create = vec!["--cluster".to_owned(), "create".to_owned()];
    create.extend(masters.iter().map(SocketAddr::to_string));
    create.push("--cluster-yes".to_owned());
    let created = Command::new("redis-cli").args(&create).output().unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
    for _ in 0..2_000 {
        let is_whole =
            |info: String| info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3");
        if masters.iter().all(|master| is_whole(ask(master, &["cluster", "info"]))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the masters do not become a cluster");
}

fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// An address whose port leaves room for that of the cluster's bus, 10 000 above it.
fn free_cluster_address() -> SocketAddr {
    let free = |_| Some(free_address()).filter(|address| address.port() < 55_000);
    let address = (0..1_000).find_map(free).expect("some ports are below 55000");
    assert!(
        TcpListener::bind(("127.0.0.1", address.port() + 10_000)).is_ok(),
        "the port of the bus is taken"
    );
    address
}
