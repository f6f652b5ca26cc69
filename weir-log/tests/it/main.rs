//! The log seen from outside: open, append, commit, read, and every way a crash can get in between.

mod basics;
mod support;
