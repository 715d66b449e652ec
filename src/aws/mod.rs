//! How AWS is reached: one set-up for the clients of all services.
//!
//! Credentials come from the SDK's default chain (environment, shared profile, web identity,
//! container and instance roles), which also refreshes them. All clients share one chain and its
//! cache, so that ten queues ask for one role once. A client is made without asking for credentials,
//! so a bridge starts without them and reports what is missing.

pub mod arn;
pub mod msk;
mod options;
pub mod policy;
pub mod refusal;
pub mod secrets;

pub use options::AwsOptions;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// Longest wait for credentials before they count as missing: roles are fetched over the network, and
/// an instance's metadata service answers within a second or not at all.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long credentials are used without asking their provider again.
const CREDENTIALS_KEPT_FOR: Duration = Duration::from_secs(300);
/// How long such credentials must still be valid.
const CREDENTIALS_VALID_MIN: Duration = Duration::from_secs(60);

/// Longest time for making a connection; a region answers within a few hundred milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Time-out and number of attempts for one kind of call.
#[derive(Clone, Copy, Debug)]
pub struct CallTimeouts {
    /// Longest time for one attempt, from the first byte of the request to the last byte of the
    /// answer.
    pub attempt: Duration,
    /// Number of attempts in all. A call with one attempt is repeated by the loop that makes it, with
    /// a backoff of its own, because only that loop knows which other calls have to wait.
    pub attempts: u32,
}

/// Makes the settings of clients. Clones share their credentials.
#[derive(Clone, Debug)]
pub struct Aws {
    config: AwsOptions,
    shared: Arc<OnceCell<SdkConfig>>,
    /// The last credentials, and when they came, for calls that no client of the SDK makes.
    credentials: Arc<Mutex<Option<(Credentials, Instant)>>>,
}

impl Aws {
    /// The set-up for this configuration.
    pub fn new(config: AwsOptions) -> Self {
        Self { config, shared: Arc::default(), credentials: Arc::default() }
    }

    /// The same set-up for a test, which has credentials of its own.
    #[cfg(test)]
    pub async fn with_credentials(config: AwsOptions, credentials: Credentials) -> Self {
        let aws = Self::new(config);
        let shared = Box::pin(aws.loader().credentials_provider(credentials).load()).await;
        Self { shared: Arc::new(OnceCell::new_with(Some(shared))), ..aws }
    }

    /// The time between two reads of a secret.
    pub fn read_secrets_every(&self) -> Duration {
        Duration::from_secs(self.config.read_secrets_every_seconds.max(1))
    }

    /// Credentials for a call that no client of the SDK makes. Those of a role are kept for a while:
    /// otherwise each call would ask for that role once more.
    async fn credentials(&self, settings: &SdkConfig) -> Result<Credentials, String> {
        let is_good = |(credentials, since): &(Credentials, Instant)| {
            let valid = |end: SystemTime| end > SystemTime::now() + CREDENTIALS_VALID_MIN;
            since.elapsed() < CREDENTIALS_KEPT_FOR && credentials.expiry().is_some_and(valid)
        };
        if let Some((kept, _)) = self.credentials.lock().as_ref().filter(|kept| is_good(kept)) {
            return Ok(kept.clone());
        }
        let new = credentials(settings).await?;
        *self.credentials.lock() = Some((new.clone(), Instant::now()));
        Ok(new)
    }

    /// The settings for a client in this region; `None` means `aws.region`, or else the region of
    /// environment and profile.
    pub async fn settings(&self, region: Option<&str>, call: CallTimeouts) -> SdkConfig {
        let region = region.or(self.config.region.as_deref()).map(|name| Region::new(name.to_owned()));
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(call.attempt)
            .build();
        let shared = self.shared.get_or_init(|| self.load(region.clone())).await;
        let mut settings = shared
            .to_builder()
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(call.attempts.max(1)));
        if region.is_some() {
            settings.set_region(region);
        }
        settings.build()
    }

    /// The settings that all clients share. The credentials chain needs a region if it asks a
    /// service: without one of its own it gets that of the first client.
    async fn load(&self, first: Option<Region>) -> SdkConfig {
        // Boxed, because it is large and would be part of every future that starts a source or a
        // sink.
        let own = Box::pin(self.loader().load()).await;
        match first {
            Some(region) if own.region().is_none() => Box::pin(self.loader().region(region).load()).await,
            _ => own,
        }
    }

    fn loader(&self) -> ConfigLoader {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .app_name(app_name())
            .use_fips(self.config.fips)
            .use_dual_stack(self.config.dual_stack);
        if let Some(region) = &self.config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.config.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &self.config.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        loader
    }
}

/// A name in every request, by which the account's owner finds the bridge in the logs of AWS.
fn app_name() -> AppName {
    let name = concat!("fanbridge-", env!("CARGO_PKG_VERSION"));
    AppName::new(name).unwrap_or_else(|_| unreachable!("a name of letters, digits, `-` and `.`"))
}

/// Why no request can be signed now, and what to do; `None` if there are credentials.
pub async fn credentials_problem(settings: &SdkConfig) -> Option<String> {
    credentials(settings).await.err()
}

/// The credentials as their provider gives them now.
async fn credentials(settings: &SdkConfig) -> Result<Credentials, String> {
    let advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile in `aws.profile`, \
                  or give the machine a role";
    let Some(provider) = settings.credentials_provider() else {
        return Err(format!("no AWS credentials: {advice}"));
    };
    match tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await {
        Ok(Ok(credentials)) => {
            let now = SystemTime::now();
            let expired = credentials.expiry().is_some_and(|expiry| expiry <= now);
            match expired {
                true => Err("the AWS credentials have expired: renew them at their origin".to_owned()),
                false => Ok(credentials),
            }
        }
        Ok(Err(error)) => Err(format!("no AWS credentials ({error}): {advice}")),
        Err(_) => Err(format!("the provider of the AWS credentials did not answer within 5 s: {advice}")),
    }
}

/// An error and its causes, in order; the SDK's own message is the last one.
pub fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| <dyn Error>::source(*error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: CallTimeouts = CallTimeouts { attempt: Duration::from_secs(7), attempts: 1 };

    fn configured(fips: bool, dual_stack: bool) -> Aws {
        let region = Some("eu-west-3".to_owned());
        Aws::new(AwsOptions { region, fips, dual_stack, ..AwsOptions::default() })
    }

    #[tokio::test]
    async fn the_kind_of_endpoint_that_is_configured_is_the_kind_that_is_called() {
        for (fips, dual_stack) in [(true, false), (false, true), (true, true), (false, false)] {
            let settings = configured(fips, dual_stack).settings(None, TIMEOUTS).await;
            assert_eq!((settings.use_fips(), settings.use_dual_stack()), (Some(fips), Some(dual_stack)));
        }
    }

    #[tokio::test]
    async fn a_client_has_the_time_outs_of_its_calls_and_its_own_region_before_the_common_one() {
        let aws = configured(false, false);
        for (own, expected) in [(None, "eu-west-3"), (Some("us-east-2"), "us-east-2")] {
            let settings = aws.settings(own, TIMEOUTS).await;
            assert_eq!(settings.region().map(Region::as_ref), Some(expected));
            let timeouts = settings.timeout_config().expect("time-outs");
            assert_eq!(timeouts.operation_attempt_timeout(), Some(TIMEOUTS.attempt));
            assert_eq!(settings.retry_config().map(RetryConfig::max_attempts), Some(TIMEOUTS.attempts));
            assert!(settings.app_name().is_some_and(|name| name.as_ref().starts_with("fanbridge-")));
        }
    }
}
