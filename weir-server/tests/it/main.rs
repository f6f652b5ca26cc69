//! The RESP door, driven over real sockets.

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
mod pubsub;
mod streams;
mod tls;
mod transactions;
