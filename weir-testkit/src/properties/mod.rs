//! Property runs: random sequences of operations, applied to several brokers at once, and every reply compared.
//!
//! The names are few, so that things collide; delays, leases and idle times are either nothing or an hour, so that no
//! reply depends on how fast anybody is. What brokers choose themselves is masked: IDs from the time (they are numbered
//! in the order they were given), global positions, times, rates, tokens. From time to time a broker is restarted, if it
//! can be, and everything there is to know of all streams and groups is compared and [lag is recounted](recount()).
//!
//! A sequence depends on its seed alone; one that parts the brokers is made as short as possible before it is reported.
//!
//! Brokers have to be on real time, and the runtime needs timers.
//!
//! Touches no stream whose name does not begin with its prefix, and deletes those it made.

mod apply;
mod book;
mod generate;
mod look;
pub mod op;
mod recount;
mod run;
mod shown;

pub use recount::recount;
pub use run::{Contender, Difference, Restart, RunOptions, Summary, replay, run};
