//! The runtime on the naive broker, in virtual time: tokio's clock is paused and jumps whenever everything waits.

#![expect(clippy::unwrap_used, reason = "functions of tests are tests")]

mod basics;
mod publishing;
mod rules;
mod simply;
mod traps;
mod world;
