//! Commands that took long, newest first.
//!
//! Arguments are cut, so that a row costs a few KiB at most, and the number of rows is limited.

use std::collections::VecDeque;
use std::time::Duration;

use weir_resp::Request;

use super::monitor::is_secret;

/// Arguments of a command that are kept, and bytes of each.
const ARGS_MAX: usize = 32;
const ARG_BYTES_MAX: usize = 128;
/// The most rows that may be asked for.
pub(crate) const ROWS_MAX: u64 = 100_000;

/// A command that took long.
#[derive(Debug)]
pub(crate) struct SlowCommand {
    pub(crate) id: u64,
    /// When it ended, in seconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) took: Duration,
    pub(crate) args: Vec<Box<[u8]>>,
    pub(crate) address: String,
    pub(crate) client_name: Box<[u8]>,
}

/// The slow log.
#[derive(Debug)]
pub(crate) struct SlowLog {
    /// Commands that take longer are kept; `None` = none is.
    pub(crate) slower_than: Option<Duration>,
    rows_max: usize,
    rows: VecDeque<SlowCommand>,
    next_id: u64,
}

impl Default for SlowLog {
    fn default() -> Self {
        Self {
            slower_than: Some(Duration::from_millis(10)),
            rows_max: 128,
            rows: VecDeque::new(),
            next_id: 0,
        }
    }
}

impl SlowLog {
    /// Whether a command that took so long is to be kept.
    #[inline]
    pub(crate) fn wants(&self, took: Duration) -> bool {
        self.slower_than.is_some_and(|limit| took >= limit)
    }

    pub(crate) fn add(
        &mut self,
        at: u64,
        took: Duration,
        args: Vec<Box<[u8]>>,
        address: String,
        client_name: Box<[u8]>,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        let client_name = cut(&client_name);
        self.rows.push_front(SlowCommand { id, at, took, args, address, client_name });
        self.rows.truncate(self.rows_max);
    }

    /// The rows, newest first.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = &SlowCommand> {
        self.rows.iter()
    }

    pub(crate) fn rows_max(&self) -> u64 {
        self.rows_max as u64
    }

    pub(crate) fn set_rows_max(&mut self, rows_max: u64) {
        self.rows_max = rows_max.min(ROWS_MAX) as usize;
        self.rows.truncate(self.rows_max);
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }
}

/// A command's words as they are kept: cut, with a word about what was left out.
pub(crate) fn shortened(args: Request<'_>) -> Vec<Box<[u8]>> {
    let kept = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let shown = |(at, word)| if is_secret(args, at) { b"(redacted)".as_slice().into() } else { cut(word) };
    let mut short: Vec<Box<[u8]>> = args.iter().enumerate().take(kept).map(shown).collect();
    if args.len() > kept {
        short.push(format!("... ({} more arguments)", args.len() - kept).into_bytes().into());
    }
    short
}

fn cut(arg: &[u8]) -> Box<[u8]> {
    match arg.get(..ARG_BYTES_MAX) {
        Some(start) if arg.len() > ARG_BYTES_MAX => {
            let note = format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX);
            [start, note.as_bytes()].concat().into()
        }
        _ => arg.into(),
    }
}
