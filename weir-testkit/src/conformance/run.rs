//! Playing the cases on a target, several at a time, and saying how it went.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use weir_core::{Clock, SystemClock};

use super::{Case, Profile, Story, Target, Wrong, cases};

/// How the exam is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Only cases with this in their subject or name.
    pub filter: Option<String>,
    /// So many cases at a time.
    pub concurrent: usize,
    /// A case that takes longer has failed.
    pub case_max: Duration,
}

impl Default for RunOptions {
    /// All cases, 16 at a time, each for at most a minute.
    fn default() -> Self {
        Self { filter: None, concurrent: 16, case_max: Duration::from_secs(60) }
    }
}

/// How one case went.
#[derive(Debug)]
pub struct CaseResult {
    /// The case.
    pub case: &'static Case,
    /// What was wrong, if anything.
    pub outcome: Result<(), Wrong>,
    /// How long it took, by the machine's clock.
    pub took: Duration,
}

/// How the exam went.
#[derive(Debug)]
pub struct Report {
    /// The target.
    pub target: String,
    /// All cases that were played, in their order.
    pub results: Vec<CaseResult>,
}

impl Report {
    /// Those that failed.
    #[must_use]
    pub fn failures(&self) -> Vec<&CaseResult> {
        self.results.iter().filter(|result| result.outcome.is_err()).collect()
    }

    /// How many passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.results.len() - self.failures().len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for CaseResult { case, outcome, .. } in &self.results {
            if let Err(wrong) = outcome {
                writeln!(f, "FAILED {case:?}")?;
                writeln!(f, "       {}", wrong.step)?;
                writeln!(f, "       expected {}", wrong.expected)?;
                writeln!(f, "       got      {}", wrong.got)?;
            }
        }
        write!(f, "{} passed, {} failed", self.passed(), self.failures().len())
    }
}

/// Plays all cases of the profiles that the target declares. Cases that restart the engine come last, when no other is
/// being played.
pub async fn run(target: Arc<dyn Target>, options: RunOptions) -> Report {
    let profiles = target.profiles();
    let is_meant = |case: &Case| profiles.contains(&case.profile) && case.is_about(options.filter.as_deref());
    let (last, first): (Vec<_>, Vec<_>) = cases()
        .enumerate()
        .filter(|(_, case)| is_meant(case))
        .partition(|(_, case)| case.profile == Profile::Durable);
    let run_id = SystemClock::new().now_micros() % 1_000_000_000_000;
    let mut results = play_all(&target, first, run_id, &options).await;
    results.extend(play_all(&target, last, run_id, &options).await);
    results.sort_by_key(|(number, _)| *number);
    Report { target: target.name(), results: results.into_iter().map(|(_, result)| result).collect() }
}

type Numbered<T> = Vec<(usize, T)>;

async fn play_all(
    target: &Arc<dyn Target>,
    cases: Numbered<&'static Case>,
    run_id: u64,
    options: &RunOptions,
) -> Numbered<CaseResult> {
    let seats = Arc::new(Semaphore::new(options.concurrent.max(1)));
    let mut playing = JoinSet::new();
    let mut results = Vec::with_capacity(cases.len());
    for (number, case) in cases {
        let seat = seats.clone().acquire_owned().await.expect("the seats are never closed");
        let (target, case_max) = (target.clone(), options.case_max);
        playing.spawn(async move {
            let result = play(&*target, case, &format!("exam-{run_id}-{number}"), case_max).await;
            drop(seat);
            (number, result)
        });
        while let Some(done) = playing.try_join_next() {
            results.extend(done.ok());
        }
    }
    while let Some(done) = playing.join_next().await {
        results.extend(done.ok());
    }
    results
}

async fn play(target: &dyn Target, case: &'static Case, prefix: &str, case_max: Duration) -> CaseResult {
    let clock = SystemClock::new();
    let story = Story::new(target.stage().await, prefix);
    let mut played = tokio::spawn((case.play)(story));
    let outcome = match tokio::time::timeout(case_max, &mut played).await {
        Ok(ended) => ended.unwrap_or_else(|error| Err(panicked(error))),
        Err(_) => {
            played.abort();
            Err(Wrong::new("the whole case", format!("an end within {case_max:?}"), "none"))
        }
    };
    CaseResult { case, outcome, took: clock.elapsed() }
}

fn panicked(error: JoinError) -> Wrong {
    let said = error.try_into_panic().map_or_else(
        |error| error.to_string(),
        |panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        },
    );
    Wrong::new("the whole case", "no panic", format!("the panic: {said}"))
}
