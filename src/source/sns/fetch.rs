//! Fetches a signing certificate from the host that serves it.
//!
//! The host proves over TLS, by the roots that this system trusts, that it is SNS's host for the topic's
//! region, and thereby vouches for the certificate. A fetch takes three seconds and 16 KiB at most, follows
//! no redirect, and connects only to public addresses: the host name follows from the topic's region, but
//! the resolver decides which address it has. Of several certificates in the file the first one counts.
//!
//! How SNS is answered depends on where the fault lies. A certificate that is wrong itself is untrusted,
//! and the message that names it is refused with 403. If the network, the host or a proxy keeps the bridge
//! from having the right certificate, the answer is 503 and SNS sends the message again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::CertificateDouble;
use super::certificate::SigningCertificate;
use super::origin::CertificateUrl;
use crate::event::Timestamp;
use crate::trust;

/// Longest time of a fetch, from the look-up to the last byte of the file.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The port of HTTPS; the URL of a certificate has no other.
const PORT: u16 = 443;
/// Longest time for connecting to one address, so that there is time to try another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes of a file; a certificate has about two thousand.
const FILE_BYTES_MAX: usize = 16 << 10;
/// Most bytes of an answer's head, read-ahead included.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Why there is no certificate, with the reason for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertificateError {
    /// The certificate could not be fetched now; another attempt can succeed.
    Unavailable(&'static str),
    /// The certificate that was fetched cannot be trusted.
    Untrusted(&'static str),
}

impl CertificateError {
    /// The reason, for the metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Unavailable(reason) | Self::Untrusted(reason) => reason,
        }
    }

    /// What the operator can do about it.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Untrusted(_) => {
                "messages signed with it are refused with 403. If one of your topics sends them, see that \
                 this system's clock is right"
            }
            Self::Unavailable("certificate_address") => {
                "the host name resolves to an address that is not public, as with the private DNS name of \
                 a VPC endpoint: let the bridge resolve it publicly"
            }
            Self::Unavailable("certificate_fetches") => {
                "strangers may be naming certificates that do not exist. Messages whose certificate is known \
                 are taken as ever; the others are answered 503, and SNS sends them again. If this goes on, \
                 keep the strangers off, for example with a firewall in front"
            }
            Self::Unavailable("certificate_tls") => {
                "the host does not prove its identity over TLS: look for a proxy that opens TLS, and keep \
                 this system's root certificates up to date"
            }
            Self::Unavailable("certificate_status" | "certificate_size" | "certificate_form") => {
                "the host did not send a certificate: a stranger may have named one that does not exist. \
                 If your topics' messages are affected, look for a proxy"
            }
            Self::Unavailable(_) => {
                "let the bridge reach the host on port 443. Until then messages are answered 503, and SNS \
                 sends them again"
            }
        }
    }
}

/// Why a source cannot check signatures at all.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The system has no trusted roots.
    #[error(
        "this system has no trusted root certificates, and without them SNS messages cannot be verified: \
         install them (Debian: the package ca-certificates), or set SSL_CERT_FILE"
    )]
    NoRoots,
    /// The authority of the certificate double cannot be used.
    #[error("`{file}` does not hold the PEM certificate of an authority")]
    Authority {
        /// The file.
        file: String,
    },
    /// The cryptography refuses its own defaults.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Fetches signing certificates and checks them.
pub(super) struct Fetcher {
    tls: TlsConnector,
    /// The test server to which every connection goes instead, if there is one.
    double: Option<SocketAddr>,
}

