//! A listener over TLS, and who trusts it.

use std::fs;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use crate::support::bridge::Home;

/// Who the bridge is.
pub struct Identity {
    /// For a sender that trusts it, and shakes hands anew on each connection.
    pub trusted: Arc<ClientConfig>,
}

impl Identity {
    /// Gives the bridge of this home a certificate, with a key of the size that costs a server most.
    pub fn install(home: &Home) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap();
        let certificate =
            CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (certificate_file, key_file) = (home.path("certificate.pem"), home.path("key.pem"));
        fs::write(&certificate_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();

        let (file, listen) = (home.path("fanbridge.yaml"), format!("listen: 127.0.0.1:{} ", home.http));
        let text = fs::read_to_string(&file).unwrap();
        let (certificate_file, key_file) = (certificate_file.display(), key_file.display());
        let tls = format!("{listen}, tls: {{ certificate: {certificate_file}, key: {key_file} }} ");
        assert!(text.contains(&listen), "{text}");
        fs::write(&file, text.replacen(&listen, &tls, 1)).unwrap();

        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let mut trusted = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        trusted.resumption = Resumption::disabled();
        Self { trusted: Arc::new(trusted) }
    }
}
