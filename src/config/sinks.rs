//! The checks of sinks: one kind each, properties that keep the guarantees, topics that exist.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::file::{ByName, ConfigFile, KafkaFile, KafkaTlsFile, OutputFile, SaslFile, SinkFile};
use super::load::Check;
use super::place::Path;
use super::select::KnownTypes;
use super::text::{Setting, Size};
use super::topics::topics;
use super::{FileConfig, KafkaConfig, Output, SinkConfig, SourceConfig};
use crate::routing::{TopicTemplate, kafka_topic_problem};
use crate::selection::Selection;
use crate::sink::kafka;

/// The sink that is used when none is configured.
const DEFAULT_SINK: &str = "local";

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
    pub(super) fn sinks(&mut self, file: &ConfigFile, around: &Around<'_>) -> Vec<SinkConfig> {
        let at = Path::default().key("sinks");
        if file.sinks.is_empty() && !self.places.has_inside(&at) {
            let dir = OutputFile::default().dir;
            let label = format!("events go to the file sink `{DEFAULT_SINK}`, into {dir}");
            self.warning(&at, "no sink is configured", label);
            let sink = SinkFile { file: Some(OutputFile::default()), ..SinkFile::default() };
            return self.sink(DEFAULT_SINK, &sink, &at.key(DEFAULT_SINK), around).into_iter().collect();
        }
        let mut sinks = Vec::new();
        let mut dirs = BTreeMap::from([(file.spool.dir.as_str(), "the spool".to_owned())]);
        for (name, sink) in &file.sinks {
            let at = at.key(name);
            if let Some(output) = &sink.file
                && let Some(owner) = dirs.insert(&output.dir, format!("sink `{name}`"))
            {
                let label = format!("{owner} already writes to {}", output.dir);
                self.error(&at.key("file").key("dir"), "one directory for two", label);
            }
            self.check_name(&at, name);
            sinks.extend(self.sink(name, sink, &at, around));
            self.check_within(&sink.select, &at.key("select"), around.selection, around.known);
        }
        sinks
    }

    fn sink(&mut self, name: &str, file: &SinkFile, at: &Path, around: &Around<'_>) -> Option<SinkConfig> {
        let selection = self.selection(&file.select, &at.key("select"), around.known);
        let topic = match TopicTemplate::parse(&file.topic) {
            Ok(topic) => {
                self.check_topics(&topic, &selection, &at.key("topic"), around);
                Some(topic)
            }
            Err(problem) => {
                self.error(&at.key("topic"), "a topic template that cannot be used", problem.to_string());
                None
            }
        };
        let output = match (&file.kafka, &file.file) {
            (Some(kafka), None) => self.kafka(kafka, &at.key("kafka")).map(Output::Kafka),
            (None, Some(file)) => self.file(file, &at.key("file")).map(Output::File),
            (Some(_), Some(_)) => {
                let label = "`kafka` and `file` are two sinks; give each a name of its own".into();
                self.error_at_key(at, "a sink of two kinds", label);
                None
            }
            (None, None) if self.places.has(&at.key("kafka")) || self.places.has(&at.key("file")) => None,
            (None, None) => {
                self.error_at_key(at, "a sink of no kind", "expected `kafka` or `file` under it".into());
                None
            }
        };
        Some(SinkConfig { name: name.into(), topic: topic?, selection, output: output? })
    }

    fn file(&mut self, file: &OutputFile, at: &Path) -> Option<FileConfig> {
        self.at_least(&at.key("rotate_bytes"), file.rotate_bytes, Size(64 << 10));
        if file.dir.is_empty() {
            self.error(&at.key("dir"), "no directory", "expected the path of a directory".into());
        }
        Some(FileConfig { dir: file.dir.clone().into(), rotate_bytes: file.rotate_bytes.0 })
    }

    fn kafka(&mut self, file: &KafkaFile, at: &Path) -> Option<KafkaConfig> {
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

    /// Reports topics that could be produced and that no broker would take.
    fn check_topics(
        &mut self,
        template: &TopicTemplate,
        selection: &Selection,
        at: &Path,
        around: &Around<'_>,
    ) {
        let topics = topics(around.sources, around.selection, selection, template);
        let mut names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        // Without a source that can be read, the template's own text can still be judged.
        let stand_in = template.render("provider", "family", "source");
        if names.is_empty() {
            names.push(&stand_in);
        }
        let mut wrong = names
            .iter()
            .filter_map(|name| kafka_topic_problem(name).map(|problem| format!("`{name}`: {problem}")));
        if let Some(label) = wrong.next() {
            let others = wrong.count();
            let problem = self.error(at, "a topic that cannot exist", label);
            problem.notes.extend((others > 0).then(|| format!("and {others} more of this sink's topics")));
        } else if let Some((one, other)) = colliding(names.into_iter()) {
            let label =
                format!("`{one}` and `{other}` differ only in `.` and `_`, which a broker cannot tell apart");
            self.error(at, "topics that collide", label);
        }
    }
}

/// What a sink is checked against.
pub(super) struct Around<'a> {
    /// The bridge's own selection.
    pub selection: &'a Selection,
    /// Where events come from.
    pub sources: &'a [SourceConfig],
    /// Which types these can bring.
    pub known: &'a KnownTypes,
}

/// Two topics that a broker would refuse to keep side by side.
fn colliding<'t>(topics: impl Iterator<Item = &'t str>) -> Option<(&'t str, &'t str)> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for topic in topics {
        match seen.insert(topic.replace('.', "_"), topic) {
            Some(other) if other != topic => return Some((other, topic)),
            _ => {}
        }
    }
    None
}