impl Fetcher {
    /// A fetcher that trusts the system's roots, or, for a test, only the authority of a certificate double.
    pub(super) fn new(double: Option<&CertificateDouble>) -> Result<Self, TrustError> {
        let roots = match double {
            Some(double) => {
                let problem = || TrustError::Authority { file: double.authority.display().to_string() };
                let mut roots = RootCertStore::empty();
                let authority = CertificateDer::from_pem_file(&double.authority).map_err(|_| problem())?;
                roots.add(authority).map_err(|_| problem())?;
                roots
            }
            None => trust::system_authorities(),
        };
        if roots.is_empty() {
            return Err(TrustError::NoRoots);
        }
        let mut tls = trust::client(roots)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(tls)), double: double.map(|double| double.address) })
    }

    /// Fetches the certificate at this URL and checks it.
    ///
    /// # Errors
    /// When the certificate cannot be fetched now, or cannot be trusted.
    pub(super) async fn fetch(&self, url: &CertificateUrl) -> Result<SigningCertificate, CertificateError> {
        let file = tokio::time::timeout(TIMEOUT, self.fetch_file(&url.host(), &url.path())).await;
        let file = file.unwrap_or(Err(CertificateError::Unavailable("certificate_timeout")))?;
        let certificate = CertificateDer::from_pem_slice(&file)
            .map_err(|_| CertificateError::Unavailable("certificate_form"))?;
        let now = Timestamp::from(SystemTime::now());
        SigningCertificate::check(&certificate, &url.certificate_names(), now)
            .map_err(CertificateError::Untrusted)
    }

    async fn fetch_file(&self, host: &str, path: &str) -> Result<Vec<u8>, CertificateError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| CertificateError::Untrusted("certificate_url"))?;
        let stream = self.connect(host).await?;
        let stream = self.tls.connect(name, stream).await;
        let stream = stream.map_err(|_| CertificateError::Unavailable("certificate_tls"))?;
        get(stream, host, path).await
    }

    async fn connect(&self, host: &str) -> Result<TcpStream, CertificateError> {
        let addresses = match self.double {
            Some(double) => vec![double],
            None => resolve(host).await?,
        };
        for address in addresses {
            if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                return Ok(stream);
            }
        }
        Err(CertificateError::Unavailable("certificate_connection"))
    }
}

/// The addresses of a host, looked up once; an error if any of them is not public.
async fn resolve(host: &str) -> Result<Vec<SocketAddr>, CertificateError> {
    let found = tokio::net::lookup_host((host, PORT)).await;
    let found: Vec<_> = found.map_err(|_| CertificateError::Unavailable("certificate_resolution"))?.collect();
    if found.iter().all(|address| is_public(address.ip())) {
        Ok(found)
    } else {
        Err(CertificateError::Unavailable("certificate_address"))
    }
}

/// Makes one GET request on a fresh connection. Any status but 200 is an error; no redirect is followed.
async fn get<IO>(stream: IO, host: &str, path: &str) -> Result<Vec<u8>, CertificateError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |_: hyper::Error| CertificateError::Unavailable("certificate_connection");
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("fanbridge/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|_| CertificateError::Untrusted("certificate_url"))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(CertificateError::Unavailable("certificate_status"));
        }
        let file = Limited::new(response.into_body(), FILE_BYTES_MAX).collect().await;
        let file = file.map_err(|error| match error.is::<LengthLimitError>() {
            true => CertificateError::Unavailable("certificate_size"),
            false => CertificateError::Unavailable("certificate_connection"),
        })?;
        Ok(Vec::from(file.to_bytes()))
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    tokio::select! {
        biased;
        fetched = &mut exchange => fetched,
        // The connection ends when the host closes it, which can be before the last bytes are read.
        _ = &mut connection => exchange.await,
    }
}

/// Whether an address is public, by the registries of special-purpose addresses of RFC 6890 and its
/// successors.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    match segments {
        // NAT64: an IPv4 address as an IPv6-only network sees it.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        // Tunnels, and addresses for documentation.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for address in
            ["54.239.98.1", "8.8.8.8", "172.32.0.1", "2600:1f18::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.1",
            "192.88.99.1",
            "3fff::1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "64:ff9b::169.254.169.254",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_host_with_an_address_of_this_machine_is_not_asked() {
        let refused = resolve("localhost").await;
        assert_eq!(refused, Err(CertificateError::Unavailable("certificate_address")));
    }
}
