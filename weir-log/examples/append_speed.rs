//! How fast a folder takes records. Makes a log in the folder, appends records of 160 bytes for two seconds per
//! line, and prints appends and flushes per second.
//!
//! Run with: `cargo run --release -p weir-log --example append_speed -- FOLDER [SECONDS]`

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::convert::Infallible;
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weir_log::{Appender, Level, Log, LogOptions, Lsn, Opened, RealDisk};

/// One line of the table.
struct Case {
    name: &'static str,
    level: Level,
    batch: u64,
    threads: usize,
}

const CASES: [Case; 9] = [
    Case { name: "written, 1 thread, batch 1", level: Level::Written, batch: 1, threads: 1 },
    Case { name: "written, 1 thread, batch 100", level: Level::Written, batch: 100, threads: 1 },
    Case { name: "written, 8 threads, batch 1", level: Level::Written, batch: 1, threads: 8 },
    Case { name: "durable, 1 thread, batch 1", level: Level::Durable, batch: 1, threads: 1 },
    Case { name: "durable, 1 thread, batch 100", level: Level::Durable, batch: 100, threads: 1 },
    Case { name: "durable, 2 threads, batch 1", level: Level::Durable, batch: 1, threads: 2 },
    Case { name: "durable, 4 threads, batch 1", level: Level::Durable, batch: 1, threads: 4 },
    Case { name: "durable, 8 threads, batch 1", level: Level::Durable, batch: 1, threads: 8 },
    Case { name: "durable, 64 threads, batch 1", level: Level::Durable, batch: 1, threads: 64 },
];

const BODY: [u8; 160] = [7; 160];
/// The log is kept to so many bytes, so that segments are recycled on the way.
const KEEP: u64 = 512 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let mut seed = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id());
    let salts = Box::new(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed
    });
    let began = Instant::now();
    let disk = Arc::new(RealDisk::new(folder));
    let opened = Log::open(disk, LogOptions::default(), salts, None, &mut |_, _| Ok::<_, Infallible>(()))?;
    let Opened { log, appender, report } = opened;
    println!("opened in {:?}: {} records, clean: {}", began.elapsed(), report.records, report.clean);
    let began = Instant::now();
    if seconds == 0.0 {
        return Ok(());
    }
    while log.background_step()? {}
    println!("prepared in {:?}", began.elapsed());

    let appender = Mutex::new(appender);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| background(&log, &done));
        for case in &CASES {
            run(&log, &appender, case, Duration::from_secs_f64(seconds));
        }
        done.store(true, Ordering::Relaxed);
    });
    read_back(&log)?;
    let appender = appender.into_inner()?;
    log.close(appender)?;
    Ok(())
}

/// Reads what is left: in order, by hundreds of neighbours, one by one; the newest and the oldest.
fn read_back(log: &Log) -> Result<(), Box<dyn Error>> {
    let mut lsns = Vec::new();
    let began = Instant::now();
    let end = log.scan(Lsn(0), &mut |lsn, _| {
        lsns.push(lsn);
        ControlFlow::Continue(())
    })?;
    println!("scan up to {end}: {:.1} M records/s", lsns.len() as f64 / began.elapsed().as_secs_f64() / 1e6);
    let newest = &lsns[lsns.len().saturating_sub(20_000)..];
    let oldest = &lsns[..lsns.len().min(20_000)];
    for (name, lsns) in [("newest", newest), ("oldest", oldest)] {
        for count in [1, 10, 100] {
            let began = Instant::now();
            let mut bytes = 0;
            for lsns in lsns.chunks(count) {
                log.read_many(lsns, &mut |_, body| {
                    bytes += body.len();
                    ControlFlow::Continue(())
                })?;
            }
            let each = began.elapsed().as_secs_f64() * 1e9 / lsns.len() as f64;
            println!("{name}, {count} at a time: {each:.0} ns per record");
        }
    }
    Ok(())
}

/// What the owner of a log does beside: prepare, flush every second, take back what is old.
fn background(log: &Log, done: &AtomicBool) {
    let mut flushed = Instant::now();
    while !done.load(Ordering::Relaxed) {
        let more = log.background_step().unwrap_or(false);
        if flushed.elapsed() > Duration::from_secs(1) {
            let durable = log.flush_submitted(Level::Durable).unwrap_or_default();
            let dropped = log.drop_segments_below(Lsn(durable.0.saturating_sub(KEEP)));
            flushed = Instant::now();
            drop(dropped);
        }
        if !more {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn run(log: &Log, appender: &Mutex<Appender>, case: &Case, time: Duration) {
    let before = log.stats();
    let count = AtomicU64::new(0);
    let slowest = AtomicU64::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..case.threads {
            scope.spawn(|| {
                while began.elapsed() < time {
                    let turn = Instant::now();
                    if append(log, appender, case).is_err() {
                        return;
                    }
                    slowest.fetch_max(turn.elapsed().as_micros() as u64, Ordering::Relaxed);
                    count.fetch_add(case.batch, Ordering::Relaxed);
                }
            });
        }
    });
    let took = began.elapsed().as_secs_f64();
    let stats = log.stats();
    println!(
        "{:<32} {:>10.0} appends/s {:>8.0} flushes/s, usual flush {:>5.0} µs, slowest commit {:>6} µs",
        case.name,
        count.into_inner() as f64 / took,
        (stats.flushes - before.flushes) as f64 / took,
        stats.flush_usual.as_secs_f64() * 1e6,
        slowest.into_inner(),
    );
}

fn append(log: &Log, appender: &Mutex<Appender>, case: &Case) -> Result<(), Box<dyn Error>> {
    let upto = {
        let Ok(mut appender) = appender.lock() else { return Err("another thread failed".into()) };
        for _ in 0..case.batch {
            appender.append(|buffer| buffer.extend_from_slice(&BODY));
        }
        appender.submit();
        appender.head()
    };
    log.commit(upto, case.level)?;
    Ok(())
}
