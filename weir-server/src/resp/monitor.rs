//! MONITOR: a line for each command, for people who watch.

use std::fmt::Write as _;
use std::sync::Arc;

use weir_resp::Request;

use super::client::{Client, ClientNo, Peer};
use super::door::Door;
use super::reply::Reply;

/// Shows a command to all who watch; its line leaves after its answer.
pub(crate) fn show(door: &mut Door, who: ClientNo, args: Request<'_>) {
    if door.monitors.is_empty() {
        return;
    }
    let Some(client) = door.clients.get(who) else { return };
    let line: Arc<[u8]> = line(door.clock.now_micros(), client, args).into_bytes().into();
    for monitor in &door.monitors {
        door.messages.push((*monitor, Reply::Shared(line.clone())));
    }
}

/// `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`
fn line(now_micros: u64, client: &Client, args: Request<'_>) -> String {
    let mut line = format!("+{}.{:06} [{} ", now_micros / 1_000_000, now_micros % 1_000_000, client.ns.0);
    match client.peer {
        Peer::Unix => line.push_str("unix:"),
        Peer::Tcp { peer, .. } => write!(line, "{peer}").expect("a string takes everything"),
    }
    line.push(']');
    for (at, word) in args.iter().enumerate() {
        line.push(' ');
        quote(&mut line, if is_secret(args, at) { b"(redacted)" } else { word });
    }
    line.push_str("\r\n");
    line
}

/// Whether a word is not to be shown: names and passwords of AUTH and of HELLO, and the password as a setting.
pub(crate) fn is_secret(args: Request<'_>, at: usize) -> bool {
    let is =
        |at: usize, word: &str| args.get(at).is_some_and(|given| given.eq_ignore_ascii_case(word.as_bytes()));
    let behind_auth = |at: usize| at > 2 && (is(at - 1, "auth") || at > 3 && is(at - 2, "auth"));
    let is_value = at >= 3 && at % 2 == 1;
    let is_password = is_value && is(0, "config") && is(1, "set") && is(at - 1, "requirepass");
    is_password || at > 0 && is(0, "auth") || is(0, "hello") && behind_auth(at)
}

/// Appends bytes so that they can be read, and typed again.
pub(crate) fn quote(line: &mut String, bytes: &[u8]) {
    line.push('"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => line.extend(['\\', char::from(*byte)]),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(*byte)),
            _ => write!(line, "\\x{byte:02x}").expect("a string takes everything"),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use weir_resp::Args;

    use super::{is_secret, quote};

    /// Which words of a command are hidden.
    fn hidden(command: &str) -> Vec<usize> {
        let mut bytes = Vec::new();
        weir_resp::command(&mut bytes, command.split(' ').collect::<Vec<_>>());
        let (mut decoder, mut args) = (weir_resp::Decoder::new(), Args::new());
        decoder.decode(&bytes, &mut args, &weir_resp::Limits::DEFAULT);
        let request = args.of(&bytes);
        (0..request.len()).filter(|at| is_secret(request, *at)).collect()
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        for (command, wanted) in [
            ("AUTH name secret", &[1, 2][..]),
            ("HELLO 3 AUTH name secret SETNAME me", &[3, 4]),
            ("CONFIG SET requirepass secret", &[3]),
            ("config set maxclients 10000 RequirePass secret", &[5]),
            ("CONFIG SET requirepass secret maxclients 10000 requirepass other", &[3, 7]),
            ("CONFIG SET dir requirepass maxclients 10000", &[]),
            ("CONFIG GET requirepass x", &[]),
            ("CONFIG", &[]),
        ] {
            assert_eq!(hidden(command), wanted, "{command}");
        }
    }

    #[test]
    fn bytes_are_made_readable() {
        let mut line = String::new();
        quote(&mut line, b"a \"b\"\\\n\r\t\x07\x08\x00\xff");
        assert_eq!(line, r#""a \"b\"\\\n\r\t\a\b\x00\xff""#);
    }
}
