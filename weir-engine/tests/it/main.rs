//! The engine through its public door.

mod reclaiming;
mod recovery;
mod streams;
