//! Runs of random sequences over several brokers, and making short what parts them.

use std::fmt;
use std::sync::Arc;

use weir_core::{BoxFuture, Broker};

use super::apply::apply;
use super::book::{Book, Names};
use super::generate::sequence;
use super::look;
use super::op::Op;

/// Stops a broker, starts it again and gives it back.
pub type Restart = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Broker>> + Send + Sync>;

/// A broker that takes part.
pub struct Contender {
    /// What it is called in reports.
    pub name: String,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// How it is restarted; `None` = it is not.
    pub restart: Option<Restart>,
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contender").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What stream names begin with; nobody else's do. No braces.
    pub prefix: String,
    /// Of the first sequence; the others follow.
    pub seed: u64,
    /// How many sequences.
    pub sequences: u64,
    /// Operations of one.
    pub length: usize,
    /// After how many operations everything is looked at and lag recounted, beside the looks that come by chance.
    pub look_every: usize,
    /// Whether positions are compared and read by, and it shows that the times of appends are not those that IDs name:
    /// when all brokers count positions and note times, or none does.
    pub positions: bool,
    /// How often a sequence is tried again to make it shorter.
    pub tries_max: usize,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            prefix: "run".into(),
            seed: 1,
            sequences: 100,
            length: 150,
            look_every: 30,
            positions: true,
            tries_max: 600,
        }
    }
}

/// What a run that found no difference did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Sequences.
    pub sequences: u64,
    /// Operations, each on every broker.
    pub operations: u64,
    /// Replies that were no errors.
    pub replies: u64,
    /// Restarts.
    pub restarts: u64,
}

impl Summary {
    /// Counts what another run did, too.
    pub fn add(&mut self, other: Self) {
        self.sequences += other.sequences;
        self.operations += other.operations;
        self.replies += other.replies;
        self.restarts += other.restarts;
    }
}

/// A sequence after which brokers part.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Its seed.
    pub seed: u64,
    /// Which operation of the whole sequence it was.
    pub step: usize,
    /// The shortest sequence found; the last operation is the one whose replies differ.
    pub ops: Vec<Op>,
    /// What each broker replied to it.
    pub replies: Vec<(String, String)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "brokers part at step {} of seed {}; shortened:", self.step, self.seed)?;
        for op in &self.ops {
            writeln!(f, "  {op:?}")?;
        }
        // Of long replies, only the lines in which they differ.
        let lines: Vec<Vec<&str>> = self.replies.iter().map(|(_, reply)| reply.lines().collect()).collect();
        let differs = |nth: usize| lines.iter().any(|own| own.get(nth) != lines[0].get(nth));
        for ((name, _), own) in self.replies.iter().zip(&lines) {
            writeln!(f, "{name}:")?;
            for (_, line) in
                own.iter().enumerate().filter(|(nth, line)| differs(*nth) || line.contains("WRONG"))
            {
                writeln!(f, "  {}", line.trim_start())?;
            }
        }
        Ok(())
    }
}

/// Applies random sequences until one parts the brokers.
///
/// # Errors
/// The [`Difference`], shortened.
pub async fn run(contenders: &mut [Contender], options: &RunOptions) -> Result<Summary, Box<Difference>> {
    let mut summary = Summary::default();
    for seed in options.seed..options.seed + options.sequences {
        let ops = sequence(seed, options.length, options.look_every);
        let prefix = format!("{}-{seed}", options.prefix);
        let names = |prefix: String| Names { prefix, positions: options.positions };
        let Some(parted) = trial(contenders, names(prefix.clone()), &ops, &mut summary).await else {
            continue;
        };
        let ops = shorten(contenders, &names(prefix.clone()), &ops[..=parted.step], options.tries_max).await;
        let again = trial(contenders, names(format!("{prefix}-last")), &ops, &mut summary).await;
        let replies = again.map_or(parted.replies, |again| again.replies);
        return Err(Box::new(Difference { seed, step: parted.step, ops, replies }));
    }
    Ok(summary)
}

