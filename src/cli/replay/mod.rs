//! `fanbridge replay`: send delivered events to one sink of the running bridge again.
//!
//! Without `--yes` it only counts what it would send; with `--dry-run` also of a stopped bridge. The bridge
//! sends by itself, so the command does not wait; `replay show` says how far it is.

mod stopped;
mod text;

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::client::{Client, block_on, encoded, path_with};
use super::explain::moment;
use super::output::{Format, Rows, print, print_json};
use super::running::running;
use super::{ConfigArgs, Exit, Failure, configuration_to_ask, notice};
use crate::admin::{CancelRequest, ReplayAnswer, ReplayList, ReplayRequest};
use crate::event::Timestamp;
use crate::explain::{AskedEvent, Explanation};
use crate::replay::{RATE_DEFAULT, ReplayCount};
use crate::state::ReplaySelection;
use crate::telemetry::Shown;

const PATH: &str = "/api/v1/replays";
/// What only a running bridge can change.
const WHAT: &str = "replays";

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    begin: BeginArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the replays, newest first
    List(ListArgs),
    /// Show how far a replay is
    Show(OneArgs),
    /// End a replay; what the sink has not been handed of it yet is not delivered
    Cancel(OneArgs),
}

#[derive(Debug, clap::Args)]
struct BeginArgs {
    /// Sink that is to get the events again, of those that it has passed
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Events that arrived since then: a moment in RFC 3339, or a period before now, such as `2h`
    #[arg(long, value_name = "MOMENT")]
    since: Option<String>,
    /// Events that arrived before then
    #[arg(long, value_name = "MOMENT")]
    until: Option<String>,
    /// Events of this type; several: repeat it
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Events that this source took in
    #[arg(long = "source", value_name = "NAME")]
    sources: Vec<String>,
    /// Events of this family
    #[arg(long = "family", value_name = "NAME")]
    families: Vec<String>,
    /// The event with this id, or with the one that begins so: 4 characters at least
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    /// Most events in a second
    #[arg(long, value_name = "N", default_value_t = RATE_DEFAULT)]
    rate: u32,
    /// Send also what the sink's own `select` does not take; create the topics first: copies for one that is
    /// not there hold up the sink in the end, until it is there or the replay is cancelled
    #[arg(long)]
    select_all: bool,
    /// Only count the events, by type and by hour; also of a stopped bridge
    #[arg(long)]
    dry_run: bool,
    /// Send them; without --yes or --dry-run the command only says how many, and fails
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// How to print the counts, or the replay
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// Number of the replay
    id: u64,
    /// How to print the replay
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the verb.
///
/// # Errors
/// Exit code 1 if there is no such sink, event or replay, 2 without `--yes`, 74 or 75 if no bridge answers.
pub fn run(args: &Args) -> Result<(), Failure> {
    block_on(async {
        match &args.verb {
            None => begin(&args.begin).await,
            Some(Verb::List(args)) => list(args).await,
            Some(Verb::Show(args)) => {
                let bridge = bridge(&args.config).await?;
                show(&bridge.json(&format!("{PATH}/{}", args.id)).await?, args.format)
            }
            Some(Verb::Cancel(args)) => {
                let bridge = bridge(&args.config).await?;
                let path = format!("{PATH}/{}/cancel", args.id);
                show(&bridge.change(&path, &CancelRequest {}).await?, args.format)
            }
        }
    })
}

async fn bridge(config: &ConfigArgs) -> Result<Client, Failure> {
    running(&configuration_to_ask(config)?, WHAT).await
}

async fn begin(args: &BeginArgs) -> Result<(), Failure> {
    let mut request = request(args, SystemTime::now().into())?;
    let config = configuration_to_ask(&args.config)?;
    let count = match running(&config, WHAT).await {
        Ok(bridge) => {
            let mut ids = BTreeSet::new();
            for id in &request.events.ids {
                ids.insert(whole(&bridge, id, &request.events.sources).await?);
            }
            request.events.ids = ids;
            if args.yes {
                return send(&bridge, &request, args.format).await;
            }
            count(&bridge, request).await?
        }
        Err(silent) if args.dry_run => stopped::count(&config, request, silent)?,
        Err(silent) => return Err(silent),
    };
    match args.format {
        Format::Table => print(&text::of_count(&count))?,
        Format::Json | Format::Ndjson => print_json(&count, args.format)?,
    }
    let (events, sink) = (count.events, args.sink.as_deref().unwrap_or_default());
    let what = if events == 1 { "1 event".to_owned() } else { format!("{events} events") };
    let sentence = format!("{what} would be sent to {} again", Shown(sink));
    if args.dry_run || events == 0 {
        notice(&sentence);
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("{sentence}: repeat the command with --yes to do it")))
}

