//! Fetches a signing certificate, and with it what leads from there to a trusted root.
//!
//! Three seconds in all, 16 KiB, no redirects, and only to public addresses: the host follows from
//! the topic's region, but who answers for its name is up to the resolver. The file mostly holds the
//! certificate alone, so its chain is made of what else is in the file, of what the host's own TLS
//! handshake presented, and failing both of one more file, from the authority.
//!
//! What SNS is answered hangs on whose fault a failure is. Untrusted is a certificate that is wrong
//! itself: who names it is no friend. Whatever keeps us from having the right one is the fault of
//! the network, a host or a proxy, and SNS must send again.

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

/// From the first look-up to the last byte of the last file.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long one address may take to be connected to, so that another gets a turn.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The bytes of a file; a chain of four certificates has about half of that.
const FILE_BYTES_MAX: usize = 16 << 10;
/// The bytes of an answer's head, and of what is read ahead.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Why there is no certificate. The words are for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertificateError {
    /// It could not be had; perhaps later.
    Unavailable(&'static str),
    /// What there is cannot be trusted.
    Untrusted(&'static str),
}

impl CertificateError {
    /// The word for the metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Unavailable(reason) | Self::Untrusted(reason) => reason,
        }
    }

    /// What the operator can do about it.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Untrusted(_) => {
                "what it signs is refused; if a topic of yours has it, see that this system's root certificates and clock are right"
            }
            Self::Unavailable("certificate_address") => {
                "the host's name leads to an address that is not public, as a private DNS name of a VPC endpoint does: have it resolved publicly here"
            }
            Self::Unavailable("certificate_issuer") => {
                "its issuer's certificate is not to be had, or leads to no trusted root: let the bridge reach crt.*.amazontrust.com on port 80, and keep this system's root certificates up to date"
            }
            Self::Unavailable("certificate_tls") => {
                "the host does not prove who it is: look for a proxy that opens TLS, and keep this system's root certificates up to date"
            }
            Self::Unavailable("certificate_status" | "certificate_size" | "certificate_form") => {
                "the host sent no certificate: a stranger may have named one that is not there; if your topics' messages are affected, look for a proxy"
            }
            Self::Unavailable(_) => {
                "let the bridge reach the host on port 443; until then SNS is asked to send again"
            }
        }
    }
}

/// The issuer's certificate is not to be had, or is not what leads to a trusted root. Plain HTTP
/// brings it, so that anybody on the way may have answered.
const NO_ISSUER: CertificateError = CertificateError::Unavailable("certificate_issuer");

/// Why a source cannot check signatures at all.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The system has no trusted roots.
    #[error(
        "this system has no trusted root certificates, and SNS cannot be verified without: install them (Debian: the package ca-certificates), or set SSL_CERT_FILE"
    )]
    NoRoots,
    /// The double's authority cannot be used.
    #[error("`{file}` is no PEM certificate of an authority")]
    Authority {
        /// The file.
        file: String,
    },
    /// The cryptography refuses its own defaults.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Fetches certificates and judges them.
pub(super) struct Fetcher {
    roots: Arc<RootCertStore>,
    tls: TlsConnector,
    /// Where every connection goes instead.
    double: Option<SocketAddr>,
}

impl Fetcher {
    /// Trusts the system's roots, or a double's authority and nothing else.
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

    /// Fetches the certificate at this URL and checks it. With it comes what it was trusted by.
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
                // Of itself it was found good.
                self.check(url, &chain).map_err(|_| NO_ISSUER)?
            }
            checked => checked?,
        };
        Ok((certificate, chain))
    }

    /// Checks the first of these as the certificate at a URL, with the others and the roots of today.
    ///
    /// # Errors
    /// Its flaw.
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

    /// A file, and the certificates other than its own that the host presented.
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

/// The addresses of a host, asked for once; none if any of them is not a public one.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, CertificateError> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<_> = found.map_err(|_| CertificateError::Unavailable("certificate_resolution"))?.collect();
    if found.iter().all(|address| is_public(address.ip())) {
        Ok(found)
    } else {
        Err(CertificateError::Unavailable("certificate_address"))
    }
}

/// One GET on a fresh connection. Anything but 200 is no file; a redirect is not followed.
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
        // It ends when the host closes, which may be while the last bytes are still to be taken.
        _ = &mut connection => exchange.await,
    }
}

/// The certificates of a PEM file, at least one.
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

/// Whether an address is one of the internet at large, by the registries of special addresses of
/// RFC 6890 and its successors.
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
        // NAT64 of an IPv6-only network.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        // Tunnels, and what is for documents.
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
