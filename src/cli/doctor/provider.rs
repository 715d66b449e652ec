//! Checks of a provider's own settings, where its API key is given: whether a hook delivers to the source, in
//! which way, which types it sends, and how the address that it delivers to answers. Known of Stream.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use super::context::Context;
use super::finding::named;
use super::probe::FoundSoFar;
use super::provider_key::ProviderKey;
use super::{Finding, Probe};
use crate::cli::client::encoded;
use crate::config::Config;
use crate::explain::cause::quoted;
use crate::provider::sign;
use crate::selection::Selection;
use crate::source::{Channel, SourceOptions, SourceSecret};
use crate::trust;

const HOOK: &str = "provider.hook";
const ANSWER: &str = "provider.answer";

/// The provider whose settings can be read.
const STREAM: &str = "stream";
/// Longest answer of the API that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long a token for the API is valid, in seconds: clocks may differ by some of it.
const TOKEN_SECONDS: u64 = 300;
/// After this long Stream gives an attempt up.
const STREAM_WAITS: Duration = Duration::from_secs(6);

/// The checks of the hooks of each source of Stream.
pub(super) fn probes(context: &Context) -> Vec<Probe> {
    let config = &context.config;
    let streams = config.sources.iter().filter(|source| *source.definition.provider == *STREAM);
    let mut probes: Vec<Probe> = streams.filter_map(|source| probe(context, source)).collect();
    if probes.is_empty() {
        let why = if config.sources.iter().any(|source| *source.definition.provider == *STREAM) {
            "no key is given: `--provider-key env:STREAM_API_KEY` has the app's settings looked at"
        } else {
            "no source is of a provider whose settings can be read"
        };
        probes.push(Probe::blocking(&[HOOK, ANSWER], "", move |found| {
            [HOOK, ANSWER].into_iter().for_each(|check| found.add(Finding::skipped(check, "", why)));
        }));
    }
    probes
}

fn probe(context: &Context, source: &SourceOptions) -> Option<Probe> {
    let key = context.provider_keys.iter().find(|key| key.is_for(&source.name))?.clone();
    let (config, name, url) = (context.config.clone(), source.name.to_string(), context.provider_url.clone());
    Some(Probe::new(&[HOOK, ANSWER], name.clone(), |found| async move {
        let Some(source) = config.sources.iter().find(|source| source.name == *name) else { return };
        AskedApp { source, config: &config, key, url }.look(&found).await;
    }))
}

/// The app of one source.
struct AskedApp<'c> {
    source: &'c SourceOptions,
    config: &'c Config,
    key: ProviderKey,
    url: String,
}

/// The part of the app's settings that is looked at.
#[derive(Deserialize)]
struct Settings {
    app: App,
}

#[derive(Default, Deserialize)]
struct App {
    #[serde(default)]
    event_hooks: Vec<Hook>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Hook {
    hook_type: String,
    enabled: bool,
    event_types: Option<Vec<String>>,
    webhook_url: Option<String>,
    sqs_queue_url: Option<String>,
    sns_topic_arn: Option<String>,
}

type HttpClient = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

impl AskedApp<'_> {
    async fn look(&self, found: &FoundSoFar) {
        let source = &*self.source.name;
        if !is_private(&self.url) {
            let text = "the key and the token would leave this machine in the clear";
            found.add(Finding::unknown(HOOK, source, text).fix("an address that begins with https://"));
            return found.add(Finding::unknown(ANSWER, source, "the hook's address is not known"));
        }
        let client = match client().await {
            Ok(client) => client,
            Err(why) => {
                return found.add(Finding::unknown(HOOK, source, format!("it cannot be asked: {why}")));
            }
        };
        let hooks = match self.hooks(&client).await {
            Ok(hooks) => hooks,
            Err(finding) => {
                found.add(finding);
                return found.add(Finding::unknown(ANSWER, source, "the hook's address is not known"));
            }
        };
        let ours: Vec<&Hook> = hooks.iter().filter(|hook| self.leads_here(hook)).collect();
        self.settings(&hooks, &ours).into_iter().for_each(|finding| found.add(finding));
        match ours.iter().find_map(|hook| hook.webhook_url.as_deref().filter(|_| hook.hook_type == "webhook"))
        {
            Some(url) if !is_private(url) => {
                let text = "the hook's address does not begin with https://, so nothing is sent there";
                found.add(Finding::failure(ANSWER, source, text).fix("an address that begins with https://"));
            }
            Some(url) => found.add(self.answer(&client, url).await),
            None => found.add(Finding::skipped(ANSWER, source, "no webhook leads to this source")),
        }
    }

