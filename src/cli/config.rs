//! `fanbridge config`: shows the configuration that counts, and where each value comes from.

use serde_json::{Value as Json, json};

use super::output::{print, terminal_json};
use super::yaml::scalar;
use super::{ConfigArgs, Failure, configuration_to_look};
use crate::admin::effective::{EffectiveConfiguration, inside, is_leaf};

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print what is written, or every value that counts; secrets only as references
    Show(ShowArgs),
}

/// Arguments of `config show`.
#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Also print the defaults that count
    #[arg(long)]
    effective: bool,
    /// Also print where each value is written: file, line and column, or `default`
    #[arg(long)]
    origin: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: ConfigFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The form of a configuration on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum ConfigFormat {
    /// As a configuration file; origins are comments
    #[default]
    Yaml,
    /// One JSON object; with --origin one of `values` and `origins`
    Json,
}

/// Prints the configuration.
///
/// # Errors
/// Exit code 78 if the configuration has errors, 74 if it cannot be read.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Verb::Show(args) = &args.verb;
    let effective = configuration_to_look(&args.config)?.effective;
    let values = if args.effective { effective.values.clone() } else { effective.written() };
    let text = match (args.format, args.origin) {
        (ConfigFormat::Yaml, origin) => yaml(&values, origin.then_some(&effective)),
        (ConfigFormat::Json, false) => format!("{values:#}\n"),
        (ConfigFormat::Json, true) => {
            let mut origins = effective.origins.clone();
            origins.retain(|path, _| has(&values, path));
            format!("{:#}\n", json!({ "values": values, "origins": origins }))
        }
    };
    print(&terminal_json(text))
}

/// Whether there is a value at this path.
fn has(values: &Json, path: &str) -> bool {
    is_leaf(values) && path.is_empty()
        || values.as_object().into_iter().flatten().any(|(key, value)| {
            let rest = path.strip_prefix(key.as_str());
            rest.is_some_and(|rest| has(value, rest.strip_prefix('.').unwrap_or(rest)))
        })
}

/// A configuration as the text of a file, with comments that say where each value comes from if origins are
/// given.
fn yaml(values: &Json, origins: Option<&EffectiveConfiguration>) -> String {
    let mut text = String::new();
    write_block(values, "", 0, origins, &mut text);
    text
}

fn write_block(
    block: &Json,
    path: &str,
    depth: usize,
    origins: Option<&EffectiveConfiguration>,
    text: &mut String,
) {
    let indent = "  ".repeat(depth);
    for (key, value) in block.as_object().into_iter().flatten() {
        let path = inside(path, key);
        let origin = origins.and_then(|effective| effective.origins.get(&path));
        let origin = origin.map(|origin| format!("  # {origin}")).unwrap_or_default();
        let key = scalar(key);
        match value {
            value if !is_leaf(value) => {
                text.push_str(&format!("{indent}{key}:\n"));
                write_block(value, &path, depth + 1, origins, text);
            }
            Json::Array(items) if !items.is_empty() => {
                text.push_str(&format!("{indent}{key}:{origin}\n"));
                items.iter().for_each(|item| text.push_str(&format!("{indent}  - {}\n", flow(item))));
            }
            value => text.push_str(&format!("{indent}{key}: {}{origin}\n", flow(value))),
        }
    }
}

/// A value on one line. JSON is YAML.
fn flow(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), scalar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_written_as_a_file_with_its_origins() {
        let values = json!({
            "http": { "listen": "127.0.0.1:8080", "tls": {} }, "select": ["call.created", { "a": 1 }],
            "spool": { "bytes_max": "20 GiB", "recycle_segments": true },
        });
        let origins = [("http.listen", "f:1:1"), ("select", "f:2:1"), ("spool.bytes_max", "default")];
        let origins = origins.map(|(path, origin)| (path.to_owned(), origin.to_owned()));
        let effective = EffectiveConfiguration::new(values.clone(), origins.into());
        let expected = "\
http:
  listen: \"127.0.0.1:8080\"  # f:1:1
  tls: {}
select:  # f:2:1
  - call.created
  - {\"a\":1}
spool:
  bytes_max: \"20 GiB\"  # default
  recycle_segments: true
";
        assert_eq!(yaml(&values, Some(&effective)), expected);
        assert!(!yaml(&values, None).contains('#'));
        let paths = ["http.listen", "select", "spool.bytes_max", "spool.dir", "http"];
        assert_eq!(paths.map(|path| has(&values, path)), [true, true, true, false, false]);
    }
}
