//! The broker on real Redis servers, which the tests start themselves.

mod cluster;
mod delivery;
mod doors;
mod exam;
mod groups;
mod outages;
mod properties;
mod redis_server;
mod streams;
