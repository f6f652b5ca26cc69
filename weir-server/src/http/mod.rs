//! The HTTP door: probes, health, version and metrics.
//!
//! It runs on a thread of its own, with a runtime that has no other thread, so that whatever happens here costs the
//! RESP door nothing but a short turn at the engine now and then. Handlers are thin: ask, render.
//!
//! Invariants:
//! * Nothing here changes anything: there is no request that writes.
//! * A connection costs bounded memory and ends when its client is silent; there are at most [`CONNECTIONS_MAX`].
//! * Nothing that names a stream or a group is told without the token, when there is one.

mod app;
mod facts;
mod health;
mod listener;
mod metrics;
mod samples;
mod server;

#[cfg(test)]
mod tests;

pub use app::app;
pub use facts::Facts;
pub use listener::{CONNECTIONS_MAX, REQUEST_MAX, SILENCE_MAX};
pub use metrics::{METRICS, Metric, MetricKind};
pub use samples::{GROUPS_MAX, KEYS_MAX};
pub use server::HttpServer;
