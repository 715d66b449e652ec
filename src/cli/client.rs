//! A client of a running bridge, for the verbs that talk to it: one kept-alive HTTP connection to one of
//! its listeners, and the conventions of its admin API.
//!
//! TLS is used for `https` addresses, and trusts only the certificates it is given: verification
//! cannot be switched off. The paths and the meaning of their answers belong to the verbs.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Exit, Failure, causes};
use crate::admin::{AdminOptions, REQUEST_HEADER};
use crate::dead_letter::PAGE_BYTES_MAX;
use crate::source::http::HttpOptions;
use crate::spool::ENTRY_BYTES_MAX;
use crate::telemetry::Shown;
use crate::trust;

/// How long the bridge can take to accept a connection and to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What a verb says besides if a connection ends before the answer does.
const BROKEN_OFF: &str = " (has the bridge ended meanwhile? its log says why; ask again once it runs)";
/// What is not left as it is in a part of a URL (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
        Self { trust, ..Self::here(config.listen) }
    }

    /// The admin listener at this address, on this machine, for who has no token.
    pub fn of_admin(listen: SocketAddr) -> Self {
        Self::here(listen)
    }

    /// A listener on this machine, under the address that reaches it: loopback for one that listens
    /// everywhere.
    fn here(listen: SocketAddr) -> Self {
        let host = match listen {
            SocketAddr::V4(address) if address.ip().is_unspecified() => "127.0.0.1".into(),
            SocketAddr::V6(address) if address.ip().is_unspecified() => "::1".into(),
            address => address.ip().to_string(),
        };
        Self { host, port: listen.port(), trust: None, token: None }
    }

    /// The endpoint of a URL, and the path in it.
    ///
    /// # Errors
    /// When the scheme is neither `http` nor `https`, certificates for `https` are missing, or the
    /// host or the port is not one.
    pub fn url(url: &str, ca: Option<&Path>) -> Result<(Self, String), Failure> {
        let wrong = |why: &str| Failure::new(Exit::Usage, format!("the address `{url}` {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let host = uri.host().ok_or_else(|| wrong("has no host"))?;
        let bare = host.trim_matches(['[', ']']).to_owned();
        let (default_port, trust) = match (uri.scheme_str(), ca) {
            (Some("http"), _) => (80, None),
            (Some("https"), Some(ca)) => (443, Some(ca.to_owned())),
            (Some("https"), None) => return Err(wrong("needs --ca FILE with the certificates to trust")),
            _ => return Err(wrong("must begin with http:// or https://")),
        };
        if trust.is_some() && ServerName::try_from(&*bare).is_err() {
            return Err(wrong("has a host that cannot be in a certificate"));
        }
        let port = match stated_port(&uri, host) {
            None => default_port,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| wrong("has an impossible port, expected 1 to 65535"))?,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok((Self { host: bare, port, trust, token: None }, path))
    }

    /// The beginning of all its URLs.
    fn origin(&self) -> String {
        let Self { host, port, trust, .. } = self;
        let scheme = if trust.is_some() { "https" } else { "http" };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("{scheme}://{host}:{port}")
    }
}

/// The text of the port after the host; the library reads no port that is too large.
fn stated_port<'u>(uri: &'u Uri, host: &str) -> Option<&'u str> {
    let authority = uri.authority()?.as_str();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    place.strip_prefix(host)?.strip_prefix(':').filter(|port| !port.is_empty())
}

/// An HTTP answer.
#[derive(Debug)]
pub struct ClientAnswer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// Sends requests to one listener, one after the other and on one connection, under [`block_on`]. The first
/// one connects; one that finds the connection closed connects again.
#[derive(Debug)]
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    target: Target,
}

