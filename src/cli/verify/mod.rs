//! `fanbridge verify`: says why a recorded delivery is refused, and what would make it valid. It reads the
//! configuration and the secrets as a start would, and asks nobody.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::output::{Format, Rows, print};
use super::recorded::{STDIN, read, read_headers};
use super::wrapped::add_wrapped;
use super::{ConfigArgs, Exit, Failure, configuration_to_send, notice, unknown_source};
use crate::config::Config;
use crate::event::Timestamp;
use crate::provider::diagnose::{
    Candidate, Diagnosis, RecordedDelivery, SignatureFault, Tried, diagnose, offered_form,
};
use crate::source::{Channel, SourceOptions};

const NAME_COLUMNS: usize = 9;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the source in the configuration
    source: String,
    /// The body, byte for byte as it was sent; `-` reads it from stdin
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// The headers: `Name: value` lines, what `curl -v` prints, or JSON (`{"name": "value"}` or
    /// `[["name", "value"]]`); `-` reads them from stdin
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// The moment at which the delivery came, in RFC 3339 or in seconds since 1970; by default now
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    at: Option<Timestamp>,
    /// How to print the diagnosis
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Diagnoses the delivery and prints what is wrong with it.
///
/// # Errors
/// Exit code 1 if the source refuses the delivery, 2 for a source that is unknown or has no webhook
/// signature and for headers that are none, 74 if a file cannot be read.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = configuration_to_send(&args.config)?;
    let source = webhook(&config, &args.source)?;
    if args.body == Path::new(STDIN) && args.headers == Path::new(STDIN) {
        return Err(Failure::new(
            Exit::Usage,
            "stdin is either the body or the headers: put one into a file",
        ));
    }
    let headers = read_headers(&args.headers)?;
    let body = Bytes::from(read(&args.body)?);
    let at = args.at.unwrap_or_else(|| SystemTime::now().into());
    let recorded = RecordedDelivery { headers: &headers, body: &body, at };
    let sizes = config.limits.sizes_of(source.body_bytes_max);
    let diagnosis = diagnose(&source.definition, &candidates(&config, source), &recorded, &sizes);
    let result = VerifyResult { source, headers: &headers, diagnosis: &diagnosis };
    match args.format {
        Format::Table => print(&result.text())?,
        format => {
            let mut rows = Rows::new(&[]);
            rows.add(result.json());
            rows.print(format)?;
        }
    }
    if matches!(diagnosis, Diagnosis::Valid { .. } | Diagnosis::Probe) {
        notice(
            "valid with the secrets that this command reads; a bridge that refuses this delivery was \
             started with others",
        );
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, ""))
}

/// The source of this name, if its deliveries are signed webhooks.
fn webhook<'c>(config: &'c Config, name: &str) -> Result<&'c SourceOptions, Failure> {
    let source = config
        .sources
        .iter()
        .find(|source| source.name == *name)
        .ok_or_else(|| unknown_source(name, config.sources.iter().map(|source| &*source.name)))?;
    match unsigned(&source.channel) {
        None => Ok(source),
        Some(proof) => {
            let message = format!("source `{name}` takes no webhooks that are signed with a secret: {proof}");
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// What stands in for a webhook's signature, `None` for a webhook.
fn unsigned(channel: &Channel) -> Option<String> {
    match channel {
        Channel::Webhook => None,
        Channel::Sqs(queue) => Some(format!(
            "its messages have no signature, and the policy of the queue {} decides who can send them",
            queue.queue_url
        )),
        Channel::Sns(topics) => {
            let raw = match topics.raw {
                Some(_) => {
                    ", and raw ones have the user name and password of `sns.raw` (Basic authentication)"
                }
                None => "",
            };
            Some(format!(
                "its messages are signed by SNS with a certificate{raw}; the reason for a refusal is in \
                 `refused_total`"
            ))
        }
    }
}

/// Every secret of the configuration.
fn candidates<'c>(config: &'c Config, asked: &SourceOptions) -> Vec<Candidate<'c>> {
    let secrets =
        config.sources.iter().flat_map(|source| source.secrets.iter().map(move |kept| (source, kept)));
    let candidate = |(source, kept): (&'c SourceOptions, &'c crate::source::SourceSecret)| Candidate {
        source: &source.name,
        definition: &source.definition,
        name: kept.kept.to_string(),
        secret: &kept.secret,
        own: source.name == asked.name,
    };
    secrets.map(candidate).collect()
}

/// A moment in RFC 3339, or in whole seconds since the Unix epoch.
fn moment(text: &str) -> Result<Timestamp, String> {
    let moment = match text.parse::<i64>() {
        Ok(seconds) => seconds.checked_mul(1_000_000_000).map(Timestamp),
        Err(_) => Timestamp::from_rfc3339(text),
    };
    let expected = "expected a date and time such as `2026-11-21T06:40:00Z`, or seconds since 1970";
    moment.ok_or_else(|| expected.into())
}

