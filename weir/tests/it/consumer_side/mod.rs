//! The commands of publishers and consumers, as a user types them: each story on every engine that is at hand.

mod consume;
mod copy;
mod dlq;
mod doctor;
mod ends;
mod groups;
mod place;
mod publish;
mod streams;
mod tail;
