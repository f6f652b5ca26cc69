//! The RESP door, driven over real sockets.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod acl;
mod blocking;
mod clients;
mod cold;
mod connection;
mod durability;
mod groups;
mod harness;
mod hostile;
mod info;
mod keys;
mod notifications;
mod pubsub;
mod server;
mod streams;
mod tls;
mod transactions;
