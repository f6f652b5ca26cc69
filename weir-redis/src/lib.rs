//! The broker traits over a Redis or Valkey, or over a weir server.

pub mod server;
