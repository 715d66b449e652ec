//! The check whether the sinks accept bodies as large as a source does.

use secrecy::ExposeSecret;

use super::Check;
use crate::config::file::ConfigFile;
use crate::config::yaml::spans::Path;
use crate::scalars::Size;
use crate::sink::kafka::MESSAGE_BYTES_MAX;
use crate::sink::{Output, SinkOptions};

impl Check<'_> {
    /// Warns about sources whose `body_bytes_max` exceeds the general limit and that of a sink. The
    /// limit of a topic is known to its brokers only.
    pub(in crate::config) fn check_sizes(&mut self, file: &ConfigFile, sinks: &[SinkOptions]) {
        let at = Path::default().key("sources");
        for (name, source) in &file.sources {
            let beyond_the_rest = |size: &Size| *size > Size::from(file.limits.body_bytes_max);
            let Some(size) = source.body_bytes_max.filter(beyond_the_rest) else { continue };
            for sink in sinks {
                let Some(most) = largest_message(&sink.output).filter(|most| *most < size) else { continue };
                let label = format!(
                    "sink `{}` takes messages of at most {most}; larger ones become dead letters `too_large`",
                    sink.name
                );
                let at = at.key(name).key("body_bytes_max");
                let problem = self.warning(&at, "sink with a smaller limit", label);
                if let Output::Kafka(_) = sink.output {
                    let note = "raise `message.max.bytes` in the sink's `properties`, and \
                                `max.message.bytes` of its topics";
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
