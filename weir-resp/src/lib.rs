//! The RESP2 and RESP3 codec, without I/O.
