//! Opens a broker by its URL.
