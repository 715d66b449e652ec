//! The signing secrets of a source: the current ones, and for a while also those that a replaced file, or
//! AWS, held before, and those that the configuration named before.
//!
//! A delivery takes the set of secrets once, at its beginning. When a secret is replaced, a new set replaces
//! the old one.

mod retired;
mod watched;

use parking_lot::{Mutex, RwLock};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

pub use self::watched::{SecretWatch, WatchedSecret};

use self::watched::Place;

use self::retired::RetiredSecret;

use super::SourceSecret;
use crate::aws::Aws;
use crate::event::Timestamp;
use crate::provider::{Definition, SigningSecret};
use crate::reference::Reference;
use crate::telemetry::{Episode, Metrics, SourceSecret as Labels};

/// How long a former secret stays valid after it was replaced in its file or in AWS: deliveries that were
/// signed with it are still on their way, and the provider may get the new secret later than the bridge. A
/// `not_after` in the configuration replaces this, for the current and the former secrets of that place.
const OVERLAP: Duration = Duration::from_secs(600);
/// Most former secrets of one place that are valid at once; the oldest is dropped first. Each of them costs
/// a signature for every delivery, and a file that changes all the time is not a rotation.
pub(super) const FORMER_MAX: usize = 3;

/// The last moment at which what is replaced now is taken.
pub(super) fn overlap_from(now: Timestamp) -> Timestamp {
    let overlap = i64::try_from(OVERLAP.as_nanos()).unwrap_or(i64::MAX);
    Timestamp(now.0.saturating_add(overlap))
}

/// The secrets of one source, which change with their files and with what AWS keeps.
#[derive(Debug)]
pub(super) struct Secrets {
    live: RwLock<Arc<Live>>,
    held: Mutex<Held>,
    /// The reference of each secret, and its name in metrics and logs.
    kept: Vec<(Reference, Arc<str>)>,
}

/// The set of secrets at one moment.
#[derive(Debug, Default)]
pub(super) struct Live {
    secrets: Vec<SigningSecret>,
    used: Vec<SecretUse>,
}

/// How a secret is named in metrics, logs and steps, and the counter of its deliveries.
#[derive(Clone, Debug)]
struct SecretUse {
    name: Arc<str>,
    deliveries: Counter,
}

/// The secret that verified a delivery.
#[derive(Debug)]
pub struct UsedSecret {
    /// The set that the delivery took, which costs no count of references as a name of its own would.
    live: Arc<Live>,
    number: usize,
}

/// What the set of secrets is made of.
#[derive(Debug, Default)]
struct Held {
    entries: Vec<Entry>,
    /// The secrets of former configurations, the newest last.
    retired: Vec<RetiredSecret>,
}

/// One configured secret, and the former ones of its place.
#[derive(Debug)]
struct Entry {
    current: SigningSecret,
    /// The former secrets, the newest last.
    former: Vec<SigningSecret>,
    used: SecretUse,
    /// The same of the deliveries that a former secret verified; `None` for a secret that cannot
    /// change.
    former_used: Option<SecretUse>,
}

impl Live {
    /// All secrets of the set, also those that are not valid yet or any more.
    pub(super) fn all(&self) -> &[SigningSecret] {
        &self.secrets
    }

    /// Counts a delivery that the secret with this number verified.
    pub(super) fn used(self: Arc<Self>, number: usize) -> UsedSecret {
        if let Some(used) = self.used.get(number) {
            used.deliveries.inc();
        }
        UsedSecret { live: self, number }
    }

    /// Current secrets come first, so that a secret that is both current and former counts as current.
    fn of(Held { entries, retired }: &Held) -> Self {
        let current = entries.iter().map(|entry| (&entry.current, &entry.used));
        let former = entries.iter().flat_map(|entry| {
            entry.former.iter().filter_map(|secret| Some((secret, entry.former_used.as_ref()?)))
        });
        let retired = retired.iter().map(|retired| (&retired.secret, &retired.used));
        let (secrets, used) =
            current.chain(former).chain(retired).map(|(secret, used)| (secret.clone(), used.clone())).unzip();
        Self { secrets, used }
    }
}

impl UsedSecret {
    /// The secret's name, as in the metrics; `None` if the source's provider signs nothing.
    pub fn name(&self) -> Option<&str> {
        self.live.used.get(self.number).map(|used| &*used.name)
    }
}

impl Entry {
    /// Makes the secret that is kept now the current one; returns whether it is another.
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

