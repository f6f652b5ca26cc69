//! How long a list in a call may be. What is longer is refused before anything is done.

/// Entries of one `WEIR.ADDBATCH`.
pub const BATCH_ENTRIES_MAX: usize = 10_000;
/// Fields of one entry.
pub const FIELDS_MAX: usize = 1 << 20;
/// Settlements of one call.
pub const SETTLEMENTS_MAX: usize = 100_000;
/// Entry IDs of one call.
pub const IDS_MAX: usize = 1 << 20;
/// Rows of one `WEIR.RESTORE`.
pub const ROWS_MAX: usize = 100_000;
/// Conditions of a filter.
pub const CONDITIONS_MAX: usize = 100;
/// Values of a condition.
pub const VALUES_MAX: usize = 10_000;
/// Delays of a backoff.
pub const DELAYS_MAX: usize = 10_000;
/// What `COUNT` is when it is not given.
pub const COUNT_DEFAULT: u64 = 100;
