//! Blocked readers: a group serves them in the order in which they came, one entry each; readers without a group all
//! get the one entry they wait for.
//!
//! The order is known because each reader is sent off only when the server counts the one before as blocked.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use weir_core::{Clock as _, SystemClock};
use weir_resp::Value;

use super::members::{self, Member, await_count};
use super::table;
use crate::bench::append::STREAM;
use crate::bench::groups::GROUP;
use crate::bench::modes::server_name;
use crate::bench::plan::Plan;
use crate::bench::table::grouped;
use crate::bench::target::{Address, Control};

/// Readers when nothing is said.
const READERS_DEFAULT: usize = 10_000;
/// XADDs sent before their replies are read.
const APPENDS: usize = 100;

#[derive(Debug, Serialize)]
pub(super) struct Blocked {
    mode: &'static str,
    server: String,
    url: String,
    readers: usize,
    /// XREADGROUP, as many entries as readers.
    group: Served,
    /// XREAD, one entry for all.
    everybody: Served,
}

/// What readers got.
#[derive(Debug, Default, Serialize)]
struct Served {
    entries: usize,
    /// Readers that got exactly the one entry that is theirs: in a group the k-th the k-th.
    right: usize,
    /// Entries that not enough readers got.
    missed: usize,
    /// Entries that too many readers got.
    repeated: usize,
    /// Readers that got an entry that was not theirs.
    out_of_order: usize,
    /// Readers that were sent more than one reply.
    spoken_to_again: usize,
    /// What XPENDING says of the group that differs from one entry for each consumer.
    pending_wrong: usize,
    /// From the first XADD until the last reader had its entry.
    seconds: f64,
}

/// Runs both.
pub(super) fn run(plan: &Plan, clock: &SystemClock) -> Result<Blocked> {
    let address = &plan.lineup[0].address;
    let readers = plan.held.unwrap_or(READERS_DEFAULT);
    members::ensure_room(readers)?;
    let mut control = Control::connect(address)?;
    let blocked_before = control.clients("blocked_clients").context("INFO CLIENTS has no blocked_clients")?;
    control.call(&["DEL", STREAM])?;
    control.call(&["XGROUP", "CREATE", STREAM, GROUP, "$", "MKSTREAM"])?;

    let crowd = members::connect(address, 0, readers)?;
    let mut scene = Scene { control, clock, crowd, blocked_before };
    let group = scene.group(address)?;
    let everybody = scene.everybody()?;
    if !plan.keep {
        scene.control.call(&["DEL", STREAM])?;
    }
    Ok(Blocked {
        mode: plan.mode.name(),
        server: server_name(&mut scene.control),
        url: address.to_string(),
        readers,
        group,
        everybody,
    })
}

struct Scene<'a> {
    control: Control,
    clock: &'a SystemClock,
    crowd: Vec<Member>,
    /// Other people's readers.
    blocked_before: u64,
}

impl Scene<'_> {
    /// As many entries as readers of one group.
    fn group(&mut self, address: &Address) -> Result<Served> {
        for n in 0..self.crowd.len() {
            let name = consumer(n);
            let words =
                ["XREADGROUP", "GROUP", GROUP, &name, "COUNT", "1", "BLOCK", "0", "STREAMS", STREAM, ">"];
            self.crowd[n].send(&words)?;
            await_count(
                &mut self.control,
                self.clock,
                "blocked_clients",
                self.blocked_before + n as u64 + 1,
            )?;
        }
        let from = self.clock.elapsed();
        let ids = self.append(address)?;
        let got = self.hear()?;
        let mut served = Served { seconds: self.since(from), ..judged(&ids, &got, |n| n) };
        served.spoken_to_again = self.spoken_to_again();
        served.pending_wrong = self.pending_wrong()?;
        Ok(served)
    }

    /// One entry for all readers.
    fn everybody(&mut self) -> Result<Served> {
        for member in &mut self.crowd {
            member.send(&["XREAD", "BLOCK", "0", "STREAMS", STREAM, "$"])?;
        }
        let all = self.blocked_before + self.crowd.len() as u64;
        await_count(&mut self.control, self.clock, "blocked_clients", all)?;
        let from = self.clock.elapsed();
        let id = text(&self.control.call(&["XADD", STREAM, "*", "for", "everybody"])?);
        let got = self.hear()?;
        let mut served = Served { seconds: self.since(from), ..judged(&[id], &got, |_| 0) };
        served.spoken_to_again = self.spoken_to_again();
        Ok(served)
    }

    /// One entry per reader; answers their IDs.
    fn append(&mut self, address: &Address) -> Result<Vec<String>> {
        let mut writer = members::connect(address, 0, 1)?.pop().context("one was made")?;
        let mut ids = Vec::new();
        while ids.len() < self.crowd.len() {
            let batch = APPENDS.min(self.crowd.len() - ids.len());
            for n in ids.len()..ids.len() + batch {
                writer.send(&["XADD", STREAM, "*", "n", &n.to_string()])?;
            }
            for _ in 0..batch {
                ids.push(text(&writer.receive()?));
            }
        }
        Ok(ids)
    }

    /// The entries that each reader got with its one reply.
    fn hear(&mut self) -> Result<Vec<Vec<String>>> {
        let hear = |(n, member): (usize, &mut Member)| {
            let reply = member.receive().with_context(|| format!("reader {} of {STREAM}", n + 1))?;
            entries(&reply).with_context(|| format!("reader {} got {reply:?}", n + 1))
        };
        self.crowd.iter_mut().enumerate().map(hear).collect()
    }

    fn spoken_to_again(&mut self) -> usize {
        self.crowd.iter_mut().map(Member::hears_nothing_else).filter(|alone| !*alone).count()
    }

    /// Consumers for whom XPENDING does not count one entry.
    fn pending_wrong(&mut self) -> Result<usize> {
        let pending = self.control.call(&["XPENDING", STREAM, GROUP])?;
        let consumers = pending.as_array().and_then(|parts| parts.get(3)?.as_array()).unwrap_or_default();
        let counts: HashMap<_, _> = consumers
            .iter()
            .filter_map(|row| Some((text(row.as_array()?.first()?), text(row.as_array()?.get(1)?))))
            .collect();
        let one = |n: &usize| counts.get(&consumer(*n)).is_some_and(|count| count == "1");
        Ok((0..self.crowd.len()).filter(|n| !one(n)).count() + counts.len().abs_diff(self.crowd.len()))
    }

    fn since(&self, from: Duration) -> f64 {
        (self.clock.elapsed() - from).as_secs_f64()
    }
}

