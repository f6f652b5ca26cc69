//! weir inside a program: append an order, let a group's consumer have it, acknowledge it; then the same from a task.
//!
//! Run with: `cargo run -p weir-engine --example embedded`

use std::io::Write;

use weir_core::{
    AppendOptions, CreateGroup, Deliveries, EntryId, Error, FieldRefs, GroupOrigin, GroupSource, Groups,
    Policy, ReadGroup, Settle, Settlement, Streams,
};
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
    let billing = CreateGroup { origin: GroupOrigin::Beginning, policy: Policy::recommended() };
    let worker = ReadGroup {
        group: "billing".into(),
        consumer: "worker-1".into(),
        source: GroupSource::New,
        count: 10,
        wait: None,
        while_paused: false,
    };

    // From a thread. Each call answers when the log holds what it did.
    orders.append(b"orders", placed, &id)?;
    orders.create_group(b"orders", b"billing", &billing)?;
    for given in orders.read_group(b"orders", &worker)? {
        writeln!(out, "worker-1 handles {} at {:?}", given.entry.id, given.entry.position)?;
        let done = Settle { id: given.entry.id, token: Some(given.token), settlement: Settlement::Ack };
        orders.settle(b"orders", b"billing", &[done])?;
    }

    // From a task, through the traits that every broker has: nothing blocks in here.
    runtime.block_on(async {
        let id = AppendOptions { id: Some(EntryId::new(2, 0)), ..AppendOptions::default() };
        Streams::append(orders, b"orders", placed, id).await?;
        for given in Deliveries::read_group(orders, b"orders", worker).await? {
            writeln!(out, "worker-1 has {} pending", given.entry.id).ok();
        }
        let groups = Groups::groups(orders, b"orders").await?;
        writeln!(out, "billing: {} pending", groups[0].pending).ok();
        Ok::<(), Error>(())
    })?;
    Ok(())
}
