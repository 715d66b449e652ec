//! The providers' signatures, made a second time from their documentation: if the bridge and this
//! file agree, it is because both are right.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The signing secret of the sources that carry Stream's deliveries in these tests.
pub const STREAM_SECRET: &str = "stream-signing-secret-for-tests-0001";
/// The signing secret of the sources that carry FastPix's deliveries: base64 of 32 bytes.
pub const FASTPIX_SECRET: &str = "ZmFzdHBpeC1zaWduaW5nLXNlY3JldC0wMDAwMDAwMDE=";

/// Stream's `X-Signature`: hex of HMAC-SHA256 over the plain body.
pub fn stream(body: &[u8]) -> String {
    stream_with(STREAM_SECRET, body)
}

/// FastPix's `FastPix-Signature`: base64 of HMAC-SHA256 over the body, keyed with the decoded secret.
pub fn fastpix(body: &[u8]) -> String {
    let key = STANDARD.decode(FASTPIX_SECRET).expect("the test secret is base64");
    STANDARD.encode(mac(&key, body))
}

/// Standard Webhooks' `webhook-signature`: base64 of HMAC-SHA256 over id, timestamp and body, keyed
/// with the decoded secret, which here is FastPix's.
pub fn standard_webhooks(id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(FASTPIX_SECRET).expect("the test secret is base64");
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", STANDARD.encode(mac(&key, &signed)))
}

/// Stream's signature with another secret.
pub fn stream_with(secret: &str, body: &[u8]) -> String {
    hex::encode(mac(secret.as_bytes(), body))
}

/// The id of an event whose provider signs none: the digest of the signed body.
pub fn digest_id(body: &[u8]) -> String {
    format!("sha256-{}", hex::encode(sha256(body)))
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signatures_agree_with_published_vectors() {
        let body = br#"{"type":"message.new","created_at":1778198400000000000}"#;
        assert_eq!(
            hex::encode(mac(b"test_secret_do_not_use_in_production", body)),
            "408ab27d58b18a584d29f2801dde0d5ad20e5f5965039ac88d2ef49014a2c4a7"
        );
        let body = br#"{"type":"video.media.ready","data":{"id":"abc-123"}}"#;
        let key = STANDARD.decode("ZGVtby1zZWNyZXQ=").expect("base64");
        assert_eq!(STANDARD.encode(mac(&key, body)), "SXTZYhjRshplUTerYmYX0D3d2LSTG3PWD2lY6XFLzd0=");
    }
}
