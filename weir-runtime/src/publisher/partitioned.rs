//! One stream as several: for more than one stream takes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_core::{Error, ErrorKind, FieldRefs};

use super::{Published, Publisher};

/// The most partitions.
pub const PARTITIONS_MAX: u32 = 1_000;

/// Appends to `stream-0` … `stream-(n-1)`. Entries with the same value in the key field are in the same partition, in
/// the order they were appended; those without it go round. A consumer reads all of them by the pattern `stream-*`, and
/// a policy with the same [`weir_core::Policy::key`] keeps their order.
///
/// With another number of partitions a key may be elsewhere: before that is changed, let consumers read everything.
pub struct Partitioned {
    publisher: Publisher,
    streams: Vec<Vec<u8>>,
    key: Vec<u8>,
    keyless: AtomicU64,
}

impl Partitioned {
    pub(super) fn new(
        publisher: Publisher,
        stream: &[u8],
        partitions: u32,
        key: &[u8],
    ) -> Result<Self, Error> {
        if partitions == 0 || partitions > PARTITIONS_MAX {
            return Err(Error::new(ErrorKind::Invalid("there are 1 to 1000 partitions")));
        }
        let streams =
            (0..partitions).map(|number| [stream, format!("-{number}").as_bytes()].concat()).collect();
        Ok(Self { publisher, streams, key: key.to_vec(), keyless: AtomicU64::new(0) })
    }

    /// Appends an entry to its partition.
    ///
    /// # Errors
    /// As [`Publisher::append`].
    pub async fn append(&self, fields: FieldRefs<'_>) -> Result<Published, Error> {
        self.publisher.append(self.stream_for(fields), fields).await
    }

    /// The partitions' names.
    #[must_use]
    pub fn streams(&self) -> &[Vec<u8>] {
        &self.streams
    }

    /// Where an entry with these fields goes.
    fn stream_for(&self, fields: FieldRefs<'_>) -> &[u8] {
        let partitions = self.streams.len() as u32;
        let value = fields.iter().find(|(name, _)| *name == self.key).map(|(_, value)| *value);
        let partition = match value {
            Some(value) => partition_of(value, partitions),
            None => (self.keyless.fetch_add(1, Ordering::Relaxed) % u64::from(partitions)) as u32,
        };
        &self.streams[partition as usize]
    }
}

/// The partition of a key: its FNV-1a hash of 64 bits, modulo their number. The same everywhere and for good.
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash % u64::from(partitions.max(1))) as u32
}

impl fmt::Debug for Partitioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitioned").field("partitions", &self.streams.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // Test values of FNV-1a: "" and "foobar".
        assert_eq!(partition_of(b"", 1_000), (0xcbf2_9ce4_8422_2325_u64 % 1_000) as u32);
        assert_eq!(partition_of(b"foobar", 1_000), (0x8594_4171_f739_67e8_u64 % 1_000) as u32);
    }
}
