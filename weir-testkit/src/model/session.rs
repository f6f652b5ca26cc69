//! One connection's view of the model: transactions and watched keys.

use std::collections::BTreeSet;

use super::parse::{Refusal, err, wrong_arity};
use super::{Flavour, Model};
use crate::Value;

/// A model with the state of one connection.
#[derive(Debug, Clone)]
pub struct Session {
    model: Model,
    transaction: Option<Transaction>,
    watched: BTreeSet<Vec<u8>>,
    watch_tripped: bool,
}

#[derive(Debug, Clone, Default)]
struct Transaction {
    queue: Vec<Vec<Vec<u8>>>,
    refused: bool,
}

impl Session {
    /// A connection to an empty model.
    #[must_use]
    pub fn new(flavour: Flavour) -> Self {
        Self { model: Model::new(flavour), transaction: None, watched: BTreeSet::new(), watch_tripped: false }
    }

    /// Like [`Model::execute`], and MULTI, EXEC, DISCARD, WATCH and UNWATCH.
    pub fn execute(&mut self, now_ms: u64, args: &[Vec<u8>]) -> Value {
        let name = args.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        let outcome = match &*name {
            b"multi" => self.only(args, 1).and_then(|()| self.multi()),
            b"exec" => self.exec(now_ms, args),
            b"discard" => self.only(args, 1).and_then(|()| self.discard()),
            b"watch" => self.only(args, -2).and_then(|()| self.watch(&args[1..])),
            b"unwatch" if self.transaction.is_none() => self.only(args, 1).map(|()| self.unwatch()),
            _ => Ok(self.other(now_ms, args)),
        };
        outcome.unwrap_or_else(|Refusal(text)| Value::Error(text))
    }

    fn only(&mut self, args: &[Vec<u8>], arity: i32) -> Result<(), Refusal> {
        let words = args.len() as i32;
        if (arity > 0 && words == arity) || (arity < 0 && words >= -arity) {
            return Ok(());
        }
        self.refuse_transaction();
        Err(wrong_arity(&String::from_utf8_lossy(&args[0]).to_lowercase()))
    }

    fn refuse_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.refused = true;
        }
    }

    fn other(&mut self, now_ms: u64, args: &[Vec<u8>]) -> Value {
        if self.transaction.is_none() {
            return self.run(now_ms, args);
        }
        if let Err(Refusal(text)) = self.model.find(args) {
            self.refuse_transaction();
            return Value::Error(text);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.queue.push(args.to_vec());
        }
        Value::Simple(b"QUEUED".to_vec())
    }

    fn run(&mut self, now_ms: u64, args: &[Vec<u8>]) -> Value {
        let reply = self.model.execute(now_ms, args);
        self.watch_tripped |= !self.watched.is_disjoint(&self.model.touched);
        reply
    }

    fn multi(&mut self) -> Result<Value, Refusal> {
        if self.transaction.is_some() {
            return Err(err("MULTI calls can not be nested"));
        }
        self.transaction = Some(Transaction::default());
        Ok(Value::ok())
    }

    /// Ends the transaction in every case, also when it has a word too many.
    fn exec(&mut self, now_ms: u64, args: &[Vec<u8>]) -> Result<Value, Refusal> {
        if args.len() > 1 {
            self.transaction = None;
            self.forget_watches();
            let text =
                "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
            return Err(Refusal(text.into()));
        }
        let Some(transaction) = self.transaction.take() else { return Err(err("EXEC without MULTI")) };
        let tripped = self.watch_tripped;
        self.forget_watches();
        if transaction.refused {
            return Err(Refusal(b"EXECABORT Transaction discarded because of previous errors.".to_vec()));
        }
        if tripped {
            return Ok(Value::NullArray);
        }
        Ok(Value::Array(transaction.queue.iter().map(|args| self.model.execute(now_ms, args)).collect()))
    }

    fn discard(&mut self) -> Result<Value, Refusal> {
        if self.transaction.take().is_none() {
            return Err(err("DISCARD without MULTI"));
        }
        self.forget_watches();
        Ok(Value::ok())
    }

    fn watch(&mut self, keys: &[Vec<u8>]) -> Result<Value, Refusal> {
        if self.transaction.is_some() {
            return Err(err("WATCH inside MULTI is not allowed"));
        }
        self.watched.extend(keys.iter().cloned());
        Ok(Value::ok())
    }

    fn unwatch(&mut self) -> Value {
        self.forget_watches();
        Value::ok()
    }

    fn forget_watches(&mut self) {
        self.watched.clear();
        self.watch_tripped = false;
    }
}
