//! `fanbridge send`: plays the provider. It signs a sample with the source's real secret and posts it
//! to the running bridge, so that the test takes the same way as a delivery in production.

mod assignment;
mod outcome;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

pub(super) use self::assignment::{Assignment, assignment};
use self::outcome::add_outcomes;
use super::client::{Client, ClientAnswer, Target, block_on};
use super::output::{Format, Rows};
use super::tail::short_id;
use super::{ConfigArgs, Exit, Failure, configuration_to_send, notice, unknown_source};
use crate::config::{Config, did_you_mean};
use crate::event::Timestamp;
use crate::provider::{SigningSecret, event_headers, event_type_in, sample, sign};
use crate::scalars::Period;
use crate::source::{Channel, SourceOptions};

/// Up to this many events one line each is printed, above it a summary.
const LINES_MAX: u64 = 20;

/// Arguments of `send`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the source in the configuration
    source: String,
    /// The event type, by its name on the wire or in the provider's documents. With --body it is sent
    /// in the header that states the type, if the provider has one; else the body decides
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// Set a value in the body, such as `call.id=abc`; JSON is parsed as JSON. An id that is set in a
    /// sample replaces the former id everywhere, so that `call_cid` changes too
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    assignments: Vec<Assignment>,
    /// Send this body instead of a sample; without --set its bytes are not changed
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// How many events to send
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Events per second; without it, each event is sent when the one before is answered
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Send to this address instead of the configured listener
    #[arg(long)]
    url: Option<String>,
    /// PEM file with the certificates to trust for https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How long to wait for the sinks to say where the events went
    #[arg(long, value_name = "TIME", default_value = "2s")]
    wait: Period,
    /// End with the answers, and do not wait for the sinks to say where the events went
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// How to print the answers
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Sends the events and prints the bridge's answers.
///
/// # Errors
/// Exit code 1 if an event was refused, 2 for an unknown source or type, 74 if the bridge cannot be
/// reached.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = configuration_to_send(&args.config)?;
    let letters = Letters::new(args, &config)?;
    let (target, path) = match &args.url {
        Some(url) => Target::url(url, args.ca.as_deref())?,
        None => (Target::http(&config.http, args.ca.as_deref()), format!("/in/{}", args.source)),
    };
    let tally = block_on(async {
        let mut tally = send_all(args, &letters, Client::new(target)?, &path).await?;
        // What is at another address is not the bridge whose admin listener is asked.
        if args.url.is_none() && !args.no_wait && tally.has_lines() {
            let added = add_outcomes(&config.admin, &mut tally.lines, args.wait.0).await;
            added.unwrap_or_else(|failure| {
                notice(format_args!("cannot say where the events went: {failure}"))
            });
        }
        Ok(tally)
    })?;
    tally.print(args)
}

async fn send_all(args: &Args, letters: &Letters<'_>, client: Client, path: &str) -> Result<Tally, Failure> {
    let mut pace = args.rate.map(|rate| tokio::time::interval(Duration::from_secs(1) / rate));
    if let Some(pace) = &mut pace {
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    }
    let mut tally = Tally::default();
    for _ in 0..args.count {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let now = Timestamp::from(SystemTime::now());
        let (headers, body) = letters.write(now)?;
        let event_type = letters.event_type_in(&headers, &body);
        let answer = client.post(path, headers, body).await?;
        tally.add(event_type.as_deref(), &answer);
    }
    Ok(tally)
}

/// The command to use instead for a source to which the provider does not post, `None` for a webhook
/// source.
fn elsewhere(channel: &Channel) -> Option<String> {
    match channel {
        Channel::Webhook => None,
        Channel::Sqs(queue) => {
            Some(format!("`aws sqs send-message --queue-url {} --message-body …`", queue.queue_url))
        }
        Channel::Sns(topics) => {
            let topic = topics.topics.first().map_or("ARN", |topic| topic.as_str());
            Some(format!("`aws sns publish --topic-arn {topic} --message …`"))
        }
    }
}

/// Makes the requests that the provider would send.
struct Letters<'a> {
    source: &'a SourceOptions,
    secret: Option<&'a SigningSecret>,
    event_type: String,
    /// The body from `--body`, which is sent every time; `None` for samples.
    fixed: Option<Bytes>,
    assignments: &'a [Assignment],
}

impl<'a> Letters<'a> {
    fn new(args: &'a Args, config: &'a Config) -> Result<Self, Failure> {
        let source =
            config.sources.iter().find(|source| source.name == *args.source).ok_or_else(|| {
                unknown_source(&args.source, config.sources.iter().map(|source| &*source.name))
            })?;
        if let Some(instead) = elsewhere(&source.channel) {
            let message =
                format!("source `{}` takes no signed webhooks: send to it with {instead}", source.name);
            return Err(Failure::new(Exit::Usage, message));
        }
        let now = Timestamp::from(SystemTime::now());
        let secret = source.secrets.iter().map(|kept| &kept.secret).find(|secret| secret.is_live(now));
        if secret.is_none() && source.definition.is_verified() {
            return Err(Failure::new(
                Exit::Config,
                format!("source `{}` has no secret that is valid now: check its `secrets`", source.name),
            ));
        }
        let fixed = args.body.as_ref().map(|path| {
            std::fs::read(path)
                .map(Bytes::from)
                .map_err(|error| Failure::io(format_args!("cannot read {}", path.display()), &error))
        });
        let fixed = fixed.transpose()?;
        let event_type = Self::wire_name(source, &args.event_type, fixed.is_some())?;
        Ok(Self { source, secret, event_type, fixed, assignments: &args.assignments })
    }

