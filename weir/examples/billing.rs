//! A consumer: bills orders, and sets aside those that have no total. It stands on the first page, too.
//!
//! Run with `cargo run -p weir --example billing -- weir://127.0.0.1:6379`; ends with Ctrl-C.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use weir_core::{GroupOrigin, Policy};
use weir_runtime::{Consumer, Context, Outcome, Shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("weir://127.0.0.1:6379".into());
    let bill = async |order: Context| match order.text("total") {
        Some(total) => {
            println!("billed {total}");
            Outcome::Done
        }
        None => Outcome::dead("no-total", "the order has no total"),
    };
    let broker = weir_connect::open(&url).await?;
    let consumer = Consumer::builder(broker).stream("orders").group("bills").origin(GroupOrigin::Beginning);
    let consumer = consumer.policy(Policy::recommended()).handler(bill).build()?;
    Ok(consumer.run(Shutdown::on_system_signals()?).await?)
}
