//! The doors: RESP on the engine's command interface.
//!
//! A door turns bytes into requests to the engine and answers into bytes. It keeps nothing that has to survive a
//! restart: whatever must be found again is in the engine.

mod door_stats;
pub mod http;
mod limits;
pub mod proxy;
pub mod resp;
mod tls;

pub use door_stats::{DoorCounts, DoorStats};
pub use limits::Limits;
pub use tls::Identity;
