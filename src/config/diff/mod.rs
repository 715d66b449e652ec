//! What a configuration changes of the one before: what a running bridge takes over, and what needs a
//! restart (pure).
//!
//! Values are compared as they are asked for, with their defaults, so that neither their order in the file
//! nor the limit of open files is a change. What the files and AWS hold that a source's `secrets` name
//! is none either: that is read again and again by itself.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value as Json;

use super::Config;
use crate::admin::effective::{inside, is_leaf};
use crate::sink::kafka::BearerToken;
use crate::sink::{Output, SinkOptions};
use crate::source::sns::RawDelivery;
use crate::source::{Channel, SourceOptions};

/// The blocks that a running bridge can take over. Every other one needs a restart.
const LIVE: [&str; 6] = ["providers", "sources", "select", "sinks", "ack", "reload_on_change"];
/// The keys of a sink that decide which events it takes, and where each goes.
const RULES: [&str; 2] = ["select", "topic"];
/// The key of a sink that counts only once, when the sink is new.
const BEGIN: &str = "from";

/// Why a restart is needed where nothing of the file says so.
const OTHER_CONTENT: &str = "what it names holds another value";

/// What a configuration changes of the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Which sources come, go and change.
    pub sources: NamedChanges,
    /// Which sinks come, go and change.
    pub sinks: NamedChanges,
    /// The sinks of which only the selection or the topics change. They are not among the changed ones.
    pub only_rules: BTreeSet<String>,
    /// What needs a restart. If there is any, nothing is taken over.
    pub restart: Vec<NeedsRestart>,
    /// Every value that changes, for people.
    pub values: Vec<ChangedValue>,
}

/// Which of the things that have names come, go, change and stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedChanges {
    /// Those that the former configuration does not have.
    pub added: BTreeSet<String>,
    /// Those that only the former configuration has.
    pub removed: BTreeSet<String>,
    /// Those that both have, in different forms.
    pub changed: BTreeSet<String>,
    /// Those that stay as they are.
    pub unchanged: BTreeSet<String>,
}

/// A value that is another one than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedValue {
    /// Its path, such as `sinks.lake.topic`.
    pub path: String,
    /// Where it is written: file, line and column; `None` if it is not written any more, or never was.
    pub line: Option<String>,
    /// What happens to it.
    pub change: ChangeKind,
}

/// What happens to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It is another one.
    Changed,
}

/// A change that a running bridge cannot take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeedsRestart {
    /// The path of the value, such as `http.listen`.
    pub path: String,
    /// Where it is written: file, line and column; `None` if it is not written any more.
    pub line: Option<String>,
    /// What changes, and why that needs a restart.
    pub what: String,
}

impl ChangeKind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

impl Changes {
    /// Whether nothing changes but the text, such as comments and the order of keys.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.restart.is_empty()
    }
}

impl NamedChanges {
    fn of<'n>(old: impl Iterator<Item = &'n str>, new: impl Iterator<Item = &'n str>) -> Self {
        let [old, new]: [BTreeSet<String>; 2] =
            [old.map(str::to_owned).collect(), new.map(str::to_owned).collect()];
        Self { added: &new - &old, removed: &old - &new, changed: BTreeSet::new(), unchanged: &new & &old }
    }

    fn change(&mut self, name: &str) {
        if self.unchanged.remove(name) {
            self.changed.insert(name.to_owned());
        }
    }

    /// The names of what comes, goes or changes.
    pub fn touched(&self) -> impl Iterator<Item = &String> {
        self.added.iter().chain(&self.removed).chain(&self.changed)
    }
}

/// What `new` changes of `old`.
pub fn diff(old: &Config, new: &Config) -> Changes {
    let [before, after] = [old.effective.asked(), new.effective.asked()];
    let mut compared = Compared { old, new, before: &before, after: &after, changes: Changes::default() };
    compared.values();
    compared.restarts();
    compared.sources();
    compared.sinks();
    compared.acknowledgements();
    compared.changes
}

/// Two configurations, and what was found of them so far.
struct Compared<'c> {
    old: &'c Config,
    new: &'c Config,
    before: &'c Json,
    after: &'c Json,
    changes: Changes,
}

