//! The checks of acknowledgements that wait for sinks.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Check;
use crate::ack::AckOptions;
use crate::config::file::ConfigFile;
use crate::config::yaml::spans::Path;
use crate::provider::did_you_mean;
use crate::scalars::Period;
use crate::selection::Selection;
use crate::sink::{Output, SinkOptions};
use crate::source::{Channel, SourceOptions};

/// How long providers wait for the answer to a webhook, as docs/PROVIDERS.md has it.
const WAITS: [(&str, Duration); 3] = [
    ("stream", Duration::from_secs(6)),
    ("github", Duration::from_secs(10)),
    ("shopify", Duration::from_secs(5)),
];

impl Check<'_> {
    /// Checks the blocks `ack` against the sinks, the limits and the sources that they are for.
    pub(in crate::config) fn check_acks(
        &mut self,
        file: &ConfigFile,
        bridge: &Selection,
        sources: &[SourceOptions],
        sinks: &[SinkOptions],
    ) {
        let top = Path::default();
        let own = |name: &str| top.key("sources").key(name).key("ack");
        let of_sources =
            file.sources.iter().filter_map(|(name, source)| Some((own(name), source.ack.as_ref()?)));
        for (at, ack) in [(top.key("ack"), &file.ack)].into_iter().chain(of_sources) {
            self.check_ack(ack, &at, file, sinks);
        }
        for source in sources.iter().filter(|source| !source.ack.after.is_empty()) {
            let is_own = file.sources.get(&*source.name).is_some_and(|source| source.ack.is_some());
            let at = if is_own { own(&source.name) } else { top.key("ack") };
            self.check_ack_of(source, &at.key("within"));
            let custom = file.sources.get(&*source.name).map_or(&[][..], |source| &source.custom_types);
            self.check_takers(source, &at.key("after"), custom, bridge, sinks);
        }
    }

    fn check_ack(&mut self, ack: &AckOptions, at: &Path, file: &ConfigFile, sinks: &[SinkOptions]) {
        if ack.after.is_empty() {
            return;
        }
        self.check_awaited(ack, &at.key("after"), file, sinks);
        let at_within = at.key("within");
        let within = Period(ack.within);
        // The rest is for the disk, and for the answer's way.
        let limit = Period(file.limits.ack_timeout);
        let most = Period(file.limits.ack_timeout / 10 * 9);
        if within > most {
            let label = format!(
                "a delivery is answered 503 after `limits.ack_timeout`, {limit}, whatever it waits for: \
                 expected at most nine tenths of that, {most}, found {within}"
            );
            self.error(&at_within, "time too long", label);
        }
        let grace = Period(Duration::from_secs(file.shutdown_grace_seconds.0));
        if within >= grace {
            let label = format!(
                "a stop could not wait for the answers: expected less than `shutdown_grace_seconds`, \
                 {grace}, found {within}"
            );
            self.error(&at_within, "time too long", label);
        }
    }

    /// Checks the named sinks.
    fn check_awaited(&mut self, ack: &AckOptions, at: &Path, file: &ConfigFile, sinks: &[SinkOptions]) {
        // A sink that is configured and cannot be used has been reported already.
        let names: BTreeSet<&str> =
            file.sinks.keys().map(String::as_str).chain(sinks.iter().map(|sink| &*sink.name)).collect();
        for (index, name) in ack.after.iter().enumerate() {
            let at = at.index(index);
            if !names.contains(name.as_str()) {
                let meant = did_you_mean(name, names.iter().copied());
                let label = format!("no sink has this name{meant}");
                self.error(&at, &format!("unknown sink `{}`", name.escape_debug()), label);
            }
            let Some(sink) = sinks.iter().find(|sink| sink.name == *name) else { continue };
            if sink.detaches {
                let label = "with `on_full: detach_sink` the sink can miss events, also acknowledged ones; \
                             expected a sink with `on_full: block`";
                self.error(&at, "sink that can miss events", label.into());
            }
            if matches!(sink.output, Output::File(_)) {
                let label = "the sink writes to a disk of this machine: what dies with the machine dies \
                             there, too, unless its directory is on another one";
                self.warning(&at, "waiting for a file sink", label.into());
            }
        }
    }

    /// Warns of types of a source for which an answer waits for no sink.
    fn check_takers(
        &mut self,
        source: &SourceOptions,
        at: &Path,
        custom: &[String],
        bridge: &Selection,
        sinks: &[SinkOptions],
    ) {
        let named = |name: &String| sinks.iter().find(|sink| sink.name == *name);
        let Some(takers) = source.ack.after.iter().map(named).collect::<Option<Vec<_>>>() else { return };
        let listed = source.definition.catalogue.types().filter(|info| info.webhook);
        let listed = listed.map(|info| &*info.name).chain(custom.iter().map(String::as_str));
        let sent: BTreeSet<&str> = listed.filter(|name| bridge.takes(name)).collect();
        for (index, sink) in takers.iter().enumerate() {
            if !sent.is_empty() && !sent.iter().any(|name| sink.selection.takes(name)) {
                let label = format!(
                    "the sink's `select` takes no known type of source `{}`: none of its answers would wait",
                    source.name
                );
                self.warning(&at.index(index), "waiting for a sink that takes nothing", label);
                return;
            }
        }
        let is_taken = |name: &&str| takers.iter().any(|sink| sink.selection.takes(name));
        let untaken: Vec<&str> = sent.iter().copied().filter(|name| !is_taken(name)).collect();
        if let [first, others @ ..] = &untaken[..] {
            let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
            let label = format!(
                "of source `{}` no sink here takes `{first}`{more}: a 2xx for these says that they are on \
                 this machine's disk, and no more",
                source.name
            );
            let title = "types that are acknowledged without a sink";
            self.warning(at, title, label).notes.push(format!("these types: {}", untaken.join(", ")));
        }
    }

    /// Checks the time within which a source is answered.
    fn check_ack_of(&mut self, source: &SourceOptions, at: &Path) {
        let within = Period(source.ack.within);
        if let Channel::Sqs(sqs) = &source.channel {
            let half = Period(sqs.visibility_timeout / 2);
            if within > half {
                let label = format!(
                    "expected at most half of the `visibility_timeout` of source `{}`, {half}, found \
                     {within}",
                    source.name
                );
                self.error(at, "time too long", label);
            }
            return;
        }
        let provider = &*source.definition.provider;
        let waits = WAITS.iter().find(|(name, _)| *name == provider).map(|(_, waits)| Period(*waits));
        let Some(waits) = waits.filter(|_| matches!(source.channel, Channel::Webhook)) else { return };
        if within >= waits {
            let label = format!(
                "`{provider}` waits {waits} for an answer to source `{}`: a later one is never read",
                source.name
            );
            self.warning(at, "time longer than the provider waits", label);
        }
    }
}
