//! For tests: the naive model, and drivers of the differential and crash tests.
//!
//! [`model`] is a Redis with streams written to be obviously right; [`differential`] sends random commands to two
//! servers, or to a server and the model, and compares every reply; [`conformance`] is the exam that every broker has to
//! pass. [`naive`] is a broker in memory behind the traits of weir-core: the yardstick for the engines and, as
//! [`TestBroker`], a stand-in for them in tests of handlers. Nothing here is meant for production.

pub mod conformance;
pub mod differential;
pub mod model;
pub mod naive;
pub mod properties;
mod random;
pub mod simulation;
mod value;

pub use naive::NaiveBroker as TestBroker;
pub use value::{Malformed, Protocol, Value};
