//! The bytes of one connection, plain or encrypted.

use anyhow::Context;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const STALL_MAX: Duration = Duration::from_secs(10);
/// Sessions that are remembered; each is resumed once.
const SESSIONS_MAX: usize = 256;

/// An open connection.
pub enum Wire {
    /// As it is.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<Tls>),
}

/// An encrypted connection; reads take what is there and never wait once the socket was readable.
pub struct Tls {
    stream: TcpStream,
    session: ClientConnection,
    /// Decrypted bytes that are not read yet.
    left: usize,
}

/// How to encrypt: trusts one certificate, which is for `localhost`.
pub fn client(certificate: &Path, resume: bool) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_file(certificate)
        .with_context(|| format!("{} holds no certificate", certificate.display()))?;
    roots.add(der)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption =
        if resume { Resumption::in_memory_sessions(SESSIONS_MAX) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

impl Wire {
    /// Connects and, with TLS, shakes hands.
    pub fn open(to: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&to, STALL_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL_MAX))?;
        stream.set_write_timeout(Some(STALL_MAX))?;
        let Some(config) = tls else { return Ok(Self::Plain(stream)) };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        session.set_buffer_limit(None);
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self::Tls(Box::new(Tls { stream, session, left: 0 })))
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &tls.stream,
        }
    }

    /// Whether the handshake took up a former session.
    pub fn is_resumed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.session.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Whether bytes are here that the socket does not tell of.
    pub fn has_more(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.left > 0)
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(tls) => {
                tls.session.writer().write_all(bytes)?;
                while tls.session.wants_write() {
                    tls.session.write_tls(&mut tls.stream)?;
                }
                Ok(())
            }
        }
    }
}

/// One read. An encrypted connection can be readable without a byte of an answer: then it would block.
impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tls = match self {
            Self::Plain(stream) => return stream.read(buffer),
            Self::Tls(tls) => tls,
        };
        if tls.left == 0 {
            tls.session.read_tls(&mut tls.stream)?;
            tls.left = tls.session.process_new_packets().map_err(io::Error::other)?.plaintext_bytes_to_read();
        }
        let read = tls.session.reader().read(buffer)?;
        tls.left -= read;
        Ok(read)
    }
}
