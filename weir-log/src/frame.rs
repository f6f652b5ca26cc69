//! The envelope around one record.
//!
//! ```text
//!  0        4        8                 8+len
//!  ├────────┼────────┼───────────────────┤
//!  │ head   │ crc    │ body              │   little-endian, no alignment
//!  └────────┴────────┴───────────────────┘
//!  head: bits 0–26 length of the body, 27 PRESENT, 29 END, 30 WATERMARK, 31 TXN_MORE; bit 28 is zero
//! ```
//!
//! The checksum is CRC-32C over the body, started from a mix of the segment's salt, the record's address and the
//! head. So a frame is valid at one address of one life of one segment, and bytes of an earlier life never are.

/// Bytes before the body.
pub(crate) const HEADER: usize = 8;
/// The largest body, bytes.
pub(crate) const BODY_MAX: usize = 64 << 20;

const LENGTH_MASK: u32 = (1 << 27) - 1;
const PRESENT: u32 = 1 << 27;
const UNUSED: u32 = 1 << 28;

/// This frame says that the next record is the first of the next segment; its body is empty.
pub(crate) const END: u32 = 1 << 29;
/// The body is the address (`u64`) up to which the log was durable when the frame was made.
pub(crate) const WATERMARK: u32 = 1 << 30;
/// The record belongs together with the next one.
pub(crate) const TXN_MORE: u32 = 1 << 31;
/// The head of every watermark frame.
pub(crate) const WATERMARK_HEAD: u32 = PRESENT | WATERMARK | 8;
/// Bytes of a whole watermark frame.
pub(crate) const WATERMARK_FRAME: usize = HEADER + 8;

/// What the first four bytes of a frame say, checked for plausibility only.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head(u32);

impl Head {
    pub(crate) fn new(len: usize, flags: u32) -> Self {
        debug_assert!(len <= BODY_MAX && flags & (LENGTH_MASK | UNUSED) == 0);
        Self(len as u32 | flags | PRESENT)
    }

    /// None when no frame can begin like this.
    pub(crate) fn parse(bits: u32) -> Option<Self> {
        let head = Self(bits);
        let kinds = bits & (END | WATERMARK | TXN_MORE);
        let plausible = bits & PRESENT != 0
            && bits & UNUSED == 0
            && kinds.count_ones() <= 1
            && head.len() <= BODY_MAX
            && (kinds != END || head.len() == 0)
            && (kinds != WATERMARK || head.len() == 8);
        plausible.then_some(head)
    }

    pub(crate) fn len(self) -> usize {
        (self.0 & LENGTH_MASK) as usize
    }

    /// END, WATERMARK or TXN_MORE, as far as set.
    pub(crate) fn flags(self) -> u32 {
        self.0 & (END | WATERMARK | TXN_MORE)
    }

    pub(crate) fn is(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_len(self) -> usize {
        HEADER + self.len()
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

/// The checksum of a frame.
pub(crate) fn checksum(salt: u64, lsn: u64, head: Head, body: &[u8]) -> u32 {
    crc32c::crc32c_append(seed(salt, lsn, head.0), body)
}

/// Mixes every bit of salt, address and head into 32 bits (two rounds of the splitmix64 finisher).
fn seed(salt: u64, lsn: u64, head: u32) -> u32 {
    let a = finish(salt ^ 0x9e37_79b9_7f4a_7c15);
    let b = finish(a ^ lsn.rotate_left(17) ^ (u64::from(head) << 32 | u64::from(head)));
    (b >> 32) as u32 ^ b as u32
}

fn finish(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Writes head and checksum of the frame that stands at the beginning of `frame`.
pub(crate) fn seal(frame: &mut [u8], salt: u64, lsn: u64, flags: u32) {
    let head = Head::new(frame.len() - HEADER, flags);
    let crc = checksum(salt, lsn, head, &frame[HEADER..]);
    frame[..4].copy_from_slice(&head.bits().to_le_bytes());
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Reads four little-endian bytes at `at`; the caller has checked that they are there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the range is four bytes long"))
}

/// Reads eight little-endian bytes at `at`; the caller has checked that they are there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the range is eight bytes long"))
}

/// The frame at the beginning of `bytes`, which stand at `lsn`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A whole frame with the right checksum.
    Frame(Head, &'a [u8]),
    /// Looks like a frame so far, but this many bytes are needed to say more.
    Need(usize),
    /// Nothing valid stands here.
    Bad,
}

/// Looks at the frame at `lsn`, of which `bytes` are the bytes at hand and `room` those up to the segment's end.
pub(crate) fn parse(bytes: &[u8], room: u64, salt: u64, lsn: u64) -> Parsed<'_> {
    if room < HEADER as u64 {
        return Parsed::Bad;
    }
    if bytes.len() < HEADER {
        return Parsed::Need(HEADER);
    }
    let Some(head) = Head::parse(u32_at(bytes, 0)) else { return Parsed::Bad };
    let whole = head.frame_len();
    if whole as u64 > room {
        return Parsed::Bad;
    }
    if bytes.len() < whole {
        return Parsed::Need(whole);
    }
    let body = &bytes[HEADER..whole];
    if checksum(salt, lsn, head, body) != u32_at(bytes, 4) {
        return Parsed::Bad;
    }
    Parsed::Frame(head, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_valid_at_one_address_under_one_salt_only() {
        let mut frame = vec![0; HEADER];
        frame.extend_from_slice(b"body");
        seal(&mut frame, 7, 4096, TXN_MORE);
        let whole = frame.len() as u64;
        let Parsed::Frame(head, body) = parse(&frame, whole, 7, 4096) else { panic!("valid") };
        assert!(head.is(TXN_MORE) && body == b"body");
        assert_eq!(parse(&frame, whole, 8, 4096), Parsed::Bad);
        assert_eq!(parse(&frame, whole, 7, 4097), Parsed::Bad);
        assert_eq!(parse(&frame, whole - 1, 7, 4096), Parsed::Bad);
        assert_eq!(parse(&frame[..9], whole, 7, 4096), Parsed::Need(12));
        for bit in 0..frame.len() * 8 {
            let mut bent = frame.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&bent, whole, 7, 4096), Parsed::Frame(..)), "bit {bit}");
        }
    }

    #[test]
    fn zeroes_and_lengths_beyond_the_limit_are_no_frame() {
        assert_eq!(parse(&[0; 64], 64, 0, 0), Parsed::Bad);
        assert_eq!(Head::parse(PRESENT | (BODY_MAX as u32 + 1)), None);
        assert_eq!(Head::parse(PRESENT | END | 1), None);
        assert_eq!(Head::parse(PRESENT | END | WATERMARK | 8), None);
    }

    /// The bytes that `docs/format.md` shows.
    #[test]
    fn the_documented_example() {
        let mut frame = vec![0; HEADER];
        frame.extend_from_slice(b"hi");
        seal(&mut frame, 7, 4096, 0);
        assert_eq!(frame, [0x02, 0x00, 0x00, 0x08, 0xbb, 0xef, 0xf5, 0x9e, 0x68, 0x69]);
    }
}
