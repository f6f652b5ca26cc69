//! An embedded engine that is closed or killed and started again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use weir_core::{Broker, Clock, Error};
use weir_engine::{Engine, Options};
use weir_log::{Disk, LogOptions, MemoryDisk, Open};

/// The engine on a disk in memory. It has no threads: nothing happens beside what is asked of it.
pub(crate) struct Life {
    clock: Arc<dyn Clock>,
    now: Mutex<(Arc<MemoryDisk>, Engine)>,
    restarts: AtomicU64,
}

impl Life {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let disk = Arc::new(MemoryDisk::new());
        let engine = open(disk.clone(), clock.clone()).expect("memory has no faults");
        Self { clock, now: Mutex::new((disk, engine)), restarts: AtomicU64::new(0) }
    }

    pub(crate) fn broker(&self) -> Result<Arc<dyn Broker>, Error> {
        Ok(Arc::new(self.now.lock().expect("no test goes on after a panic").1.namespace("default")?))
    }

    /// Every other time it is closed in peace, the other times killed: it finds what it had handed to the system.
    pub(crate) fn restart(&self) -> Result<Arc<dyn Broker>, Error> {
        {
            let mut now = self.now.lock().expect("no test goes on after a panic");
            let is_killed = self.restarts.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            let left = if is_killed { Arc::new(copy(&now.0)) } else { now.0.clone() };
            now.1.close()?;
            *now = (left.clone(), open(left, self.clock.clone())?);
        }
        self.broker()
    }
}

fn open(disk: Arc<MemoryDisk>, clock: Arc<dyn Clock>) -> Result<Engine, Error> {
    let log = LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() };
    Engine::open(disk, clock, Options { background: false, log, ..Options::default() })
}

fn copy(disk: &MemoryDisk) -> MemoryDisk {
    let copy = MemoryDisk::new();
    copy_folder(disk, &copy, "");
    copy
}

fn copy_folder(from: &MemoryDisk, to: &MemoryDisk, folder: &str) {
    to.create_dir(folder).expect("memory has no faults");
    for name in from.list(folder).expect("memory has no faults") {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let Ok(file) = from.open(&path, Open::Read) else {
            copy_folder(from, to, &path);
            continue;
        };
        let mut bytes = vec![
            0;
            usize::try_from(file.len().expect("memory has no faults"))
                .expect("memory has no faults")
        ];
        weir_log::read_full(&*file, &mut bytes, 0).expect("memory has no faults");
        to.open(&path, Open::Create)
            .expect("memory has no faults")
            .write_at(&bytes, 0)
            .expect("memory has no faults");
    }
}
