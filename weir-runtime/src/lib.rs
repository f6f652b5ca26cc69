//! Runs users' handlers: reads, retries, claims, sets aside, shuts down.
//!
//! ```no_run
//! use std::sync::Arc;
//! use weir_core::{Broker, GroupOrigin};
//! use weir_runtime::{Consumer, Context, Outcome, Shutdown};
//!
//! # async fn example(broker: Arc<dyn Broker>) -> Result<(), weir_core::Error> {
//! Consumer::builder(broker)
//!     .stream("orders")
//!     .group("billing")
//!     .origin(GroupOrigin::Beginning)
//!     .handler(async |order: Context| match order.text("total") {
//!         Some(total) => { println!("bill {total}"); Outcome::Done }
//!         None => Outcome::dead("validation", "an order without a total"),
//!     })
//!     .run(Shutdown::never())
//!     .await
//! # }
//! ```
//!
//! Everything goes through the traits of `weir-core`: it is the same on every engine. This crate names no engine, and
//! keeps nothing that counts in memory.

mod bisect;
mod consumer;
mod context;
mod handler;
pub mod health;
pub mod layers;
mod marks;
mod metrics;
mod outcome;
pub mod publisher;
mod rate;
pub mod simple;
mod time;
mod trace;

pub use bisect::{Bisect, Sink};
pub use consumer::{
    Builder, Consumer, ConsumerStatus, Handle, KillSwitchSettings, NoHandler, REAP_AFTER, REAP_EVERY,
    STREAMS_MAX, Shutdown, StreamState, StreamStatus, Trigger, consumer_name,
};
pub use context::{Batch, Context, Item};
pub use handler::{BatchHandler, Batched, Handler, Single, Stage, Work};
pub use marks::{BrokerMarks, Mark, MarkStore, MemoryMarks, TransactionMarks};
pub use metrics::{DURATION_BOUNDS_MICROS, Totals};
pub use outcome::{Classify, HandlerError, Outcome, Outcomes, Snooze, class};
pub use publisher::{Partitioned, Published, Publisher};
pub use rate::Rate;
pub use time::{Sleep, Time, Timer, TokioTimer};
pub use trace::TraceParent;
