//! `fanbridge explain`: what became of an event or of an event type, why, and what to do about it.
//!
//! The running bridge is asked. If none runs, the log and the state that it has left are read.

mod steps;
pub(super) mod stopped;
mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;

use super::client::{Client, block_on, encoded, path_with};
use super::output::{Format, print, print_json};
use super::recorded::{read, read_headers};
use super::types::types_seen;
use super::{ConfigArgs, Exit, Failure, configuration_to_ask, notice, unknown_source};
use crate::config::Config;
use crate::event::Timestamp;
use crate::explain::{
    AskedEvent, ExplainScope, Explanation, HowMany, Preview, SeenVerdict, TypeExplanation, explain_type,
    preview,
};
use crate::provider::DeliveryRefusal;
use crate::scalars::Period;
use crate::telemetry::Shown;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id of the event, or its beginning of 4 characters at least; `position:42` is an entry of the log, and
    /// `request:…` a refused request by the number in its answer
    #[arg(value_name = "ID", required_unless_present_any = ["event_type", "body"])]
    #[arg(conflicts_with_all = ["event_type", "body"])]
    id: Option<String>,
    /// Explain an event type: who sends it, and where it goes; needs no running bridge
    #[arg(long = "type", value_name = "TYPE", conflicts_with_all = ["body", "source", "since"])]
    event_type: Option<String>,
    /// Explain the event that this body becomes at --source
    #[arg(long, value_name = "FILE", requires = "source")]
    body: Option<PathBuf>,
    /// Headers of the delivery with --body, for a provider that signs the id or states the type in one:
    /// lines of `Name: value`, or JSON
    #[arg(long, value_name = "FILE", requires = "body")]
    headers: Option<PathBuf>,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only what arrived since then: a moment in RFC 3339, or a period before now, such as `2h`
    #[arg(long, value_name = "MOMENT")]
    since: Option<String>,
    /// Also print the body; needs `admin.show_payloads: true`
    #[arg(long, conflicts_with = "event_type")]
    payload: bool,
    /// How to print the explanation
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints the explanation.
///
/// # Errors
/// Exit code 1 if nothing is known of it, 2 if several events are meant or the command line is wrong, 74 or
/// 75 if the bridge does not answer and what it has left cannot be read.
pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(event_type) = &args.event_type {
        return block_on(of_type(args, event_type));
    }
    let since = args.since.as_deref().map(|text| moment(text, SystemTime::now().into())).transpose()?;
    let mut config = None;
    let asked = match (&args.id, &args.body) {
        (Some(id), _) => id.clone(),
        (None, Some(body)) => {
            let config = config.insert(configuration_to_ask(&args.config)?);
            id_of(args, body, config)?
        }
        (None, None) => return Err(Failure::new(Exit::Usage, "name an event, a --type or a --body")),
    };
    let asked: AskedEvent =
        asked.parse().map_err(|error| Failure::new(Exit::Usage, format!("`{}`: {error}", Shown(&asked))))?;
    let config = config.map_or_else(|| configuration_to_ask(&args.config), Ok)?;
    let mut explanation = block_on(ask(&config, &asked, args, since))?;
    if let (Some(_), Some(source)) = (&args.body, &args.source) {
        explanation = explanation.of_body(source);
    }
    show(&explanation, args.format, text::of_event)?;
    match explanation.found {
        HowMany::One => Ok(()),
        // What was printed says it.
        HowMany::None => Err(Failure::new(Exit::Failed, "")),
        HowMany::Several => Err(Failure::new(Exit::Usage, "")),
    }
}

async fn ask(
    config: &Config,
    asked: &AskedEvent,
    args: &Args,
    since: Option<Timestamp>,
) -> Result<Explanation, Failure> {
    let from = since.map(Timestamp::to_rfc3339);
    let payload = args.payload.then_some("1");
    let query = [("source", args.source.as_deref()), ("since", from.as_deref()), ("payload", payload)];
    let path = path_with(&format!("/api/v1/events/{}", encoded(&asked.to_string())), &query);
    match Client::admin(&config.admin).await {
        Ok(bridge) => bridge.json(&path).await,
        Err(silent) => {
            let scope = ExplainScope { source: args.source.clone(), since, ..ExplainScope::default() };
            stopped::explain(config, asked, &scope, args.payload, silent)
        }
    }
}

/// The explanation of an event of a running bridge, as text for people.
pub(super) async fn told(client: &Client, asked: &str) -> Result<String, Failure> {
    let explanation: Explanation = client.json(&format!("/api/v1/events/{}", encoded(asked))).await?;
    Ok(text::of_event(&explanation))
}

