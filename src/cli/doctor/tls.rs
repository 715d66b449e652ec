//! Checks of TLS: whether the chain of each server's certificate leads to an authority that is trusted, and
//! when it ends. Of the bridge's own listener the files are looked at.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::context::Context;
use super::finding::shown_path;
use super::probe::FoundSoFar;
use super::{Finding, Probe};
use crate::event::Timestamp;
use crate::explain::cause::quoted;
use crate::sink::Output;
use crate::source::http::TlsOptions;
use crate::source::http::tls::Tls;
use crate::trust;

const CHAIN: &str = "tls.chain";
const EXPIRY: &str = "tls.expiry";
const CHECKS: &[&str] = &[CHAIN, EXPIRY];

/// How long before its end a certificate is a warning, unless a third of its life is less.
const ENDS_SOON: Duration = Duration::from_secs(30 * 86_400);
/// How long a handshake can take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(8);

/// The checks of everything that speaks TLS.
pub(super) fn probes(context: &Context) -> Vec<Probe> {
    let config = &context.config;
    let mut probes = Vec::new();
    if let Some(files) = config.http.tls.clone() {
        let subject = format!("http ({})", files.certificate.display());
        probes.push(Probe::blocking(CHECKS, subject.clone(), move |found| own(&subject, &files, found)));
    }
    for sink in &config.sinks {
        let Output::Kafka(kafka) = &sink.output else { continue };
        let Some(file) = kafka.certificate() else { continue };
        let subject = format!("{} ({})", sink.name, file.display());
        probes.push(Probe::blocking(&[EXPIRY], subject.clone(), move |found| {
            found.add(expiry(&subject, &chain_in(&file)).command_if_bad(shown(&file)));
        }));
    }
    for server in servers(context) {
        probes.push(Probe::new(CHECKS, server.subject(), |found| async move { server.look(&found).await }));
    }
    if probes.is_empty() {
        probes.push(Probe::blocking(CHECKS, "", |found| {
            CHECKS.iter().for_each(|check| found.add(Finding::skipped(check, "", "nothing here speaks TLS")));
        }));
    }
    probes
}

/// A server that is reached by TLS.
struct TlsServer {
    /// The sink, or what else it is.
    name: String,
    host: String,
    port: u16,
    /// File with the authorities to trust; those of the system without it.
    authorities: Option<PathBuf>,
}

/// The servers that the configuration reaches by TLS through clients that do not check dates beforehand.
fn servers(context: &Context) -> Vec<TlsServer> {
    let config = &context.config;
    let mut servers = Vec::new();
    for sink in &config.sinks {
        let Output::Kafka(kafka) = &sink.output else { continue };
        if kafka.is_tls() {
            servers.extend(kafka.broker_addresses().into_iter().map(|(host, port)| TlsServer {
                name: sink.name.clone(),
                host,
                port,
                authorities: kafka.authorities(),
            }));
        }
    }
    if let Some(shared) = config.shared_window.as_ref().filter(|shared| shared.server.is_tls()) {
        let (host, port) = shared.server.address();
        servers.push(TlsServer { name: "redis".into(), host: host.to_owned(), port, authorities: None });
    }
    servers
}

impl TlsServer {
    fn subject(&self) -> String {
        format!("{} ({}:{})", self.name, self.host, self.port)
    }

    async fn look(self, found: &FoundSoFar) {
        let subject = self.subject();
        let unknown = |why: String| {
            CHECKS.iter().for_each(|check| found.add(Finding::unknown(check, &*subject, &*why)));
        };
        let authorities = self.authorities.clone();
        let roots = tokio::task::spawn_blocking(move || trusted(authorities.as_deref())).await;
        let roots = match roots.unwrap_or_else(|_| Err("the reading broke off".into())) {
            Ok(roots) => roots,
            Err(why) => return unknown(format!("no authority can be trusted: {why}")),
        };
        let shown = match tokio::time::timeout(HANDSHAKE_WITHIN, self.shake_hands(roots)).await {
            Ok(Ok(shown)) => shown,
            Ok(Err(why)) => return unknown(why),
            Err(_) => return unknown(format!("no handshake within {} s", HANDSHAKE_WITHIN.as_secs())),
        };
        let command = format!(
            "openssl s_client -connect {} -servername {} </dev/null",
            quoted(&format!("{}:{}", self.host, self.port)),
            quoted(&self.host)
        );
        let chain = match &shown.verdict {
            Ok(()) => {
                Finding::ok(CHAIN, &*subject, "its chain leads to a trusted authority, and names the host")
            }
            Err(error) => {
                let (why, fix) = explained(error);
                Finding::failure(CHAIN, &*subject, why).fix(fix).command(&*command)
            }
        };
        found.add(chain);
        found.add(expiry(&subject, &shown.chain).command_if_bad(command));
    }

    /// What the server shows in a handshake, whether or not it is trusted.
    async fn shake_hands(&self, roots: RootCertStore) -> Result<ShownChain, String> {
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let witness =
            Arc::new(Witness { inner: inner.map_err(|error| error.to_string())?, shown: Mutex::default() });
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?.dangerous();
        let config = config.with_custom_certificate_verifier(witness.clone()).with_no_client_auth();
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| format!("no connection: {error}"))?;
        // A server can refuse a client without a certificate after it has shown its own.
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let shown = witness.shown.lock().take();
        shown.ok_or_else(|| match shaken {
            Ok(_) => "it showed no certificate".to_owned(),
            Err(error) => format!("no TLS handshake: {error}"),
        })
    }
}

/// What a server has shown.
#[derive(Debug)]
struct ShownChain {
    chain: Vec<CertificateDer<'static>>,
    verdict: Result<(), Error>,
}

