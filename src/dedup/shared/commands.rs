//! The keys in the server, and the commands that claim, confirm and release them.
//!
//! A key's name is a prefix, a generation and the event's duplicate key in hex; its value is the claim of one
//! run of one replica, or the word `durable`. One command claims a key or returns its holder, in one step:
//! `SET … NX GET PX` (Redis 7.0 or later, and Valkey).

use std::time::Duration;

use redis::{Pipeline, Value};

use super::error::ServerError;
use crate::dedup::DuplicateKey;

/// How long the probe key lives. Claiming it shows whether the server can be used.
const PROBE_FOR: Duration = Duration::from_secs(1);

/// Deletes a key if it still has this value.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end \
                       return 0";

/// The generation in front of each duplicate key. An earlier release had none, and stored quarantined
/// deliveries under the keys of events: an event made of such a delivery would be taken for durable.
const GENERATION: &str = "2:";

/// The value of a key whose event is on stable storage.
const DURABLE: &[u8] = b"durable";

/// What the value of a key begins with whose event sinks have accepted; their fingerprint follows. An older
/// release takes it for the claim of another replica, and stores the event again.
const ACCEPTED: &[u8] = b"accepted:";

/// The holder of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody had claimed the key: this replica has claimed it now.
    Nobody,
    /// This replica claimed the key before, for another copy of the event.
    Us,
    /// Another replica has claimed the key.
    Another,
    /// The key's event is durable.
    Durable,
    /// The key's event is accepted by the sinks with this fingerprint.
    Accepted(u32),
}

/// Makes the names and values of keys.
#[derive(Debug)]
pub(super) struct KeyNames {
    prefix: String,
    /// The value of the keys that this run of this replica has claimed.
    claim: String,
    /// How long a claim lives, in milliseconds.
    claim_for: u64,
    /// How long a durable key lives, in milliseconds.
    durable_for: u64,
}

impl KeyNames {
    /// `run` is a random number that identifies this run of this replica.
    pub(super) fn new(prefix: &str, run: u64, claim_for: Duration, durable_for: Duration) -> Self {
        // The server refuses zero, and a time that overflows when it is added to the present one.
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
        let millis = |time: Duration| time.clamp(Duration::from_millis(1), LONGEST).as_millis() as u64;
        Self {
            prefix: prefix.to_owned(),
            claim: format!("pending:{run:016x}"),
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

    /// Reads the answer to a claim.
    pub(super) fn holder(&self, answer: &Value) -> Result<Holder, ServerError> {
        match answer {
            Value::Nil => Ok(Holder::Nobody),
            Value::BulkString(value) if value == DURABLE => Ok(Holder::Durable),
            Value::BulkString(value) if value == self.claim.as_bytes() => Ok(Holder::Us),
            Value::BulkString(value) => Ok(accepted(value).map_or(Holder::Another, Holder::Accepted)),
            other => Err(ServerError::of_answer(other).unwrap_or(ServerError::Unexpected)),
        }
    }
}

/// The fingerprint in the value of a key whose event sinks have accepted.
fn accepted(value: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(value.strip_prefix(ACCEPTED)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// The commands of one round to the server, which answers them in the same order.
pub(super) struct CommandBatch<'k> {
    keys: &'k KeyNames,
    pub(super) commands: Pipeline,
}

impl<'k> CommandBatch<'k> {
    pub(super) fn new(keys: &'k KeyNames, commands: usize) -> Self {
        Self { keys, commands: Pipeline::with_capacity(commands) }
    }

    /// Claims a key; [`KeyNames::holder`] reads the answer.
    pub(super) fn claim(&mut self, key: DuplicateKey) {
        self.claim_name(&self.keys.name(key), self.keys.claim_for);
    }

    /// Claims the probe key, which no event has.
    pub(super) fn probe(&mut self) {
        self.claim_name(&format!("{}probe", self.keys.prefix), PROBE_FOR.as_millis() as u64);
    }

    fn claim_name(&mut self, name: &str, millis: u64) {
        self.commands.cmd("SET").arg(name).arg(&self.keys.claim).arg("NX").arg("GET").arg("PX").arg(millis);
    }

    /// Confirms that a key's event is durable.
    pub(super) fn durable(&mut self, key: DuplicateKey) {
        self.commands.cmd("SET").arg(self.keys.name(key)).arg(DURABLE).arg("PX").arg(self.keys.durable_for);
    }

    /// Confirms that the sinks with this fingerprint have accepted a key's event.
    pub(super) fn accepted(&mut self, key: DuplicateKey, sinks: u32) {
        let value = [ACCEPTED, format!("{sinks:08x}").as_bytes()].concat();
        self.commands.cmd("SET").arg(self.keys.name(key)).arg(value).arg("PX").arg(self.keys.durable_for);
    }

    /// Releases a claim, unless this run of this replica no longer holds it.
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
    fn an_accepted_key_says_by_which_sinks() {
        let keys = keys();
        let mut round = CommandBatch::new(&keys, 1);
        round.accepted(DuplicateKey([0; 16]), 42);
        assert!(wire(&round).ends_with("$17 accepted:0000002a $2 PX $8 86400000 "), "{}", wire(&round));
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
        assert_eq!(keys.holder(&value("accepted:0000002a")).unwrap(), Holder::Accepted(42));
        assert_eq!(keys.holder(&value("accepted:")).unwrap(), Holder::Another);
        assert!(keys.holder(&Value::Okay).is_err(), "not an answer to a claim");
    }
}
