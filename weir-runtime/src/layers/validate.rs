//! What breaks a rule does not reach the handler.

use std::sync::Arc;

use tower::Layer;

use crate::{Item, Outcome, Stage, Work, class};

/// Says what is wrong with an entry, if anything.
pub type Validator = dyn Fn(&Item<'_>) -> Result<(), String> + Send + Sync;

/// Makes [`Validate`].
#[derive(Clone)]
pub struct ValidateLayer {
    validator: Option<Arc<Validator>>,
}

impl std::fmt::Debug for ValidateLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValidateLayer").field("is_on", &self.validator.is_some()).finish()
    }
}

impl ValidateLayer {
    pub(crate) fn new(validator: Option<Arc<Validator>>) -> Self {
        Self { validator }
    }
}

/// Makes a dead letter of what breaks a rule.
#[derive(Debug)]
pub struct Validate<S> {
    inner: S,
    by: ValidateLayer,
}

impl<S> Layer<S> for ValidateLayer {
    type Service = Validate<S>;

    fn layer(&self, inner: S) -> Validate<S> {
        Validate { inner, by: self.clone() }
    }
}

impl<W: Work, S: Stage<W>> Stage<W> for Validate<S> {
    async fn run(&self, work: W) -> W::Reply {
        let Some(validator) = &self.by.validator else { return self.inner.run(work).await };
        let refused: Vec<_> = work
            .items()
            .enumerate()
            .filter_map(|(place, item)| validator(&item).err().map(|why| (place, why)))
            .map(|(place, why)| (place, Outcome::dead(class::VALIDATION, why)))
            .collect();
        let len = work.len();
        let left = match work.without(&refused) {
            Some(left) => Some(self.inner.run(left).await),
            None => None,
        };
        W::unite(left, len, refused)
    }
}
