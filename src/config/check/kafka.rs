//! The checks of a Kafka sink: its brokers, TLS, credentials and properties.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use secrecy::SecretString;

use super::Check;
use crate::aws::msk::region_of_broker;
use crate::config::UNREAD_HOST;
use crate::config::file::{KafkaFile, KafkaTlsFile, Mechanism, SaslFile};
use crate::config::yaml::spans::Path;
use crate::reference::{FORMS, Reference};
use crate::scalars::Setting;
use crate::sink::kafka;
use crate::sink::kafka::{BearerToken, KafkaOptions, MskIam};

/// Properties whose values are secrets and must be references.
const SECRET_PROPERTIES: [&str; 4] =
    ["sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.key.pem"];

impl Check<'_> {
    pub(in crate::config) fn kafka(&mut self, file: &KafkaFile, at: &Path) -> Option<KafkaOptions> {
        let mut properties = BTreeMap::new();
        let token = self.security(file, &mut properties, at);
        let uses_iam = file.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == Mechanism::AwsMskIam);
        self.properties(&file.properties, &mut properties, &at.key("properties"));
        let brokers = self.brokers(file.brokers.as_ref()?, &at.key("brokers"))?;
        let properties = properties.into_iter().collect();
        let mut config = KafkaOptions { brokers, properties, token, structured: file.structured };
        if uses_iam {
            self.iam_needs_tls(file, &config, &at.key("sasl"));
            config.token = Some(BearerToken::MskIam(self.msk_iam(file, &config, at)));
        }
        if let Err(unusable) = kafka::check(&config) {
            self.error_at_key(at, "unusable Kafka sink", unusable.to_string());
        }
        Some(config)
    }

    fn brokers(&mut self, setting: &Setting, at: &Path) -> Option<String> {
        let text = self.setting(setting, at)?;
        if matches!(setting, Setting::Kept(kept) if self.is_unread(kept)) {
            return Some(format!("{UNREAD_HOST}:9092"));
        }
        let mut brokers: Vec<&str> = Vec::new();
        for broker in secrecy::ExposeSecret::expose_secret(&text).split(',').map(str::trim) {
            if let Err(instead) = check_broker(broker) {
                let problem = self.error(at, "not a list of brokers", EXPECTED.into());
                problem.notes.push(instead.into());
                return None;
            }
            if brokers.iter().any(|known| known.eq_ignore_ascii_case(broker)) {
                let label = "one broker is listed twice; is another one missing?".into();
                self.warning(at, "duplicate broker", label);
            } else {
                brokers.push(broker);
            }
        }
        Some(brokers.join(","))
    }

    /// Turns `tls` and `sasl` into librdkafka properties. Returns the token, which is not a property.
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
        if file.tls.is_none() && sasl.mechanism != Mechanism::AwsMskIam {
            let label = "anybody on the network can read the events, and the password or token; add \
                         `tls: {}`";
            self.warning(&at, "SASL without TLS", label.into());
        }
        let token = Mechanism::OauthBearer;
        let mechanism = if sasl.mechanism == Mechanism::AwsMskIam { token } else { sasl.mechanism };
        properties.insert("sasl.mechanisms".into(), mechanism.name().into());
        match sasl.mechanism {
            Mechanism::OauthBearer => self.bearer_token(sasl, &at),
            Mechanism::AwsMskIam => {
                self.proof(sasl, &[], &["username", "password", "token"], &at);
                None
            }
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
            let label = "a client needs both `certificate` and `key`".into();
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
        self.proof(sasl, &["username", "password"], &["token", "region"], at);
        let username = sasl.username.as_ref().and_then(|name| self.setting(name, &at.key("username")));
        let password = sasl.password.as_ref().and_then(|kept| self.secret(kept, &at.key("password")));
        properties.extend(username.map(|username| ("sasl.username".into(), username)));
        properties.extend(password.map(|password| ("sasl.password".into(), password)));
    }

    fn bearer_token(&mut self, sasl: &SaslFile, at: &Path) -> Option<BearerToken> {
        self.proof(sasl, &["token"], &["username", "password", "region"], at);
        let (kept, at) = (sasl.token.as_ref()?, at.key("token"));
        let text = self.secret(kept, &at)?;
        let token = match kept {
            Reference::File(path) => BearerToken::File(path.clone()),
            Reference::Env(_) | Reference::Aws(_) => BearerToken::Fixed(text),
        };
        Some(token)
    }

    /// What makes the tokens for a cluster in the region that is written, or else that of its brokers' names.
    fn msk_iam(&mut self, file: &KafkaFile, config: &KafkaOptions, at: &Path) -> Arc<MskIam> {
        let written = file.sasl.as_ref().and_then(|sasl| sasl.region.clone());
        let brokers = config.broker_addresses();
        let named = brokers.iter().find_map(|(host, _)| region_of_broker(host)).map(str::to_owned);
        let at = at.key("sasl").key("region");
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match (&written, &named) {
            (Some(region), _) if !region.contains('-') || !region.chars().all(fits) => {
                self.error(&at, "not a region", "expected a region such as `eu-west-1`".into());
            }
            (Some(region), Some(named)) if region != named => {
                let label = format!("the brokers' names have the region `{named}`");
                self.error(&at, "two regions for one cluster", label);
            }
            _ => {}
        }
        MskIam::new(self.aws.clone(), written.or(named))
    }

    /// Reports tokens of IAM that would cross the network in the clear. MSK takes none of those, and whoever
    /// sees one is the bridge's role at every cluster of its region until the token ends.
    fn iam_needs_tls(&mut self, file: &KafkaFile, config: &KafkaOptions, at: &Path) {
        let is_here = |(host, _): &(String, u16)| {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        if file.tls.is_none() && !config.broker_addresses().iter().all(is_here) {
            let label = "whoever sees a token on its way can use it for 15 minutes; add `tls: {}`";
            self.error(at, "AWS_MSK_IAM without TLS", label.into());
        }
    }

    /// Reports keys that the mechanism needs and that are missing, and keys that it does not use.
    fn proof(&mut self, sasl: &SaslFile, needed: &[&str], idle: &[&str], at: &Path) {
        let mechanism = sasl.mechanism.name();
        let given = |key: &str| match key {
            "username" => sasl.username.is_some(),
            "password" => sasl.password.is_some(),
            "region" => sasl.region.is_some(),
            _ => sasl.token.is_some(),
        };
        for key in needed.iter().filter(|key| !given(key)) {
            if !self.is_reported(&at.key(key)) {
                self.error_at_key(at, &format!("missing key `{key}`"), format!("{mechanism} needs `{key}`"));
            }
        }
        for key in idle.iter().filter(|key| given(key)) {
            let label = match needed {
                [] => format!("{mechanism} does not use this key: it uses the AWS credentials"),
                needed => {
                    format!("{mechanism} does not use this key: it needs `{}`", needed.join("` and `"))
                }
            };
            self.error_at_key(&at.key(key), &format!("unused key `{key}`"), label);
        }
    }

    /// Whether a problem was reported for this value.
    fn is_reported(&self, at: &Path) -> bool {
        let path = at.to_string();
        self.report.problems().iter().any(|problem| problem.path == path)
    }

    fn properties(
        &mut self,
        file: &BTreeMap<String, Setting>,
        properties: &mut BTreeMap<String, SecretString>,
        at: &Path,
    ) {
        for (name, setting) in file {
            let at = at.key(name);
            if let Some(instead) = kafka::decided(name) {
                self.error_at_key(&at, &format!("`{name}` cannot be set"), instead.into());
            } else if properties.contains_key(name) {
                let label = "`tls` and `sasl` already set this property".into();
                self.error_at_key(&at, &format!("`{name}` is set twice"), label);
            } else if SECRET_PROPERTIES.contains(&name.as_str()) && matches!(setting, Setting::Text(_)) {
                let label = format!("write a secret as {FORMS}, never the secret itself");
                self.error(&at, &format!("`{name}` in plain text"), label);
            } else if let Setting::Kept(kept) = setting
                && self.is_unread(kept)
            {
                self.secret(kept, &at);
            } else if let Some(value) = self.setting(setting, &at) {
                if let Err(unusable) = kafka::check_property(name, &value) {
                    self.error_at_key(&at, &format!("`{name}` cannot be used"), unusable.problem);
                    continue;
                }
                if name == "enable.ssl.certificate.verification" && setting.to_string() != "true" {
                    let label = "anybody on the network can then pose as the broker".into();
                    self.warning(&at, "brokers are not verified", label);
                }
                properties.insert(name.clone(), value);
            }
        }
    }
}