    /// The hooks in the app's settings.
    async fn hooks(&self, client: &HttpClient) -> Result<Vec<Hook>, Finding> {
        let source = &*self.source.name;
        let unknown =
            |why: String| Finding::unknown(HOOK, source, why).fix("the way out to the provider's API");
        let token = self.token().ok_or_else(|| {
            Finding::unknown(
                HOOK,
                source,
                "the source has no secret that is valid now, and the API wants one",
            )
        })?;
        let key = encoded(self.key.key.expose_secret()).to_string();
        let mut request = Request::new(Full::new(Bytes::new()));
        let url = format!("{}/api/v2/app?api_key={key}", self.url.trim_end_matches('/'));
        *request.uri_mut() = url.parse().map_err(|_| unknown("the API's address is none".into()))?;
        request.headers_mut().insert("stream-auth-type", HeaderValue::from_static("jwt"));
        let mut token = HeaderValue::from_str(&token).map_err(|_| unknown("the token is none".into()))?;
        token.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, token);
        // The error of the client repeats no address, and so no key.
        let answer = client.request(request).await.map_err(|error| {
            let cause =
                std::iter::successors(std::error::Error::source(&error), |error| error.source()).last();
            let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
            unknown(format!("{} does not answer: {cause}", self.url))
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| unknown("the API's answer broke off, or has no end".into()))?.to_bytes();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let text =
                    format!("the API answers {status}: the key and the source's secret are not of one app");
                return Err(Finding::failure(HOOK, source, text)
                    .fix("the app's key and its secret, from one page of the dashboard"));
            }
            status => return Err(unknown(format!("the API answers {status}"))),
        }
        let settings: Settings = serde_json::from_slice(&body)
            .map_err(|_| unknown("the API's answer has no settings of an app".into()))?;
        Ok(settings.app.event_hooks)
    }

    /// A token that says that a server asks. Its signature is made as that of a webhook is, with the same
    /// secret.
    fn token(&self) -> Option<String> {
        let now = SystemTime::now();
        let live = |secret: &&SourceSecret| secret.secret.is_live(now.into());
        let secret = &self.source.secrets.iter().find(live)?.secret;
        let since = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let parts = [
            json!({ "alg": "HS256", "typ": "JWT" }),
            json!({ "server": true, "iat": since, "exp": since + TOKEN_SECONDS }),
        ];
        let text = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let headers = sign(&self.source.definition, secret, text.as_bytes(), now.into(), "");
        let mac = hex::decode(headers.values().next()?.as_bytes()).ok()?;
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac)))
    }

    /// Whether a hook delivers to this source.
    fn leads_here(&self, hook: &Hook) -> bool {
        match &self.source.channel {
            Channel::Webhook => {
                let path = format!("/in/{}", self.source.name);
                let uri = hook.webhook_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
                hook.hook_type == "webhook" && uri.is_some_and(|uri| uri.path().ends_with(&path))
            }
            Channel::Sqs(queue) => {
                hook.hook_type == "sqs" && hook.sqs_queue_url.as_deref() == Some(&*queue.queue_url)
            }
            Channel::Sns(sns) => {
                let topic = hook.sns_topic_arn.as_deref().unwrap_or_default();
                hook.hook_type == "sns" && sns.topics.iter().any(|arn| arn.as_str() == topic)
            }
        }
    }

    fn settings(&self, hooks: &[Hook], ours: &[&Hook]) -> Vec<Finding> {
        let source = &*self.source.name;
        let (kind, place) = match &self.source.channel {
            Channel::Webhook => ("webhook", format!("https://your.host/in/{source}")),
            Channel::Sqs(queue) => ("sqs", queue.queue_url.clone()),
            Channel::Sns(sns) => ("sns", sns.topics.first().map(ToString::to_string).unwrap_or_default()),
        };
        let enabled: Vec<&&Hook> = ours.iter().filter(|hook| hook.enabled).collect();
        if enabled.is_empty() {
            let text = match (ours.len(), hooks.len()) {
                (0, 0) => "the app has no hook: nothing is sent".to_owned(),
                (0, count) => format!("none of the app's {count} hooks leads to this source"),
                _ => "the hook that leads to this source is not enabled".to_owned(),
            };
            return vec![Finding::failure(HOOK, source, text).fix(format!(
                "a hook of the type `{kind}`, enabled, to {place}; keep the others in the array"
            ))];
        }
        let mut findings = Vec::new();
        // Without a list a hook sends every type.
        let lists: Vec<_> =
            enabled.iter().map(|hook| hook.event_types.as_deref().unwrap_or_default()).collect();
        let sends_all = lists.iter().any(|types| types.is_empty());
        if !sends_all && let Selection::Only(wanted) = &self.config.selection {
            let catalogue = &self.source.definition.catalogue;
            let unsent: Vec<&str> = wanted
                .iter()
                .map(String::as_str)
                .filter(|name| catalogue.find(name).is_some())
                .filter(|name| !lists.iter().any(|types| types.iter().any(|sent| sent == name)))
                .collect();
            if !unsent.is_empty() {
                let text = format!("`select` wants types that its hook does not send: {}", named(unsent));
                findings.push(Finding::warning(HOOK, source, text).fix(
                    "add them to the hook's `event_types`, or empty that list and choose with `select`",
                ));
            }
        }
        if !sends_all && self.config.selection == Selection::All {
            let text = "its hook has a list of types: those that Stream adds are never sent";
            findings.push(
                Finding::warning(HOOK, source, text)
                    .fix("empty the hook's `event_types`, and choose with `select`"),
            );
        }
        if enabled.len() > 1 {
            let text = format!("{} hooks lead to this source: each event comes that often", enabled.len());
            findings.push(Finding::warning(HOOK, source, text).fix("leave one; copies are published once"));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(HOOK, source, format!("a hook of the type `{kind}` leads to it")));
        }
        findings
    }

    /// How the hook's address answers a delivery that nobody signed: a bridge says 401, and takes nothing.
    async fn answer(&self, client: &HttpClient, url: &str) -> Finding {
        let source = &*self.source.name;
        let mut request = Request::new(Full::new(Bytes::from_static(b"{}")));
        *request.method_mut() = Method::POST;
        let Ok(uri) = url.parse::<Uri>() else {
            return Finding::failure(ANSWER, source, "the hook's address is none")
                .fix("correct it in the app's settings");
        };
        let url = shown_address(&uri);
        *request.uri_mut() = uri;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert("x-signature", HeaderValue::from_static("0"));
        let begun = Instant::now();
        let answered = tokio::time::timeout(STREAM_WAITS, client.request(request)).await;
        let took = begun.elapsed().as_millis();
        let show = format!("fanbridge send {source} call.created --url {} --ca CHAIN.pem", quoted(&url));
        match answered {
            Err(_) => {
                let text = format!(
                    "{url} does not answer within {} s, after which Stream gives up",
                    STREAM_WAITS.as_secs()
                );
                Finding::failure(ANSWER, source, text)
                    .fix("what stands between: proxy, firewall, name")
                    .command(show)
            }
            Ok(Err(error)) => {
                let cause =
                    std::iter::successors(std::error::Error::source(&error), |error| error.source()).last();
                let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
                Finding::failure(ANSWER, source, format!("{url} cannot be reached: {cause}"))
                    .fix("the name, its certificate, and the proxy in front")
                    .command(show)
            }
            Ok(Ok(answer)) if answer.status() == StatusCode::UNAUTHORIZED => {
                let text = format!("{url} refuses an unsigned delivery, as it has to, after {took} ms");
                Finding::ok(ANSWER, source, text)
            }
            Ok(Ok(answer)) => {
                let text = format!("{url} answers {} to an unsigned delivery, expected 401", answer.status());
                Finding::failure(ANSWER, source, text)
                    .fix("the address has to lead to this bridge")
                    .command(show)
            }
        }
    }
}

