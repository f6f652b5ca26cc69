//! A server that misbehaves on purpose: what a benchmark must survive with a clear word.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use weir_resp::{Args, Decoder, Limits, Progress, Proto, Writer};

/// How it treats the tenth XADD of a connection, and all after it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Closes the connection.
    Close,
    /// Answers with an error.
    Refuse,
    /// Answers what is no RESP.
    Babble,
    /// Answers twice.
    Repeat,
    /// Treats it well, and lets every reply dribble in single bytes.
    Dribble,
}

/// Starts a server on a free port and gives its URL; it lives as long as the test process.
pub(crate) fn start(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || serve(stream, fault));
        }
    });
    url
}

/// Serves one connection; a client that goes away is no fault of this server.
fn serve(mut stream: TcpStream, fault: Fault) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let (mut decoder, mut args, mut buffer, mut appends) = (Decoder::new(), Args::new(), Vec::new(), 0);
    loop {
        let mut out = Vec::new();
        match decoder.decode(&buffer, &mut args, &Limits::DEFAULT) {
            Progress::Complete { consumed } => {
                let name = args.of(&buffer)[0].to_vec();
                appends += u32::from(name == b"XADD");
                if !answer(&name, if appends >= 10 { Some(fault) } else { None }, &mut out) {
                    return None;
                }
                buffer.drain(..consumed);
            }
            Progress::Incomplete { .. } => {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
                buffer.extend_from_slice(&piece[..read]);
            }
            other => panic!("the benchmark sends {other:?}"),
        }
        let piece = if matches!(fault, Fault::Dribble) { 1 } else { 4096 };
        for bytes in out.chunks(piece) {
            stream.write_all(bytes).ok()?;
        }
    }
}

/// Writes the answer; false when the connection is to be closed instead.
fn answer(name: &[u8], fault: Option<Fault>, out: &mut Vec<u8>) -> bool {
    let mut reply = Writer::new(out, Proto::Resp2);
    match (name, fault) {
        (b"XADD", Some(Fault::Close)) => return false,
        (b"XADD", Some(Fault::Refuse)) => {
            reply.error("OOM command not allowed when used memory > 'maxmemory'.")
        }
        (b"XADD", Some(Fault::Babble)) => reply.raw(b"HTTP/1.1 400 Bad Request\r\n"),
        (b"XADD", Some(Fault::Repeat)) => {
            reply.entry_id(1, 1);
            reply.entry_id(1, 2);
        }
        (b"XADD", Some(Fault::Dribble) | None) => reply.entry_id(1_795_191_949_931, 7),
        (b"DEL", _) => reply.int(0),
        (_, _) => reply.error("ERR unknown command"),
    }
    true
}