/// Applies given operations; of the options, the prefix and the positions count. Answers the difference they lead to, if
/// any, not shortened.
///
/// # Errors
/// The [`Difference`].
pub async fn replay(
    contenders: &mut [Contender],
    options: &RunOptions,
    ops: &[Op],
) -> Result<(), Box<Difference>> {
    let names = Names { prefix: options.prefix.clone(), positions: options.positions };
    match trial(contenders, names, ops, &mut Summary::default()).await {
        Some(Parted { step, replies }) => {
            Err(Box::new(Difference { seed: 0, step, ops: ops[..=step].to_vec(), replies }))
        }
        None => Ok(()),
    }
}

/// Where brokers part.
struct Parted {
    step: usize,
    replies: Vec<(String, String)>,
}

/// Applies a sequence; afterwards its streams are gone.
async fn trial(
    contenders: &mut [Contender],
    names: Names,
    ops: &[Op],
    summary: &mut Summary,
) -> Option<Parted> {
    let mut books: Vec<_> = contenders.iter().map(|_| Book::default()).collect();
    summary.sequences += 1;
    let mut parted = None;
    for (step, op) in ops.iter().enumerate() {
        let mut replies = Vec::with_capacity(contenders.len());
        for (contender, book) in contenders.iter_mut().zip(&mut books) {
            if let (Op::Restart, Some(restart)) = (op, &contender.restart) {
                summary.restarts += 1;
                match restart().await {
                    Ok(broker) => contender.broker = broker,
                    Err(error) => {
                        replies.push(format!("broken: it does not start again: {error:?}"));
                        continue;
                    }
                }
            }
            replies.push(apply(&*contender.broker, book, &names, op).await);
        }
        summary.operations += 1;
        summary.replies += u64::from(!replies[0].starts_with("error"));
        let is_same = replies.iter().all(|reply| is_same_reply(reply, &replies[0]));
        let is_wrong = replies.iter().any(|reply| reply.contains("WRONG") || reply.contains("broken:"));
        if !is_same || is_wrong {
            let named = contenders.iter().map(|contender| contender.name.clone());
            parted = Some(Parted { step, replies: named.zip(replies).collect() });
            break;
        }
    }
    for contender in contenders {
        clean_up(&*contender.broker, &names).await;
    }
    parted
}

/// When several things are wrong with what is asked, a broker may name any of them.
fn is_same_reply(one: &str, other: &str) -> bool {
    let is_refused = |reply: &str| reply.starts_with("error: ");
    let is_invalid = |reply: &str| reply == "error: invalid";
    one == other || (is_refused(one) && is_refused(other) && (is_invalid(one) || is_invalid(other)))
}

async fn clean_up(broker: &dyn Broker, names: &Names) {
    let Ok(left) = look::list(broker, names, true, 1_000).await else { return };
    for name in left {
        // What cannot be deleted stays: the next sequence has names of its own.
        drop(broker.delete_stream(name.as_bytes()).await);
    }
}

/// Leaves out operations as long as the brokers still part at an operation of the same kind.
async fn shorten(contenders: &mut [Contender], names: &Names, ops: &[Op], tries_max: usize) -> Vec<Op> {
    let kind = |op: Option<&Op>| op.map(std::mem::discriminant);
    let (mut ops, wanted) = (ops.to_vec(), kind(ops.last()));
    let (mut tries, mut piece) = (0, ops.len() / 2);
    while piece > 0 {
        let (mut removed, mut end) = (false, ops.len());
        while end > 0 && tries < tries_max {
            let start = end.saturating_sub(piece);
            let candidate = [&ops[..start], &ops[end..]].concat();
            tries += 1;
            let prefix = format!("{}-try{tries}", names.prefix);
            let names = Names { prefix, ..names.clone() };
            let parted = trial(contenders, names, &candidate, &mut Summary::default()).await;
            end = start;
            if let Some(Parted { step, .. }) =
                parted.filter(|parted| kind(candidate.get(parted.step)) == wanted)
            {
                ops = candidate[..=step].to_vec();
                (removed, end) = (true, end.min(ops.len()));
            }
        }
        piece = if removed && piece == 1 && tries < tries_max { 1 } else { piece / 2 };
    }
    ops
}
