//! TLS on the public listener.

use std::path::Path;
use std::sync::Arc;

use fanbridge::source::http::TlsOptions;
use fanbridge::source::http::tls::{Tls, TlsError};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Front, Peer, delivery, event};

/// Writes a fresh certificate and its key; returns the certificate to trust.
fn identity(dir: &Path) -> (TlsOptions, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()]).unwrap();
    let files = TlsOptions { certificate: dir.join("certificate.pem"), key: dir.join("key.pem") };
    std::fs::write(&files.certificate, cert.pem()).unwrap();
    std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    (files, cert.der().clone())
}

async fn connect(
    front: &Front,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<Peer<TlsStream<TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().into()).collect();
    let socket = TcpStream::connect(front.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    Ok(Peer::new(TlsConnector::from(Arc::new(config)).connect(name, socket).await?))
}

#[tokio::test]
async fn a_delivery_over_tls_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (files, trusted) = identity(dir.path());
    let front = Front::start_with(|setting| setting.http.tls = Some(files)).await;
    let mut peer = connect(&front, &trusted, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(peer.io.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    for size in [200, 4000] {
        assert_eq!(peer.ask(delivery(&event(size))).await.status, 200);
    }
}

#[tokio::test]
async fn a_peer_that_speaks_only_http_2_is_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    let (files, trusted) = identity(dir.path());
    let front = Front::start_with(|setting| setting.http.tls = Some(files)).await;
    assert!(connect(&front, &trusted, &["h2"]).await.is_err());
}

#[tokio::test]
async fn a_handshake_that_is_never_begun_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = identity(dir.path());
    let front = Front::start_with(|setting| {
        setting.http.tls = Some(files);
        setting.limits.header_timeout = std::time::Duration::from_millis(200);
    })
    .await;
    front.connect().await.assert_closed().await;
    let mut plain = front.connect().await;
    plain.send(delivery(&event(200))).await;
    assert!(plain.reply_is_not_http().await, "plain HTTP is not answered");
}

#[test]
fn a_key_that_belongs_to_another_certificate_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = identity(dir.path());
    std::fs::write(&files.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(Tls::load(&files), Err(TlsError::Unusable(_))));
    std::fs::write(&files.key, "no key").unwrap();
    assert!(matches!(Tls::load(&files), Err(TlsError::NotPem { expected: "private key", .. })));
    std::fs::remove_file(&files.certificate).unwrap();
    assert!(matches!(Tls::load(&files), Err(TlsError::Unreadable { .. })));
}
