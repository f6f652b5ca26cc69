//! Which program listens on an address, as far as the system lets us see.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// The process that listens there: its ID and name. `None` when the system does not tell, or not this user.
pub(super) fn of(address: SocketAddr) -> Option<(u32, String)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| inode_of(&fs::read_to_string(table).ok()?, address))?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pid = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| holds(*pid, &wanted))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, name.trim().to_owned()))
}

fn holds(pid: u32, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == socket))
}

/// The inode of the socket that listens on an address, or on all addresses with its port.
fn inode_of(table: &str, address: SocketAddr) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let (local, state) = (columns.nth(1)?, columns.nth(1)?);
        let (ip, port) = local.split_once(':')?;
        let port_fits = u16::from_str_radix(port, 16).ok()? == address.port();
        let ip = ip_of(ip)?;
        let ip_fits = ip.is_unspecified() || ip.to_canonical() == address.ip().to_canonical();
        (state == LISTENING && port_fits && ip_fits).then(|| columns.nth(5)?.parse().ok())?
    })
}

/// An address as the kernel prints it: words of four bytes, each in the machine's order.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(8 * at..8 * at + 8)?, 16).ok()?.swap_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bits = words.iter().fold(0_u128, |bits, word| bits << 32 | u128::from(*word));
            Some(Ipv6Addr::from(bits).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100\n\
            1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100\n\
            2: 0100007F:1F91 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100\n";
        let inode = |address: &str| inode_of(table, address.parse().unwrap());
        assert_eq!(inode("127.0.0.1:6379"), Some(4711));
        assert_eq!(inode("127.0.0.1:8080"), Some(4712), "all addresses hold this one, too");
        assert_eq!(inode("127.0.0.2:6379"), None);
        assert_eq!(inode("127.0.0.1:8081"), None, "a connection is no listener");
        assert_eq!(ip_of("0000000000000000FFFF00000100007F").unwrap().to_canonical(), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn this_process_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = of(listener.local_addr().unwrap());
        assert_eq!(found.map(|(pid, _)| pid), Some(std::process::id()));
    }
}
