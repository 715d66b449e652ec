//! `fanbridge types export`: what consumers of this configuration receive, for their tools.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::client::{Client, block_on, encoded};
use super::super::output::{print, terminal_json};
use super::super::wrapped::notice;
use super::super::{ConfigArgs, Exit, Failure, configuration_perhaps_to_ask};
use super::delivered::{SeenTypes, delivered};
use super::{asyncapi, directory, eventcatalog};
use crate::config::Config;

/// Arguments of `types export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// What to write
    #[arg(long, value_enum)]
    format: ExportFormat,
    /// Directory for the files of `eventcatalog`: a new or an empty one, or one that this verb has made
    #[arg(long, value_name = "DIR", required_if_eq("format", "eventcatalog"))]
    output: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What describes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ExportFormat {
    /// A JSON Schema of each type's body, in one document
    JsonSchema,
    /// An AsyncAPI 3.0 document: every topic with its types, keys and attributes
    Asyncapi,
    /// The files of an EventCatalog: providers as domains, families as services, and their events
    Eventcatalog,
}

/// Prints the document, or writes the files.
///
/// # Errors
/// Exit code 2 if the directory is somebody else's, 74 if the bridge answers and then breaks off or the files
/// cannot be written, 78 if the configuration cannot be used.
pub(super) fn run(args: &ExportArgs) -> Result<(), Failure> {
    if args.output.is_some() && args.format != ExportFormat::Eventcatalog {
        let message = "--output is for --format eventcatalog; the other formats are printed on stdout";
        return Err(Failure::new(Exit::Usage, message));
    }
    let (config, can_ask) = configuration_perhaps_to_ask(&args.config)?;
    let seen = if can_ask { block_on(seen_by_bridge(&config))? } else { unseen("`admin.token` is not here") };
    let document = match (args.format, &args.output) {
        (ExportFormat::Eventcatalog, Some(dir)) => {
            let files = eventcatalog::files(&config, &seen);
            directory::write(dir, &files)?;
            notice(format_args!("wrote {} files into {}", files.len(), dir.display()));
            return Ok(());
        }
        (ExportFormat::Asyncapi, _) => asyncapi::document(&config, &seen),
        _ => schemas(&config, &seen),
    };
    print(&terminal_json(format!("{document:#}\n")))
}

async fn seen_by_bridge(config: &Config) -> Result<SeenTypes, Failure> {
    match Client::admin(&config.admin).await {
        Ok(bridge) => seen_by(&bridge).await,
        Err(why) => Ok(unseen(&format!("no bridge answers: {why}"))),
    }
}

/// Nothing was seen, as far as is known here.
fn unseen(why: &str) -> SeenTypes {
    notice(format_args!("no shape of a type is known here, as {why}"));
    SeenTypes::default()
}

/// What the running bridge knows.
async fn seen_by(bridge: &Client) -> Result<SeenTypes, Failure> {
    let listing: Value = bridge.json("/api/v1/types").await?;
    let mut seen = SeenTypes::default();
    for row in listing["items"].as_array().into_iter().flatten() {
        let (Some(provider), Some(name)) = (row["provider"].as_str(), row["type"].as_str()) else { continue };
        let path = format!("/api/v1/types/{}/{}", encoded(provider), encoded(name));
        // A source that was removed since leaves types that are listed and have no page.
        let detail = bridge.document(&path).await?;
        let detail: Value = detail.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        seen.add(provider, name, detail.get("shape").cloned());
    }
    Ok(seen)
}

/// A JSON Schema of each type that can come, under `$defs` (pure).
fn schemas(config: &Config, seen: &SeenTypes) -> Value {
    let mut types = BTreeMap::new();
    for sink in &config.sinks {
        for one in delivered(config, sink, seen) {
            let body = seen.body(&one.provider, &one.name);
            types.insert(format!("{}/{}", one.provider, one.name), body);
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "The bodies of events by provider and type, as far as a bridge has learnt them.",
        "$defs": types,
    })
}
