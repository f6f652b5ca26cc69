//! The engines behind a network.

mod server;
