//! The checks of sources beside each other: what two of them may not share.

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
