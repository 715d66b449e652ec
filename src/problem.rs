//! Problems: the documents with which requests to both listeners fail (RFC 9457), and their codes.
//!
//! A code is for programs and stays as it is; a detail is for people. Each document has the number of its
//! request, by which the refusal is found again among the last steps and in the log. The number tells nothing
//! of how many requests there were.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use serde_json::{Map, Value as Json, json};

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $word:literal, $status:ident;)+) => {
        /// What is wrong with a request, or keeps it from being answered.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ProblemCode { $($(#[$doc])+ $name),+ }

        impl ProblemCode {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The code as documents have it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),+ }
            }
        }
    };
}

codes! {
    // The public listener.
    /// The head or the length of a request is ambiguous or malformed.
    BadHead = "bad_head", BAD_REQUEST;
    /// The body cannot be decoded.
    Undecodable = "undecodable", BAD_REQUEST;
    /// The delivery cannot be authenticated; nothing says why.
    Unauthenticated = "unauthenticated", UNAUTHORIZED;
    /// The delivery is not accepted.
    NotAccepted = "not_accepted", FORBIDDEN;
    /// The body arrives too slowly.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT;
    /// The body is larger than is taken.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE;
    /// The body is encoded in another way than gzip.
    UnsupportedEncoding = "unsupported_encoding", UNSUPPORTED_MEDIA_TYPE;
    /// The delivery cannot be stored now.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE;
    /// The delivery is stored, and a sink that its source waits for has not accepted it.
    Unaccepted = "unaccepted", SERVICE_UNAVAILABLE;
    // Both listeners.
    /// There is nothing at this path.
    NoSuchPath = "no_such_path", NOT_FOUND;
    /// The path does not support this method.
    NoSuchMethod = "no_such_method", METHOD_NOT_ALLOWED;
    /// The bridge failed while it handled the request.
    Failed = "failed", INTERNAL_SERVER_ERROR;
    // The admin listener.
    /// The request names a host that is not known.
    UnknownHost = "unknown_host", MISDIRECTED_REQUEST;
    /// The listener is reachable from elsewhere and has no token.
    NotLoopback = "not_loopback", FORBIDDEN;
    /// The request has no token.
    TokenRequired = "token_required", UNAUTHORIZED;
    /// The request has another token.
    TokenWrong = "token_wrong", UNAUTHORIZED;
    /// A browser asks for a page of another site.
    CrossSite = "cross_site", FORBIDDEN;
    /// A change lacks its header.
    NoRequestHeader = "no_request_header", FORBIDDEN;
    /// A change is not of the content type JSON.
    NotJson = "not_json", UNSUPPORTED_MEDIA_TYPE;
    /// A parameter or a part of the path cannot be used.
    BadQuery = "bad_query", BAD_REQUEST;
    /// The body of a change cannot be used.
    BadBody = "bad_body", BAD_REQUEST;
    /// There is no such thing.
    NotFound = "not_found", NOT_FOUND;
    /// The change does not fit how things are.
    Conflict = "conflict", CONFLICT;
    /// Answers wait for the sink, so it is not paused by accident.
    SinkAwaited = "sink_awaited", CONFLICT;
    /// The configuration cannot be read again, or what it asks for cannot be prepared; nothing changed.
    ReloadFailed = "reload_failed", CONFLICT;
    /// Another reload of the configuration is under way.
    ReloadUnderWay = "reload_under_way", CONFLICT;
    /// The configuration changes what a running bridge cannot take over; nothing changed.
    RestartNeeded = "restart_needed", CONFLICT;
    /// The configuration has errors; nothing changed.
    ConfigurationErrors = "configuration_errors", UNPROCESSABLE_ENTITY;
    /// No steps are kept.
    TimelineOff = "timeline_off", CONFLICT;
    /// Bodies are not shown.
    PayloadsHidden = "payloads_hidden", FORBIDDEN;
    /// Bodies are not imported.
    ImportOff = "import_off", FORBIDDEN;
    /// The bridge is not ready, or a loop of it hangs.
    NotReady = "not_ready", SERVICE_UNAVAILABLE;
    /// The spool is being recovered.
    Recovering = "recovering", SERVICE_UNAVAILABLE;
    /// There is no space on the disk for the state file.
    NoRoom = "no_room", SERVICE_UNAVAILABLE;
    /// Too many such requests are being answered.
    Busy = "busy", SERVICE_UNAVAILABLE;
    /// The state file cannot be read or written.
    StateUnreadable = "state_unreadable", INTERNAL_SERVER_ERROR;
    /// The log cannot be read.
    LogUnreadable = "log_unreadable", INTERNAL_SERVER_ERROR;
}

/// The number of a request that failed: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestNumber(pub u64);

impl RequestNumber {
    /// How many digits its text has.
    pub const DIGITS: usize = 16;

    /// A number that no other request of this process has had, in all likelihood, and that nobody can guess.
    pub fn next() -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self(KEY.hash_one(COUNT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl fmt::Display for RequestNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text that is no number of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {} hexadecimal digits", RequestNumber::DIGITS)]
pub struct RequestNumberError;

impl FromStr for RequestNumber {
    type Err = RequestNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_number = text.len() == Self::DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_number);
        number.map(Self).ok_or(RequestNumberError)
    }
}

/// The document of a problem, as JSON.
pub fn document(code: ProblemCode, status: StatusCode, detail: &str, request: RequestNumber) -> String {
    document_with(code, status, detail, request, Map::new())
}

/// The same with more members.
pub fn document_with(
    code: ProblemCode,
    status: StatusCode,
    detail: &str,
    request: RequestNumber,
    members: Map<String, Json>,
) -> String {
    let mut document = json!({
        "type": format!("urn:fanbridge:problem:{}", code.as_str()),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "code": code.as_str(),
        "instance": format!("urn:fanbridge:request:{request}"),
    });
    if let Json::Object(document) = &mut document {
        document.extend(members);
    }
    document.to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_codes_have_one_word() {
        let words: BTreeSet<_> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), ProblemCode::ALL.len());
    }

    #[test]
    fn no_two_requests_have_one_number_and_each_is_read_as_it_is_written() {
        let numbers: BTreeSet<u64> = (0..10_000).map(|_| RequestNumber::next().0).collect();
        assert_eq!(numbers.len(), 10_000);
        for number in numbers.into_iter().map(RequestNumber) {
            let text = number.to_string();
            assert_eq!((text.len(), text.parse()), (16, Ok(number)));
        }
    }
}