impl Client {
    /// A client of this listener. It does not connect yet.
    ///
    /// # Errors
    /// When the certificates to trust cannot be read.
    pub fn new(target: Target) -> Result<Self, Failure> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // Small requests follow each other: waiting to fill a packet would cost 40 ms each.
        tcp.set_nodelay(true);
        let connector = HttpsConnector::from((tcp, trusting(target.trust.as_deref())?));
        let http = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Ok(Self { http, target })
    }

    /// A client of the admin API of the bridge with this configuration, on this machine.
    ///
    /// # Errors
    /// When nobody answers there. What is answered does not matter yet.
    pub async fn admin(config: &AdminOptions) -> Result<Self, Failure> {
        let bridge = Self::new(Target { token: config.token.clone(), ..Target::here(config.listen) })?;
        bridge.get("/livez").await?;
        Ok(bridge)
    }

    /// Requests a document of the admin API; `None` if there is none at this path.
    ///
    /// # Errors
    /// When the bridge does not answer, or refuses the request.
    pub async fn document(&self, path: &str) -> Result<Option<Bytes>, Failure> {
        let answer = self.get(path).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { granted(answer).map(Some) }
    }

    /// Requests a JSON document of the admin API.
    ///
    /// # Errors
    /// When the bridge does not answer, refuses the request, or answers without the expected JSON.
    pub async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(&granted(self.get(path).await?)?)
    }

    /// Requests a change through the admin API, and returns its result.
    ///
    /// # Errors
    /// When the bridge does not answer, refuses the request, or answers without the expected JSON.
    pub async fn change<T: DeserializeOwned>(
        &self,
        path: &str,
        change: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        read(&granted(self.ask_for(path, change).await?)?)
    }

    /// Requests a change through the admin API, and returns what that is answered, also if it is refused.
    ///
    /// # Errors
    /// When the bridge does not answer.
    pub async fn ask_for(
        &self,
        path: &str,
        change: &(impl Serialize + Sync),
    ) -> Result<ClientAnswer, Failure> {
        let headers = HeaderMap::from_iter([
            (REQUEST_HEADER, HeaderValue::from_static("1")),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let body =
            serde_json::to_vec(change).map_err(|error| Failure::io("cannot write the request", &error))?;
        self.post(path, headers, body.into()).await
    }

    /// Sends a GET request, and returns what that is answered, also if it is refused.
    ///
    /// # Errors
    /// As for [`post`](Self::post).
    pub async fn get(&self, path: &str) -> Result<ClientAnswer, Failure> {
        self.request(Method::GET, path, HeaderMap::new(), Bytes::new()).await
    }

    /// Sends a POST request.
    ///
    /// # Errors
    /// When the listener cannot be reached, its certificate is not trusted, the connection breaks or
    /// no answer comes within [`TIMEOUT`].
    pub async fn post(&self, path: &str, headers: HeaderMap, body: Bytes) -> Result<ClientAnswer, Failure> {
        self.request(Method::POST, path, headers, body).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<ClientAnswer, Failure> {
        let failed = |error: &(dyn Error + 'static)| Failure {
            advice: if is_broken_off(error) { BROKEN_OFF } else { "" },
            ..Failure::io(format_args!("the request to {path} failed"), error)
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        let url = format!("{}{path}", self.target.origin());
        *request.uri_mut() = url.parse().map_err(|error: http::uri::InvalidUri| failed(&error))?;
        *request.headers_mut() = headers;
        if let Some(token) = &self.target.token {
            let bearer = format!("Bearer {}", token.expose_secret());
            let mut value = HeaderValue::from_str(&bearer).map_err(|error| failed(&error))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = async {
            let response = self.http.request(request).await.map_err(|error| match error.is_connect() {
                true => self.unreached(&error),
                false => failed(error.source().unwrap_or(&error)),
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(ClientAnswer { status, body: body.map_err(|error| failed(&*error))?.to_bytes() })
        };
        tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| {
            let message = format!("the bridge did not answer within {} s", TIMEOUT.as_secs());
            Failure::new(Exit::Temporary, message)
        })?
    }

    /// What kept the client from connecting. What failed before TLS has a type of the connector, and what
    /// failed in it is an I/O error.
    fn unreached(&self, error: &legacy::Error) -> Failure {
        let doing = format!("cannot connect to {} port {}", self.target.host, self.target.port);
        match error.source().filter(|cause| cause.is::<io::Error>()) {
            Some(in_tls) => Failure::io(doing, in_tls),
            None => {
                let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
                let advice = " (is the bridge running? `fanbridge run` starts it)";
                Failure { advice, ..Failure::new(Exit::Io, format!("{doing}: {cause}")) }
            }
        }
    }
}

/// Whether a connection ended in the middle of a request; an answer that is wrong in itself is another thing.
fn is_broken_off(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(|error| !error.is_parse() && !error.is_user())
}

/// A TLS client that trusts only the certificates in this PEM file, or nobody.
fn trusting(file: Option<&Path>) -> Result<rustls::ClientConfig, Failure> {
    let place = file.unwrap_or(Path::new("")).display();
    let unusable =
        |error: &dyn Error| Failure::io(format_args!("cannot use the certificates in {place}"), error);
    let mut roots = rustls::RootCertStore::empty();
    if let Some(file) = file {
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
    }
    trust::client(roots).map_err(|error| unusable(&error))
}

/// The body of an answer, unless the request was refused.
///
/// # Errors
/// What the refusal says.
pub fn granted(answer: ClientAnswer) -> Result<Bytes, Failure> {
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    let exit = match answer.status {
        StatusCode::SERVICE_UNAVAILABLE => Exit::Temporary,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Config,
        _ => Exit::Failed,
    };
    let problem = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
    let detail = problem.get("detail").and_then(|detail| detail.as_str()).unwrap_or("without a reason");
    Err(Failure::new(exit, format!("the bridge answered {}: {}", answer.status, Shown(detail))))
}

/// The JSON of an answer.
///
/// # Errors
/// When it is not the expected one.
pub fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::io("cannot read the bridge's answer", &error))
}

/// A path with a query, without the pairs that have no value.
pub fn path_with(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut text = path.to_owned();
    let given = pairs.iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    for (at, (name, value)) in given.enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.extend(encoded(value));
    }
    text
}

/// A text as a part of a URL.
pub fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

/// Runs the network work of a verb to its end, on this thread alone. So the task that has read an answer
/// puts the connection back before the work goes on, and the next request finds it there; on several threads
/// the request can be first, and opens another connection.
///
/// # Errors
/// The error of the work, or of a runtime that cannot start.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::io("cannot start the runtime", &error))?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_the_problems_detail_and_cannot_steer_the_terminal() {
        let answer =
            |status, body: &'static str| ClientAnswer { status, body: Bytes::from_static(body.as_bytes()) };
        let failure =
            granted(answer(StatusCode::UNAUTHORIZED, r#"{"detail":"token\u001b[2J"}"#)).expect_err("401");
        assert_eq!(failure.exit, Exit::Config);
        assert_eq!(failure.to_string(), r"the bridge answered 401 Unauthorized: token\u{1b}[2J");
        let failure = granted(answer(StatusCode::BAD_GATEWAY, "<html>")).expect_err("502");
        assert!(failure.to_string().ends_with("without a reason"), "{failure}");
    }

    #[test]
    fn a_query_keeps_every_value_in_its_place() {
        let path =
            path_with("/api/dead", &[("sink", Some("a&b=c d/é")), ("reason", None), ("limit", Some("5"))]);
        assert_eq!(path, "/api/dead?sink=a%26b%3Dc%20d%2F%C3%A9&limit=5");
        assert_eq!(path_with("/api/dead", &[("sink", None)]), "/api/dead");
    }

    #[test]
    fn an_id_is_written_so_that_a_url_keeps_it() {
        assert_eq!(encoded("evt_1-a.b~C").to_string(), "evt_1-a.b~C");
        assert_eq!(encoded("a/b?c#d%é:").to_string(), "a%2Fb%3Fc%23d%25%C3%A9%3A");
    }
}
