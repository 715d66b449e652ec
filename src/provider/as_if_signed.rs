//! What a delivery would be if its signature were valid, for tools that know its body and need no secret.

use bytes::Bytes;
use http::HeaderMap;

use super::definition::Definition;
use super::secret::SigningSecret;
use super::{BodyLimits, DeliveryRefusal, Receipt, body, sign, verify};
use crate::event::{Delivery, Timestamp, single_header};

/// Verifies a body and its headers under a signature that is made here, with a key that nobody else uses: of
/// the headers all but the signature count, such as the signed id and the stated type.
///
/// # Errors
/// Why the delivery would be refused even with a valid signature: it is too large or cannot be decoded, its
/// signed id is missing, or the provider signs no webhooks.
pub fn as_if_signed(
    definition: &Definition,
    headers: &HeaderMap,
    body: Bytes,
    now: Timestamp,
    limits: &BodyLimits,
) -> Result<Receipt, DeliveryRefusal> {
    let encoding = body::encoding(headers, definition.gzip)?;
    let body = body::decode(body, encoding, limits)?;
    let id_header = definition.signature.hmac.as_ref().and_then(|scheme| scheme.id_header.as_ref());
    let id = match id_header {
        Some(name) => {
            single_header(headers, name).ok_or(DeliveryRefusal::Unauthenticated("missing_id"))?.to_owned()
        }
        None => String::new(),
    };
    let secret = SigningSecret::from_key(vec![0x5a; 32]);
    let mut headers = headers.clone();
    for (name, value) in &sign(definition, &secret, &body, now, &id) {
        headers.insert(name, value.clone());
    }
    verify(definition, &[secret], Delivery { headers: &headers, body, arrived: now }, limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::builtin_named;

    const LIMITS: BodyLimits = BodyLimits { inflated_bytes_max: 1 << 20, inflate_ratio_max: 100 };

    fn verified(
        provider: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> Result<String, DeliveryRefusal> {
        let definition = builtin_named(provider).expect("built in");
        let headers = headers.iter().map(|(name, value)| {
            let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, http::HeaderValue::from_str(value).expect("a value"))
        });
        let headers: HeaderMap = headers.collect();
        match as_if_signed(&definition, &headers, Bytes::from(body), Timestamp(7_000_000_000), &LIMITS)? {
            Receipt::Verified(verified) => Ok(verified.stated.signed_id.unwrap_or_default().to_string()),
            Receipt::Probe => Ok("a probe".into()),
        }
    }

    #[test]
    fn a_delivery_of_each_form_of_signature_is_taken_for_a_signed_one() {
        for provider in ["stream", "fastpix", "github", "stripe", "shopify", "mux"] {
            assert_eq!(
                verified(provider, &[], r#"{"type":"a.b","id":"evt_1"}"#),
                Ok(String::new()),
                "{provider}"
            );
        }
        let id = [("webhook-id", "msg_1"), ("webhook-signature", "v1,wrong")];
        assert_eq!(verified("standard-webhooks", &id, "{}"), Ok("msg_1".into()));
    }

    #[test]
    fn a_signed_id_must_be_known() {
        let refused = Err(DeliveryRefusal::Unauthenticated("missing_id"));
        assert_eq!(verified("standard-webhooks", &[], "{}"), refused);
    }
}
