//! The one namespace of a Redis.

use std::sync::Arc;

use weir_core::{Admin, BoxFuture, Broker, Error, ErrorKind};

use crate::RedisBroker;

/// What a Redis has for a namespace: itself.
const NAMESPACE: &str = "default";

impl Admin for RedisBroker {
    fn namespaces(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async { Ok(vec![NAMESPACE.to_owned()]) })
    }

    fn namespace(&self, name: &str) -> Result<Arc<dyn Broker>, Error> {
        if name != NAMESPACE {
            return Err(Error::new(ErrorKind::Invalid("there is no such namespace"))
                .with_context(format!("{name:?}; a Redis has only {NAMESPACE:?}")));
        }
        Ok(Arc::new(self.clone()))
    }
}
