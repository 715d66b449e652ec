//! The checks of the block `traces`: that a collector can be reached by it, and its headers be sent.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use secrecy::ExposeSecret;

use super::Check;
use super::aws::is_loopback;
use crate::config::file::{ConfigFile, TracesFile};
use crate::config::yaml::spans::Path;
use crate::telemetry::{TraceOptions, TraceProtocol};

/// Where collectors take spans by HTTP.
const HTTP_PATH: &str = "/v1/traces";
/// Headers that the exporter or the connection sets by itself.
const OWN_HEADERS: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "user-agent",
];

impl Check<'_> {
    /// Where spans go, if they are to go anywhere.
    pub(in crate::config) fn traces(&mut self, file: &ConfigFile) -> Option<TraceOptions> {
        let TracesFile { endpoint, protocol, sample_ratio, headers } = file.traces.as_ref()?;
        let at = Path::default().key("traces");
        if !(0.0..=1.0).contains(sample_ratio) {
            let label = format!("expected a part from 0 to 1, found {sample_ratio}");
            self.error(&at.key("sample_ratio"), "impossible ratio", label);
        }
        let endpoint = endpoint.as_ref().and_then(|text| match endpoint_of(text, *protocol) {
            Ok(endpoint) => Some(endpoint),
            Err(label) => {
                self.error(&at.key("endpoint"), "unusable endpoint", label);
                None
            }
        });
        let mut sent = HeaderMap::new();
        for (name, kept) in headers {
            let at = at.key("headers").key(name);
            let Some(secret) = self.secret(kept, &at) else { continue };
            match header(name, secret.expose_secret()) {
                Ok((name, value)) => {
                    sent.append(name, value);
                }
                Err(label) => {
                    self.error(&at, "unusable header", label);
                }
            }
        }
        let is_open = |endpoint: &Uri| endpoint.scheme() == Some(&Scheme::HTTP) && !is_loopback(endpoint);
        if !sent.is_empty() && endpoint.as_ref().is_some_and(is_open) {
            let label = "the headers cross the network in plain text; expected `https://`".into();
            self.warning(&at.key("endpoint"), "collector without TLS", label);
        }
        let (protocol, sample_ratio) = (*protocol, *sample_ratio);
        Some(TraceOptions { endpoint: endpoint?, protocol, sample_ratio, headers: sent })
    }
}

/// The URL that requests go to.
fn endpoint_of(text: &str, protocol: TraceProtocol) -> Result<Uri, String> {
    let expected = || {
        let port = if protocol == TraceProtocol::Grpc { 4317 } else { 4318 };
        format!("expected the URL of a collector, such as `http://collector:{port}`")
    };
    let mut parts = text.parse::<Uri>().map_err(|_| expected())?.into_parts();
    let is_known = parts.scheme.as_ref().is_some_and(|scheme| ["http", "https"].contains(&scheme.as_str()));
    let authority =
        parts.authority.as_ref().map(Authority::as_str).filter(|_| is_known).ok_or_else(expected)?;
    if authority.contains('@') {
        return Err("a URL cannot hold the user name or password: write them as one of `headers`".into());
    }
    let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::as_str);
    match (protocol, path) {
        (TraceProtocol::Http, "" | "/") => parts.path_and_query = Some(PathAndQuery::from_static(HTTP_PATH)),
        (TraceProtocol::Http, _) => {}
        (TraceProtocol::Grpc, "" | "/") => parts.path_and_query = Some(PathAndQuery::from_static("/")),
        (TraceProtocol::Grpc, _) => {
            return Err(format!("gRPC has a path of its own: leave `{}` out", path.escape_debug()));
        }
    }
    Uri::from_parts(parts).map_err(|_| expected())
}

/// A header of each request.
fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let known: HeaderName = name.parse().map_err(|_| "this is no name of a header".to_owned())?;
    if OWN_HEADERS.contains(&known.as_str()) || known.as_str().starts_with("grpc-") {
        return Err(format!("the bridge sets `{known}` by itself"));
    }
    // The error has no part of the value.
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| format!("what is kept there cannot be the value of `{known}`: it has line breaks"))?;
    value.set_sensitive(true);
    Ok((known, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_gets_the_one_of_its_protocol() {
        for (text, protocol, expected) in [
            ("http://collector:4318", TraceProtocol::Http, "http://collector:4318/v1/traces"),
            ("https://collector/", TraceProtocol::Http, "https://collector/v1/traces"),
            ("https://collector/otlp/v1/traces", TraceProtocol::Http, "https://collector/otlp/v1/traces"),
            ("http://[::1]:4317", TraceProtocol::Grpc, "http://[::1]:4317/"),
        ] {
            assert_eq!(endpoint_of(text, protocol).map(|uri| uri.to_string()), Ok(expected.to_owned()));
        }
        for text in
            ["collector:4318", "ftp://collector", "http://", "/v1/traces", "http://a b", "http://u:p@c"]
        {
            assert!(endpoint_of(text, TraceProtocol::Http).is_err(), "{text}");
        }
        assert!(endpoint_of("http://collector:4317/v1/traces", TraceProtocol::Grpc).is_err());
    }

    #[test]
    fn a_header_has_a_value_that_nobody_sees() {
        let (name, value) = header("Authorization", "Bearer canary").expect("a header");
        assert_eq!((name.as_str(), value.is_sensitive()), ("authorization", true));
        for (name, value) in
            [("a b", "x"), ("Content-Type", "x"), ("grpc-timeout", "1S"), ("a", "canary\nb: c")]
        {
            let problem = header(name, value).expect_err(name);
            assert!(!problem.contains("canary"), "{problem}");
        }
    }
}