const EXPECTED: &str = "expected `host:port,host:port,…`";

/// Checks that a text is `host:port`, the host a name or an address. The error says what to write
/// instead, and repeats no part of the text, which could come from a file of secrets.
fn check_broker(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("there is a comma too many, or no broker at all");
    }
    if text.contains("://") {
        return Err("write brokers without a scheme: `tls` and `sasl` say how they are reached");
    }
    if text.contains(char::is_whitespace) {
        return Err("write no white space within a broker, and a comma between two brokers");
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("write each broker with its port, such as `kafka.example:9092`");
    };
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match in_brackets {
        // A zone is written after the address: `fe80::1%eth0`.
        Some(address) => {
            let (address, zone) = address.split_once('%').unwrap_or((address, "0"));
            if address.parse::<Ipv6Addr>().is_err() || zone.is_empty() {
                return Err("write only an IPv6 address in brackets, such as `[::1]:9092`");
            }
        }
        None if host.contains(':') => {
            return Err("write an IPv6 address in brackets, such as `[::1]:9092`");
        }
        None => check_host(host)?,
    }
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if is_number => Ok(()),
        _ => Err("write a port from 1 to 65535"),
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    const NAME: &str = "a host is a name of letters, digits, `-`, `_` and `.`, or an address; \
        write a name in another alphabet in its ASCII form (`xn--…`)";
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut labels = host.strip_suffix('.').unwrap_or(host).split('.');
    if !labels.clone().all(|label| !label.is_empty() && label.chars().all(fits)) {
        return Err(NAME);
    }
    // A host that ends in a number is read as an address, in forms that nobody expects.
    let ends_in_number =
        labels.next_back().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if ends_in_number && host.parse::<Ipv4Addr>().is_err() {
        return Err("an IPv4 address has four numbers up to 255, such as `10.0.0.1:9092`");
    }
    Ok(())
}
