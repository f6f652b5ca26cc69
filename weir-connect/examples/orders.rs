//! Publishes orders and bills them. It prints the same on every engine; only the URL differs.
//!
//! Run with `cargo run -p weir-connect --example orders -- memory:`, or `file:orders`, or `redis://127.0.0.1:6379`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_core::{DeadLetterFilter, DeadLetterQuery, EntryId, GroupOrigin, Policy, dead_letters_of};
use weir_runtime::{Consumer, Context, Outcome, Publisher, Shutdown};

const STREAM: &[u8] = b"example:orders";
const GROUP: &[u8] = b"billing";

/// Publishes three orders, works them off, and answers what happened, a line each.
pub(crate) async fn run(url: &str) -> Result<Vec<String>, weir_core::Error> {
    let broker = weir_connect::open(url).await?;
    broker.delete_stream(STREAM).await?;
    broker.delete_stream(&dead_letters_of(STREAM, GROUP)?).await?;
    let publisher = Publisher::builder(Arc::clone(&broker)).open().await?;
    for (customer, total) in [("ann", "10"), ("bob", ""), ("ann", "20"), ("cid", "30")] {
        publisher.append(STREAM, &[(b"customer", customer.as_bytes()), (b"total", total.as_bytes())]).await?;
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (said, (trigger, shutdown)) = (Arc::clone(&lines), Shutdown::new());
    let bill = move |order: Context| {
        let customer = order.text("customer").unwrap_or_default().into_owned();
        let (line, outcome) = match &*order.text("total").unwrap_or_default() {
            "" => (format!("{customer}: no total"), Outcome::dead("no-total", "the order has no total")),
            "30" if order.attempt() == 1 => {
                (format!("{customer}: not now"), Outcome::retry("the bank is away"))
            }
            total => (format!("{customer}: billed {total} at attempt {}", order.attempt()), Outcome::Done),
        };
        line.starts_with("cid: billed").then(|| trigger.signal());
        said.lock().expect("no panic here").push(line);
        async { outcome }
    };
    let policy =
        Policy { key: Some(b"customer".to_vec()), ..Policy::delayed(vec![Duration::from_millis(50)]) };
    let consumer = Consumer::builder(Arc::clone(&broker)).stream(STREAM).group(GROUP).policy(policy);
    consumer.origin(GroupOrigin::Beginning).handler(bill).run(shutdown).await?;
    let mut lines = lines.lock().expect("no panic here").clone();
    let query = DeadLetterQuery { filter: DeadLetterFilter::default(), after: EntryId::MIN, count: 10 };
    for letter in broker.dead_letters(STREAM, GROUP, query).await?.letters {
        lines.push(format!("dead: {}", String::from_utf8_lossy(&letter.last_failure.reason)));
    }
    lines.push(format!("left to do: {}", broker.lag(STREAM, GROUP).await?.total()));
    Ok(lines)
}

#[tokio::main]
async fn main() -> Result<(), weir_core::Error> {
    run(&std::env::args().nth(1).unwrap_or("memory:".into()))
        .await?
        .iter()
        .for_each(|line| println!("{line}"));
    Ok(())
}
