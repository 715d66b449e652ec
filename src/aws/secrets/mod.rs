//! Reads secrets from Secrets Manager and Parameter Store.
//!
//! One call of each service is used, and both speak the same protocol: so they are called by hand, through
//! the HTTP client, the credentials and the time-outs of the other clients. No message and no log line, at
//! whatever level, has an answer's body.

mod answer;
mod endpoint;

use std::convert::Infallible;
use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, SensitiveOutput};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_types::SdkConfig;
use secrecy::SecretString;

use self::endpoint::{Service, endpoint};
use super::{Aws, CallTimeouts, causes};
use crate::reference::AwsSecret;
use crate::telemetry::Shown;

/// One attempt takes at most this; a region answers within a few hundred milliseconds.
const CALL: CallTimeouts = CallTimeouts { attempt: Duration::from_secs(4), attempts: 1 };
/// The waits before further attempts, where the next one can succeed.
const WAITS: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(1200)];
const USER_AGENT: &str = concat!("fanbridge/", env!("CARGO_PKG_VERSION"));

/// Why a secret could not be read. It has no part of the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct UnreadSecret {
    /// What is wrong, and what to do.
    pub problem: String,
    /// Whether it can be over by itself, as an outage is.
    pub passes: bool,
}

/// The status, the code and the body of an answer.
struct Answer {
    status: u16,
    code: Option<String>,
    body: Vec<u8>,
}

/// Shows nothing of the body, which is a secret.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// What AWS keeps there now. A failure that can be over in a moment is tried again twice.
///
/// # Errors
/// When AWS does not answer or refuses, or when there is no such secret or no text in it.
pub async fn read(aws: &Aws, secret: &AwsSecret) -> Result<SecretString, UnreadSecret> {
    let mut waits = WAITS.iter();
    loop {
        match Box::pin(read_once(aws, secret)).await {
            Err(unread) if unread.passes => match waits.next() {
                Some(wait) => tokio::time::sleep(*wait).await,
                None => return Err(unread),
            },
            done => return done,
        }
    }
}

async fn read_once(aws: &Aws, secret: &AwsSecret) -> Result<SecretString, UnreadSecret> {
    let settings = aws.settings(secret.region(), CALL).await;
    let region = settings.region().map(ToString::to_string).ok_or_else(|| UnreadSecret {
        problem: "no region is known: set `aws.region` or AWS_REGION, or write the ARN".into(),
        passes: false,
    })?;
    let credentials = aws.credentials(&settings).await;
    let credentials = credentials.map_err(|problem| UnreadSecret { problem, passes: true })?;
    let service = Service::of(secret.store);
    let url = own_endpoint(&settings, service).unwrap_or_else(|| {
        let (fips, dual_stack) = (settings.use_fips(), settings.use_dual_stack());
        endpoint(service, &region, fips.unwrap_or_default(), dual_stack.unwrap_or_default())
    });
    let (target, body) = answer::question(secret);
    let request = Request { service, region, url, target, body };
    let answer = request.send(credentials, &settings).await?;
    answer::secret(secret, answer.status, answer.code.as_deref(), &answer.body)
}

/// The endpoint that configuration, environment or profile name in place of the region's own.
fn own_endpoint(settings: &SdkConfig, service: Service) -> Option<String> {
    let of_all = settings.endpoint_url().map(str::to_owned);
    if settings.get_origin("endpoint_url").is_client_config() {
        return of_all;
    }
    let key = aws_types::service_config::ServiceConfigKey::builder()
        .service_id(service.id())
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let of_service = settings.service_config().and_then(|config| config.load_config(key));
    of_service.or(of_all)
}

/// A call of one service.
struct Request {
    service: Service,
    region: String,
    url: String,
    target: &'static str,
    body: String,
}

impl Request {
    async fn send(self, credentials: Credentials, settings: &SdkConfig) -> Result<Answer, UnreadSecret> {
        let faulty = |problem: String| UnreadSecret { problem, passes: false };
        let (service, url, region) = (self.service, self.url.clone(), self.region.clone());
        let request = self.signed(credentials, SystemTime::now()).map_err(faulty)?;
        let mut layer = Layer::new("secret");
        layer.store_put(SensitiveOutput);
        let mut operation = Operation::builder()
            .service_name(service.signed_as())
            .operation_name("read")
            .endpoint_url(&url)
            .no_auth()
            .no_retry()
            .runtime_plugin(StaticRuntimePlugin::new().with_config(layer.freeze()));
        if let Some(version) = settings.behavior_version() {
            operation = operation.behavior_version(version);
        }
        if let Some(timeouts) = settings.timeout_config() {
            operation = operation.timeout_config(timeouts.clone());
        }
        if let Some(sleep) = settings.sleep_impl() {
            operation = operation.sleep_impl(sleep);
        }
        if let Some(client) = settings.http_client() {
            operation = operation.http_client(client);
        }
        let operation = operation
            .serializer(move |(): ()| {
                let copy = request.try_clone().ok_or("a request without a stream can be copied")?;
                Ok(copy)
            })
            .deserializer(|response: &HttpResponse| {
                Ok::<_, aws_smithy_runtime_api::client::orchestrator::OrchestratorError<Infallible>>(Answer {
                    status: response.status().as_u16(),
                    code: response.headers().get("x-amzn-errortype").map(str::to_owned),
                    body: response.body().bytes().unwrap_or_default().to_vec(),
                })
            })
            .build();
        operation.invoke(()).await.map_err(|error| UnreadSecret {
            problem: format!(
                "{} in {region} does not answer: {}; look at the way out to AWS and at `aws.endpoint`",
                service.name(),
                Shown(&told(&error))
            ),
            passes: true,
        })
    }

    /// The signed request.
    fn signed(self, credentials: Credentials, now: SystemTime) -> Result<HttpRequest, String> {
        let unusable = |error: &dyn fmt::Display| format!("the request cannot be signed: {error}");
        let url = format!("{}/", self.url.trim_end_matches('/'));
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", self.target)];
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.signed_as())
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unusable(&error))?
            .into();
        let body = SignableBody::Bytes(self.body.as_bytes());
        let signable = SignableRequest::new("POST", &url, headers.into_iter(), body);
        let signed = sign(signable.map_err(|error| unusable(&error))?, &params);
        let (instructions, _) = signed.map_err(|error| unusable(&error))?.into_parts();
        let mut request = http::Request::post("/").header(http::header::USER_AGENT, USER_AGENT);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(SdkBody::from(self.body)).map_err(|error| unusable(&error))?;
        instructions.apply_to_request_http1x(&mut request);
        request.try_into().map_err(|error: aws_smithy_runtime_api::http::HttpError| unusable(&error))
    }
}

/// The last cause of an error, which says what happened.
fn told(error: &SdkError<Infallible, HttpResponse>) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}
