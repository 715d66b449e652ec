//! Whether the sinks take what a source was told to let in.

use secrecy::ExposeSecret;

use super::file::ConfigFile;
use super::load::Check;
use super::place::Path;
use super::text::Size;
use super::{Output, SinkConfig};
use crate::sink::kafka::MESSAGE_BYTES_MAX;

impl Check<'_> {
    /// Warns of sources that take more than the others, and more than a sink does. What a topic takes is known to its
    /// brokers alone.
    pub(super) fn check_sizes(&mut self, file: &ConfigFile, sinks: &[SinkConfig]) {
        let at = Path::default().key("sources");
        for (name, source) in &file.sources {
            let beyond_the_rest = |size: &Size| *size > file.limits.body_bytes_max;
            let Some(size) = source.body_bytes_max.filter(beyond_the_rest) else { continue };
            for sink in sinks {
                let Some(most) = largest_message(&sink.output).filter(|most| *most < size) else { continue };
                let label = format!(
                    "sink `{}` takes messages of at most {most}: what is larger becomes a dead letter, `too_large`",
                    sink.name
                );
                let at = at.key(name).key("body_bytes_max");
                let problem = self.warning(&at, "a sink takes less than this", label);
                if let Output::Kafka(_) = sink.output {
                    let note = "raise `message.max.bytes` in its `properties`, and `max.message.bytes` of its topics";
                    problem.notes.push(note.into());
                }
            }
        }
    }
}

fn largest_message(output: &Output) -> Option<Size> {
    match output {
        Output::Kafka(kafka) => {
            let set = kafka.properties.iter().find(|(name, _)| name == "message.max.bytes");
            set.map_or(MESSAGE_BYTES_MAX, |(_, value)| value.expose_secret()).parse().ok()
        }
        Output::Sns(sns) => Some(Size(sns.message_bytes_max as u64)),
        Output::File(_) => None,
    }
}
