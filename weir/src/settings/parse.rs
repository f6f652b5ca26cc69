//! What the words of settings stand for. Each function says in its error what would have been right.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// `host:port`, `:port` or a port alone, on this machine; `None` for `none`.
pub(crate) fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "none" {
        return Ok(None);
    }
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(Some(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)));
    }
    let mut found = text.to_socket_addrs().map_err(|error| format!("{error}; write host:port, or none"))?;
    found.next().map(Some).ok_or_else(|| "it stands for no address".into())
}

/// A number of bytes, with or without a unit.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 13] = [
        ("kib", 10),
        ("mib", 20),
        ("gib", 30),
        ("tib", 40),
        ("kb", 10),
        ("mb", 20),
        ("gb", 30),
        ("k", 10),
        ("m", 20),
        ("g", 30),
        ("t", 40),
        ("b", 0),
        ("", 0),
    ];
    let lower = text.trim().to_ascii_lowercase();
    let (number, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((lower.strip_suffix(unit)?, *shift)))
        .expect("the empty unit is always there");
    let number: u64 = number.trim().parse().map_err(|_| "write a size such as 512MiB or 2GiB")?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is more than there can be".into())
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err("write true or false".into()),
    }
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a number above 0".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("1k", Some(1 << 10)),
            ("512MiB", Some(512 << 20)),
            ("2 GB", Some(2 << 30)),
            ("1TiB", Some(1 << 40)),
            ("17000000TiB", None),
            ("MiB", None),
            ("-1", None),
            ("1.5GiB", None),
        ] {
            assert_eq!(bytes(text).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn addresses() {
        for (text, wanted) in [
            ("6380", "127.0.0.1:6380"),
            (":6380", "127.0.0.1:6380"),
            ("0.0.0.0:6380", "0.0.0.0:6380"),
            ("[::1]:6380", "[::1]:6380"),
        ] {
            assert_eq!(address(text).unwrap().unwrap().to_string(), wanted);
        }
        assert_eq!(address("none"), Ok(None));
        for wrong in ["", "localhost", "1.2.3.4:70000", "a b:1"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn switches_and_counts() {
        assert_eq!((yes_or_no("Yes"), yes_or_no("0")), (Ok(true), Ok(false)));
        assert!(yes_or_no("perhaps").is_err());
        assert_eq!(count("12"), Ok(12));
        assert!(count("0").is_err() && count("-1").is_err());
    }
}
