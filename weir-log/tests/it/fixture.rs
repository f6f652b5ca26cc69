//! A folder in format 1, kept as files: it still opens, and the same run still writes the same bytes.

use std::path::PathBuf;
use std::sync::Arc;

use weir_log::{Disk, Level, LogOptions, Lsn, MemoryDisk, Open, RealDisk, check};

use crate::support::{Record, open, read, scan, small};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

/// A rewritten segment, one with a hole, and the current one; transactions; closed in order.
fn write() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    // When a watermark is put in may change; what one looks like may not. The close puts one in.
    let options = LogOptions { spares_max: 0, watermark_bytes: 1 << 30, ..small() };
    let (mut opened, _) = open(&shared, options, 1, None).unwrap();
    let mut lsns = Vec::new();
    for n in 0..700 {
        let transaction = n % 10 == 0;
        if transaction {
            opened.appender.begin();
        }
        lsns.push(opened.appender.append(|buffer| buffer.extend_from_slice(&text(n))));
        if transaction {
            lsns.push(opened.appender.append(|_| {}));
            opened.appender.end();
        }
        opened.appender.submit();
        opened.log.flush_submitted(Level::Durable).unwrap();
    }
    opened.log.compact(0, &mut |lsn, _| lsn.0 % 16 == 0).unwrap();
    let inside: Vec<_> = lsns.iter().filter(|lsn| lsn.0 >> 16 == 1).collect();
    opened.log.punch(1, &[*inside[20]..*inside[300]]).unwrap();
    opened.log.background_step().unwrap();
    opened.log.close(opened.appender).unwrap();
    disk
}

fn text(n: usize) -> Vec<u8> {
    format!("record {n} ").repeat(1 + n % 30).into_bytes()
}

fn files(disk: &dyn Disk) -> Vec<(String, Vec<u8>)> {
    let mut names = disk.list("seg").unwrap();
    names.sort();
    let contents = |name: &String| {
        let file = disk.open(&format!("seg/{name}"), Open::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
        bytes
    };
    names.iter().map(|name| (name.clone(), contents(name))).collect()
}

#[test]
fn the_same_run_writes_the_same_bytes() {
    let (kept, written) = (files(&RealDisk::new(folder())), files(&write()));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&kept), names(&written));
    for ((name, kept), (_, written)) in kept.iter().zip(&written) {
        assert!(kept == written, "{name} has changed: that is a new format");
    }
}

#[test]
fn a_folder_in_format_1_still_opens() {
    let copy = MemoryDisk::new();
    for (name, bytes) in files(&RealDisk::new(folder())) {
        copy.open(&format!("seg/{name}"), Open::Create).unwrap().write_at(&bytes, 0).unwrap();
    }
    let report = check(&copy, None, &mut |_, _| {}).unwrap();
    assert_eq!(report.findings, []);
    let shared: Arc<dyn Disk> = Arc::new(copy);
    let (opened, found) = open(&shared, small(), 5, None).unwrap();
    assert!(opened.report.clean);
    assert_eq!((found.len() as u64, opened.report.end), (report.records, report.end));
    // Each record says its number; only these few segments have lost some.
    let numbered: Vec<&Record> = found.iter().filter(|record| !record.1.is_empty()).collect();
    let number = |record: &Record| -> usize {
        let text = std::str::from_utf8(&record.1).unwrap();
        text.split(' ').nth(1).unwrap().parse().unwrap()
    };
    assert!(numbered.iter().all(|record| record.1 == text(number(record))));
    assert!(numbered.is_sorted_by_key(|record| number(record)));
    let last = numbered.iter().filter(|record| record.0.0 >> 16 >= 2);
    assert_eq!(last.clone().map(|record| number(record)).max(), Some(699));
    assert_eq!(last.clone().count(), 699 + 1 - number(last.clone().next().unwrap()));
    assert_eq!(scan(&opened.log, Lsn(0)), found);
    let lsns: Vec<_> = found.iter().map(|record| record.0).collect();
    assert_eq!(read(&opened.log, &lsns).len(), found.len());
}

/// For a new format only: run by hand, and keep the old folder beside.
#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    let disk = RealDisk::new(folder());
    disk.create_dir("seg").unwrap();
    for (name, bytes) in files(&write()) {
        disk.open(&format!("seg/{name}"), Open::Create).unwrap().write_at(&bytes, 0).unwrap();
    }
}
