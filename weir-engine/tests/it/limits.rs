//! What is bounded is refused beyond its bound, and nothing else is.

use std::sync::Arc;

use weir_core::{EntryId, ErrorKind};
use weir_engine::{Engine, ErrorKindOf as _};
