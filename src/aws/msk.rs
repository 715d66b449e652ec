//! Tokens for Amazon MSK with IAM access control: a presigned request for the action `kafka-cluster:Connect`,
//! in base64url. A broker checks it by its signature, and learns from it whose request it is.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use super::{Aws, CallTimeouts, credentials};

/// How long the signature is valid; brokers take no longer one.
const VALID_FOR: Duration = Duration::from_secs(900);
const SERVICE: &str = "kafka-cluster";
const CONNECT: &str = "Action=kafka-cluster%3AConnect";
const USER_AGENT: &str = concat!("fanbridge-", env!("CARGO_PKG_VERSION"));
/// For what the provider of the credentials calls.
const CALL: CallTimeouts = CallTimeouts { attempt: Duration::from_secs(4), attempts: 1 };

/// A token that brokers take until it ends.
#[derive(Clone, Debug)]
pub struct MskToken {
    /// What is shown to the broker.
    pub text: SecretString,
    /// From when on no broker takes it.
    pub ends: SystemTime,
}

/// A new token. Without a region, that of `aws.region`, of the environment or of the profile is used.
///
/// # Errors
/// When there are no credentials or there is no region. The message says what to do.
pub async fn token(aws: &Aws, region: Option<&str>) -> Result<MskToken, String> {
    let settings = aws.settings(region, CALL).await;
    let region = settings
        .region()
        .map(ToString::to_string)
        .ok_or("the region of the MSK cluster is not known: set `region` beside `mechanism: AWS_MSK_IAM`")?;
    let credentials = credentials(&settings).await?;
    let now = SystemTime::now();
    let ends = credentials.expiry().map_or(now + VALID_FOR, |expiry| expiry.min(now + VALID_FOR));
    Ok(MskToken { text: signed(credentials, &region, now)?.into(), ends })
}

fn signed(credentials: Credentials, region: &str, now: SystemTime) -> Result<String, String> {
    let unusable = |error: &dyn fmt::Display| format!("the token cannot be signed: {error}");
    let url = format!("https://kafka.{region}.amazonaws.com/?{CONNECT}");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(VALID_FOR);
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|error| unusable(&error))?
        .into();
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::empty());
    let signed = sign(request.map_err(|error| unusable(&error))?, &params);
    let (instructions, _) = signed.map_err(|error| unusable(&error))?.into_parts();
    let mut request = http::Request::get(&url).body(()).map_err(|error| unusable(&error))?;
    instructions.apply_to_request_http1x(&mut request);
    // The signature does not cover the program's name, which the brokers' log shows.
    Ok(URL_SAFE_NO_PAD.encode(format!("{}&User-Agent={USER_AGENT}", request.uri())))
}

/// The region in a broker's name: `…kafka.{region}.amazonaws.com` of a cluster, `…kafka-serverless.…` of a
/// serverless one.
pub fn region_of_broker(host: &str) -> Option<&str> {
    let inner = ["amazonaws.com", "amazonaws.com.cn", "amazonaws.eu"]
        .iter()
        .find_map(|domain| host.strip_suffix(domain)?.strip_suffix('.'))?;
    let (before, region) = inner.rsplit_once('.')?;
    let kind = before.rsplit('.').next()?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (matches!(kind, "kafka" | "kafka-serverless") && region.contains('-') && region.chars().all(fits))
        .then_some(region)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What AWS's own library for Python signs at that moment.
    #[test]
    fn a_token_is_the_presigned_request_that_other_signers_make() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_007_600);
        for (session, signature) in [
            (None, "ae52eeaee6878d59daa5b66c9804e852102bf216c66fed1ace84c1984f38ef98"),
            (Some("the/session+token=="), "8558609f2384339fe7e808f4bf993795fddf51cf01190b519dde81cee38134e8"),
        ] {
            let key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
            let credentials =
                Credentials::new("AKIDEXAMPLE", key, session.map(str::to_owned), None, "a test");
            let token = signed(credentials, "eu-west-1", now).unwrap();
            let url = String::from_utf8(URL_SAFE_NO_PAD.decode(&token).unwrap()).unwrap();
            let query = url.strip_prefix("https://kafka.eu-west-1.amazonaws.com/?").unwrap();
            let mut found: Vec<&str> = query.split('&').collect();
            found.sort_unstable();
            let signature = format!("X-Amz-Signature={signature}");
            let program = format!("User-Agent={USER_AGENT}");
            let mut expected = vec![
                "Action=kafka-cluster%3AConnect",
                "X-Amz-Algorithm=AWS4-HMAC-SHA256",
                "X-Amz-Credential=AKIDEXAMPLE%2F20261130%2Feu-west-1%2Fkafka-cluster%2Faws4_request",
                "X-Amz-Date=20261130T030000Z",
                "X-Amz-Expires=900",
                "X-Amz-SignedHeaders=host",
                &signature,
                &program,
            ];
            expected.extend(session.map(|_| "X-Amz-Security-Token=the%2Fsession%2Btoken%3D%3D"));
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_broker_of_msk_tells_its_region() {
        for (host, region) in [
            ("b-1.lake.ab12cd.c2.kafka.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("boot-ab12.c1.kafka-serverless.us-east-1.amazonaws.com", Some("us-east-1")),
            ("b-1.lake.ab12cd.c2.kafka.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("b-1.lake.c2.kafka.eu-west-1.amazonaws.com.evil.example", None),
            ("kafka.internal", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(region_of_broker(host), region, "{host}");
        }
    }
}
