//! The checks of providers and sources: definitions compile, names are usable, secrets can be read.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::Value as Json;

use super::Check;
use crate::ack::AckOptions;
use crate::config::file::{ConfigFile, SecretEntryFile, SourceFile};
use crate::config::yaml::spans::Path;
use crate::event::Timestamp;
use crate::provider::{self, Definition, DefinitionFile, SigningSecret, did_you_mean};
use crate::reference::Reference;
use crate::source::{Channel, SourceOptions, SourceSecret};

/// Definitions by provider name, including the built-in ones.
pub(in crate::config) type Definitions = BTreeMap<String, Arc<Definition>>;

/// The source name that metrics use for requests without a source, and its meaning.
const TAKEN: (&str, &str) = ("none", "requests without a source in metrics");

impl Check<'_> {
    /// Compiles the file's own definitions and adds them to the built-in ones.
    pub(in crate::config) fn definitions(&mut self, providers: Json) -> Definitions {
        let mut definitions: Definitions = provider::builtin()
            .iter()
            .map(|definition| (definition.provider.to_string(), Arc::clone(definition)))
            .collect();
        let Json::Object(providers) = providers else { return definitions };
        for (name, json) in providers {
            let at = Path::default().key("providers").key(&name);
            self.check_name(&at, &name);
            if definitions.contains_key(&name) {
                let label = "this would replace a built-in provider; choose another name".into();
                self.error_at_key(&at, &format!("provider `{name}` exists already"), label);
                continue;
            }
            if let Some(definition) = self.compile(&name, json, &at) {
                definitions.insert(name, Arc::new(definition));
            }
        }
        definitions
    }

    fn compile(&mut self, name: &str, json: Json, at: &Path) -> Option<Definition> {
        let file: DefinitionFile = match serde_json::from_value(json) {
            Ok(file) => file,
            // The schema check has reported the reason. In case it has not, the parser's message is better
            // than none.
            Err(error) => {
                if !self.report.has_errors() {
                    self.error_at_key(at, "unusable provider definition", error.to_string());
                }
                return None;
            }
        };
        match Definition::compile(name, file) {
            Ok(definition) => Some(definition),
            Err(problems) => {
                for problem in problems {
                    let place = problem.path.iter().fold(at.clone(), |path, step| self.step(&path, step));
                    self.error(&place, "unusable provider definition", problem.message);
                }
                None
            }
        }
    }

    /// Follows one step of a problem's path: a key, or the index of a list's element.
    fn step(&self, path: &Path, step: &str) -> Path {
        let element = step.parse().ok().map(|index| path.index(index)).filter(|path| self.places.has(path));
        element.unwrap_or_else(|| path.key(step))
    }

    pub(in crate::config) fn sources(
        &mut self,
        file: &ConfigFile,
        definitions: &Definitions,
    ) -> Vec<SourceOptions> {
        let at = Path::default().key("sources");
        if file.sources.is_empty() && !self.places.has_inside(&at) {
            let label = "expected at least one source under `sources`".into();
            self.error_at_key(&at, "no source is configured", label)
                .notes
                .push("`fanbridge init` prints a configuration to begin with".into());
        }
        let sources = file.sources.iter();
        let sources: Vec<_> = sources
            .filter_map(|(name, source)| {
                let ack = source.ack.as_ref().unwrap_or(&file.ack).clone();
                let options = self.source(name, source, &at.key(name), definitions)?;
                Some(SourceOptions { ack, ..options })
            })
            .collect();
        self.check_beside_each_other(&sources, &at);
        sources
    }

    fn source(
        &mut self,
        name: &str,
        file: &SourceFile,
        at: &Path,
        definitions: &Definitions,
    ) -> Option<SourceOptions> {
        self.check_name(at, name);
        self.check_free(at, name, TAKEN);
        self.check_name(&at.key("app"), &file.app);
        let provider = file.provider.as_deref()?;
        let Some(definition) = definitions.get(provider) else {
            self.report_unknown(provider, at, definitions);
            self.fetch_secrets(file, &at.key("secrets"));
            return None;
        };
        let channel = self.channel(file, at);
        let body_bytes_max = self.body_bytes_max(file, channel.as_ref(), at);
        let secrets = match channel {
            Some(Channel::Sqs(_) | Channel::Sns(_)) => self.no_secrets(file, at),
            Some(Channel::Webhook) if !definition.takes_webhooks() => {
                let label = format!(
                    "`{provider}` has no `signature`, so anybody could send its events; add one to the \
                     definition, or give this source `sqs` or `sns`"
                );
                self.error(&at.key("provider"), "webhook source without a signature", label);
                return None;
            }
            Some(Channel::Webhook) => self.secrets(file, &at.key("secrets"), definition),
            // Whether it needs secrets is not known.
            None => {
                self.fetch_secrets(file, &at.key("secrets"));
                return None;
            }
        };
        Some(SourceOptions {
            name: name.into(),
            definition: Arc::clone(definition),
            app: file.app.as_str().into(),
            secrets,
            channel: channel?,
            body_bytes_max,
            ack: AckOptions::default(),
        })
    }

    /// The size of a source's bodies. Whether the memory limit allows it is checked with the limits.
    fn body_bytes_max(&mut self, file: &SourceFile, channel: Option<&Channel>, at: &Path) -> Option<usize> {
        let size = file.body_bytes_max?;
        if matches!(channel, Some(Channel::Sqs(_))) {
            let label = "SQS limits the messages of a queue, so this value is never used".into();
            self.warning(&at.key("body_bytes_max"), "`body_bytes_max` without effect", label);
        }
        usize::try_from(size.0).ok()
    }

    fn report_unknown(&mut self, provider: &str, at: &Path, definitions: &Definitions) {
        // One of the file's own providers that did not compile has been reported already.
        if self.places.has(&Path::default().key("providers").key(provider)) {
            return;
        }
        let names: Vec<&str> = definitions.keys().map(String::as_str).collect();
        let meant = did_you_mean(provider, names.iter().copied());
        let label = format!("this provider is neither built in nor under `providers`{meant}");
        let note = format!("known providers: {}", names.join(", "));
        self.error(&at.key("provider"), &format!("unknown provider `{provider}`"), label).notes.push(note);
    }

    /// Reports secrets that cannot be read, if their form cannot be checked.
    fn fetch_secrets(&mut self, file: &SourceFile, at: &Path) {
        for (index, secret) in file.secrets.iter().enumerate() {
            let at = at.index(index);
            match secret {
                SecretEntryFile::Always(reference) => self.secret(reference, &at),
                SecretEntryFile::Dated(dated) => {
                    dated.secret.as_ref().and_then(|reference| self.secret(reference, &at.key("secret")))
                }
            };
        }
    }

    fn secrets(&mut self, file: &SourceFile, at: &Path, definition: &Definition) -> Vec<SourceSecret> {
        if file.secrets.is_empty() && !self.places.has_inside(at) {
            self.report_no_secrets(at, definition);
        } else if !definition.is_verified() {
            let provider = &definition.provider;
            let label = format!("provider `{provider}` has no signature, so these secrets are never used");
            self.warning(at, "unused secrets", label);
        }
        let mut fingerprints = HashSet::new();
        let mut secrets = Vec::new();
        for (index, secret) in file.secrets.iter().enumerate() {
            let at = at.index(index);
            let Some(secret) = self.signing_secret(secret, &at, definition) else { continue };
            if !fingerprints.insert(secret.secret.fingerprint().to_owned()) {
                self.warning(&at, "duplicate secret", "this secret is the same as one above".into());
            }
            secrets.push(secret);
        }
        self.check_live(&secrets, at);
        secrets
    }

    /// Warns if none of the secrets is valid now. This is no error, because one can become valid
    /// later.
    fn check_live(&mut self, secrets: &[SourceSecret], at: &Path) {
        let now = self.outside.now;
        if !secrets.is_empty() && !secrets.iter().any(|secret| secret.secret.is_live(now)) {
            let label = "each secret has expired or is not valid yet: until one is valid, every delivery is \
                         answered 401";
            self.warning(at, "no secret is valid now", label.into());
        }
    }

    fn report_no_secrets(&mut self, at: &Path, definition: &Definition) {
        let provider = &definition.provider;
        if definition.probes() && definition.is_verified() {
            let label = "until a secret is added, only the provider's probe gets a 2xx".into();
            self.warning(at, "source without secrets", label);
        } else if definition.is_verified() {
            let label = format!("`{provider}` signs its deliveries; expected `secrets: [env:NAME]`");
            self.error(at, "source without secrets", label);
        }
    }

    fn signing_secret(
        &mut self,
        file: &SecretEntryFile,
        at: &Path,
        definition: &Definition,
    ) -> Option<SourceSecret> {
        let (reference, at_reference, not_before, not_after) = match file {
            SecretEntryFile::Always(reference) => (reference, at.clone(), None, None),
            SecretEntryFile::Dated(dated) => (
                dated.secret.as_ref()?,
                at.key("secret"),
                self.moment(dated.not_before.as_deref(), &at.key("not_before")),
                self.moment(dated.not_after.as_deref(), &at.key("not_after")),
            ),
        };
        let text = self.secret(reference, &at_reference)?;
        let kept = kept_in(reference);
        match SigningSecret::parse(text.expose_secret(), definition.secret_form(), not_before, not_after) {
            Ok(secret) => {
                self.warn_of_oddities(text.expose_secret(), &kept, definition, &at_reference);
                if secret.is_short() {
                    let label = format!("the secret in {kept} has fewer than 24 bytes");
                    self.warning(&at_reference, "short secret", label);
                }
                Some(SourceSecret { kept: reference.clone(), secret })
            }
            Err(problem) => {
                self.error(&at_reference, "unusable secret", format!("{kept}: {problem}"));
                None
            }
        }
    }

    /// Warns about parts of a secret that are probably not meant to belong to it: every delivery
    /// would get 401.
    fn warn_of_oddities(&mut self, text: &str, kept: &str, definition: &Definition, at: &Path) {
        if let Some(oddity) = provider::secret_oddity(text) {
            let label = format!("{kept} contains {oddity}, which counts as part of the secret");
            self.warning(at, "suspicious secret", label);
        }
        if definition.secret_form().is_api_key(text) {
            let label =
                format!("{kept} contains an API key; an endpoint's signing secret begins with `whsec_`");
            self.error(at, "not a signing secret", label);
        }
    }

    fn moment(&mut self, text: Option<&str>, at: &Path) -> Option<Timestamp> {
        let text = text?;
        let moment = Timestamp::from_rfc3339(text);
        if moment.is_none() {
            let label = "expected a date and time such as `2026-11-21T06:40:00Z`".into();
            self.error(at, "not a date and time", label);
        }
        moment
    }
}

/// Adds the sources' custom types to the definitions of providers that state the type in a header,
/// where it is part of an event's id. It is added for all sources of the provider, so that an event
/// has the same id from each of them.
pub(in crate::config) fn expect_custom_types(definitions: &mut Definitions, file: &ConfigFile) {
    for source in file.sources.values().filter(|source| !source.custom_types.is_empty()) {
        let definition = source.provider.as_ref().and_then(|provider| definitions.get_mut(provider));
        if let Some(definition) = definition.filter(|definition| definition.type_header().is_some()) {
            Arc::make_mut(definition).expect_types(source.custom_types.iter().cloned());
        }
    }
}

/// A phrase for where a secret is kept.
fn kept_in(reference: &Reference) -> String {
    match reference {
        Reference::Env(name) => format!("environment variable `{name}`"),
        Reference::File(path) => path.display().to_string(),
        Reference::Aws(secret) => secret.to_string(),
    }
}
