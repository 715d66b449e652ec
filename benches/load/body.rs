//! Bodies in the shape of Stream's, of an exact size, each unique and signed.
//!
//! What differs between two bodies stands at the end, so the signature is finished from a state that
//! already holds everything before it: signing costs two or three blocks of SHA-256 whatever the
//! size, and the sender stays far cheaper than what it measures. The receiver has no such short cut.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};

/// The event type every body carries.
pub const EVENT_TYPE: &str = "call.session_participant_joined";
/// Hex digits of an id.
pub const ID_CHARS: usize = 32;
/// Hex digits of a signature.
pub const SIGNATURE_CHARS: usize = 64;

const KEY_DIGITS: usize = 6;
const MOMENT_CHARS: usize = "2026-11-21T09:28:24.000000000Z".len();

/// Writes bodies over a pool of partition keys and signs them.
#[derive(Clone)]
pub struct Bodies {
    template: Vec<u8>,
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
    /// Bodies of `bytes` over `keys` partition keys.
    ///
    /// # Errors
    /// When the size cannot hold the fields every body has, or a pool size has too many digits.
    pub fn new(bytes: usize, keys: usize, secret: &[u8]) -> anyhow::Result<Self> {
        anyhow::ensure!((1..=999_999).contains(&keys), "{keys} keys: expected 1 to 999999");
        let head = head();
        let tail =
            format!(r#""}},"created_at":"{}","id":"{}"}}"#, "0".repeat(MOMENT_CHARS), "0".repeat(ID_CHARS));
        let room = bytes.checked_sub(head.len() + tail.len() + OPENING.len());
        let room = room
            .ok_or_else(|| anyhow::anyhow!("a body of {bytes} bytes is too small for an event's fields"))?;
        let text = [head.as_str(), &members(room), &tail].concat();
        debug_assert_eq!(text.len(), bytes, "the padding fills the body exactly");

        let tail_at = bytes - tail.len();
        let mut bodies = Self {
            key_at: text.find("000000").map_or(0, |at| at),
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
            bodies.put_key(key);
            state.update(&bodies.template[..tail_at]);
            bodies.begun.push(state);
        }
        Ok(bodies)
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
        let key = self.key_number(number);
        body[self.key_at..][..KEY_DIGITS].copy_from_slice(&decimal::<KEY_DIGITS>(key as u64));
        body[self.moment_at..][..MOMENT_CHARS].copy_from_slice(self.clock.now());
        let mut id = [0; ID_CHARS];
        put_hex(&self.run.to_be_bytes(), &mut id[..16]);
        put_hex(&number.to_be_bytes(), &mut id[16..]);
        body[self.id_at..][..ID_CHARS].copy_from_slice(&id);
        id
    }

    /// Signs what [`Bodies::write`] made of `body` for the same number.
    pub fn sign(&self, body: &[u8], number: u64) -> Signature {
        let mut state = self.begun[self.key_number(number)].clone();
        state.update(&body[self.tail_at..]);
        let mut signature = [0; SIGNATURE_CHARS];
        put_hex(&state.finalize().into_bytes(), &mut signature);
        signature
    }

    fn key_number(&self, number: u64) -> usize {
        usize::try_from(number % self.begun.len() as u64).unwrap_or_default()
    }

    fn put_key(&mut self, key: usize) {
        self.template[self.key_at..][..KEY_DIGITS].copy_from_slice(&decimal::<KEY_DIGITS>(key as u64));
    }
}

/// Everything before the padding; the first `000000` is the key's place.
fn head() -> String {
    let user = user(1);
    format!(
        r#"{{"type":"{EVENT_TYPE}","call_cid":"default:bench-000000","session_id":"5d1f4c2a-session","participant":{{"user_session_id":"77c1b2","role":"user","joined_at":"2026-11-21T09:28:24.1Z","user":{user}}},"#
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

fn decimal<const DIGITS: usize>(mut value: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (value % 10) as u8;
        value /= 10;
    }
    digits
}

fn put_hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
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
                assert_eq!(hex::encode(whole.finalize().into_bytes()).as_bytes(), bodies.sign(&body, number));
            }
        }
    }

    #[test]
    fn a_size_too_small_for_an_event_is_refused() {
        assert!(Bodies::new(100, 1, b"secret").is_err());
    }
}
