//! What AWS keeps of a configuration: all of it is fetched at once, once the configuration is known to be
//! right in all else. So a check asks AWS nothing, and a mistake in the file is told without a call.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::thread;

use futures_util::{StreamExt, stream};
use secrecy::SecretString;
use tokio::runtime;

use super::Config;
use crate::aws::secrets::{UnreadSecret, read};
use crate::aws::{Aws, AwsOptions};
use crate::reference::AwsSecret;

/// Secrets that are asked for at once.
const ASKED_AT_ONCE: usize = 8;

/// What AWS has answered for each secret.
#[derive(Debug, Default)]
pub struct FetchedSecrets(BTreeMap<AwsSecret, Result<SecretString, UnreadSecret>>);

impl FetchedSecrets {
    /// Asks for all of these. Blocks until each is answered or given up.
    pub(super) fn fetch(aws: &AwsOptions, secrets: &BTreeSet<AwsSecret>) -> Self {
        let fetched = on_a_thread(|| {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let aws = Aws::new(aws.clone());
            let asked = stream::iter(secrets.iter().cloned()).map(|secret| {
                let aws = &aws;
                async move {
                    let answer = Box::pin(read(aws, &secret)).await;
                    (secret, answer)
                }
            });
            Ok(Self(runtime.block_on(asked.buffer_unordered(ASKED_AT_ONCE).collect())))
        });
        fetched.unwrap_or_else(|error| {
            let problem = format!("this process cannot ask AWS: {error}");
            let unread = |secret: &AwsSecret| {
                (secret.clone(), Err(UnreadSecret { problem: problem.clone(), passes: true }))
            };
            Self(secrets.iter().map(unread).collect())
        })
    }

    /// What was answered for this one.
    pub(super) fn get(&self, secret: &AwsSecret) -> Result<SecretString, UnreadSecret> {
        self.0
            .get(secret)
            .cloned()
            .unwrap_or_else(|| Err(UnreadSecret { problem: "it was not asked for".into(), passes: false }))
    }
}

impl Config {
    /// A secret that AWS keeps and the configuration does not name. Blocks until it is answered or given up.
    ///
    /// # Errors
    /// When AWS does not answer, or refuses.
    pub fn aws_secret(&self, secret: &AwsSecret) -> Result<SecretString, UnreadSecret> {
        FetchedSecrets::fetch(&self.aws, &BTreeSet::from([secret.clone()])).get(secret)
    }
}

/// Does this where no runtime is, whoever asks for it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let working = thread::Builder::new().name("aws-secrets".into()).spawn_scoped(scope, work)?;
        working.join().unwrap_or_else(|broken| std::panic::resume_unwind(broken))
    })
}
