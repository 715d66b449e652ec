//! An authority that issues certificates, good ones and bad ones: those that hosts present, and those
//! that sign messages.

use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SignatureAlgorithm,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// The key that signs messages. Making one takes a while, so that all tests share it.
pub static KEY: LazyLock<KeyPair> = LazyLock::new(rsa);
/// A key that signs nothing that should be believed.
pub static OTHER_KEY: LazyLock<KeyPair> = LazyLock::new(rsa);

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

/// An RSA key of 1,024 bits, which a signing library of today does not make.
pub struct WeakKey(Vec<u8>);

impl WeakKey {
    pub fn new() -> Self {
        let (sequence, integer) = (|length| [0x30, 0x81, length], |length| [0x02, 0x81, length]);
        // A modulus need not be the product of two primes to be too short.
        let modulus = [&integer(129)[..], &[0], &[0xc5; 128]].concat();
        let exponent = [0x02, 0x03, 0x01, 0x00, 0x01];
        let numbers = [&modulus[..], &exponent].concat();
        Self([&sequence(u8::try_from(numbers.len()).unwrap())[..], &numbers].concat())
    }
}

impl PublicKeyData for WeakKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

/// An authority with a root of its own.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub certificate: Certificate,
}

/// What a certificate says.
pub struct Leaf {
    pub names: Vec<String>,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    pub usages: Vec<KeyUsagePurpose>,
    pub extended_usages: Vec<ExtendedKeyUsagePurpose>,
    pub is_authority: bool,
}

impl Leaf {
    /// A good one, in these names.
    pub fn named(names: &[&str]) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            not_before: now - Duration::days(30),
            not_after: now + Duration::days(30),
            usages: vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment],
            extended_usages: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            is_authority: false,
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        let name = self.names.first().cloned().unwrap_or_else(|| "nobody".into());
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (self.not_before, self.not_after);
        params.key_usages.clone_from(&self.usages);
        params.extended_key_usages.clone_from(&self.extended_usages);
        if self.is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    /// Signed by its own key.
    pub fn self_signed(&self) -> String {
        self.params().self_signed(&*KEY).unwrap().pem()
    }
}

impl Authority {
    pub fn root(name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        Self { params, key, certificate }
    }

    /// A certificate of the key that signs messages, as PEM.
    pub fn issue(&self, leaf: &Leaf) -> String {
        self.issue_for(leaf, &*KEY)
    }

    /// The same of any key.
    pub fn issue_for(&self, leaf: &Leaf, key: &impl PublicKeyData) -> String {
        leaf.params().signed_by(key, &self.issuer()).unwrap().pem()
    }

    /// TLS for a server of these names.
    pub fn tls(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.tls_with(&Leaf::named(names))
    }

    /// TLS for a server that presents this certificate.
    pub fn tls_with(&self, leaf: &Leaf) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.params().signed_by(&key, &self.issuer()).unwrap();
        let chain = vec![certificate.der().clone()];
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap());
        Arc::new(config.unwrap())
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