/// An address without a login and a query, which can be secrets.
fn shown_address(uri: &Uri) -> String {
    let (scheme, host) = (uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or_default());
    let port = uri.port_u16().map_or_else(String::new, |port| format!(":{port}"));
    format!("{scheme}://{host}{port}{}", uri.path())
}

/// Whether what is sent to this address is read by nobody in between: by TLS, or within this machine.
fn is_private(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let is_here = |host: &str| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    uri.scheme_str() == Some("https") || uri.host().is_some_and(is_here)
}

/// A client that trusts the system's authorities.
async fn client() -> Result<HttpClient, String> {
    let roots =
        tokio::task::spawn_blocking(trust::system_authorities).await.map_err(|error| error.to_string())?;
    let tls = trust::client(Arc::new(roots)).map_err(|error| error.to_string())?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    Ok(legacy::Client::builder(TokioExecutor::new()).build(HttpsConnector::from((tcp, tls))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_can_be_a_secret() {
        let uri = "https://me:hunter2@your.host:8443/in/stream?key=hunter2".parse().expect("an address");
        assert_eq!(shown_address(&uri), "https://your.host:8443/in/stream");
    }

    #[test]
    fn a_key_leaves_this_machine_by_tls_only() {
        for url in
            ["https://chat.stream-io-api.com", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"]
        {
            assert!(is_private(url), "{url}");
        }
        for url in ["http://chat.stream-io-api.com", "http://10.0.0.1", "chat.stream-io-api.com", ""] {
            assert!(!is_private(url), "{url}");
        }
    }
}
