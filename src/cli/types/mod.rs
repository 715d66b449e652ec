//! `fanbridge types`: lists event types by provider and family, the families alone, or the types that a
//! running bridge has seen; exports them, and compares a catalogue with a specification.

mod asyncapi;
mod comparison;
mod delivered;
mod diff;
mod directory;
mod eventcatalog;
mod export;
mod families;
mod names;
mod specification;

use std::sync::Arc;

use serde_json::{Value, json};

use super::client::{Client, block_on};
use super::output::{Format, Rows, print};
use super::yaml::scalar;
use super::{ConfigArgs, Exit, Failure, configuration_to_ask, find, looked_at, notice};
use crate::config::{Config, did_you_mean};
use crate::provider::{self, Definition, TypeInfo, UNCLASSIFIED};
use crate::state::OTHER_TYPE;
use diff::DiffArgs;
use export::ExportArgs;

/// Arguments of `types`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<TypesVerb>,
    /// Only types of this family and of families within it: `video` also shows `video.recording`;
    /// may be repeated, or several with commas
    #[arg(long, value_delimiter = ',')]
    family: Vec<String>,
    /// Only types of this provider; may be repeated, or several with commas
    #[arg(long, value_delimiter = ',')]
    provider: Vec<String>,
    /// Print the names as YAML, to paste them into `select`
    #[arg(long)]
    yaml: bool,
    /// List the families in place of their types, with the topic of each as Kafka and SNS spell it; without
    /// a configuration those of every built-in provider
    #[arg(long, conflicts_with_all = ["yaml", "seen", "new", "unselected"])]
    families: bool,
    /// List the types that the running bridge has seen, new and unselected ones included
    #[arg(long)]
    seen: bool,
    /// Of the types that were seen, only those that no catalogue has
    #[arg(long)]
    new: bool,
    /// Of the types that were seen, only those that no sink selects
    #[arg(long)]
    unselected: bool,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Subcommand)]
enum TypesVerb {
    /// Print what consumers receive: JSON Schemas, an AsyncAPI document, or files of an EventCatalog
    ///
    /// It is made of the configuration. Where a bridge runs, it also has the shapes that the bridge has
    /// learnt, and the types that came beyond the catalogues.
    Export(ExportArgs),
    /// Compare a provider's catalogue with its specification: which types are new, gone or different
    ///
    /// A specification is an OpenAPI document with webhooks, such as those of Mux and GitHub. Nothing is
    /// fetched, and nothing is changed.
    Diff(DiffArgs),
}

impl Args {
    /// Whether the options select a type of this provider and family.
    fn take(&self, provider: &str, family: &str) -> bool {
        let of_provider = self.provider.is_empty() || self.provider.iter().any(|name| name == provider);
        of_provider && (self.family.is_empty() || self.family.iter().any(|outer| within(family, outer)))
    }

    /// Whether the options select a type that was seen.
    fn take_seen(&self, row: &Value) -> bool {
        let is_wanted = (!self.new || is_new(row)) && (!self.unselected || is_unselected(row));
        is_wanted && self.take(word(row, "provider"), word(row, "family"))
    }
}

/// Prints the catalogue, or the types that were seen.
///
/// # Errors
/// Exit code 2 for an unknown provider or family, 74 if the bridge does not answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.verb {
        Some(TypesVerb::Export(args)) => return export::run(args),
        Some(TypesVerb::Diff(args)) => return diff::run(args),
        None => {}
    }
    if args.families {
        let definitions = configured(args)?;
        check_names(args, &definitions)?;
        return families::run(&definitions, |provider, family| args.take(provider, family), args.format);
    }
    if args.seen || args.new || args.unselected {
        return seen(args);
    }
    let definitions = definitions(args)?;
    check_names(args, &definitions)?;
    let listed: Vec<(&Definition, &TypeInfo)> = definitions
        .iter()
        .flat_map(|definition| definition.catalogue.types().map(move |info| (&**definition, info)))
        .filter(|(definition, info)| args.take(&definition.provider, &info.family))
        .collect();
    if listed.is_empty() {
        return Err(nothing_listed(args));
    }
    if !args.yaml {
        return rows(&listed).print(args.format);
    }
    let can_arrive = listed.iter().filter(|(_, info)| info.webhook);
    let names =
        can_arrive.map(|(definition, info)| (&*definition.provider, &*info.family, &*info.name, false));
    print(&yaml(names))
}

