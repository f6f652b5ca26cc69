//! The engine through its public door.

mod recovery;
mod streams;
