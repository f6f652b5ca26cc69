//! The codec from outside: exact texts, hostile peers, and random round trips.

mod hostile;
mod requests;
mod round_trips;
