//! Reading as a consumer group: XREADGROUP, with or without XACK, drained or blocked.

use anyhow::{Result, ensure};
use weir_resp::{Proto, ReplyCursor, Writer, command, push_command_header};

use super::append::{Append, STREAM, expect};
use super::board::Board;
use super::drive::{Next, Script};

/// The group of consume and pending, and what the groups of fan-out begin with.
pub(super) const GROUP: &str = "weir-bench";

/// What happens to entries after they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// They are acknowledged, and count then.
    Acknowledge,
    /// They stay pending, and count when read.
    Leave,
}

/// Reads everything new for the group, as one consumer, until nothing is left.
#[derive(Debug)]
pub(super) struct Consume {
    /// A batch of reads.
    reads: Vec<u8>,
    pipeline: u64,
    after: After,
    /// Acknowledgements of what the batch brought, and how many commands they are.
    acks: Vec<u8>,
    ack_commands: u64,
    /// Entries whose acknowledgement is still to be confirmed.
    unconfirmed: u64,
    phase: Phase,
    /// Whether a read found nothing new.
    drained: bool,
    ids: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reading,
    Acknowledging,
}

impl Consume {
    /// A consumer called `name` that sends `pipeline` reads of up to `count` entries at a time.
    pub(super) fn new(name: &str, pipeline: u64, count: u64, after: After) -> Self {
        let mut read = Vec::new();
        let count = count.to_string();
        command(&mut read, ["XREADGROUP", "GROUP", GROUP, name, "COUNT", &count, "STREAMS", STREAM, ">"]);
        Self {
            reads: read.repeat(usize::try_from(pipeline).expect("a batch fits into memory")),
            pipeline,
            after,
            acks: Vec::new(),
            ack_commands: 0,
            unconfirmed: 0,
            phase: Phase::Acknowledging,
            drained: false,
            ids: Vec::new(),
        }
    }

    fn read_reply(&mut self, reply: &[u8], board: &mut Board) -> Result<()> {
        if reply.first() == Some(&b'-') {
            expect(reply, b'*')?;
        }
        self.ids.clear();
        let entries = collect_ids(reply, &mut self.ids)?;
        self.drained |= entries == 0;
        match self.after {
            After::Leave => board.operations += entries,
            After::Acknowledge if entries > 0 => {
                push_ack(&mut self.acks, GROUP, entries, &self.ids);
                self.ack_commands += 1;
                self.unconfirmed += entries;
            }
            After::Acknowledge => {}
        }
        Ok(())
    }
}

impl Script for Consume {
    fn next(&mut self, out: &mut Vec<u8>, board: &mut Board) -> Next {
        out.clear();
        if self.phase == Phase::Reading && self.ack_commands > 0 {
            self.phase = Phase::Acknowledging;
            std::mem::swap(out, &mut self.acks);
            return Next::Send(std::mem::take(&mut self.ack_commands));
        }
        self.phase = Phase::Reading;
        if self.drained || board.take(self.pipeline) == 0 {
            return Next::End;
        }
        out.extend_from_slice(&self.reads);
        Next::Send(self.pipeline)
    }

    fn reply(&mut self, reply: &[u8], board: &mut Board) -> Result<()> {
        if self.phase == Phase::Reading {
            return self.read_reply(reply, board);
        }
        let confirmed = ack_reply(reply)?;
        ensure!(confirmed <= self.unconfirmed, "XACK confirms more entries than were read");
        self.unconfirmed -= confirmed;
        board.operations += confirmed;
        Ok(())
    }
}

/// One connection of the fan-out.
#[derive(Debug)]
pub(super) enum FanOut {
    /// Writes, and waits when the slowest group falls behind by more than `window` entries.
    Writer { append: Append, window: u64 },
    /// Waits for new entries of one group, and acknowledges them together with its next read.
    Reader(Reader),
}

/// A reader of one group that is always waiting.
#[derive(Debug)]
pub(super) struct Reader {
    group: usize,
    name: String,
    read: Vec<u8>,
    /// Entries to acknowledge, with their ids.
    unconfirmed: u64,
    ids: Vec<u8>,
    /// Whether the next reply answers an acknowledgement.
    ack_expected: bool,
}

/// The name of a fan-out group.
pub(super) fn group_name(group: usize) -> String {
    format!("{GROUP}:{group}")
}

impl Reader {
    /// The reader of group number `group`.
    pub(super) fn new(group: usize, count: u64) -> Self {
        let (mut read, name, count) = (Vec::new(), group_name(group), count.to_string());
        command(
            &mut read,
            ["XREADGROUP", "GROUP", &name, "reader", "COUNT", &count, "BLOCK", "0", "STREAMS", STREAM, ">"],
        );
        Self { group, name, read, unconfirmed: 0, ids: Vec::new(), ack_expected: false }
    }

    fn next(&mut self, out: &mut Vec<u8>) -> Next {
        out.clear();
        self.ack_expected = self.unconfirmed > 0;
        if self.ack_expected {
            push_ack(out, &self.name, self.unconfirmed, &self.ids);
        }
        out.extend_from_slice(&self.read);
        Next::Send(1 + u64::from(self.ack_expected))
    }

