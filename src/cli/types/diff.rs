//! `fanbridge types diff`: compares a provider's catalogue with the provider's published specification.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::output::{Format, Rows};
use super::super::recorded;
use super::super::wrapped::notice;
use super::super::{ConfigArgs, Exit, Failure, configuration_to_look, find};
use super::add_those_of;
use super::comparison::{DifferenceKind, TypeDifference, differences};
use super::specification::{DescribedTypes, Specification};
use crate::config::did_you_mean;
use crate::provider::{self, Definition};

/// Arguments of `types diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The provider's specification, as JSON or YAML: an OpenAPI document with `webhooks`; `-` is stdin
    #[arg(value_name = "SPEC")]
    specification: PathBuf,
    /// Whose it is; by default the provider with whose catalogue it shares most types
    #[arg(long)]
    provider: Option<String>,
    /// Name of the schema in it that describes an event of any type, if it has no webhooks
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// How to print the differences
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints what is different.
///
/// # Errors
/// Exit code 1 if something is, 2 if there is no such provider, 74 if the specification cannot be read or has
/// no event types, 78 if the configuration cannot be used.
pub(super) fn run(args: &DiffArgs) -> Result<(), Failure> {
    let definitions = definitions(args)?;
    let specification = read(args)?;
    let (definition, described) = compared(args, &definitions, &specification)?;
    let found = differences(definition, &specification, &described);
    if specification.is_entangled() {
        let name = args.specification.display();
        let message = format!("cannot use {name}: its schemas refer to each other more than is followed");
        return Err(Failure::new(Exit::Io, message));
    }
    let mut rows = Rows::new(&["type", "what", "family", "details"]);
    for difference in &found {
        rows.add(json!(difference));
    }
    if !found.is_empty() || args.format != Format::Table {
        rows.print(args.format)?;
    }
    notice(summary(definition, described.len(), &found));
    match found.is_empty() {
        true => Ok(()),
        // What is different has been printed.
        false => Err(Failure::new(Exit::Failed, "")),
    }
}

/// The built-in definitions, and those of the configuration if there is one.
fn definitions(args: &DiffArgs) -> Result<Vec<Arc<Definition>>, Failure> {
    let mut definitions: Vec<Arc<Definition>> = provider::builtin().to_vec();
    if find(&args.config).is_some() {
        add_those_of(&configuration_to_look(&args.config)?, &mut definitions);
    }
    Ok(definitions)
}

fn read(args: &DiffArgs) -> Result<Specification, Failure> {
    let bytes = recorded::read(&args.specification)?;
    let name = args.specification.display();
    let failed = |problem: String| Failure::new(Exit::Io, format!("cannot read {name}: {problem}"));
    let text = std::str::from_utf8(&bytes).map_err(|_| failed("it is no UTF-8 text".into()))?;
    let is_json = text.trim_start().starts_with(['{', '[']);
    let document: Value = match is_json {
        true => serde_json::from_str(text).map_err(|error| failed(format!("it is no JSON: {error}")))?,
        false => serde_saphyr::from_str(text).map_err(|error| failed(format!("it is no YAML: {error}")))?,
    };
    match document.is_object() {
        true => Ok(Specification::new(document)),
        false => Err(failed("expected an OpenAPI document, which is an object".into())),
    }
}

/// The definition to compare with, and the types that the specification has for it.
fn compared<'d, 's>(
    args: &DiffArgs,
    definitions: &'d [Arc<Definition>],
    specification: &'s Specification,
) -> Result<(&'d Definition, DescribedTypes<'s>), Failure> {
    let describe = |definition: &Definition| {
        specification.types(definition, args.schema.as_deref()).map_err(|problem| {
            Failure::new(Exit::Io, format!("cannot use {}: {problem}", args.specification.display()))
        })
    };
    if let Some(name) = &args.provider {
        let names = || definitions.iter().map(|definition| &*definition.provider);
        let definition = definitions.iter().find(|definition| *definition.provider == **name);
        let definition = definition.ok_or_else(|| {
            let message = format!("unknown provider `{name}`{}", did_you_mean(name, names()));
            Failure::new(Exit::Usage, message)
        })?;
        return Ok((&**definition, describe(definition)?));
    }
    let mut best: Option<(usize, &Definition, DescribedTypes<'s>)> = None;
    let mut none_described = None;
    for definition in definitions.iter().filter(|definition| definition.catalogue.types().len() > 0) {
        // Where a type is read differs, so a specification can have types for one provider only.
        let described = match describe(definition) {
            Ok(described) => described,
            Err(failure) => {
                none_described = Some(failure);
                continue;
            }
        };
        let shared = described.keys().filter(|name| definition.catalogue.find(name).is_some()).count();
        if shared >= best.as_ref().map_or(0, |(most, ..)| *most + 1) {
            best = Some((shared, &**definition, described));
        }
    }
    match (best, none_described) {
        (Some((1.., definition, described)), _) => Ok((definition, described)),
        (None, Some(failure)) => Err(failure),
        _ => {
            let message = "no catalogue has a type of this specification: say whose it is with --provider";
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

fn summary(definition: &Definition, described: usize, found: &[TypeDifference]) -> String {
    let provider = &definition.provider;
    let count = |kind| found.iter().filter(|difference| difference.what == kind).count();
    let [new, gone, different] =
        [DifferenceKind::New, DifferenceKind::Gone, DifferenceKind::Different].map(count);
    let same = described - new - different;
    format!("{provider}: {same} the same, {new} new, {gone} gone, {different} described differently")
}
