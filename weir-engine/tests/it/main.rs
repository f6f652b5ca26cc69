//! The engine through its public door.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod background;
mod cold;
mod concurrent;
mod damage;
mod deliveries;
mod examples;
mod faults;
mod fuzzy;
mod keeping;
mod lagging;
mod limits;
mod power_cuts;
mod reclaiming;
mod recovery;
mod script;
mod served;
mod stories;
mod streams;
mod tasks;
mod verbs;
mod waiting;
mod watched;
