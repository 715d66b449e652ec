//! Checks the certificate that SNS signs with. No I/O; the caller gives the time.
//!
//! The certificate must be issued to SNS in the topic's region, for signing, with an RSA key of 2,048 bits
//! or more, by an authority that leads to a trusted root through certificates that are all valid now.

use std::ops::Range;
use std::time::Duration;

use ::aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKCS1_RSAENCRYPTION, OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::claim::{SignatureClaim, SignatureDigest};
use crate::event::Timestamp;

/// Fewest bits of an RSA key.
const KEY_BITS_MIN: usize = 2048;

/// A signing certificate that was checked, with the time during which its whole chain is valid.
#[derive(Debug)]
pub(super) struct SigningCertificate {
    /// The RSA public key.
    key: Vec<u8>,
    /// When the whole chain is valid, in seconds since the Unix epoch; the end is excluded.
    valid: Range<i64>,
}

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CertificateFlaw {
    /// The certificates at hand do not lead to a trusted root; the issuer's can be at this URL.
    NoChain { issuer: Option<IssuerUrl> },
    /// The certificate itself is wrong, for this reason; no other certificate can mend that.
    Fatal(&'static str),
}

/// The reason for a certificate that has expired, which no later start of the process can change.
const EXPIRED: &str = "certificate_expired";

impl CertificateFlaw {
    /// Whether the certificate has expired.
    pub(super) fn is_expiry(&self) -> bool {
        *self == Self::Fatal(EXPIRED)
    }
}

/// Where Amazon's authority publishes the certificate of one of its issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IssuerUrl {
    pub host: String,
    pub path: String,
}

impl SigningCertificate {
    /// Checks a certificate that must carry one of these names. The other certificates can lead from it to
    /// a trusted root.
    ///
    /// # Errors
    /// The certificate's [`CertificateFlaw`].
    pub(super) fn check(
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        roots: &RootCertStore,
        names: &[String],
        now: Timestamp,
    ) -> Result<Self, CertificateFlaw> {
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|_| CertificateFlaw::Fatal("certificate_form"))?;
        let key = check_by_itself(&parsed)?;
        let end_entity =
            EndEntityCert::try_from(leaf).map_err(|_| CertificateFlaw::Fatal("certificate_form"))?;
        if !end_entity.valid_dns_names().any(|name| names.iter().any(|wanted| wanted == name)) {
            return Err(CertificateFlaw::Fatal("certificate_name"));
        }
        let mut valid = validity(&parsed);
        let seconds = seconds_within(&valid, now)?;
        let path = end_entity.verify_for_usage(
            aws_lc_rs::default_provider().signature_verification_algorithms.all,
            &roots.roots,
            others,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            KeyUsage::server_auth(),
            None,
            None,
        );
        let path = path.map_err(|error| flaw(&error, &parsed))?;
        let issuers = path.intermediate_certificates().map(|issuer| issuer.der());
        for issuer in issuers {
            let issuer =
                X509Certificate::from_der(&issuer).map_err(|_| CertificateFlaw::Fatal("certificate_form"))?;
            let issuer = validity(&issuer.1);
            valid = valid.start.max(issuer.start)..valid.end.min(issuer.end);
        }
        Ok(Self { key, valid })
    }

    /// A certificate without a usable key, for tests of the cache.
    #[cfg(test)]
    pub(super) fn valid_until(seconds: i64) -> Self {
        Self { key: Vec::new(), valid: 0..seconds }
    }

    /// Whether the certificate and its whole chain are valid at a moment.
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

/// Checks the certificate alone, without its chain; returns its key.
fn check_by_itself(certificate: &X509Certificate<'_>) -> Result<Vec<u8>, CertificateFlaw> {
    if certificate.issuer().as_raw() == certificate.subject().as_raw() {
        return Err(CertificateFlaw::Fatal("certificate_self_signed"));
    }
    let usage = certificate.key_usage().map_err(|_| CertificateFlaw::Fatal("certificate_form"))?;
    if usage.is_some_and(|usage| !usage.value.digital_signature()) {
        return Err(CertificateFlaw::Fatal("certificate_usage"));
    }
    let key = certificate.public_key();
    let is_rsa = key.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION;
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if is_rsa && bits(rsa.modulus) >= KEY_BITS_MIN => {
            Ok(key.subject_public_key.data.to_vec())
        }
        _ => Err(CertificateFlaw::Fatal("certificate_key")),
    }
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

