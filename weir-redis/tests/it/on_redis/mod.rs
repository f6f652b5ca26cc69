//! The broker on real Redis servers, which the tests start themselves.

mod delivery;
mod exam;
mod groups;
mod properties;
mod redis_server;
mod streams;