/// Has the bridge send the events.
async fn send(bridge: &Client, request: &ReplayRequest, format: Format) -> Result<(), Failure> {
    let begun: ReplayAnswer = bridge.change(PATH, request).await?;
    let (id, sink) = (begun.row.id, Shown(&begun.row.sink));
    notice(format_args!("replay {id} to {sink} begins: `fanbridge replay show {id}` says how far it is"));
    if format == Format::Table { Ok(()) } else { show(&begun, format) }
}

/// What the command line asks for.
fn request(args: &BeginArgs, now: Timestamp) -> Result<ReplayRequest, Failure> {
    let set = |names: &[String]| names.iter().cloned().collect();
    let at = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
    let events = ReplaySelection {
        since: at(&args.since)?,
        until: at(&args.until)?,
        types: set(&args.types),
        families: set(&args.families),
        sources: set(&args.sources),
        ids: set(&args.ids),
    };
    let Some(sink) = args.sink.clone() else {
        return Err(Failure::new(Exit::Usage, "say which sink is to get the events: --sink NAME"));
    };
    if events == ReplaySelection::default() {
        let which = "say which events: --since, --until, --type, --source, --family or --id";
        return Err(Failure::new(Exit::Usage, which));
    }
    let (select_all, rate) = (args.select_all, Some(args.rate));
    Ok(ReplayRequest { sink, events, select_all, rate, dry_run: false, after: 0 })
}

/// The whole id of the event whose id begins so. What no event is known by stays as it is.
async fn whole(bridge: &Client, asked: &str, sources: &BTreeSet<String>) -> Result<String, Failure> {
    // What is no beginning of an id can still be a whole one.
    let Ok(AskedEvent::Id(id)) = asked.parse() else { return Ok(asked.to_owned()) };
    let source = sources.first().filter(|_| sources.len() == 1).map(String::as_str);
    let path = path_with(&format!("/api/v1/events/{}", encoded(id.as_str())), &[("source", source)]);
    known_by(bridge.json(&path).await?, asked)
}

/// The whole id of the event that was found for the beginning of an id.
fn known_by(told: Explanation, asked: &str) -> Result<String, Failure> {
    let candidates = told.candidates.into_iter().map(|candidate| candidate.id);
    let known: BTreeSet<String> = told.event.map(|event| event.id).into_iter().chain(candidates).collect();
    match known.len() {
        0 => Ok(asked.to_owned()),
        1 => Ok(known.into_iter().collect()),
        _ => {
            let known: Vec<String> = known.iter().map(|id| Shown(id).to_string()).collect();
            let message = format!(
                "several events have an id that begins with `{}`: {}",
                Shown(asked),
                known.join(", ")
            );
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// Counts what would be sent. A long log is counted in several requests.
async fn count(bridge: &Client, request: ReplayRequest) -> Result<ReplayCount, Failure> {
    let mut request = ReplayRequest { dry_run: true, ..request };
    let mut count: ReplayCount = bridge.change(PATH, &request).await?;
    while !count.complete {
        request.after = count.through;
        count.add(bridge.change(PATH, &request).await?);
    }
    Ok(count)
}

async fn list(args: &ListArgs) -> Result<(), Failure> {
    let list: ReplayList = bridge(&args.config).await?.json(PATH).await?;
    let mut rows = Rows::new(&["id", "sink", "state", "sent", "left", "events", "created"]);
    for replay in &list.items {
        rows.add(text::row(replay, args.format)?);
    }
    rows.print(args.format)
}

fn show(replay: &ReplayAnswer, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => print(&text::of_replay(replay)),
        Format::Json | Format::Ndjson => print_json(replay, format),
    }
}
