//! The RESP door, driven over real sockets.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod acl;
mod blocking;
mod clients;
mod cold;
mod connection;
mod durability;
mod exam;
mod gates;
mod groups;
mod harness;
mod held;
mod hostile;
mod info;
mod keys;
mod limits;
mod notifications;
mod proxy;
mod pubsub;
mod server;
mod streams;
mod tls;
mod transactions;
mod wire;