impl Compared<'_> {
    /// Lists every value that changes.
    fn values(&mut self) {
        let mut found = Vec::new();
        differences(Some(self.before), Some(self.after), "", &mut found);
        self.changes.values = found
            .into_iter()
            .map(|(path, change)| ChangedValue { line: self.line(&path), path, change })
            .collect();
    }

    /// Where the key at this path is written now.
    fn line(&self, path: &str) -> Option<String> {
        self.new.origins.line(path)
    }

    fn needs_restart(&mut self, path: &str, what: impl Into<String>) {
        let line = self.line(path);
        self.changes.restart.push(NeedsRestart { path: path.to_owned(), line, what: what.into() });
    }

    /// Notes a value that is another one though the text is the same.
    fn other_content(&mut self, path: &str) {
        let line = self.line(path);
        self.changes.values.push(ChangedValue { path: path.to_owned(), line, change: ChangeKind::Changed });
    }

    fn restarts(&mut self) {
        let fixed: Vec<_> =
            self.changes.values.iter().filter(|value| !is_live(&value.path)).cloned().collect();
        for ChangedValue { path, change, .. } in fixed {
            let was = written(at(self.before, &path)).unwrap_or_else(|| "nothing".to_owned());
            let what = match change {
                ChangeKind::Removed => format!("it is taken away, and was {was}"),
                ChangeKind::Added | ChangeKind::Changed => {
                    format!("it counts from the start on, and was {was}")
                }
            };
            self.needs_restart(&path, what);
        }
        let (old, new) = (&self.old.admin, &self.new.admin);
        for (path, old, new) in [
            ("admin.token", &old.token, &new.token),
            ("admin.metrics_token", &old.metrics_token, &new.metrics_token),
        ] {
            let is_same = is_same_secret(old.as_ref(), new.as_ref());
            if !is_same && at(self.before, path) == at(self.after, path) {
                self.needs_restart(path, OTHER_CONTENT);
            }
        }
    }

    fn sources(&mut self) {
        let [old, new] = [self.old, self.new].map(|config| config.sources.iter().map(|source| &*source.name));
        self.changes.sources = NamedChanges::of(old, new);
        for old in &self.old.sources {
            let Some(new) = self.new.sources.iter().find(|new| new.name == old.name) else { continue };
            let path = inside("sources", &old.name);
            if !has_same_content(old, new) {
                self.other_content(&inside(&path, "sns.raw.password"));
                self.changes.sources.change(&old.name);
            }
            let provider = inside("providers", &old.definition.provider);
            let is_same = self.is_same(&path)
                && self.is_same(&provider)
                && old.definition.custom_types() == new.definition.custom_types();
            if !is_same {
                self.changes.sources.change(&old.name);
            }
        }
    }

    fn is_same(&self, path: &str) -> bool {
        at(self.before, path) == at(self.after, path)
    }

    fn sinks(&mut self) {
        let [old, new] =
            [self.old, self.new].map(|config| config.sinks.iter().map(|sink| sink.name.as_str()));
        self.changes.sinks = NamedChanges::of(old, new);
        for old in &self.old.sinks {
            let Some(new) = self.new.sinks.iter().find(|new| new.name == old.name) else { continue };
            let path = inside("sinks", &old.name);
            if let Some(property) = property_with_other_content(old, new) {
                let block = inside(&path, "kafka");
                if self.is_same(&block) {
                    self.other_content(&inside(&block, &property));
                }
                self.changes.sinks.change(&old.name);
                continue;
            }
            let changed: Vec<&str> = self.changed_keys(&path).filter(|key| *key != BEGIN).collect();
            let (is_same, are_rules) = (changed.is_empty(), changed.iter().all(|key| RULES.contains(key)));
            if !are_rules || !is_same_client(&old.output, &new.output) {
                self.changes.sinks.change(&old.name);
            } else if !is_same {
                self.changes.only_rules.insert(old.name.clone());
                self.changes.sinks.unchanged.remove(&old.name);
            }
        }
    }

    /// The keys of a block that both have, whose values are different.
    fn changed_keys(&self, path: &str) -> impl Iterator<Item = &str> {
        let blocks = [self.before, self.after].map(|values| at(values, path).and_then(Json::as_object));
        let [before, after] = blocks;
        let keys = blocks.into_iter().flatten().flat_map(|block| block.keys());
        let value = |block: Option<&serde_json::Map<String, Json>>, key: &str| block?.get(key).cloned();
        keys.filter(move |key| value(before, key) != value(after, key)).map(String::as_str)
    }

    /// Sinks that answers wait for, and which these are, stay as they are until a restart: a delivery that
    /// waits would wait for another sink than the one it was stored for.
    fn acknowledgements(&mut self) {
        const WAITS: &str = "answers wait for this sink, so it changes with a restart only";
        const WHICH: &str = "which sinks answers wait for, and how long, changes with a restart only";
        let [old, new] = [awaited(self.old), awaited(self.new)];
        let both = &old | &new;
        let sinks = self.changes.sinks.touched().chain(&self.changes.only_rules);
        let touched: Vec<String> = sinks.filter(|sink| both.contains(sink.as_str())).cloned().collect();
        for sink in touched {
            self.needs_restart(&inside("sinks", &sink), WAITS);
        }
        let mut changed: BTreeSet<String> = BTreeSet::new();
        for source in &self.old.sources {
            let now = self.new.sources.iter().find(|now| now.name == source.name);
            if now.is_some_and(|now| now.ack != source.ack) {
                changed.insert(self.path_of_ack(&source.name));
            }
        }
        if changed.is_empty() && old != new {
            let touched = self.changes.sources.touched();
            changed.extend(touched.map(|source| self.path_of_ack(source)));
        }
        for path in changed {
            self.needs_restart(&path, WHICH);
        }
    }

    /// The block that says which sinks the answers of a source wait for.
    fn path_of_ack(&self, source: &str) -> String {
        let own = format!("sources.{source}.ack");
        let has_own = [self.before, self.after].iter().any(|values| at(values, &own).is_some());
        if has_own { own } else { "ack".to_owned() }
    }
}

