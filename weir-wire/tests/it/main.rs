//! The wire as its users see it.

mod draw;
mod hostile;
mod round_trips;
mod table;
