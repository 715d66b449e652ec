//! OAuth bearer tokens for Kafka brokers, mostly from a file that another program keeps fresh (a
//! projected service account token, a sidecar), or made of AWS credentials.
//!
//! The brokers check the token. It is decoded here only to read its subject and its expiry.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::BearerToken;

/// The longest time until the token is read again, whatever expiry it states: a token that the
/// brokers refuse must not be used for the rest of its life once its file has been replaced.
const LIFETIME_MAX: Duration = Duration::from_secs(60);
/// Largest token file in bytes. A token has a few kilobytes; a larger file is a wrong path.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// Error of a client that needs a token in a configuration without one.
pub(super) const NO_TOKEN: &str = "no token is configured";

/// The claims of a token that are read.
#[derive(Default, Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<i64>,
}

/// The token as it is now. librdkafka asks again after four fifths of its life, and ten seconds after
/// an error; it treats an expired token as an error.
///
/// # Errors
/// When the file cannot be read or does not hold one token. The message never contains the token.
pub(super) fn token(kept: &BearerToken) -> Result<OAuthToken, String> {
    match kept {
        BearerToken::File(path) => {
            read(path).map_err(|problem| format!("oauth token file {}: {problem}", path.display()))
        }
        BearerToken::Fixed(text) => {
            opened(text.expose_secret()).map_err(|problem| format!("oauth token: {problem}"))
        }
        BearerToken::MskIam(msk) => msk.token().map_err(|problem| format!("token for MSK: {problem}")),
    }
}

fn read(file: &Path) -> Result<OAuthToken, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > TOKEN_BYTES_MAX {
        return Err(format!("the file has {size} bytes, expected at most {TOKEN_BYTES_MAX}"));
    }
    opened(&std::fs::read_to_string(file).map_err(|error| error.to_string())?)
}

fn opened(text: &str) -> Result<OAuthToken, String> {
    let token = text.trim();
    if token.is_empty() || token.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("expected one token without white space, and nothing else".into());
    }
    let claims = claims(token).unwrap_or_default();
    let soon = (SystemTime::now() + LIFETIME_MAX).duration_since(UNIX_EPOCH).unwrap_or_default();
    let soon_ms = i64::try_from(soon.as_millis()).unwrap_or(i64::MAX);
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.sub.unwrap_or_else(|| "fanbridge".into()),
        lifetime_ms: claims.exp.map_or(soon_ms, |seconds| seconds.saturating_mul(1000).min(soon_ms)),
    })
}

fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn kept_in_a_file(content: &str) -> Result<OAuthToken, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        token(&BearerToken::File(file.path().into()))
    }

    fn web_token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn now_ms() -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
    }

    #[test]
    fn a_web_token_states_its_owner_and_its_end() {
        let text = web_token(r#"{"sub":"bridge","exp":1763709600,"aud":["kafka"]}"#);
        let from_file = kept_in_a_file(&format!("{text}\n")).unwrap();
        let fixed = token(&BearerToken::Fixed(text.clone().into())).unwrap();
        for token in [from_file, fixed] {
            assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("bridge", 1_763_709_600_000));
            assert_eq!(token.token, text);
        }
    }

    #[test]
    fn a_token_that_ends_late_or_does_not_say_when_is_read_again_within_a_minute() {
        for text in [web_token(r#"{"exp":4102444800}"#), "opaque".into()] {
            let life = kept_in_a_file(&text).unwrap().lifetime_ms - now_ms();
            assert!((50_000..=60_000).contains(&life), "{text}: {life} ms");
        }
    }

    #[test]
    fn a_file_without_one_token_is_an_error_that_does_not_repeat_it() {
        for content in ["", " \n", "one two"] {
            let said = kept_in_a_file(content).map(|token| token.token).unwrap_err();
            assert!(said.contains("expected one token") && !said.contains("two"), "{said}");
        }
    }
}