fn consumer(n: usize) -> String {
    format!("reader-{n}")
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned()
}

/// The IDs in the reply of XREAD or XREADGROUP, which holds one stream.
fn entries(reply: &Value) -> Option<Vec<String>> {
    let entries = reply.as_array()?.first()?.as_array()?.get(1)?.as_array()?;
    entries.iter().map(|entry| Some(text(entry.as_array()?.first()?))).collect()
}

/// Compares what each reader got with the entry that is its own.
fn judged(ids: &[String], got: &[Vec<String>], own: impl Fn(usize) -> usize) -> Served {
    let (mut times, mut owners) = (vec![0; ids.len()], vec![0; ids.len()]);
    let places: HashMap<&str, usize> = ids.iter().enumerate().map(|(n, id)| (id.as_str(), n)).collect();
    let mut served = Served { entries: ids.len(), ..Served::default() };
    for (n, mine) in got.iter().enumerate() {
        owners[own(n)] += 1;
        for place in mine.iter().filter_map(|id| places.get(id.as_str())) {
            times[*place] += 1;
        }
        let is_right = mine.len() == 1 && mine[0] == ids[own(n)];
        served.right += usize::from(is_right);
        served.out_of_order += usize::from(!is_right);
    }
    for (times, owners) in times.iter().zip(&owners) {
        served.missed += usize::from(times < owners);
        served.repeated += usize::from(times > owners);
    }
    served
}

impl Served {
    fn is_right(&self, readers: usize) -> bool {
        let wrong =
            self.missed + self.repeated + self.out_of_order + self.spoken_to_again + self.pending_wrong;
        self.right == readers && wrong == 0
    }

    fn row(&self, what: &str) -> Vec<String> {
        let counts = [
            self.entries,
            self.right,
            self.missed,
            self.repeated,
            self.out_of_order,
            self.spoken_to_again + self.pending_wrong,
        ];
        let counts = counts.iter().map(ToString::to_string);
        std::iter::once(what.to_owned()).chain(counts).chain([format!("{:.3}", self.seconds)]).collect()
    }
}

impl Blocked {
    /// Whether every reader got exactly what it waited for.
    pub(super) fn is_right(&self) -> bool {
        self.group.is_right(self.readers) && self.everybody.is_right(self.readers)
    }

    /// The report as people read it.
    pub(super) fn render(&self) -> String {
        let head =
            ["", "entries", "right", "missed", "repeated", "out of\norder", "other\nfaults", "seconds"];
        let rows =
            [self.group.row("one group, an entry each"), self.everybody.row("no group, one entry for all")];
        let readers = grouped(self.readers as f64);
        format!("blocked: {readers} readers of {} at {}\n{}", self.server, self.url, table(&head, rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn faults(got: &[&str]) -> (usize, usize, usize, usize) {
        let got: Vec<_> = got.iter().map(|words| ids(words)).collect();
        let served = judged(&ids("1-0 2-0 3-0"), &got, |n| n);
        (served.right, served.missed, served.repeated, served.out_of_order)
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        assert_eq!(faults(&["1-0", "2-0", "3-0"]), (3, 0, 0, 0));
        assert_eq!(faults(&["2-0", "1-0", "3-0"]), (1, 0, 0, 2), "exchanged");
        assert_eq!(faults(&["1-0", "1-0", "3-0"]), (2, 1, 1, 1), "one twice, and one not at all");
        assert_eq!(faults(&["1-0", "2-0 3-0", "3-0"]), (2, 0, 1, 1), "two at once");
        assert_eq!(faults(&["1-0", "2-0", "9-0"]), (2, 1, 0, 1), "from nowhere");
    }

    #[test]
    fn one_entry_for_all() {
        let got = [ids("1-0"), ids("1-0"), ids("1-0")];
        let served = judged(&ids("1-0"), &got, |_| 0);
        assert_eq!((served.right, served.missed, served.repeated), (3, 0, 0));
        let served = judged(&ids("1-0"), &[ids("1-0"), ids(""), ids("1-0")], |_| 0);
        assert_eq!((served.right, served.missed, served.repeated), (2, 1, 0));
        assert!(!served.is_right(3));
    }
}
