//! The doors: RESP and HTTP.
