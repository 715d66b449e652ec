//! What the server keeps, and what is said to it.
//!
//! A key is a prefix, a generation and the event's duplicate key in hex; its value is the claim of one life of one
//! replica, or the word `durable`. One command does it all: `SET … NX GET PX` claims a key or says
//! who has it, in one step (Redis 7.0 or later, and Valkey).

use std::time::Duration;

use redis::{Pipeline, Value};

use super::error::ServerError;
use crate::dedup::DuplicateKey;

/// How long the key lives that shows whether the server can be used.
const PROBE_FOR: Duration = Duration::from_secs(1);

/// Deletes a key if it still has this value.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end \
                       return 0";

/// Stands before each key in its name. An earlier release, which had none, kept quarantined deliveries
/// under the keys of events: what such a delivery becomes would be taken for durable.
const GENERATION: &str = "2:";

/// The value of a key whose event is on stable storage.
const DURABLE: &[u8] = b"durable";

/// Who has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody had it: it is claimed for us.
    Nobody,
    /// Claimed by this replica, for another copy.
    Us,
    /// Claimed by another replica.
    Another,
    /// Its event is durable.
    Durable,
}

/// Names and values of keys.
#[derive(Debug)]
pub(super) struct KeyNames {
    prefix: String,
    /// The value of what this life of this replica has claimed.
    claim: String,
    /// How long a claim lives, in milliseconds.
    claim_for: u64,
    /// How long a durable key lives, in milliseconds.
    durable_for: u64,
}

impl KeyNames {
    /// `life` tells this life of this replica from all others.
    pub(super) fn new(prefix: &str, life: u64, claim_for: Duration, durable_for: Duration) -> Self {
        // The server adds it to the present time, and takes neither nothing nor what overflows.
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
        let millis = |time: Duration| time.clamp(Duration::from_millis(1), LONGEST).as_millis() as u64;
        Self {
            prefix: prefix.to_owned(),
            claim: format!("pending:{life:016x}"),
            claim_for: millis(claim_for),
            durable_for: millis(durable_for),
        }
    }

    fn name(&self, key: DuplicateKey) -> String {
        let mut name = String::with_capacity(self.prefix.len() + GENERATION.len() + 32);
        name.push_str(&self.prefix);
        name.push_str(GENERATION);
        name.push_str(&hex::encode(key.0));
        name
    }

    /// What the answer to a claim says.
    pub(super) fn holder(&self, answer: &Value) -> Result<Holder, ServerError> {
        match answer {
            Value::Nil => Ok(Holder::Nobody),
            Value::BulkString(value) if value == DURABLE => Ok(Holder::Durable),
            Value::BulkString(value) if value == self.claim.as_bytes() => Ok(Holder::Us),
            Value::BulkString(_) => Ok(Holder::Another),
            other => Err(ServerError::of_answer(other).unwrap_or(ServerError::Unexpected)),
        }
    }
}

/// What is asked of the server in one go; it answers in the same order.
pub(super) struct CommandBatch<'k> {
    keys: &'k KeyNames,
    pub(super) commands: Pipeline,
}

impl<'k> CommandBatch<'k> {
    pub(super) fn new(keys: &'k KeyNames, commands: usize) -> Self {
        Self { keys, commands: Pipeline::with_capacity(commands) }
    }

    /// Claims a key, or learns who has it: see [`Keys::holder`].
    pub(super) fn claim(&mut self, key: DuplicateKey) {
        self.claim_name(&self.keys.name(key), self.keys.claim_for);
    }

    /// The same with a key that is no event's.
    pub(super) fn probe(&mut self) {
        self.claim_name(&format!("{}probe", self.keys.prefix), PROBE_FOR.as_millis() as u64);
    }

    fn claim_name(&mut self, name: &str, millis: u64) {
        self.commands.cmd("SET").arg(name).arg(&self.keys.claim).arg("NX").arg("GET").arg("PX").arg(millis);
    }

    /// Says that a key's event is durable.
    pub(super) fn durable(&mut self, key: DuplicateKey) {
        self.commands.cmd("SET").arg(self.keys.name(key)).arg(DURABLE).arg("PX").arg(self.keys.durable_for);
    }

    /// Gives a claim back, unless the key is no longer ours.
    pub(super) fn release(&mut self, key: DuplicateKey) {
        self.commands.cmd("EVAL").arg(RELEASE).arg(1).arg(self.keys.name(key)).arg(&self.keys.claim);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn keys() -> KeyNames {
        KeyNames::new("fanbridge:", 7, Duration::from_secs(5), Duration::from_secs(86_400))
    }

    fn wire(round: &CommandBatch<'_>) -> String {
        String::from_utf8(round.commands.get_packed_pipeline()).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn a_claim_is_one_command_that_sets_only_what_nobody_has_and_says_who_has_it() {
        let keys = keys();
        let mut round = CommandBatch::new(&keys, 1);
        round.claim(DuplicateKey([0xab; 16]));
        let name = format!("fanbridge:2:{}", "ab".repeat(16));
        let words = ["SET", &name, "pending:0000000000000007", "NX", "GET", "PX", "5000"];
        let expected: String = words.iter().map(|word| format!("${} {word} ", word.len())).collect();
        assert_eq!(wire(&round), format!("*7 {expected}"));
    }

    #[test]
    fn a_durable_key_lives_for_the_window_whoever_had_it() {
        let keys = keys();
        let mut round = CommandBatch::new(&keys, 1);
        round.durable(DuplicateKey([0; 16]));
        assert!(wire(&round).ends_with("$7 durable $2 PX $8 86400000 "), "{}", wire(&round));
    }

    #[test]
    fn a_time_that_the_server_would_refuse_is_one_that_it_takes() {
        let keys = KeyNames::new("", 7, Duration::ZERO, Duration::MAX);
        assert_eq!((keys.claim_for, keys.durable_for), (1, 3_153_600_000_000));
    }

    #[test]
    fn an_answer_says_who_has_the_key() {
        let keys = keys();
        let value = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        assert_eq!(keys.holder(&Value::Nil).unwrap(), Holder::Nobody);
        assert_eq!(keys.holder(&value("durable")).unwrap(), Holder::Durable);
        assert_eq!(keys.holder(&value("pending:0000000000000007")).unwrap(), Holder::Us);
        assert_eq!(keys.holder(&value("pending:0000000000000008")).unwrap(), Holder::Another);
        assert_eq!(keys.holder(&value("something newer")).unwrap(), Holder::Another);
        assert!(keys.holder(&Value::Okay).is_err(), "not an answer to a claim");
    }
}
