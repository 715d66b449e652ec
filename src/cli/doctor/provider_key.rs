//! The API keys with which a provider's settings are read. They are named by reference, as secrets are.

use secrecy::SecretString;

use crate::cli::{Exit, Failure};
use crate::config::Config;
use crate::reference::{Reference, secret_in_file};

/// The API key of a provider's app.
#[derive(Clone, Debug)]
pub(super) struct ProviderKey {
    /// The source whose app it is; without it, that of every source.
    source: Option<String>,
    pub(super) key: SecretString,
}

/// Reads `[SOURCE=]REFERENCE`.
pub(super) fn provider_keys(texts: &[String], config: &Config) -> Result<Vec<ProviderKey>, Failure> {
    texts.iter().map(|text| provider_key(text, config)).collect()
}

/// No message repeats the text, which can be a key that was pasted.
fn provider_key(text: &str, config: &Config) -> Result<ProviderKey, Failure> {
    let wrong = |why: String| Failure::new(Exit::Usage, format!("--provider-key: {why}"));
    let is_source = |name: &str| config.sources.iter().any(|source| *source.name == *name);
    let (source, reference) = match text.split_once('=') {
        Some((source, reference)) if is_source(source) => (Some(source.to_owned()), reference),
        Some((source, _)) if !source.contains(':') => {
            return Err(wrong("there is no such source before the `=`".into()));
        }
        _ => (None, text),
    };
    let key = match reference.parse::<Reference>().map_err(wrong)? {
        Reference::Env(name) => match std::env::var(&name) {
            Ok(key) if !key.trim().is_empty() => key.into(),
            _ => return Err(wrong(format!("the environment variable `{name}` is not set"))),
        },
        Reference::File(path) => secret_in_file(&path).map_err(wrong)?,
        Reference::Aws(secret) => {
            config.aws_secret(&secret).map_err(|unread| wrong(format!("{secret}: {unread}")))?
        }
    };
    Ok(ProviderKey { source, key })
}

impl ProviderKey {
    /// Whether it is the key of this source's app.
    pub(super) fn is_for(&self, source: &str) -> bool {
        self.source.as_deref().is_none_or(|name| name == source)
    }
}