/// The built-in definitions, and those of the configuration if there is one. No secret is needed, and errors
/// in it, which are printed, do not keep the built-in types from being listed.
fn definitions(args: &Args) -> Result<Vec<Arc<Definition>>, Failure> {
    let mut definitions: Vec<Arc<Definition>> = provider::builtin().to_vec();
    match find(&args.config).as_deref().map(looked_at) {
        Some(Ok(looked)) => add_those_of(&looked.config, &mut definitions),
        Some(Err(failure)) if failure.exit == Exit::Io => return Err(failure),
        Some(Err(_)) => notice("the configuration has errors, so only built-in types are listed"),
        None => {}
    }
    Ok(definitions)
}

/// The definitions of the configuration's sources, or the built-in ones if there is no configuration. No
/// secret is needed.
fn configured(args: &Args) -> Result<Vec<Arc<Definition>>, Failure> {
    let Some(path) = find(&args.config) else { return Ok(provider::builtin().to_vec()) };
    let mut definitions = Vec::new();
    add_those_of(&looked_at(&path)?.config, &mut definitions);
    Ok(definitions)
}

/// Adds the definitions of a configuration's sources, each once.
fn add_those_of(config: &Config, definitions: &mut Vec<Arc<Definition>>) {
    for source in &config.sources {
        if definitions.iter().all(|known| known.provider != source.definition.provider) {
            definitions.push(Arc::clone(&source.definition));
        }
    }
}

/// Whether a family is `outer` or a family within it.
fn within(family: &str, outer: &str) -> bool {
    family.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Refuses unknown providers and families.
fn check_names(args: &Args, definitions: &[Arc<Definition>]) -> Result<(), Failure> {
    let providers = || definitions.iter().map(|definition| &*definition.provider);
    if let Some(name) = args.provider.iter().find(|name| !providers().any(|known| known == **name)) {
        let message = format!("unknown provider `{name}`{}", did_you_mean(name, providers()));
        return Err(Failure::new(Exit::Usage, message));
    }
    let families = || definitions.iter().flat_map(|definition| definition.catalogue.families());
    match args.family.iter().find(|outer| !families().any(|family| within(family, outer))) {
        Some(name) => {
            let meant = did_you_mean(name, families().map(|family| &**family));
            Err(Failure::new(Exit::Usage, format!("no event type is in a family `{name}`{meant}")))
        }
        None => Ok(()),
    }
}

fn nothing_listed(args: &Args) -> Failure {
    let why = match args.family.is_empty() {
        true => "this provider has no catalogue of event types: it can send any type".into(),
        false => format!("this provider has no event type in family `{}`", args.family.join("` or `")),
    };
    Failure::new(Exit::Usage, why)
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

/// Types as a YAML selection, from provider, family, name and whether the type is in no catalogue. A
/// new group begins where provider or family change.
fn yaml<'t>(types: impl Iterator<Item = (&'t str, &'t str, &'t str, bool)>) -> String {
    let mut text = String::from("select:\n");
    let mut group = ("", "");
    for (provider, family, name, is_new) in types {
        if (provider, family) != group {
            text.push_str(&format!("  # {provider}: {family}\n"));
            group = (provider, family);
        }
        let note = if is_new { " # new" } else { "" };
        text.push_str(&format!("  - {}{note}\n", scalar(name)));
    }
    text
}

