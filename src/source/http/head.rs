//! Refuses request heads that two HTTP readers could understand differently (pure).
//!
//! The parser refuses what it cannot read itself. This module refuses heads that the parser accepts but
//! that a proxy on the way could have understood in another way: which host the request is for (RFC 9112,
//! section 3.2), and how its body is coded (section 6.1). Whether the length of the body is stated in two
//! ways is checked in [`super::timeout_stream`].

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version};

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Fault {
    /// The head names no host, two hosts, a malformed host, or another host than the target.
    Host,
    /// The body is coded in two ways or in a malformed one.
    Coding,
    /// The body is coded in a way that the bridge does not know.
    UnknownCoding,
}

impl Fault {
    /// The fault of this request's head, if it has one.
    pub(in crate::source) fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        if !knows_host(request.version(), request.uri(), headers) {
            return Some(Self::Host);
        }
        fault_of_coding(headers)
    }

    /// The answer's status.
    pub(in crate::source) fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Coding => StatusCode::BAD_REQUEST,
            Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// The `detail` of the answer's problem document.
    pub(in crate::source) fn detail(self) -> &'static str {
        match self {
            Self::Host => "the request must name its host exactly once, and the same host as its target",
            Self::Coding => "the request states the coding of its body in two ways or in a malformed one",
            Self::UnknownCoding => "the body must be sent plain or chunked",
        }
    }

    /// The word for the metrics.
    pub(in crate::source) fn reason(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Coding => "transfer_coding",
            Self::UnknownCoding => "unknown_transfer_coding",
        }
    }
}

/// Whether the head names its host exactly once, and the same host as the target if the target names
/// one. A request of HTTP/1.0 need not name a host.
fn knows_host(version: Version, target: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        // Nearly every head has such a host, and no other one in its target: it needs no parsing.
        (Some(host), None) if target.scheme().is_none() && is_plain(host.as_bytes()) => true,
        (Some(host), None) => authority(host).is_some_and(|host| {
            let same = |other: &Authority| other.host().eq_ignore_ascii_case(host.host());
            // A target with an authority and no scheme is the destination of a CONNECT.
            target.scheme().is_none() || target.authority().is_none_or(same)
        }),
        (Some(_), Some(_)) => false,
    }
}

/// Whether a host has only characters of names and IPv4 addresses, and perhaps a port: the parser takes each.
fn is_plain(host: &[u8]) -> bool {
    let colon = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
    let (name, port) = host.split_at(colon);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let has_port =
        port.is_empty() || (2..=6).contains(&port.len()) && port[1..].iter().all(u8::is_ascii_digit);
    !name.is_empty() && name.iter().all(is_name) && has_port
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    let port = authority.as_str().strip_prefix(authority.host())?;
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    (fine && !authority.host().is_empty()).then_some(authority)
}

/// The fault of the body's transfer coding, if it has one. The parser has already refused codings that
/// do not end in `chunked`, and any coding in HTTP/1.0.
fn fault_of_coding(headers: &HeaderMap) -> Option<Fault> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next()?.as_bytes().trim_ascii();
    if codings.next().is_some() {
        return Some(Fault::Coding);
    }
    if coding.eq_ignore_ascii_case(b"chunked") {
        return None;
    }
    let mut names = coding.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    // The last name is `chunked`, and no other name must be.
    let is_known_to_somebody = |name: &[u8]| is_token(name) && !name.eq_ignore_ascii_case(b"chunked");
    names.next_back();
    Some(if names.all(is_known_to_somebody) { Fault::UnknownCoding } else { Fault::Coding })
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(version: Version, target: &str, headers: &[(&str, &str)]) -> Option<Fault> {
        let request = Request::builder().version(version).uri(target);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Fault::of(&request.body(()).expect("a request"))
    }

    #[test]
    fn a_host_is_named_once_and_is_the_targets() {
        let of = |target, hosts: &[&str]| {
            let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            fault(Version::HTTP_11, target, &hosts)
        };
        for fine in ["x", "x:80", "x.y.z.", "127.0.0.1:8080", "[::1]:80", "EXAMPLE.com", "a_b", "x-y:65535"] {
            assert_eq!(of("/", &[fine]), None, "{fine}");
        }
        for bad in ["", " ", "a b", "a/b", "user@x", "x:y:z", "x?", "x:y", "[::1", "é", "x\\y"] {
            assert_eq!(of("/", &[bad]), Some(Fault::Host), "{bad}");
        }
        assert_eq!(of("/", &[]), Some(Fault::Host));
        assert_eq!(of("/", &["x", "x"]), Some(Fault::Host));
        assert_eq!(of("http://x/in/a", &["X:80"]), None);
        assert_eq!(of("http://y/in/a", &["x"]), Some(Fault::Host));
    }

    #[test]
    fn what_is_plain_to_see_is_what_the_parser_would_say() {
        let letters = ["", "a", "-", ".", "1", ":", "_", "@", "[", "]", "/", "é", " "];
        for text in letters.iter().flat_map(|first| {
            let second = letters.iter().map(move |second| format!("{first}{second}"));
            second.flat_map(|start| letters.map(|third| format!("{start}{third}")))
        }) {
            let Ok(host) = HeaderValue::from_str(&text) else { continue };
            assert!(!is_plain(text.as_bytes()) || authority(&host).is_some(), "{text:?}");
        }
        assert!(is_plain(b"hooks.example.com:443") && !is_plain(b"hooks.example.com:"));
    }

    #[test]
    fn the_older_version_need_not_name_a_host_and_may_not_name_two() {
        let of = |hosts: &[(&str, &str)]| fault(Version::HTTP_10, "/", hosts);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("host", "x")]), None);
        assert_eq!(of(&[("host", "x"), ("host", "y")]), Some(Fault::Host));
    }

    #[test]
    fn a_body_is_chunked_or_plain_and_says_so_once() {
        let of = |codings: &[&str]| {
            let codings = codings.iter().map(|coding| ("transfer-encoding", *coding));
            let headers: Vec<_> = [("host", "x")].into_iter().chain(codings).collect();
            fault(Version::HTTP_11, "/", &headers)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["chunked"]), None);
        assert_eq!(of(&["Chunked\t"]), None);
        for unknown in ["gzip, chunked", "gzip,chunked", "identity, chunked", "br , deflate, Chunked"] {
            assert_eq!(of(&[unknown]), Some(Fault::UnknownCoding), "{unknown}");
        }
        for senseless in ["chunked, chunked", ", chunked", "gzip, , chunked", "\"gzip\", chunked"] {
            assert_eq!(of(&[senseless]), Some(Fault::Coding), "{senseless}");
        }
        assert_eq!(of(&["chunked", "chunked"]), Some(Fault::Coding));
        assert_eq!(of(&["gzip", "chunked"]), Some(Fault::Coding));
    }
}
