//! What a client may cost, and how turns are cut.

use std::time::Duration;

/// Limits of the RESP door. Every queue and buffer of it is bounded by one of them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time. Default 50 000.
    pub clients: usize,
    /// Bytes of requests that wait in one connection's buffer; then it is not read until some are executed. A single
    /// request may be larger, up to [`Limits::request_bytes`]. Default 16 MiB.
    pub input_bytes: usize,
    /// Bytes of one request, framing included. Default 128 MiB.
    pub request_bytes: u32,
    /// Bytes of answers that wait for one client to take them; then none of its commands is executed and no more of a
    /// long answer is made until it has taken some. Default 1 MiB.
    pub output_pause_bytes: usize,
    /// Bytes of messages nobody asked for (of subscriptions, of MONITOR) that wait for one client to take them; then
    /// it is disconnected. Default 64 MiB.
    pub output_bytes: usize,
    /// Bytes in the buffers of all clients together; above it the client that holds most is disconnected.
    /// Default 1 GiB.
    pub buffers_bytes: usize,
    /// Bytes of commands that one `MULTI` may queue. Default 64 MiB.
    pub queued_bytes: usize,
    /// Commands of one client that are executed before others get their turn. Default 64.
    pub client_commands: usize,
    /// Commands executed under the engine's lock at a time. Default 256.
    pub turn_commands: usize,
    /// Commands executed between two looks at the sockets; their answers leave together. Default 1 024.
    pub round_commands: usize,
    /// How long to look for the next request before sleeping. Zero never looks. Default 50 µs, zero on one processor.
    pub spin: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            clients: 50_000,
            input_bytes: 16 << 20,
            request_bytes: 128 << 20,
            output_pause_bytes: 1 << 20,
            output_bytes: 64 << 20,
            buffers_bytes: 1 << 30,
            queued_bytes: 64 << 20,
            client_commands: 64,
            turn_commands: 256,
            round_commands: 1_024,
            spin: if processors > 1 { Duration::from_micros(50) } else { Duration::ZERO },
        }
    }
}
