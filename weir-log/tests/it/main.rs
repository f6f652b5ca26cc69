//! The log seen from outside: open, append, commit, read, and every way a crash can get in between.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod basics;
mod check;
mod crash;
mod faults;
mod fixture;
mod life;
mod model;
mod reclaim;
mod support;
mod tail;
mod threads;