/// The moment that a text says: RFC 3339, or a period before now.
pub(super) fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(Period(ago)) = text.parse() {
        let nanos = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(nanos)));
    }
    Timestamp::from_rfc3339(text).ok_or_else(|| {
        let expected = "expected a moment such as 2026-11-21T06:40:00Z, or a period such as 2h";
        Failure::new(Exit::Usage, format!("`{}`: {expected}", Shown(text)))
    })
}

/// The id of the event that a body becomes. Says what it is on stderr.
fn id_of(args: &Args, path: &Path, config: &Config) -> Result<String, Failure> {
    let explained = config.explained();
    let name = args.source.as_deref().unwrap_or_default();
    let source = explained
        .source(name)
        .ok_or_else(|| unknown_source(name, explained.sources.iter().map(|source| &*source.name)))?;
    let body = Bytes::from(read(path)?);
    let headers = args.headers.as_deref().map_or_else(|| Ok(HeaderMap::new()), read_headers)?;
    let (now, limits) = (SystemTime::now().into(), config.limits.body_limits());
    let previewed = preview(&explained, source, (&headers, body), now, &limits).map_err(|refusal| {
        let advice = match refusal {
            DeliveryRefusal::Unauthenticated("missing_id") => {
                "; the provider signs the event's id in a header: give --headers FILE"
            }
            _ => "",
        };
        Failure::new(Exit::Failed, format!("this body would be refused: {refusal}{advice}"))
    })?;
    let Some(Preview { id, verdict, event_type, unusable }) = previewed else {
        return Err(Failure::new(
            Exit::Failed,
            "this body is the provider's probe, of which nothing is kept",
        ));
    };
    let what = match (&event_type, &unusable) {
        (Some(event_type), _) => format!("a {}", Shown(event_type)),
        (None, Some((word, _))) => format!("no event ({word})"),
        (None, None) => "no event".into(),
    };
    notice(format_args!("this body is {what} with the id {}; today it would be {verdict}", Shown(&id)));
    Ok(id)
}

/// Explains a type by the configuration and, if the bridge runs, by what came.
async fn of_type(args: &Args, event_type: &str) -> Result<(), Failure> {
    let config = configuration_to_ask(&args.config)?;
    let explained = config.explained();
    let mut explanation = explain_type(&explained, &explained.definitions(), event_type);
    explanation.seen = seen(&config, &explanation).await;
    show(&explanation, args.format, text::of_type)?;
    match explanation.known.is_empty() && explanation.sources.is_empty() {
        true => Err(Failure::new(Exit::Failed, "")),
        false => Ok(()),
    }
}

/// What came of a type so far; `None` if no bridge answers.
async fn seen(config: &Config, explanation: &TypeExplanation) -> Option<Vec<SeenVerdict>> {
    let bridge = Client::admin(&config.admin).await.ok()?;
    let rows = types_seen(&bridge).await.ok()?;
    let providers: BTreeSet<&str> = explanation.sources.iter().map(|source| &*source.provider).collect();
    let mut seen = Vec::new();
    for row in rows {
        let provider = row["provider"].as_str().unwrap_or_default();
        if row["type"] != *explanation.event_type || !providers.contains(provider) {
            continue;
        }
        for verdict in ["accepted", "filtered", "duplicate", "quarantined"] {
            if let Some(count) = row["verdicts"][verdict].as_u64().filter(|count| *count > 0) {
                let (provider, verdict) = (provider.to_owned(), verdict.to_owned());
                seen.push(SeenVerdict { provider, verdict, count });
            }
        }
    }
    Some(seen)
}

/// Prints an explanation: text for people, one JSON object for programs.
fn show<T: Serialize>(explanation: &T, format: Format, text: fn(&T) -> String) -> Result<(), Failure> {
    match format {
        Format::Table => print(&text(explanation)),
        Format::Json | Format::Ndjson => print_json(explanation, format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_given_as_such_or_as_a_period_before_now() {
        let now = Timestamp(1_800_000_000_000_000_000);
        assert_eq!(moment("2h", now).expect("a period"), Timestamp(1_799_992_800_000_000_000));
        assert_eq!(moment("1970-01-01T00:00:01Z", now).expect("a moment"), Timestamp(1_000_000_000));
        for text in ["", "yesterday", "2026-11-21", "9999-01-01T00:00:00Z"] {
            assert_eq!(moment(text, now).expect_err("no moment").exit, Exit::Usage, "{text}");
        }
    }
}