/// Verifies as every client of the bridge does, and remembers what it saw.
#[derive(Debug)]
struct Witness {
    inner: Arc<WebPkiServerVerifier>,
    shown: Mutex<Option<ShownChain>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let all = std::iter::once(end_entity).chain(intermediates);
        let chain = all.map(|certificate| certificate.clone().into_owned()).collect();
        *self.shown.lock() =
            Some(ShownChain { chain, verdict: verified.as_ref().map(drop).map_err(Clone::clone) });
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The authorities in this file, or those of the system.
fn trusted(file: Option<&Path>) -> Result<RootCertStore, String> {
    let Some(file) = file else {
        let roots = trust::system_authorities();
        return if roots.is_empty() {
            Err("this system has no certificates of authorities".into())
        } else {
            Ok(roots)
        };
    };
    let mut roots = RootCertStore::empty();
    let read = CertificateDer::pem_file_iter(file).map_err(|error| format!("{}: {error}", file.display()))?;
    roots.add_parsable_certificates(read.flatten());
    if roots.is_empty() {
        Err(format!("{} has no certificate of an authority", file.display()))
    } else {
        Ok(roots)
    }
}

/// Why a certificate is not trusted, and what to do.
fn explained(error: &Error) -> (String, &'static str) {
    let Error::InvalidCertificate(why) = error else {
        return (format!("the handshake fails: {error}"), "see what the server offers");
    };
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("a certificate of its chain has expired".into(), "renew it")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("a certificate of its chain is not valid yet".into(), "set the clock of this machine, or wait")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "the certificate is for another host".into(),
            "use a name that is in the certificate, or have this one put into it",
        ),
        CertificateError::UnknownIssuer => (
            "no trusted authority leads to it: another authority signed it, or an intermediate is missing"
                .into(),
            "name its authority (`tls.ca` of the sink), or have the server send its whole chain",
        ),
        other => (format!("it is not trusted: {other}"), "have a certificate made that is"),
    }
}

/// When the first certificate of a chain ends.
fn expiry(subject: &str, chain: &[CertificateDer<'_>]) -> Finding {
    let periods = chain.iter().filter_map(|certificate| {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        Some((read.validity().not_before.timestamp(), read.validity().not_after.timestamp()))
    });
    let Some((begins, ends)) = periods.min_by_key(|(_, ends)| *ends) else {
        return Finding::unknown(EXPIRY, subject, "its certificate cannot be read");
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let moment = Timestamp(ends.saturating_mul(1_000_000_000)).to_rfc3339();
    let (left, life) = (ends - now, ends - begins);
    let soon = (ENDS_SOON.as_secs() as i64).min(life / 3);
    match left {
        ..0 => Finding::failure(EXPIRY, subject, format!("its certificate expired {moment}")).fix("renew it"),
        left if left < soon => {
            let found = format!("its certificate ends in {} days, {moment}", left / 86_400);
            Finding::warning(EXPIRY, subject, found)
                .fix("renew it, and see why that has not happened by itself")
        }
        left => Finding::ok(EXPIRY, subject, format!("valid for {} days, until {moment}", left / 86_400)),
    }
}

/// The certificates in a PEM file; none if they cannot be read.
fn chain_in(file: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.unwrap_or_default()
}

/// The command that shows the certificate in a file.
fn shown(file: &Path) -> String {
    format!("openssl x509 -noout -dates -subject -ext subjectAltName -in {}", shown_path(file))
}

/// The certificate of the bridge's own listener.
fn own(subject: &str, files: &TlsOptions, found: &FoundSoFar) {
    let show = shown(&files.certificate);
    if let Err(error) = Tls::load(files) {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        found.add(
            Finding::failure(CHAIN, subject, format!("{error}{cause}"))
                .fix("a PEM chain, the server's certificate first, and its key"),
        );
    }
    let chain = chain_in(&files.certificate);
    found.add(expiry(subject, &chain).command_if_bad(&*show));
    if !chain.is_empty() && Tls::load(files).is_ok() {
        found.add(own_chain(subject, &chain).command_if_bad(show));
    }
}

/// Whether senders that trust this system's authorities trust the listener's chain.
fn own_chain(subject: &str, chain: &[CertificateDer<'_>]) -> Finding {
    let Some(name) = chain.first().and_then(first_name) else {
        return Finding::failure(CHAIN, subject, "its certificate names no host")
            .fix("one with a subjectAltName");
    };
    let roots = Arc::new(trust::system_authorities());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    let (Ok(verifier), Ok(server), Some((first, others))) =
        (verifier, ServerName::try_from(name.clone()), chain.split_first())
    else {
        return Finding::unknown(
            CHAIN,
            subject,
            format!("this system has no authority to verify {name} with"),
        );
    };
    match verifier.verify_server_cert(first, others, &server, &[], UnixTime::now()) {
        Ok(_) => {
            Finding::ok(CHAIN, subject, format!("{name}, whose chain leads to an authority of this system"))
        }
        Err(error) => {
            let (why, _) = explained(&error);
            // Senders of one's own can trust an authority that this system does not know.
            let verdict = match error {
                Error::InvalidCertificate(CertificateError::UnknownIssuer) => Finding::warning,
                _ => Finding::failure,
            };
            verdict(CHAIN, subject, format!("{name}: {why}")).fix(
                "put the intermediates behind the server's certificate; providers want a public authority",
            )
        }
    }
}

/// The first host that a certificate names, one that a wildcard stands for if it names no other.
fn first_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let names = read.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.replacen('*', "any", 1)),
        GeneralName::IPAddress([a, b, c, d]) => {
            Some(SocketAddr::from(([*a, *b, *c, *d], 0)).ip().to_string())
        }
        _ => None,
    })
}
