//! A source's secrets as they are at this moment: what the configuration names, and of a file that was
//! replaced also what it held before, for a while.
//!
//! A delivery takes the set of its moment once. A file that is replaced makes a new set, which stands in
//! the old one's place from then on.

mod file;

use parking_lot::{Mutex, RwLock};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

pub use self::file::{WatchedSecretFile, follow_all};

use super::SourceSecret;
use crate::event::Timestamp;
use crate::provider::{Definition, SigningSecret};
use crate::reference::Reference;
use crate::telemetry::{Metrics, SourceSecret as Labels};

/// How long what a secret's file held before is taken after the file was replaced: deliveries that were
/// signed with it are still on their way, and the provider may be told of the new one later than the
/// bridge. A `not_after` in the configuration says it instead, for whatever the file holds or held.
const OVERLAP: Duration = Duration::from_secs(600);
/// The most former contents of one file that are taken at once; the oldest goes first. Each costs every
/// delivery of the source a signature, and a file that changes all the time is no rotation.
const FORMER_MAX: usize = 3;

/// The secrets of one source, over time.
#[derive(Debug)]
pub(super) struct Secrets {
    live: RwLock<Arc<Live>>,
    entries: Mutex<Vec<Entry>>,
    /// Where each is kept, and its name in metrics and logs.
    kept: Vec<(Reference, String)>,
}

/// The secrets of one moment, each with the counter of its deliveries.
#[derive(Debug, Default)]
pub(super) struct Live {
    secrets: Vec<SigningSecret>,
    used: Vec<Counter>,
}

/// One secret of the configuration, and what its file held before.
#[derive(Debug)]
struct Entry {
    current: SigningSecret,
    /// The newest last.
    former: Vec<SigningSecret>,
    used: Counter,
    /// Where `former` is counted, if there can be any.
    former_used: Option<Counter>,
}

impl Live {
    /// All of them, whether or not their time has come.
    pub(super) fn all(&self) -> &[SigningSecret] {
        &self.secrets
    }

    /// This one verified a delivery.
    pub(super) fn used(&self, secret: usize) {
        if let Some(counter) = self.used.get(secret) {
            counter.inc();
        }
    }

    /// What is current stands first: a secret that is both is counted as that.
    fn of(entries: &[Entry]) -> Self {
        let current = entries.iter().map(|entry| (&entry.current, &entry.used));
        let former = entries.iter().flat_map(|entry| {
            entry.former.iter().filter_map(|secret| Some((secret, entry.former_used.as_ref()?)))
        });
        let (secrets, used) =
            current.chain(former).map(|(secret, used)| (secret.clone(), used.clone())).unzip();
        Self { secrets, used }
    }
}

impl Entry {
    /// Its file holds this now. Whether that is news.
    fn replace(&mut self, new: SigningSecret, now: Timestamp) -> bool {
        if new.is_same_key(&self.current) {
            return false;
        }
        self.former.retain(|former| !former.is_same_key(&new));
        let before = std::mem::replace(&mut self.current, new);
        self.former.push(before.superseded(now, OVERLAP));
        self.former.drain(..self.former.len().saturating_sub(FORMER_MAX));
        true
    }

    /// Forgets what its file held and whose time is over. Whether there was any.
    fn forget(&mut self, now: Timestamp) -> bool {
        let before = self.former.len();
        self.former.retain(|former| !former.is_over(now));
        self.former.len() < before
    }
}

impl Secrets {
    /// Those of the configuration.
    pub(super) fn new(source: &str, secrets: Vec<SourceSecret>, metrics: &Metrics) -> Self {
        let names = names(secrets.iter().map(|secret| &secret.kept));
        let counter = |secret: String| {
            metrics.secret_used.get_or_create_owned(&Labels { source: source.into(), secret })
        };
        let (mut entries, mut kept) = (Vec::new(), Vec::new());
        for (secret, name) in secrets.into_iter().zip(names) {
            let former_used = match secret.kept {
                Reference::Env(_) => None,
                Reference::File(_) => Some(counter(format!("{name} (previous)"))),
            };
            let used = counter(name.clone());
            entries.push(Entry { current: secret.secret, former: Vec::new(), used, former_used });
            kept.push((secret.kept, name));
        }
        Self { live: RwLock::new(Arc::new(Live::of(&entries))), entries: Mutex::new(entries), kept }
    }

    /// Whether there are none at all.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Those of this moment.
    pub(super) fn now(&self) -> Arc<Live> {
        Arc::clone(&self.live.read())
    }

    /// The files among them.
    pub(super) fn files(
        this: &Arc<Self>,
        source: &str,
        definition: &Arc<Definition>,
        metrics: &Metrics,
    ) -> Vec<WatchedSecretFile> {
        let kept = this.kept.iter().enumerate();
        let files = kept.filter_map(|(number, (kept, name))| match kept {
            Reference::Env(_) => None,
            Reference::File(path) => Some((number, path.clone(), name)),
        });
        let file = |(number, path, name): (usize, _, &String)| {
            let labels = Labels { source: source.into(), secret: name.clone() };
            let failures = metrics.secret_reload_failures.get_or_create_owned(&labels);
            WatchedSecretFile {
                secrets: Arc::clone(this),
                number,
                path,
                labels,
                definition: Arc::clone(definition),
                failures,
                trouble: None,
            }
        };
        files.map(file).collect()
    }

    /// The secret of this number as it is now.
    fn current(&self, number: usize) -> Option<SigningSecret> {
        let entries = self.entries.lock();
        entries.get(number).map(|entry| entry.current.clone())
    }

    /// The file of this number holds this secret now. Tells until when what it held before is taken, if
    /// that is another.
    fn replace(&self, number: usize, new: SigningSecret, now: Timestamp) -> Option<Timestamp> {
        self.change(number, |entry| {
            let is_news = entry.replace(new, now);
            (is_news, entry.former.last().filter(|_| is_news).and_then(SigningSecret::end))
        })
        .flatten()
    }

    /// Wipes what the file of this number held before, once its time is over.
    fn forget(&self, number: usize, now: Timestamp) {
        self.change(number, |entry| (entry.forget(now), ()));
    }

    /// Changes an entry, and the set that deliveries take if that says so.
    fn change<T>(&self, number: usize, change: impl FnOnce(&mut Entry) -> (bool, T)) -> Option<T> {
        let mut entries = self.entries.lock();
        let (changed, told) = change(entries.get_mut(number)?);
        if changed {
            let live = Arc::new(Live::of(&entries));
            *self.live.write() = live;
        }
        Some(told)
    }
}

/// What secrets are called where people read of them: where they are kept, with a number behind it when
/// that occurs again.
fn names<'a>(kept: impl Iterator<Item = &'a Reference>) -> Vec<String> {
    let mut taken = HashSet::new();
    let name = |kept: &Reference| {
        let mut name = kept.to_string();
        let mut number = 1;
        while !taken.insert(name.clone()) {
            number += 1;
            name = format!("{kept}#{number}");
        }
        name
    };
    kept.map(name).collect()
}

#[cfg(test)]
mod tests;
