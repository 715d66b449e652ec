//! Bodies in the shape of Stream's, of an exact size, each unique and signed.
//!
//! What differs between two bodies stands at the end, so the signature is finished from a state that
//! already holds everything before it: signing costs two or three blocks of SHA-256 whatever the
//! size, and the sender stays far cheaper than what it measures. The receiver has no such short cut.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// The event type of every body, unless there are to be several.
pub const EVENT_TYPE: &str = "call.session_participant_joined";
/// Hex digits of an id.
pub const ID_CHARS: usize = 32;
/// Hex digits of a signature.
pub const SIGNATURE_CHARS: usize = 64;

const DIGITS: usize = 6;
const MOMENT_CHARS: usize = "2026-11-21T09:28:24.000000000Z".len();

/// How bodies differ.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    /// Partition keys that bodies are spread over.
    pub keys: usize,
    /// Event types, which go round with the keys; 0 for the one that the catalogue has.
    pub types: usize,
    /// Parts, one for each source: a part has keys, and so types, of its own.
    pub parts: usize,
}

/// What the names of several event types begin with.
const KIND: &str = "bench.kind_";

/// The name of event type `number`, if there are several.
pub fn kind(number: usize) -> String {
    format!("{KIND}{number:06}")
}

/// Writes bodies over a pool of partition keys and signs them.
#[derive(Clone)]
pub struct Bodies {
    template: Vec<u8>,
    /// Where the type's digits are, and how many types there are, if there are several.
    types: Option<(usize, usize)>,
    /// Parts that the keys are divided into, each with as many.
    parts: usize,
    key_at: usize,
    tail_at: usize,
    moment_at: usize,
    id_at: usize,
    /// Per key: the signature's state after everything before the tail.
    begun: Vec<Hmac<Sha256>>,
    run: u64,
    clock: Clock,
}

/// A body's unique `id`, as hex.
pub type Id = [u8; ID_CHARS];
/// A body's HMAC-SHA256, as lowercase hex.
pub type Signature = [u8; SIGNATURE_CHARS];

impl Bodies {
    /// Bodies of `bytes` over `keys` partition keys, all of one type.
    ///
    /// # Errors
    /// When the size cannot hold the fields every body has, or a pool size has too many digits.
    pub fn new(bytes: usize, keys: usize, secret: &[u8]) -> anyhow::Result<Self> {
        Self::of_kinds(bytes, Kinds { keys, types: 0, parts: 1 }, secret)
    }

