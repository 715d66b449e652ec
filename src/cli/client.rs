//! One kept-alive HTTP connection to a running bridge, for the verbs that talk to it.
//!
//! TLS is used for `https` addresses, and trusts only the certificates it is given: verification
//! cannot be switched off.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Exit, Failure};
use crate::admin::AdminOptions;
use crate::dead_letter::PAGE_BYTES_MAX;
use crate::source::http::HttpOptions;
use crate::spool::ENTRY_BYTES_MAX;
use crate::trust;

/// How long the bridge can take to accept a connection or to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer that is read, in bytes: a page of dead letters, the last of which has the largest
/// possible body in base64.
const ANSWER_BYTES_MAX: usize = PAGE_BYTES_MAX + ENTRY_BYTES_MAX * 2;

/// The address of a listener, and how to connect to it.
#[derive(Debug)]
pub struct Target {
    host: String,
    port: u16,
    /// PEM file with the certificates to trust; `None` for plain HTTP.
    trust: Option<PathBuf>,
    token: Option<SecretString>,
}

impl Target {
    /// The public listener of this configuration, on this machine.
    pub fn http(config: &HttpOptions, ca: Option<&Path>) -> Self {
        let trust = config.tls.as_ref().map(|tls| ca.unwrap_or(&tls.certificate).to_owned());
        Self {
            host: reachable(config.listen).ip().to_string(),
            port: config.listen.port(),
            trust,
            token: None,
        }
    }

    /// The admin listener of this configuration, on this machine.
    pub fn admin(config: &AdminOptions) -> Self {
        let host = reachable(config.listen).ip().to_string();
        Self { host, port: config.listen.port(), trust: None, token: config.token.clone() }
    }

    /// The endpoint of a URL, and the path in it.
    ///
    /// # Errors
    /// When the scheme is neither `http` nor `https`, certificates for `https` are missing, or the
    /// port is not one.
    pub fn url(url: &str, ca: Option<&Path>) -> Result<(Self, String), Failure> {
        let wrong = |why: &str| Failure::new(Exit::Usage, format!("the address `{url}` {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let host = uri.host().ok_or_else(|| wrong("has no host"))?;
        let (default_port, trust) = match (uri.scheme_str(), ca) {
            (Some("http"), _) => (80, None),
            (Some("https"), Some(ca)) => (443, Some(ca.to_owned())),
            (Some("https"), None) => return Err(wrong("needs --ca FILE with the certificates to trust")),
            _ => return Err(wrong("must begin with http:// or https://")),
        };
        let port = match stated_port(&uri, host) {
            None => default_port,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| wrong("has an impossible port, expected 1 to 65535"))?,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok((Self { host: host.trim_matches(['[', ']']).to_owned(), port, trust, token: None }, path))
    }
}

/// The text of the port after the host; the library reads no port that is too large.
fn stated_port<'u>(uri: &'u Uri, host: &str) -> Option<&'u str> {
    let authority = uri.authority()?.as_str();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    place.strip_prefix(host)?.strip_prefix(':').filter(|port| !port.is_empty())
}

/// The address under which this machine reaches a listener: loopback for one that listens everywhere.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => ([127, 0, 0, 1], address.port()).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            ([0, 0, 0, 0, 0, 0, 0, 1_u16], address.port()).into()
        }
        address => address,
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct ClientAnswer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// An HTTP/1.1 connection.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    token: Option<SecretString>,
}

impl Client {
    /// Opens a connection.
    ///
    /// # Errors
    /// When the listener cannot be reached, or its certificate is not trusted.
    pub async fn connect(endpoint: &Target) -> Result<Self, Failure> {
        let Target { host, port, trust, token } = endpoint;
        let failed = |error: &dyn std::error::Error| {
            Failure::io(format_args!("cannot connect to {host} port {port}"), error)
        };
        let stream = within(TcpStream::connect((host.as_str(), *port))).await?.map_err(|error| {
            let advice = "is the bridge running? `fanbridge run` starts it";
            Failure::new(Exit::Io, format!("cannot connect to {host} port {port}: {error} ({advice})"))
        })?;
        // Small requests follow each other: waiting to fill a packet would cost 40 ms each.
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let sender = match trust {
            None => Self::speak(stream).await,
            Some(trust) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| Failure::new(Exit::Usage, format!("`{host}` is not a host name")))?;
                let connector = tokio_rustls::TlsConnector::from(Arc::new(trusting(trust)?));
                let stream =
                    within(connector.connect(name, stream)).await?.map_err(|error| failed(&error))?;
                Self::speak(stream).await
            }
        };
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Ok(Self {
            sender: sender.map_err(|error| failed(&error))?,
            host: HeaderValue::from_str(&authority).map_err(|error| failed(&error))?,
            token: token.clone(),
        })
    }

    async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // The task ends when the sender is dropped; the pending request reports its errors.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Whether the bridge has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// When the connection breaks or no answer comes within [`TIMEOUT`].
    pub async fn get(&mut self, path: &str) -> Result<ClientAnswer, Failure> {
        self.request(Method::GET, path, HeaderMap::new(), Bytes::new()).await
    }

    /// Sends a POST request.
    ///
    /// # Errors
    /// When the connection breaks or no answer comes within [`TIMEOUT`].
    pub async fn post(
        &mut self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<ClientAnswer, Failure> {
        self.request(Method::POST, path, headers, body).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<ClientAnswer, Failure> {
        let failed =
            |error: &dyn std::error::Error| Failure::io(format_args!("the request to {path} failed"), error);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| failed(&error))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::HOST, self.host.clone());
        if let Some(token) = &self.token {
            let bearer = format!("Bearer {}", token.expose_secret());
            let mut value = HeaderValue::from_str(&bearer).map_err(|error| failed(&error))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let answer = async {
            self.sender.ready().await.map_err(|error| failed(&error))?;
            let response = self.sender.send_request(request).await.map_err(|error| failed(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(ClientAnswer { status, body: body.map_err(|error| failed(&*error))?.to_bytes() })
        };
        within(answer).await?
    }
}

async fn within<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(TIMEOUT, work).await.map_err(|_| {
        let message = format!("the bridge did not answer within {} s", TIMEOUT.as_secs());
        Failure::new(Exit::Temporary, message)
    })
}

/// A TLS client that trusts only the certificates in this PEM file.
fn trusting(file: &Path) -> Result<rustls::ClientConfig, Failure> {
    let unusable = |error: &dyn std::error::Error| {
        Failure::io(format_args!("cannot use the certificates in {}", file.display()), error)
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    trust::client(roots).map_err(|error| unusable(&error))
}

/// Runs the network work of a verb to its end.
///
/// # Errors
/// The error of the work, or of a runtime that cannot start.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start the runtime", &error))?
        .block_on(work)
}