/// Prints the types that the running bridge has seen, from its admin API.
fn seen(args: &Args) -> Result<(), Failure> {
    let config = configuration_to_ask(&args.config)?;
    let mut definitions: Vec<Arc<Definition>> = provider::builtin().to_vec();
    add_those_of(&config, &mut definitions);
    check_names(args, &definitions)?;
    let types = block_on(async { types_seen(&Client::admin(&config.admin).await?).await })?;
    let types: Vec<Value> = types
        .into_iter()
        .map(|row| noted(with_family(with_counts(row), &definitions)))
        .filter(|row| args.take_seen(row))
        .collect();
    if args.yaml {
        return print(&seen_yaml(&types)?);
    }
    let mut rows = Rows::new(&[
        "type",
        "provider",
        "family",
        "note",
        "selected_by",
        "accepted",
        "filtered",
        "duplicate",
        "first_seen",
        "last_seen",
    ]);
    types.into_iter().for_each(|row| rows.add(row));
    rows.print(args.format)
}

/// The types that a running bridge has seen.
pub(super) async fn types_seen(bridge: &Client) -> Result<Vec<Value>, Failure> {
    #[derive(serde::Deserialize)]
    struct Page {
        items: Vec<Value>,
    }
    let page: Page = bridge.json("/api/v1/types").await?;
    Ok(page.items)
}

/// A row with its counts by verdict in fields of their own.
fn with_counts(mut row: Value) -> Value {
    let counts = row.as_object_mut().and_then(|row| {
        row.remove("count");
        row.remove("verdicts")
    });
    for (verdict, count) in counts.as_ref().and_then(Value::as_object).into_iter().flatten() {
        row[verdict] = count.clone();
    }
    row
}

/// The seen types as a YAML selection.
fn seen_yaml(types: &[Value]) -> Result<String, Failure> {
    let mut named: Vec<_> = types
        .iter()
        .map(|row| (word(row, "provider"), word(row, "family"), word(row, "type"), is_new(row)))
        .filter(|(_, _, name, _)| *name != OTHER_TYPE)
        .collect();
    named.sort_unstable();
    match named.is_empty() {
        // An empty list would select nothing.
        true => Err(Failure::new(Exit::Failed, "no event type that these options select was seen")),
        false => Ok(yaml(named.into_iter())),
    }
}

/// Adds the family of the type to a row.
fn with_family(mut row: Value, definitions: &[Arc<Definition>]) -> Value {
    let provider = definitions.iter().find(|definition| *definition.provider == *word(&row, "provider"));
    let family = provider.map(|definition| definition.catalogue.family_of(word(&row, "type")));
    row["family"] = json!(family.as_deref().unwrap_or(UNCLASSIFIED));
    row
}

fn word<'r>(row: &'r Value, name: &str) -> &'r str {
    row[name].as_str().unwrap_or_default()
}

/// Whether no catalogue has the type of a row.
fn is_new(row: &Value) -> bool {
    row["new"] == true
}

/// Whether no sink selects the type of a row.
fn is_unselected(row: &Value) -> bool {
    row["selected_by"].as_array().is_some_and(Vec::is_empty)
}

/// Adds a note to a row, if its type is new or no sink selects it.
fn noted(mut row: Value) -> Value {
    let notes = [(is_new(&row), "new"), (is_unselected(&row), "not selected")];
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
    fn what_was_seen_is_pasted_by_family_and_new_types_are_marked() {
        let row = |provider: &str, name: &str, new| json!({ "provider": provider, "type": name, "new": new });
        let definitions = provider::builtin();
        let rows = [
            row("stream", "totally.made up", true),
            row("stream", "call.ended", false),
            row("fastpix", "video.media.ready", false),
            row("stream", OTHER_TYPE, false),
        ];
        let rows = rows.map(|row| with_family(row, definitions));
        let expected = "select:\n  # fastpix: media\n  - video.media.ready\n  # stream: unclassified\n  \
                        - \"totally.made up\" # new\n  # stream: video.call-lifecycle\n  - call.ended\n";
        assert_eq!(seen_yaml(&rows).ok().as_deref(), Some(expected));
        assert!(seen_yaml(&rows[3..]).is_err());
    }
}
