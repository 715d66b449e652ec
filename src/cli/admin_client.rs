//! A client for the running bridge's admin API, for the verbs that need it.
//!
//! It knows the API's conventions: the header that changes need, and problem documents, whose detail
//! becomes the error message. The requests and the meaning of their answers belong to the verbs.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{Client, ClientAnswer, Target};
use super::{Exit, Failure};
use crate::admin::AdminOptions;
use crate::admin::REQUEST_HEADER;
use crate::telemetry::Shown;

/// A connection to the admin listener.
pub struct AdminClient(Client);

impl AdminClient {
    /// Connects to the admin listener of this configuration, on this machine.
    ///
    /// # Errors
    /// When the listener cannot be reached.
    pub async fn connect(config: &AdminOptions) -> Result<Self, Failure> {
        Client::connect(&Target::admin(config)).await.map(Self)
    }

    /// Requests a document; `None` if there is none at this path.
    ///
    /// # Errors
    /// When the bridge does not answer, or refuses the request.
    pub async fn get(&mut self, path: &str) -> Result<Option<Bytes>, Failure> {
        let answer = self.0.get(path).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { granted(answer).map(Some) }
    }

    /// Requests a JSON document.
    ///
    /// # Errors
    /// When the bridge does not answer, refuses the request, or answers without the expected JSON.
    pub async fn get_json<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        let answer = self.0.get(path).await?;
        read(&granted(answer)?)
    }

    /// Requests a change and returns its result.
    ///
    /// # Errors
    /// When the bridge does not answer, refuses the request, or answers without the expected JSON.
    pub async fn post_json<T: DeserializeOwned>(
        &mut self,
        path: &str,
        change: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        let headers = HeaderMap::from_iter([
            (REQUEST_HEADER, HeaderValue::from_static("1")),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let body =
            serde_json::to_vec(change).map_err(|error| Failure::io("cannot write the request", &error))?;
        let answer = self.0.post(path, headers, body.into()).await?;
        read(&granted(answer)?)
    }
}

/// A path with a query, without the pairs that have no value.
pub fn path_with(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut text = path.to_owned();
    let given = pairs.iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    for (at, (name, value)) in given.enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

fn granted(answer: ClientAnswer) -> Result<Bytes, Failure> {
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

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::io("cannot read the bridge's answer", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_every_value_in_its_place() {
        let path =
            path_with("/api/dead", &[("sink", Some("a&b=c d/é")), ("reason", None), ("limit", Some("5"))]);
        assert_eq!(path, "/api/dead?sink=a%26b%3Dc%20d%2F%C3%A9&limit=5");
        assert_eq!(path_with("/api/dead", &[("sink", None)]), "/api/dead");
    }

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
}
