//! What a server can beyond what is needed. Asked of the server, never told from its version.
//!
//! New commands show in `COMMAND INFO`; new options do not, so they are tried on a key that does not exist, in a way
//! that is refused or changes nothing. A hosted server that does not let a user ask is taken to have none.

use redis::Value;
use weir_core::{Error, ErrorKind};

use crate::link::{Lane, Link, Repeat};
use crate::reply;
use crate::request::Request;

/// What a server can beyond Redis 7.0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `XACKDEL` and `XDELEX`: acknowledging that deletes.
    pub ack_deletes: bool,
    /// `XNACK`: handing back without a script.
    pub nack: bool,
    /// `XREADGROUP … CLAIM`: idle entries and new ones in one read.
    pub read_claims: bool,
    /// `XADD … IDMP`: idempotent producers, with a window of their own.
    pub idempotent_add: bool,
    /// `MAXCOUNT` and `MAXSIZE` of reads.
    pub read_limits: bool,
    /// `WAITAOF`: waiting until the disk has it.
    pub wait_for_disk: bool,
}

/// The key of the trial calls; nothing is ever stored under it.
const PROBE: &[u8] = b"{weir:probe}";

pub(crate) async fn probe(link: &Link) -> Result<Capabilities, Error> {
    let ping = Request::command("PING");
    link.call(PROBE, Lane::Commands, &ping, Repeat::Harmless).await?;
    let names = ["xackdel", "xnack", "waitaof"];
    let known = commands(link, &names).await?;
    let claim = Request::command("XREAD").arg("CLAIM").arg(1).arg("STREAMS").arg(PROBE).arg(0);
    let idmp = Request::command("XADD")
        .arg(PROBE)
        .arg("NOMKSTREAM")
        .arg("IDMP")
        .arg("")
        .arg("x")
        .arg("*")
        .arg("a")
        .arg(1);
    let limits = Request::command("XREAD").arg("MAXCOUNT").arg(0).arg("STREAMS").arg(PROBE).arg(0);
    Ok(Capabilities {
        ack_deletes: known[0],
        nack: known[1],
        wait_for_disk: known[2],
        read_claims: refuses_with(link, &claim, "CLAIM option").await?,
        idempotent_add: refuses_with(link, &idmp, "non-empty producer").await?,
        read_limits: refuses_with(link, &limits, "MAXCOUNT must be").await?,
    })
}

async fn commands(link: &Link, names: &[&str]) -> Result<Vec<bool>, Error> {
    let request = Request::command("COMMAND").arg("INFO").arg(names);
    let known = match link.call(PROBE, Lane::Commands, &request, Repeat::Harmless).await {
        Ok(rows) => reply::array(rows).into_iter().map(|row| !matches!(row, Value::Nil)).collect(),
        Err(error) if *error.kind() == ErrorKind::Unavailable => return Err(error),
        Err(_) => Vec::new(),
    };
    Ok(if known.len() == names.len() { known } else { vec![false; names.len()] })
}

/// Whether the server understands so much of the call that it refuses it with these words.
async fn refuses_with(link: &Link, request: &Request, words: &str) -> Result<bool, Error> {
    match link.call(PROBE, Lane::Commands, request, Repeat::Harmless).await {
        Ok(_) => Ok(false),
        Err(error) if *error.kind() == ErrorKind::Unavailable => Err(error),
        Err(error) => {
            let text = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            Ok(text.contains(words))
        }
    }
}
