//! Signs as a provider does, for tools that play one.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::definition::Definition;
use super::scheme::TimestampPlace;
use super::secret::SigningSecret;
use crate::event::Timestamp;

/// The headers that a provider would send with this body: signature, id and timestamp.
///
/// For tools that play the provider. `id` is used if the scheme signs one. A scheme without
/// verification needs no headers.
pub fn sign(
    definition: &Definition,
    secret: &SigningSecret,
    body: &[u8],
    now: Timestamp,
    id: &str,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(scheme) = &definition.signature.hmac else { return headers };
    let timestamp = now.unix_seconds().to_string();
    let mark = scheme.mac(secret, Some(id), Some(&timestamp), body);
    let mut add = |name: &HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    add(&scheme.header, &scheme.write(mark, &timestamp));
    if let Some(name) = &scheme.id_header {
        add(name, id);
    }
    if let Some(TimestampPlace::Header(name)) = scheme.timestamp.as_ref().map(|rule| &rule.place) {
        add(name, &timestamp);
    }
    headers
}
