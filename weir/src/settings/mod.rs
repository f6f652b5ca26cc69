//! Settings, in two steps: what was written and where ([`Written`]), and what it means ([`Settings`]).
//!
//! A setting is one row of [`SETTINGS`]; the flag, the environment variable, the key of `weir.toml`, the help, `weir
//! config show` and the documentation come from that row. A flag wins over the environment, the environment over the
//! file, the file over the default.
//!
//! Nothing here opens, binds or creates what a setting names.

mod meaning;
mod parse;
mod table;
mod written;

pub(crate) use meaning::{DataDir, LogFormat, Settings};
pub(crate) use parse::{address, bytes};
pub(crate) use table::SETTINGS;
pub(crate) use written::{Given, Source, Value, Written};
