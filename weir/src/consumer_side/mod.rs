//! The commands that work with streams and groups, against any URL: what a program that publishes or consumes wants to
//! see and do.
//!
//! They use the public traits and nothing else, so that each of them works on every engine.

pub(crate) mod consume;
pub(crate) mod copy;
pub(crate) mod dlq;
pub(crate) mod group;
pub(crate) mod groups;
pub(crate) mod lag;
pub(crate) mod pending;
pub(crate) mod publish;
pub(crate) mod seek;
pub(crate) mod stream;
pub(crate) mod streams;
pub(crate) mod tail;
pub(crate) mod top;

pub(crate) mod all;
mod ask;
mod json;
pub(crate) mod reach;
pub(crate) mod text;
pub(crate) mod words;
