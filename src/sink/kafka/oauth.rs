//! OAuth bearer tokens for the brokers, from a file that something else keeps fresh (a projected
//! service account token, a sidecar).
//!
//! The token is not checked here, the brokers do that. It is opened only far enough to learn whose
//! it is and when it ends; one that is no JSON Web Token is simply read again after a while.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

/// How long a token that does not say when it ends is used before its file is read again.
const LIFETIME_UNSTATED: Duration = Duration::from_secs(300);
/// A token file is a few kilobytes; more is a wrong path.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// The claims that are read.
#[derive(Default, Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<i64>,
}

/// Reads the token, which librdkafka asks for again at four fifths of its life.
///
/// # Errors
/// When the file cannot be read or holds no token. The message never holds the token.
pub(super) fn token_from(file: &Path) -> Result<OAuthToken, String> {
    let problem = |what: String| format!("oauth token file {}: {what}", file.display());
    let size = std::fs::metadata(file).map_err(|error| problem(error.to_string()))?.len();
    if size > TOKEN_BYTES_MAX {
        return Err(problem(format!("{size} bytes, expected at most {TOKEN_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| problem(error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || token.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(problem("expected one token and nothing else".into()));
    }
    let claims = claims(token).unwrap_or_default();
    let unstated = (SystemTime::now() + LIFETIME_UNSTATED).duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.sub.unwrap_or_else(|| "fanbridge".into()),
        lifetime_ms: claims.exp.map_or_else(
            || i64::try_from(unstated.as_millis()).unwrap_or(i64::MAX),
            |seconds| seconds.saturating_mul(1000),
        ),
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

    fn read(content: &str) -> Result<OAuthToken, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        token_from(file.path())
    }

    #[test]
    fn a_web_token_states_its_owner_and_its_end() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"bridge","exp":4102444800,"aud":["kafka"]}"#);
        let token = read(&format!("e30.{payload}.c2ln\n")).unwrap();
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("bridge", 4_102_444_800_000));
        assert_eq!(token.token, format!("e30.{payload}.c2ln"));
    }

    #[test]
    fn an_opaque_token_is_read_again_after_a_while() {
        assert!(read("opaque").unwrap().lifetime_ms > 0);
    }

    #[test]
    fn a_file_without_one_token_is_an_error_that_does_not_repeat_it() {
        for content in ["", " \n", "one two"] {
            let said = read(content).map(|token| token.token).unwrap_err();
            assert!(said.contains("expected one token") && !said.contains("two"), "{said}");
        }
    }
}
