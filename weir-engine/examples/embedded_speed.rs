//! How fast one program appends through the embedded engine.
//!
//! Run with: `cargo run --release -p weir-engine --example embedded_speed -- DIR [value-bytes]`

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::sync::Arc;
use std::time::Duration;

use weir_core::{Clock, SystemClock};
use weir_engine::{Append, Engine, Fsync, KeyRef, NamespaceNo, NewId, Options};
use weir_log::RealDisk;

const FOR: Duration = Duration::from_secs(2);

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("usage: embedded_speed DIR [value-bytes]");
    let bytes = args.next().map_or(160, |n| n.parse().expect("value-bytes is a number"));
    let rates = [
        ("everysec, 1 thread, batch 1", run(&dir, bytes, Fsync::EverySecond, 1, 1)),
        ("everysec, 1 thread, batch 100", run(&dir, bytes, Fsync::EverySecond, 1, 100)),
        ("always, 1 thread, batch 1", run(&dir, bytes, Fsync::Always, 1, 1)),
        ("always, 64 threads, batch 1", run(&dir, bytes, Fsync::Always, 64, 1)),
    ];
    for (name, rate) in &rates {
        println!("{name:32} {rate:>12.0} appends/s");
    }
    println!("always, 64 threads over 1: {:.1} times", rates[3].1 / rates[2].1);
}

/// Appends per second.
fn run(dir: &str, bytes: usize, fsync: Fsync, threads: usize, batch: usize) -> f64 {
    let clock = Arc::new(SystemClock::new());
    let options = Options { fsync, ..Options::default() };
    let engine =
        Engine::open(Arc::new(RealDisk::new(dir)), clock.clone(), options).expect("the folder opens");
    let value = vec![b'x'; bytes];
    let start = clock.elapsed();
    let total: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| work(&engine, &value, batch, &|| clock.elapsed() - start < FOR)))
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no worker panics")).sum()
    });
    let took = clock.elapsed() - start;
    engine.close().expect("the folder is writable");
    total as f64 / took.as_secs_f64()
}

fn work(engine: &Engine, value: &[u8], batch: usize, go_on: &dyn Fn() -> bool) -> u64 {
    let key = KeyRef { ns: NamespaceNo(0), name: b"orders" };
    let fields: [&[u8]; 2] = [b"value", value];
    let request = Append { id: NewId::Auto, fields: &fields, create: true, trim: None, producer: None };
    let mut count = 0;
    while go_on() {
        for _ in 0..64_usize.div_ceil(batch) {
            let mut turn = engine.turn();
            for _ in 0..batch {
                turn.append(key, &request).expect("appends are accepted");
            }
            let head = turn.head();
            drop(turn);
            engine.commit(head).expect("the disk works");
            count += batch as u64;
        }
    }
    count
}
