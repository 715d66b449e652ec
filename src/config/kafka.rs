//! The checks of a Kafka sink: its brokers, how they are reached, who it is to them, and properties
//! that keep the guarantees.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::file::{ByName, KafkaFile, KafkaTlsFile, Mechanism, SaslFile};
use super::load::Check;
use super::place::Path;
use super::text::{Reference, Setting};
use super::{BearerToken, KafkaConfig};
use crate::sink::kafka;

/// Properties that hold a secret, and so are references.
const SECRET_PROPERTIES: [&str; 4] =
    ["sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.key.pem"];

impl Check<'_> {
    pub(super) fn kafka(&mut self, file: &KafkaFile, at: &Path) -> Option<KafkaConfig> {
        let mut properties = BTreeMap::new();
        let token = self.security(file, &mut properties, at);
        self.properties(&file.properties, &mut properties, &at.key("properties"));
        let brokers = self.brokers(file.brokers.as_ref()?, &at.key("brokers"))?;
        let properties = properties.into_iter().collect();
        let config = KafkaConfig { brokers, properties, token, structured: file.structured };
        if let Err(unusable) = kafka::check(&config) {
            self.error_at_key(at, "a Kafka sink that cannot work", unusable.to_string());
        }
        Some(config)
    }

    fn brokers(&mut self, setting: &Setting, at: &Path) -> Option<String> {
        let text = self.setting(setting, at)?;
        let brokers = secrecy::ExposeSecret::expose_secret(&text).to_owned();
        if brokers.split(',').all(|broker| is_broker(broker.trim())) {
            return Some(brokers);
        }
        let problem = self.error(at, "not a list of brokers", "expected `host:port,host:port,…`".into());
        if brokers.contains("://") {
            problem
                .notes
                .push("without a scheme: how brokers are reached is said by `tls` and `sasl`".into());
        }
        None
    }

    /// The shorthands `tls` and `sasl` as librdkafka properties; the token, which is none.
    fn security(
        &mut self,
        file: &KafkaFile,
        properties: &mut BTreeMap<String, SecretString>,
        at: &Path,
    ) -> Option<BearerToken> {
        let protocol = match (&file.tls, &file.sasl) {
            (None, None) => return None,
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        properties.insert("security.protocol".into(), protocol.into());
        if let Some(tls) = &file.tls {
            self.tls_properties(tls, properties, &at.key("tls"));
        }
        let (sasl, at) = (file.sasl.as_ref()?, at.key("sasl"));
        if file.tls.is_none() {
            let label = "who listens learns every event, and the password or the token; add `tls: {}`".into();
            self.warning(&at, "SASL without TLS", label);
        }
        properties.insert("sasl.mechanisms".into(), sasl.mechanism.name().into());
        match sasl.mechanism {
            Mechanism::OauthBearer => self.bearer_token(sasl, &at),
            Mechanism::Plain | Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                self.name_and_password(sasl, properties, &at);
                None
            }
        }
    }

    fn tls_properties(
        &mut self,
        tls: &KafkaTlsFile,
        properties: &mut BTreeMap<String, SecretString>,
        at: &Path,
    ) {
        for (key, property, path) in [
            ("ca", "ssl.ca.location", &tls.ca),
            ("certificate", "ssl.certificate.location", &tls.certificate),
            ("key", "ssl.key.location", &tls.key),
        ] {
            if let Some(path) = path.as_deref().and_then(|path| self.readable(path, &at.key(key))) {
                properties.insert(property.into(), path.to_string_lossy().into_owned().into());
            }
        }
        if tls.certificate.is_some() != tls.key.is_some() {
            let label = "a client's certificate and key go together".into();
            self.error_at_key(at, "half a client certificate", label);
        }
        let password = tls.key_password.as_ref().and_then(|kept| self.secret(kept, &at.key("key_password")));
        properties.extend(password.map(|password| ("ssl.key.password".into(), password)));
    }

    fn name_and_password(
        &mut self,
        sasl: &SaslFile,
        properties: &mut BTreeMap<String, SecretString>,
        at: &Path,
    ) {
        self.proof(sasl, &["username", "password"], &["token"], at);
        let username = sasl.username.as_ref().and_then(|name| self.setting(name, &at.key("username")));
        let password = sasl.password.as_ref().and_then(|kept| self.secret(kept, &at.key("password")));
        properties.extend(username.map(|username| ("sasl.username".into(), username)));
        properties.extend(password.map(|password| ("sasl.password".into(), password)));
    }

    fn bearer_token(&mut self, sasl: &SaslFile, at: &Path) -> Option<BearerToken> {
        self.proof(sasl, &["token"], &["username", "password"], at);
        let (kept, at) = (sasl.token.as_ref()?, at.key("token"));
        let text = self.secret(kept, &at)?;
        let token = match kept {
            Reference::File(path) => BearerToken::File(path.clone()),
            Reference::Env(_) => BearerToken::Fixed(text),
        };
        Some(token)
    }

    /// Reports what a mechanism needs and has not got, and what it has no use for.
    fn proof(&mut self, sasl: &SaslFile, needed: &[&str], idle: &[&str], at: &Path) {
        let mechanism = sasl.mechanism.name();
        let given = |key: &str| match key {
            "username" => sasl.username.is_some(),
            "password" => sasl.password.is_some(),
            _ => sasl.token.is_some(),
        };
        for key in needed.iter().filter(|key| !given(key)) {
            if !self.is_reported(&at.key(key)) {
                self.error_at_key(at, &format!("missing key `{key}`"), format!("{mechanism} needs `{key}`"));
            }
        }
        for key in idle.iter().filter(|key| given(key)) {
            let label = format!("{mechanism} has no use for it: it takes `{}`", needed.join("` and `"));
            self.error_at_key(&at.key(key), &format!("`{key}` in vain"), label);
        }
    }

    /// Whether a value was there that could not be read.
    fn is_reported(&self, at: &Path) -> bool {
        let path = at.to_string();
        self.report.problems().iter().any(|problem| problem.path == path)
    }

    fn properties(
        &mut self,
        file: &ByName<Setting>,
        properties: &mut BTreeMap<String, SecretString>,
        at: &Path,
    ) {
        for (name, setting) in file {
            let at = at.key(name);
            if let Some(instead) = kafka::decided(name) {
                self.error_at_key(&at, &format!("`{name}` cannot be set"), instead.into());
            } else if properties.contains_key(name) {
                let label = "`tls` and `sasl` above already say so".into();
                self.error_at_key(&at, &format!("`{name}` twice"), label);
            } else if SECRET_PROPERTIES.contains(&name.as_str()) && matches!(setting, Setting::Text(_)) {
                let label = "a secret is written `env:NAME` or `file:PATH`, never as itself".into();
                self.error(&at, &format!("`{name}` in the clear"), label);
            } else if let Some(value) = self.setting(setting, &at) {
                if let Err(unusable) = kafka::check_property(name, &value) {
                    self.error_at_key(&at, &format!("`{name}` cannot be used"), unusable.problem);
                    continue;
                }
                if name == "enable.ssl.certificate.verification" && setting.to_string() != "true" {
                    let label = "anybody on the way can then pose as the broker".into();
                    self.warning(&at, "brokers are not verified", label);
                }
                properties.insert(name.clone(), value);
            }
        }
    }
}

/// Whether a text is `host:port`, the host a name or an address.
fn is_broker(text: &str) -> bool {
    let is_host = |host: &str| {
        let letters = host.trim_matches(['[', ']']);
        !letters.is_empty() && letters.chars().all(|c| c.is_alphanumeric() || "-._:%".contains(c))
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port))
}
