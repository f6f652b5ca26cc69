//! Buffers that idle connections do not keep.

/// Bytes read from a socket at a time, and the size of a connection's first buffers.
pub(crate) const CHUNK: usize = 16 * 1024;
/// Buffers of each kind kept for reuse (4 MiB).
const KEPT_MAX: usize = 256;

/// Buffers for reuse: for input they are full of initialised bytes, for output empty.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    input: Vec<Vec<u8>>,
    output: Vec<Vec<u8>>,
}

impl Pool {
    /// A buffer of [`CHUNK`] initialised bytes.
    pub(crate) fn take_input(&mut self) -> Vec<u8> {
        self.input.pop().unwrap_or_else(|| vec![0; CHUNK])
    }

    /// Takes a buffer back; one of another size is given to the allocator.
    pub(crate) fn give_input(&mut self, buffer: Vec<u8>) {
        if buffer.len() == CHUNK && self.input.len() < KEPT_MAX {
            self.input.push(buffer);
        }
    }

    /// An empty buffer.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.output.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK))
    }

    /// Takes a buffer back; one that grew large is given to the allocator.
    pub(crate) fn give_output(&mut self, mut buffer: Vec<u8>) {
        if (CHUNK..=4 * CHUNK).contains(&buffer.capacity()) && self.output.len() < KEPT_MAX {
            buffer.clear();
            self.output.push(buffer);
        }
    }
}
