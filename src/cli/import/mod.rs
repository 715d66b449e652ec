//! `fanbridge import`: takes bodies in by the front of a source of the running bridge that an operator has
//! saved, such as those of an outage, without their signatures.
//!
//! Without `--yes` it only says what would become of them. The bodies are sent in requests of a bounded size,
//! one after the other; each body is answered, and one that is refused does not stop the rest.

mod saved;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use self::saved::{FoundBody, SavedBodies, Unread};
use super::client::{Client, block_on, encoded};
use super::output::{Format, Rows, plain, print, terminal_json};
use super::running::running;
use super::{ConfigArgs, Exit, Failure, configuration_to_ask, unknown_source};
use crate::admin::{IMPORT_BODIES_MAX, ImportAnswer, ImportItem, ImportRequest, ImportVerdict, SavedRequest};
use crate::telemetry::Shown;

/// What only a running bridge can change.
const WHAT: &str = "log";
/// Bytes of bodies in base64 from which a request is sent. A larger body has a request of its own.
const REQUEST_BYTES: usize = 192 << 10;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File with a body, or directory of such files; with a body on each line if it ends with `.ndjson` or
    /// `.jsonl`. Bodies and lines can be gzip. `NAME.headers` beside a file has its headers
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Source by which they come in
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Why; events carry it as `importreason`
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only say what would become of each body
    #[arg(long)]
    dry_run: bool,
    /// Take them in; without --yes or --dry-run the command only says what it would do, and fails
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// How to print what became of each body
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Imports bodies.
///
/// # Errors
/// Exit code 1 if a body was refused, 2 without `--yes` or for an unknown source, 74 or 75 if no bridge
/// answers, 78 if it takes no imports.
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = configuration_to_ask(&args.config)?;
    if !config.sources.iter().any(|source| source.name == *args.source) {
        return Err(unknown_source(&args.source, config.sources.iter().map(|source| &*source.name)));
    }
    let bodies = SavedBodies::at(&args.path)?;
    let done = block_on(async {
        let mut import = Importing::new(args, running(&config, WHAT).await?);
        let sent = import.send_all(bodies).await;
        sent.map_err(|failure| import.broken_off(failure))?;
        Ok(import)
    })?;
    done.end()
}

/// An import while it goes on.
struct Importing<'a> {
    args: &'a Args,
    bridge: Client,
    path: String,
    by: Option<String>,
    /// What waits to be sent, in its order; some of it could not be read.
    waiting: Vec<(String, Option<Unread>)>,
    requests: Vec<SavedRequest>,
    bytes: usize,
    counts: BTreeMap<ImportVerdict, u64>,
    /// The rows of an array, which is printed at the end.
    rows: Rows,
}

impl<'a> Importing<'a> {
    fn new(args: &'a Args, bridge: Client) -> Self {
        let path = format!("/api/v1/sources/{}/import", encoded(&args.source));
        let is_name = |name: &String| {
            (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let by = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(is_name));
        let (waiting, requests, rows) = (Vec::new(), Vec::new(), Rows::new(&[]));
        Self { args, bridge, path, by, waiting, requests, bytes: 0, counts: BTreeMap::new(), rows }
    }

    async fn send_all(&mut self, bodies: SavedBodies) -> Result<(), Failure> {
        for FoundBody { name, saved } in bodies {
            let word = match saved {
                Ok(request) => {
                    let headers = request.headers.iter().map(|(name, value)| name.len() + value.len() + 8);
                    let bytes = request.body_base64.len() + headers.sum::<usize>() + 32;
                    if self.bytes > 0 && self.bytes + bytes > REQUEST_BYTES {
                        self.send().await?;
                    }
                    self.bytes += bytes;
                    self.requests.push(request);
                    None
                }
                Err(word) => Some(word),
            };
            self.waiting.push((name, word));
            if self.waiting.len() >= IMPORT_BODIES_MAX {
                self.send().await?;
            }
        }
        self.send().await
    }

    /// Sends what waits, and prints what became of it.
    async fn send(&mut self) -> Result<(), Failure> {
        let bodies = std::mem::take(&mut self.requests);
        self.bytes = 0;
        let count = bodies.len();
        let answer = match count {
            0 => ImportAnswer::default(),
            _ => {
                let (reason, by) = (self.args.reason.clone(), self.by.clone());
                let request = ImportRequest { reason, by, dry_run: !self.args.yes, bodies };
                self.bridge.change(&self.path, &request).await?
            }
        };
        if answer.items.len() != count {
            return Err(Failure::new(Exit::Io, "the bridge did not answer for each body: see its log"));
        }
        let mut items = answer.items.into_iter();
        for (name, unread) in std::mem::take(&mut self.waiting) {
            let item = match unread {
                Some(word) => Some(ImportItem::refused(word)),
                None => items.next(),
            };
            item.map_or(Ok(()), |item| self.say(&name, &item))?;
        }
        Ok(())
    }

    fn say(&mut self, name: &str, ImportItem { verdict, id, reason }: &ImportItem) -> Result<(), Failure> {
        *self.counts.entry(*verdict).or_default() += 1;
        let (word, id) = (verdict.as_str(), id.as_deref());
        let row = || json!({ "body": name, "verdict": word, "id": id, "reason": reason });
        match self.args.format {
            Format::Table => {
                let about = [id, reason.as_deref()].into_iter().flatten().map(plain);
                let about = about.collect::<Vec<_>>().join("  ");
                print(&format!("{word:<11}  {}  {about}\n", Shown(name)))
            }
            Format::Ndjson => print(&terminal_json(format!("{}\n", row()))),
            Format::Json => {
                self.rows.add(row());
                Ok(())
            }
        }
    }

    /// The failure of an import that has done a part of its work.
    fn broken_off(&self, failure: Failure) -> Failure {
        let done: u64 = self.counts.values().sum();
        if done == 0 || !self.args.yes {
            return failure;
        }
        let message = format!(
            "the import broke off after {done} bodies ({}): {}; repeat it, what is in is a duplicate then",
            self.counted(),
            failure.message
        );
        Failure { message, ..failure }
    }

    /// Ends with a summary.
    fn end(self) -> Result<(), Failure> {
        if self.args.format == Format::Json {
            print(&terminal_json(self.rows.render(Format::Json)))?;
        }
        let (source, counted) = (Shown(&self.args.source), self.counted());
        let refused = self.counts.get(&ImportVerdict::Refused).copied().unwrap_or(0);
        let total: u64 = self.counts.values().sum();
        let refusal = || Failure::new(Exit::Failed, format!("{refused} of {total} bodies were refused"));
        if self.args.yes {
            eprintln!("imported by {source}: {counted}");
            return if refused == 0 { Ok(()) } else { Err(refusal()) };
        }
        let sentence = format!(
            "would be imported by {source}: {counted}; which of them are duplicates shows once they are in"
        );
        if self.args.dry_run {
            eprintln!("{sentence}");
            return if refused == 0 { Ok(()) } else { Err(refusal()) };
        }
        Err(Failure::new(Exit::Usage, format!("{sentence}: repeat the command with --yes to do it")))
    }

    /// How many bodies have which verdict, in words.
    fn counted(&self) -> String {
        let words = self.counts.iter().map(|(verdict, count)| format!("{count} {}", verdict.as_str()));
        let words: Vec<String> = words.collect();
        if words.is_empty() { "no body".to_owned() } else { words.join(", ") }
    }
}
