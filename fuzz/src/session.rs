//! A server for one client and one run: the bytes go in, everything that comes back comes out.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_core::{Clock, ManualClock, Timestamp};
use weir_engine::fuzz::{Folder, folder_of};
use weir_engine::{Engine, Fsync, Options};
use weir_log::{Disk, LogOptions, MemoryDisk};
use weir_server::Limits;
use weir_server::resp::{Config, Listener, Server};

/// More input than this is not sent: the point is what is said, not how much.
const INPUT_MAX: usize = 64 << 10;

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)))
}

/// A small engine without work of its own, so that a run depends on its input only.
pub(crate) fn engine(disk: Arc<dyn Disk>) -> Engine {
    let log = LogOptions { segment_bytes: 64 << 10, ring_bytes: 64 << 10, ..LogOptions::default() };
    let options = Options { fsync: Fsync::No, background: false, log, ..Options::default() };
    Engine::open(disk, clock(), options).expect("an empty disk in memory opens")
}

/// Serves one client that sends these bytes and hangs up; answers what it was sent.
pub(crate) fn serve(engine: &Engine, input: &[u8]) -> Vec<u8> {
    let path = socket_path();
    let listener = UnixListener::bind(&path).expect("a free name");
    let limits = Limits { clients: 8, spin: Duration::ZERO, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let listeners = vec![Listener::unix(listener).expect("a socket")];
    let server = Server::new(listeners, engine.clone(), clock(), config).expect("what a poll needs");
    let stopper = server.stopper();
    let input = &input[..input.len().min(INPUT_MAX)];
    let answer = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let answer = talk(&path, input);
            stopper.stop();
            answer
        });
        server.run().expect("the poll goes on");
        client.join().expect("the client does not panic")
    });
    drop(std::fs::remove_file(path));
    answer
}

/// A server may end the conversation at any time; what it said until then counts.
fn talk(path: &PathBuf, input: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).expect("the server listens");
    let mut answer = Vec::new();
    let mut reader = stream.try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        scope.spawn(|| drop(reader.read_to_end(&mut answer)));
        drop(stream.write_all(input));
        drop(stream.shutdown(std::net::Shutdown::Write));
    });
    answer
}

fn socket_path() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("weir-fuzz-{}-{}.sock", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    std::env::temp_dir().join(name)
}

/// The folder of an engine that has done a bit of everything, with a snapshot on the way.
pub(crate) fn folder() -> Folder {
    let disk = MemoryDisk::new();
    let engine = engine(Arc::new(disk.clone()));
    run(&engine, 1);
    engine.snapshot().expect("memory has no faults");
    run(&engine, 2);
    engine.sync().expect("memory has no faults");
    folder_of(&disk).expect("memory can be read")
}

fn run(engine: &Engine, part: u64) {
    let mut script = String::new();
    let mut add = |line: String| {
        script.push_str(&line);
        script.push_str("\r\n");
    };
    let base = part * 10_000;
    for n in 1..=130 {
        add(format!("XADD orders {}-{} type placed no {n}", base + n / 3, n % 3));
    }
    add(format!("XGROUP CREATE orders billing{part} 0"));
    for name in ["ann", "bob"] {
        add(format!("XREADGROUP GROUP billing{part} {name} COUNT 20 STREAMS orders >"));
    }
    add(format!("XACK orders billing{part} {}-1 {}-2 {base}-1 {base}-2", base + 1, base + 1));
    add(format!("XNACK orders billing{part} FAIL IDS 1 {}-0", base + 3));
    add(format!("XCLAIM orders billing{part} cid 0 {}-1 {}-2 JUSTID", base + 4, base + 4));
    add(format!("XDEL orders {}-0 {}-1", base + 9, base + 10));
    add("XTRIM orders MAXLEN ~ 150".into());
    add(format!("XADD other IDMP p{part} i1 * f v"));
    add(format!("XADD other IDMPAUTO p{part} * f {part}"));
    add(format!("XGROUP CREATE other late $ ENTRIESREAD {part}"));
    add(format!("SET note{part} text"));
    add(format!("EXPIRE note{part} 1000"));
    add(format!("COPY other copy{part}"));
    add(format!("RENAME copy{part} renamed{part}"));
    add("MULTI\r\nXADD tied * a b\r\nXTRIM tied MAXLEN 1\r\nEXEC".into());
    add("SELECT 3\r\nXADD elsewhere * a b\r\nXADD gone * a b\r\nDEL gone\r\nSWAPDB 3 4".into());
    let answer = serve(engine, script.as_bytes());
    assert!(answer.starts_with(format!("${}\r\n{base}-1\r\n", format!("{base}-1").len()).as_bytes()));
}
