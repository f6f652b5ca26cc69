//! From the Redis to the client: replies as they come, and in their places those to `WEIR.*`.
//!
//! Invariant: what the requests tell is heard before the reply it is about is read, since they tell it before they ask.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::marker::{Found, Marker};

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;
/// Bytes between two markers: what a Redis says about one client.
const ASIDE_MAX: usize = 16 << 10;

/// What the requests of a client tell its replies.
#[derive(Debug)]
pub(super) enum Told {
    /// What stands between these markers is not for the client.
    Aside {
        /// Everything before it is.
        from: Marker,
        /// Everything behind it is.
        to: Marker,
        /// Who wants it.
        said: oneshot::Sender<Vec<u8>>,
    },
    /// Everything asked before is answered; these bytes come next, and nothing before them.
    Next(oneshot::Receiver<Vec<u8>>),
}

/// Relays until the Redis or the client goes.
pub(super) async fn relay(
    mut redis: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    mut heard: mpsc::Receiver<Told>,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK);
    loop {
        let told = tokio::select! {
            biased;
            told = heard.recv() => told,
            read = redis.read_buf(&mut bytes) => {
                if read? == 0 {
                    return client.shutdown().await;
                }
                heard.try_recv().ok()
            }
        };
        match told {
            Some(Told::Aside { from, to, said }) => {
                let aside = set_aside(&mut redis, &mut client, &mut bytes, &from, &to).await?;
                // Who asked may have gone.
                drop(said.send(aside));
            }
            Some(Told::Next(answer)) => {
                let Ok(answer) = answer.await else { return Ok(()) };
                client.write_all(&answer).await?;
            }
            None => {}
        }
        client.write_all(&bytes).await?;
        bytes.clear();
        bytes.shrink_to(2 * CHUNK);
    }
}

/// Relays up to the first marker and takes out what stands between it and the second.
async fn set_aside(
    redis: &mut OwnedReadHalf,
    client: &mut OwnedWriteHalf,
    bytes: &mut Vec<u8>,
    from: &Marker,
    to: &Marker,
) -> io::Result<Vec<u8>> {
    loop {
        let relayed = match from.find(bytes) {
            Found::At { start, end } => {
                client.write_all(&bytes[..start]).await?;
                bytes.drain(..end);
                break;
            }
            Found::NotBefore(at) => at,
        };
        client.write_all(&bytes[..relayed]).await?;
        bytes.drain(..relayed);
        more(redis, bytes).await?;
    }
    loop {
        if let Found::At { start, end } = to.find(bytes) {
            let aside = bytes[..start].to_vec();
            bytes.drain(..end);
            return Ok(aside);
        }
        if bytes.len() > ASIDE_MAX {
            return Err(io::Error::other("the Redis says too much about its client"));
        }
        more(redis, bytes).await?;
    }
}

async fn more(redis: &mut OwnedReadHalf, bytes: &mut Vec<u8>) -> io::Result<()> {
    if redis.read_buf(bytes).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
