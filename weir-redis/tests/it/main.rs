//! The engines behind a network.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod on_redis;
mod server;