    /// Drops former secrets that are no longer valid; returns whether there were any.
    fn forget(&mut self, now: Timestamp) -> bool {
        let before = self.former.len();
        self.former.retain(|former| !former.is_over(now));
        self.former.len() < before
    }
}

impl Secrets {
    /// The secrets as they were configured and read at the start.
    pub(super) fn new(source: &str, secrets: Vec<SourceSecret>, metrics: &Metrics) -> Self {
        let names = names(secrets.iter().map(|secret| &secret.kept));
        let used_as = |name: Arc<str>| SecretUse::new(source, name, metrics);
        let (mut entries, mut kept) = (Vec::new(), Vec::new());
        for (secret, name) in secrets.into_iter().zip(names) {
            let former_used = match secret.kept {
                Reference::Env(_) => None,
                Reference::File(_) | Reference::Aws(_) => Some(used_as(previous(&name))),
            };
            let name = Arc::from(name);
            let used = used_as(Arc::clone(&name));
            entries.push(Entry { current: secret.secret, former: Vec::new(), used, former_used });
            kept.push((secret.kept, name));
        }
        let held = Held { entries, retired: Vec::new() };
        Self { live: RwLock::new(Arc::new(Live::of(&held))), held: Mutex::new(held), kept }
    }

    /// Whether the source has no secret.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The current set of secrets.
    pub(super) fn now(&self) -> Arc<Live> {
        Arc::clone(&self.live.read())
    }

    /// Those of these secrets that can change, to be watched.
    pub(super) fn watched(
        this: &Arc<Self>,
        source: &str,
        definition: &Arc<Definition>,
        aws: &Aws,
        metrics: &Metrics,
    ) -> Vec<WatchedSecret> {
        let kept = this.kept.iter().enumerate();
        let changing = kept.filter_map(|(number, (kept, name))| match kept {
            Reference::Env(_) => None,
            Reference::File(path) => Some((number, Place::File(path.clone()), name)),
            Reference::Aws(secret) => Some((number, Place::Aws(secret.clone(), aws.clone()), name)),
        });
        let watched = |(number, place, name): (usize, _, &Arc<str>)| {
            let labels = Labels { source: source.into(), secret: name.to_string() };
            let failures = metrics.secret_reload_failures.get_or_create_owned(&labels);
            WatchedSecret {
                secrets: Arc::clone(this),
                number,
                place,
                labels,
                definition: Arc::clone(definition),
                failures,
                trouble: Episode::default(),
            }
        };
        changing.map(watched).collect()
    }

    /// The current secret with this number.
    fn current(&self, number: usize) -> Option<SigningSecret> {
        let held = self.held.lock();
        held.entries.get(number).map(|entry| entry.current.clone())
    }

    /// Makes a secret that is kept now the current one. If it is another than before, returns until
    /// when the one before stays valid.
    fn replace(&self, number: usize, new: SigningSecret, now: Timestamp) -> Option<Timestamp> {
        self.change(number, |entry| {
            let is_news = entry.replace(new, now);
            (is_news, entry.former.last().filter(|_| is_news).and_then(SigningSecret::end))
        })
        .flatten()
    }

    /// Drops the former secrets with this number that are no longer valid.
    fn forget(&self, number: usize, now: Timestamp) {
        self.change(number, |entry| (entry.forget(now), ()));
    }

    /// Changes an entry; if `change` returns true, makes a new set of secrets.
    fn change<T>(&self, number: usize, change: impl FnOnce(&mut Entry) -> (bool, T)) -> Option<T> {
        let mut held = self.held.lock();
        let (changed, told) = change(held.entries.get_mut(number)?);
        if changed {
            self.renew(&held);
        }
        Some(told)
    }

    /// Makes a new set of secrets.
    fn renew(&self, held: &Held) {
        let live = Arc::new(Live::of(held));
        *self.live.write() = live;
    }
}

impl SecretUse {
    fn new(source: &str, name: Arc<str>, metrics: &Metrics) -> Self {
        let labels = Labels { source: source.into(), secret: name.to_string() };
        Self { name, deliveries: metrics.secret_used.get_or_create_owned(&labels) }
    }
}

/// The name of the former secrets of this one.
fn previous(name: &str) -> Arc<str> {
    format!("{name} (previous)").into()
}

/// The names of secrets in metrics and logs: their references, with a number added when a reference occurs
/// again.
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
