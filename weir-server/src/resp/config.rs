//! What the door is told at the start, and the settings that clients can change while it runs.

use std::sync::Arc;

use crate::{DoorStats, Limits};

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// What clients may cost.
    pub limits: Limits,
    /// The password clients have to give; `None` = none is needed.
    pub password: Option<String>,
    /// Entries in a macro node, as the engine was told; 0 = no limit. The default limit of `~` trims depends on it.
    pub node_entries_max: u64,
    /// The data folder, as `CONFIG GET dir` answers it.
    pub dir: String,
    /// The address clients connect to, as `CONFIG GET bind` answers it.
    pub bind: String,
    /// The port clients connect to; 0 = none.
    pub port: u16,
    /// Whether DEBUG is allowed. Only for tests: its commands can hold up everybody.
    pub debug_commands: bool,
    /// Where the door publishes what it has done, for others to read.
    pub stats: Arc<DoorStats>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            password: None,
            node_entries_max: 100,
            dir: String::new(),
            bind: String::new(),
            port: 0,
            debug_commands: false,
            stats: Arc::default(),
        }
    }
}
