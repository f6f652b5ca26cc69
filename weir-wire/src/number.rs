//! Numbers and IDs as decimal text, without allocating.

use weir_core::EntryId;

/// Bytes of the longest number.
const DIGITS_MAX: usize = 20;

/// Appends a number.
pub(crate) fn push_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).expect("below ten");
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends an ID, `ms-seq`.
pub(crate) fn push_id(out: &mut Vec<u8>, id: EntryId) {
    push_u64(out, id.ms);
    out.push(b'-');
    push_u64(out, id.seq);
}

/// Reads a number: digits and nothing else.
pub(crate) fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > DIGITS_MAX {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads an ID; a missing sequence number is 0.
pub(crate) fn parse_id(text: &[u8]) -> Option<EntryId> {
    EntryId::parse(text, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for number in [0, 1, 9, 10, 1_234_567_890, u64::MAX - 1, u64::MAX] {
            let mut text = Vec::new();
            push_u64(&mut text, number);
            assert_eq!(text, number.to_string().as_bytes());
            assert_eq!(parse_u64(&text), Some(number));
        }
        for bad in ["", "-1", "+1", " 1", "1 ", "18446744073709551616", "000000000000000000001", "1.0"] {
            assert_eq!(parse_u64(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