/// Whether a running bridge can take over a change at this path.
fn is_live(path: &str) -> bool {
    LIVE.contains(&path.split('.').next().unwrap_or_default())
}

/// The value at a path. No key of the blocks that are asked for has a full stop.
fn at<'v>(values: &'v Json, path: &str) -> Option<&'v Json> {
    path.split('.').try_fold(values, |block, key| block.get(key))
}

/// A value as it is written; of a secret there is the reference.
fn written(value: Option<&Json>) -> Option<String> {
    value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// The paths at which two configurations differ. A block that only one of them has is one difference.
fn differences(old: Option<&Json>, new: Option<&Json>, path: &str, found: &mut Vec<(String, ChangeKind)>) {
    let change = match (old, new) {
        (Some(old), Some(new)) if old == new => return,
        (Some(old), Some(new)) if !is_leaf(old) && !is_leaf(new) => {
            let keys: BTreeSet<&String> =
                [old, new].into_iter().filter_map(Json::as_object).flat_map(|block| block.keys()).collect();
            for key in keys {
                differences(old.get(key), new.get(key), &inside(path, key), found);
            }
            return;
        }
        (None, Some(_)) => ChangeKind::Added,
        (Some(_), None) => ChangeKind::Removed,
        _ => ChangeKind::Changed,
    };
    found.push((path.to_owned(), change));
}

/// The sinks that the answers of some source wait for.
fn awaited(config: &Config) -> BTreeSet<&str> {
    config.sources.iter().flat_map(|source| &source.ack.after).map(String::as_str).collect()
}

fn is_same_secret(old: Option<&SecretString>, new: Option<&SecretString>) -> bool {
    old.map(ExposeSecret::expose_secret) == new.map(ExposeSecret::expose_secret)
}

/// Whether the files hold the same that a source names and that nothing else reads again.
fn has_same_content(old: &SourceOptions, new: &SourceOptions) -> bool {
    match (&old.channel, &new.channel) {
        (Channel::Sns(old), Channel::Sns(new)) => {
            let password = |raw: &Option<RawDelivery>| raw.as_ref().map(|raw| raw.password.clone());
            is_same_secret(password(&old.raw).as_ref(), password(&new.raw).as_ref())
        }
        _ => true,
    }
}

/// The key in a block `kafka` whose value is another one, in the file or behind its reference.
fn property_with_other_content(old: &SinkOptions, new: &SinkOptions) -> Option<String> {
    let (Output::Kafka(old), Output::Kafka(new)) = (&old.output, &new.output) else { return None };
    let values = |properties: &[(String, SecretString)]| -> BTreeMap<String, String> {
        properties.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect()
    };
    let [before, after] = [values(&old.properties), values(&new.properties)];
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    if let Some(name) = names.into_iter().find(|name| before.get(*name) != after.get(*name)) {
        return Some(format!("properties.{name}"));
    }
    if old.brokers != new.brokers {
        return Some("brokers".to_owned());
    }
    let fixed = |token: &Option<BearerToken>| match token {
        Some(BearerToken::Fixed(token)) => Some(token.expose_secret().to_owned()),
        Some(BearerToken::File(_) | BearerToken::MskIam(_)) | None => None,
    };
    (fixed(&old.token) != fixed(&new.token)).then(|| "sasl.token".to_owned())
}

/// Whether one client can publish for both: that of an SNS sink belongs to the region of its topics.
fn is_same_client(old: &Output, new: &Output) -> bool {
    match (old, new) {
        (Output::Sns(old), Output::Sns(new)) => old.region == new.region,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
