//! Checks the certificate that SNS signs with (pure): what the certificate says of itself.
//!
//! It must be in a name of SNS in the topic's region, be for signatures, hold an RSA key of 2,048 bits or
//! more, and be valid now. Who issued it is not asked: the host that serves it vouches for it, and proves
//! over TLS who it is.

use std::ops::Range;

use ::aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::claim::{SignatureClaim, SignatureDigest};
use crate::event::Timestamp;

/// Fewest bits of an RSA key.
const KEY_BITS_MIN: usize = 2048;

/// A signing certificate that was checked.
#[derive(Debug)]
pub(super) struct SigningCertificate {
    /// The RSA public key.
    key: Vec<u8>,
    /// When the certificate is valid, in seconds since the Unix epoch; the end is excluded.
    valid: Range<i64>,
}

impl SigningCertificate {
    /// Checks a certificate, as DER, that must carry one of these names.
    ///
    /// # Errors
    /// The reason why the certificate is not trusted.
    pub(super) fn check(der: &[u8], names: &[String], now: Timestamp) -> Result<Self, &'static str> {
        let form = |_: X509Error| "certificate_form";
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| "certificate_form")?;
        if !rest.is_empty() {
            return Err("certificate_form");
        }
        if !is_for_signatures(&certificate).map_err(form)? {
            return Err("certificate_usage");
        }
        let key = rsa_key(&certificate).ok_or("certificate_key")?;
        if !carries_one_of(names, &certificate).map_err(form)? {
            return Err("certificate_name");
        }
        let valid = validity(&certificate);
        match now.unix_seconds() {
            seconds if seconds >= valid.end => Err("certificate_expired"),
            seconds if seconds < valid.start => Err("certificate_not_yet_valid"),
            _ => Ok(Self { key, valid }),
        }
    }

    /// A certificate without a usable key, for tests of the cache.
    #[cfg(test)]
    pub(super) fn valid_until(seconds: i64) -> Self {
        Self { key: Vec::new(), valid: 0..seconds }
    }

    /// Whether the certificate is valid at a moment.
    pub(super) fn is_valid_at(&self, moment: Timestamp) -> bool {
        self.valid.contains(&moment.unix_seconds())
    }

    /// Whether the claim's signature is this certificate's, over this text.
    pub(super) fn has_signed(&self, text: &str, claim: &SignatureClaim<'_>) -> bool {
        let algorithm = match claim.digest {
            SignatureDigest::Sha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            SignatureDigest::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.key).verify(text.as_bytes(), &claim.signature).is_ok()
    }
}

/// Whether a certificate is that of a signer or server. An authority's, which signs certificates, is not.
fn is_for_signatures(certificate: &X509Certificate<'_>) -> Result<bool, X509Error> {
    let (usage, extended) = (certificate.key_usage()?, certificate.extended_key_usage()?);
    let is_authority = certificate.basic_constraints()?.is_some_and(|constraints| constraints.value.ca);
    Ok(!is_authority
        && usage.is_none_or(|usage| usage.value.digital_signature())
        && extended.is_none_or(|usage| usage.value.server_auth))
}

/// The certificate's public key, if it is an RSA key that is long enough.
fn rsa_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    let key = certificate.public_key();
    let is_rsa = key.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION;
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if is_rsa && bits(rsa.modulus) >= KEY_BITS_MIN => {
            Some(key.subject_public_key.data.to_vec())
        }
        _ => None,
    }
}

/// Whether one of the certificate's host names is one of these. Its common name is not read: the
/// certificates of SNS repeat it among their host names.
fn carries_one_of(names: &[String], certificate: &X509Certificate<'_>) -> Result<bool, X509Error> {
    let carried = certificate.subject_alternative_name()?;
    let mut carried = carried.iter().flat_map(|carried| &carried.value.general_names);
    Ok(carried.any(|carried| match carried {
        GeneralName::DNSName(carried) => names.iter().any(|name| name == carried),
        _ => false,
    }))
}

/// The bits of an unsigned big-endian number.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn validity(certificate: &X509Certificate<'_>) -> Range<i64> {
    let validity = certificate.validity();
    validity.not_before.timestamp()..validity.not_after.timestamp().saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_a_key_are_counted_without_leading_zeros() {
        assert_eq!(bits(&[0, 0x80, 0]), 16);
        assert_eq!(bits(&[0x7f, 0xff]), 15);
        assert_eq!(bits(&[0, 0]), 0);
    }
}
