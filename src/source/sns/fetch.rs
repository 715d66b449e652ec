//! Fetches a signing certificate, and the certificates that lead from it to a trusted root.
//!
//! A fetch takes three seconds and 16 KiB a file at most, follows no redirect, and connects only to
//! public addresses: the host name follows from the topic's region, but the resolver decides which
//! address it has. The file mostly holds the signing certificate alone. So the chain is made of the other
//! certificates in the file, of those that the host presented in its own TLS handshake, and, if both do
//! not suffice, of the issuer's certificate, which is fetched from the authority.
//!
//! How SNS is answered depends on where the fault lies. A certificate that is wrong itself is untrusted,
//! and the message that names it is refused with 403. If the network, a host or a proxy keeps the bridge
//! from having the right certificate, the answer is 503 and SNS sends the message again.

use std::io;
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
use super::certificate::{CertificateFlaw, IssuerUrl, SigningCertificate};
use super::certificate_store::Chain;
use super::origin::CertificateUrl;
use crate::event::Timestamp;
use crate::trust;

/// Longest time of a fetch, from the first look-up to the last byte of the last file.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time for connecting to one address, so that there is time to try another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes of a file; a chain of four certificates has about half of that.
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
                 this system's root certificates and clock are right"
            }
            Self::Unavailable("certificate_address") => {
                "the host name resolves to an address that is not public, as with the private DNS name of \
                 a VPC endpoint: let the bridge resolve it publicly"
            }
            Self::Unavailable("certificate_issuer") => {
                "the certificate of its issuer cannot be fetched, or leads to no trusted root: let the \
                 bridge reach crt.*.amazontrust.com on port 80, and keep this system's root certificates \
                 up to date"
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

/// The issuer's certificate cannot be fetched, or does not lead to a trusted root. It comes over plain
/// HTTP, so anybody on the way can have sent another one.
const NO_ISSUER: CertificateError = CertificateError::Unavailable("certificate_issuer");

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
    roots: Arc<RootCertStore>,
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
        let roots = Arc::new(roots);
        let mut tls = trust::client(Arc::clone(&roots))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            roots,
            tls: TlsConnector::from(Arc::new(tls)),
            double: double.map(|double| double.address),
        })
    }

    /// Fetches the certificate at this URL and checks it; returns it with the chain that it was trusted by.
    pub(super) async fn fetch(
        &self,
        url: &CertificateUrl,
    ) -> Result<(SigningCertificate, Chain), CertificateError> {
        let fetched = tokio::time::timeout(TIMEOUT, self.fetch_and_check(url)).await;
        fetched.unwrap_or(Err(CertificateError::Unavailable("certificate_timeout")))
    }

    async fn fetch_and_check(
        &self,
        url: &CertificateUrl,
    ) -> Result<(SigningCertificate, Chain), CertificateError> {
        let (file, presented) = self.get_over_tls(&url.host(), &url.path()).await?;
        let mut chain = certificates(&file)?;
        chain.extend(presented);
        let certificate = match self.check(url, &chain) {
            Err(CertificateFlaw::NoChain { issuer: Some(issuer) }) => {
                chain.push(self.issuer(&issuer).await.map_err(|_| NO_ISSUER)?);
                // The certificate itself was found good by the first check.
                self.check(url, &chain).map_err(|_| NO_ISSUER)?
            }
            checked => checked?,
        };
        Ok((certificate, chain))
    }

    /// Checks the first certificate of a chain as the one at this URL, with the rest of the chain and the
    /// trusted roots.
    ///
    /// # Errors
    /// The certificate's flaw.
    pub(super) fn check(
        &self,
        url: &CertificateUrl,
        chain: &[CertificateDer<'_>],
    ) -> Result<SigningCertificate, CertificateFlaw> {
        let (leaf, others) = chain.split_first().ok_or(CertificateFlaw::Fatal("certificate_form"))?;
        let now = Timestamp::from(SystemTime::now());
        SigningCertificate::check(leaf, others, &self.roots, &url.certificate_names(), now)
    }

    async fn issuer(&self, url: &IssuerUrl) -> Result<CertificateDer<'static>, CertificateError> {
        let stream = self.connect(&url.host, 80).await?;
        let file = get(stream, &url.host, &url.path).await?;
        // Most authorities publish the plain DER form, some PEM.
        let pem = CertificateDer::from_pem_slice(&file);
        Ok(pem.unwrap_or_else(|_| CertificateDer::from(file)))
    }

    /// Fetches a file; returns it with the issuers' certificates that the host presented for its own TLS.
    async fn get_over_tls(
        &self,
        host: &str,
        path: &str,
    ) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), CertificateError> {
        let unavailable = |_| CertificateError::Unavailable("certificate_tls");
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| CertificateError::Untrusted("certificate_url"))?;
        let stream = self.connect(host, 443).await?;
        let stream = self.tls.connect(name, stream).await.map_err(unavailable)?;
        let presented = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let presented =
            presented.iter().skip(1).map(|certificate| certificate.clone().into_owned()).collect();
        Ok((get(stream, host, path).await?, presented))
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, CertificateError> {
        let addresses = match self.double {
            Some(double) => vec![double],
            None => resolve(host, port).await?,
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
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, CertificateError> {
    let found = tokio::net::lookup_host((host, port)).await;
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

/// The certificates in a PEM file, at least one.
fn certificates(file: &[u8]) -> Result<Chain, CertificateError> {
    let found: Result<Chain, _> = CertificateDer::pem_slice_iter(file).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or(CertificateError::Unavailable("certificate_form"))
}

impl From<CertificateFlaw> for CertificateError {
    fn from(flaw: CertificateFlaw) -> Self {
        match flaw {
            CertificateFlaw::NoChain { .. } => Self::Untrusted("certificate_chain"),
            CertificateFlaw::Fatal(word) => Self::Untrusted(word),
        }
    }
}

impl From<io::Error> for CertificateError {
    fn from(_: io::Error) -> Self {
        Self::Unavailable("certificate_connection")
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
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] => false,
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
        let refused = resolve("localhost", 443).await;
        assert_eq!(refused, Err(CertificateError::Unavailable("certificate_address")));
    }
}