/// The moment in Unix seconds, if the certificate is valid at that moment.
fn seconds_within(valid: &Range<i64>, now: Timestamp) -> Result<u64, CertificateFlaw> {
    let seconds = now.unix_seconds();
    if seconds >= valid.end {
        return Err(CertificateFlaw::Fatal(EXPIRED));
    }
    let begun = u64::try_from(seconds).ok().filter(|_| seconds >= valid.start);
    begun.ok_or(CertificateFlaw::Fatal("certificate_not_yet_valid"))
}

fn flaw(error: &webpki::Error, certificate: &X509Certificate<'_>) -> CertificateFlaw {
    match error {
        webpki::Error::CaUsedAsEndEntity => CertificateFlaw::Fatal("certificate_usage"),
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateFlaw::Fatal("certificate_usage"),
        // The issuer is missing, has expired or has not signed this certificate: another one can fit.
        _ => CertificateFlaw::NoChain { issuer: issuer_url(certificate) },
    }
}

/// The URL of the issuer's certificate, if it is on a host of Amazon's own authority: anybody can write
/// any URL into a certificate of their own.
fn issuer_url(certificate: &X509Certificate<'_>) -> Option<IssuerUrl> {
    let access =
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => Some(access),
            _ => None,
        })?;
    access.iter().find_map(|issuer| match &issuer.access_location {
        GeneralName::URI(url) if issuer.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS => {
            IssuerUrl::read(url)
        }
        _ => None,
    })
}

impl IssuerUrl {
    /// Reads `http://crt.{issuer}.amazontrust.com/{file}`. An issuer's certificate is proved by its own
    /// signature, and so needs no TLS.
    fn read(url: &str) -> Option<Self> {
        let (host, file) = url.strip_prefix("http://")?.split_once('/')?;
        let issuer = host.strip_prefix("crt.")?.strip_suffix(".amazontrust.com")?;
        let plain = |text: &str, extra: &[u8]| {
            let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || extra.contains(&b);
            (1..=63).contains(&text.len()) && text.bytes().all(fine)
        };
        (plain(issuer, b"-") && plain(file, b"-."))
            .then(|| Self { host: host.to_owned(), path: format!("/{file}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuers_certificate_comes_from_amazons_authority_only() {
        let url = IssuerUrl::read("http://crt.r2m01.amazontrust.com/r2m01.cer");
        let expected = IssuerUrl { host: "crt.r2m01.amazontrust.com".into(), path: "/r2m01.cer".into() };
        assert_eq!(url, Some(expected));
        for url in [
            "https://crt.r2m01.amazontrust.com/r2m01.cer",
            "http://crt.r2m01.amazontrust.com.evil.example/r2m01.cer",
            "http://crt.evil.example/r2m01.cer",
            "http://crt.a.b.amazontrust.com/r2m01.cer",
            "http://crt..amazontrust.com/r2m01.cer",
            "http://crt.amazontrust.com/r2m01.cer",
            "http://ocsp.r2m01.amazontrust.com/r2m01.cer",
            "http://crt.r2m01.amazontrust.com:80/r2m01.cer",
            "http://x@crt.r2m01.amazontrust.com/r2m01.cer",
            "http://crt.R2m01.amazontrust.com/r2m01.cer",
            "http://crt.r2m01.amazontrust.com/",
            "http://crt.r2m01.amazontrust.com/a/b.cer",
            "http://crt.r2m01.amazontrust.com/r2m01.cer?x",
            "http://crt.r2m01.amazontrust.com/\r\nx",
            "http://169.254.169.254/crt",
            "ldap://crt.r2m01.amazontrust.com/r2m01.cer",
        ] {
            assert_eq!(IssuerUrl::read(url), None, "{url}");
        }
    }

    #[test]
    fn the_bits_of_a_key_are_counted_without_leading_zeros() {
        assert_eq!(bits(&[0, 0x80, 0]), 16);
        assert_eq!(bits(&[0x7f, 0xff]), 15);
        assert_eq!(bits(&[0, 0]), 0);
    }
}
