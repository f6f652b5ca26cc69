//! The client of a weir server, against a server that only carries out `WEIR.*` on a naive broker.

mod broken;
mod door;
mod exam;