/// A diagnosis to be printed.
struct VerifyResult<'a> {
    source: &'a SourceOptions,
    headers: &'a HeaderMap,
    diagnosis: &'a Diagnosis,
}

impl VerifyResult<'_> {
    /// The diagnosis for people.
    fn text(&self) -> String {
        let definition = &self.source.definition;
        let mut text = entry("source", &format!("{} (provider {})", self.source.name, definition.provider));
        text += &self.header().map(|form| entry("header", &form)).unwrap_or_default();
        text += &entry("verdict", &self.verdict());
        for fault in self.faults() {
            text += &entry("why", &fault.cause());
            text += &entry("fix", &fault.fix(definition));
        }
        // Where nothing could be tried, the facts say why.
        if let Diagnosis::Unexplained { facts, tried, .. } = self.diagnosis
            && (tried.signatures > 0 || facts.is_empty())
        {
            text += &entry("why", &tried.cause());
            text += &entry("fix", Tried::FIX);
            text += &Tried::LIST.iter().map(|tried| entry("tried", tried)).collect::<String>();
        }
        text
    }

    /// The diagnosis for programs.
    fn json(&self) -> Value {
        let definition = &self.source.definition;
        let fault = |fault: &SignatureFault| json!({ "cause": fault.cause(), "fix": fault.fix(definition) });
        let mut row = Map::new();
        row.insert("source".into(), json!(&*self.source.name));
        row.insert("provider".into(), json!(&*definition.provider));
        row.insert("header".into(), self.header().into());
        row.insert(
            "valid".into(),
            matches!(self.diagnosis, Diagnosis::Valid { .. } | Diagnosis::Probe).into(),
        );
        let (mut secret, mut skew, mut reason) = (Value::Null, Value::Null, Value::Null);
        match self.diagnosis {
            Diagnosis::Valid { secret: name, skew_seconds } => {
                (secret, skew) = (json!(name), json!(skew_seconds));
            }
            Diagnosis::Probe => {}
            Diagnosis::Explained { reason: word, .. } | Diagnosis::Unexplained { reason: word, .. } => {
                reason = (*word).into();
            }
        }
        row.extend([
            ("verdict".into(), self.verdict().into()),
            ("secret".into(), secret),
            ("skew_seconds".into(), skew),
            ("reason".into(), reason),
            ("faults".into(), self.faults().iter().map(fault).collect()),
        ]);
        if let Diagnosis::Unexplained { tried, .. } = self.diagnosis {
            let unexplained = json!({
                "cause": tried.cause(), "fix": Tried::FIX, "tried": Tried::LIST,
                "signatures": tried.signatures, "stopped": tried.stopped,
            });
            row.insert("unexplained".into(), unexplained);
        }
        Value::Object(row)
    }

    /// The header with the signature, and the signature's form.
    fn header(&self) -> Option<String> {
        offered_form(&self.source.definition, self.headers)
    }

    fn faults(&self) -> &[SignatureFault] {
        match self.diagnosis {
            Diagnosis::Valid { .. } | Diagnosis::Probe => &[],
            Diagnosis::Explained { faults, .. } | Diagnosis::Unexplained { facts: faults, .. } => faults,
        }
    }

    fn verdict(&self) -> String {
        match self.diagnosis {
            Diagnosis::Valid { secret: Some(name), skew_seconds } => {
                let clock = match skew_seconds {
                    Some(seconds) if *seconds < 0 => {
                        format!(", stamped {} s before it came", seconds.unsigned_abs())
                    }
                    Some(seconds) if *seconds > 0 => format!(", stamped {seconds} s after it came"),
                    _ => String::new(),
                };
                format!("valid, signed with {name}{clock}")
            }
            Diagnosis::Valid { secret: None, .. } => {
                "valid, because the provider has `scheme: none`: no signature is verified".into()
            }
            Diagnosis::Probe => "valid, as the provider's probe; it is no event".into(),
            Diagnosis::Explained { reason, .. } | Diagnosis::Unexplained { reason, .. } => {
                format!("refused, reason {reason}")
            }
        }
    }
}

/// A name and its text.
fn entry(name: &str, words: &str) -> String {
    let mut text = String::new();
    add_wrapped(&mut text, &format!("{name:NAME_COLUMNS$}"), words, NAME_COLUMNS);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_seconds() {
        for text in ["2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00", "1700000000"] {
            assert_eq!(moment(text), Ok(Timestamp(1_700_000_000_000_000_000)), "{text}");
        }
        for text in ["", "yesterday", "2023-11-14", "99999999999999999999", "9999999999999"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