    /// The type's name on the wire. With `--body`, a type in no catalogue is taken as it is.
    fn wire_name(source: &SourceOptions, name: &str, given: bool) -> Result<String, Failure> {
        let catalogue = &source.definition.catalogue;
        let info = catalogue.find(name).or_else(|| catalogue.find_alias(name));
        match info {
            Some(info) => Ok(info.name.to_string()),
            None if given => Ok(name.into()),
            None => {
                let meant = did_you_mean(name, catalogue.types().map(|info| &*info.name));
                let advice = "`fanbridge types` lists the event types; --body FILE sends any other";
                let provider = &source.definition.provider;
                let message =
                    format!("no sample for `{name}`: `{provider}` has no such event type{meant} ({advice})");
                Err(Failure::new(Exit::Usage, message))
            }
        }
    }

    /// One delivery: its headers and body.
    fn write(&self, now: Timestamp) -> Result<(HeaderMap, Bytes), Failure> {
        let definition = &self.source.definition;
        // The time numbers the samples, so that each one is a new event, also in the next run.
        let number = now.0.unsigned_abs();
        let body = match &self.fixed {
            Some(body) => body.clone(),
            None => sample(definition, &self.event_type, now, number).unwrap_or_default().into(),
        };
        let body = self.assign(body)?;
        let mut headers = event_headers(definition, &self.event_type);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(secret) = self.secret {
            headers.extend(sign(definition, secret, &body, now, &format!("msg_{number}")));
        }
        Ok((headers, body))
    }

    /// The type that the bridge will find in the request: the argument's, unless the body or a
    /// `--set` states another one.
    fn event_type_in(&self, headers: &HeaderMap, body: &Bytes) -> Option<String> {
        event_type_in(&self.source.definition, headers, body).map(Into::into)
    }

    fn assign(&self, body: Bytes) -> Result<Bytes, Failure> {
        if self.assignments.is_empty() {
            return Ok(body);
        }
        let document = serde_json::from_slice(&body)
            .map_err(|error| Failure::new(Exit::Usage, format!("--set needs a JSON body: {error}")))?;
        let follow = self.fixed.is_none();
        let document: Value = self.assignments.iter().try_fold(document, |document, assignment| {
            assignment.apply(document, follow).map_err(|message| Failure::new(Exit::Usage, message))
        })?;
        Ok(document.to_string().into())
    }
}

/// The answers, counted by verdict.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    refused: u64,
    verdicts: std::collections::BTreeMap<String, u64>,
    lines: Vec<Value>,
}

impl Tally {
    fn add(&mut self, event_type: Option<&str>, answer: &ClientAnswer) {
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        self.sent += 1;
        self.refused += u64::from(!answer.status.is_success());
        let word = said.get("verdict").and_then(Value::as_str);
        let verdict = word.map_or_else(|| format!("answered {}", answer.status.as_u16()), Into::into);
        if self.sent <= LINES_MAX {
            let id = said.get("id").or_else(|| said.get("detail")).or_else(|| said.get("title"));
            self.lines.push(json!({
                "type": event_type, "status": answer.status.as_u16(), "verdict": verdict, "id": id,
            }));
        }
        *self.verdicts.entry(verdict).or_default() += 1;
    }

    /// Whether each event has a line.
    fn has_lines(&self) -> bool {
        self.sent <= LINES_MAX
    }

    fn print(self, args: &Args) -> Result<(), Failure> {
        let says_where = self.lines.iter().any(|line| line.get("to").is_some());
        let mut rows = Rows::new(match (self.has_lines(), says_where) {
            (true, true) => &["type", "status", "verdict", "id", "to"],
            (true, false) => &["type", "status", "verdict", "id"],
            (false, _) => &["verdict", "events"],
        });
        if self.has_lines() {
            let is_terminal = args.format == Format::Table && io::stdout().is_terminal();
            let shown = |line| if is_terminal { with_short_id(line) } else { line };
            self.lines.into_iter().map(shown).for_each(|line| rows.add(line));
        } else {
            let counts =
                self.verdicts.iter().map(|(verdict, events)| json!({ "verdict": verdict, "events": events }));
            counts.for_each(|count| rows.add(count));
        }
        rows.print(args.format)?;
        match self.refused {
            0 => Ok(()),
            refused => {
                Err(Failure::new(Exit::Failed, format!("{refused} of {} events were refused", self.sent)))
            }
        }
    }
}

/// A line with the beginning of its event's id, by which `explain` finds it.
fn with_short_id(mut line: Value) -> Value {
    // What was refused has a reason in the place of an id.
    if line["status"].as_u64().is_some_and(|status| status < 300)
        && let Some(id) = line["id"].as_str()
    {
        line["id"] = short_id(id).into();
    }
    line
}
