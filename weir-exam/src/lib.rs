//! The targets that sit the exam, by what the command line calls them.

mod embedded;

use std::sync::Arc;

use weir_core::{Error, ErrorKind};
use weir_testkit::conformance::{Profile, RealTime, Target, model};

pub use embedded::Embedded;

/// Opens what `--engine` names: `model`, `embedded` or a URL of weir-connect.
///
/// # Errors
/// As [`weir_connect::open`].
pub async fn target(engine: &str) -> Result<Arc<dyn Target>, Error> {
    match engine {
        "model" => Ok(Arc::new(model())),
        "embedded" => Ok(Arc::new(Embedded)),
        url if url.contains(':') => shared(url).await,
        _ => Err(Error::new(ErrorKind::Invalid("no such engine")).with_context(format!(
            "{engine:?}; name model, embedded or a URL such as redis://127.0.0.1:6379 or weir://127.0.0.1:7411"
        ))),
    }
}

/// A target on one broker for all cases.
async fn shared(url: &str) -> Result<Arc<dyn Target>, Error> {
    let broker = weir_connect::open(url).await?;
    Ok(Arc::new(RealTime::new(url, profiles_of(url), broker)))
}

/// What the engine behind a URL can do, as its documentation says.
fn profiles_of(url: &str) -> Vec<Profile> {
    if url.starts_with("redis") { vec![Profile::Streams] } else { vec![Profile::Streams, Profile::Positions] }
}