    fn reply(&mut self, reply: &[u8], board: &mut Board) -> Result<()> {
        if std::mem::take(&mut self.ack_expected) {
            let confirmed = ack_reply(reply)?;
            ensure!(
                confirmed == self.unconfirmed,
                "XACK confirms {confirmed} of {} entries",
                self.unconfirmed
            );
            return Ok(());
        }
        if reply.first() == Some(&b'-') {
            expect(reply, b'*')?;
        }
        self.ids.clear();
        self.unconfirmed = collect_ids(reply, &mut self.ids)?;
        board.delivered[self.group] += self.unconfirmed;
        board.operations += self.unconfirmed;
        Ok(())
    }
}

impl Script for FanOut {
    fn next(&mut self, out: &mut Vec<u8>, board: &mut Board) -> Next {
        match self {
            Self::Writer { window, .. } if board.backlog() > *window => Next::Wait,
            Self::Writer { append, .. } => append.next(out, board),
            Self::Reader(reader) => reader.next(out),
        }
    }

    fn reply(&mut self, reply: &[u8], board: &mut Board) -> Result<()> {
        match self {
            Self::Writer { .. } => {
                expect(reply, b'$')?;
                board.appended += 1;
                Ok(())
            }
            Self::Reader(reader) => reader.reply(reply, board),
        }
    }

    fn is_waiter(&self) -> bool {
        matches!(self, Self::Reader(_))
    }
}

/// Appends the ids of all entries in the reply of a read, each as the bulk string it came as, and counts them.
fn collect_ids(reply: &[u8], ids: &mut Vec<u8>) -> Result<u64> {
    let mut cursor = ReplyCursor::new(reply);
    if cursor.aggregate()?.is_none() {
        return Ok(0);
    }
    // RESP2 wraps each stream in an array of two; RESP3 has a map.
    if reply[0] == b'*' {
        cursor.aggregate()?;
    }
    cursor.skip()?;
    let entries = cursor.aggregate()?.unwrap_or(0);
    for _ in 0..entries {
        cursor.aggregate()?;
        ids.extend_from_slice(cursor.skip()?);
        cursor.skip()?;
    }
    Ok(entries as u64)
}

fn push_ack(out: &mut Vec<u8>, group: &str, entries: u64, ids: &[u8]) {
    push_command_header(out, 3 + usize::try_from(entries).expect("they are in memory"));
    let mut words = Writer::new(out, Proto::Resp2);
    words.bulk("XACK");
    words.bulk(STREAM);
    words.bulk(group);
    words.raw(ids);
}

fn ack_reply(reply: &[u8]) -> Result<u64> {
    expect(reply, b':')?;
    Ok(ReplyCursor::new(reply).int()?.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resp(text: &str) -> Vec<u8> {
        text.replace(' ', "\r\n").into_bytes()
    }

    #[test]
    fn ids_are_found_in_both_protocols() {
        for reply in [
            "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-0 *2 $1 a $1 2 ",
            "%1 $1 s *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-0 *2 $1 a $1 2 ",
        ] {
            let mut ids = Vec::new();
            assert_eq!(collect_ids(&resp(reply), &mut ids).unwrap(), 2);
            assert_eq!(ids, resp("$3 1-1 $3 2-0 "));
        }
        assert_eq!(collect_ids(b"*-1\r\n", &mut Vec::new()).unwrap(), 0);
        assert_eq!(collect_ids(b"_\r\n", &mut Vec::new()).unwrap(), 0);
    }

    #[test]
    fn a_consumer_acknowledges_what_it_read_and_ends_when_drained() {
        let mut consumer = Consume::new("ann", 2, 10, After::Acknowledge);
        let (mut out, mut board) = (Vec::new(), Board::new(None));
        assert_eq!(consumer.next(&mut out, &mut board), Next::Send(2));
        consumer.reply(&resp("*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1 "), &mut board).unwrap();
        consumer.reply(b"*-1\r\n", &mut board).unwrap();
        assert_eq!(consumer.next(&mut out, &mut board), Next::Send(1));
        assert_eq!(out, resp("*4 $4 XACK $17 weir-bench:stream $10 weir-bench $3 1-1 "));
        consumer.reply(b":1\r\n", &mut board).unwrap();
        assert_eq!((board.operations, consumer.next(&mut out, &mut board)), (1, Next::End));
    }

    #[test]
    fn a_missing_group_ends_the_run_with_the_server_s_words() {
        let mut consumer = Consume::new("ann", 1, 10, After::Leave);
        let (mut out, mut board) = (Vec::new(), Board::new(None));
        consumer.next(&mut out, &mut board);
        let error = consumer.reply(b"-NOGROUP No such key\r\n", &mut board).unwrap_err();
        assert_eq!(error.to_string(), "the server answers: -NOGROUP No such key");
    }

    #[test]
    fn a_writer_waits_for_the_slowest_group() {
        let append = Append::new(1, 1, super::super::append::Streams::One, super::super::append::Ids::Auto);
        let mut writer = FanOut::Writer { append, window: 10 };
        let (mut out, mut board) = (Vec::new(), Board::new(None));
        board.delivered = vec![20, 9];
        board.appended = 20;
        assert_eq!(writer.next(&mut out, &mut board), Next::Wait);
        board.delivered[1] = 10;
        assert_eq!(writer.next(&mut out, &mut board), Next::Send(1));
    }
}
