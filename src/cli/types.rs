//! `fanbridge types`: which event types there are, by provider and family, and which came by.

use std::sync::Arc;

use serde_json::{Value, json};

use super::admin_client::AdminClient;
use super::client;
use super::output::{Format, Rows, print};
use super::{ConfigArgs, Exit, Failure, configuration, find, read};
use crate::config::did_you_mean;
use crate::provider::{self, Definition, TypeInfo};

/// Arguments of `types`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only types of this family and of families within it: `video` also shows `video.recording`
    #[arg(long)]
    family: Option<String>,
    /// Only types of this provider
    #[arg(long)]
    provider: Option<String>,
    /// Print the names as YAML, to paste them into `select`
    #[arg(long, conflicts_with = "seen")]
    yaml: bool,
    /// What the running bridge has seen, new and unselected types among it
    #[arg(long)]
    seen: bool,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints the catalogue, or what was seen.
///
/// # Errors
/// Exit code 2 for an unknown provider or family, 74 if the bridge does not answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.seen {
        return seen(args);
    }
    let definitions = definitions(args)?;
    let listed: Vec<(&Definition, &TypeInfo)> = definitions
        .iter()
        .filter(|definition| args.provider.as_deref().is_none_or(|name| definition.provider == *name))
        .flat_map(|definition| definition.catalogue.types().map(move |info| (&**definition, info)))
        .filter(|(_, info)| args.family.as_deref().is_none_or(|family| within(&info.family, family)))
        .collect();
    if listed.is_empty() {
        return Err(nothing_listed(args, &definitions));
    }
    if args.yaml { print(&yaml(&listed)) } else { rows(&listed).print(args.format) }
}

/// The built-in providers, and those of the configuration if there is one that can be used.
fn definitions(args: &Args) -> Result<Vec<Arc<Definition>>, Failure> {
    let mut definitions: Vec<Arc<Definition>> = provider::builtin().to_vec();
    if let Some(path) = find(&args.config)
        && let Ok(loaded) = read(&path)?
    {
        for source in loaded.config.sources {
            if definitions.iter().all(|known| known.provider != source.definition.provider) {
                definitions.push(source.definition);
            }
        }
    }
    Ok(definitions)
}

/// Whether a family is `outer` or lies within it.
fn within(family: &str, outer: &str) -> bool {
    family.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn nothing_listed(args: &Args, definitions: &[Arc<Definition>]) -> Failure {
    let mut providers = definitions.iter().map(|definition| &*definition.provider);
    if let Some(name) = &args.provider
        && !providers.clone().any(|provider| provider == name)
    {
        return Failure::new(
            Exit::Usage,
            format!("unknown provider `{name}`{}", did_you_mean(name, providers.by_ref())),
        );
    }
    let Some(family) = &args.family else {
        return Failure::new(Exit::Usage, "this provider has no catalogue: any type may come from it");
    };
    let families =
        definitions.iter().flat_map(|definition| definition.catalogue.families()).map(|name| &**name);
    Failure::new(
        Exit::Usage,
        format!("no event types in family `{family}`{}", did_you_mean(family, families)),
    )
}

fn rows(listed: &[(&Definition, &TypeInfo)]) -> Rows {
    let mut rows = Rows::new(&["type", "provider", "family", "channels", "alias", "key"]);
    for (definition, info) in listed {
        let channels: Vec<&str> = [("webhook", info.webhook), ("websocket", info.websocket)]
            .into_iter()
            .filter_map(|(name, sent)| sent.then_some(name))
            .collect();
        let key: Vec<&str> = info.key.iter().map(|key| &**key).collect();
        rows.add(json!({
            "type": *info.name, "provider": *definition.provider, "family": *info.family,
            "channels": channels, "alias": info.alias.as_deref(), "key": key,
        }));
    }
    rows
}

/// The types that can arrive, grouped by family, as a selection.
fn yaml(listed: &[(&Definition, &TypeInfo)]) -> String {
    let mut text = String::from("select:\n");
    let mut group = (String::new(), String::new());
    for (definition, info) in listed.iter().filter(|(_, info)| info.webhook) {
        let this = (definition.provider.to_string(), info.family.to_string());
        if this != group {
            text.push_str(&format!("  # {}: {}\n", this.0, this.1));
            group = this;
        }
        text.push_str(&format!("  - {}\n", info.name));
    }
    text
}

/// What the running bridge has seen, as its admin API tells.
fn seen(args: &Args) -> Result<(), Failure> {
    let config = configuration(&args.config)?;
    let types: Vec<Value> =
        client::block_on(async { AdminClient::connect(&config.admin).await?.get_json("/api/types").await })?;
    let mut rows = Rows::new(&[
        "type",
        "provider",
        "note",
        "selected_by",
        "accepted",
        "filtered",
        "duplicate",
        "first_seen",
        "last_seen",
    ]);
    types.into_iter().map(noted).for_each(|row| rows.add(row));
    rows.print(args.format)
}

/// A row with what is worth noting about it: a type may be new, and it may be kept out.
fn noted(mut row: Value) -> Value {
    let is_new = row["new"] == true;
    let is_kept_out = row["selected_by"].as_array().is_some_and(Vec::is_empty);
    let notes = [(is_new, "new"), (is_kept_out, "not selected")];
    row["note"] = notes.into_iter().filter_map(|(holds, note)| holds.then_some(note)).collect();
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_holds_the_families_within_it_and_no_look_alikes() {
        assert!(within("video.recording", "video") && within("video", "video"));
        assert!(!within("videos", "video") && !within("video", "video.recording"));
    }

    #[test]
    fn names_to_paste_are_those_that_can_arrive() {
        let stream = provider::builtin_named("stream").expect("built in");
        let listed: Vec<_> = stream.catalogue.types().map(|info| (&*stream, info)).collect();
        let yaml = yaml(&listed);
        assert!(yaml.contains("  - call.created\n"), "{yaml}");
        assert!(!yaml.contains("connection.ok"), "{yaml}");
    }
}
