//! A configuration for who only looks at it: where it is tested, or a policy or a list of topics is made, the
//! secrets of the bridge are not, and are not needed.
//!
//! What a reference leads to is used if it is there. Something of the expected form stands for it if it is
//! not, so everything else of the file is checked as ever. Such a configuration must not run: anybody can
//! compute what stands for a secret.
//!
//! Who asks the running bridge needs one of them: the token of its admin listener.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::Path as FilePath;

use sha2::{Digest, Sha256};

use super::load::{Loaded, load_bytes};
use super::yaml::tree::{self, Node, NodeValue};
use super::{Config, Environment, Report, UNREAD_HOST};
use crate::aws::secrets::UnreadSecret;
use crate::reference::{AwsSecret, Reference, is_reference};

/// A configuration to look at.
#[derive(Debug)]
pub struct LookedAt {
    /// The configuration, in which something stands for what could not be read.
    pub config: Config,
    /// The warnings about what was probably not meant.
    pub warnings: Report,
    /// The references that are written in it, such as `env:NAME`.
    pub references: BTreeSet<String>,
    /// Those of them that lead to nothing that can be read here, and `file:PATH` of each other such file.
    pub absent: BTreeSet<String>,
}

/// Why nobody can ask the running bridge by a configuration.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It has errors.
    #[error("the configuration has errors and cannot be used")]
    Refused(#[from] Report),
    /// AWS keeps the token of the admin listener and does not show it.
    #[error("cannot read `admin.token`, {secret}: {}", .source.problem)]
    Token {
        /// Where it is kept.
        secret: AwsSecret,
        /// What AWS says.
        source: UnreadSecret,
    },
}

/// A reference, and the key in whose value it stands.
struct Written {
    key: String,
    reference: String,
}

impl Written {
    /// Something of the form that the key's value has. Two references are two secrets, and hexadecimal digits
    /// are one in every encoding.
    fn stand_in(&self) -> String {
        match self.key.as_str() {
            "brokers" => format!("{UNREAD_HOST}:9092"),
            "redis" => format!("rediss://{UNREAD_HOST}:6379"),
            _ => hex::encode(Sha256::digest(&self.reference)),
        }
    }
}

/// Loads a configuration to look at it. `origin` names it in messages.
///
/// # Errors
/// With what is wrong with it, apart from references that lead nowhere.
pub fn load_to_look(origin: &str, bytes: &[u8], outside: &Environment<'_>) -> Result<LookedAt, Report> {
    load_but(None, origin, bytes, outside)
}

/// The same for who asks the running bridge: `admin.token` has to lead somewhere. Blocks on the network if
/// AWS keeps the token.
///
/// # Errors
/// As for [`load_to_look`], and when the token cannot be read.
pub fn load_to_ask(origin: &str, bytes: &[u8], outside: &Environment<'_>) -> Result<LookedAt, AskError> {
    let token = std::str::from_utf8(bytes).ok().and_then(written_token);
    let mut looked = load_but(token.as_deref(), origin, bytes, outside)?;
    if let Some(Ok(Reference::Aws(secret))) = token.as_deref().map(str::parse) {
        let read = looked.config.aws_secret(&secret).map_err(|source| AskError::Token { secret, source })?;
        looked.config.admin.token = Some(read);
    }
    Ok(looked)
}

/// The reference to the admin token in a text.
fn written_token(text: &str) -> Option<String> {
    match &tree::parse(text).ok()?.get("admin")?.get("token")?.value {
        NodeValue::Scalar { text, .. } => Some(text.clone()),
        NodeValue::List(_) | NodeValue::Map(_) => None,
    }
}

/// Loads a configuration in which something stands for whatever is not there, but for one reference.
fn load_but(
    needed: Option<&str>,
    origin: &str,
    bytes: &[u8],
    outside: &Environment<'_>,
) -> Result<LookedAt, Report> {
    let mut written = Vec::new();
    // What cannot be parsed is reported by what loads it.
    if let Ok(tree) =
        std::str::from_utf8(bytes).map_err(drop).and_then(|text| tree::parse(text).map_err(drop))
    {
        collect(&tree, "", &mut written);
    }
    let is_needed = |reference: &str| needed == Some(reference);
    let absent = RefCell::new(BTreeSet::new());
    let stand_in = |reference: &str| {
        let found = written.iter().find(|one| one.reference == reference && !is_needed(reference))?;
        absent.borrow_mut().insert(reference.to_owned());
        Some(found.stand_in())
    };
    // In CI a secret that is kept from a branch is an empty variable.
    let env = |name: &str| {
        let reference = format!("env:{name}");
        let is_there = |value: &String| !value.is_empty() || is_needed(&reference);
        (outside.env)(name).filter(is_there).or_else(|| stand_in(&reference))
    };
    let read = |path: &FilePath| -> io::Result<Vec<u8>> {
        let reference = format!("file:{}", path.display());
        (outside.read)(path).or_else(|error| {
            if is_needed(&reference) {
                return Err(error);
            }
            absent.borrow_mut().insert(reference.clone());
            Ok(stand_in(&reference).unwrap_or_else(|| "stand-in".into()).into_bytes())
        })
    };
    let surroundings = Environment { env: &env, read: &read, now: outside.now };
    let Loaded { config, warnings } = load_bytes(origin, bytes, &surroundings)?;
    let absent = absent.take();
    let references = written.into_iter().map(|one| one.reference).collect();
    Ok(LookedAt { config, warnings, references, absent })
}

