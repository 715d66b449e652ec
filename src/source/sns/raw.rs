//! Raw deliveries: the published message without an envelope, and so without a signature. In place of the
//! signature SNS sends a user name and a password, once it was asked for them with a 401.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::RawDelivery;
use crate::event::single_header;

/// The header by which SNS marks a raw delivery.
const RAW_HEADER: &str = "x-amz-sns-rawdelivery";

/// Whether a delivery is marked as raw.
pub(super) fn is_marked(headers: &HeaderMap) -> bool {
    headers.get_all(RAW_HEADER).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Whether the headers carry the configured user name and password, compared in constant time.
pub(super) fn is_known(headers: &HeaderMap, expected: &RawDelivery) -> bool {
    let Some(given) = credentials(headers) else { return false };
    let (username, password) = given.split_at(given.iter().position(|b| *b == b':').unwrap_or(given.len()));
    let password = password.strip_prefix(b":").unwrap_or_default();
    let same = |given: &[u8], expected: &str| Sha256::digest(given).ct_eq(&Sha256::digest(expected));
    (same(username, &expected.username) & same(password, expected.password.expose_secret())).into()
}

/// The decoded credentials after `Basic`, if the header occurs exactly once (RFC 7617).
fn credentials(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, rest) = single_header(headers, AUTHORIZATION)?.as_bytes().split_at_checked(6)?;
    let encoded = scheme.eq_ignore_ascii_case(b"basic ").then(|| rest.trim_ascii())?;
    BASE64_STANDARD.decode(encoded).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn known(values: &[&str]) -> bool {
        let raw = RawDelivery { username: "sns".into(), password: "pass:word-of-the-tests".into() };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        is_known(&headers, &raw)
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(text))
    }

    #[test]
    fn only_the_configured_name_and_password_are_known() {
        let good = basic("sns:pass:word-of-the-tests");
        assert!(known(&[&good]));
        assert!(known(&[&good.replace("Basic", "basic")]));
        for text in [
            "sns:pass:word-of-the-test",
            "sns:pass:word-of-the-tests2",
            "sn:pass:word-of-the-tests",
            ":pass:word-of-the-tests",
            "sns:",
            "sns",
            "",
            "sns:pass",
        ] {
            assert!(!known(&[&basic(text)]), "{text}");
        }
        for value in ["", "Basic", "Basic ", "Basic !", "Bearer c25z", &good.replace("Basic ", "")] {
            assert!(!known(&[value]), "{value}");
        }
        assert!(!known(&[&good, &good]), "twice");
        assert!(!known(&[]), "never");
    }
}
