//! The checks of a Kafka sink: brokers, how to reach them, properties that keep the guarantees.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::KafkaConfig;
use super::file::{ByName, KafkaFile, KafkaTlsFile, SaslFile};
use super::load::Check;
use super::place::Path;
use super::text::Setting;
use crate::sink::kafka;

/// Properties that hold a secret, and so are references.
const SECRET_PROPERTIES: [&str; 7] = [
    "sasl.password",
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.key.pem",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.assertion.private.key.passphrase",
];

impl Check<'_> {
    pub(super) fn kafka(&mut self, file: &KafkaFile, at: &Path) -> Option<KafkaConfig> {
        let mut properties = BTreeMap::new();
        self.security(file, &mut properties, at);
        self.properties(&file.properties, &mut properties, &at.key("properties"));
        let brokers = self.brokers(file.brokers.as_ref()?, &at.key("brokers"))?;
        let properties = properties.into_iter().collect();
        let config = KafkaConfig { brokers, properties, structured: file.structured };
        if let Err(unusable) = kafka::check(&config) {
            self.error_at_key(at, "a Kafka sink that cannot work", unusable.to_string());
        }
        Some(config)
    }

    fn brokers(&mut self, setting: &Setting, at: &Path) -> Option<String> {
        let text = self.setting(setting, at)?;
        let brokers = secrecy::ExposeSecret::expose_secret(&text).to_owned();
        for broker in brokers.split(',').map(str::trim) {
            let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none() {
                self.error(at, "not a list of brokers", "expected `host:port,host:port,…`".into());
                return None;
            }
        }
        Some(brokers)
    }

    /// The shorthands `tls` and `sasl` as librdkafka properties.
    fn security(&mut self, file: &KafkaFile, properties: &mut BTreeMap<String, SecretString>, at: &Path) {
        let protocol = match (&file.tls, &file.sasl) {
            (None, None) => return,
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        properties.insert("security.protocol".into(), protocol.into());
        if let Some(tls) = &file.tls {
            self.tls_properties(tls, properties, &at.key("tls"));
        }
        if let Some(sasl) = &file.sasl {
            self.sasl_properties(sasl, properties, &at.key("sasl"));
            if file.tls.is_none() {
                let label =
                    "the password and every event cross the network in the clear; add `tls: {}`".into();
                self.warning(&at.key("sasl"), "SASL without TLS", label);
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

    fn sasl_properties(
        &mut self,
        sasl: &SaslFile,
        properties: &mut BTreeMap<String, SecretString>,
        at: &Path,
    ) {
        properties.insert("sasl.mechanisms".into(), sasl.mechanism.name().into());
        let username = sasl.username.as_ref().and_then(|name| self.setting(name, &at.key("username")));
        let password = sasl.password.as_ref().and_then(|kept| self.secret(kept, &at.key("password")));
        properties.extend(username.map(|username| ("sasl.username".into(), username)));
        properties.extend(password.map(|password| ("sasl.password".into(), password)));
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
