//! The engine through its public door.

mod power_cuts;
mod reclaiming;
mod recovery;
mod script;
mod streams;
mod watched;
