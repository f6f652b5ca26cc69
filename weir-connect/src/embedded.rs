//! The engine in this process: in memory, or on a folder that nobody else has open.

use std::path::Path;
use std::sync::Arc;

use weir_core::{Admin, BoxFuture, Broker, Error};
use weir_engine::Engine;

/// How many namespaces an engine has beside `default`: `db1` and so on.
const NUMBERED: u32 = 15;

/// An engine that keeps nothing.
pub(crate) fn memory() -> Arc<Embedded> {
    Arc::new(Embedded { engine: Engine::memory() })
}

/// An engine on a folder. Reads what is in it, in this thread.
///
/// # Errors
/// [`weir_core::ErrorKind::InUse`] when a process has it open; what opening answers.
pub(crate) fn folder(folder: &Path) -> Result<Arc<Embedded>, Error> {
    let engine = Engine::open_folder(folder, weir_engine::Options::default())?;
    Ok(Arc::new(Embedded { engine }))
}

/// The namespaces of an engine in this process. It is closed when the last broker of it goes.
#[derive(Debug)]
pub(crate) struct Embedded {
    engine: Engine,
}

impl Embedded {
    pub(crate) fn home(&self) -> Result<Arc<dyn Broker>, Error> {
        self.namespace("default")
    }
}

impl Admin for Embedded {
    fn namespaces(&self) -> BoxFuture<'_, Vec<String>> {
        let numbered = (1..=NUMBERED).map(|number| format!("db{number}"));
        Box::pin(std::future::ready(Ok(std::iter::once("default".to_owned()).chain(numbered).collect())))
    }

    fn namespace(&self, name: &str) -> Result<Arc<dyn Broker>, Error> {
        Ok(Arc::new(self.engine.namespace(name)?))
    }
}
