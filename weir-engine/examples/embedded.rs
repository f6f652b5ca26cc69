//! weir inside a program: append an order, let a group's consumer have it, acknowledge it; then the same from a task.
//!
//! Run with: `cargo run -p weir-engine --example embedded`

use std::io::Write;

use weir_core::{AppendOptions, EntryId, Error, FieldRefs, GroupOrigin, GroupReadOptions, Groups, Streams};
use weir_engine::{Engine, Namespace};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // On disk: Engine::open_folder("weir-data", Options::default())
    let orders = Engine::memory().namespace("default")?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    run(&orders, &runtime, &mut std::io::stdout())
}

pub(crate) fn run(
    orders: &Namespace,
    runtime: &tokio::runtime::Runtime,
    out: &mut dyn Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let placed: FieldRefs<'_> = &[(b"type", b"placed")];
    let id = AppendOptions { id: Some(EntryId::new(1, 0)), ..AppendOptions::default() };
    let worker =
        GroupReadOptions { group: "billing".into(), consumer: "worker-1".into(), count: 10, wait: None };

    // From a thread. Each call answers when the log holds what it did.
    orders.append(b"orders", placed, &id)?;
    orders.create_group(b"orders", b"billing", GroupOrigin::Beginning)?;
    for entry in orders.read_group(b"orders", &worker)? {
        writeln!(out, "worker-1 handles {} at position {}", entry.id, entry.position)?;
        orders.acknowledge(b"orders", b"billing", &[entry.id])?;
    }

    // From a task, through the traits that every broker has: nothing blocks in here.
    runtime.block_on(async {
        let id = AppendOptions { id: Some(EntryId::new(2, 0)), ..AppendOptions::default() };
        Streams::append(orders, b"orders", placed, id).await?;
        for entry in Groups::read_group(orders, b"orders", worker).await? {
            writeln!(out, "worker-1 has {} pending", entry.id).ok();
        }
        let groups = Groups::group_summaries(orders, b"orders").await?;
        writeln!(out, "billing: {} pending, {} behind", groups[0].pending, groups[0].lag).ok();
        Ok::<(), Error>(())
    })?;
    Ok(())
}
