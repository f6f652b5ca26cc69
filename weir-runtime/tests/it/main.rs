//! The runtime on the naive broker, in virtual time: tokio's clock is paused and jumps whenever everything waits.

mod basics;
mod rules;
mod traps;
mod world;
