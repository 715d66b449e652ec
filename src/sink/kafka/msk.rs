//! The tokens of a sink on Amazon MSK with IAM access control.
//!
//! A client asks for a token when it starts and before its token ends. All clients of a sink share what was
//! made last. Credentials can come over the network, so a token is made on a thread of its own: whoever has
//! one that still is valid does not wait for it, because delivery reports are read by the same thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};
use rdkafka::client::OAuthToken;
use secrecy::ExposeSecret;

use crate::aws::msk::{MskToken, token};
use crate::aws::{Aws, AwsOptions};

/// How long a client uses a new token before it asks for the next one, at most: what changes in the
/// credentials is in use after four fifths of it.
const USED_FOR: Duration = Duration::from_secs(300);
/// The same of a token that was to be replaced, and could not be.
const USED_ON_FOR: Duration = Duration::from_secs(60);
/// For how long a token serves the other clients of the sink, too; one that ends soon for a quarter of its
/// life.
const NEW_FOR: Duration = Duration::from_secs(30);
/// Longest time until the providers of credentials have answered.
const MADE_WITHIN: Duration = Duration::from_secs(10);
/// How long a client waits for a token if it has one that is still valid.
const WAITS_FOR_BETTER: Duration = Duration::from_millis(300);
/// How long a token must be valid to be shown to a broker.
const VALID_MIN: Duration = Duration::from_secs(2);

/// What makes the tokens of one sink.
#[derive(Debug)]
pub struct MskIam {
    aws: AwsOptions,
    region: Option<String>,
    state: Mutex<State>,
    made: Condvar,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Made>,
    /// Why the last attempt has made none.
    problem: Option<String>,
    is_being_made: bool,
}

#[derive(Clone, Debug)]
struct Made {
    token: MskToken,
    new_until: Instant,
}

impl MskIam {
    /// Tokens for clusters in this region; `None` stands for the common one of `aws`.
    pub fn new(aws: AwsOptions, region: Option<String>) -> Arc<Self> {
        Arc::new(Self { aws, region, state: Mutex::default(), made: Condvar::new() })
    }

    /// A token for a client. Blocks, for at most [`MADE_WITHIN`] if there is no valid token and else for
    /// [`WAITS_FOR_BETTER`].
    ///
    /// # Errors
    /// When no token can be made, and the last one is over.
    pub(super) fn token(self: &Arc<Self>) -> Result<OAuthToken, String> {
        let mut state = self.state.lock();
        if let Some(new) = state.last.as_ref().filter(|made| made.is_new() && made.is_valid()) {
            return Ok(new.for_client(USED_FOR));
        }
        if !state.is_being_made {
            self.begin().map_err(|error| format!("no thread can be started to make a token: {error}"))?;
            state.is_being_made = true;
            state.problem = None;
        }
        let has_valid = state.last.as_ref().is_some_and(Made::is_valid);
        let patience = if has_valid { WAITS_FOR_BETTER } else { MADE_WITHIN };
        self.made.wait_while_for(&mut state, |state| state.is_being_made, patience);
        match &state.last {
            Some(made) if made.is_new() => Ok(made.for_client(USED_FOR)),
            Some(made) if made.is_valid() => Ok(made.for_client(USED_ON_FOR)),
            _ => {
                let silent = || format!("no AWS credentials came within {} s", MADE_WITHIN.as_secs());
                Err(state.problem.clone().unwrap_or_else(silent))
            }
        }
    }

    fn begin(self: &Arc<Self>) -> std::io::Result<()> {
        let this = Arc::clone(self);
        let work = move || {
            // Whoever waits must not wait for ever.
            let made = catch_unwind(AssertUnwindSafe(|| this.make()))
                .unwrap_or_else(|_| Err("the thread that makes a token has panicked".into()));
            let mut state = this.state.lock();
            state.is_being_made = false;
            match made {
                Ok(token) => state.last = Some(Made::new(token)),
                Err(problem) => state.problem = Some(problem),
            }
            this.made.notify_all();
        };
        thread::Builder::new().name("msk-token".into()).spawn(work).map(drop)
    }

    /// Asks for the credentials anew, with clients that nobody else has, and signs a token.
    fn make(&self) -> Result<MskToken, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no token can be made: {error}"))?;
        let aws = Aws::new(self.aws.clone());
        runtime.block_on(async {
            let made = Box::pin(token(&aws, self.region.as_deref()));
            let silent = |_| format!("no AWS credentials came within {} s", MADE_WITHIN.as_secs());
            tokio::time::timeout(MADE_WITHIN, made).await.map_err(silent)?
        })
    }
}

impl Made {
    fn new(token: MskToken) -> Self {
        let life = token.ends.duration_since(SystemTime::now()).unwrap_or_default();
        Self { token, new_until: Instant::now() + NEW_FOR.min(life / 4) }
    }

    fn is_new(&self) -> bool {
        Instant::now() < self.new_until
    }

    fn is_valid(&self) -> bool {
        SystemTime::now() + VALID_MIN < self.token.ends
    }

    /// The token as librdkafka takes it, which asks for the next one after four fifths of this time.
    fn for_client(&self, used_for: Duration) -> OAuthToken {
        let until = self.token.ends.min(SystemTime::now() + used_for);
        let until = until.duration_since(UNIX_EPOCH).unwrap_or_default();
        OAuthToken {
            token: self.token.text.expose_secret().to_owned(),
            principal_name: "fanbridge".into(),
            lifetime_ms: i64::try_from(until.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn made(age: Duration, valid_for: Duration) -> Arc<MskIam> {
        let msk = MskIam::new(AwsOptions::default(), Some("eu-west-1".into()));
        let token = MskToken { text: "kept".into(), ends: SystemTime::now() + valid_for };
        // Somebody else is at it, and does not come to an end.
        let mut last = Made::new(token);
        last.new_until = last.new_until.checked_sub(age).unwrap();
        let last = Some(last);
        *msk.state.lock() = State { last, problem: None, is_being_made: true };
        msk
    }

    fn used_for(token: &OAuthToken) -> Duration {
        let until = UNIX_EPOCH + Duration::from_millis(token.lifetime_ms as u64);
        until.duration_since(SystemTime::now()).unwrap()
    }

    #[test]
    fn clients_share_a_new_token_and_none_is_used_beyond_its_end() {
        let second = Duration::from_secs(1);
        let new = made(second, second * 900).token().unwrap();
        assert!(used_for(&new) > USED_FOR - second && used_for(&new) <= USED_FOR);
        let short = made(second, second * 20).token().unwrap();
        assert!(used_for(&short) <= second * 20);
    }

    #[test]
    fn while_no_new_token_comes_the_last_one_serves_until_it_ends() {
        let second = Duration::from_secs(1);
        let begun = Instant::now();
        let old = made(second * 240, second * 660).token().unwrap();
        assert!(used_for(&old) <= USED_ON_FOR, "the next one is asked for soon");
        assert!(begun.elapsed() < MADE_WITHIN / 2, "delivery reports do not wait");
    }
}
