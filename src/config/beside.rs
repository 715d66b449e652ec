//! The checks of sources beside each other: what two of them may not share, or hardly should.

use std::collections::HashSet;

use super::load::Check;
use super::place::Path;
use super::{Channel, SourceConfig, SqsConfig};

impl Check<'_> {
    /// Compares each source with those that stand before it in the file.
    pub(super) fn check_beside_each_other(&mut self, sources: &[SourceConfig], at: &Path) {
        let mut sources: Vec<_> = sources.iter().map(|source| (at.key(&source.name), source)).collect();
        sources.sort_by_key(|(at, _)| self.places.key(at).start);
        for (number, (at, source)) in sources.iter().enumerate() {
            let before = || sources[..number].iter().map(|(_, source)| *source);
            if let Some(other) = before().find(|other| share_a_queue(other, source)) {
                let label = format!("`{}` reads this queue already", other.name);
                let at = at.key("sqs").key("queue_url");
                self.error(&at, "one queue for two sources", label);
            }
            if let Some(other) = before().find(|other| are_strangers_under_one_app(other, source)) {
                let label = format!("`{}` has the same provider and app, and none of these", other.name);
                self.warning(&at.key("secrets"), "one app, and secrets that have nothing in common", label)
                    .notes
                    .push(format!(
                        "an event is a duplicate of one with its id that either took in; if these are two accounts, name an `app` of its own for one, such as `app: {}`",
                        source.name
                    ));
            }
        }
    }
}

fn share_a_queue(one: &SourceConfig, other: &SourceConfig) -> bool {
    match (&one.channel, &other.channel) {
        (Channel::Sqs(one), Channel::Sqs(other)) => queue(one) == queue(other),
        _ => false,
    }
}

/// Which queue is meant: requests go to its region's endpoint, whatever host its URL names.
fn queue(config: &SqsConfig) -> (Option<&str>, String) {
    let url = config.queue_url.parse::<http::Uri>();
    let path = url.map_or_else(|_| config.queue_url.clone(), |url| url.path().to_owned());
    (config.region.as_deref(), path.trim_end_matches('/').to_owned())
}

/// Whether two webhooks share identity and duplicate window, but not the account that signs.
fn are_strangers_under_one_app(one: &SourceConfig, other: &SourceConfig) -> bool {
    let signed =
        |source: &SourceConfig| matches!(source.channel, Channel::Webhook) && !source.secrets.is_empty();
    let fingerprints: HashSet<&str> = one.secrets.iter().map(|one| one.secret.fingerprint()).collect();
    signed(one)
        && signed(other)
        && one.event_source() == other.event_source()
        && !other.secrets.iter().any(|other| fingerprints.contains(other.secret.fingerprint()))
}
