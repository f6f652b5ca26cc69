//! The targets that sit the exam, by what the command line calls them.

mod embedded;

use std::process::{Command, Stdio};
use std::sync::Arc;

use weir_core::{Error, ErrorKind};
use weir_testkit::conformance::{Profile, RealTime, Target, model};

pub use embedded::Embedded;

/// Opens what `--engine` names: `model`, `embedded` or a URL of weir-connect. With `restart`, a command for the shell that
/// kills the server behind the URL and starts it again, it is durable.
///
/// # Errors
/// As [`weir_connect::open`].
pub async fn target(engine: &str, restart: Option<&str>) -> Result<Arc<dyn Target>, Error> {
    match engine {
        "model" => Ok(Arc::new(model())),
        "embedded" => Ok(Arc::new(Embedded)),
        url if url.contains(':') => shared(url, restart).await,
        _ => Err(Error::new(ErrorKind::Invalid("no such engine")).with_context(format!(
            "{engine:?}; name model, embedded or a URL such as redis://127.0.0.1:6379 or weir://127.0.0.1:7411"
        ))),
    }
}

/// A target on one broker for all cases.
async fn shared(url: &str, restart: Option<&str>) -> Result<Arc<dyn Target>, Error> {
    let (broker, profiles) = (weir_connect::open(url).await?, profiles_of(url));
    Ok(match restart.map(str::to_owned) {
        None => Arc::new(RealTime::new(url, profiles, broker)),
        Some(command) => Arc::new(RealTime::restartable(url, profiles, broker, move || shell(&command))),
    })
}

fn shell(command: &str) -> Result<(), String> {
    let run = |command: &str| Command::new("sh").args(["-c", command]).stdout(Stdio::null()).status();
    match run(command) {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?} cannot be run: {error}")),
    }
}

/// What the engine behind a URL can do, as its documentation says.
fn profiles_of(url: &str) -> Vec<Profile> {
    if url.starts_with("redis") { vec![Profile::Streams] } else { vec![Profile::Streams, Profile::Positions] }
}
