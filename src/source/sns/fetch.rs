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

use std::convert::Infallible;
use std::error::Error;
use std::future::ready;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

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
    tls: Arc<ClientConfig>,
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
        Ok(Self { tls: Arc::new(tls), double: double.map(|double| double.address) })
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

    /// The file at a path of the host. Any status but 200 is an error; no redirect is followed.
    async fn fetch_file(&self, host: &str, path: &str) -> Result<Vec<u8>, CertificateError> {
        let addresses = match self.double {
            Some(double) => vec![double],
            None => resolve(host).await?,
        };
        let response = self.request(addresses, host, path).await?;
        if response.status() != StatusCode::OK {
            return Err(CertificateError::Unavailable("certificate_status"));
        }
        let file = Limited::new(response.into_body(), FILE_BYTES_MAX).collect().await;
        let file = file.map_err(|error| match error.is::<LengthLimitError>() {
            true => CertificateError::Unavailable("certificate_size"),
            false => CertificateError::Unavailable("certificate_connection"),
        })?;
        Ok(Vec::from(file.to_bytes()))
    }

    /// Makes one GET request to the host at these addresses.
    async fn request(
        &self,
        addresses: Vec<SocketAddr>,
        host: &str,
        path: &str,
    ) -> Result<Response<Incoming>, CertificateError> {
        let unusable = CertificateError::Untrusted("certificate_url");
        let name = ServerName::try_from(host.to_owned()).map_err(|_| unusable)?;
        let request = Request::get(format!("https://{host}{path}"))
            .header(USER_AGENT, concat!("fanbridge/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|_| unusable)?;
        let connector = self.connector(name, addresses);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        client.request(request).await.map_err(|error| unanswered(&error))
    }

    /// Connects to these addresses only, one after the other, and expects this name to be proven.
    fn connector(
        &self,
        name: ServerName<'static>,
        addresses: Vec<SocketAddr>,
    ) -> impl Connect + Clone + Send + Sync + 'static + use<> {
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let resolved = move |_: Name| ready(Ok::<_, Infallible>(addresses.clone().into_iter()));
        let mut tcp = HttpConnector::new_with_resolver(tower::service_fn(resolved));
        tcp.enforce_http(false);
        // The connector gives each address an equal part of this time.
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT.saturating_mul(count)));
        tcp.set_happy_eyeballs_timeout(None);
        HttpsConnector::new(tcp, self.tls.clone(), true, Arc::new(FixedServerNameResolver::new(name)))
    }
}

/// Why the host did not answer. What failed before TLS has a type of the connector, and what failed in it
/// is an I/O error.
fn unanswered(error: &legacy::Error) -> CertificateError {
    let in_tls = error.is_connect() && error.source().is_some_and(|cause| cause.is::<io::Error>());
    CertificateError::Unavailable(if in_tls { "certificate_tls" } else { "certificate_connection" })
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
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

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

    /// Why a host at these addresses does not answer.
    async fn silence(addresses: &[SocketAddr]) -> CertificateError {
        let tls = Arc::new(trust::client(RootCertStore::empty()).unwrap());
        let fetcher = Fetcher { tls, double: None };
        let request = fetcher.request(addresses.to_vec(), "sns.eu-west-1.amazonaws.com", "/x.pem");
        // The bound of a fetch is not at work here.
        let asked = tokio::time::timeout(Duration::from_secs(60), request).await.unwrap();
        asked.unwrap_err()
    }

    const IN_TLS: CertificateError = CertificateError::Unavailable("certificate_tls");

    /// An address where every connection ends before TLS begins.
    async fn closing() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        address
    }

    #[tokio::test]
    async fn a_host_that_nobody_is_at_and_one_that_speaks_no_tls_are_told_apart() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(silence(&[nobody]).await, CertificateError::Unavailable("certificate_connection"));
        assert_eq!(silence(&[]).await, CertificateError::Unavailable("certificate_connection"));
        assert_eq!(silence(&[closing().await]).await, IN_TLS);
        assert_eq!(silence(&[nobody, closing().await]).await, IN_TLS, "the next address is tried");
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next_one() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        // With this one the queue is full: the system ignores those who want to connect after it.
        let silent = socket.listen(0).unwrap();
        let silent = (silent.local_addr().unwrap(), silent);
        let _first = TcpStream::connect(silent.0).await.unwrap();
        let begun = std::time::Instant::now();
        assert_eq!(silence(&[silent.0, closing().await]).await, IN_TLS);
        assert!(begun.elapsed() >= CONNECT_TIMEOUT, "it had its time");
    }
}
