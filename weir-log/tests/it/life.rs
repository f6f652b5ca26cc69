//! Lives of one log on a failing disk, and what must be found after each.

use std::sync::Arc;

use weir_log::faulty::{FaultyDisk, Keep};
use weir_log::{Disk, Level, LogOptions, MemoryDisk, OpenError, Opened, Preparation};

use crate::support::{Record, body, open, salts, small};

/// Everything that was appended in all lives, as far as it was not lost to a crash.
#[derive(Clone, Default)]
pub(crate) struct History {
    pub(crate) records: Vec<Record>,
    /// Numbers of records between which a crash may cut: not inside a transaction.
    pub(crate) borders: Vec<usize>,
    /// So many records were promised to survive a killed process.
    pub(crate) written: usize,
    /// So many records were promised to survive a power cut.
    pub(crate) durable: usize,
    /// Counts lives, so that no two write the same bytes.
    pub(crate) lives: u64,
}

/// What one life does.
#[derive(Copy, Clone)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) steps: u64,
    pub(crate) close: bool,
    pub(crate) preparation: Preparation,
}

impl History {
    /// Holds what was found against what was promised, and takes it as the state to go on from.
    pub(crate) fn settle(&mut self, found: &[Record], least: usize) {
        let n = found.len();
        assert!(n >= least, "{least} records were promised, {n} found");
        assert!(n <= self.records.len(), "{n} records found, {} ever appended", self.records.len());
        for (index, (found, appended)) in found.iter().zip(&self.records).enumerate() {
            assert_eq!(found.0, appended.0, "record {index} has another address");
            assert!(found.1 == appended.1, "record {index} has another body");
        }
        assert!(n == 0 || self.borders.contains(&n), "cut inside a transaction, behind record {n}");
        self.records.truncate(n);
        self.borders.retain(|border| *border <= n);
        self.written = n;
        self.durable = n;
    }

    /// Opens the disk, checks, and runs the script until it ends or the disk fails. True if it ran to its end.
    pub(crate) fn live(&mut self, disk: &FaultyDisk, least: usize, script: Script) -> bool {
        self.lives += 1;
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let options = LogOptions { preparation: script.preparation, ..small() };
        match open(&shared, options, self.lives ^ script.seed << 8, None) {
            Ok((opened, found)) => {
                self.settle(&found, least);
                self.run(opened, script).is_some()
            }
            Err(OpenError::Disk { .. }) => false,
            Err(other) => panic!("{other}\n{}", disk.trace().join("\n")),
        }
    }

    fn run(&mut self, opened: Opened, script: Script) -> Option<()> {
        let Opened { log, mut appender, .. } = opened;
        let mut next = salts(script.seed ^ 0x5eed);
        for step in 0..script.steps {
            let transaction = next().is_multiple_of(4);
            if transaction {
                appender.begin();
            }
            for _ in 0..1 + next() % 3 {
                // Mostly of one length, so that records of one life can take the exact place of another's.
                let len = [40, 40, 40, 40, 700, 3000, 9000][(next() % 7) as usize];
                let body = body(self.lives << 32 | self.records.len() as u64, len);
                let lsn = appender.append(|buffer| buffer.extend_from_slice(&body));
                self.records.push((lsn, body));
                if !transaction {
                    self.borders.push(self.records.len());
                }
            }
            if transaction {
                appender.end();
                self.borders.push(self.records.len());
            }
            match next() % 6 {
                0 => {}
                1..=3 => {
                    appender.submit();
                    log.commit(appender.head(), Level::Written).ok()?;
                    self.written = self.records.len();
                }
                _ => {
                    appender.submit();
                    log.commit(appender.head(), Level::Durable).ok()?;
                    self.written = self.records.len();
                    self.durable = self.records.len();
                }
            }
            if step % 3 == 0 {
                log.background_step().ok()?;
            }
        }
        if script.close {
            log.close(appender).ok()?;
            self.written = self.records.len();
            self.durable = self.records.len();
        }
        Some(())
    }

    /// How much of it must be found after a crash that keeps this.
    pub(crate) fn least(&self, keep: Keep) -> usize {
        if keep == Keep::Everything { self.written } else { self.durable }
    }
}

/// How many operations a life on `image` takes when nothing fails.
pub(crate) fn operations(image: &MemoryDisk, history: &History, script: Script) -> u64 {
    let disk = FaultyDisk::over(image);
    let least = history.durable.min(history.written);
    assert!(history.clone().live(&disk, least, script));
    disk.operations()
}

/// The image without faults holds exactly a legal prefix, and goes on working.
pub(crate) fn check_image(image: &MemoryDisk, history: &History, least: usize, options: LogOptions) {
    let mut history = history.clone();
    let disk: Arc<dyn Disk> = Arc::new(image.clone());
    let (mut opened, found) = open(&disk, options.clone(), 4242, None).unwrap();
    history.settle(&found, least);
    let mut expected = found;
    for n in 0..40 {
        let body = body(1 << 60 | n, 40);
        expected.push((opened.appender.append(|buffer| buffer.extend_from_slice(&body)), body));
    }
    opened.appender.submit();
    opened.log.flush_submitted(Level::Durable).unwrap();
    drop(opened);
    let (_, found) = open(&disk, options, 4243, None).unwrap();
    assert!(found == expected, "{} records found, {} expected", found.len(), expected.len());
}
