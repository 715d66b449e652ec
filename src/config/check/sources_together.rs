//! The checks of sources against each other: what two sources cannot share, or probably should not.

use std::collections::HashSet;

use super::Check;
use crate::config::yaml::spans::Path;
use crate::source::sqs::SqsOptions;
use crate::source::{Channel, SourceOptions};

impl Check<'_> {
    /// Compares each source with those before it in the file.
    pub(in crate::config) fn check_beside_each_other(&mut self, sources: &[SourceOptions], at: &Path) {
        let mut sources: Vec<_> = sources.iter().map(|source| (at.key(&source.name), source)).collect();
        sources.sort_by_key(|(at, _)| self.places.key(at).start);
        for (number, (at, source)) in sources.iter().enumerate() {
            let before = || sources[..number].iter().map(|(_, source)| *source);
            if let Some(other) = before().find(|other| share_a_queue(other, source)) {
                let label = format!("source `{}` already reads this queue", other.name);
                let at = at.key("sqs").key("queue_url");
                self.error(&at, "queue with two sources", label);
            }
            if let Some(other) = before().find(|other| are_strangers_under_one_app(other, source)) {
                let label =
                    format!("source `{}` has this provider and app, but none of these secrets", other.name);
                self.warning(&at.key("secrets"), "one app with unrelated secrets", label).notes.push(
                    format!(
                        "sources with the same app share event ids: an event with an id that the other \
                         source took is a duplicate; if they are two accounts, give one an `app` of its \
                         own, such as `app: {}`",
                        source.name
                    ),
                );
            }
        }
    }
}

fn share_a_queue(one: &SourceOptions, other: &SourceOptions) -> bool {
    match (&one.channel, &other.channel) {
        (Channel::Sqs(one), Channel::Sqs(other)) => queue(one) == queue(other),
        _ => false,
    }
}

/// The region and path that identify a queue: requests go to the region's endpoint, whatever host the
/// URL names.
fn queue(config: &SqsOptions) -> (Option<&str>, String) {
    let url = config.queue_url.parse::<http::Uri>();
    let path = url.map_or_else(|_| config.queue_url.clone(), |url| url.path().to_owned());
    (config.region.as_deref(), path.trim_end_matches('/').to_owned())
}

/// Whether two webhook sources share event ids and duplicate window, but no secret.
fn are_strangers_under_one_app(one: &SourceOptions, other: &SourceOptions) -> bool {
    let signed =
        |source: &SourceOptions| matches!(source.channel, Channel::Webhook) && !source.secrets.is_empty();
    let fingerprints: HashSet<&str> = one.secrets.iter().map(|one| one.secret.fingerprint()).collect();
    signed(one)
        && signed(other)
        && one.event_source() == other.event_source()
        && !other.secrets.iter().any(|other| fingerprints.contains(other.secret.fingerprint()))
}
