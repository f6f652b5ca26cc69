//! Runs the exam of brokers against any engine, by URL.
//!
//! Ends with 0 when all cases passed, 1 when some failed, 2 when it was not asked rightly or the engine cannot be
//! opened.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use weir_testkit::conformance::{self, Report, RunOptions};

/// Runs the exam of brokers against any engine.
#[derive(Debug, Parser)]
#[command(name = "weir-exam", version)]
struct Arguments {
    /// What sits the exam: model, embedded, redis://HOST:PORT, redis+cluster://HOST:PORT,…, weir://HOST:PORT
    #[arg(long, required_unless_present = "list")]
    engine: Option<String>,
    /// A command for the shell that kills the server behind the URL and starts it again: durable cases run, too
    #[arg(long, value_name = "COMMAND")]
    restart: Option<String>,
    /// Only cases with this text in their subject or name
    #[arg(long)]
    filter: Option<String>,
    /// So many cases at a time
    #[arg(long, default_value_t = 16)]
    concurrent: usize,
    /// A case that takes longer, in seconds, has failed
    #[arg(long, default_value_t = 60)]
    case_max: u64,
    /// One JSON object per case, and one for the whole
    #[arg(long)]
    json: bool,
    /// Only name the cases
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match &arguments.engine {
        Some(engine) if !arguments.list => examine(engine, &arguments),
        _ => list(&arguments).map(|()| ExitCode::SUCCESS).map_err(Into::into),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("weir-exam: {error:#}");
        ExitCode::from(2)
    })
}

/// Names the cases.
fn list(arguments: &Arguments) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for case in conformance::cases().filter(|case| case.is_about(arguments.filter.as_deref())) {
        if arguments.json {
            let (profile, subject, name) = (case.profile.name(), json(case.subject), json(case.name));
            writeln!(out, r#"{{"profile":"{profile}","subject":{subject},"name":{name}}}"#)?;
        } else {
            writeln!(out, "{}: {}", case.subject, case.name)?;
        }
    }
    Ok(())
}

/// Runs the exam and says how it went.
fn examine(engine: &str, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let options = RunOptions {
        filter: arguments.filter.clone(),
        concurrent: arguments.concurrent,
        case_max: Duration::from_secs(arguments.case_max),
    };
    let report = runtime.block_on(async {
        let target = weir_exam::target(engine, arguments.restart.as_deref()).await?;
        anyhow::Ok(conformance::run(target, options).await)
    })?;
    let mut out = io::stdout().lock();
    if arguments.json {
        write_json(&report, &mut out)?
    } else {
        writeln!(out, "{report}")?
    }
    Ok(if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn write_json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for result in &report.results {
        let (subject, name, took) =
            (json(result.case.subject), json(result.case.name), result.took.as_millis());
        write!(
            out,
            r#"{{"subject":{subject},"name":{name},"took_ms":{took},"passed":{}"#,
            result.outcome.is_ok()
        )?;
        if let Err(wrong) = &result.outcome {
            let [step, expected, got] = [&wrong.step, &wrong.expected, &wrong.got].map(|text| json(text));
            write!(out, r#","step":{step},"expected":{expected},"got":{got}"#)?;
        }
        writeln!(out, "}}")?;
    }
    let (passed, failed) = (report.passed(), report.failures().len());
    writeln!(out, r#"{{"target":{},"passed":{passed},"failed":{failed}}}"#, json(&report.target))
}

/// Text as JSON writes it.
fn json(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}