    /// Bodies of `bytes` of so many kinds.
    ///
    /// # Errors
    /// As above, and when the keys cannot be divided as asked for.
    pub fn of_kinds(bytes: usize, kinds: Kinds, secret: &[u8]) -> anyhow::Result<Self> {
        let Kinds { keys, types, parts } = kinds;
        anyhow::ensure!((1..=999_999).contains(&keys), "{keys} keys: expected 1 to 999999");
        anyhow::ensure!(types <= keys, "{types} types: expected at most as many as keys, which are {keys}");
        anyhow::ensure!(
            parts > 0 && keys.is_multiple_of(parts),
            "{keys} keys in {parts} parts: expected as many in each"
        );
        let head = head(types);
        let tail =
            format!(r#""}},"created_at":"{}","id":"{}"}}"#, "0".repeat(MOMENT_CHARS), "0".repeat(ID_CHARS));
        let room = bytes.checked_sub(head.len() + tail.len() + OPENING.len());
        let room = room
            .ok_or_else(|| anyhow::anyhow!("a body of {bytes} bytes is too small for an event's fields"))?;
        let text = [head.as_str(), &members(room), &tail].concat();
        debug_assert_eq!(text.len(), bytes, "the padding fills the body exactly");

        let tail_at = bytes - tail.len();
        let place = |before: &str| text.find(before).map_or(0, |at| at + before.len());
        let mut bodies = Self {
            types: (types > 0).then(|| (place(KIND), types)),
            parts,
            key_at: place("default:bench-"),
            tail_at,
            moment_at: tail_at + tail.find(":\"0").map_or(0, |at| at + 2),
            id_at: bytes - ID_CHARS - 2,
            template: text.into_bytes(),
            begun: Vec::with_capacity(keys),
            run: run_number(),
            clock: Clock::default(),
        };
        for key in 0..keys {
            let mut state = Hmac::new_from_slice(secret).map_err(|_| anyhow::anyhow!("unusable secret"))?;
            state.update(bodies.start(key));
            bodies.begun.push(state);
        }
        Ok(bodies)
    }

    /// Everything before the tail of a body with this key.
    pub fn start(&mut self, key: usize) -> &[u8] {
        let Self { template, types, key_at, tail_at, .. } = self;
        put_key(template, *types, *key_at, key);
        &template[..*tail_at]
    }

    /// Where what differs between keys ends, and where what differs between bodies begins.
    pub fn same(&self) -> Range<usize> {
        self.key_at + DIGITS..self.tail_at
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.begun.len()
    }

    /// The key of the body with this number in one of the parts.
    pub fn key(&self, part: usize, number: u64) -> usize {
        let each = self.begun.len() / self.parts;
        part * each + usize::try_from(number % each as u64).unwrap_or_default()
    }

    /// Bytes of every body.
    pub fn bytes(&self) -> usize {
        self.template.len()
    }

    /// A body to hand to [`Bodies::write`].
    pub fn blank(&self) -> &[u8] {
        &self.template
    }

    /// Turns `body`, which began as [`Bodies::blank`], into event number `number` of this run.
    pub fn write(&mut self, body: &mut [u8], number: u64) -> Id {
        self.write_with(self.key(0, number), body, number)
    }

    /// As above, with a key of the caller's choice.
    pub fn write_with(&mut self, key: usize, body: &mut [u8], number: u64) -> Id {
        put_key(body, self.types, self.key_at, key);
        body[self.moment_at..][..MOMENT_CHARS].copy_from_slice(self.clock.now());
        let mut id = [0; ID_CHARS];
        put_hex(&self.run.to_be_bytes(), &mut id[..16]);
        put_hex(&number.to_be_bytes(), &mut id[16..]);
        body[self.id_at..][..ID_CHARS].copy_from_slice(&id);
        id
    }

    /// Signs what was written to `body` with this key.
    pub fn sign(&self, key: usize, body: &[u8]) -> Signature {
        let mut state = self.begun[key].clone();
        state.update(&body[self.tail_at..]);
        let mut signature = [0; SIGNATURE_CHARS];
        put_hex(&state.finalize().into_bytes(), &mut signature);
        signature
    }
}

/// Writes a key's digits, and those of its type if there are several.
fn put_key(body: &mut [u8], types: Option<(usize, usize)>, key_at: usize, key: usize) {
    body[key_at..][..DIGITS].copy_from_slice(&decimal::<DIGITS>(key as u64));
    if let Some((type_at, types)) = types {
        body[type_at..][..DIGITS].copy_from_slice(&decimal::<DIGITS>((key % types) as u64));
    }
}

/// Everything before the padding.
fn head(types: usize) -> String {
    let user = user(1);
    let event_type = if types > 0 { kind(0) } else { EVENT_TYPE.to_owned() };
    format!(
        r#"{{"type":"{event_type}","call_cid":"default:bench-000000","session_id":"5d1f4c2a-session","participant":{{"user_session_id":"77c1b2","role":"user","joined_at":"2026-11-21T09:28:24.1Z","user":{user}}},"#
    )
}

const OPENING: &str = r#""members":[],"custom":{"note":""#;

/// As many members as fit in `room` bytes beside the opening, the rest as a note.
fn members(room: usize) -> String {
    let mut members = Vec::new();
    let mut used = 0;
    for seed in 2.. {
        let member = user(seed);
        let bytes = member.len() + usize::from(!members.is_empty());
        if used + bytes > room {
            break;
        }
        used += bytes;
        members.push(member);
    }
    let note: String = "all of the rest is said here ".chars().cycle().take(room - used).collect();
    format!(r#""members":[{}],"custom":{{"note":"{note}"#, members.join(","))
}

/// A user object; no two alike, so that a broker's compression is not flattered.
fn user(seed: u64) -> String {
    let scattered = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!(
        r#"{{"id":"user-{scattered:016x}","name":"John {}","role":"user","language":"en","teams":["blue"],"custom":{{}},"banned":false,"online":{},"created_at":"2026-0{}-08T09:12:28.{:09}Z"}}"#,
        scattered % 977,
        seed.is_multiple_of(2),
        scattered % 9 + 1,
        scattered % 999_999_937
    )
}

/// Tells runs apart, so that no id is ever sent twice to one bridge.
fn run_number() -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    (nanos as u64) ^ (u64::from(std::process::id()) << 40)
}

/// The time as RFC 3339 text with nine digits, formatted in full only once a second.
#[derive(Clone)]
struct Clock {
    second: u64,
    text: [u8; MOMENT_CHARS],
}

impl Default for Clock {
    fn default() -> Self {
        Self { second: u64::MAX, text: [b'0'; MOMENT_CHARS] }
    }
}

impl Clock {
    fn now(&mut self) -> &[u8; MOMENT_CHARS] {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            let moment = time::OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_secs(self.second);
            let (date, clock) = (moment.date(), moment.time());
            let text = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.000000000Z",
                date.year(),
                u8::from(date.month()),
                date.day(),
                clock.hour(),
                clock.minute(),
                clock.second()
            );
            self.text.copy_from_slice(text.as_bytes());
        }
        self.text[20..29].copy_from_slice(&decimal::<9>(u64::from(now.subsec_nanos())));
        &self.text
    }
}

