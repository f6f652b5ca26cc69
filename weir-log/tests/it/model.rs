//! Random use against a plain list: the log is what was committed, in every order of operations.

use std::sync::Arc;

use proptest::prelude::*;
use weir_log::{Disk, Level, Lsn, MemoryDisk, Opened};

use crate::support::{Record, body, open, read, scan, small};

#[derive(Clone, Debug)]
enum Operation {
    /// Records of these lengths, each for itself.
    Append(Vec<usize>),
    /// The same, together.
    Transaction(Vec<usize>),
    Commit(Level),
    Background,
    /// Keeps one record in so many.
    Compact(usize),
    /// Gives back the records from one to another, counted in the segment.
    Punch(usize, usize),
    Close,
    Kill,
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![
        4 => 0..200_usize,
        2 => 1000..9000_usize,
        // Up to the largest that fits, which leaves no room for anything else in its segment.
        1 => 61_000..=61_424_usize,
    ];
    prop::collection::vec(length, 1..6)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => lengths().prop_map(Operation::Append),
        3 => lengths().prop_map(Operation::Transaction),
        4 => prop_oneof![Just(Level::Written), Just(Level::Durable)].prop_map(Operation::Commit),
        3 => Just(Operation::Background),
        1 => (1..10_usize).prop_map(Operation::Compact),
        1 => (0..10_usize, 1..40_usize).prop_map(|(from, count)| Operation::Punch(from, count)),
        1 => Just(Operation::Close),
        2 => Just(Operation::Kill),
    ]
}

struct World {
    disk: Arc<dyn Disk>,
    opened: Option<Opened>,
    /// What a scan shows.
    committed: Vec<Record>,
    /// Appended since, and lost if the process is killed.
    fresh: Vec<Record>,
    count: u64,
}

impl World {
    fn opened(&mut self) -> &mut Opened {
        self.opened.as_mut().unwrap()
    }

    fn append(&mut self, len: usize) {
        self.count += 1;
        let body = body(self.count, len);
        let lsn = self.opened().appender.append(|buffer| buffer.extend_from_slice(&body));
        self.fresh.push((lsn, body));
    }

    fn commit(&mut self, level: Level) {
        let opened = self.opened();
        opened.appender.submit();
        opened.log.commit(opened.appender.head(), level).unwrap();
        self.committed.append(&mut self.fresh);
    }

    /// A segment that can be touched up, with its records.
    fn sealed(&mut self) -> Option<(u64, Vec<Lsn>)> {
        let durable = self.opened().log.durable().0 >> 16;
        let no = self.committed.iter().map(|record| record.0.0 >> 16).find(|no| *no < durable)?;
        let inside = self.committed.iter().map(|record| record.0).filter(|lsn| lsn.0 >> 16 == no);
        Some((no, inside.collect()))
    }

    fn reopen(&mut self) {
        self.fresh.clear();
        let seed = self.count << 20 | 7;
        let from = self.committed.first().map(|record| record.0);
        let (opened, found) = open(&self.disk, small(), seed, from).unwrap();
        assert!(found == self.committed, "{} found, {} expected", found.len(), self.committed.len());
        self.opened = Some(opened);
    }

    fn run(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(lengths) => lengths.iter().for_each(|len| self.append(*len)),
            Operation::Transaction(lengths) => {
                self.opened().appender.begin();
                lengths.iter().for_each(|len| self.append(*len));
                self.opened().appender.end();
            }
            Operation::Commit(level) => self.commit(*level),
            Operation::Background => drop(self.opened().log.background_step().unwrap()),
            Operation::Compact(one_in) => {
                if let Some((no, inside)) = self.sealed() {
                    let kept: Vec<_> = inside.into_iter().step_by(*one_in).collect();
                    let keep = &mut |lsn: Lsn, _: &[u8]| kept.contains(&lsn);
                    self.opened().log.compact(no, keep).unwrap();
                    self.committed.retain(|record| record.0.0 >> 16 != no || kept.contains(&record.0));
                }
            }
            Operation::Punch(from, count) => {
                if let Some((no, inside)) = self.sealed().filter(|(_, inside)| inside.len() > from + count) {
                    let range = inside[*from]..inside[from + count];
                    if self.opened().log.punch(no, std::slice::from_ref(&range)).is_ok() {
                        self.committed.retain(|record| !range.contains(&record.0));
                    }
                }
            }
            Operation::Close => {
                let opened = self.opened.take().unwrap();
                opened.log.close(opened.appender).unwrap();
                self.committed.append(&mut self.fresh);
                self.reopen();
            }
            Operation::Kill => {
                self.opened = None;
                self.reopen();
            }
        }
        let log = &self.opened.as_ref().unwrap().log;
        assert!(scan(log, Lsn(0)) == self.committed, "after {operation:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_what_was_committed(operations in prop::collection::vec(operation(), 1..60)) {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let (opened, _) = open(&disk, small(), 1, None).unwrap();
        let (committed, fresh) = (Vec::new(), Vec::new());
        let mut world = World { disk, opened: Some(opened), committed, fresh, count: 0 };
        for operation in &operations {
            world.run(operation);
        }
        world.commit(Level::Durable);
        let lsns: Vec<_> = world.committed.iter().map(|record| record.0).collect();
        let bodies: Vec<_> = world.committed.iter().map(|record| record.1.clone()).collect();
        prop_assert!(read(&world.opened().log, &lsns) == bodies);
    }
}
