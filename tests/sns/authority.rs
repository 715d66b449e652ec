//! An authority that issues signing certificates, good ones and bad ones.

use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SignatureAlgorithm,
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

/// An authority: a root, or one below another.
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
    /// Where it says that its issuer's certificate is.
    pub issuer_url: Option<String>,
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
            issuer_url: None,
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
        if let Some(url) = &self.issuer_url {
            params.custom_extensions.push(authority_information_access(url));
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

    /// An authority that this one vouches for.
    pub fn below(&self, name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        Self { params, key, certificate }
    }

    /// Another certificate of an authority below this one, which ended at this moment, as PEM.
    pub fn vouched_until(&self, below: &Self, end: OffsetDateTime) -> String {
        let mut params = below.params.clone();
        (params.not_before, params.not_after) = (end - Duration::days(30), end);
        params.signed_by(&below.key, &self.issuer()).unwrap().pem()
    }

    /// A certificate of the key that signs messages, as PEM.
    pub fn issue(&self, leaf: &Leaf) -> String {
        self.issue_for(leaf, &*KEY)
    }

    /// The same of any key.
    pub fn issue_for(&self, leaf: &Leaf, key: &impl PublicKeyData) -> String {
        leaf.params().signed_by(key, &self.issuer()).unwrap().pem()
    }

    /// TLS for a server of these names, which presents these other certificates, too.
    pub fn tls(&self, names: &[&str], others: &[&Certificate]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = Leaf::named(names).params().signed_by(&key, &self.issuer()).unwrap();
        let chain = std::iter::once(&certificate).chain(others.iter().copied());
        let chain = chain.map(|certificate| certificate.der().clone()).collect();
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

/// The extension that names one place of the issuer's certificate (RFC 5280, 4.2.2.1).
fn authority_information_access(url: &str) -> CustomExtension {
    let wrapped = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).ok().filter(|length| *length < 128).unwrap();
        [&[tag, length], content].concat()
    };
    let method = wrapped(0x06, &[0x2b, 6, 1, 5, 5, 7, 0x30, 2]);
    let location = wrapped(0x86, url.as_bytes());
    let content = wrapped(0x30, &wrapped(0x30, &[method, location].concat()));
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}