fn decimal<const COUNT: usize>(mut value: u64) -> [u8; COUNT] {
    let mut digits = [b'0'; COUNT];
    for digit in digits.iter_mut().rev() {
        *digit += (value % 10) as u8;
        value /= 10;
    }
    digits
}

fn put_hex(bytes: &[u8], text: &mut [u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_body_has_exactly_its_size_and_its_signature_holds_over_all_of_it() {
        for bytes in [640, 1024, 4096, 65_536] {
            let mut bodies = Bodies::new(bytes, 7, b"a secret of the bench").unwrap();
            let mut body = bodies.blank().to_vec();
            for number in 0..20 {
                let id = bodies.write(&mut body, number);
                assert_eq!(body.len(), bytes);
                let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(json["type"], EVENT_TYPE);
                assert_eq!(json["call_cid"], format!("default:bench-{:06}", number % 7));
                assert_eq!(json["id"].as_str().unwrap().as_bytes(), id);
                let mut whole = Hmac::<Sha256>::new_from_slice(b"a secret of the bench").unwrap();
                whole.update(&body);
                let signature = bodies.sign(bodies.key(0, number), &body);
                assert_eq!(hex::encode(whole.finalize().into_bytes()).as_bytes(), signature);
            }
        }
    }

    #[test]
    fn each_part_has_keys_and_types_of_its_own() {
        let kinds = Kinds { keys: 6, types: 6, parts: 3 };
        let mut bodies = Bodies::of_kinds(1024, kinds, b"a secret of the bench").unwrap();
        let mut body = bodies.blank().to_vec();
        let mut seen = Vec::new();
        for part in 0..3 {
            for number in 0..4 {
                let key = bodies.key(part, number);
                bodies.write_with(key, &mut body, number);
                let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(json["type"], kind(key));
                assert_eq!(json["call_cid"], format!("default:bench-{key:06}"));
                let mut whole = Hmac::<Sha256>::new_from_slice(b"a secret of the bench").unwrap();
                whole.update(&body);
                assert_eq!(hex::encode(whole.finalize().into_bytes()).as_bytes(), bodies.sign(key, &body));
                seen.push(key);
            }
        }
        assert_eq!(seen, [0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5]);
        assert!(Bodies::of_kinds(1024, Kinds { keys: 7, ..kinds }, b"secret").is_err());
        assert!(Bodies::of_kinds(1024, Kinds { types: 9, ..kinds }, b"secret").is_err());
    }

    #[test]
    fn a_size_too_small_for_an_event_is_refused() {
        assert!(Bodies::new(100, 1, b"secret").is_err());
    }
}
