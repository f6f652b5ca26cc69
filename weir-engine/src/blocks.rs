//! Sealed index blocks in memory: a bounded cache over the log.
//!
//! A block that is not here, nor among those read ahead for the request at hand, is *cold*: the caller leaves the
//! engine's lock and reads it. Blocks are read on the spot only for what cannot be asked again, a command inside a
//! transaction or a read that waited, and for a request that needs more of them than are kept for one (`ahead.rs`).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_log::{Log, Lsn};

use crate::ahead::{Ahead, read_blocks};
use crate::api::Cold;
use crate::block::Block;
use crate::stream::BlockSource;

/// So many blocks are looked at to make place for one: those in use stay for now.
const LOOKS_MAX: usize = 64;
/// What a cached block costs beyond its deltas.
pub(crate) const OVERHEAD: usize = 160;

#[derive(Debug, Default)]
struct Cache {
    blocks: HashMap<Lsn, (Arc<Block>, bool), foldhash::fast::FixedState>,
    /// Second chance: the oldest goes unless it was used since it was last looked at.
    order: VecDeque<Lsn>,
    bytes: usize,
}

/// The cache and its source.
#[derive(Debug)]
pub(crate) struct Blocks {
    cache: RefCell<Cache>,
    bytes_max: usize,
    log: Arc<Log>,
    on_the_spot: Cell<bool>,
    /// What was read for the request at hand.
    ahead: Ahead,
}

impl Blocks {
    pub(crate) fn new(log: Arc<Log>, bytes_max: usize) -> Self {
        Self {
            cache: RefCell::default(),
            bytes_max,
            log,
            on_the_spot: Cell::new(false),
            ahead: Ahead::default(),
        }
    }

    /// Whether cold blocks are read at once; returns what held before.
    pub(crate) fn read_on_the_spot(&self, yes: bool) -> bool {
        self.on_the_spot.replace(yes)
    }

    pub(crate) fn reads_on_the_spot(&self) -> bool {
        self.on_the_spot.get()
    }

    /// What was read for the request at hand, from now on; returns what it was before.
    pub(crate) fn lend(&mut self, ahead: Ahead) -> Ahead {
        self.on_the_spot.set(ahead.is_full());
        std::mem::replace(&mut self.ahead, ahead)
    }

    pub(crate) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    pub(crate) fn insert(&self, lsn: Lsn, block: Arc<Block>) {
        let mut cache = self.cache.borrow_mut();
        let cost = OVERHEAD + block.heap_bytes();
        if cache.blocks.insert(lsn, (block, false)).is_none() {
            cache.order.push_back(lsn);
            cache.bytes += cost;
        }
        // What is not written yet can be read from nowhere else.
        let written = self.log.written();
        for _ in 0..LOOKS_MAX.min(cache.order.len()) {
            if cache.bytes <= self.bytes_max {
                break;
            }
            let Some(oldest) = cache.order.pop_front() else { break };
            match cache.blocks.get_mut(&oldest) {
                Some((_, used)) if *used || oldest >= written => {
                    *used = false;
                    cache.order.push_back(oldest);
                }
                _ => {
                    if let Some((block, _)) = cache.blocks.remove(&oldest) {
                        cache.bytes -= OVERHEAD + block.heap_bytes();
                    }
                }
            }
        }
    }
}

impl BlockSource for Blocks {
    fn block(&self, lsn: Lsn) -> Result<Arc<Block>, Cold> {
        if let Some((block, used)) = self.cache.borrow_mut().blocks.get_mut(&lsn) {
            *used = true;
            return Ok(block.clone());
        }
        if let Some(block) = self.ahead.block(lsn) {
            return Ok(block.clone());
        }
        if !self.on_the_spot.get() {
            return Err(Cold::block(lsn));
        }
        let block = read_block(&self.log, lsn).ok_or_else(|| Cold::block(lsn))?;
        self.insert(lsn, block.clone());
        Ok(block)
    }

    fn holds(&self, lsn: Lsn) -> bool {
        self.ahead.block(lsn).is_some() || self.cache.borrow().blocks.contains_key(&lsn)
    }
}

/// Reads a sealed block from its record; `None` when the disk fails or the record is no block.
pub(crate) fn read_block(log: &Log, lsn: Lsn) -> Option<Arc<Block>> {
    let mut found = None;
    let read = read_blocks(log, &[lsn], &mut |block| {
        found = Some(Arc::new(block));
        ControlFlow::Break(())
    });
    read.ok().and(found)
}
