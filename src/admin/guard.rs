//! Access control: the rules that apply to every request to the admin listener.
//!
//! Against a web page in the operator's browser: only known hosts (DNS rebinding), a header on every
//! change that no form can send (request forgery), no CORS, and answer headers that forbid framing,
//! sniffing and caching. Against everybody else: the bearer token, without which a listener beyond
//! loopback answers nothing. Another token can be given to who only reads the metrics. Exempt are the
//! probes: a [`Stranger`] gets yes or no, and the names of what is degraded; and the page and the
//! description of the API, which have no data of their own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::v1::OPENAPI_PATH;
use super::{ProblemAnswer, page};
use crate::problem::ProblemCode;

/// Must be `1` on every change, because a page of another origin cannot send this header without
/// permission.
pub const REQUEST_HEADER: HeaderName = HeaderName::from_static("x-fanbridge-request");

/// Where the metrics are.
pub(super) const METRICS_PATH: &str = "/metrics";

const PROBES: [&str; 3] = ["/livez", "/readyz", "/startupz"];

const ANSWER_HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Marks a request that is allowed to ask the probes only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger;

/// The rules of access to the admin listener.
pub struct Access {
    listen: IpAddr,
    /// SHA-256 of the token, so that all tokens have one length and a comparison reveals nothing.
    token: Option<[u8; 32]>,
    /// The same of the token with which the metrics are read.
    metrics_token: Option<[u8; 32]>,
    /// Names of this machine beside `localhost`, in lower case.
    hosts: Vec<String>,
}

impl Access {
    /// The rules for a listener at `listen`, with a token if one is configured.
    pub fn new(listen: SocketAddr, token: Option<&SecretString>) -> Self {
        Self { listen: listen.ip(), token: token.map(digest), metrics_token: None, hosts: Vec::new() }
    }

    /// The same with a token that reads the metrics and nothing else, if one is configured.
    pub fn with_metrics_token(self, token: Option<&SecretString>) -> Self {
        Self { metrics_token: token.map(digest), ..self }
    }

    /// The same for a listener that is also asked by these names, in lower case.
    pub fn with_hosts(self, hosts: Vec<String>) -> Self {
        Self { hosts, ..self }
    }

    /// Why a request is refused, `None` if it is allowed (pure).
    fn refusal(&self, request: &Parts) -> Option<ProblemAnswer> {
        let refuse = |code, detail: &'static str| Some(ProblemAnswer::of(code, detail));
        if !self.knows_host(request) {
            return refuse(
                ProblemCode::UnknownHost,
                "unknown host: use localhost, the address in admin.listen or a name in admin.hosts",
            );
        }
        // Neither has data of the bridge, and a link from another site may lead to the page.
        let path = request.uri.path();
        if page::is_asked_for(&request.method, path) || path == OPENAPI_PATH {
            return None;
        }
        // A browser says so of what a page of another site asks for. Where there is no token, it could not
        // read the answer, but cause the work.
        if request.headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
            return refuse(
                ProblemCode::CrossSite,
                "a page of another site asks: open the page of this bridge",
            );
        }
        if self.token.is_none() && !self.listen.is_loopback() {
            return refuse(
                ProblemCode::NotLoopback,
                "admin.listen is not a loopback address, and admin.token is not set: set it",
            );
        }
        let changes = !matches!(request.method, Method::GET | Method::HEAD);
        match self.bearer(&request.headers) {
            Bearer::Operator => {}
            Bearer::MetricsReader if !changes && path == METRICS_PATH => {}
            Bearer::MetricsReader => {
                return refuse(
                    ProblemCode::TokenWrong,
                    "admin.metrics_token reads /metrics alone: send the token configured as admin.token",
                );
            }
            Bearer::Unknown => {
                let code = match request.headers.contains_key(AUTHORIZATION) {
                    true => ProblemCode::TokenWrong,
                    false => ProblemCode::TokenRequired,
                };
                return refuse(
                    code,
                    "a bearer token is required: send the one configured as admin.token, or for /metrics \
                     that of admin.metrics_token",
                );
            }
        }
        if !changes {
            return None;
        }
        if only(&request.headers, &REQUEST_HEADER).is_none_or(|value| value != "1") {
            return refuse(ProblemCode::NoRequestHeader, "changes need the header X-Fanbridge-Request: 1");
        }
        if !is_json(&request.headers) {
            return refuse(ProblemCode::NotJson, "changes need the content type application/json");
        }
        None
    }

    /// Whether the request names a known host. A page that rebinds its own name to this address still
    /// sends that name, so only known names are accepted. Any port is, and any address on a listener
    /// for all addresses.
    fn knows_host(&self, request: &Parts) -> bool {
        let known = |authority: &str| {
            let Some(authority) = authority.parse::<Authority>().ok().filter(|a| !a.as_str().contains('@'))
            else {
                return false;
            };
            let host = authority.host();
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            match bare.parse::<IpAddr>() {
                Ok(address) => {
                    address.is_loopback() || address == self.listen || self.listen.is_unspecified()
                }
                Err(_) => {
                    let is = |known: &str| host.eq_ignore_ascii_case(known);
                    is("localhost") || self.hosts.iter().any(|known| is(known))
                }
            }
        };
        let named = only(&request.headers, &HOST).and_then(|host| host.to_str().ok()).is_some_and(known);
        named && request.uri.authority().is_none_or(|authority| known(authority.as_str()))
    }

    /// Who asks, by the token that is sent.
    fn bearer(&self, headers: &HeaderMap) -> Bearer {
        let Some(token) = &self.token else {
            return Bearer::Operator;
        };
        let offered = only(headers, &AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then(|| Sha256::digest(token))
        });
        let is = |token: &[u8; 32]| {
            offered.is_some_and(|offered| bool::from(offered.as_slice().ct_eq(token.as_slice())))
        };
        match &self.metrics_token {
            _ if is(token) => Bearer::Operator,
            Some(token) if is(token) => Bearer::MetricsReader,
            _ => Bearer::Unknown,
        }
    }
}

/// Who sends a request, by its token.
enum Bearer {
    /// May read everything and change it. Where no token is configured, everybody is.
    Operator,
    /// May read the metrics.
    MetricsReader,
    /// Has no token, or one that is not known.
    Unknown,
}

fn digest(token: &SecretString) -> [u8; 32] {
    Sha256::digest(token.expose_secret()).into()
}

/// The middleware: refuses a request or passes it on, and adds headers to the answer.
pub(super) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let is_page = page::is_asked_for(&parts.method, parts.uri.path());
    let mut response = match access.refusal(&parts) {
        Some(problem) if !PROBES.contains(&parts.uri.path()) => problem.into_response(),
        refused => {
            if refused.is_some() {
                parts.extensions.insert(Stranger);
            }
            next.run(Request::from_parts(parts, body)).await
        }
    };
    for (name, value) in ANSWER_HEADERS {
        // The page brings its own policy, and may be kept as long as it is asked for again.
        if is_page && response.headers().contains_key(name) {
            continue;
        }
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// The value of a header that occurs exactly once: two values could be read in two ways.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_json(headers: &HeaderMap) -> bool {
    only(headers, &CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    })
}
