//! Secrets that another configuration of the source has replaced: they are taken for ten more minutes, so
//! that a secret that is changed in the configuration loses no delivery, just as one that is changed in its
//! file.
//!
//! A secret whose reference is still configured goes by the rules of a replaced file: an end that the
//! configuration states replaces the ten minutes. To have a secret refused at once, an operator leaves it in
//! the configuration with a `not_after` that is over, or leaves the source without any.

use super::{FORMER_MAX, OVERLAP, SecretUse, Secrets, overlap_from, previous};
use crate::event::Timestamp;
use crate::provider::SigningSecret;
use crate::reference::Reference;
use crate::telemetry::Metrics;

/// A secret of a former configuration. It has an end.
#[derive(Clone, Debug)]
pub(super) struct RetiredSecret {
    pub(super) secret: SigningSecret,
    pub(super) used: SecretUse,
    /// Where it was kept.
    kept: Reference,
}

impl Secrets {
    /// Takes over, for a while, the secrets that the source had before. Those that are configured again, or
    /// are not valid now, are left out; of many, the newest are kept. A source that has no secret any more
    /// takes none at once.
    pub(in crate::source) fn succeed(&self, before: &Self, source: &str, metrics: &Metrics, now: Timestamp) {
        if self.is_empty() {
            return;
        }
        let mut held = self.held.lock();
        let mut retired = before.retire(self, &held.entries, (source, metrics), now);
        let is_current =
            |secret: &SigningSecret| held.entries.iter().any(|entry| entry.current.is_same_key(secret));
        retired.retain(|RetiredSecret { secret, .. }| secret.is_live(now) && !is_current(secret));
        let names = before.kept.len().max(1);
        retired.drain(..retired.len().saturating_sub(names * FORMER_MAX));
        if !retired.is_empty() {
            held.retired = retired;
            self.renew(&held);
        }
    }

    /// All secrets of this configuration, with the ends that they have if `next` replaces it now. The newest
    /// are the last.
    fn retire(
        &self,
        next: &Self,
        entries: &[super::Entry],
        (source, metrics): (&str, &Metrics),
        now: Timestamp,
    ) -> Vec<RetiredSecret> {
        let held = self.held.lock();
        let configured = || held.entries.iter().zip(&self.kept);
        let former = configured().flat_map(|(entry, kept)| entry.former.iter().map(move |one| (one, kept)));
        let current = configured().map(|(entry, kept)| (&entry.current, kept));
        let until_its_end = |secret: SigningSecret, reference: &Reference| {
            let mut still = next.kept.iter().zip(entries).filter(|((kept, _), _)| kept == reference);
            match still.next().map(|(_, entry)| entry.current.end()) {
                None => secret.until(overlap_from(now)),
                Some(None) => secret,
                Some(Some(end)) => secret.until(end),
            }
        };
        let retiring = former.chain(current).map(|(secret, (kept, name))| {
            let secret = until_its_end(secret.clone().superseded(now, OVERLAP), kept);
            let used = SecretUse::new(source, previous(name), metrics);
            RetiredSecret { secret, used, kept: kept.clone() }
        });
        // One that is named again with an end can have another text by now, and is meant all the same.
        let retired = held.retired.iter().cloned().map(|retired| {
            let secret = until_its_end(retired.secret, &retired.kept);
            RetiredSecret { secret, ..retired }
        });
        retired.chain(retiring).collect()
    }

    /// Whether secrets of a former configuration are taken.
    pub(super) fn has_retired(&self) -> bool {
        !self.held.lock().retired.is_empty()
    }

    /// Drops the secrets of former configurations that are no longer valid.
    pub(super) fn forget_retired(&self, now: Timestamp) {
        let mut held = self.held.lock();
        let before = held.retired.len();
        held.retired.retain(|retired| !retired.secret.is_over(now));
        if held.retired.len() < before {
            self.renew(&held);
        }
    }
}