/// Notes the references in a value of this key. The tests have none: what stands there is sent as it is.
fn collect(node: &Node, key: &str, written: &mut Vec<Written>) {
    match &node.value {
        NodeValue::Scalar { text, .. } if is_reference(text) => {
            written.push(Written { key: key.into(), reference: text.clone() });
        }
        NodeValue::Scalar { .. } => {}
        NodeValue::List(items) => items.iter().for_each(|item| collect(item, key, written)),
        NodeValue::Map(entries) => {
            let entries = entries.iter().filter(|entry| !(key.is_empty() && entry.key == "tests"));
            entries.for_each(|entry| collect(&entry.node, &entry.key, written));
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::event::Timestamp;

    const TEXT: &str = "admin: { listen: \"0.0.0.0:9090\", token: \"file:/run/secrets/token\" }\n\
        http: { tls: { certificate: /a.pem, key: /b.pem } }\n\
        spool: { duplicates: { redis: env:REDIS_URL } }\n\
        sources:\n  a: { provider: stream, secrets: [env:OLD, { secret: env:NEW }] }\n\
        \x20 b: { provider: standard-webhooks, secrets: [env:B] }\n\
        \x20 c: { provider: own, secrets: [env:HEX] }\n\
        providers:\n  own: { signature: { scheme: hmac-sha256, header: x-sign, secret_encoding: hex }, \
        event: { type: { pointers: [/type] } }, families: { all: { types: { made: {} } } } }\n\
        sinks:\n  lake: { kafka: { brokers: env:BROKERS, sasl: { mechanism: PLAIN, username: u, \
        password: env:P }, tls: {} } }\n\
        tests:\n  - { name: a, source: a, body: { note: \"env:NOTE\" }, expect: {} }\n";

    fn look(text: &str) -> Result<LookedAt, Report> {
        let (env, read) = (|_: &str| None, |_: &FilePath| Err(io::ErrorKind::NotFound.into()));
        load_to_look("f", text.as_bytes(), &Environment { env: &env, read: &read, now: Timestamp(0) })
    }

    #[test]
    fn without_any_secret_the_rest_of_a_configuration_is_there_and_is_checked() {
        let looked = look(TEXT).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(looked.config.sources.len(), 3);
        assert_eq!(looked.config.sinks.len(), 1);
        assert!(looked.references.contains("env:BROKERS") && !looked.references.contains("env:NOTE"));
        let absent = "env:B env:BROKERS env:HEX env:NEW env:OLD env:P env:REDIS_URL file:/a.pem file:/b.pem \
            file:/run/secrets/token";
        assert_eq!(looked.absent.into_iter().collect::<Vec<_>>().join(" "), absent);
        let report = look(&TEXT.replace("provider: stream,", "provider: strem,"));
        let report = report.err().map(|report| report.to_string()).unwrap_or_default();
        assert!(report.contains("strem"), "{report}");
        assert!(look("sinks: {").is_err());
    }

    #[test]
    fn who_asks_the_bridge_needs_the_token_and_no_other_secret() {
        let token = |name: &str| (name == "T").then(|| "a-token-of-an-admin-listener".to_owned());
        let missing = |_: &FilePath| Err(io::ErrorKind::NotFound.into());
        let ask = |text: &str, env: &dyn Fn(&str) -> Option<String>| {
            let asked =
                load_to_ask("f", text.as_bytes(), &Environment { env, read: &missing, now: Timestamp(0) });
            match asked {
                Ok(looked) => Ok(looked.config.admin.token.map(|token| token.expose_secret().to_owned())),
                Err(AskError::Refused(report)) => Err(report.to_string()),
                Err(error) => Err(error.to_string()),
            }
        };
        let text = TEXT.replace("file:/run/secrets/token", "env:T");
        assert_eq!(ask(&text, &token), Ok(Some("a-token-of-an-admin-listener".into())));
        let unset = ask(&text, &|_| None).expect_err("nobody has the token");
        assert!(unset.contains("the environment variable `T` is not set"), "{unset}");
        assert!(!unset.contains("`OLD`"), "{unset}");
        let away = ask(TEXT, &token).expect_err("the file is not there");
        assert!(away.contains("/run/secrets/token"), "{away}");
        let without = TEXT.replace("listen: \"0.0.0.0:9090\", token: \"file:/run/secrets/token\"", "");
        assert_eq!(ask(&without, &|_| None), Ok(None));
    }
}
