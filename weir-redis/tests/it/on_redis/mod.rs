//! The broker on real Redis servers, which the tests start themselves.

mod delivery;
mod exam;
mod groups;
mod redis_server;
mod streams;
